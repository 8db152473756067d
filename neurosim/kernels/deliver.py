"""What all ways of delivering events share: where an event stands, what it marks, what it counts."""

from __future__ import annotations

import numpy as np
from numba import njit

from neurosim.kernels.layout import (
    ACS,
    C_EFFECTIVE_ACS,
    C_EFFECTIVE_MACS,
    C_EVENTS,
    C_SYNAPTIC_OPS,
    C_UNWEIGHTED_OPS,
    G_CELL,
    G_LAYER,
    G_READ,
    G_READ_PAYLOADS,
    G_SENDER,
    G_WEIGHTED,
    L_COUNTS,
    MACS,
    S_EVENT,
    S_PAYLOAD,
)
from neurosim.kernels.pointer import int32_pointer, pointer, shifted


@njit
def mark(marks, first, count):
    """Set `count` (1 or more) bytes. Up to four are set without a loop."""
    marks[first] = 1
    marks[first + count - 1] = 1
    marks[first + (count >> 1)] = 1
    marks[first + ((count - 1) >> 1)] = 1
    if count > 4:
        for u in range(first, first + count):
            marks[u] = 1


@njit
def count(plan, group, arrivals, met, effective):
    """Add to the count row of a group's layer: events that arrived, synapses that they met, and those not of weight 0."""
    counts = plan[plan[group + G_LAYER] + L_COUNTS]
    plan[counts + C_EVENTS] += arrivals
    plan[counts + C_SYNAPTIC_OPS] += met
    if plan[group + G_WEIGHTED] == MACS:
        plan[counts + C_EFFECTIVE_MACS] += effective
    elif plan[group + G_WEIGHTED] == ACS:
        plan[counts + C_EFFECTIVE_ACS] += effective
    else:
        plan[counts + C_UNWEIGHTED_OPS] += met


@njit
def events(plan, group, first, n, real):
    """The n events from the first-th on, as a group reads them.

    Returns (cells, payloads, how many): those of the sender as they lie or, through a view, the
    cells of those that are read. One entry behind the last may be looked at.
    """
    sender = plan[group + G_SENDER]
    event = int32_pointer(plan[sender + S_EVENT] + 4 * first)
    payload = shifted(pointer(plan[sender + S_PAYLOAD], real), first)
    if plan[group + G_CELL] == 0:
        return event, payload, n
    cells = int32_pointer(plan[group + G_CELL])
    read, values, n_read = int32_pointer(plan[group + G_READ]), pointer(plan[group + G_READ_PAYLOADS], real), np.int64(0)
    for i in range(n):
        cell = cells[event[i]]
        read[n_read] = cell
        values[n_read] = payload[i]
        n_read += cell >= 0
    return read, values, n_read


@njit
def fill_up(rows, payloads, n):
    """Behind an odd number of rows put one that adds nothing; return the even number."""
    rows[n] = rows[n - 1]
    payloads[n] = 0
    return (n + 1) & ~1
