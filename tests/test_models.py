"""The shipped policies: files as described, values as recorded, returns as expected."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import neurosim as ns
from neurosim.model_card import read_card

FOLDERS = sorted(p.parent for p in (Path(__file__).parents[1] / "models").glob("*/model.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_files_are_the_described_ones(folder):
    card = read_card(folder / "model.yaml")
    assert card.name == folder.name and card.licence == "MIT" and card.recipe.startswith("python models/train/")
    assert hashlib.sha256((folder / card.weights).read_bytes()).hexdigest() == card.sha256
    assert card.expected.ci95[0] <= card.expected.mean_return <= card.expected.ci95[1]
    assert card.expected.ci95[0] > card.expected.random_mean_return


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_golden_vectors(folder):
    """Recorded onnxruntime outputs of the policy's own play (float32): the event-driven run at threshold 0 gives them."""
    golden = np.load(folder / "golden.npz", allow_pickle=False)
    trace = ns.simulate(ns.load(folder), golden["obs"], resets=golden["episode_start"], numerics="float64")
    assert np.allclose(trace.outputs, golden["ref"], rtol=0, atol=1e-5 * np.ptp(golden["ref"]))
    assert trace.reference.max_abs_error < 1e-12 * np.ptp(golden["ref"])
    assert np.array_equal(trace.outputs.argmax(axis=1), golden["ref"].argmax(axis=1))


@pytest.mark.parametrize("name", ["cartpole_ppo", "acrobot_ppo", "lunarlander_dqn"])
def test_at_threshold_zero_the_policy_plays_as_the_dense_one(name):
    folder = next(f for f in FOLDERS if f.name == name)
    card = read_card(folder / "model.yaml")
    if name == "lunarlander_dqn":
        pytest.importorskip("Box2D")
    result = ns.rollout(ns.load(folder), card.env.id, episodes=4, seed=card.expected.seed, action=card.action, numerics="float64")
    assert result.returns.tolist() == result.dense_returns.tolist()
    assert result.action_agreement == 1.0
    assert result.returns.mean() > result.random_returns.mean()


def test_hopper_runs_in_mujoco():
    """Real MuJoCo; returns of a physics engine are not asserted to the digit."""
    pytest.importorskip("mujoco")
    folder = next(f for f in FOLDERS if f.name == "hopper_ppo")
    result = ns.rollout(ns.load(folder), "Hopper-v5", episodes=2, seed=0, numerics="float64")
    assert result.returns.mean() > 1000 > result.random_returns.mean()
