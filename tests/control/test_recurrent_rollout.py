"""A policy that remembers, in closed loop: its state lives from decision to decision and ends with the episode."""

import numpy as np
import pytest

import neurosim as ns
from neurosim.loaders.builder_neurons import NeuronBuilder


def gru_policy(seed=0):
    """4 observations -> GRU of 8 -> 2 logits, random weights."""
    rng = np.random.default_rng(seed)
    builder = NeuronBuilder("obs", (4,))
    w, u = rng.normal(size=(8, 4, 4)), rng.normal(size=(8, 4, 8))
    w[:, 3], u[:, 2] = 0, 0
    hidden = builder.cell("gru", [(builder.input_tensor(), w)], u, rng.normal(size=(8, 4)), "gru")
    return builder.finish(builder.read(builder.full(hidden, rng.normal(size=(2, 8)))))


def by_hand(network, episodes):
    """Returns of the same policy in plain numpy, its hidden values cleared at each reset."""
    import gymnasium as gym

    env, returns = gym.make("CartPole-v1"), []
    inputs, hidden = network.layers[0].synapses
    for i in range(episodes):
        obs, _ = env.reset(seed=i)
        h, total, over = np.zeros(8), 0.0, False
        while not over:
            x = (inputs.weight @ obs.astype(np.float64) + hidden.weight @ h + network.layers[0].bias_per_accumulator()).reshape(8, 4)
            r, z = 1 / (1 + np.exp(-x[:, 0])), 1 / (1 + np.exp(-x[:, 1]))
            h = (1 - z) * np.tanh(x[:, 2] + r * x[:, 3]) + z * h
            obs, reward, terminated, truncated, _ = env.step(int((network.layers[1].synapses[0].weight @ h).argmax()))
            total, over = total + reward, terminated or truncated
        returns.append(total)
    env.close()
    return returns


@pytest.mark.parametrize("dense_by", ["evaluation", "events"])
def test_events_dense_run_and_plain_numpy_play_the_same_games(dense_by):
    network = gru_policy()
    result = ns.rollout(network, "CartPole-v1", episodes=6, numerics="float64", dense_by=dense_by, reference_every=5)
    assert result.returns.tolist() == result.dense_returns.tolist() == by_hand(network, 6)
    assert len(set(result.returns)) > 1 and result.action_agreement == 1.0
    assert result.trace.reference.complete  # each decision depends on those before: all are compared
    assert result.trace.totals_by_counter["zero_skip_macs"] > 0
