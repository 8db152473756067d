"""Deliver events over sparse rows: pruned weights, depthwise and grouped convolutions, pooling, identity.

Each class and channel has a row: targets relative to the first target position, and weights.
Marks follow the connectivity, zero weights included; a row holds the others only.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from neurosim.kernels.deliver import count, events, mark
from neurosim.kernels.layout import (
    CHUNK,
    CLASS_ROW,
    G_CHANNEL_GROUPS,
    G_CHANNELS,
    G_CLASS,
    G_FIRST_UNIT,
    G_LAYER,
    G_LONG_ROWS,
    G_M_COUNT,
    G_M_UNIT,
    G_MAGIC,
    G_MARKS,
    G_N_OUT,
    G_NONZERO,
    G_PLACE,
    G_ROW_START,
    G_ROW_TARGET,
    G_SENDER,
    G_SHIFT,
    G_UNITS,
    G_WEIGHT,
    K_FAN_OUT,
    L_ACCUMULATOR,
    L_MARK,
    LINE,
    S_COUNT,
)
from neurosim.kernels.pointer import int32_pointer, pointer, shifted, size_of, uint8_pointer
from neurosim.kernels.primitives import prefetch


def _scatter(target, index, w, d, n):
    for j in range(0, n, 4):
        a, b, c, e = index[j], index[j + 1], index[j + 2], index[j + 3]
        target[a] = target[a] + d * w[j]
        target[b] = target[b] + d * w[j + 1]
        target[c] = target[c] + d * w[j + 2]
        target[e] = target[e] + d * w[j + 3]


_exact, _fused = njit(forceinline=True)(_scatter), njit(fastmath={"contract"}, forceinline=True)(_scatter)


def scatter(target, index, w, d, n):
    """target[index[j]] += d * w[j], j < n, a multiple of four; one after the other (an index may occur twice)."""


@overload(scatter)
def _scatter_of(target, index, w, d, n):
    if target.dtype == types.float32:
        return lambda target, index, w, d, n: _fused(target, index, w, d, n)
    return lambda target, index, w, d, n: _exact(target, index, w, d, n)


AHEAD_EVENTS = 2
"""The row of so many events later is asked for in advance, where rows are long."""


@njit
def _prefetch_row(plan, group, row, real, index):
    start = int32_pointer(plan[group + G_ROW_START])
    begin, end = np.int64(start[row]), np.int64(start[row + 1])
    for target in range(plan[group + G_ROW_TARGET] + begin * size_of(index), plan[group + G_ROW_TARGET] + end * size_of(index), LINE):
        prefetch(target)
    for weight in range(plan[group + G_WEIGHT] + begin * size_of(real), plan[group + G_WEIGHT] + end * size_of(real), LINE):
        prefetch(weight)


@njit
def _deliver(plan, group, cells, payload, n_events, real, index):
    """Add the rows of events; targets are marked once per position and group of channels."""
    layer, channels = plan[group + G_LAYER], plan[group + G_CHANNELS]
    magic, shift, n_out, blocks = plan[group + G_MAGIC], plan[group + G_SHIFT], plan[group + G_N_OUT], plan[group + G_UNITS]
    place, classes = int32_pointer(plan[group + G_PLACE]), int32_pointer(plan[group + G_CLASS])
    group_of, n_groups = int32_pointer(plan[group + G_FIRST_UNIT]), plan[group + G_CHANNEL_GROUPS]
    row_start, row_target = int32_pointer(plan[group + G_ROW_START]), pointer(plan[group + G_ROW_TARGET], index)
    weights, nonzero = pointer(plan[group + G_WEIGHT], real), int32_pointer(plan[group + G_NONZERO])
    marks, mark_start = uint8_pointer(plan[layer + L_MARK]), int32_pointer(plan[group + G_MARKS])
    mark_unit, mark_count = int32_pointer(plan[group + G_M_UNIT]), int32_pointer(plan[group + G_M_COUNT])
    long = plan[group + G_LONG_ROWS] == 1
    arrivals, met, effective, i = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while i < n_events:
        cell = np.int64(cells[i])
        position = (cell * magic) >> shift
        first_cell, before = position * channels, i
        k, target = np.int64(place[2 * position]), np.int64(place[2 * position + 1])
        row_of_cell = k * channels - first_cell
        accumulator = shifted(pointer(plan[layer + L_ACCUMULATOR], real), target * n_out)
        marked = np.int64(-1)
        while True:
            row = row_of_cell + cell
            if long and i + AHEAD_EVENTS < n_events and first_cell <= cells[i + AHEAD_EVENTS] < first_cell + channels:
                _prefetch_row(plan, group, row_of_cell + cells[i + AHEAD_EVENTS], real, index)
            part = np.int64(group_of[cell - first_cell]) if n_groups > 1 else np.int64(0)
            if part != marked:
                marked = part
                for s in range(np.int64(mark_start[k]), np.int64(mark_start[k + 1])):
                    mark(marks, target * blocks + part + mark_unit[s], np.int64(mark_count[s]))
            begin = np.int64(row_start[row])
            scatter(accumulator, shifted(row_target, begin), shifted(weights, begin), payload[i], row_start[row + 1] - begin)
            effective += nonzero[row]
            i += 1
            cell = np.int64(cells[i])
            if i >= n_events or cell < first_cell or cell >= first_cell + channels:
                break
        fan_out = np.int64(classes[k * CLASS_ROW + K_FAN_OUT])
        met += fan_out * (i - before)
        arrivals += (i - before) if fan_out > 0 else 0
    count(plan, group, arrivals, met, effective)


@njit
def sparse(plan, group, real, index):
    """Deliver the current events of one group of synapses.

    The type of `index` is that of the targets in the rows; weights are kept as reals.
    """
    sender = plan[group + G_SENDER]
    n_events = plan[sender + S_COUNT]
    for first in range(0, n_events, CHUNK):
        n = min(n_events - first, CHUNK)
        cells, payload, n = events(plan, group, first, n, real)
        _deliver(plan, group, cells, payload, n, real, index)
    return 0
