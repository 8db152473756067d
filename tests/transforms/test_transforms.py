"""Thresholds, pruning, quantisation."""

import numpy as np
import pytest
from networks import nature_like, two_three_one

from neurosim.errors import SimulationError
from neurosim.transforms import calibrate_thresholds, prune, quantize, set_thresholds


def test_one_threshold_reaches_the_input_and_every_sender():
    network = set_thresholds(two_three_one(), 0.25)
    assert network.thresholds == {"input": 0.25, "hidden": 0.25}
    assert network.layers[1].threshold == 0 or "output" not in network.thresholds


def test_thresholds_by_name():
    assert set_thresholds(two_three_one(), {"input": 0.1, "hidden": 0.2}).thresholds == {"input": 0.1, "hidden": 0.2}


@pytest.mark.parametrize(
    "value, message",
    [
        (-0.1, "must be a finite number of 0 or more"),
        (float("nan"), "must be a finite"),
        (float("inf"), "must be a finite"),
        ("0.1", "is not a number"),
        (True, "is not a number"),
        ({"input": 0.1}, "missing: hidden"),
        ({"input": 0.1, "hidden": 0, "fc": 1}, "unknown: fc"),
        ({"hiden": 1}, "unknown: hiden; missing: input, hidden"),
    ],
)
def test_threshold_refusals(value, message):
    with pytest.raises(SimulationError, match=message):
        set_thresholds(two_three_one(), value)


def test_calibration_by_hand():
    """Inputs 1 and 3: the 100th percentile is 3; hidden h0 = x0 + 2 x1 = 3 + 6 = 9 at most; fraction 0.5."""
    network = calibrate_thresholds(two_three_one(), np.array([[1.0, 0], [3, 3]]), 0.5, percentile=100)
    assert network.thresholds == {"input": 1.5, "hidden": 4.5}


def test_calibration_refusals():
    with pytest.raises(SimulationError, match="outside"):
        calibrate_thresholds(two_three_one(), np.ones((1, 2)), 0.1, percentile=0)
    with pytest.raises(SimulationError, match="fraction is -1"):
        calibrate_thresholds(two_three_one(), np.ones((1, 2)), -1.0)
    with pytest.raises(SimulationError, match="calibration inputs have shape"):
        calibrate_thresholds(two_three_one(), np.ones((1, 3)), 0.1)


def test_pruning_zeroes_exactly_the_smallest():
    """Weights 1, 2, 0, 1, 2, -3: half of six are the 0 and both 1s; the output layer loses two of three (round(1.5) = 2)."""
    network = prune(two_three_one(), 0.5)
    assert network.layers[0].synapses[0].weight.tolist() == [[0, 2], [0, 0], [2, -3]]
    assert np.count_nonzero(network.layers[1].synapses[0].weight) == 1


def test_global_pruning_compares_across_layers():
    """All nine weights: 1 2 0 1 2 -3 and 1 1 1; four of nine: the 0 and the first three 1s."""
    network = prune(two_three_one(), 4 / 9, scope="global")
    assert network.layers[0].synapses[0].weight.tolist() == [[0, 2], [0, 0], [2, -3]]
    assert np.count_nonzero(network.layers[1].synapses[0].weight) == 2


def test_pruning_named_layers_leaves_others():
    network = prune(two_three_one(), {"hidden": 0.5})
    assert np.count_nonzero(network.layers[1].synapses[0].weight) == 3


@pytest.mark.parametrize(
    "sparsity, scope, message",
    [
        (1.0, "layer", "must lie in"),
        (-0.1, "global", "must lie in"),
        (0.5, "row", "scope 'row' is unknown"),
        ({"conv9": 0.5}, "layer", "cannot prune conv9"),
    ],
)
def test_pruning_refusals(sparsity, scope, message):
    with pytest.raises(SimulationError, match=message):
        prune(two_three_one(), sparsity, scope)


def test_quantised_weights_lie_on_a_grid_and_keep_zeros():
    network = nature_like(np.random.default_rng(0))
    for per_channel in (True, False):
        rounded = quantize(network, 4, per_channel)
        for before, after in zip(network.layers, rounded.layers):
            w, q = before.synapses[0].weight, after.synapses[0].weight
            peak = np.abs(w.reshape(len(w), -1)).max(axis=1) if per_channel else np.full(len(w), np.abs(w).max())
            steps = q.reshape(len(w), -1) / (peak[:, None] / 7)
            assert np.allclose(steps, np.round(steps)) and np.abs(steps).max() <= 7.001
            assert (np.abs(q - w).reshape(len(w), -1) <= peak[:, None] / 14 + 1e-12).all()
            assert (q[w == 0] == 0).all()


def test_quantize_refuses_odd_widths():
    with pytest.raises(SimulationError, match="not supported"):
        quantize(two_three_one(), 1)
