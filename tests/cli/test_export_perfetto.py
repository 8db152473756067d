"""`neurosim export perfetto`: the file of the library, written whole or not at all."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import neurosim as ns
from neurosim.cli import app
from neurosim.trace_file import load_trace

perfetto = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")

from neurosim.view.timeline import timeline  # noqa: E402

ACROBOT = Path(__file__).parents[2] / "models" / "acrobot_ppo"


def export(*arguments):
    return CliRunner().invoke(app, ["export", "perfetto", *map(str, arguments)])


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("perfetto") / "acrobot.trace"
    stream = ["--inputs", f"{ACROBOT / 'golden.npz'}:obs", "--resets", f"{ACROBOT / 'golden.npz'}:episode_start"]
    result = CliRunner().invoke(app, ["run", str(ACROBOT), *stream, "--threshold", "0.05", "--reference", "none", "--trace", str(path)])
    assert result.exit_code == 0, result.stderr
    return path


def test_the_file_is_that_of_the_library(trace_file, tmp_path):
    out = tmp_path / "a.perfetto-trace"
    result = export(trace_file, "--chip", "loihi1", "-o", out, "--first", 3, "--timesteps", 5, "--flows", 2, "--set", "core.neurons=16",
                    "--hypothetical", "--placement", "snake", "--balance")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(out) and "ui.perfetto.dev" in result.stderr and list(tmp_path.iterdir()) == [out]
    trace, chip = load_trace(trace_file), ns.Chip.load("loihi1").with_settings({"core.neurons": 16})
    program = ns.compile(trace.network, chip, trace, "snake", balance=True, hypothetical=True)
    assert out.read_bytes() == timeline(trace, program, first=3, timesteps=5, flows_per_timestep=2)
    parsed = perfetto.Trace()
    parsed.ParseFromString(out.read_bytes())
    steps = [p.track_event.name for p in parsed.packet if p.track_event.name.startswith("timestep ")]
    assert steps == [f"timestep {t}" for t in range(3, 8)]
    cores = [p for p in parsed.packet if p.track_descriptor.name.startswith("core ")]
    assert len(cores) == program.cores_used > 3


def test_without_options_the_first_200_timesteps(trace_file, tmp_path):
    out = tmp_path / "a.perfetto-trace"
    assert export(trace_file, "--chip", "loihi2", "-o", out).exit_code == 0
    parsed = perfetto.Trace()
    parsed.ParseFromString(out.read_bytes())
    assert sum(p.track_event.name.startswith("timestep ") for p in parsed.packet) == 200


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--chip", "loihi1"), 3, "does not fit loihi1"),
        (("--chip", "seneca", "--hypothetical"), 2, "seneca publishes no times"),
        (("--chip", "horowitz_int8"), 2, "has no cores"),
        (("--chip", "loihi2", "--first", 500), 2, "events are recorded for 500 timesteps"),
        (("--chip", "loihi2", "--timesteps", 0), 2, "0 timesteps from 0 on"),
        (("--chip", "loihi2", "--flows", -1), 2, "flows per timestep: -1"),
    ],
)
def test_refusals_leave_no_file(trace_file, tmp_path, arguments, code, message):
    result = export(trace_file, "-o", tmp_path / "a.perfetto-trace", *arguments)
    assert result.exit_code == code and message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_said_first(tmp_path):
    result = export("none.trace", "--chip", "loihi2", "-o", tmp_path / "none" / "a.perfetto-trace")
    assert result.exit_code == 2 and "its folder is missing" in result.stderr
    result = export("none.trace", "--chip", "loihi2", "-o", tmp_path / "a.perfetto-trace")
    assert result.exit_code == 2 and "none.trace: no such file" in result.stderr
