"""`neurosim sweep`: what a user types first, and what goes wrong then."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from neurosim.cli import app

MODEL = Path(__file__).parents[2] / "models" / "cartpole_ppo" / "policy.onnx"


def sweep(*arguments):
    return CliRunner().invoke(app, ["sweep", *map(str, arguments)])


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32))
    Path("s.yaml").write_text(f"name: small\nworkload: {{inputs: x.npy}}\nruns: {{model: '{MODEL}', threshold: [0, 0.1]}}\n"
                              "prices: {chip: loihi2, core.neurons: [16, 32]}\n")
    return "s.yaml"


def test_table_and_json(study):
    first = sweep(study, "--workers", 1)
    assert first.exit_code == 0, first.stderr
    assert "front of energy per timestep" in first.stdout and "4 rows of 2 runs" in first.stderr
    document = json.loads(sweep("small", "--workers", 1, "--json").stdout)
    assert (document["n_rows"], document["n_runs"], document["simulated"], document["priced"]) == (4, 2, 0, 0)
    assert document["front"] and all(row["on_front"] for row in document["front"])


def test_join_and_dashboard(study):
    done = sweep(study, "-o", "shared", "--join", "--workers", 1, "--dashboard", "trials.journal", "--json")
    assert done.exit_code == 0, done.stderr
    assert Path("shared/claims.journal").is_file() and "optuna-dashboard trials.journal" in done.stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (("missing.yaml",), "missing.yaml"),
    (("s.yaml", "--storage", "x"), "--storage belongs to --join"),
    (("s.yaml", "--workers", 1, "--scheduler", "tcp://127.0.0.1:1"), "give one of them"),
    (("s.yaml", "--workers", 0), "at least 1"),
    ((".",), "not the folder of a study"),
    (("s.yaml", "-o", "."), "holds something else"),
    (("s.yaml", "-o", "x.npy"), "holds something else"),
    (("s.yaml", "--join", "--workers", 1, "--storage", "postgresql://127.0.0.1:9/x"), "as storage"),
])  # fmt: skip
def test_refusals(study, arguments, message):
    result = sweep(*arguments)
    assert result.exit_code == 2 and message in result.stderr and "Traceback" not in result.stderr


def test_report_of_a_study(study):
    pytest.importorskip("bokeh")
    assert sweep(study, "--workers", 1).exit_code == 0
    result = CliRunner().invoke(app, ["report", "small", "-o", "small.html"])
    assert result.exit_code == 0, result.stderr
    page = Path("small.html").read_text()
    assert "4 configurations, 4 fit" in page and len(page) < 5_000_000
    Path("other").mkdir()
    refused = CliRunner().invoke(app, ["report", "other", "-o", "x.html"])
    assert refused.exit_code == 2 and "not the folder of a study" in refused.stderr and not Path("x.html").exists()
