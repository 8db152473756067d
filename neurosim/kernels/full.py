"""Deliver events over full synapses that are kept densely: one row of weights per source element.

Rows come in tiles: their sums stay in registers over a tile, and the tile's rows are streams
that the processor can fetch ahead.
"""

from __future__ import annotations

from numba import njit

from neurosim.kernels.convolution import scaled_payload
from neurosim.kernels.deliver import count, mark
from neurosim.kernels.layout import (
    G_BLOCKS,
    G_CELL,
    G_CHANNEL_STEP,
    G_FAN_OUT,
    G_LAYER,
    G_NONZERO,
    G_ROWS,
    G_SENDER,
    G_TILE,
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
def full(plan, group, real, weight):  # type: ignore[no-untyped-def]
    """Deliver the current events of one group of synapses; arguments and result as in `convolution`."""
    sender, layer = plan[group + G_SENDER], plan[group + G_LAYER]
    n_events = plan[sender + S_COUNT]
    event = int32_pointer(plan[sender + S_EVENT])
    payload = scaled_payload(plan, group, pointer(plan[sender + S_PAYLOAD], real), n_events, real)
    cells = int32_pointer(plan[group + G_CELL])
    has_cells = plan[group + G_CELL] != 0
    nonzero = int32_pointer(plan[group + G_NONZERO])
    rows, weights = int64_pointer(plan[group + G_ROWS]), plan[group + G_WEIGHT]
    accumulator = pointer(plan[layer + L_ACCUMULATOR], real)
    length, tile = plan[group + G_CHANNEL_STEP], plan[group + G_TILE]
    row_bytes = length * size_of(weight)

    arrivals, effective, i = 0, 0, 0
    while i < n_events:
        start, m = i, 0
        while i < n_events and m < tile:
            cell = event[i]
            if has_cells:
                cell = cells[cell]
                if cell < 0:
                    break
            rows[m] = weights + cell * row_bytes
            effective += nonzero[cell]
            m += 1
            i += 1
        if m > 0:
            arrivals += m
            add_rows(accumulator, rows, 0, shifted(payload, start), m, length, weight)
        else:
            i += 1
    if arrivals > 0:
        mark(uint8_pointer(plan[layer + L_MARK]), 0, plan[group + G_BLOCKS])
    count(plan, group, arrivals, arrivals * plan[group + G_FAN_OUT], effective)
    return arrivals
