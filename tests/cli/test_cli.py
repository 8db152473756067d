"""The command line as a user types it: documents, exit codes, one message per mistake, nothing written on failure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from neurosim.cli import app

ROOT = Path(__file__).parents[2]
ACROBOT = ROOT / "models" / "acrobot_ppo"
STREAM = f"{ACROBOT / 'golden.npz'}:obs"
RESETS = f"{ACROBOT / 'golden.npz'}:episode_start"


def neurosim(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def document(*arguments, code=0):
    result = neurosim(*arguments, "--json")
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "acrobot.trace"
    result = neurosim("run", ACROBOT, "--inputs", STREAM, "--resets", RESETS, "--threshold", 0.05, "--trace", path)
    assert result.exit_code == 0, result.stderr
    return path


def test_run_document_has_the_promised_keys():
    d = document("run", ACROBOT, "--inputs", STREAM, "--resets", RESETS, "--threshold", 0.05, "--chip", "grai_one", "--period", "50ms")
    assert d["schema"] == "neurosim.run/1"
    for key in (
        "network",
        "timesteps",
        "numerics",
        "schedule",
        "threshold",
        "counts",
        "first_timestep",
        "input",
        "layers",
        "reduction",
        "fidelity",
        "chip",
        "energy",
        "latency",
        "cores_used",
        "mapping_counts",
    ):
        assert d[key] is not None, key
    assert set(d["network"]) >= {"name", "sha256", "neurons", "synapses", "weights", "nonzero_weights"}
    assert set(d["reduction"]) == {"vs_dense", "vs_zero_skip", "pruning", "activation", "delta", "all_ops"}
    assert set(d["fidelity"]) == {"max_abs_error", "mean_abs_error", "argmax_agreement", "timesteps_compared"}
    assert set(d["energy"]) >= {"per_timestep_j", "total_j", "low_j", "high_j", "static_j", "parts", "not_priced", "complete"}
    assert set(d["latency"]) >= {"timestep_s", "answer_s", "throughput_hz", "critical"}
    assert d["threshold"] == 0.05 and d["timesteps"] == 500 and d["counts"]["dense_macs"] == 500 * 4672
    assert d["counts"]["events"] == d["input"]["events"] + sum(layer["events_out"] for layer in d["layers"])
    assert d["counts"]["effective_macs"] == sum(layer["effective_macs"] for layer in d["layers"])
    r = d["reduction"]
    assert r["pruning"] * r["activation"] * r["delta"] == pytest.approx(r["vs_dense"], rel=1e-12)


def test_thresholds_from_a_file(tmp_path):
    names = [layer["name"] for layer in document("check", ACROBOT)["layers"]][:-1]
    file = tmp_path / "t.yaml"
    file.write_text("input: 0.1\n" + "".join(f"{name}: 0.2\n" for name in names))
    d = document("run", ACROBOT, "--inputs", STREAM, "--thresholds", file)
    assert d["threshold"] == {"input": 0.1, **dict.fromkeys(names, 0.2)}
    file.write_text("input: 0.1\nfc9: 0.2\n")
    result = neurosim("run", ACROBOT, "--inputs", STREAM, "--thresholds", file)
    assert result.exit_code == 2 and "unknown: fc9" in result.stderr and "missing" in result.stderr


def test_outputs_are_written_before_and_after_the_decoder(tmp_path):
    raw, decoded = tmp_path / "y.npy", tmp_path / "z.npy"
    assert neurosim("run", ACROBOT, "--inputs", STREAM, "--numerics", "float64", "--outputs", raw, "--decoded", decoded).exit_code == 0
    golden = np.load(ACROBOT / "golden.npz")["ref"]
    assert np.load(raw).shape == golden.shape
    assert np.allclose(np.load(raw), golden, atol=5e-4 * np.ptp(golden))
    assert np.allclose(np.load(decoded).reshape(golden.shape), golden, atol=5e-4 * np.ptp(golden))


def test_price_equals_run_with_a_chip(trace_file):
    priced = document("price", trace_file, "--chip", "loihi2")
    at_once = document("run", ACROBOT, "--inputs", STREAM, "--resets", RESETS, "--threshold", 0.05, "--chip", "loihi2")
    assert priced["energy"] == at_once["energy"] and priced["latency"] == at_once["latency"]


def test_compare_prices_three_chips_and_twelve_settings_without_simulating(trace_file, monkeypatch):
    monkeypatch.setattr("neurosim.simulation.simulate", None)
    monkeypatch.setattr("neurosim.simulation.Simulator", None)
    d = document(
        "compare",
        trace_file,
        "--chips",
        "loihi2,grai_one,loihi1_silicon_fit",
        "--hypothetical",
        "--set",
        "core.neurons=32,48,64,128",
        "--set",
        "noc.width=4,8,14",
    )
    assert d["schema"] == "neurosim.compare/1" and len(d["rows"]) == 3 * 12
    assert {(r["set"]["core.neurons"], r["set"]["noc.width"]) for r in d["rows"]} == {(n, w) for n in (32, 48, 64, 128) for w in (4, 8, 14)}
    assert all(r["fits"] for r in d["rows"]) and d["pareto"]
    assert set(d["rows"][0]) >= {"chip", "set", "fits", "why_not", "complete", "cores_used", "energy_j", "latency_s", "hops"}
    assert d["rows"][0]["cores_used"] == 2 + 2 + 1  # 64, 64 and 3 neurons on cores of 32


def test_compare_a_model_and_exit_3_when_nothing_fits(trace_file):
    assert document("compare", ACROBOT, "--inputs", STREAM, "--chips", "grai_one,horowitz_int8", "--threshold", 0.1)["rows"][0]["fits"]
    d = document("compare", trace_file, "--chips", "loihi1", code=3)
    assert d["rows"][0]["fits"] is False and "graded" in d["rows"][0]["why_not"]


@pytest.mark.parametrize("numerics", ["float32", "float64"])
def test_rollout_document(numerics):
    d = document("rollout", ROOT / "models" / "cartpole_ppo", "--episodes", 3, "--seed", 5, "--threshold", 0, "--numerics", numerics)
    assert d["schema"] == "neurosim.rollout/1"
    assert set(d) >= {
        "env",
        "episodes",
        "seed",
        "returns",
        "mean_return",
        "ci95",
        "dense",
        "paired",
        "random",
        "env_steps",
        "counts",
        "reduction",
        "action_agreement",
        "worst_step",
        "worst_step_after_first",
    }
    assert d["returns"] == d["dense"]["returns"] == [500.0] * 3


def test_tables_name_what_they_count(trace_file):
    text = neurosim("price", trace_file, "--chip", "loihi2").stdout
    assert ">=" in text and "not priced" in text and "not silicon" in text
    text = neurosim("run", ACROBOT, "--inputs", STREAM).stdout
    assert "synapses with non-zero weight met by graded events" in text and "all_ops" in text
    assert neurosim("check", ACROBOT, "--chip", "loihi2").exit_code == 0
    assert neurosim("compile", ACROBOT, "--chip", "loihi2").exit_code == 0
    assert "vendor_claim" in neurosim("chips", "grai_one").stdout
    assert document("chips")["chips"] and document("chips", "loihi2")["parameters"]


def test_budgets(trace_file):
    base = ("run", ACROBOT, "--inputs", STREAM, "--threshold", 0.05)
    assert neurosim(*base, "--max-macs", 1e6).exit_code == 0
    missed = neurosim(*base, "--chip", "grai_one", "--max-macs", 10, "--max-energy", "1pJ", "--max-latency", "1ns")
    assert missed.exit_code == 1
    assert "MACs per timestep" in missed.stderr and "energy per timestep" in missed.stderr and "longest timestep" in missed.stderr
    unproved = neurosim(*base, "--chip", "horowitz_int8", "--max-latency", "1s")
    assert unproved.exit_code == 1 and "cannot be proved" in unproved.stderr


@pytest.fixture
def bad_files(tmp_path):
    onnx = (ACROBOT / "policy.onnx").read_bytes()
    (tmp_path / "truncated.onnx").write_bytes(onnx[: len(onnx) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    good = np.load(ACROBOT / "golden.npz")["obs"]
    np.savez(tmp_path / "nan.npz", np.where(np.arange(6) == 2, np.nan, good))
    np.savez(tmp_path / "shape.npz", good[:, :5])
    np.savez(tmp_path / "none.npz", good[:0])
    np.savez(tmp_path / "two.npz", a=good, b=good)
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "chip.yaml").write_text((ROOT / "neurosim/chips/grai_one.yaml").read_text().replace("\ncore:\n", "\ncore:\n  neurns: 12\n"))
    (tmp_path / "notes.txt").write_text("hello")
    return tmp_path


MISTAKES = [
    (["run", "{d}/truncated.onnx", "--inputs", STREAM], 2, "truncated or not ONNX"),
    (["run", "{d}/empty.onnx", "--inputs", STREAM], 2, "empty"),
    (["run", "{d}/missing.onnx", "--inputs", STREAM], 2, "missing.onnx"),
    (["run", ACROBOT, "--inputs", "{d}/nan.npz"], 2, "NaN or infinity at index 0"),
    (["run", ACROBOT, "--inputs", "{d}/shape.npz"], 2, r"expected (timesteps, 6)"),
    (["run", ACROBOT, "--inputs", "{d}/none.npz"], 2, "zero timesteps"),
    (["run", ACROBOT, "--inputs", "{d}/two.npz"], 2, "two.npz:a"),
    (["run", ACROBOT, "--inputs", "{d}/two.npz:c"], 2, "no array 'c'"),
    (["run", ACROBOT, "--inputs", "{d}/pickled.npy"], 2, "holds pickled objects"),
    (["run", ACROBOT, "--inputs", "{d}/notes.txt"], 2, "not .npy/.npz"),
    (["run", ACROBOT, "--inputs", "{d}/gone.npz"], 2, "no such file"),
    (["run", ACROBOT, "--inputs", STREAM, "--threshold", "-1"], 2, "must be a finite number of 0 or more"),
    (["run", ACROBOT, "--inputs", STREAM, "--threshold", "nan"], 2, "must be a finite number of 0 or more"),
    (["run", ACROBOT, "--inputs", STREAM, "--schedule", "random"], 2, "schedule 'random' is unknown"),
    (["run", ACROBOT, "--inputs", STREAM, "--output", "values"], 2, "values"),
    (["run", ACROBOT, "--inputs", STREAM, "--chip", "{d}/chip.yaml"], 2, "neurns"),
    (["run", ACROBOT, "--inputs", STREAM, "--chip", "loihi9"], 2, "loihi9"),
    (["run", ACROBOT, "--inputs", STREAM, "--max-energy", "5uJ"], 2, "need --chip"),
    (["run", ACROBOT, "--inputs", STREAM, "--chip", "loihi2", "--max-energy", "5 us"], 2, "not a unit of energy"),
    (["run", ACROBOT, "--inputs", STREAM, "--chip", "loihi1"], 3, "graded"),
    (
        [
            "run",
            ACROBOT,
            "--inputs",
            STREAM,
            "--chip",
            "loihi2",
            "--set",
            "core.neurons=16",
            "--set",
            "noc.width=1",
            "--set",
            "noc.height=1",
        ],
        3,
        "cores",
    ),
    (["check", ACROBOT, "--chip", "loihi1"], 3, "graded"),
    (["check", ACROBOT, "--chip", "loihi2", "--set", "core.axons_in=4"], 3, "axons in"),
    (["price", "{d}/notes.txt", "--chip", "loihi2"], 2, "not a neurosim trace"),
    (["compare", ACROBOT, "--chips", "loihi2"], 2, "needs --inputs"),
    (["compare", ACROBOT, "--inputs", STREAM, "--chips", "loihi2", "--set", "core.neurns=4"], 2, "did you mean 'neurons'"),
    (["rollout", ACROBOT, "--env", "CartPole-v1"], 2, "observations have shape (4,)"),
    (["rollout", ACROBOT / "policy.onnx"], 2, "--env is needed"),
    (["rollout", ACROBOT, "--env-kwargs", "[1]"], 2, "JSON object"),
    (["chips", "loihi9"], 2, "loihi9"),
    (["compare", ACROBOT, "--inputs", STREAM, "--chips", ""], 2, "names no chip"),
    (["rollout", ACROBOT, "--period", "nonsense", "--chip", "loihi2"], 2, "--period"),
    (["rollout", ACROBOT, "--period", "20ms"], 2, "need --chip"),
    (["rollout", ACROBOT, "--seed", "-1"], 2, "seed of 0 or more"),
    (["rollout", ACROBOT, "--trace", "{d}/missing/x.trace"], 2, "cannot write"),
    (["run", ACROBOT, "--inputs", STREAM, "--outputs", "{d}/notes.txt/y.npy"], 2, "cannot write"),
    (["run", ACROBOT, "--inputs", STREAM, "--reference", "\u00b2"], 2, "reference"),
    (["run", ACROBOT, "--inputs", STREAM, "--max-macs", "nan"], 2, "not a number of 0 or more"),
    (["run", ACROBOT, "--inputs", "x" * 300 + ".npy"], 2, "cannot be read"),
    (["check", ACROBOT, "--chip", "loihi2", "--set", "notes.x=1"], 2, "notes.x"),
    (["check", ACROBOT, "--chip", "loihi2", "--set", "noc.width=100000000"], 2, "1024"),
    (["check", ACROBOT, "--set", "core.neurons=4"], 2, "needs --chip"),
]


@pytest.mark.parametrize("arguments, code, message", MISTAKES, ids=[f"{a[0]}-{m[:24]}" for a, _, m in MISTAKES])
def test_mistakes_get_one_message_and_leave_nothing_behind(bad_files, arguments, code, message):
    before = sorted(bad_files.iterdir())
    extra = ["--trace", bad_files / "out.trace"] if arguments[0] == "run" else []
    result = neurosim(*(str(a).replace("{d}", str(bad_files)) for a in arguments), *extra)
    assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
    assert message in result.stderr and "Traceback" not in result.stderr and result.stdout == ""
    assert result.stderr.count("error:") == 1
    assert sorted(bad_files.iterdir()) == before


def test_a_zero_skip_machine_is_never_free(tmp_path):
    """Its MACs are measured over the whole stream when a model is compared, and not priced when a trace has only a sample."""
    long = np.tile(np.load(ACROBOT / "golden.npz")["obs"], (3, 1))
    np.save(tmp_path / "x.npy", long)
    chips = ("--chips", "horowitz_int8,horowitz_int8_zero_skip")
    rows = document("compare", ACROBOT, "--inputs", tmp_path / "x.npy", *chips)["rows"]
    assert 0 < rows[1]["energy_j"] < rows[0]["energy_j"]
    assert neurosim("run", ACROBOT, "--inputs", tmp_path / "x.npy", "--trace", tmp_path / "t").exit_code == 0
    sampled = document("compare", tmp_path / "t", *chips)
    assert "synapse" in sampled["rows"][1]["not_priced"] and 0 in sampled["pareto"] and not sampled["rows"][1]["complete"]
    assert sampled["rows"][0]["coverage"] != sampled["rows"][1]["coverage"]


def test_list_values_and_names_that_look_like_markup(trace_file, tmp_path):
    d = document("compare", trace_file, "--chips", "loihi2", "--set", "noc.input_port=[0,0],[1,1]", "--set", "core.neurons=64")
    assert [r["set"]["noc.input_port"] for r in d["rows"]] == [[0, 0], [1, 1]]
    odd = tmp_path / "m[red]x.onnx"
    odd.write_bytes((ACROBOT / "policy.onnx").read_bytes())
    assert "m[red]x" in neurosim("check", odd).stdout


def test_nothing_runs_when_it_will_not_fit(monkeypatch):
    monkeypatch.setattr("neurosim.simulation.simulate", None)
    assert neurosim("run", ACROBOT, "--inputs", STREAM, "--chip", "loihi1").exit_code == 3
    assert document("check", ACROBOT, "--chip", "loihi1", code=3)["fits"] is False


def test_what_is_not_priced_is_not_called_met():
    """A deadline without a time, and a budget under a lower bound."""
    base = ("run", ACROBOT, "--inputs", STREAM, "--threshold", 0.05)
    text = neurosim(*base, "--chip", "horowitz_int8", "--period", "20ms").stdout
    assert "deadline cannot be judged" in text and "missed by" not in text
    bounded = neurosim(*base, "--chip", "loihi2", "--max-energy", "1J")
    assert bounded.exit_code == 0 and "lower bounds" in bounded.stderr


def test_a_model_card_is_checked_against_its_file(tmp_path):
    import shutil

    folder = tmp_path / "card"
    shutil.copytree(ACROBOT, folder)
    assert neurosim("check", folder).exit_code == 0
    shutil.copy(ROOT / "models" / "cartpole_ppo" / "policy.onnx", folder / "policy.onnx")
    assert "sha256 differs" in neurosim("check", folder).stderr


def test_the_console_script_and_its_start_up():
    """A fresh process: version, help that lists only what works, tracebacks only with --debug."""
    run = lambda *a: subprocess.run(
        [sys.executable, "-m", "neurosim", *a],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "NEUROSIM_DEBUG"},
    )
    assert run("--version").stdout.startswith("neurosim ")
    listed = run("--help").stdout
    assert all(verb in listed for verb in ("check", "run", "compile", "price", "compare", "rollout", "tune", "sweep", "report", "export", "chips", "demo"))
    assert run("frobnicate").returncode == 2
    bad = run("check", "missing.onnx")
    assert bad.returncode == 2 and "Traceback" not in bad.stderr
    assert "Traceback" in run("--debug", "check", "missing.onnx").stderr


def test_help_imports_nothing_heavy():
    code = "import sys, neurosim.cli; print([m for m in ('numba', 'numpy', 'onnx', 'scipy', 'gymnasium', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"


def test_demo():
    d = document("demo", "--episodes", 2)
    assert d["rollout"]["counts"]["effective_macs"] < d["rollout"]["counts"]["zero_skip_macs"] < d["rollout"]["counts"]["dense_macs"]
    assert len(d["compare"]["rows"]) == 3 and all(r["fits"] for r in d["compare"]["rows"])
