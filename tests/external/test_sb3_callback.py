"""The callback during a real training of Stable-Baselines3: figures in the logger, the training undisturbed."""

import numpy as np
import pytest

from neurosim.errors import SimulationError
from neurosim.sb3_callback import delta_callback, measure

sb3 = pytest.importorskip("stable_baselines3")


def trained(callback, normalised=False):
    import gymnasium as gym
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    env = VecNormalize(env) if normalised else env
    model = sb3.PPO("MlpPolicy", env, seed=1, n_steps=256, device="cpu")
    model.learn(1024, callback=callback)
    return model


def test_figures_are_those_of_the_policy_and_the_training_is_the_same():
    callback = delta_callback("CartPole-v1", every=512, episodes=3, threshold=0.01)
    model = trained(callback)
    assert [row["timesteps"] for row in callback.history] == [512, 1024]
    last = callback.history[-1]
    assert 0 < last["macs_per_decision"] < last["dense_macs"] == 4 * 64 + 64 * 64 + 64 * 2
    assert last["reduction"] == last["dense_macs"] / last["macs_per_decision"]
    assert measure(model, "CartPole-v1", 3, 50_000, 0.01, None, None) == {k: v for k, v in last.items() if k != "timesteps"}
    plain = trained(None)
    for a, b in zip(model.policy.parameters(), plain.policy.parameters(), strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_normalised_observations():
    """Statistics of VecNormalize go into the graph: what is logged is the normalised policy."""
    callback = delta_callback("CartPole-v1", every=2000, episodes=2)
    model = trained(callback, normalised=True)
    env = model.get_vec_normalize_env()
    assert len(callback.history) == 1 and callback.history[0]["return"] == callback.history[0]["dense_return"] > 5
    import gymnasium as gym

    raw, total, over = gym.make("CartPole-v1"), 0.0, False
    observation, _ = raw.reset(seed=50_000)
    while not over:
        action, _ = model.predict(env.normalize_obs(observation[None]), deterministic=True)
        observation, reward, terminated, truncated, _ = raw.step(int(action[0]))
        total, over = total + reward, terminated or truncated
    played = measure(model, "CartPole-v1", 1, 50_000, 0.0, None, None)
    assert played["return"] == total


def test_options():
    with pytest.raises(SimulationError, match="both are at least 1"):
        delta_callback("CartPole-v1", every=0)


def test_mlflow_holds_the_same_figures(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    try:
        with mlflow.start_run() as run:
            callback = delta_callback("CartPole-v1", every=512, episodes=2, mlflow=True)
            trained(callback)
        kept = mlflow.MlflowClient().get_metric_history(run.info.run_id, "neurosim/macs_per_decision")
    finally:
        mlflow.set_tracking_uri("")
    assert {m.step for m in kept} == {512, 1024}
    assert kept[-1].value == callback.history[-1]["macs_per_decision"] and kept[0].value == callback.history[0]["macs_per_decision"]
