"""Integer accumulators: the same kernels, generated for int32 and int64, that `fixed` runs on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Naive
from networks import INPUT, conv, full, identity, layer, network, pool

from neurosim.simulation import Simulator, lower
from neurosim.transforms import set_thresholds


def whole(synapses, scale):
    """The same synapses with whole weights (the builder's are multiples of 1/8), times a scale."""
    synapses.weight.setflags(write=True)
    synapses.weight[...] *= 8 * scale
    return synapses


def integer_network(rng, scale):
    """Strided, padded and depthwise convolutions, a residual, pooling, full layers; odd channel counts."""
    first = whole(conv(INPUT, (9, 7, 3), 5, (3, 3), stride=(2, 1), pads=(1, 1), rng=rng), scale)
    grid = first.target_grid
    second = whole(conv(0, grid, 5, (3, 3), pads=(1, 1), groups=5, rng=rng), 1)
    largest = pool("max_pool", 1, grid, (2, 2), (2, 2))
    n = int(np.prod(largest.target_grid))
    return network([
        layer("conv", first, bias=3), layer("depthwise", (second, identity(0, grid)), bias=-2), layer("pool", largest, ()),
        layer("full", whole(full(2, n, 19, rng=rng), scale)), layer("out", whole(full(3, 19, 4, rng=rng), 1), (), bias=1),
    ], (9, 7, 3))


@pytest.mark.parametrize("numerics", ["int32", "int64"])
@pytest.mark.parametrize("scale", [1, 40])
@given(seed=st.integers(0, 2**31), threshold=st.integers(0, 40))
@settings(max_examples=5)
def test_integers_equal_the_loop_over_synapses_exactly(numerics, scale, seed, threshold):
    """Whole weights of 8 and 16 bits, whole inputs and thresholds: answers, events and all counts."""
    rng = np.random.default_rng(seed)
    net = set_thresholds(integer_network(rng, scale), float(threshold))
    inputs = rng.integers(0, 9, (5, 9, 7, 3)).astype(np.uint8)
    inputs[2:] = np.where(rng.random(inputs[2:].shape) < 0.2, inputs[2:], inputs[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower.fixed, "check", lambda _network: np.dtype(numerics))
        simulator, naive = Simulator(net, numerics="fixed", record="events"), Naive(net, "fall_through", "hold")
    for x in inputs:
        answer = simulator.step(x)
        _, rows, expected = naive.step(x.astype(float).reshape(-1))
        assert answer.dtype == numerics and answer.tolist() == [int(v) for v in expected]
    _, counts, _, _ = simulator.recorder.arrays()
    assert np.array_equal(counts[-1], rows)
