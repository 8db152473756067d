"""One timestep, and many: the entry points that Python calls.

`fall_through` runs the layers in order: what a layer sends is consumed in the same timestep.
`pipelined` runs them in reverse order over the same event lists, so that each layer consumes
what was sent in the previous timestep; input events are consumed in the timestep they are sent.
"""

from __future__ import annotations

from numba import njit
from numba.extending import overload

from neurosim.kernels import layout as at
from neurosim.kernels.encode import BAD_SHAPE, BUFFER_FULL, DONE, UNPREPARED, raw_kind
from neurosim.kernels.pointer import copy_bytes, int32_pointer, int64_pointer, invoke, pointer, size_of, uint16_pointer


@njit
def _clear(table, n):
    for i in range(n):
        table[i] = 0


@njit
def reset(plan, row, real, weight):
    """Accumulators to their bias, states and refs to 0, event lists empty; the next timestep evaluates every neuron."""
    for i in range(plan[at.N_LAYERS]):
        layer = plan[at.LAYERS] + i * at.LAYER_ROW
        n = plan[layer + at.L_N_ACCUMULATORS]
        copy_bytes(plan[layer + at.L_ACCUMULATOR], plan[layer + at.L_INITIAL], n * size_of(real))
        if plan[layer + at.L_TRANSIENT] != 0:
            _clear(pointer(plan[layer + at.L_TRANSIENT], real), n)
        _clear(pointer(plan[layer + at.L_STATE], real), plan[layer + at.L_N_STATE])
    for s in range(plan[at.N_SENDERS]):
        sender = plan[at.SENDERS] + s * at.SENDER_ROW
        _clear(pointer(plan[sender + at.S_REF], real), plan[sender + at.S_ELEMENTS])
        plan[sender + at.S_COUNT] = 0
    for i in range(plan[at.N_LINES]):
        line = plan[at.LINES] + i * at.DELAY_ROW
        _clear(int64_pointer(plan[line + at.D_COUNT]), plan[line + at.D_DELAY])
        plan[plan[line + at.D_READER] + at.S_COUNT] = 0
    plan[at.FIRST] = 1
    return 0


@njit
def _layer(plan, i):
    layer = plan[at.LAYERS] + i * at.LAYER_ROW
    touched = plan[at.FIRST] == 1 or plan[layer + at.L_ALWAYS] == 1
    for g in range(plan[layer + at.L_N_GROUPS]):
        group = plan[layer + at.L_GROUP] + g * at.GROUP_ROW
        if plan[plan[group + at.G_SENDER] + at.S_COUNT] > 0:
            invoke(plan[group + at.G_KERNEL], plan, group)
            touched = True
    if touched:
        invoke(plan[layer + at.L_UPDATE], plan, layer)
    elif plan[layer + at.L_SENDER] != 0:
        plan[plan[layer + at.L_SENDER] + at.S_COUNT] = 0


@njit
def _add_totals(plan):
    n, counts, totals, first = 1 + plan[at.N_LAYERS] * at.N_COLUMNS, plan[at.COUNTS], plan[at.TOTALS], plan[at.FIRST_TOTALS]
    for k in range(n):
        plan[totals + k] += plan[counts + k]
    plan[at.TIMESTEPS] += 1
    if plan[at.FIRST] == 1:
        for k in range(n):
            plan[first + k] += plan[counts + k]
        plan[at.FIRST_TIMESTEPS] += 1


@njit
def _record(plan):
    """Append this timestep's events and count row to the caller's buffers, where there are any."""
    if plan[at.RECORD_CAPACITY] > 0:
        record, fill = plan[at.RECORD], plan[at.RECORD_FILL]
        for s in range(plan[at.N_SENDERS]):
            sender = plan[at.SENDERS] + s * at.SENDER_ROW
            n = plan[sender + at.S_COUNT]
            if plan[at.RECORD_BYTES] == 2:
                event, kept = int32_pointer(plan[sender + at.S_EVENT]), uint16_pointer(record + 2 * fill)
                for i in range(n):
                    kept[i] = event[i]
            else:
                copy_bytes(record + 4 * fill, plan[sender + at.S_EVENT], 4 * n)
            fill += n
        plan[at.RECORD_FILL] = fill
    if plan[at.LOG_CAPACITY] > 0:
        row, counts = 1 + plan[at.N_LAYERS] * at.N_COLUMNS, plan[at.COUNTS]
        log = int64_pointer(plan[at.LOG] + 8 * row * plan[at.LOG_FILL])
        for k in range(row):
            log[k] = plan[counts + k]
        plan[at.LOG_FILL] += 1


@njit
def _delay(plan, line, real):
    """Put what the sender has sent into its delay line, and show the reader what it reads in the next timestep."""
    sender, reader, at_slot = plan[line + at.D_SENDER], plan[line + at.D_READER], plan[line + at.D_AT]
    n, size, count = plan[sender + at.S_COUNT], plan[sender + at.S_ELEMENTS], int64_pointer(plan[line + at.D_COUNT])
    copy_bytes(plan[line + at.D_EVENT] + 4 * size * at_slot, plan[sender + at.S_EVENT], 4 * n)
    copy_bytes(plan[line + at.D_PAYLOAD] + size_of(real) * size * at_slot, plan[sender + at.S_PAYLOAD], size_of(real) * n)
    count[at_slot] = n
    at_slot = (at_slot + 1) % plan[line + at.D_DELAY]
    plan[line + at.D_AT] = at_slot
    plan[reader + at.S_EVENT] = plan[line + at.D_EVENT] + 4 * size * at_slot
    plan[reader + at.S_PAYLOAD] = plan[line + at.D_PAYLOAD] + size_of(real) * size * at_slot
    plan[reader + at.S_COUNT] = count[at_slot]


@njit
def _has_room(plan):
    record = plan[at.RECORD_CAPACITY]
    log = plan[at.LOG_CAPACITY]
    return ((record == 0 or plan[at.RECORD_FILL] + plan[at.MAX_EVENTS] <= record)
            and (log == 0 or plan[at.LOG_FILL] < log))


@njit
def advance(plan, row, real, weight):
    """The layers' part of a timestep, after the input's events are listed. Returns 0."""
    n_layers, counts = plan[at.N_LAYERS], plan[at.COUNTS]
    for k in range(1 + n_layers * at.N_COLUMNS):
        plan[counts + k] = 0
    plan[counts] = plan[plan[at.SENDERS] + at.S_COUNT]
    for k in range(n_layers):
        _layer(plan, k if plan[at.SCHEDULE] == at.FALL_THROUGH else n_layers - 1 - k)
    _add_totals(plan)
    _record(plan)
    for k in range(plan[at.N_LINES]):
        _delay(plan, plan[at.LINES] + k * at.DELAY_ROW, real)
    plan[at.FIRST] = 0
    answer, source = pointer(plan[at.ANSWER], real), int64_pointer(plan[at.ANSWER_SOURCE])
    for k in range(plan[at.N_ANSWER]):
        answer[k] = pointer(source[k], real)[0]
    return 0


@njit
def _timestep(plan, address, kind):
    """One timestep on the input at `address`, of type RAW_TYPES[kind]. Returns a status."""
    if not _has_room(plan):
        return BUFFER_FULL
    encode = plan[at.ENCODE + kind]
    if encode == 0:
        return UNPREPARED
    status = invoke(encode, plan, address)
    if status == DONE:
        invoke(plan[at.ADVANCE], plan, 0)
    return status


def _has_shape(plan, x):
    """Whether an array has the shape of the network's input."""


@overload(_has_shape)
def _has_shape_of(plan, x):
    n = x.ndim
    if n == 0:
        return lambda plan, x: plan[at.N_DIMENSIONS] == 0

    def test(plan, x):
        same = plan[at.N_DIMENSIONS] == n
        for i in range(n):
            same = same and int64_pointer(plan[at.SHAPE])[i] == x.shape[i]
        return same
    return test


def _is_readable(x):
    """Whether the kernels read an array of this type as it lies."""


@overload(_is_readable)
def _is_readable_of(x):
    readable = x.layout == "C" and x.aligned and x.dtype.name in at.RAW_TYPES
    return lambda x: readable


@njit(cache=True)
def step(plan, x):
    """Run one timestep.

    Parameters
    ----------
    plan : int64, layout's table
    x : array of the network's input shape

    Returns
    -------
    int
        The row of the caller's block of answers that holds the answer (rows are filled from the
        last to the first); or minus a status of `encode`, and nothing was done: x has another
        shape or is not finite, no kernel reads x as it lies (UNPREPARED), or the record or the
        block is full (BUFFER_FULL).
    """
    table = int64_pointer(plan.ctypes.data)
    if not _has_shape(table, x):
        return -BAD_SHAPE
    if not _is_readable(x):
        return -UNPREPARED
    if table[at.ANSWERS_LEFT] == 0:
        return -BUFFER_FULL
    status = _timestep(table, x.ctypes.data, raw_kind(x))
    if status != DONE:
        return -status
    table[at.ANSWER] -= table[at.ANSWER_BYTES]
    table[at.ANSWERS_LEFT] -= 1
    return table[at.ANSWERS_LEFT]


@njit(cache=True, nogil=True)
def clear(plan):
    """Run `reset`."""
    return invoke(plan[at.RESET], int64_pointer(plan.ctypes.data), 0)


@njit(cache=True, nogil=True)
def run(plan, inputs, input_bytes, kind, resets, held, start, answers, every):
    """Run timesteps `start` onwards until all are done or one cannot be.

    Parameters
    ----------
    inputs : address of (inputs, elements) of type RAW_TYPES[kind]
    input_bytes : bytes of one input
    resets : bool, (timesteps,)
        State is cleared before these timesteps.
    held : int
        Timesteps for which each input is held.
    answers : address of (timesteps, values) if `every`, else (inputs, values); or 0
        Filled with the answer of each timestep, or of the last timestep of each input.

    Returns
    -------
    (int, int)
        The first timestep that was not run, and the status that says why.
    """
    table = int64_pointer(plan.ctypes.data)
    size, scratch = table[at.ANSWER_BYTES], table[at.ANSWER]
    for t in range(start, resets.size):
        if not _has_room(table):
            return t, BUFFER_FULL
        if resets[t]:
            invoke(table[at.RESET], table, 0)
        status = _timestep(table, inputs + t // held * input_bytes, kind)
        if status != DONE:
            return t, status
        if answers != 0:
            copy_bytes(answers + (t if every else t // held) * size, scratch, size)
    return resets.size, DONE
