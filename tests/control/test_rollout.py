"""Closed loop: real environments, paired seeds, resets on the very step, refusals before the first step."""

import gymnasium
import numpy as np
import pytest
from networks import RELU, full, layer, network

from neurosim.control import DeltaPolicy, VectorDeltaPolicy, rollout
from neurosim.control.environment import make_environment
from neurosim.control.policy import to_action
from neurosim.control.statistics import mean_interval, paired_difference
from neurosim.errors import SimulationError
from neurosim.network import INPUT
from neurosim.simulation import simulate
from neurosim.synapses import Synapses
from neurosim.transforms import prune, set_thresholds


def balancer(threshold=0.0):
    """A hand-made CartPole policy behind one hidden ReLU layer: push right when x/4 + v/2 + 4 angle + angular speed > 0."""
    gains = np.array([0.25, 0.5, 4.0, 1.0])
    hidden = Synapses("full", INPUT, (1, 1, 4), (1, 1, 2), np.stack([gains, -gains]))
    out = Synapses("full", 0, (1, 1, 2), (1, 1, 2), np.array([[0.0, 1.0], [1.0, 0.0]]))
    return set_thresholds(network([layer("hidden", hidden, RELU), layer("logits", out, ())], (4,)), threshold)


def test_at_threshold_zero_in_float64_the_returns_are_the_dense_policys():
    result = rollout(balancer(), "CartPole-v1", episodes=5, seed=3, numerics="float64")
    assert result.returns.tolist() == result.dense_returns.tolist()
    assert result.returns.mean() > 400 > 60 > result.random_returns.mean()
    assert result.action_agreement == 1.0
    document = result.to_dict()
    assert document["paired"] == {"mean": 0.0, "ci95": [0.0, 0.0]}
    assert document["env_steps"] == result.lengths.sum() == result.returns.sum()


def test_the_trace_is_that_of_the_observations_played():
    """Replaying the recorded play through `simulate` gives the same counts: state was cleared on each reset, and only there."""
    seen, starts = [], []

    class Watch(gymnasium.Wrapper):
        def reset(self, **kwargs):
            observation, info = self.env.reset(**kwargs)
            seen.append(observation)
            starts.append(True)
            return observation, info

        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            if not (terminated or truncated):
                seen.append(observation)
                starts.append(False)
            return observation, reward, terminated, truncated, info

    network_ = balancer(0.02)
    result = rollout(network_, Watch(gymnasium.make("CartPole-v1")), episodes=3, seed=0, numerics="float64")
    n = result.trace.n_timesteps
    again = simulate(network_, np.stack(seen[:n]), resets=np.array(starts[:n]), numerics="float64", reference="all")
    assert np.array_equal(again.counts, result.trace.counts)
    assert np.array_equal(again.event_element, result.trace.event_element)
    assert again.totals_by_counter == result.trace.totals_by_counter
    assert result.to_dict()["worst_step"] == result.macs_per_decision().max()


def test_a_large_threshold_loses_the_task():
    """From some threshold on nothing is sent any more and the pole falls."""
    result = rollout(balancer(2.0), "CartPole-v1", episodes=5, seed=0)
    assert result.returns.mean() < 50 and result.action_agreement < 1


def test_the_baseline_may_be_another_network():
    lame = prune(balancer(), {"hidden": 0.75})
    result = rollout(lame, "CartPole-v1", episodes=2, seed=0, baseline=balancer())
    assert result.dense_returns.mean() > result.returns.mean()


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED"])
def test_vector_environments_reset_state_with_the_environment(mode):
    """Per sub-environment, the vector policy acts as a fresh policy does from the first observation of each episode."""
    mode = gymnasium.vector.AutoresetMode[mode]
    envs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1", max_episode_steps=7)] * 2, autoreset_mode=mode)
    net = balancer(0.3)
    policy = VectorDeltaPolicy(net, envs, "argmax")
    observations, _ = envs.reset(seed=5)
    fresh = [DeltaPolicy(net, envs.single_action_space, "argmax") for _ in range(2)]
    policy.reset()
    ended = np.zeros(2, bool)
    n_resets = 0
    for _ in range(30):
        actions = policy.act(observations)
        for i in range(2):
            assert actions[i] == fresh[i].act(observations[i])
        previous = ended
        observations, _, terminated, truncated, _ = envs.step(actions)
        ended = terminated | truncated
        policy.observe(ended)
        begins = {"NEXT_STEP": previous, "SAME_STEP": ended, "DISABLED": np.zeros(2, bool)}[mode.name]
        if mode.name == "DISABLED" and ended.any():
            observations, _ = envs.reset(options={"reset_mask": ended})
            policy.reset(ended)
            begins, ended = ended, np.zeros(2, bool)
        for i in np.flatnonzero(begins):
            # independent of the policy's own bookkeeping: a first observation of CartPole lies within 0.05 of 0
            assert np.abs(observations[i]).max() <= 0.05
            fresh[i] = DeltaPolicy(net, envs.single_action_space, "argmax")
            n_resets += 1
    assert n_resets >= 6
    envs.close()


def test_actions():
    box = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    assert to_action(np.array([0.1, 3.0, -1.0]), "argmax", gymnasium.spaces.Discrete(3)) == 1
    assert to_action(np.array([[2.0, -0.5]]), "clip", box).tolist() == [1.0, -0.5]
    assert to_action(np.array([2.0, -0.5]), "identity", box).tolist() == [2.0, -0.5]
    assert to_action(np.array([0.1, 3.0]), "argmax", gymnasium.spaces.Discrete(2, start=5)) == 6
    assert to_action(np.array([[2]]), "identity", gymnasium.spaces.Discrete(3)) == 2


REFUSALS = [
    (dict(env="Acrobot-v1"), r"observations have shape \(6,\), input 'x' takes \(4,\).*2 outputs, the environment 3 actions"),
    (dict(env="NoSuchEnv-v0"), "environment NoSuchEnv-v0"),
    (dict(env="CartPole-v1", action="clip"), "action 'clip' hands over 2 values"),
    (dict(env="CartPole-v1", action="softmax"), "action 'softmax' is unknown"),
    (dict(env="CartPole-v1", episodes=0), "0 episodes"),
    (dict(env="CartPole-v1", preprocess="crop"), "preprocessing 'crop' is unknown"),
    (dict(env="CartPole-v1", env_kwargs={"wings": 2}), "environment CartPole-v1"),
    (dict(env="Pendulum-v1", action="argmax"), "argmax chooses among discrete actions"),
]


@pytest.mark.parametrize("arguments, message", REFUSALS, ids=[m[:30] for _, m in REFUSALS])
def test_refusals(arguments, message):
    with pytest.raises(SimulationError, match=message):
        rollout(balancer(), **arguments)


def test_channels_in_another_order_are_named():
    class Camera(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
        action_space = gymnasium.spaces.Discrete(2)

    net = network([layer("l", full(INPUT, 192, 2, rng=np.random.default_rng(0)), ())], (3, 8, 8))
    with pytest.raises(SimulationError, match="channels first against channels last"):
        rollout(net, Camera())


def test_dictionary_observations_are_refused():
    class Maze(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict({"x": gymnasium.spaces.Discrete(3)})
        action_space = gymnasium.spaces.Discrete(2)

    with pytest.raises(SimulationError, match="observations are Dict, one array"):
        rollout(balancer(), Maze())


def test_atari_preprocessing_gives_the_papers_observations():
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    env = make_environment("ALE/Pong-v5", preprocess="atari")
    observation, _ = env.reset(seed=0)
    assert observation.shape == (4, 84, 84) and observation.dtype == np.uint8
    env.close()


def test_intervals():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = mean_interval(values)
    assert low < values.mean() < high and 0.3 < high - low < 0.5  # 2 x 1.96 x 2 / sqrt(400) = 0.39
    assert mean_interval([5.0, 5.0]) == (5.0, 5.0)
    assert np.isnan(mean_interval([5.0])).all()
    assert paired_difference([3.0, 4.0], [1.0, 2.0]) == {"mean": 2.0, "ci95": [2.0, 2.0]}


def test_remaining_time_follows_the_observation():
    """1 - t / 200 on Pendulum, starting again with each episode; refused where there is no limit or no vector."""
    from neurosim.control.environment import make_environment

    env = make_environment("Pendulum-v1", preprocess="time_feature")
    first, _ = env.reset(seed=0)
    second = env.step(np.zeros(1))[0]
    assert first.shape == env.observation_space.shape == (4,) and (first[3], second[3]) == (1.0, 1 - 1 / 200)
    assert env.reset(seed=0)[0].tolist() == first.tolist() and env.observation_space.contains(second)
    env.close()
    with pytest.raises(SimulationError, match="an environment with a time limit"):
        make_environment("FrozenLake-v1", preprocess="time_feature")
