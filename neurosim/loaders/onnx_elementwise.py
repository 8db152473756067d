"""Element-wise ONNX operators as `Step`s: for a neuron's f, for the encoder, and for the decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from neurosim.loaders.drafts import PREVIOUS, HostCall, NeuronCall, Step, Unsupported, X
from neurosim.loaders.grids import quantise_step, real_steps
from neurosim.loaders.onnx_graph import Node

Constants = list[np.ndarray | None]
"""Operands of a node in order: an array where constant, None where live or left out."""


def step_of(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step | None:
    """The step of an element-wise node, or None where its operator is not element-wise.

    Parameters
    ----------
    constants : list
        One entry per operand; exactly one operand is live.
    shape : tuple of int
        Of the live operand.

    Raises
    ------
    Unsupported
        When constants broadcast to a larger shape, or attributes are out of range.
    """
    maker = STEPS.get(node.op)
    if maker is None:
        return None
    for c in constants:
        if c is not None and node.op != "BatchNormalization" and np.broadcast_shapes(c.shape, shape) != _padded(shape, c.ndim):
            raise Unsupported(f"a constant of shape {c.shape} enlarges the tensor {shape}")
    return maker(node, constants, shape)


def _padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * max(0, rank - len(shape)) + shape


def _f(c: ArrayLike) -> np.ndarray:
    return np.asarray(c, np.float64)


def _affine(scale: ArrayLike, offset: ArrayLike) -> tuple[NeuronCall, ...]:
    return (("affine", (_f(scale), _f(offset))),)


def _plain(op: str) -> Callable[[Node, Constants, tuple[int, ...]], Step]:
    return lambda node, constants, shape: Step(((op, ()),), ((node.op, (X,), {}),))


def _host_only(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    return Step(None, ((node.op, tuple(X if c is None else c for c in constants), {}),))


def _with_attributes(op: str, **defaults: float) -> Callable[[Node, Constants, tuple[int, ...]], Step]:
    def make(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
        values = {k: float(np.float32(node.attributes.get(k, v))) for k, v in defaults.items()}
        return Step(((op, tuple(_f(v) for v in values.values())),), ((node.op, (X,), values),))
    return make


def _arithmetic(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    """Add, Sub, Mul, Div of the live value and one constant, on either side."""
    left, right = constants
    live_first = left is None
    constant = right if left is None else left
    if constant is None:
        raise Unsupported("an operand is missing")
    c = _f(constant)
    neuron: tuple[NeuronCall, ...] | None = None
    if node.op == "Add":
        neuron = _affine(1.0, c)
    elif node.op == "Sub":
        neuron = _affine(1.0, -c) if live_first else _affine(-1.0, c)
    elif node.op == "Mul":
        neuron = _affine(c, 0.0)
    elif live_first and np.all(c != 0):
        neuron = _affine(1.0 / c, 0.0)
    return Step(neuron, ((node.op, (X, constant) if live_first else (constant, X), {}),))


def _sum(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    """Sum of one live value and constants."""
    total = sum((c for c in constants if c is not None), np.zeros(()))
    return Step(_affine(1.0, _f(total)), (("Add", (X, total), {}),))


def _negative(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    return Step(_affine(-1.0, 0.0), (("Neg", (X,), {}),))


def _batch_normalization(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, in float64, along axis 1."""
    if node.attributes.get("training_mode", 0) or len([o for o in node.outputs if o]) > 1:
        raise Unsupported("BatchNormalization in training mode; export after model.eval()")
    given = [_f(c) for c in constants[1:5] if c is not None]
    if len(given) < 4:
        raise Unsupported("BatchNormalization without constant running statistics; export after model.eval()")
    gamma, beta, mean, variance = given
    if variance.min() < 0:
        raise Unsupported(f"negative variance {variance.min():g} at channel {int(variance.argmin())}")
    total = variance + float(np.float32(node.attributes.get("epsilon", 1e-5)))
    if total.min() <= 0:
        raise Unsupported(f"variance + epsilon is 0 at channel {int(total.argmin())}")
    if len(shape) < 2 or gamma.shape != (shape[1],):
        raise Unsupported(f"shapes do not agree: input {shape}, {gamma.size} channels")
    scale = gamma / np.sqrt(total)
    offset = beta - mean * scale
    scale, offset = (p.reshape(-1, *[1] * (len(shape) - 2)) for p in (scale, offset))
    return Step(_affine(scale, offset), (("Mul", (X, scale), {}), ("Add", (PREVIOUS, offset), {})))


def _clip(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    """Bounds from attributes (opset 6) or constant operands (11 and later)."""
    operands = [*constants[1:], None, None][:2]
    low = operands[0] if operands[0] is not None else node.attributes.get("min", -np.inf)
    high = operands[1] if operands[1] is not None else node.attributes.get("max", np.inf)
    return _bounded(low, high)


def _bounded(low: Any, high: Any) -> Step:
    low, high = _f(low), _f(high)
    host: tuple[HostCall, ...] = (("Clip", (X, low, high), {}),)
    if np.all(low == 0) and np.all(high == np.inf):
        return Step((("relu", ()),), host)
    return Step((("clip", (low, high)),), host)


def _minimum_maximum(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    """Min or Max with constants is a clip on one side."""
    bounds = [_f(c) for c in constants if c is not None]
    if not bounds:
        return _bounded(-np.inf, np.inf)
    if node.op == "Min":
        return _bounded(-np.inf, np.minimum.reduce(np.broadcast_arrays(*bounds)))
    return _bounded(np.maximum.reduce(np.broadcast_arrays(*bounds)), np.inf)


def _prelu(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    live, slope = constants
    if live is not None or slope is None:
        raise Unsupported("a live slope is a product of two activations")
    return Step((("leaky_relu", (_f(slope),)),), (("PRelu", (X, slope), {}),))


def _swish(node: Node, constants: Constants, shape: tuple[int, ...]) -> Step:
    if node.attributes.get("alpha", 1.0) != 1.0:
        raise Unsupported(f"swish with alpha {node.attributes['alpha']:g}; only 1 is supported")
    return Step((("swish", ()),), (("Sigmoid", (X,), {}), ("Mul", (X, PREVIOUS), {})))


STEPS: dict[str, Callable[[Node, Constants, tuple[int, ...]], Step]] = {
    "Quantize": lambda node, constants, shape: quantise_step(node),
    "QuantizeLinear": lambda node, constants, shape: real_steps(node, constants),
    "DequantizeLinear": lambda node, constants, shape: real_steps(node, constants),
    "Relu": _plain("relu"), "Tanh": _plain("tanh"), "Sigmoid": _plain("sigmoid"), "HardSwish": _plain("hard_swish"),
    "Softplus": _plain("softplus"), "Swish": _swish,
    "LeakyRelu": _with_attributes("leaky_relu", alpha=0.01), "Elu": _with_attributes("elu", alpha=1.0),
    "HardSigmoid": _with_attributes("hard_sigmoid", alpha=0.2, beta=0.5),
    "PRelu": _prelu, "Clip": _clip, "Min": _minimum_maximum, "Max": _minimum_maximum,
    "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic, "Div": _arithmetic, "Sum": _sum, "Neg": _negative,
    "BatchNormalization": _batch_normalization,
    "Abs": _host_only, "Exp": _host_only, "Log": _host_only, "Sqrt": _host_only, "Pow": _host_only,
}
"""Element-wise operator -> (node, constants, shape of the live operand) -> Step."""
