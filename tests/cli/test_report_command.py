"""`neurosim report` as a user types it: a trace on a chip, a study, refusals; nothing is left behind on failure."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neurosim.cli import app

pytest.importorskip("bokeh")

ACROBOT = Path(__file__).parents[2] / "models" / "acrobot_ppo"


def neurosim(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "acrobot.trace"
    result = neurosim("run", ACROBOT, "--inputs", f"{ACROBOT / 'golden.npz'}:obs", "--threshold", 0.05, "--trace", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def study_file(trace_file):
    result = neurosim("compare", trace_file, "--chips", "loihi2,grai_one", "--set", "core.neurons=16,64", "--json")
    assert result.exit_code == 0, result.stderr
    path = trace_file.with_name("cores.json")
    path.write_text(result.stdout)
    return path


def test_report_of_a_trace(trace_file, study_file, tmp_path):
    out = tmp_path / "r.html"
    result = neurosim("report", trace_file, "--chip", "loihi2", "--set", "core.neurons=16", "--period", "50ms", "--study", study_file, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{out}: ") and "open it in a browser: file://" in result.stderr
    text, priced = out.read_text(encoding="utf-8"), neurosim("price", trace_file, "--chip", "loihi2", "--set", "core.neurons=16", "--json")
    price = json.loads(priced.stdout)
    assert f'value="{price["energy"]["per_timestep_j"]}"' in text and "energy of a control period" in text
    assert "core.neurons=16" in text and '<section id="front"' in text
    assert f"core {price['latency']['critical']['core']} ({price['latency']['critical']['layer']})" in text


def test_report_of_a_study(study_file, tmp_path):
    out = tmp_path / "s.html"
    assert neurosim("report", study_file, "-o", out).exit_code == 0
    text, document = out.read_text(encoding="utf-8"), json.loads(study_file.read_text())
    assert "<h1>cores</h1>" in text and f"4 configurations, 4 fit, {len(document['pareto'])} are on the front" in text
    assert all(f'data-value="{row["energy_j"]}"' in text for row in document["rows"])
    assert "core.neurons" in text


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("{trace}",), "is a trace: give the --chip on which it is to be priced"),
        (("{trace}.gone", "--chip", "loihi2"), "no such file"),
        (("{trace}", "--chip", "loihi2", "--study", "{trace}"), "is neither a trace nor a document of `neurosim compare --json`"),
        (("{trace}", "--chip", "loihi2", "--period", "50"), "--period: '50' is not a number with a unit"),
        (("{study}", "--chip", "loihi2"), "is no trace: --chip, --set, --period and --study need one"),
        (("{junk}",), "is neither a trace nor a document of `neurosim compare --json`: it has no rows"),
    ],
)
def test_refusals(trace_file, study_file, tmp_path, arguments, said):
    junk, out = tmp_path / "junk.json", tmp_path / "r.html"
    junk.write_text('{"rows": 3}')
    result = neurosim("report", *(a.format(trace=trace_file, study=study_file, junk=junk) for a in arguments), "-o", out)
    assert result.exit_code == 2 and said in result.stderr and not out.exists()


def test_a_folder_that_is_missing_and_a_network_that_does_not_fit(trace_file, tmp_path):
    result = neurosim("report", trace_file, "--chip", "loihi2", "-o", tmp_path / "gone" / "r.html")
    assert result.exit_code == 2 and "its folder is missing or not writable" in result.stderr
    result = neurosim("report", trace_file, "--chip", "loihi2", "--set", "core.neurons=1", "--set", "noc.width=1", "-o", tmp_path / "r.html")
    assert result.exit_code == 3 and not (tmp_path / "r.html").exists()


def test_missing_packages_are_named(trace_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    result = neurosim("report", trace_file, "--chip", "loihi2", "-o", tmp_path / "r.html")
    assert result.exit_code == 2 and "reports need bokeh (pip install 'neurosim-chip[report]')" in result.stderr
