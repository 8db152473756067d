"""Autonomous layers: neurons with a state of their own, and static ones behind spikes. Run in every timestep.

The equations are those of ``neurosim.neurons.KINDS``; each kind is a kernel of its own that reads the layer's sums
(`L_SUM`, ports side by side), moves the states and writes the values (`L_RESULT`). Parameters are tables with a
stride of 0 (one for all) or 1 (one per neuron).
"""

from __future__ import annotations

import math

from numba import njit

from neurosim.kernels.functions import apply, logistic
from neurosim.kernels.layout import (
    C_EVENTS_OUT,
    C_NEURON_UPDATES,
    FIRST,
    L_ACCUMULATOR,
    L_AUTONOMOUS,
    L_COUNTS,
    L_F,
    L_MARK,
    L_N_ACCUMULATORS,
    L_N_F,
    L_N_UNITS,
    L_NEURON,
    L_NEURONS,
    L_OVERFLOWS,
    L_PARAMETERS,
    L_RESULT,
    L_SENDER,
    L_STATE,
    L_SUM,
    L_TRANSIENT,
    L_UNIT,
    L_VALUE,
    S_COUNT,
)
from neurosim.kernels.pointer import copy_bytes, int64_pointer, invoke, pointer, shifted, size_of, uint8_pointer
from neurosim.kernels.update import lowest_of, send


@njit
def _parameter(plan, layer, i, real):
    """The table and the stride of the i-th parameter."""
    table = int64_pointer(plan[layer + L_PARAMETERS])
    return pointer(table[2 * i], real), table[2 * i + 1]


@njit
def _tables(plan, layer, real):
    """Sums, values and states of a layer, and how many neurons."""
    n = plan[layer + L_NEURONS]
    return pointer(plan[layer + L_SUM], real), pointer(plan[layer + L_RESULT], real), pointer(plan[layer + L_STATE], real), n


@njit
def _leak(plan, layer, real):
    """Move current and voltage of every neuron as its leaks, its sum and its offset say."""
    x, _, state, n = _tables(plan, layer, real)
    a, sa = _parameter(plan, layer, 0, real)
    b, sb = _parameter(plan, layer, 1, real)
    c, sc = _parameter(plan, layer, 2, real)
    d, sd = _parameter(plan, layer, 3, real)
    e, se = _parameter(plan, layer, 4, real)
    voltage = shifted(state, n)
    for k in range(n):
        current = a[k * sa] * state[k] + b[k * sb] * x[k]
        state[k] = current
        voltage[k] = c[k * sc] * voltage[k] + d[k * sd] * current + e[k * se]
    return voltage


@njit(error_model="numpy")
def lif(plan, layer, real, weight):
    """A spike where the voltage is above the threshold; then it is reset, or the threshold is taken off."""
    _, value, _, n = _tables(plan, layer, real)
    voltage = _leak(plan, layer, real)
    threshold, st = _parameter(plan, layer, 5, real)
    reset, sr = _parameter(plan, layer, 6, real)
    subtract, ss = _parameter(plan, layer, 7, real)
    inclusive, si = _parameter(plan, layer, 8, real)
    for k in range(n):
        v, top = voltage[k], threshold[k * st]
        fires = v > top or (v == top and inclusive[k * si] != 0)
        value[k] = 1 if fires else 0
        if fires:
            voltage[k] = v - top if subtract[k * ss] != 0 else reset[k * sr]
    return 0


@njit(error_model="numpy")
def multispike(plan, layer, real, weight):
    """As many spikes at once as the voltage holds thresholds."""
    _, value, _, n = _tables(plan, layer, real)
    voltage = _leak(plan, layer, real)
    threshold, st = _parameter(plan, layer, 5, real)
    for k in range(n):
        v, top = voltage[k], threshold[k * st]
        count = max(v, 0 * v) // top
        value[k] = count
        voltage[k] = v - count * top
    return 0


@njit
def li(plan, layer, real, weight):
    """The voltage is the value."""
    _, value, _, n = _tables(plan, layer, real)
    voltage = _leak(plan, layer, real)
    for k in range(n):
        value[k] = voltage[k]
    return 0


@njit
def _kept(x, keep):
    """Whole part of x * keep / 4096: rounded toward 0."""
    part = (abs(x) * keep) // 4096
    return -part if x < 0 else part


@njit(error_model="numpy")
def loihi_lif(plan, layer, real, weight):
    """Whole numbers: decays in 1/4096."""
    x, value, state, n = _tables(plan, layer, real)
    a, sa = _parameter(plan, layer, 0, real)
    b, sb = _parameter(plan, layer, 1, real)
    offset, so = _parameter(plan, layer, 2, real)
    threshold, st = _parameter(plan, layer, 3, real)
    voltage = shifted(state, n)
    for k in range(n):
        state[k] = _kept(state[k], 4096 - a[k * sa]) + x[k]
        v = _kept(voltage[k], 4096 - b[k * sb]) + state[k] + offset[k * so]
        fires = v > threshold[k * st]
        value[k] = 1 if fires else 0
        voltage[k] = 0 if fires else v
    return 0


@njit(error_model="numpy")
def sigma(plan, layer, real, weight):
    """Add up sums that wrap around; the first parameter is half the numbers' range. Sums that wrapped are counted."""
    x, value, state, n = _tables(plan, layer, real)
    half, sh = _parameter(plan, layer, 0, real)
    offset, so = _parameter(plan, layer, 1, real)
    n_wrapped = 0
    for k in range(n):
        h = half[k * sh]
        arrived = x[k]
        if arrived >= h or arrived < -h:
            arrived = (arrived + h) % (2 * h) - h
            n_wrapped += 1
        state[k] += arrived
        value[k] = state[k] + offset[k * so]
    plan[layer + L_OVERFLOWS] += n_wrapped
    return 0


@njit
def rnn(plan, layer, real, weight):
    """tanh of the sum."""
    x, value, _, n = _tables(plan, layer, real)
    for k in range(n):
        value[k] = math.tanh(x[k])
    return 0


@njit
def lstm(plan, layer, real, weight):
    """Gates i, f, g, o; the state is the cell."""
    x, value, cell, n = _tables(plan, layer, real)
    for k in range(n):
        i, f, g, o = logistic(x[4 * k]), logistic(x[4 * k + 1]), math.tanh(x[4 * k + 2]), logistic(x[4 * k + 3])
        cell[k] = f * cell[k] + i * g
        value[k] = o * math.tanh(cell[k])
    return 0


@njit
def gru(plan, layer, real, weight):
    """Gates r, z, the sums n and m of the new value; the state is the hidden value."""
    x, value, hidden, n = _tables(plan, layer, real)
    for k in range(n):
        r, z = logistic(x[4 * k]), logistic(x[4 * k + 1])
        new = math.tanh(x[4 * k + 2] + r * x[4 * k + 3])
        hidden[k] = (1 - z) * new + z * hidden[k]
        value[k] = hidden[k]
    return 0


NEURONS = (lif, multispike, li, loihi_lif, sigma, rnn, lstm, gru)
"""The kernels under the names of `neurosim.neurons.KINDS`."""


@njit
def _gather(plan, layer, real):
    """Sums of the accumulators: what lasts and what came in this timestep, which is then forgotten."""
    total, lasting = pointer(plan[layer + L_SUM], real), pointer(plan[layer + L_ACCUMULATOR], real)
    n = plan[layer + L_N_ACCUMULATORS]
    if plan[layer + L_TRANSIENT] == 0:
        for k in range(n):
            total[k] = lasting[k]
    else:
        passing = pointer(plan[layer + L_TRANSIENT], real)
        for k in range(n):
            total[k] = lasting[k] + passing[k]
            passing[k] = 0


@njit
def _unmark(plan, layer):
    """Clear the marks; return how many neurons they covered."""
    marks, n_marked = uint8_pointer(plan[layer + L_MARK]), 0
    for unit in range(plan[layer + L_N_UNITS]):
        n_marked += marks[unit]
        marks[unit] = 0
    return n_marked * plan[layer + L_UNIT]


@njit
def autonomous(plan, layer, real, weight):
    """One timestep of a layer that is evaluated in every timestep. Returns 0.

    A static layer behind spikes gives f of its sums, in the same way; of it only the touched neurons are counted where
    f of the bias is 0 (the others give 0 and send nothing).
    """
    n = plan[layer + L_NEURONS]
    _gather(plan, layer, real)
    value = pointer(plan[layer + L_RESULT], real)
    if plan[layer + L_NEURON] != 0:
        invoke(plan[layer + L_NEURON], plan, layer)
    else:
        copy_bytes(plan[layer + L_RESULT], plan[layer + L_SUM], n * size_of(real))
    apply(plan, plan[layer + L_F], plan[layer + L_N_F], value, 0, n)
    if plan[layer + L_VALUE] != 0:
        copy_bytes(plan[layer + L_VALUE], plan[layer + L_RESULT], n * size_of(real))
    counts, n_touched = plan[layer + L_COUNTS], _unmark(plan, layer)
    plan[counts + C_NEURON_UPDATES] += n if plan[layer + L_AUTONOMOUS] == 1 or plan[FIRST] == 1 else n_touched
    sender = plan[layer + L_SENDER]
    if sender != 0:
        plan[sender + S_COUNT] = send(plan, sender, value, 0, n, 0, lowest_of(real))
        plan[counts + C_EVENTS_OUT] += plan[sender + S_COUNT]
    return 0
