"""The benchmarks run: small inputs, no times asserted."""

import importlib.util
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODEL = Path(__file__).parents[1] / "models" / "acrobot_ppo"
FIELDS = {"part", "work", "value", "unit", "goal", "at_least", "met", "names", "reference", "ours", "causes"}


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_quick_run_prints_and_writes_every_figure(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "results.json"
    import_module("bench").main(["--quick", "--json", str(path)])
    printed, document = capsys.readouterr().out, json.loads(path.read_text())
    assert document["schema"] == "neurosim.bench/1"
    assert set(document["first_run"]) == {"from_cache", "load_model_s", "first_run_s"}
    rows = document["rows"]
    assert list(dict.fromkeys(row["part"] for row in rows)) == list(document["notes"]) == list(import_module("parts").PARTS)
    for row in rows:
        assert set(row) == FIELDS and np.isfinite(row["value"]) and row["work"] in printed
        assert (row["met"] is None) == (row["goal"] is None)
        if row["names"][0] == "onnxruntime us":
            assert row["value"] == pytest.approx(row["reference"] / row["ours"])
            assert set(row["causes"]) == {"kmac_per_timestep", "gmac_per_s", "roofline", "fused", "add_rows"}
    assert f"of {sum(row['goal'] is not None for row in rows)} goals met" in printed


def test_goals_of_atari_stand_at_their_lines(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    parts = import_module("parts")
    rows = {figure.work: figure for figure in parts.pong(parts.Size.small(tmp_path))}
    goals = [rows[f"byte frames, threshold {t:g}"].goal for t in parts.THRESHOLDS]
    assert goals == [4.5, 10, 40, 80]
    assert rows["98 % pruned, threshold 0.05"].goal == 110 and rows["8-bit weights, threshold 0"].goal == 13
    assert rows["float32 channel-first frames, threshold 0"].goal is None
    for t in ("0", "0.01", "0.05"):
        assert rows[f"of the roofline (better loop), threshold {t}"].goal == 60
    macs = [rows[f"byte frames, threshold {t:g}"].causes["kmac_per_timestep"] for t in parts.THRESHOLDS]
    assert macs[-1] < macs[0]
    assert rows["float32 channel-first frames, threshold 0"].causes["kmac_per_timestep"] == pytest.approx(macs[0], rel=0.05)


def test_a_missed_goal_prints_its_causes():
    figures = import_module("figures")
    causes = {"kmac_per_timestep": 800.0, "gmac_per_s": 8.0, "roofline": 0.5, "fused": 0.4, "add_rows": 0.5}
    missed, met = (figures.ratio("part", "work", 400.0, 100.0, goal, causes=causes) for goal in (4.5, 4))
    assert missed.met is False and met.met is True and met.line().endswith("met")
    assert "4.00x" in missed.line() and ">= 4.50x" in missed.line() and "MISSED" in missed.line()
    assert "800.0 kMAC per timestep, 8.00 GMAC/s, 50% of the measured roofline" in missed.line().splitlines()[1]
    assert figures.excess("part", "work", 10.0, 12.0, 1.1).met is False and figures.excess("part", "work", 10.0, 10.5, 1.1).met


def test_a_part_without_its_frames_is_skipped(tmp_path, monkeypatch, capsys):
    bench, parts, workloads = (import_module(name) for name in ("bench", "parts", "workloads"))
    from neurosim.errors import SimulationError

    def missing(game, n):
        raise SimulationError("ale-py is not installed")

    monkeypatch.setattr(workloads, "atari_frames", missing)
    figures, notes = bench.run(["breakout"], parts.Size(tmp_path))
    assert figures == [] and "skipped: ale-py is not installed" in notes["breakout"]
    assert "skipped: ale-py is not installed" in capsys.readouterr().out


def test_the_network_of_the_benchmark(tmp_path):
    import neurosim as ns
    from neurosim import dense

    workloads = import_module("workloads")
    frames = np.random.default_rng(0).integers(0, 256, (20, 84, 84, 4), dtype=np.uint8)
    layers = workloads.nature_cnn(tmp_path / "n.onnx", frames)
    network = ns.load(tmp_path / "n.onnx")
    assert network.static_total("dense_macs") == 9_346_048 and network.input.shape == (84, 84, 4)
    _, activations, answers = dense.evaluate(network, frames[::2])
    assert [np.percentile(np.abs(a), 99) for a in activations] == pytest.approx([1.0] * 5, rel=1e-4)
    chw = workloads.channels_first(frames)
    path = workloads.write_onnx(tmp_path / "chw.onnx", layers, chw.shape[1:])
    assert dense.evaluate(ns.load(path), chw[::2])[2] == pytest.approx(answers, abs=1e-5)


def test_inputs_of_the_benchmark():
    workloads = import_module("workloads")
    changing = workloads.changing_bytes(50, (3, 4))
    assert changing.dtype == np.uint8 and (changing[1:] != changing[:-1]).all()
    few = workloads.few_changes(20, 100)
    assert few.dtype == np.float32 and ((few[1:] != few[:-1]).sum(axis=1) == 2).all()
    walk = workloads.random_walk(1000)
    assert walk.shape == (1000, 17) and np.diff(walk, axis=0).std() == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8", "float64", "float32 in float64"])
def test_loops_of_the_roofline_do_what_they_count(kind):
    roofline = import_module("roofline")
    real = np.dtype(roofline.KINDS[kind][0])
    rng = np.random.default_rng(0)
    values, payloads = np.repeat(rng.integers(-3, 4, (32, 1)), 64, axis=1), roofline._aligned((32,), real)
    weights, payloads[:] = roofline.as_stored(kind, values), rng.normal(size=32)
    expected = 2 * payloads.astype(np.float64) @ values
    fused, own = np.zeros(64, real), roofline._aligned((64,), real)
    roofline._fused(kind)(fused, weights, payloads, 2)
    assert fused == pytest.approx(expected, abs=1e-4)
    if kind != "bfloat16" or roofline.target.VECTORS:
        rows = weights.ctypes.data + np.arange(32) * weights.strides[0]
        roofline._add_rows(kind)(*(a.ctypes.data for a in (own, rows, payloads)), 32, 8, 64, 2, None)
        assert own == pytest.approx(expected, abs=1e-4)


def test_the_ceiling_follows_where_weights_lie():
    import neurosim as ns

    roofline = import_module("roofline")
    sizes = (1, roofline.target.L1_BYTES, roofline.target.L1_BYTES + 1, roofline.target.L2_BYTES + 1)
    assert [roofline.level_of(n) for n in sizes] == ["L1", "L1", "L2", "L3"]
    network = ns.load(MODEL / "policy.onnx")
    stored = roofline.stored_weights(ns.Simulator(network))
    assert all(s.kind == "float32" and not s.sparse and s.n_bytes >= 4 * row["weights"] for s, row in zip(stored, network.static_counts))
    assert stored[1].n_bytes == 4 * 64 * 64
    pruned = roofline.stored_weights(ns.Simulator(ns.prune(network, 0.99)))[1]
    assert pruned.sparse and pruned.n_bytes == (4 + 2) * round(0.01 * 64 * 64)


def test_the_threshold_curve(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    curve = script("threshold_curve")
    monkeypatch.setattr(curve, "THRESHOLDS", (0.0, 0.5))
    monkeypatch.setattr(curve, "__file__", str(tmp_path / "benchmarks" / "threshold_curve.py"))
    monkeypatch.setattr("sys.argv", ["threshold_curve.py", str(MODEL), "--episodes", "2"])
    curve.main()
    assert {p.suffix for p in (tmp_path / "docs" / "figures").iterdir()} == {".svg", ".json"}
