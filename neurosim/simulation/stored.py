"""How weights are stored: as narrow as their values allow without changing one of them.

Dense rows of weights stream through the caches, so half the bytes are up to twice the speed.
A narrow form is chosen only where it gives every weight back to the last bit of the run's type:

=============  ==========================================================================
float64 runs   float32, where the values are float32 values (weights of most model files)
float32 runs   bfloat16, where the values, or whole multiples of one scale, fit 8 bits
               (quantised networks); one scale for all, or one per output channel
               int8 instead, where that fits the second-level cache and bfloat16 does not
integer runs   the narrowest integer that holds all of a group
=============  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.kernels.target import L2_BYTES, VECTOR_BYTES, VECTORS

_TOP_BFLOAT16, _TOP_INT8 = 256, 127
"""Whole numbers up to these are exact."""

_SMALLEST_SCALE = 1e-20
"""Payloads times smaller ones might vanish."""

_SAMPLE = 4096
"""Weights that are looked at before all of them are sorted."""


@dataclass(frozen=True)
class StoredWeights:
    """Weights as the kernels read them: `values` (rows, columns) x `scale` x `column_scale` (or 1).

    bfloat16 values are uint16, in pairs of vectors whose lanes alternate (see `kernels.vector`).
    """

    values: np.ndarray
    scale: float = 1.0
    column_scale: np.ndarray | None = None


def store(weights: np.ndarray, dtype: np.dtype, pad: bool, by_column: bool) -> StoredWeights:
    """Choose how to store rows of weights.

    Parameters
    ----------
    weights : ndarray, float64 (rows, columns)
    dtype : of the accumulators
    pad : bool
        Fill up rows with zeros to whole vectors.
    by_column : bool
        Whether the caller can apply a scale per column to the sums.
    """
    if dtype.kind == "i":
        return StoredWeights(_padded(weights, VECTOR_BYTES // dtype.itemsize if pad else 1).astype(_narrowest_integer(weights, dtype)))
    if not VECTORS or dtype == np.float64:
        exact = dtype == np.float64 and np.array_equal(weights.astype(np.float32), weights)
        kept = np.dtype(np.float32) if exact and VECTORS else dtype
        return StoredWeights(_padded(weights, VECTOR_BYTES // dtype.itemsize if pad else 1).astype(kept))
    pair = 2 * VECTOR_BYTES // dtype.itemsize
    if pad or weights.shape[1] % pair == 0:
        narrow = _narrow(weights, by_column)
        if narrow is not None:
            return _packed(_padded(narrow.values, pair), narrow, pair)
    return StoredWeights(_padded(weights, pair // 2 if pad else 1).astype(dtype))


def _narrowest_integer(weights: np.ndarray, dtype: np.dtype) -> np.dtype:
    top = np.abs(weights).max(initial=0)
    return next(t for t in map(np.dtype, (np.int8, np.int16, np.int32, np.int64)) if top < 2.0 ** (8 * t.itemsize - 1) or t == dtype)


def _padded(weights: np.ndarray, multiple: int) -> np.ndarray:
    return np.pad(weights, ((0, 0), (0, -weights.shape[1] % multiple)))


def _packed(values: np.ndarray, narrow: StoredWeights, pair: int) -> StoredWeights:
    """Narrow values as int8 or bfloat16."""
    if 2 * values.size > L2_BYTES >= values.size and np.abs(values).max() <= _TOP_INT8 and np.array_equal(np.rint(values), values):
        return StoredWeights(values.astype(np.int8), narrow.scale, narrow.column_scale)
    bits = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    lanes = bits.reshape(len(bits), -1, 2, pair // 2).swapaxes(2, 3)
    return StoredWeights(np.ascontiguousarray(lanes).reshape(values.shape), narrow.scale, narrow.column_scale)


def _narrow(weights: np.ndarray, by_column: bool) -> StoredWeights | None:
    """Values that bfloat16 holds exactly, and the scale; None where there are none."""
    if not np.any(np.ascontiguousarray(weights, np.float32).view(np.uint32) & 0xFFFF):
        return StoredWeights(weights)
    scale = _grid(weights)
    if scale is not None:
        return StoredWeights(np.rint(weights / scale), scale)
    if not by_column or _grid(weights[:, 0]) is None:
        return None
    scales = [_grid(column) for column in weights.T]
    if any(s is None for s in scales):
        return None
    column_scale = np.array(scales)
    return StoredWeights(np.rint(weights / column_scale), 1.0, column_scale)


def _grid(weights: np.ndarray) -> float | None:
    """The float32 of which all weights are whole multiples of at most 8 bits, to their last bit; None if there is none."""
    if np.unique(np.abs(weights.reshape(-1)[:_SAMPLE])).size > _TOP_BFLOAT16 + 1:
        return None
    levels = np.unique(np.abs(weights))
    if levels.size > _TOP_BFLOAT16 + 1:
        return None
    if levels[-1] == 0:
        return 1.0
    scale = (levels[-1] / np.arange(1, _TOP_BFLOAT16 + 1)).astype(np.float32)  # the fewest levels first:
    low, high = np.nextafter(scale, np.float32(0)), np.nextafter(scale, np.float32(np.inf))
    candidates = np.stack([scale, low, high], axis=1).reshape(-1, 1)  # so that dyadic weights get a dyadic scale
    candidates = candidates[candidates > _SMALLEST_SCALE].reshape(-1, 1)
    exact = (np.rint(levels / candidates).astype(np.float32) * candidates == levels.astype(np.float32)).all(axis=1)
    return float(candidates[exact.argmax(), 0]) if exact.any() else None
