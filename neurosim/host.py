"""Host programs: the encoder and the decoder, numpy on the host, no neurons and no counts.

A `HostProgram` is a straight list of ONNX-like operators. The encoder is what stands between
the input and the first synapses (Div by 255, normalisation); the decoder is what follows the
last (Softmax, ArgMax, tanh and scale).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurosim.activation import ELEMENTWISE as _F


def _axes(a: Any) -> tuple[int, ...] | None:
    return None if a is None or np.size(a) == 0 else tuple(int(i) for i in np.ravel(a))


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _log_sum_exp(x: np.ndarray, axes: Any = None, keepdims: int = 1) -> np.ndarray:
    axis = _axes(axes)
    top = x.max(axis, keepdims=True)
    total = np.log(np.exp(x - top).sum(axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis)


def _reduction(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda x, axes=None, keepdims=1: f(x, axis=_axes(axes), keepdims=bool(keepdims))


def _arg_max(x: np.ndarray, axis: int = 0, keepdims: int = 1) -> np.ndarray:
    best = np.argmax(x, axis)
    return np.expand_dims(best, axis) if keepdims else best


def _slice(x: np.ndarray, starts: Any = (), ends: Any = (), axes: Any = None, steps: Any = None) -> np.ndarray:
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index: list[slice] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        stop = None if step < 0 and end < -x.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return x[tuple(index)]


def _clip(x: np.ndarray, low: Any = None, high: Any = None) -> np.ndarray:
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _quantize(x: np.ndarray, scale: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    q = np.rint(np.asarray(x, np.float32) / np.asarray(scale, np.float32))
    return np.clip(q, low, high).astype(x.dtype)


HOST_OPS: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power,
    "Neg": np.negative, "Abs": np.abs, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt,
    "Clip": _clip, "Relu": _F["relu"], "Tanh": _F["tanh"], "Sigmoid": _F["sigmoid"],
    "LeakyRelu": lambda x, alpha=0.01: _F["leaky_relu"](x, alpha),
    "PRelu": _F["leaky_relu"],
    "Elu": lambda x, alpha=1.0: _F["elu"](x, alpha),
    "Softplus": _F["softplus"],
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: _F["hard_sigmoid"](x, alpha, beta),
    "HardSwish": _F["hard_swish"],
    "Min": lambda *xs: np.minimum.reduce(np.broadcast_arrays(*xs)),
    "Max": lambda *xs: np.maximum.reduce(np.broadcast_arrays(*xs)),
    "Softmax": _softmax,
    "LogSoftmax": lambda x, axis=-1: np.log(_softmax(x, axis)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSum": _reduction(np.sum), "ReduceMean": _reduction(np.mean),
    "ReduceMax": _reduction(np.max), "ReduceMin": _reduction(np.min),
    "ArgMax": _arg_max,
    "Cast": lambda x, to=None: x if to is None else x.astype(to),
    "Reshape": lambda x, shape=(): x.reshape([x.shape[i] if s == 0 else s for i, s in enumerate(shape)]),
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Squeeze": lambda x, axes=None: np.squeeze(x, _axes(axes)),
    "Unsqueeze": lambda x, axes=(): np.expand_dims(x, _axes(axes) or ()),
    "Concat": lambda *xs, axis=0: np.concatenate(xs, axis),
    "Slice": _slice,
    "Gather": lambda x, indices, axis=0: np.take(x, indices.astype(np.int64), axis),
    "Quantize": _quantize,
    "GatherElements": lambda x, indices, axis=0: np.take_along_axis(x, indices.astype(np.int64), axis),
}
"""ONNX operator -> numpy function of (operands, **attributes); axes include the batch axis of size 1.

`Quantize` is ours: x / scale in float32, rounded half to even and clipped; the values are q - zero point."""


@dataclass(frozen=True)
class HostOp:
    """One operator: operands are value numbers (int) or constants (ndarray)."""

    op: str
    operands: tuple[int | np.ndarray, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.op not in HOST_OPS:
            raise ValueError(f"unknown host operator {self.op!r}")


@dataclass(frozen=True)
class HostProgram:
    """A list of operators over numbered values: 0 .. n_inputs-1 are the arguments, then one per operator.

    The result is the last value (the first argument if there are no operators).
    """

    ops: tuple[HostOp, ...] = ()
    n_inputs: int = 1

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        """Evaluate in the dtype of the arguments; floating constants are cast to it."""
        dtype = arguments[0].dtype
        values = list(arguments)
        for op in self.ops:
            operands = [values[o] if isinstance(o, int) else _cast(o, dtype) for o in op.operands]
            values.append(HOST_OPS[op.op](*operands, **op.attributes))
        return values[-1] if self.ops else values[0]

    def describe(self) -> str:
        """Operator names in order, for people."""
        return " -> ".join(op.op for op in self.ops) if self.ops else "none"


def _cast(constant: np.ndarray, dtype: np.dtype) -> np.ndarray:
    floating = np.issubdtype(constant.dtype, np.floating) and np.issubdtype(dtype, np.floating)
    return constant.astype(dtype) if floating else constant
