"""How weights are stored: as narrow as their values allow without changing one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.kernels.target import VECTOR_BYTES, VECTORS


@dataclass(frozen=True)
class StoredWeights:
    """`values` (rows, columns), as the kernels read them, times `scale` are the weights."""

    values: np.ndarray
    scale: float


def store(weights: np.ndarray, dtype: np.dtype, pad: bool = True) -> StoredWeights:
    """Store rows of weights.

    Parameters
    ----------
    weights : ndarray, float64 (rows, columns)
    dtype : of the accumulators
    pad : bool
        Fill up rows with zeros to whole vectors.
    """
    lanes = VECTOR_BYTES // dtype.itemsize
    if pad and weights.shape[1] % lanes:
        weights = np.pad(weights, ((0, 0), (0, -weights.shape[1] % lanes)))
    _ = VECTORS
    return StoredWeights(weights.astype(dtype), 1.0)
