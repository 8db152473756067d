"""A recurrent policy trained by others, as a delta network: MAC counts of the manifest, recorded outputs, thresholds on hidden values."""

import numpy as np
import pytest
import yaml
from external.test_reference_models import FOLDER, pytestmark  # noqa: F401

import neurosim as ns

NAME = "a3c_spaceinvaders"


@pytest.fixture(scope="module")
def policy():
    entry = next(e for e in yaml.safe_load((FOLDER / "manifest.yaml").read_text()) if e["name"] == NAME)
    data = np.load(FOLDER / NAME / "stream.npz")
    inputs = (data["frames_u8"] / 255.0).astype(np.float32)[:, None]
    return entry, ns.load(FOLDER / NAME / "actor.onnx"), inputs, data["ref_logits"], data["episode_start"]


def test_counts_and_the_whole_stream(policy):
    entry, network, inputs, expected, starts = policy
    assert network.static_total("dense_macs") == entry["dense_macs"] == 5_892_128
    assert network.static_total("padded_dense_macs") == entry["padded_dense_macs"]
    trace = ns.simulate(network, inputs, resets=starts, numerics="float64", reference="none", record="none")
    np.testing.assert_allclose(trace.outputs.reshape(expected.shape), expected, rtol=0, atol=5e-4 * np.ptp(expected))


def test_thresholds_on_input_and_hidden_values(policy):
    """Fewer MACs, and a larger error, with every threshold; at 1 % of the scale nearly all choices stay."""
    _, network, inputs, _, starts = policy
    macs, errors, agreement = [], [], []
    for fraction in (0.0, 0.01, 0.1):
        chosen = ns.calibrate_thresholds(network, inputs[:150], fraction, resets=starts[:150])
        trace = ns.simulate(chosen, inputs[:300], resets=starts[:300], record="none", reference="all")
        macs.append(trace.layer_counts()[4]["effective_macs"])
        errors.append(trace.reference.max_abs_error)
        agreement.append(trace.reference.argmax_agreement)
    assert macs[0] > macs[1] > macs[2] and errors[0] < errors[1] < errors[2]
    assert agreement[1] > 0.97 > agreement[2]
