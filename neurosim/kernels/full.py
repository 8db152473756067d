"""Deliver events over full synapses that are kept densely: one row of weights per source element.

Rows come in tiles: their sums stay in registers over a tile, and the tile's rows are streams
that the processor can fetch ahead.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neurosim.kernels.convolution import fill_up
from neurosim.kernels.deliver import count, mark
from neurosim.kernels.layout import (
    G_BLOCKS,
    G_CELL,
    G_FAN_OUT,
    G_LAYER,
    G_LENGTH,
    G_NONZERO,
    G_PAYLOADS,
    G_ROWS,
    G_SCALE,
    G_SENDER,
    G_TILE,
    G_WEIGHT,
    L_ACCUMULATOR,
    L_MARK,
    S_COUNT,
    S_EVENT,
    S_PAYLOAD,
)
from neurosim.kernels.pointer import int32_pointer, int64_pointer, pointer, size_of, uint8_pointer
from neurosim.kernels.primitives import add_rows


@njit
def full(plan, group, real, weight):
    """Deliver the current events of one group of synapses; arguments and result as in `convolution`."""
    sender, layer = plan[group + G_SENDER], plan[group + G_LAYER]
    n_events = plan[sender + S_COUNT]
    event, payload = int32_pointer(plan[sender + S_EVENT]), pointer(plan[sender + S_PAYLOAD], real)
    cells = int32_pointer(plan[group + G_CELL])
    has_cells = plan[group + G_CELL] != 0
    nonzero, all_are = int32_pointer(plan[group + G_NONZERO]), plan[group + G_NONZERO] == 0
    rows, payloads = int64_pointer(plan[group + G_ROWS]), pointer(plan[group + G_PAYLOADS], real)
    accumulator, scale = pointer(plan[layer + L_ACCUMULATOR], real), pointer(plan[group + G_SCALE], real)[0]
    weights, length, tile = plan[group + G_WEIGHT], plan[group + G_LENGTH], plan[group + G_TILE]
    row_bytes = length * size_of(weight)

    arrivals, effective, i = 0, 0, 0
    while i < n_events:
        m = 0
        while i < n_events and m < tile:
            cell = np.int64(event[i])
            if not has_cells or cells[cell] >= 0:
                rows[m] = weights + cell * row_bytes
                payloads[m] = payload[i] * scale
                if not all_are:
                    effective += nonzero[cell]
                m += 1
            i += 1
        if m > 0:
            arrivals += m
            add_rows(accumulator, rows, np.int64(0), payloads, fill_up(rows, payloads, m), length, weight)
    if arrivals > 0:
        mark(uint8_pointer(plan[layer + L_MARK]), 0, plan[group + G_BLOCKS])
    visits = arrivals * plan[group + G_FAN_OUT]
    count(plan, group, arrivals, visits, visits if all_are else effective)
    return 0
