"""Networks trained by others, run as delta events from the command line on their recorded streams."""

import json

import numpy as np
import pytest
from external.test_reference_models import FOLDER, models, pytestmark  # noqa: F401
from typer.testing import CliRunner

from neurosim.cli import app


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("entry", models(), ids=lambda e: e["name"])
def test_at_threshold_zero(entry, tmp_path):
    """MAC counts of the manifest; float64 within 5e-4 of the range of the recorded outputs; float32 within 2e-3 of float64's."""
    folder = FOLDER / entry["name"]
    stream = np.load(folder / "stream.npz")
    key = next(k for k in ("obs", "x", "images_u8") if k in stream)
    expected = next(stream[k] for k in ("ref", "ref_logits") if k in stream)
    model = next(folder.glob("*.onnx"))
    shape = json.loads(run("check", model, "--json"))["network"]["input"]["shape"]
    inputs = stream[key].reshape(len(stream[key]), *shape)
    arrays = {"inputs": inputs} | ({"starts": stream["episode_start"]} if "episode_start" in stream else {})
    np.savez(tmp_path / "x.npz", **arrays)
    answers = {}
    for numerics in ("float64", "float32"):
        outputs, decoded = tmp_path / f"{numerics}.npy", tmp_path / f"{numerics}_decoded.npy"
        options = ["--resets", f"{tmp_path / 'x.npz'}:starts"] if "starts" in arrays else []
        document = json.loads(run("run", model, "--inputs", f"{tmp_path / 'x.npz'}:inputs", "--threshold", 0, "--numerics", numerics,
                                  "--outputs", outputs, "--decoded", decoded, "--reference", "100", "--json", *options))
        assert document["counts"]["dense_macs"] == entry["dense_macs"] * len(inputs)
        assert document["counts"]["padded_dense_macs"] == entry["padded_dense_macs"] * len(inputs)
        answers[numerics] = np.load(outputs)
        if numerics == "float64":
            found = np.load(decoded).reshape(expected.shape)
            np.testing.assert_allclose(found, expected, rtol=0, atol=5e-4 * np.ptp(expected))
    np.testing.assert_allclose(answers["float32"], answers["float64"], rtol=0, atol=2e-3 * np.ptp(answers["float64"]))
