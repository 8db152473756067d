"""The counting wrapper: what `info` says of each observation is what a run over the same observations counts."""

import gymnasium as gym
import numpy as np
import pytest

import neurosim as ns
from neurosim.control.counting import count_events
from neurosim.errors import SimulationError


def test_counts_in_info_are_those_of_a_run():
    network = ns.set_thresholds(ns.load("models/cartpole_ppo"), 0.02)
    env = count_events(gym.make("CartPole-v1"), network)
    seen, infos, starts = [], [], []
    for seed in (3, 4):
        observation, info = env.reset(seed=seed)
        over = False
        seen.append(observation)
        infos.append(info)
        starts.append(True)
        while not over:
            observation, _, terminated, truncated, info = env.step(info["neurosim"]["action"])
            seen.append(observation)
            infos.append(info)
            starts.append(False)
            over = terminated or truncated or sum(starts) == 2 and len(seen) > 700
    trace = ns.simulate(network, np.array(seen), resets=np.array(starts))
    counts = [info["neurosim"] for info in infos]
    assert [c["effective_macs"] for c in counts] == trace.counts[:, :, 2].sum(axis=1).tolist()
    assert sum(c["events"] for c in counts) == trace.totals_by_counter["events"]
    assert sum(c["neuron_updates"] for c in counts) == trace.totals_by_counter["neuron_updates"]
    assert counts[0]["dense_macs"] == network.static_total("dense_macs") and {c["action"] for c in counts} == {0, 1}


def test_a_network_of_another_environment_is_refused():
    with pytest.raises(SimulationError, match="observations have shape"):
        count_events(gym.make("Acrobot-v1"), ns.load("models/cartpole_ppo"))
