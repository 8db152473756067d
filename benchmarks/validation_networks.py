"""Networks whose layers others have published, with random weights: only their shapes and zeros matter here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurosim.activation import Elementwise
from neurosim.network import Input, Layer, Network, OutputPart
from neurosim.synapses import INPUT, Synapses

RELU = (Elementwise("relu"),)
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Conv:
    """A convolution: target channels, kernel, stride and padding in (y, x), groups."""

    channels: int
    kernel: int
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    groups: int = 1


@dataclass(frozen=True)
class Full:
    """Full synapses onto so many neurons."""

    neurons: int


def weights(shape: tuple[int, ...], zeros: float, seed: int) -> np.ndarray:
    """Random weights of which the share `zeros` is 0; seeded, scaled by the fan-in so that activations keep their size."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return np.where(rng.random(shape) < zeros, 0.0, weight)


def synapses(source: int, grid: Shape, given: Conv | Full, *, zeros: float = 0.0, seed: int = 0) -> Synapses:
    """Synapses of one layer that reads `grid` (height, width, channels)."""
    if isinstance(given, Full):
        n = int(np.prod(grid))
        return Synapses("full", source, (1, 1, n), (1, 1, given.neurons), weights((given.neurons, n), zeros, seed))
    height, width = ((grid[a] + 2 * given.pads[a] - given.kernel) // given.stride[a] + 1 for a in (0, 1))
    kernel = (given.kernel, given.kernel)
    weight = weights((given.channels, grid[2] // given.groups, *kernel), zeros, seed)
    return Synapses("convolution", source, grid, (height, width, given.channels), weight, None, kernel, given.stride, (1, 1),
                    given.pads, given.groups)


def chain(name: str, shape: Shape, layers: Sequence[Conv | Full], *, zeros: float = 0.0, relu: bool = True) -> Network:
    """A chain of layers behind an input of `shape` (height, width, channels)."""
    made: list[Layer] = []
    n = {Conv: 0, Full: 0}
    for i, given in enumerate(layers):
        s = synapses(i - 1 if i else INPUT, made[-1].shape if made else shape, given, zeros=zeros, seed=i)
        n[type(given)] += 1
        label = f"{'conv' if isinstance(given, Conv) else 'fc'}{n[type(given)]}"
        made.append(Layer(label, s.target_grid, (s,), np.zeros(()), RELU if relu and i < len(layers) - 1 else ()))
    return Network(name, Input("x", shape), tuple(made), (OutputPart(len(made) - 1, np.arange(made[-1].n_neurons)[None]),))


DENSE = (Full(100), Full(50), Full(10), Full(1))

PILOTNET = ((66, 200, 3), (Conv(24, 3, (2, 2)), Conv(36, 3, (2, 2)), Conv(48, 3, (2, 2)), Conv(64, 3, (2, 1), (1, 0)), Conv(64, 3), *DENSE))
"""PilotNet of Lava's Loihi 2 notebooks (200 x 66 x 3)."""

PILOTNET_TRAINED = ((33, 100, 3), (Conv(24, 3, (2, 2)), Conv(36, 3, (2, 2)), Conv(64, 3, (2, 1), (1, 0)), Conv(64, 3), *DENSE))
"""PilotNet of lava-dl's training notebook (100 x 33 x 3)."""

_DOWN, _SAME = {"stride": (2, 2), "pads": (1, 1)}, {"pads": (1, 1)}
YOLO_KP = ((448, 448, 3), (Conv(16, 3, **_DOWN), Conv(32, 3, **_DOWN), Conv(64, 3, **_DOWN), Conv(128, 3, **_DOWN), Conv(256, 3, **_SAME),
                           Conv(256, 3, **_DOWN), Conv(512, 3, **_SAME), Conv(256, 1), Conv(512, 3, **_SAME), Conv(48, 1)))
"""YOLO-KP: layers of lava-dl's `yolo_kp.py`; 448 x 448 inputs and 48 outputs (11 classes, 3 anchors) are what gives the published MACs."""

ALEXNET = (((227, 227, 3), Conv(96, 11, (4, 4))), ((27, 27, 96), Conv(256, 5, (1, 1), (2, 2), 2)), ((13, 13, 256), Conv(384, 3, **_SAME)),
           ((13, 13, 384), Conv(384, 3, (1, 1), (1, 1), 2)), ((13, 13, 384), Conv(256, 3, (1, 1), (1, 1), 2)))
"""Convolutions of AlexNet (Krizhevsky et al. 2012), each with the grid that it reads."""


def nature_cnn(actions: int) -> Network:
    """Deep Q-network of Mnih et al. 2015 (Nature 518:529)."""
    return chain("nature_cnn", (84, 84, 4), (Conv(32, 8, (4, 4)), Conv(64, 4, (2, 2)), Conv(64, 3), Full(512), Full(actions)))


def two_three_one() -> Network:
    """The worked example: hidden weights by target [1, 2], [0, 1], [2, -3]; output weights 1; ReLU; layers `hidden`, `output`."""
    net = chain("two_three_one", (1, 1, 2), (Full(3), Full(1)))
    hidden, output = net.layers
    first, second = hidden.synapses[0], output.synapses[0]
    return replace(net, layers=(
        replace(hidden, name="hidden", synapses=(replace(first, weight=np.array([[1.0, 2], [0, 1], [2, -3]])),)),
        replace(output, name="output", synapses=(replace(second, weight=np.ones((1, 3))),))))


def busy_core() -> Network:
    """One core's worth of neurons: 8 x 8 x 48 = 3,072, each input element with 48 synapses (50 channels, kernel 1)."""
    return chain("busy_core", (8, 8, 50), (Conv(48, 1),))
