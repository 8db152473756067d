"""Update of a layer: evaluate f of the touched neurons, compare with what was last sent, emit events.

==============  =====================================  ==========================
rule            sends                                  afterwards
==============  =====================================  ==========================
hold            d = a - ref      if abs(d) >  threshold   ref = a
sigma_delta     d = a - ref      if abs(d) >= threshold   ref = a
quantised       d = q - ref      if d != 0                ref = q = threshold * round(a / threshold)
naive           d = a - ref      if abs(d) >  threshold   ref = a always (drifts)
==============  =====================================  ==========================

With a payload shift s the payload is d / 2^s rounded down, and `hold` moves ref by what was sent. Senders of values that do not
last send all that are not 0. A payload of zero is never sent. Sources: Neil et al. 2016 (hold), lava-dl ``axon/delta.py``
(sigma_delta: the residue it keeps makes it hold with >=), SENSIM (quantised).
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from neurosim.kernels.functions import apply, floor_shifted
from neurosim.kernels.layout import (
    C_EVENTS_OUT,
    C_NEURON_UPDATES,
    FIRST,
    HOLD,
    L_ACCUMULATOR,
    L_AT_A_TIME,
    L_COUNTS,
    L_F,
    L_FLOOR,
    L_MARK,
    L_N_F,
    L_N_UNITS,
    L_POOL_ELEMENT,
    L_POOL_SENDER,
    L_POOL_START,
    L_SCRATCH,
    L_SENDER,
    L_UNIT,
    L_VALUE,
    NAIVE,
    QUANTISED,
    RULE,
    S_COUNT,
    S_EVENT,
    S_PAYLOAD,
    S_REF,
    S_SHIFT,
    S_SIGNAL,
    S_THRESHOLD,
    SIGMA_DELTA,
    VALUES,
)
from neurosim.kernels.pointer import address_of, copy_bytes, int32_pointer, int64_pointer, pointer, shifted, size_of
from neurosim.kernels.primitives import compact, lowest

_EACH = 0x0101010101010101
"""Eight marks that are set."""


@njit
def _send_by_rule(rule, value, ref, event, payload, first, n, size, threshold, shift):
    for j in range(size):
        a = value[j]
        if rule == QUANTISED and threshold > 0:
            a = threshold * np.rint(a / threshold)
        d = a - ref[j]
        if rule == SIGMA_DELTA:
            sends = abs(d) >= threshold and d != 0
        elif rule == QUANTISED:
            sends = d != 0
        else:
            sends = abs(d) > threshold
        if sends:
            moved = d if shift == 0 else floor_shifted(d, shift)
            event[n] = first + j
            payload[n] = moved
            n += moved != 0
            if rule == HOLD and shift != 0:
                a = ref[j] + moved * (d * 0 + (1 << shift))
        if sends or rule == NAIVE:
            ref[j] = a
    return n


@njit
def _send_values(value, event, payload, first, n, size):
    for j in range(size):
        event[n] = first + j
        payload[n] = value[j]
        n += value[j] != 0
    return n


@njit
def send(plan, sender, value, first, size, n, floor):
    """Compare a block with what was last sent; append events; return the new length of the list.

    Parameters
    ----------
    value : pointer to the values of the elements first .. first + size - 1
    n : events already in the list
    floor : real
        Values below it count as it (a rectifier); other rules than hold, and shifted payloads, do not use it.
    """
    ref = shifted(pointer(plan[sender + S_REF], value), first)
    event, payload = int32_pointer(plan[sender + S_EVENT]), pointer(plan[sender + S_PAYLOAD], value)
    if plan[sender + S_SIGNAL] == VALUES:
        return _send_values(value, event, payload, first, n, size)
    threshold, shift = pointer(plan[sender + S_THRESHOLD], value)[0], plan[sender + S_SHIFT]
    if plan[RULE] == HOLD and shift == 0:
        return compact(value, ref, event, payload, first, n, size, threshold, floor)
    return _send_by_rule(plan[RULE], value, ref, event, payload, first, n, size, threshold, shift)


def lowest_of(real):
    """No floor: less than every value."""


@overload(lowest_of)
def _lowest_of(real):
    value = real.dtype(float("-inf")) if isinstance(real.dtype, types.Float) else real.dtype(real.dtype.minval)
    return lambda real: value


@njit
def _maxima(plan, layer, first, size, real):
    """Fill the scratch block with the maxima of the values that the source holds."""
    start = int32_pointer(plan[layer + L_POOL_START])
    element = int32_pointer(plan[layer + L_POOL_ELEMENT])
    held = pointer(plan[plan[layer + L_POOL_SENDER] + S_REF], real)
    x = pointer(plan[layer + L_SCRATCH], real)
    for j in range(size):
        best = held[element[start[first + j]]]
        for k in range(start[first + j] + 1, start[first + j + 1]):
            best = max(best, held[element[k]])
        x[j] = best


@njit
def _evaluate_block(plan, layer, first, size, n, real):
    """Evaluate and send the neurons first .. first + size - 1; return the new length of the event list."""
    accumulator = shifted(pointer(plan[layer + L_ACCUMULATOR], real), first)
    x, floor, bytes_ = accumulator, pointer(plan[layer + L_FLOOR], real)[0], size * size_of(real)
    if plan[layer + L_N_F] > 0 or plan[layer + L_POOL_START] != 0:
        x = pointer(plan[layer + L_SCRATCH], real)
        if plan[layer + L_POOL_START] != 0:
            _maxima(plan, layer, first, size, real)
        else:
            copy_bytes(address_of(x), address_of(accumulator), bytes_)
        apply(plan, plan[layer + L_F], plan[layer + L_N_F], x, first, size)
    if plan[layer + L_VALUE] != 0:
        copy_bytes(plan[layer + L_VALUE] + first * size_of(real), address_of(x), bytes_)
    if plan[layer + L_SENDER] != 0:
        n = send(plan, plan[layer + L_SENDER], x, first, size, n, floor)
    return n


@njit
def _evaluate(plan, layer, first, stop, n, real):
    """`_evaluate_block` over any number of neighbouring neurons, as many at a time as the scratch block holds."""
    while first < stop:
        size = min(stop - first, plan[layer + L_AT_A_TIME])
        n = _evaluate_block(plan, layer, first, size, n, real)
        first += size
    return n


@njit
def update(plan, layer, real, weight):
    """Re-evaluate the touched units of a layer (all of them in the first timestep after a reset).

    Counts neuron updates and events out; clears the marks; rewrites the layer's event list.
    Neighbouring touched units are one block. Returns 0.
    """
    unit, n_units = plan[layer + L_UNIT], plan[layer + L_N_UNITS]
    n_words, words = (n_units + 7) >> 3, int64_pointer(plan[layer + L_MARK])
    n_updates, n_events, word = np.int64(0), np.int64(0), np.int64(0)
    if plan[FIRST] == 1:
        for i in range(n_words):
            words[i] = 0
        n_updates = n_units
        n_events = _evaluate(plan, layer, np.int64(0), n_units * unit, n_events, real)
        word = n_words
    # marks are read eight at a time, one byte each, lowest first: 00 01 01 00 .. starts at 1 and stops at 3;
    # a run that reaches the eighth goes on in the words behind
    while word < n_words:
        marked = words[word]
        words[word] = 0
        first = word * 8
        word += 1
        while marked != 0:
            start = lowest(marked) >> 3
            unmarked = ~(marked >> (8 * start)) & _EACH
            stop = start + (lowest(unmarked) >> 3) if unmarked != 0 else np.int64(8)
            ends = first + stop
            if stop < 8:
                marked &= np.int64(-1) << (8 * stop)
            else:
                marked = np.int64(0)
                while words[word] == _EACH:  # the words behind the last unit are 0
                    words[word] = 0
                    word += 1
                    ends += 8
            n_updates += ends - first - start
            n_events = _evaluate(plan, layer, (first + start) * unit, ends * unit, n_events, real)
    counts = plan[layer + L_COUNTS]
    plan[counts + C_NEURON_UPDATES] += n_updates * unit
    if plan[layer + L_SENDER] != 0:
        plan[plan[layer + L_SENDER] + S_COUNT] = n_events
        plan[counts + C_EVENTS_OUT] += n_events
    return 0
