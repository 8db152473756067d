"""Every counter against two independent oracles: a loop over synapses, and the event mask through the weight mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import Naive
from networks import TWO_THREE_ONE_INPUTS, conv, layer, nature_like, network, networks, slow_stream, two_three_one

from neurosim import dense
from neurosim.network import INPUT
from neurosim.simulation import simulate
from neurosim.simulation.reference import run_reference
from neurosim.transforms import set_thresholds

SCHEDULES = st.sampled_from(["fall_through", "pipelined"])
RULES = st.sampled_from(["hold", "sigma_delta", "quantised", "naive"])


def test_two_three_one_by_hand():
    """2-3-1, inputs (1,0), (1,1), (1,1), threshold 0. Hidden: (1,0,2), (3,1,0), (3,1,0).

    t1: 1 input event x 3 synapses (2 non-zero: h1 weighs 0) + 2 hidden events x 1 = 5 ops, 4 MACs, all 4 neurons.
    t2: 1 x 3 (3 non-zero) + 3 x 1 = 6, 6, 4 neurons (h0 +2, h1 +1, h2 -2). t3: nothing changes.
    """
    trace = simulate(two_three_one(), TWO_THREE_ONE_INPUTS, numerics="float64")
    assert trace.outputs.ravel().tolist() == [3, 4, 4]
    assert trace.counts.sum(axis=1)[:, 1].tolist() == [5, 6, 0]
    assert trace.counts.sum(axis=1)[:, 2].tolist() == [4, 6, 0]
    assert trace.counts.sum(axis=1)[:, 4].tolist() == [4, 4, 0]
    total = trace.totals_by_counter
    assert (total["dense_macs"], total["nonzero_macs"], total["zero_skip_macs"]) == (27, 24, 4 + 7 + 7)
    assert (total["events"], total["input_compares"], total["output_reads"]) == (2 + 5, 6, 3)
    assert trace.reduction()["vs_dense"] == 27 / 10


def brute_force(network, inputs, schedule="fall_through", rule="hold", resets=None):
    naive = Naive(network, schedule, rule)
    encoded = dense.encode(network, inputs)
    input_counts, counts, outputs, sent = [], [], [], []
    for t, x in enumerate(encoded):
        if resets is not None and resets[t]:
            naive.reset()
        n, rows, out = naive.step(x)
        input_counts.append(n)
        counts.append(rows)
        outputs.append(out)
        sent.append([[e for e, _ in naive.sent[s]] for s in network.senders])
    return np.array(input_counts), np.array(counts), np.array(outputs), sent


def assert_equal_runs(network, inputs, schedule, rule, resets=None):
    input_counts, counts, outputs, sent = brute_force(network, inputs, schedule, rule, resets)
    trace = simulate(network, inputs, numerics="float64", schedule=schedule, rule=rule, resets=resets)
    assert np.array_equal(trace.outputs.reshape(len(inputs), -1), outputs)
    assert np.array_equal(trace.input_counts, input_counts)
    assert np.array_equal(trace.counts, counts)
    for t in range(len(inputs)):
        for j in range(len(network.senders)):
            assert trace.events_of(t, j).tolist() == sent[t][j]
    return trace, counts


@given(networks(dyadic=False), SCHEDULES, RULES, st.integers(0, 2**31))
def test_kernels_equal_a_loop_over_synapses(network, schedule, rule, seed):
    """float64, any weights: outputs, events and all counts are equal to the last bit."""
    if rule == "naive" and any(layer.is_max_pool for layer in network.layers):
        rule = "hold"
    rng = np.random.default_rng(seed)
    inputs = slow_stream(network.input.shape, 5, rng, dyadic=False)
    resets = np.array([True, False, False, True, False])
    assert_equal_runs(network, inputs, schedule, rule, resets)


@given(networks(dyadic=True), SCHEDULES, RULES, st.integers(0, 2**31))
def test_kernels_equal_the_event_mask_through_the_weight_mask(network, schedule, rule, seed):
    """Dyadic values (sums are exact in any order): the algebraic twin gives the same counts, events and outputs."""
    if rule == "naive" and any(layer.is_max_pool for layer in network.layers):
        rule = "hold"
    if rule == "quantised":  # its levels are multiples of the threshold: keep them dyadic
        network = set_thresholds(network, {name: 0.25 if t == 0.3 else t for name, t in network.thresholds.items()})
    inputs = slow_stream(network.input.shape, 5, np.random.default_rng(seed))
    resets = np.array([True, False, True, False, False])
    expected = run_reference(network, inputs, schedule=schedule, rule=rule, resets=resets)
    for numerics in ("float64", "float32"):
        trace = simulate(network, inputs, numerics=numerics, schedule=schedule, rule=rule, resets=resets)
        assert np.array_equal(trace.outputs, expected.outputs)
        assert np.array_equal(trace.counts, expected.counts)
        assert np.array_equal(trace.input_counts, expected.input_counts)


@given(networks(), st.integers(0, 2**31))
def test_static_and_zero_skip_counts_equal_a_loop(network, seed):
    naive = Naive(network)
    for i, row in enumerate(network.static_counts):
        assert (row["dense_macs"], row["padded_dense_macs"], row["nonzero_macs"]) == naive.dense_counts(i)
    inputs = slow_stream(network.input.shape, 3, np.random.default_rng(seed))
    trace = simulate(network, inputs, numerics="float64")
    encoded, activations, _ = dense.evaluate(network, inputs)
    expected = 0
    for i, each in enumerate(network.layers):
        for s, (per_source, _) in zip(each.synapses, naive.synapses[i]):
            source = encoded if s.source == INPUT else activations[s.source]
            for t in range(len(inputs)):
                for element, targets in per_source.items():
                    if source[t, element] != 0 and s.weighted:
                        expected += sum(1 for _, w in targets if w != 0)
    assert trace.totals_by_counter["zero_skip_macs"] == expected


@given(networks(dyadic=True), st.integers(0, 2**31))
def test_at_threshold_zero_the_event_run_equals_the_dense_run(network, seed):
    inputs = slow_stream(network.input.shape, 6, np.random.default_rng(seed))
    trace = simulate(set_thresholds(network, 0.0), inputs, numerics="float64")
    assert np.array_equal(trace.outputs, dense.evaluate(network, inputs)[2])
    assert trace.reference.max_abs_error == 0
    total = trace.totals_by_counter
    assert total["effective_macs"] <= total["nonzero_macs"] <= total["dense_macs"] <= total["padded_dense_macs"]


@given(networks(dyadic=True), st.integers(0, 2**31))
def test_a_still_input_sends_nothing_after_the_first_timestep(network, seed):
    inputs = np.repeat(slow_stream(network.input.shape, 1, np.random.default_rng(seed)), 4, axis=0)
    trace = simulate(network, inputs, numerics="float64")
    assert trace.counts[1:].sum() == 0 and trace.input_counts[1:].sum() == 0
    assert trace.totals_by_counter["neuron_updates"] == sum(layer.n_neurons for layer in network.layers)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.3])
def test_a_small_nature_cnn_on_bytes(threshold):
    """Byte inputs take the table path; counts equal the loop's on the same values."""
    rng = np.random.default_rng(3)
    network = set_thresholds(nature_like(rng), threshold)
    frames = np.repeat(rng.integers(0, 256, (1, 20, 20, 2), dtype=np.uint8), 6, axis=0)
    for t in range(1, 6):
        frames[t:, rng.integers(20, size=9), rng.integers(20, size=9)] = rng.integers(0, 256)
    as_bytes, _ = assert_equal_runs(network, frames, "fall_through", "hold")
    as_reals = simulate(network, frames.astype(np.float64), numerics="float64")
    assert np.array_equal(as_bytes.counts, as_reals.counts) and np.array_equal(as_bytes.outputs, as_reals.outputs)


def test_float32_totals_stay_within_a_thousandth():
    rng = np.random.default_rng(4)
    network = set_thresholds(nature_like(rng), 0.05)
    inputs = slow_stream((20, 20, 2), 60, rng, change=0.05, dyadic=False)
    exact, fast = (simulate(network, inputs, numerics=n).totals_by_counter for n in ("float64", "float32"))
    for name, value in exact.items():
        assert fast[name] == pytest.approx(value, rel=1e-3), name


@pytest.mark.parametrize("stride", [(1, 1), (1, 2)])
def test_dilated_columns_sum_in_source_order(stride):
    """Many events, many channels out, dilated columns: float64 is still a plain loop's, to the last bit."""
    rng = np.random.default_rng(11)
    first = conv(INPUT, (6, 9, 12), 64, (3, 3), stride=stride, pads=(0, 2), dilation=(1, 2), rng=rng, dyadic=False)
    net = network([layer("l", first, ())], (6, 9, 12))
    assert_equal_runs(net, rng.normal(size=(2, 6, 9, 12)), "fall_through", "hold")
