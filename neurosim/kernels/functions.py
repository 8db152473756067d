"""f: the element-wise functions of layers and encoders, on blocks of reals.

The equations are those of ``neurosim.activation.ELEMENTWISE``. Each is a kernel of its own: the
row that stands for one step of f holds its address, so only the functions that a network has
are compiled. The block that a kernel works on stands in the header (`BLOCK_X`, `BLOCK_FIRST`, `BLOCK_SIZE`).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from neurosim.kernels.layout import (
    BLOCK_FIRST,
    BLOCK_SIZE,
    BLOCK_X,
    F_CHANNELS,
    F_KERNEL,
    F_KIND0,
    F_KIND1,
    F_P0,
    F_P1,
    F_ROW,
    PER_CHANNEL,
    PER_NEURON,
    SCALAR,
)
from neurosim.kernels.pointer import address_of, float64_pointer, invoke, pointer, shifted


@njit
def apply(plan, f, n_f, x, first, size):
    """Run the steps of f that stand in the rows f, f + 1, ... on x: elements first .. first + size - 1, in place."""
    plan[BLOCK_X], plan[BLOCK_FIRST], plan[BLOCK_SIZE] = address_of(x), first, size
    for i in range(n_f):
        invoke(plan[f + i * F_ROW + F_KERNEL], plan, f + i * F_ROW)


def _named(name, function):
    """Compile under a name of its own: kernels that a process loads from disk are told apart by their names alone.

    Divisions follow IEEE 754, as numpy's do.
    """
    function.__name__ = function.__qualname__ = name
    return njit(error_model="numpy")(function)


def _on_blocks(name, f):
    """x = f(x, p0, p1) on a block; parameters per channel are looked up one position at a time."""
    f = _named(f"{name}_value", f)

    def kernel(plan, row, real):
        p0, p1 = pointer(plan[row + F_P0], real), pointer(plan[row + F_P1], real)
        kind0, kind1, channels = plan[row + F_KIND0], plan[row + F_KIND1], plan[row + F_CHANNELS]
        s0, s1 = 0 if kind0 == SCALAR else 1, 0 if kind1 == SCALAR else 1
        x, first, size, done = pointer(plan[BLOCK_X], real), plan[BLOCK_FIRST], plan[BLOCK_SIZE], 0
        while done < size:
            element, part, channel = first + done, size - done, 0
            if kind0 == PER_CHANNEL or kind1 == PER_CHANNEL:
                channel = element % channels
                part = min(part, channels - channel)
            q0 = shifted(p0, element if kind0 == PER_NEURON else channel * s0)
            q1 = shifted(p1, element if kind1 == PER_NEURON else channel * s1)
            block = shifted(x, done)
            for j in range(part):
                block[j] = f(block[j], q0[j * s0], q1[j * s1])
            done += part
        return 0
    return _named(f"{name}_block", kernel)


@njit(error_model="numpy")
def logistic(x):
    """1 / (1 + exp(-x))."""
    e = math.exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


# 0 * a is a zero of the block's own type: unused parameters are 0
_relu = _on_blocks("relu", lambda x, a, b: 0 * a if x < 0 else x)
_affine = _on_blocks("affine", lambda x, a, b: x * a + b)
_clip = _on_blocks("clip", lambda x, a, b: min(max(x, a), b))
_leaky_relu = _on_blocks("leaky_relu", lambda x, a, b: a * x if x < 0 else x)
_elu = _on_blocks("elu", lambda x, a, b: a * math.expm1(x) if x < 0 else x)
_tanh = _on_blocks("tanh", lambda x, a, b: math.tanh(x))
_hard_sigmoid = _on_blocks("hard_sigmoid", lambda x, a, b: min(max(a * x + b, 0 * a), 0 * a + 1))
_hard_swish = _on_blocks("hard_swish", lambda x, a, b: x * min(max(x / 6 + 0.5, 0.0), 1.0))
_softplus = _on_blocks("softplus", lambda x, a, b: max(x, 0 * a) + math.log1p(math.exp(-abs(x))))
_round = _on_blocks("round", lambda x, a, b: np.rint(x))
_add = _on_blocks("add", lambda x, a, b: x + a)
_sub = _on_blocks("sub", lambda x, a, b: x - a)
_mul = _on_blocks("mul", lambda x, a, b: x * a)
_div = _on_blocks("div", lambda x, a, b: x / a)
_sigmoid = _on_blocks("sigmoid", lambda x, a, b: logistic(x))
_swish = _on_blocks("swish", lambda x, a, b: x * logistic(x))


def affine(plan, row, real, weight):
    """x * p0 + p1."""
    return _affine(plan, row, real)


def relu(plan, row, real, weight):
    """max(x, 0)."""
    return _relu(plan, row, real)


def leaky_relu(plan, row, real, weight):
    """x, or p0 * x below 0."""
    return _leaky_relu(plan, row, real)


def elu(plan, row, real, weight):
    """x, or p0 * (exp(x) - 1) below 0."""
    return _elu(plan, row, real)


def clip(plan, row, real, weight):
    """min(max(x, p0), p1)."""
    return _clip(plan, row, real)


def tanh(plan, row, real, weight):
    """tanh(x)."""
    return _tanh(plan, row, real)


def sigmoid(plan, row, real, weight):
    """1 / (1 + exp(-x))."""
    return _sigmoid(plan, row, real)


def hard_sigmoid(plan, row, real, weight):
    """min(max(p0 * x + p1, 0), 1)."""
    return _hard_sigmoid(plan, row, real)


def hard_swish(plan, row, real, weight):
    """x * min(max(x / 6 + 0.5, 0), 1)."""
    return _hard_swish(plan, row, real)


def swish(plan, row, real, weight):
    """x * sigmoid(x)."""
    return _swish(plan, row, real)


def softplus(plan, row, real, weight):
    """log(1 + exp(x))."""
    return _softplus(plan, row, real)


def add(plan, row, real, weight):
    """x + p0; like the three that follow, a step of an encoder."""
    return _add(plan, row, real)


def sub(plan, row, real, weight):
    """x - p0."""
    return _sub(plan, row, real)


def mul(plan, row, real, weight):
    """x * p0."""
    return _mul(plan, row, real)


def div(plan, row, real, weight):
    """x / p0."""
    return _div(plan, row, real)


def round_(plan, row, real, weight):
    """The nearest whole number, the even one of two."""
    return _round(plan, row, real)


@njit
def _requantize(plan, row, real):
    p0, kind, channels = float64_pointer(plan[row + F_P0]), plan[row + F_KIND0], plan[row + F_CHANNELS]
    x, first = pointer(plan[BLOCK_X], real), plan[BLOCK_FIRST]
    for j in range(plan[BLOCK_SIZE]):
        i = 0 if kind == SCALAR else first + j if kind == PER_NEURON else (first + j) % channels
        x[j] = np.rint(np.float32(x[j]) * np.float32(p0[i]))
    return 0


def requantize(plan, row, real, weight):
    """x * p0 in float32, rounded to the nearest whole number, the even one of two; p0 is float64 in all number types."""
    return _requantize(plan, row, real)


@njit
def floor_shifted(x, bits):
    """x / 2^bits, rounded down."""
    size = 1
    for _ in range(bits):
        size *= 2
    return x // size


_shift_right = _on_blocks("shift_right", lambda x, a, b: floor_shifted(x, int(a)))


def shift_right(plan, row, real, weight):
    """x / 2^p0, rounded down."""
    return _shift_right(plan, row, real)


FUNCTIONS = (affine, relu, leaky_relu, elu, clip, tanh, sigmoid, hard_sigmoid, hard_swish, swish, softplus, round_, requantize, shift_right)
"""The functions of layers, under the names of `neurosim.activation.ELEMENTWISE`."""

ENCODER_FUNCTIONS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div, "Clip": clip}
"""Those of encoders, under the names of `neurosim.host.HOST_OPS`; the second operand is p0."""
