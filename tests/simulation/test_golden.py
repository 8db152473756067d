"""Golden vectors: every number can be derived from the others, by a loop of its own."""

import json

import numpy as np
import pytest
from simulation.test_fixed import whole
from typer.testing import CliRunner

import neurosim as ns
from neurosim.cli import app
from neurosim.errors import SimulationError
from neurosim.simulation.golden import write_golden


def test_every_number_follows_from_the_others(tmp_path):
    """Sums from the payloads that arrived so far, values from sums, payloads from values: in int64."""
    network = ns.set_thresholds(whole(), 3.0)
    rng = np.random.default_rng(0)
    xs, resets = rng.normal(size=(12, 3)) * 20, np.isin(np.arange(12), (0, 7))
    data = np.load(write_golden(network, xs, tmp_path / "g.npz", numerics="fixed", resets=resets))
    manifest = json.loads(str(data["manifest"]))
    assert manifest["numerics"] == "fixed" and manifest["layers"] == ["hidden", "out"] and data["sum_hidden"].dtype == np.int64
    assert np.array_equal(data["input"], np.clip(np.rint(xs.astype(np.float32) / np.float32(0.5)), -128, 127))
    weights = [layer.synapses[0].weight.astype(np.int64) for layer in network.layers]
    for t in range(12):
        if resets[t]:
            sums, refs = [np.full(2, 4), np.zeros(1, np.int64)], [np.zeros(3, np.int64), np.zeros(2, np.int64)]
        for i, name in enumerate(("hidden", "out")):
            source = "input" if i == 0 else "hidden"
            value = data["input"][t] if i == 0 else data["value_hidden"][t]
            d = value - refs[i]
            sent = np.where(np.abs(d) > 3, d, 0)
            assert np.array_equal(data[f"sent_{source}"][t], sent)
            refs[i] = refs[i] + sent
            sums[i] = sums[i] + weights[i] @ sent
            assert np.array_equal(data[f"sum_{name}"][t], sums[i])
        assert np.array_equal(data["value_hidden"][t], np.clip(sums[0], 0, 100)) and np.array_equal(data["output"][t], sums[1])


def test_refusals(tmp_path):
    with pytest.raises(SimulationError, match="golden vectors in float32"):
        write_golden(whole(), np.zeros((2, 3)), tmp_path / "g.npz", numerics="float32")
    with pytest.raises(SimulationError, match="give fewer timesteps"):
        write_golden(whole(), np.broadcast_to(np.zeros(3), (1 << 26, 3)), tmp_path / "g.npz")
    assert not list(tmp_path.iterdir())


def test_from_the_command_line(tmp_path):
    from pathlib import Path

    model = Path(__file__).parents[2] / "models" / "cartpole_ppo"
    np.save(tmp_path / "x.npy", np.load(model / "golden.npz")["obs"][:20])
    result = CliRunner().invoke(app, ["run", str(model), "--inputs", str(tmp_path / "x.npy"), "--numerics", "float64",
                                      "--golden", str(tmp_path / "g.npz")])
    assert result.exit_code == 0, result.stderr
    data = np.load(tmp_path / "g.npz")
    name = json.loads(str(data["manifest"]))["layers"][0]
    assert data[f"value_{name}"].shape == (20, 64) and (data[f"value_{name}"] >= 0).all() and data["sent_input"].shape == (20, 4)
