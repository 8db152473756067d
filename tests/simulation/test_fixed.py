"""What integer runs need, and the width of their accumulators."""

import numpy as np
import pytest
from networks import conv, full, layer, network

from neurosim.activation import Elementwise
from neurosim.errors import SimulationError
from neurosim.host import HostOp, HostProgram
from neurosim.network import INPUT, Input, Network
from neurosim.simulation import Simulator, simulate
from neurosim.simulation.fixed import accumulator_bounds, check

CLIP = (Elementwise("relu"), Elementwise("clip", (np.asarray(0.0), np.asarray(100.0))))
QUANTISED = HostProgram((HostOp("Quantize", (0, np.float32(0.5), np.float32(-128), np.float32(127))),))


def whole(scale=1, hidden=CLIP):
    """3 inputs in -128..127, 2 hidden neurons in 0..100, 1 output."""
    first, second = full(INPUT, 3, 2, rng=np.random.default_rng(0)), full(0, 2, 1, rng=np.random.default_rng(0))
    first.weight.setflags(write=True)
    first.weight[...] = np.array([[1, -2, 3], [0, 5, -5]]) * scale
    second.weight.setflags(write=True)
    second.weight[...] = [[7, -9]]
    net = network([layer("hidden", first, hidden, bias=4), layer("out", second, ())], (3,))
    return Network("whole", Input("x", (3,), QUANTISED), net.layers, net.outputs)


def test_bounds_by_hand():
    """Hidden: 4 + (5 + 5) x 128 = 1,284; output: (7 + 9) x 100 = 1,600."""
    assert accumulator_bounds(whole()) == [1284, 1600] and check(whole()) == np.int32
    assert check(whole(scale=10**7)) == np.int64  # 10 x 10^7 x 128 > 2^31
    assert accumulator_bounds(whole(hidden=(Elementwise("relu"),)))[1] is None and check(whole(hidden=())) == np.int64


def test_the_bound_is_reached():
    net = whole()
    xs = np.array([[0, 64.0, -64.0], [0, -64, 63.5]])  # quantised 0, 127 (clipped), -128; 0, -128, 127
    trace = simulate(net, xs, numerics="fixed")
    assert trace.outputs.dtype == np.int32
    assert trace.outputs.ravel().tolist() == [7 * 0 - 9 * 100, 7 * 100 - 9 * 0]
    assert trace.reference.max_abs_error == 0


def test_inputs_in_any_order_of_memory():
    """Transposed views and Fortran order, in one call and step by step."""
    rng = np.random.default_rng(0)
    xs = rng.integers(-60, 60, (7, 3)).astype(float)
    expected = simulate(whole(), xs, numerics="fixed", reference="none").outputs
    for same in (np.asfortranarray(xs), np.ascontiguousarray(xs.T).T, np.repeat(xs, 2, axis=1)[:, ::2]):
        assert np.array_equal(simulate(whole(), same, numerics="fixed", reference="none").outputs, expected)
        simulator = Simulator(whole(), numerics="fixed")
        assert np.array_equal([simulator.step(x) for x in same], expected)


@pytest.mark.parametrize(("change", "message"), [
    (lambda net: (full(INPUT, 3, 2, rng=np.random.default_rng(1)), CLIP, 4), "layer 'hidden': weights of synapses 0: .* is not whole"),
    (lambda net: (net.layers[0].synapses[0], (Elementwise("tanh"),), 4), "layer 'hidden': tanh is not for integers"),
    (lambda net: (net.layers[0].synapses[0], CLIP, 0.5), "layer 'hidden': bias: 0.5 is not whole"),
])
def test_what_is_not_whole_is_named(change, message):
    net = whole()
    synapses, f, bias = change(net)
    odd = Network("odd", net.input, (layer("hidden", synapses, f, bias=bias), net.layers[1]), net.outputs)
    with pytest.raises(SimulationError, match=message):
        Simulator(odd, numerics="fixed")


def test_more_than_64_bits_are_refused():
    with pytest.raises(SimulationError, match="layer 'hidden': accumulators of up to .* > 64 bits"):
        check(whole(scale=10**17))


def test_thresholds_are_whole_too():
    from neurosim.transforms import set_thresholds

    with pytest.raises(SimulationError, match="input: threshold 0.5 is not whole"):
        Simulator(set_thresholds(whole(), 0.5), numerics="fixed")


def test_convolutions_are_bounded_by_their_kernel():
    first = conv(INPUT, (4, 4, 1), 2, (3, 3), pads=(1, 1), rng=np.random.default_rng(0))
    first.weight.setflags(write=True)
    first.weight[...] = np.arange(-9, 9).reshape(2, 1, 3, 3)
    net = network([layer("c", first, ())], (4, 4, 1))
    bounded = Network("c", Input("x", (4, 4, 1), QUANTISED), net.layers, net.outputs)
    assert accumulator_bounds(bounded) == [45 * 128.0]
