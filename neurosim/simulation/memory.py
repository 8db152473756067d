"""The tables of a lowered network: arrays that the kernels reach by address."""

from __future__ import annotations

import numpy as np

from neurosim.errors import SimulationError
from neurosim.kernels.layout import LINE, SPARE


class Memory:
    """Owns tables; `add` returns the address of a copy that lives as long as the owner."""

    def __init__(self) -> None:
        self._tables: list[np.ndarray] = []
        self.n_bytes = 0

    def add(self, values: np.ndarray, dtype: type | np.dtype) -> int:
        """Copy values (any shape, C order) into a table of `dtype`, aligned and followed by spare zeros.

        Raises
        ------
        SimulationError
            Where whole numbers do not fit the type: a layer beyond what the tables can number.
        """
        kind = np.dtype(dtype)
        if kind.kind in "iu" and np.size(values) and not np.iinfo(kind).min <= np.min(values) <= np.max(values) <= np.iinfo(kind).max:
            raise SimulationError(f"a layer is too large to simulate: {np.max(values):,} does not fit a table of {kind.name}; "
                                  "split the layer along its outputs")
        values = np.ascontiguousarray(values, dtype).reshape(-1)
        table = self._new(values.nbytes)
        table[: values.nbytes] = values.view(np.uint8)
        return table.ctypes.data

    def zeros(self, n: int, dtype: type | np.dtype) -> int:
        """A table of n zeros."""
        return self._new(n * np.dtype(dtype).itemsize).ctypes.data

    def _new(self, n_bytes: int) -> np.ndarray:
        raw = np.zeros(n_bytes + SPARE + LINE, np.uint8)
        start = -raw.ctypes.data % LINE
        table = raw[start: start + n_bytes + SPARE]
        self._tables.append(table)
        self.n_bytes += n_bytes + SPARE
        return table
