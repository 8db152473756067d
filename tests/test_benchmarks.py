"""The benchmarks run: small inputs, no times asserted."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODEL = Path(__file__).parents[1] / "models" / "acrobot_ppo"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_of_the_benchmark():
    pytest.importorskip("onnxruntime")
    observations = np.load(MODEL / "golden.npz")["obs"][:20]
    rows = script("bench").measure("acrobot", MODEL / "policy.onnx", observations)
    assert [row["threshold"] for row in rows] == [0.0, 0.01, 0.05, 0.1]
    assert all(row["run_us"] > 0 and row["ratio"] > 0 and row["dense_macs_per_timestep"] == 4672 for row in rows)
    assert rows[-1]["synaptic_ops_per_timestep"] < rows[0]["synaptic_ops_per_timestep"]


def test_the_network_of_the_benchmark(tmp_path):
    import neurosim as ns

    frames = np.random.default_rng(0).integers(0, 256, (200, 84, 84, 4), dtype=np.uint8)
    script("bench").nature_cnn(tmp_path / "n.onnx", frames)
    network = ns.load(tmp_path / "n.onnx")
    assert network.static_total("dense_macs") == 9_346_048 and network.input.shape == (84, 84, 4)


def test_the_threshold_curve(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    curve = script("threshold_curve")
    monkeypatch.setattr(curve, "THRESHOLDS", (0.0, 0.5))
    monkeypatch.setattr(curve, "__file__", str(tmp_path / "benchmarks" / "threshold_curve.py"))
    monkeypatch.setattr("sys.argv", ["threshold_curve.py", str(MODEL), "--episodes", "2"])
    curve.main()
    assert {p.suffix for p in (tmp_path / "docs" / "figures").iterdir()} == {".svg", ".json"}
