"""Deliver events over full synapses that are kept densely: one row of weights per source element.

Rows come in batches: sums stay in registers over a batch, and its rows are streams that the
processor can fetch ahead.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neurosim.kernels.deliver import count, fill_up, mark
from neurosim.kernels.layout import (
    G_BATCH,
    G_CELL,
    G_FAN_OUT,
    G_LAYER,
    G_LENGTH,
    G_NONZERO,
    G_PAYLOADS,
    G_ROWS,
    G_SCALE,
    G_SENDER,
    G_UNITS,
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
    """Deliver the current events of one group of synapses."""
    sender, layer = plan[group + G_SENDER], plan[group + G_LAYER]
    n_events = plan[sender + S_COUNT]
    event, payload = int32_pointer(plan[sender + S_EVENT]), pointer(plan[sender + S_PAYLOAD], real)
    cells = int32_pointer(plan[group + G_CELL])
    has_cells = plan[group + G_CELL] != 0
    nonzero, all_are = int32_pointer(plan[group + G_NONZERO]), plan[group + G_NONZERO] == 0
    rows, payloads = int64_pointer(plan[group + G_ROWS]), pointer(plan[group + G_PAYLOADS], real)
    accumulator, scale = pointer(plan[layer + L_ACCUMULATOR], real), pointer(plan[group + G_SCALE], real)[0]
    weights, length, batch = plan[group + G_WEIGHT], plan[group + G_LENGTH], plan[group + G_BATCH]
    row_bytes = length * size_of(weight)

    arrivals, effective, i = 0, 0, 0
    while i < n_events:
        m = 0
        while i < n_events and m < batch:
            element = np.int64(event[i])
            if not has_cells or cells[element] >= 0:
                rows[m] = weights + element * row_bytes
                payloads[m] = payload[i] * scale
                if not all_are:
                    effective += nonzero[element]
                m += 1
            i += 1
        if m > 0:
            arrivals += m
            add_rows(accumulator, rows, np.int64(0), payloads, fill_up(rows, payloads, m), length, weight)
    if arrivals > 0:
        mark(uint8_pointer(plan[layer + L_MARK]), 0, plan[group + G_UNITS])
    met = arrivals * plan[group + G_FAN_OUT]
    count(plan, group, arrivals, met, met if all_are else effective)
    return 0
