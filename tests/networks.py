"""Networks for tests: a small builder, fixed ones, and random ones that look like real ones (hypothesis)."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from neurosim.activation import Elementwise
from neurosim.network import Input, Layer, Network, OutputPart
from neurosim.synapses import ELSEWHERE, INPUT, PADDING, Synapses

RELU = (Elementwise("relu"),)


def conv(source, grid, out, kernel, *, stride=(1, 1), pads=(0, 0), dilation=(1, 1), groups=1, rng, dyadic=True, view=None, zeros=0.3):
    size = [(grid[a] + 2 * pads[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    weight = values((out, grid[2] // groups, *kernel), rng, dyadic, zeros)
    return Synapses("convolution", source, grid, (*size, out), weight, view, kernel, stride, dilation, pads, groups)


def full(source, n_in, n_out, *, rng, dyadic=True, view=None, zeros=0.3):
    return Synapses("full", source, (1, 1, n_in), (1, 1, n_out), values((n_out, n_in), rng, dyadic, zeros), view)


def pool(kind, source, grid, kernel, stride, pads=(0, 0), view=None):
    size = [(grid[a] + 2 * pads[a] - kernel[a]) // stride[a] + 1 for a in (0, 1)]
    return Synapses(kind, source, grid, (*size, grid[2]), None, view, kernel, stride, (1, 1), pads)


def identity(source, grid, sign=1, view=None):
    return Synapses("identity", source, grid, grid, None, view, sign=sign)


def values(shape, rng, dyadic=True, zeros=0.3):
    """Random weights with some zeros; dyadic ones are multiples of 1/8, on which float sums are exact."""
    w = rng.integers(-8, 9, shape) / 8.0 if dyadic else rng.normal(size=shape)
    return np.where(rng.random(shape) < zeros, 0.0, w)


def layer(name, synapses, activation=RELU, *, bias=0.0, threshold=0.0):
    synapses = synapses if isinstance(synapses, tuple) else (synapses,)
    return Layer(name, synapses[0].target_grid, synapses, np.asarray(bias, float), activation, threshold)


def network(layers, input_shape, *, output=-1, threshold=0.0):
    output = output % len(layers)
    n = layers[output].n_neurons
    return Network("test", Input("x", input_shape, threshold=threshold), tuple(layers), (OutputPart(output, np.arange(n)[None]),))


def two_three_one():
    """The hand-computed 2-3-1 network: hidden h0 [1, 2], h1 [0, 1], h2 [2, -3], output [1, 1, 1], ReLU, no bias."""
    hidden = Synapses("full", INPUT, (1, 1, 2), (1, 1, 3), np.array([[1.0, 2], [0, 1], [2, -3]]))
    output = Synapses("full", 0, (1, 1, 3), (1, 1, 1), np.ones((1, 3)))
    return network([layer("hidden", hidden), layer("output", output)], (2,))


TWO_THREE_ONE_INPUTS = np.array([[1.0, 0], [1, 1], [1, 1]])


def slow_stream(shape, n, rng, change=0.2, dyadic=True):
    """Inputs of which only some elements change from one timestep to the next."""
    x = np.zeros((n, *shape))
    x[0] = rng.integers(-8, 9, shape) / 8.0 if dyadic else rng.normal(size=shape)
    for t in range(1, n):
        fresh = rng.integers(-8, 9, shape) / 8.0 if dyadic else rng.normal(size=shape)
        x[t] = np.where(rng.random(shape) < change, fresh, x[t - 1])
    return x


def nature_like(rng, dyadic=False):
    """A small relative of the Nature-CNN: strided convolutions, then full layers, flattened channel-first."""
    c1 = conv(INPUT, (20, 20, 2), 4, (8, 8), stride=(4, 4), rng=rng, dyadic=dyadic)
    c2 = conv(0, (4, 4, 4), 6, (3, 3), pads=(1, 1), rng=rng, dyadic=dyadic)
    flatten = np.arange(4 * 4 * 6).reshape(4, 4, 6).transpose(2, 0, 1).reshape(-1).astype(np.int32)
    f1 = full(1, 96, 10, rng=rng, dyadic=dyadic, view=flatten)
    f2 = full(2, 10, 3, rng=rng, dyadic=dyadic)
    return network(
        [layer("c1", c1, bias=values(4, rng, dyadic)), layer("c2", c2, bias=values(6, rng, dyadic)), layer("f1", f1), layer("f2", f2, ())],
        (20, 20, 2),
    )


@st.composite
def networks(draw, dyadic=True):
    """Random convolutional networks with residual and concatenated branches, pooling, views, several activations."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width, channels = draw(st.integers(3, 7)), draw(st.integers(3, 7)), draw(st.sampled_from([1, 2, 4]))
    grid, source = (height, width, channels), INPUT
    view = _channel_first(grid) if draw(st.booleans()) else None
    layers: list[Layer] = []
    for i in range(draw(st.integers(1, 3))):
        synapses, activation = _block(draw, rng, grid, source, view, dyadic)
        layers.append(
            layer(f"l{i}", synapses, activation, bias=_bias(draw, rng, synapses[0].target_grid, dyadic), threshold=draw(THRESHOLDS))
        )
        grid, source, view = synapses[0].target_grid, i, None
    n = int(np.prod(grid))
    head = full(source, n, 3, rng=rng, dyadic=dyadic, view=_channel_first(grid) if draw(st.booleans()) else None)
    layers.append(layer("head", head, ()))
    return network(layers, (height, width, channels), threshold=draw(THRESHOLDS))


THRESHOLDS = st.sampled_from([0.0, 0.125, 0.3, 1.0])


def _block(draw, rng, grid, source, view, dyadic):
    kind = draw(st.sampled_from(["conv", "depthwise", "grouped", "sum", "max", "residual", "padded", "branch"]))
    kernel = tuple(draw(st.integers(1, min(3, grid[a]))) for a in (0, 1))
    stride = tuple(draw(st.integers(1, 2)) for _ in "yx")
    activation = draw(
        st.sampled_from(
            [
                RELU,
                (),
                (Elementwise("clip", (-0.5, 1.5)),),
                (Elementwise("leaky_relu", (0.25,)),),
                (Elementwise("affine", (0.5, 0.25)), Elementwise("relu")),
            ]
        )
    )
    if kind in ("sum", "max"):
        return (pool(f"{kind}_pool", source, grid, kernel, stride, view=view),), activation
    if kind in ("depthwise", "grouped"):
        groups = grid[2] if kind == "depthwise" or grid[2] == 1 else grid[2] // 2 or 1
        return (
            conv(source, grid, groups * draw(st.integers(1, 2)), kernel, stride=stride, groups=groups, rng=rng, dyadic=dyadic, view=view),
        ), activation
    if kind == "residual":
        same = conv(source, grid, grid[2], (3, 3), pads=(1, 1), rng=rng, dyadic=dyadic, view=view)
        return (same, identity(source, grid, draw(st.sampled_from([1, -1])), view)), activation
    if kind == "branch":
        part = (view if view is not None else np.arange(int(np.prod(grid)), dtype=np.int32)).copy().reshape(grid)
        part[:, 0, :] = ELSEWHERE
        part[0, :, :] = PADDING
        return (conv(source, grid, 2, kernel, rng=rng, dyadic=dyadic, view=part.reshape(-1)),), activation
    dilation = tuple(draw(st.integers(1, 2)) if (grid[a] + 2 - 2 * (kernel[a] - 1) - 1) >= 0 else 1 for a in (0, 1))
    pads = (1, 1) if kind == "padded" else (0, 0)
    if any(grid[a] + 2 * pads[a] < dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)):
        dilation = (1, 1)
    return (
        conv(source, grid, draw(st.integers(1, 3)), kernel, stride=stride, pads=pads, dilation=dilation, rng=rng, dyadic=dyadic, view=view),
    ), activation


def _bias(draw, rng, shape, dyadic):
    return values(
        {"none": (), "channel": (shape[2],), "neuron": (int(np.prod(shape)),)}[draw(st.sampled_from(["none", "channel", "neuron"]))],
        rng,
        dyadic,
    )


def _channel_first(grid):
    """View of a grid whose source is numbered channel x height x width."""
    return np.arange(int(np.prod(grid)), dtype=np.int32).reshape(grid[2], grid[0], grid[1]).transpose(1, 2, 0).reshape(-1)
