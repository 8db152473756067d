"""Networks trained by others: MAC counts equal the manifest, values equal the recorded onnxruntime outputs."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from neurosim import dense
from neurosim.loaders import load

FOLDER = Path(os.environ.get("NEUROSIM_REFERENCE_MODELS", Path(__file__).resolve().parents[2].parent / "shared" / "models"))
pytestmark = pytest.mark.skipif(not (FOLDER / "manifest.yaml").is_file(),
                                reason="reference models are absent; set NEUROSIM_REFERENCE_MODELS to their folder")
RECURRENT = "a3c_spaceinvaders"  # its stream goes on in time: test_recurrent.py


def models():
    if not (FOLDER / "manifest.yaml").is_file():
        return []
    entries = yaml.safe_load((FOLDER / "manifest.yaml").read_text())
    return [e for e in entries if list((FOLDER / e["name"]).glob("*.onnx")) and e["name"] != RECURRENT]


@pytest.mark.parametrize("entry", models(), ids=lambda e: e["name"])
def test_counts_and_values(entry):
    folder = FOLDER / entry["name"]
    network = load(next(folder.glob("*.onnx")))
    assert network.static_total("dense_macs") == entry["dense_macs"]
    assert network.static_total("padded_dense_macs") == entry["padded_dense_macs"]
    stream = np.load(folder / "stream.npz")
    inputs = next(stream[k] for k in ("obs", "x", "images_u8") if k in stream)[:50].astype(np.float64)
    expected = next(stream[k] for k in ("ref", "ref_logits") if k in stream)[:50].astype(np.float64)
    answers = dense.evaluate(network, inputs.reshape(len(inputs), *network.input.shape))[2]
    found = np.array([network.decode(a).ravel() for a in answers]).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-4 * np.ptp(expected))


@pytest.mark.parametrize(("game", "macs"), [("pong", 9_346_048), ("breakout", 9_345_024)])
def test_nature_cnn(game, macs):
    folder = FOLDER / "ours" / f"{game}_naturecnn"
    if not folder.is_dir():
        pytest.skip("not among the reference models")
    network = load(folder / "actor.onnx")
    assert network.static_total("dense_macs") == macs and [op.op for op in network.input.encoder.ops] == ["Div"]
    stream = np.load(folder / "stream.npz")
    expected = stream["ref"][:50]
    answers = dense.evaluate(network, stream["obs"][:50])[2]
    np.testing.assert_allclose(answers, expected, rtol=0, atol=5e-4 * np.ptp(expected))
