"""Neuron update: evaluate f, compare with the last sent value, emit events.

The equations of f are those of ``neurosim.activation.ELEMENTWISE``; the delta rules are

==============  =====================================  ==========================
rule            sends                                  afterwards
==============  =====================================  ==========================
hold            d = a - ref      if abs(d) >  threshold   ref = a
sigma_delta     d = a - ref      if abs(d) >= threshold   ref = a
quantised       d = q - ref      if d != 0                ref = q = threshold * round(a / threshold)
naive           d = a - ref      if abs(d) >  threshold   ref = a always (drifts)
==============  =====================================  ==========================

A payload of zero is never sent. Sources: Neil et al. 2016 (hold), lava-dl ``axon/delta.py``
(sigma_delta: the residue it keeps makes it hold with >=), SENSIM (quantised).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from neurosim.kernels.layout import (
    AFFINE,
    C_EVENTS_OUT,
    C_NEURON_UPDATES,
    CLIP,
    ELU,
    F_KIND0,
    F_KIND1,
    F_OP,
    F_P0,
    F_P1,
    F_ROW,
    FIRST,
    G_SENDER,
    HARD_SIGMOID,
    HARD_SWISH,
    L_ACCUMULATOR,
    L_CHANNELS,
    L_F,
    L_GROUP,
    L_MARK,
    L_N_F,
    L_N_UNITS,
    L_POOL_ELEMENT,
    L_POOL_START,
    L_SCRATCH,
    L_SENDER,
    L_UNIT,
    L_VALUE,
    LEAKY_RELU,
    NAIVE,
    PER_NEURON,
    QUANTISED,
    RELU,
    RULE,
    S_COUNT,
    S_EVENT,
    S_PAYLOAD,
    S_REF,
    S_THRESHOLD,
    SENDER_ROW,
    SENDERS,
    SIGMA_DELTA,
    SIGMOID,
    SOFTPLUS,
    SWISH,
    TANH,
)


@njit
def _sigmoid(x):  # type: ignore[no-untyped-def]
    e = math.exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


@njit
def _parameter(reals, offset, kind, channels, first, size):  # type: ignore[no-untyped-def]
    """Parameters of the neurons first .. first + size - 1 (a unit lies inside one position)."""
    start = first if kind == PER_NEURON else first % channels
    return reals[offset + start:][:size]


@njit
def _apply(op, x, p0, p1):  # type: ignore[no-untyped-def]
    """One f step on the block x, in place."""
    if op == RELU:
        for j in range(x.size):
            if x[j] < 0:
                x[j] = 0
    elif op == AFFINE:
        for j in range(x.size):
            x[j] = x[j] * p0[j] + p1[j]
    elif op == CLIP:
        for j in range(x.size):
            x[j] = min(max(x[j], p0[j]), p1[j])
    elif op == LEAKY_RELU:
        for j in range(x.size):
            if x[j] < 0:
                x[j] = p0[j] * x[j]
    elif op == TANH:
        for j in range(x.size):
            x[j] = math.tanh(x[j])
    elif op == SIGMOID:
        for j in range(x.size):
            x[j] = _sigmoid(x[j])
    elif op == ELU:
        for j in range(x.size):
            if x[j] < 0:
                x[j] = p0[j] * math.expm1(x[j])
    elif op == SWISH:
        for j in range(x.size):
            x[j] = x[j] * _sigmoid(x[j])
    elif op == HARD_SIGMOID:
        for j in range(x.size):
            x[j] = min(max(p0[j] * x[j] + p1[j], 0), 1)
    elif op == HARD_SWISH:
        for j in range(x.size):
            x[j] = x[j] * min(max(x[j] / 6 + 0.5, 0), 1)
    elif op == SOFTPLUS:
        for j in range(x.size):
            x[j] = max(x[j], 0) + math.log1p(math.exp(-abs(x[j])))


@njit
def _accumulated(plan, reals, ints, layer, first, x):  # type: ignore[no-untyped-def]
    """Fill the block x with what f sees: accumulators, or the maximum of held values."""
    if plan[layer + L_POOL_START] < 0:
        x[:] = reals[plan[layer + L_ACCUMULATOR] + first:][:x.size]
        return
    start = ints[plan[layer + L_POOL_START] + first:]
    element = ints[plan[layer + L_POOL_ELEMENT]:]
    sender = plan[SENDERS] + plan[plan[layer + L_GROUP] + G_SENDER] * SENDER_ROW
    held = reals[plan[sender + S_REF]:]
    for j in range(x.size):
        best = held[element[start[j]]]
        for k in range(start[j] + 1, start[j + 1]):
            best = max(best, held[element[k]])
        x[j] = best


@njit
def send(rule, threshold, a, first, ref, event, payload, n):  # type: ignore[no-untyped-def]
    """Compare a block of values with what was last sent; append events; return their new number.

    Parameters
    ----------
    a : block of activations, of the elements first, first + 1, ...
    ref, event, payload : of the whole sender; changed in place.
    n : events already in the list.
    """
    for j in range(a.size):
        e = first + j
        value = a[j]
        if rule == QUANTISED and threshold > 0:
            value = threshold * np.rint(value / threshold)
        d = value - ref[e]
        size = abs(d)
        if rule == SIGMA_DELTA:
            sends = size >= threshold and d != 0
        elif rule == QUANTISED:
            sends = d != 0
        else:
            sends = size > threshold
        if sends:
            event[n] = e
            payload[n] = d
            n += 1
        if sends or rule == NAIVE:
            ref[e] = value
    return n


@njit
def update(plan, reals, ints, marks, layer, counts):  # type: ignore[no-untyped-def]
    """Re-evaluate the touched units of a layer (all of them in the first timestep after a reset).

    Counts neuron updates and events out; clears the marks; rewrites the layer's event list.
    """
    unit, n_units, sender_index = plan[layer + L_UNIT], plan[layer + L_N_UNITS], plan[layer + L_SENDER]
    touched = marks[plan[layer + L_MARK]:][:n_units]
    sender = plan[SENDERS] + sender_index * SENDER_ROW
    every, n_updates, n_events = plan[FIRST] == 1, 0, 0
    u = 0
    while u < n_units:
        # eight units are skipped at a time while none of them is touched
        if not every and u + 8 <= n_units and _none(touched, u):
            u += 8
            continue
        if every or touched[u] == 1:
            touched[u] = 0
            first = u * unit
            x = _evaluate(plan, reals, ints, layer, first, unit)
            if plan[layer + L_VALUE] >= 0:
                reals[plan[layer + L_VALUE] + first:][:unit] = x
            if sender_index >= 0:
                n_events = send(plan[RULE], reals[plan[sender + S_THRESHOLD]], x, first, reals[plan[sender + S_REF]:],
                                ints[plan[sender + S_EVENT]:], reals[plan[sender + S_PAYLOAD]:], n_events)
            n_updates += unit
        u += 1
    plan[counts + C_NEURON_UPDATES] += n_updates
    if sender_index >= 0:
        plan[sender + S_COUNT] = n_events
        plan[counts + C_EVENTS_OUT] += n_events


@njit
def _none(touched, u):  # type: ignore[no-untyped-def]
    return (touched[u] | touched[u + 1] | touched[u + 2] | touched[u + 3]
            | touched[u + 4] | touched[u + 5] | touched[u + 6] | touched[u + 7]) == 0


@njit
def _evaluate(plan, reals, ints, layer, first, unit):  # type: ignore[no-untyped-def]
    """Activations of one unit, in the layer's scratch block."""
    x = reals[plan[layer + L_SCRATCH]:][:unit]
    _accumulated(plan, reals, ints, layer, first, x)
    channels = plan[layer + L_CHANNELS]
    for i in range(plan[layer + L_N_F]):
        f = plan[layer + L_F] + i * F_ROW
        p0 = _parameter(reals, plan[f + F_P0], plan[f + F_KIND0], channels, first, unit)
        p1 = _parameter(reals, plan[f + F_P1], plan[f + F_KIND1], channels, first, unit)
        _apply(plan[f + F_OP], x, p0, p1)
    return x
