"""Deliver events over a convolution whose weights are kept densely, in segments.

Events of one position are neighbours in the list and feed the same targets: they are gathered,
and each segment of the position's class is visited once for all of them.
"""

from __future__ import annotations

from numba import njit

from neurosim.kernels.deliver import count, mark
from neurosim.kernels.layout import (
    G_BLOCKS,
    G_CELL,
    G_CHANNEL_STEP,
    G_CHANNELS,
    G_FAN_OUT,
    G_LAYER,
    G_M_COUNT,
    G_M_UNIT,
    G_MAGIC,
    G_MARKS,
    G_N_OUT,
    G_NONZERO,
    G_PLACE,
    G_ROWS,
    G_S_LENGTH,
    G_S_TARGET,
    G_S_WEIGHT,
    G_SCALE,
    G_SCALED,
    G_SEGMENTS,
    G_SENDER,
    G_SHIFT,
    G_WEIGHT,
    L_ACCUMULATOR,
    L_MARK,
    S_COUNT,
    S_EVENT,
    S_PAYLOAD,
)
from neurosim.kernels.pointer import int32_pointer, int64_pointer, pointer, shifted, size_of, uint8_pointer
from neurosim.kernels.primitives import add_rows


@njit
def scaled_payload(plan, group, payload, n, real):  # type: ignore[no-untyped-def]
    """The payloads times the scale of the group's narrow weights (1: as they are)."""
    scale = pointer(plan[group + G_SCALE], real)[0]
    if scale == 1:
        return payload
    scaled = pointer(plan[group + G_SCALED], real)
    for i in range(n):
        scaled[i] = payload[i] * scale
    return scaled


@njit
def convolution(plan, group, real, weight):  # type: ignore[no-untyped-def]
    """Deliver the current events of one group of synapses.

    Changes the layer's accumulators, marks and counts.

    Returns
    -------
    int
        Events that arrived.
    """
    sender, layer = plan[group + G_SENDER], plan[group + G_LAYER]
    n_events = plan[sender + S_COUNT]
    event = int32_pointer(plan[sender + S_EVENT])
    payload = scaled_payload(plan, group, pointer(plan[sender + S_PAYLOAD], real), n_events, real)
    cells = int32_pointer(plan[group + G_CELL])
    has_cells = plan[group + G_CELL] != 0
    channels, magic, shift = plan[group + G_CHANNELS], plan[group + G_MAGIC], plan[group + G_SHIFT]
    place, step = int32_pointer(plan[group + G_PLACE]), int32_pointer(plan[group + G_CHANNEL_STEP])
    segments = int32_pointer(plan[group + G_SEGMENTS])
    s_target, s_weight = int32_pointer(plan[group + G_S_TARGET]), int32_pointer(plan[group + G_S_WEIGHT])
    s_length = int32_pointer(plan[group + G_S_LENGTH])
    marks = uint8_pointer(plan[layer + L_MARK])
    mark_start = int32_pointer(plan[group + G_MARKS])
    mark_unit, mark_count = int32_pointer(plan[group + G_M_UNIT]), int32_pointer(plan[group + G_M_COUNT])
    fan_out, nonzero = int32_pointer(plan[group + G_FAN_OUT]), int32_pointer(plan[group + G_NONZERO])
    accumulator = pointer(plan[layer + L_ACCUMULATOR], real)
    rows, weights = int64_pointer(plan[group + G_ROWS]), plan[group + G_WEIGHT]
    n_out, blocks = plan[group + G_N_OUT], plan[group + G_BLOCKS]

    arrivals, visits, effective, i = 0, 0, 0, 0
    while i < n_events:
        cell = event[i]
        if has_cells:
            cell = cells[cell]
            if cell < 0:
                i += 1
                continue
        position = (cell * magic) >> shift
        first = position * channels
        k, target = place[2 * position], place[2 * position + 1]
        row_bytes, met = step[k] * size_of(weight), k * channels
        start, m = i, 0
        while True:
            channel = cell - first
            rows[m] = weights + channel * row_bytes
            effective += nonzero[met + channel]
            m += 1
            i += 1
            if i == n_events:
                break
            cell = event[i]
            if has_cells:
                cell = cells[cell]
            if cell < first or cell >= first + channels:
                break
        if fan_out[k] == 0:
            continue
        arrivals += m
        visits += m * fan_out[k]
        for s in range(mark_start[k], mark_start[k + 1]):
            mark(marks, target * blocks + mark_unit[s], mark_count[s])
        targets = shifted(accumulator, target * n_out)
        for s in range(segments[k], segments[k + 1]):
            add_rows(shifted(targets, s_target[s]), rows, s_weight[s], shifted(payload, start), m, s_length[s], weight)
    count(plan, group, arrivals, visits, effective)
    return arrivals
