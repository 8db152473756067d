"""The record: buffers that the kernel fills and that are emptied into the arrays of a Trace."""

from __future__ import annotations

import numpy as np

from neurosim.errors import SimulationError
from neurosim.kernels import layout as at
from neurosim.network import Network
from neurosim.synapses import INPUT

MODES = ("none", "counts", "events")
_EVENTS, _ROWS = 1 << 19, 1 << 12
"""Events and count rows that the kernel's buffers hold: few enough to be filled soon, many enough to be emptied seldom."""


class Recorder:
    """Keeps count rows and events of the timesteps that a simulator runs.

    Parameters
    ----------
    network : Network
    plan : ndarray
        The simulator's plan; the kernel appends to the buffers that it names.
    mode : {"none", "counts", "events"}
        ``none`` keeps nothing: memory stays constant.
    """

    def __init__(self, network: Network, plan: np.ndarray, mode: str) -> None:
        if mode not in MODES:
            raise SimulationError(f"record {mode!r} is unknown; choose one of {', '.join(MODES)}")
        self._network, self._plan, self.mode = network, plan, mode
        self._row = 1 + len(network.layers) * at.N_COLUMNS
        self._counts: list[np.ndarray] = []
        self._events: list[np.ndarray] = []
        self.n_recorded = 0
        largest = max(network.size_of(s) for s in network.senders)
        self._dtype = np.dtype(np.uint16 if largest <= 1 << 16 else np.uint32)
        self._log = np.zeros((0 if mode == "none" else _ROWS, self._row), np.int64)
        self._capacity = max(_EVENTS, 2 * int(plan[at.MAX_EVENTS])) if mode == "events" else 0
        self._new_record()
        plan[at.LOG], plan[at.LOG_CAPACITY], plan[at.LOG_FILL] = self._log.ctypes.data, len(self._log), 0
        plan[at.RECORD_CAPACITY], plan[at.RECORD_BYTES] = self._capacity, self._dtype.itemsize

    def _new_record(self) -> None:
        """A fresh buffer for events: full ones are kept as they are."""
        self._record = np.empty(self._capacity, self._dtype)
        self._plan[at.RECORD], self._plan[at.RECORD_FILL] = self._record.ctypes.data, 0

    def flush(self) -> None:
        """Empty the kernel's buffers into the record."""
        n_rows = int(self._plan[at.LOG_FILL])
        if n_rows:
            rows = self._log[:n_rows]
            self._counts.append(rows.astype(np.int32) if rows.max() <= np.iinfo(np.int32).max else rows.copy())
        self._plan[at.LOG_FILL] = 0
        if self._plan[at.RECORD_CAPACITY]:
            self.n_recorded += n_rows
            if self._plan[at.RECORD_FILL] + self._plan[at.MAX_EVENTS] > self._capacity:
                self._events.append(self._recorded())
                self._new_record()

    def _recorded(self) -> np.ndarray:
        return self._record[: int(self._plan[at.RECORD_FILL])]

    def stop_events(self) -> None:
        """Record no further events; count rows go on."""
        self.flush()
        self._plan[at.RECORD_CAPACITY] = 0

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The record as the arrays of a Trace.

        Returns
        -------
        input_counts : int32 or int64, (timesteps,)
        counts : int32 or int64, (timesteps, layers, columns)
        event_start : int64 (recorded * senders + 1,)
        event_element : uint16 or uint32
        """
        self.flush()
        rows = np.concatenate(self._counts) if self._counts else np.zeros((0, self._row), np.int32)
        counts = rows[:, 1:].reshape(len(rows), len(self._network.layers), at.N_COLUMNS)
        sent = [rows[:, 0] if s == INPUT else counts[:, s, at.C_EVENTS_OUT] for s in self._network.senders]
        per_sender = np.stack(sent, axis=1)[: self.n_recorded].astype(np.int64).reshape(-1)
        start = np.concatenate(([0], np.cumsum(per_sender)))
        elements = np.concatenate([*self._events, self._recorded()])
        return rows[:, 0].copy(), counts.copy(), start, elements
