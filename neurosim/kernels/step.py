"""One timestep, and many: the entry points that Python calls.

`fall_through` runs the layers in order: what a layer sends is consumed in the same timestep.
`pipelined` runs them in reverse order over the same event lists, so that each layer consumes
what was sent in the previous timestep; input events are consumed in the timestep they are sent.
"""

from __future__ import annotations

from numba import njit

from neurosim.kernels import layout as at
from neurosim.kernels.encode import encode
from neurosim.kernels.memory import int32_array, int64_array, uint8_array
from neurosim.kernels.neuron import update
from neurosim.kernels.scatter import scatter

DONE, BUFFER_FULL, NOT_FINITE = 0, 1, 2


@njit(cache=True)
def reset(plan, reals):  # type: ignore[no-untyped-def]
    """Accumulators to their bias, refs to 0, event lists empty; the next timestep evaluates every neuron."""
    n = plan[at.N_ACCUMULATORS]
    reals[plan[at.ACCUMULATORS]:][:n] = reals[plan[at.INITIAL]:][:n]
    reals[plan[at.REFS]:][:plan[at.N_REFS]] = 0
    for s in range(plan[at.N_SENDERS]):
        plan[plan[at.SENDERS] + s * at.SENDER_ROW + at.S_COUNT] = 0
    plan[at.FIRST] = 1


@njit
def _layer(plan, reals, ints, marks, i):  # type: ignore[no-untyped-def]
    layer = plan[at.LAYERS] + i * at.LAYER_ROW
    counts = plan[at.COUNTS] + 1 + i * at.N_COLUMNS
    for g in range(plan[layer + at.L_N_GROUPS]):
        scatter(plan, reals, ints, marks, layer, plan[layer + at.L_GROUP] + g * at.GROUP_ROW, counts)
    update(plan, reals, ints, marks, layer, counts)


@njit
def _add_totals(plan):  # type: ignore[no-untyped-def]
    n = 1 + plan[at.N_LAYERS] * at.N_COLUMNS
    counts = plan[plan[at.COUNTS]:][:n]
    plan[plan[at.TOTALS]:][:n] += counts
    plan[at.TIMESTEPS] += 1
    if plan[at.FIRST] == 1:
        plan[plan[at.FIRST_TOTALS]:][:n] += counts
        plan[at.FIRST_TIMESTEPS] += 1


@njit
def _record(plan, ints):  # type: ignore[no-untyped-def]
    """Append this timestep's events and count row to the caller's buffers, where there are any."""
    if plan[at.RECORD_CAPACITY] > 0:
        record = int32_array(plan[at.RECORD], plan[at.RECORD_CAPACITY])
        fill = plan[at.RECORD_FILL]
        for s in range(plan[at.N_SENDERS]):
            sender = plan[at.SENDERS] + s * at.SENDER_ROW
            n = plan[sender + at.S_COUNT]
            record[fill: fill + n] = ints[plan[sender + at.S_EVENT]:][:n]
            fill += n
        plan[at.RECORD_FILL] = fill
    if plan[at.LOG_CAPACITY] > 0:
        row = 1 + plan[at.N_LAYERS] * at.N_COLUMNS
        log = int64_array(plan[at.LOG], plan[at.LOG_CAPACITY] * row)
        start = plan[at.LOG_FILL] * row
        for k in range(row):
            log[start + k] = plan[plan[at.COUNTS] + k]
        plan[at.LOG_FILL] += 1


@njit
def _has_room(plan):  # type: ignore[no-untyped-def]
    record = plan[at.RECORD_CAPACITY]
    log = plan[at.LOG_CAPACITY]
    return ((record == 0 or plan[at.RECORD_FILL] + plan[at.MAX_EVENTS] <= record)
            and (log == 0 or plan[at.LOG_FILL] < log))


@njit
def _is_finite(x):  # type: ignore[no-untyped-def]
    bad = 0
    for i in range(x.size):
        bad += x[i] - x[i] != 0
    return bad == 0


@njit(cache=True)
def step(plan, reals, x):  # type: ignore[no-untyped-def]
    """Run one timestep.

    Parameters
    ----------
    plan : int64, layout's table
    reals : float32 or float64
    x : bytes, or reals already encoded, (elements,)

    Returns
    -------
    int
        DONE; BUFFER_FULL: nothing was done, the caller must empty its record first;
        NOT_FINITE: nothing was done, the input holds NaN or infinity.
        The answer lies at ``reals[plan[ANSWER]:][:plan[N_ANSWER]]``.
    """
    if not _has_room(plan):
        return BUFFER_FULL
    if not _is_finite(x):
        return NOT_FINITE
    ints = int32_array(plan[at.INTS], plan[at.N_INTS])
    marks = uint8_array(plan[at.MARKS], plan[at.N_MARKS])
    n_layers = plan[at.N_LAYERS]
    plan[plan[at.COUNTS]:][:1 + n_layers * at.N_COLUMNS] = 0
    encode(plan, reals, ints, marks, x)
    plan[plan[at.COUNTS]] = plan[plan[at.SENDERS] + at.S_COUNT]
    if plan[at.SCHEDULE] == at.FALL_THROUGH:
        for i in range(n_layers):
            _layer(plan, reals, ints, marks, i)
    else:
        for i in range(n_layers - 1, -1, -1):
            _layer(plan, reals, ints, marks, i)
    _add_totals(plan)
    _record(plan, ints)
    plan[at.FIRST] = 0
    source = ints[plan[at.ANSWER_SOURCE]:]
    answer = plan[at.ANSWER]
    for k in range(plan[at.N_ANSWER]):
        reals[answer + k] = reals[source[k]]
    return DONE


@njit(cache=True)
def run(plan, reals, inputs, resets, held, start, answers, every):  # type: ignore[no-untyped-def]
    """Run timesteps `start` onwards until all are done or a record buffer is full.

    Parameters
    ----------
    inputs : bytes or encoded reals, (inputs, elements)
    resets : bool, (timesteps,)
        State is cleared before these timesteps.
    held : int
        Timesteps for which each input is held.
    answers : reals, (timesteps, values) if `every`, else (inputs, values); or (0, values)
        Filled with the answer of each timestep, or of the last timestep of each input.

    Returns
    -------
    int
        The first timestep that was not run (also where an input is not finite).
    """
    n = plan[at.N_ANSWER]
    for t in range(start, resets.size):
        if not _has_room(plan):
            return t
        if resets[t]:
            reset(plan, reals)
        if step(plan, reals, inputs[t // held]) != DONE:
            return t
        if answers.shape[0] > 0:
            row = t if every else t // held
            answers[row, :] = reals[plan[at.ANSWER]:][:n]
    return resets.size
