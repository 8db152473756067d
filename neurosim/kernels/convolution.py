"""Deliver events over a convolution whose weights are kept densely, in segments.

Neighbouring events that feed the same targets are gathered into visits, and each segment of a
visit's shape is added once for all of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neurosim.kernels.deliver import count, events, fill_up, mark
from neurosim.kernels.layout import (
    CHUNK,
    CLASS_ROW,
    G_CELL,
    G_CHANNELS,
    G_CLASS,
    G_GATHERED,
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
    G_TAP_COLUMNS,
    G_TAP_ROWS,
    G_UNITS,
    G_VISITS,
    G_WEIGHT,
    G_WIDTH,
    K_BASE,
    K_FAN_OUT,
    K_SHAPE,
    K_STEP,
    L_ACCUMULATOR,
    L_MARK,
    S_COUNT,
    V_END,
    V_SHAPE,
    V_TARGET,
    VISIT_ROW,
)
from neurosim.kernels.pointer import int32_pointer, int64_pointer, pointer, shifted, size_of, uint8_pointer
from neurosim.kernels.primitives import add_rows

MANY = 64
"""Events of a row of positions from which on it pays to go tap by tap (measured)."""


@njit
def _gather(plan, group, cells, payload, n_events, real, weight):
    """List the visits that events make, with their rows and payloads, filled up to even numbers.

    Stops before the first event of another row of positions where the group goes by taps.
    Adds to the counts, leaves the number of events gathered in G_GATHERED, returns that of visits.
    """
    channels, magic, shift = plan[group + G_CHANNELS], plan[group + G_MAGIC], plan[group + G_SHIFT]
    place, classes = int32_pointer(plan[group + G_PLACE]), int32_pointer(plan[group + G_CLASS])
    all_nonzero, all_are = int32_pointer(plan[group + G_NONZERO]), plan[group + G_NONZERO] == 0
    rows, payloads = int64_pointer(plan[group + G_ROWS]), pointer(plan[group + G_PAYLOADS], real)
    visit = int32_pointer(plan[group + G_VISITS])
    scale, size, weights = pointer(plan[group + G_SCALE], real)[0], size_of(weight), plan[group + G_WEIGHT]
    met, effective, arrivals, n, i, n_visits = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    shape, target = np.int32(-1), np.int32(-1)
    row_end = np.int64(1) << 62
    if plan[group + G_TAP_ROWS] > 0 and n_events > 0:
        width = plan[group + G_WIDTH]
        row_end = (((cells[0] * magic) >> shift) // width + 1) * width
    while i < n_events:
        cell = np.int64(cells[i])
        position = (cell * magic) >> shift
        if position >= row_end:
            break
        first_cell = position * channels
        k = np.int64(place[2 * position])
        row = shifted(classes, k * CLASS_ROW)
        if place[2 * position + 1] != target or row[K_SHAPE] != shape:
            shape, target = row[K_SHAPE], place[2 * position + 1]
            if n > 0:
                visit[V_END] = n
                n = fill_up(rows, payloads, n)
                visit = shifted(visit, np.int64(VISIT_ROW))
            visit[V_SHAPE] = shape
            visit[V_TARGET] = target
            n_visits += 1
        step = row[K_STEP] * size
        base = weights + row[K_BASE] * size - first_cell * step
        before = i
        while True:
            rows[n] = base + cell * step
            payloads[n] = payload[i] * scale
            n += 1
            i += 1
            cell = np.int64(cells[i])
            if i >= n_events or cell < first_cell or cell >= first_cell + channels:
                break
        fan = np.int64(row[K_FAN_OUT])
        met += fan * (i - before)
        arrivals += (i - before) if fan > 0 else 0
        if not all_are:
            nonzero = shifted(all_nonzero, k * channels - first_cell)
            for j in range(before, i):
                effective += nonzero[cells[j]]
    if n > 0:
        visit[V_END] = n
        fill_up(rows, payloads, n)
    plan[group + G_GATHERED] = i
    count(plan, group, arrivals, met, met if all_are else effective)
    return n_visits


@njit
def _mark(plan, group, n_visits):
    visits, marks = int32_pointer(plan[group + G_VISITS]), uint8_pointer(plan[plan[group + G_LAYER] + L_MARK])
    start, blocks = int32_pointer(plan[group + G_MARKS]), plan[group + G_UNITS]
    unit, n_units = int32_pointer(plan[group + G_M_UNIT]), int32_pointer(plan[group + G_M_COUNT])
    for v in range(n_visits):
        visit = shifted(visits, v * VISIT_ROW)
        shape, first = np.int64(visit[V_SHAPE]), np.int64(visit[V_TARGET]) * blocks
        for s in range(np.int64(start[shape]), np.int64(start[shape + 1])):
            mark(marks, first + unit[s], np.int64(n_units[s]))


@njit
def _add_by_visit(plan, group, n_visits, real, weight):
    """One visit after the other, whole segments."""
    visits, segments = int32_pointer(plan[group + G_VISITS]), int32_pointer(plan[group + G_SEGMENTS])
    s_target, s_weight = int32_pointer(plan[group + G_S_TARGET]), int32_pointer(plan[group + G_S_WEIGHT])
    s_length = int32_pointer(plan[group + G_S_LENGTH])
    accumulator = pointer(plan[plan[group + G_LAYER] + L_ACCUMULATOR], real)
    rows, payloads = int64_pointer(plan[group + G_ROWS]), pointer(plan[group + G_PAYLOADS], real)
    n_out, start = plan[group + G_N_OUT], np.int64(0)
    for v in range(n_visits):
        visit = shifted(visits, v * VISIT_ROW)
        shape, stop = np.int64(visit[V_SHAPE]), (np.int64(visit[V_END]) + 1) & ~1
        targets = shifted(accumulator, np.int64(visit[V_TARGET]) * n_out)
        for s in range(np.int64(segments[shape]), np.int64(segments[shape + 1])):
            add_rows(shifted(targets, s_target[s]), shifted(rows, start), np.int64(s_weight[s]), shifted(payloads, start),
                     stop - start, np.int64(s_length[s]), weight)
        start = stop


@njit
def _add_by_tap(plan, group, n_visits, real, weight):
    """One kernel tap after the other, all visits: the weights of a tap stay in the first-level cache.

    All visits stand in one row of positions. The target positions within a segment run from the
    last to the first, and the last one's source is the earliest that reaches it: so each target
    still gets its sources in ascending order.
    """
    visits, segments = int32_pointer(plan[group + G_VISITS]), int32_pointer(plan[group + G_SEGMENTS])
    s_target, s_weight = int32_pointer(plan[group + G_S_TARGET]), int32_pointer(plan[group + G_S_WEIGHT])
    s_length = int32_pointer(plan[group + G_S_LENGTH])
    accumulator = pointer(plan[plan[group + G_LAYER] + L_ACCUMULATOR], real)
    rows, payloads = int64_pointer(plan[group + G_ROWS]), pointer(plan[group + G_PAYLOADS], real)
    n_out = plan[group + G_N_OUT]
    for row in range(1, plan[group + G_TAP_ROWS] + 1):
        for column in range(1, plan[group + G_TAP_COLUMNS] + 1):
            start = np.int64(0)
            for v in range(n_visits):
                visit = shifted(visits, v * VISIT_ROW)
                shape, stop = np.int64(visit[V_SHAPE]), (np.int64(visit[V_END]) + 1) & ~1
                s = np.int64(segments[shape + 1]) - row
                if s >= segments[shape] and s_length[s] >= column * n_out:
                    offset = np.int64(s_length[s]) - column * n_out
                    add_rows(shifted(accumulator, np.int64(visit[V_TARGET]) * n_out + s_target[s] + offset), shifted(rows, start),
                             s_weight[s] + offset, shifted(payloads, start), stop - start, n_out, weight)
                start = stop


@njit
def convolution(plan, group, real, weight):
    """Deliver the current events of one group of synapses.

    Changes the layer's accumulators, marks and counts. Returns 0.
    """
    sender = plan[group + G_SENDER]
    n_events = plan[sender + S_COUNT]
    first = np.int64(0)
    while first < n_events:
        n = min(n_events - first, CHUNK)
        cells, payload, n = events(plan, group, first, n, real)
        n_visits = _gather(plan, group, cells, payload, n, real, weight)
        _mark(plan, group, n_visits)
        if plan[group + G_TAP_ROWS] > 0 and plan[group + G_GATHERED] >= MANY:
            _add_by_tap(plan, group, n_visits, real, weight)
        else:
            _add_by_visit(plan, group, n_visits, real, weight)
        first += plan[group + G_GATHERED] if plan[group + G_CELL] == 0 else CHUNK  # through a view all are gathered
    return 0
