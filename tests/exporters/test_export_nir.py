"""Networks written as NIR run as before when they are read again; what NIR cannot express is named."""

import numpy as np
import pytest
from loaders.test_nir import CHAIN, GOOD, affine, io, lif, write
from typer.testing import CliRunner

import neurosim as ns
from neurosim.cli import app
from neurosim.errors import LoadError
from neurosim.exporters.nir import export_nir
from neurosim.loaders.nir import load_nir

pytest.importorskip("h5py")


def same(network, path, dt):
    again = load_nir(export_nir(network, path, dt), dt=dt)
    rng = np.random.default_rng(0)
    xs = rng.random((30, *network.input.shape))
    before, after = (ns.simulate(n, xs, numerics="float64") for n in (network, again))
    assert np.array_equal(before.outputs.reshape(30, -1), after.outputs.reshape(30, -1)) or np.allclose(before.outputs, after.outputs, atol=1e-9)
    assert {k: before.totals_by_counter[k] for k in ("dense_macs", "padded_dense_macs", "events")} == {
        k: after.totals_by_counter[k] for k in ("dense_macs", "padded_dense_macs", "events")}
    return before


def test_round_trips(tmp_path):
    rng = np.random.default_rng(3)
    assert same(load_nir(write(tmp_path / "a.nir", GOOD, CHAIN), dt=5e-4), tmp_path / "b.nir", 5e-4).outputs.any()
    back = {**GOOD, "back": affine(rng, 4, 4)}
    same(load_nir(write(tmp_path / "c.nir", back, [*CHAIN, ("lif", "back"), ("back", "lif")]), dt=5e-4), tmp_path / "d.nir", 5e-4)
    images = {**io((1, 6, 6), 3), "conv": {
        "type": "Conv2d", "input_shape": np.array([6, 6]), "weight": rng.normal(size=(2, 1, 3, 3)), "bias": np.ones(2), "stride": np.array([1, 1]),
        "padding": np.array([1, 0]), "dilation": np.array([1, 1]), "groups": 1},
        "if": {"type": "IF", "r": np.ones((2, 6, 4)), "v_threshold": np.full((2, 6, 4), 0.8)},
        "pool": {"type": "SumPool2d", "kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])},
        "flat": {"type": "Flatten", "start_dim": 1, "end_dim": -1}, "fc": affine(rng, 3, 12)}
    edges = [("input", "conv"), ("conv", "if"), ("if", "pool"), ("pool", "flat"), ("flat", "fc"), ("fc", "output")]
    same(load_nir(write(tmp_path / "e.nir", images, edges)), tmp_path / "f.nir", 1e-4)


def test_what_nir_cannot_express_is_named(tmp_path):
    from pathlib import Path

    with pytest.raises(LoadError, match="NIR cannot express it:\n  layer .*: activation relu"):
        export_nir(ns.load(Path(__file__).parents[2] / "models" / "lunarlander_dqn"), tmp_path / "m.nir")
    assert not list(tmp_path.iterdir())
    with pytest.raises(LoadError, match="take the threshold off"):
        export_nir(load_nir(write(tmp_path / "a.nir", GOOD, CHAIN), style="spyx"), tmp_path / "m.nir")


def test_command(tmp_path):
    path = write(tmp_path / "a.nir", {**io(3, 4), "fc": affine(np.random.default_rng(0), 4, 3), "lif": lif(4)}, CHAIN)
    result = CliRunner().invoke(app, ["export", "nir", str(path), "-o", str(tmp_path / "b.nir")])
    assert result.exit_code == 0, result.stderr
    assert CliRunner().invoke(app, ["check", str(tmp_path / "b.nir"), "--dt", "1e-4"]).exit_code == 0
