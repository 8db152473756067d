"""Layers under construction, and what may be absorbed into them.

A `Draft` is a layer whose neurons may still change: a bias is added, a scale is multiplied into
its weights, an activation function grows. It is `sealed` as soon as something reads its value.

Absorption is exact or it does not happen:

- an offset goes into the bias while f is empty (max pooling has no sum: it goes into f);
- a scale goes into the weights while f is empty, all synapses are weighted and the scale is
  one number per channel;
- everything else is an `affine` step of f; two affine steps in a row are one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurosim.activation import ELEMENTWISE, Elementwise
from neurosim.host import HOST_OPS
from neurosim.neurons import Dynamics
from neurosim.synapses import Synapses


class Unsupported(ValueError):
    """What a primitive cannot express; the caller adds which node it was."""


NeuronCall = tuple[str, tuple[np.ndarray, ...]]
"""A step of `activation.ELEMENTWISE` and its parameters."""

HostCall = tuple[str, tuple["str | np.ndarray", ...], Mapping[str, Any]]
"""An operator of `host.HOST_OPS`, its operands (`X`, `PREVIOUS` or a constant) and attributes."""


@dataclass(frozen=True)
class Step:
    """An element-wise function, once as steps of f and once as host operators.

    Parameters
    ----------
    neuron : tuple of (str, tuple of ndarray), or None
        Steps of `activation.ELEMENTWISE`, parameters broadcastable to the tensor. None where a
        neuron cannot do it.
    host : tuple of (str, tuple, dict)
        Operators of `host.HOST_OPS`; among the operands `X` is the value before the step and
        `PREVIOUS` the result of the operator before.
    """

    neuron: tuple[NeuronCall, ...] | None
    host: tuple[HostCall, ...]


X, PREVIOUS = "x", "previous"
"""Placeholders in `Step.host`."""


@dataclass
class Draft:
    """A layer under construction; arrays over neurons have shape `grid` (height, width, channels), its bias that of the accumulators."""

    kind: str
    label: str
    grid: tuple[int, int, int]
    groups: list[Synapses]
    bias: np.ndarray
    activation: list[NeuronCall] = field(default_factory=list)
    sealed: bool = False
    merged: bool = False
    dynamics: Dynamics | None = None

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return int(np.prod(self.grid))

    @property
    def takes_maximum(self) -> bool:
        """Whether it is max pooling, which has no sum to add to."""
        return any(s.kind == "max_pool" for s in self.groups)

    @property
    def linear(self) -> bool:
        """Whether its value is still a plain sum that nobody reads."""
        return not (self.sealed or self.merged or self.activation or self.takes_maximum or self.dynamics)

    @property
    def weighted(self) -> bool:
        """Whether every synapse multiplies by a stored weight."""
        return all(s.weighted for s in self.groups)

    @property
    def negatable(self) -> bool:
        """Whether the sign of the sum can be turned exactly."""
        return all(s.weighted or s.kind == "identity" for s in self.groups)

    def negate(self) -> None:
        """Turn the sign of the sum."""
        self.bias = -self.bias
        self.groups = [replace(s, sign=-s.sign) if s.weight is None else replace(s, weight=-s.weight) for s in self.groups]

    def affine(self, scale: np.ndarray, offset: np.ndarray) -> None:
        """Value becomes value * scale + offset; both have shape `grid`."""
        if self.linear and np.all(scale == 1):
            self.bias = self.bias + offset
        elif self.linear and self.weighted and np.all(scale == scale[:1, :1]):
            per_channel = scale[0, 0]
            self.groups = [_scaled(s, per_channel) for s in self.groups]
            self.bias = self.bias * scale + offset
        elif self.activation and self.activation[-1][0] == "affine":
            before_scale, before_offset = self.activation[-1][1]
            self.activation[-1] = ("affine", (before_scale * scale, before_offset * scale + offset))
        else:
            self.activation.append(("affine", (scale, offset)))

    def extend(self, op: str, parameters: tuple[np.ndarray, ...]) -> None:
        """Append one step to f, or absorb it; parameters have shape `grid`."""
        if op == "affine":
            self.affine(*parameters)
        else:
            self.activation.append((op, parameters))

    def f(self) -> tuple[Elementwise, ...]:
        """Activation function with parameters in their shortest form."""
        return tuple(Elementwise(op, tuple(compact(p) for p in parameters)) for op, parameters in self.activation)


def _scaled(synapses: Synapses, per_channel: np.ndarray) -> Synapses:
    """Weighted synapses with the weights of each target channel multiplied by one number."""
    weight = synapses.weight
    if weight is None:
        raise ValueError(f"{synapses.kind} synapses have no weights to scale")
    return replace(synapses, weight=weight * per_channel.reshape(-1, *[1] * (weight.ndim - 1)))


def compact(per_neuron: np.ndarray) -> np.ndarray:
    """Shortest form of values over (height, width, channels): (), (channels,) or (neurons,)."""
    if np.all(per_neuron == per_neuron.flat[0]):
        return np.asarray(per_neuron.flat[0], np.float64)
    if np.all(per_neuron == per_neuron[:1, :1]):
        return np.ascontiguousarray(per_neuron[0, 0], np.float64)
    return np.ascontiguousarray(per_neuron, np.float64).reshape(-1)


def run_step(step: Step, x: np.ndarray) -> np.ndarray:
    """Evaluate a step in numpy."""
    if step.neuron is not None:
        for op, parameters in step.neuron:
            x = ELEMENTWISE[op](x, *parameters)
        return x
    before = x
    for op, operands, attributes in step.host:
        values = [(before if o == X else x) if isinstance(o, str) else o for o in operands]
        x = HOST_OPS[op](*values, **attributes)
    return x
