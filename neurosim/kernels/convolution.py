"""Deliver events over a convolution whose weights are kept densely, in segments.

Neighbouring events that feed the same targets are gathered into visits, and each segment of a
visit's shape is added once for all of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neurosim.kernels.deliver import count, mark
from neurosim.kernels.layout import (
    CHUNK,
    CLASS_ROW,
    G_BLOCKS,
    G_CELL,
    G_CHANNELS,
    G_CLASS,
    G_LAYER,
    G_M_COUNT,
    G_M_UNIT,
    G_MAGIC,
    G_MARKS,
    G_N_OUT,
    G_NONZERO,
    G_PAYLOADS,
    G_PLACE,
    G_ROWS,
    G_S_LENGTH,
    G_S_TARGET,
    G_S_WEIGHT,
    G_SCALE,
    G_SEGMENTS,
    G_SENDER,
    G_SHIFT,
    G_VISITS,
    G_WEIGHT,
    K_BASE,
    K_FAN_OUT,
    K_SHAPE,
    K_STEP,
    L_ACCUMULATOR,
    L_MARK,
    S_COUNT,
    S_EVENT,
    S_PAYLOAD,
    V_END,
    V_SHAPE,
    V_TARGET,
    VISIT_ROW,
)
from neurosim.kernels.pointer import int32_pointer, int64_pointer, pointer, shifted, size_of, uint8_pointer
from neurosim.kernels.primitives import add_rows


@njit
def fill_up(rows, payloads, n):  # type: ignore[no-untyped-def]
    """Behind n rows put rows that add nothing, up to a multiple of four; return that multiple."""
    for k in range(3):
        rows[n + k] = rows[n - 1]
        payloads[n + k] = 0
    return (n + 3) & ~3


@njit
def _gather(plan, group, first, stop, real, weight):  # type: ignore[no-untyped-def]
    """List the visits that the events first .. stop - 1 make, with their rows and payloads, filled up to fours.

    Adds to the counts and returns the number of visits.
    """
    sender = plan[group + G_SENDER]
    event, payload = int32_pointer(plan[sender + S_EVENT]), pointer(plan[sender + S_PAYLOAD], real)
    cells, has_cells = int32_pointer(plan[group + G_CELL]), plan[group + G_CELL] != 0
    channels, magic, shift = plan[group + G_CHANNELS], plan[group + G_MAGIC], plan[group + G_SHIFT]
    place, classes = int32_pointer(plan[group + G_PLACE]), int32_pointer(plan[group + G_CLASS])
    all_nonzero = int32_pointer(plan[group + G_NONZERO])
    rows, payloads = int64_pointer(plan[group + G_ROWS]), pointer(plan[group + G_PAYLOADS], real)
    visits = int32_pointer(plan[group + G_VISITS])
    scale, size = pointer(plan[group + G_SCALE], real)[0], size_of(weight)
    nonzero = all_nonzero
    met, effective, arrivals, n, v = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(-1)
    first_cell, base, step, fan, shape, target = -channels, np.int64(0), np.int64(0), np.int64(0), np.int64(-1), np.int64(-1)
    for i in range(first, stop):
        cell = np.int64(event[i])
        if has_cells:
            cell = np.int64(cells[cell])
            if cell < 0:
                continue
        if cell < first_cell or cell >= first_cell + channels:
            position = (cell * magic) >> shift
            first_cell = position * channels
            k = np.int64(place[2 * position])
            row = shifted(classes, k * CLASS_ROW)
            base, step, fan = plan[group + G_WEIGHT] + row[K_BASE] * size, row[K_STEP] * size, np.int64(row[K_FAN_OUT])
            nonzero = shifted(all_nonzero, k * channels)
            if place[2 * position + 1] != target or row[K_SHAPE] != shape:
                shape, target = np.int64(row[K_SHAPE]), np.int64(place[2 * position + 1])
                if v >= 0:
                    visits[v * VISIT_ROW + V_END] = n
                    n = fill_up(rows, payloads, n)
                v += 1
                visits[v * VISIT_ROW + V_SHAPE] = shape
                visits[v * VISIT_ROW + V_TARGET] = target
        channel = cell - first_cell
        rows[n] = base + channel * step
        payloads[n] = payload[i] * scale
        n += 1
        met += fan
        arrivals += fan > 0
        effective += nonzero[channel]
    if v >= 0:
        visits[v * VISIT_ROW + V_END] = n
        fill_up(rows, payloads, n)
    count(plan, group, arrivals, met, effective)
    return v + 1


@njit
def convolution(plan, group, real, weight):  # type: ignore[no-untyped-def]
    """Deliver the current events of one group of synapses.

    Changes the layer's accumulators, marks and counts. Returns 0.
    """
    layer, n_events = plan[group + G_LAYER], plan[plan[group + G_SENDER] + S_COUNT]
    visits, segments = int32_pointer(plan[group + G_VISITS]), int32_pointer(plan[group + G_SEGMENTS])
    s_target, s_weight = int32_pointer(plan[group + G_S_TARGET]), int32_pointer(plan[group + G_S_WEIGHT])
    s_length = int32_pointer(plan[group + G_S_LENGTH])
    marks = uint8_pointer(plan[layer + L_MARK])
    mark_start = int32_pointer(plan[group + G_MARKS])
    mark_unit, mark_count = int32_pointer(plan[group + G_M_UNIT]), int32_pointer(plan[group + G_M_COUNT])
    accumulator = pointer(plan[layer + L_ACCUMULATOR], real)
    rows, payloads = int64_pointer(plan[group + G_ROWS]), pointer(plan[group + G_PAYLOADS], real)
    n_out, blocks = plan[group + G_N_OUT], plan[group + G_BLOCKS]
    for first in range(0, n_events, CHUNK):
        n_visits = _gather(plan, group, first, min(first + CHUNK, n_events), real, weight)
        start = np.int64(0)
        for v in range(n_visits):
            visit = shifted(visits, v * VISIT_ROW)
            shape, target, stop = np.int64(visit[V_SHAPE]), np.int64(visit[V_TARGET]), (np.int64(visit[V_END]) + 3) & ~3
            for s in range(np.int64(mark_start[shape]), np.int64(mark_start[shape + 1])):
                mark(marks, target * blocks + mark_unit[s], np.int64(mark_count[s]))
            targets = shifted(accumulator, target * n_out)
            for s in range(np.int64(segments[shape]), np.int64(segments[shape + 1])):
                add_rows(shifted(targets, s_target[s]), shifted(rows, start), np.int64(s_weight[s]), shifted(payloads, start),
                         stop - start, np.int64(s_length[s]), weight)
            start = stop
    return 0
