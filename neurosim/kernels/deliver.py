"""What all ways of delivering events share: where an event stands, what it marks, what it counts."""

from __future__ import annotations

from numba import njit

from neurosim.kernels.layout import (
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
    S_EVENT,
    S_PAYLOAD,
)
from neurosim.kernels.pointer import int32_pointer, pointer


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
def count(plan, group, arrivals, visits, effective):
    """Add what a group delivered to the count row of its layer."""
    counts = plan[plan[group + G_LAYER] + L_COUNTS]
    plan[counts + C_EVENTS] += arrivals
    plan[counts + C_SYNAPTIC_OPS] += visits
    if plan[group + G_WEIGHTED] == 1:
        plan[counts + C_EFFECTIVE_MACS] += effective
    else:
        plan[counts + C_UNWEIGHTED_OPS] += visits


@njit
def read_events(plan, group, first, stop, real):
    """Events first .. stop - 1 of a group that reads its source through a view: list (cell, payload) of those it reads."""
    sender = plan[group + G_SENDER]
    event, payload = int32_pointer(plan[sender + S_EVENT]), pointer(plan[sender + S_PAYLOAD], real)
    cells = int32_pointer(plan[group + G_CELL])
    read, values = int32_pointer(plan[group + G_READ]), pointer(plan[group + G_READ_PAYLOADS], real)
    n = 0
    for i in range(first, stop):
        cell = cells[event[i]]
        read[n] = cell
        values[n] = payload[i]
        n += cell >= 0
    return n
