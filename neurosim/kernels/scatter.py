"""Scatter: add the events of a sender to the accumulators of a layer, and mark what they touch.

Counting uses fan-out tables (one look-up per event), never the inner loop. Events that share
a position are fused in fours, so that accumulators are loaded and stored once for four
weights. Sums run in ascending source order, one source at a time; float64 rounds every
product and sum (bit-equal to a plain loop), float32 may contract them into fused
multiply-adds.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from neurosim.kernels.layout import (
    C_EFFECTIVE_MACS,
    C_EVENTS,
    C_SYNAPTIC_OPS,
    C_UNWEIGHTED_OPS,
    G_ADDS,
    G_DESTINATION_SHIFT,
    G_FAN_OUT,
    G_NONZERO,
    G_POSITION,
    G_SEGMENT_DESTINATION,
    G_SEGMENT_LENGTH,
    G_SEGMENT_START,
    G_SEGMENT_WEIGHT,
    G_SENDER,
    G_WEIGHT,
    G_WEIGHT_SHIFT,
    G_WEIGHTED,
    L_ACCUMULATOR,
    L_MARK,
    L_NEURONS,
    L_UNIT,
    S_COUNT,
    S_ELEMENTS,
    S_EVENT,
    S_PAYLOAD,
    SENDER_ROW,
    SENDERS,
)


def _axpy(target, weights, d):  # type: ignore[no-untyped-def]
    for j in range(target.size):
        target[j] = target[j] + d * weights[j]


def _axpy4(target, w0, w1, w2, w3, d0, d1, d2, d3):  # type: ignore[no-untyped-def]
    for j in range(target.size):
        target[j] = (((target[j] + d0 * w0[j]) + d1 * w1[j]) + d2 * w2[j]) + d3 * w3[j]


_exact, _exact4 = njit(_axpy), njit(_axpy4)
_fused, _fused4 = njit(fastmath={"contract"})(_axpy), njit(fastmath={"contract"})(_axpy4)


def axpy(target, weights, d):  # type: ignore[no-untyped-def]
    """target += d * weights, in place."""


def axpy4(target, w0, w1, w2, w3, d0, d1, d2, d3):  # type: ignore[no-untyped-def]
    """target += d0 * w0 + ... + d3 * w3, in place, in this order."""


@overload(axpy)
def _axpy_of_dtype(target, weights, d):  # type: ignore[no-untyped-def]
    if target.dtype == types.float32:
        return lambda target, weights, d: _fused(target, weights, d)
    return lambda target, weights, d: _exact(target, weights, d)


@overload(axpy4)
def _axpy4_of_dtype(target, w0, w1, w2, w3, d0, d1, d2, d3):  # type: ignore[no-untyped-def]
    if target.dtype == types.float32:
        return lambda target, w0, w1, w2, w3, d0, d1, d2, d3: _fused4(target, w0, w1, w2, w3, d0, d1, d2, d3)
    return lambda target, w0, w1, w2, w3, d0, d1, d2, d3: _exact4(target, w0, w1, w2, w3, d0, d1, d2, d3)


@njit
def _mark(marks, destination, length, unit):  # type: ignore[no-untyped-def]
    for u in range(destination // unit, (destination + length + unit - 1) // unit):
        marks[u] = 1


@njit
def scatter(plan, reals, ints, marks, layer, group, counts):  # type: ignore[no-untyped-def]
    """Deliver the current events of one group of synapses.

    Parameters
    ----------
    plan, reals, ints, marks : pools of `layout`
    layer, group : int
        Offsets of their rows in `plan`.
    counts : int
        Offset of the layer's count row in `plan`; changed in place, like accumulators and marks.
    """
    sender = plan[SENDERS] + plan[group + G_SENDER] * SENDER_ROW
    n_events, n_elements = plan[sender + S_COUNT], plan[sender + S_ELEMENTS]
    if n_events == 0:
        return
    event = ints[plan[sender + S_EVENT]:][:n_events]
    payload = reals[plan[sender + S_PAYLOAD]:][:n_events]
    position = ints[plan[group + G_POSITION]:][:n_elements]
    weight_shift = ints[plan[group + G_WEIGHT_SHIFT]:][:n_elements]
    destination_shift = ints[plan[group + G_DESTINATION_SHIFT]:][:n_elements]
    segment_start = ints[plan[group + G_SEGMENT_START]:]
    segment_destination = ints[plan[group + G_SEGMENT_DESTINATION]:]
    segment_weight = ints[plan[group + G_SEGMENT_WEIGHT]:]
    segment_length = ints[plan[group + G_SEGMENT_LENGTH]:]
    accumulator = reals[plan[layer + L_ACCUMULATOR]:][:plan[layer + L_NEURONS]]
    weights = reals[plan[group + G_WEIGHT]:]
    touched = marks[plan[layer + L_MARK]:]
    unit, adds = plan[layer + L_UNIT], plan[group + G_ADDS]

    _count(plan, ints, group, event, n_elements, counts)
    i = 0
    while i < n_events:
        e = event[i]
        p, shift = position[e], destination_shift[e]
        if p < 0:
            i += 1
            continue
        fused = (i + 3 < n_events
                 and position[event[i + 1]] == p and destination_shift[event[i + 1]] == shift
                 and position[event[i + 2]] == p and destination_shift[event[i + 2]] == shift
                 and position[event[i + 3]] == p and destination_shift[event[i + 3]] == shift)
        for s in range(segment_start[p], segment_start[p + 1]):
            destination, length = segment_destination[s] + shift, segment_length[s]
            _mark(touched, destination, length, unit)
            if adds == 0:
                continue
            target = accumulator[destination: destination + length]
            w = segment_weight[s]
            w0 = weights[w + weight_shift[e]:][:length]
            if fused:
                w1 = weights[w + weight_shift[event[i + 1]]:][:length]
                w2 = weights[w + weight_shift[event[i + 2]]:][:length]
                w3 = weights[w + weight_shift[event[i + 3]]:][:length]
                axpy4(target, w0, w1, w2, w3, payload[i], payload[i + 1], payload[i + 2], payload[i + 3])
            else:
                axpy(target, w0, payload[i])
        i += 4 if fused else 1


@njit
def _count(plan, ints, group, event, n_elements, counts):  # type: ignore[no-untyped-def]
    fan_out = ints[plan[group + G_FAN_OUT]:][:n_elements]
    nonzero = ints[plan[group + G_NONZERO]:][:n_elements]
    arrivals, visits, effective = np.int64(0), np.int64(0), np.int64(0)
    for i in range(event.size):
        n = fan_out[event[i]]
        arrivals += n > 0
        visits += n
        effective += nonzero[event[i]]
    plan[counts + C_EVENTS] += arrivals
    plan[counts + C_SYNAPTIC_OPS] += visits
    if plan[group + G_WEIGHTED] == 1:
        plan[counts + C_EFFECTIVE_MACS] += effective
    else:
        plan[counts + C_UNWEIGHTED_OPS] += visits
