"""Activation functions f: what a neuron does to its accumulator before the value is compared and sent.

A layer's f is a tuple of `Elementwise` steps applied in order. The kernels implement the same
table with the same equations (kernels/functions.py); this is the readable numpy form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Elementwise:
    """One step of an activation function.

    Parameters
    ----------
    op : str
        A name in `ELEMENTWISE`.
    parameters : tuple of ndarray
        float64 arrays, each () for one value, (channels,) or (neurons,).
    """

    op: str
    parameters: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        if self.op not in ELEMENTWISE:
            raise ValueError(f"unknown activation {self.op!r}")
        object.__setattr__(self, "parameters", tuple(np.asarray(p, np.float64) for p in self.parameters))
        for p in self.parameters:
            p.setflags(write=False)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    "affine": lambda x, scale, offset: x * scale + offset,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda x, alpha, beta: np.minimum(np.maximum(alpha * x + beta, 0), 1),
    "hard_swish": lambda x: x * np.minimum(np.maximum(x / 6 + 0.5, 0), 1),
    "swish": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "round": np.rint,
    "requantize": lambda x, scale: np.rint(x.astype(np.float32) * scale.astype(np.float32)).astype(x.dtype),
    "shift_right": lambda x, bits: np.floor(x / 2.0**bits),
}
"""Name -> f(x, *parameters) in numpy. `round` and `requantize` round half to even; `requantize` multiplies in float32, as
integer runtimes do. The integer steps are `relu`, `clip`, `requantize` and `shift_right`."""


def apply(activation: tuple[Elementwise, ...], x: np.ndarray) -> np.ndarray:
    """Evaluate f on accumulators.

    Parameters
    ----------
    activation : tuple of Elementwise
    x : ndarray, float32 or float64, (..., height, width, channels)

    Returns
    -------
    ndarray
        Same shape and dtype.
    """
    for step in activation:
        parameters = [_shaped(p, x) for p in step.parameters]
        x = ELEMENTWISE[step.op](x, *parameters)
    return x


def _shaped(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    p = p.astype(x.dtype)
    return p if p.ndim == 0 or p.size == x.shape[-1] else p.reshape(x.shape[-3:])
