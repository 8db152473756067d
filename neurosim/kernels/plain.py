"""The vector primitives in plain numba: the same names, arguments and results as in `vector`.

Used on processors without AVX2, and as the second opinion in tests.
"""

from __future__ import annotations

from numba import njit, types
from numba.extending import overload

from neurosim.kernels.pointer import address_of, int64_pointer, pointer, size_of


def _as_real(target, w):
    """A weight in the numbers of the target."""


@overload(_as_real)
def _as_real_of(target, w):
    real = target.dtype
    return lambda target, w: real(w)


def _two(target, w0, w1, d0, d1, length):
    for j in range(length):
        target[j] = (target[j] + d0 * _as_real(target, w0[j])) + d1 * _as_real(target, w1[j])


def _four(target, w0, w1, w2, w3, d0, d1, d2, d3, length):
    for j in range(length):
        target[j] = (((target[j] + d0 * _as_real(target, w0[j])) + d1 * _as_real(target, w1[j]))
                     + d2 * _as_real(target, w2[j])) + d3 * _as_real(target, w3[j])


_exact2, _exact4 = njit(_two), njit(_four)
_fused2, _fused4 = njit(fastmath={"contract"})(_two), njit(fastmath={"contract"})(_four)


def _add_2(target, w0, w1, d0, d1, length):
    """target[j] += d0 * w0[j] + d1 * w1[j], in this order, j < length."""


def _add_4(target, w0, w1, w2, w3, d0, d1, d2, d3, length):
    """target[j] += d0 * w0[j] + ... + d3 * w3[j], in this order, j < length."""


@overload(_add_2)
def _add_2_of(target, w0, w1, d0, d1, length):
    f = _fused2 if target.dtype == types.float32 else _exact2
    return lambda target, w0, w1, d0, d1, length: f(target, w0, w1, d0, d1, length)


@overload(_add_4)
def _add_4_of(target, w0, w1, w2, w3, d0, d1, d2, d3, length):
    f = _fused4 if target.dtype == types.float32 else _exact4
    return lambda target, w0, w1, w2, w3, d0, d1, d2, d3, length: f(target, w0, w1, w2, w3, d0, d1, d2, d3, length)


@njit
def add_rows(target, rows, offset, payload, n, length, weight):
    """As `vector.add_rows`, without bfloat16."""
    offset *= size_of(weight)
    for i in range(0, n - 2, 4):
        _add_4(target, pointer(rows[i] + offset, weight), pointer(rows[i + 1] + offset, weight),
              pointer(rows[i + 2] + offset, weight), pointer(rows[i + 3] + offset, weight),
              payload[i], payload[i + 1], payload[i + 2], payload[i + 3], length)
    if n & 2:
        _add_2(target, pointer(rows[n - 2] + offset, weight), pointer(rows[n - 1] + offset, weight),
              payload[n - 2], payload[n - 1], length)


@njit
def compact(value, ref, event, payload, first, n, size, threshold, floor):
    """As `vector.compact`; also for integers."""
    for j in range(size):
        a = value[j]
        if a < floor:
            a = floor
        d = a - ref[j]
        if abs(d) > threshold:
            event[n] = first + j
            payload[n] = d
            ref[j] = a
            n += 1
    return n


@njit
def differing(a, b):
    """As `vector.differing`."""
    mask = 0
    words_a, words_b = int64_pointer(address_of(a)), int64_pointer(address_of(b))
    for word in range(8):
        if words_a[word] != words_b[word]:
            for byte in range(8 * word, 8 * word + 8):
                if a[byte] != b[byte]:
                    mask |= 1 << byte
    return mask


@njit
def lowest(mask):
    """As `vector.lowest`."""
    bit = 0
    while mask & 255 == 0:
        mask >>= 8
        bit += 8
    while mask & 1 == 0:
        mask >>= 1
        bit += 1
    return bit


@njit
def count_bits(mask):
    """As `vector.count_bits`."""
    n = 0
    while mask != 0:
        mask &= mask - 1
        n += 1
    return n


@njit
def prefetch(address):
    """Nothing: a hint changes no result, and plain numba cannot give it."""
