"""Input: compare each element with what was last sent and emit events.

Real inputs come encoded. Byte inputs stay bytes: the encoder is a table of 256 values, blocks
of eight unchanged bytes are skipped with one comparison, and only bytes that changed are
looked up. Skipping is exact: an unchanged value was compared before, with the same result.
"""

from __future__ import annotations

from numba import njit, types
from numba.extending import overload

from neurosim.kernels.layout import ENCODER_TABLE, FIRST, N_INPUT, PREVIOUS, RULE, S_COUNT, S_EVENT, S_PAYLOAD, S_REF, S_THRESHOLD, SENDERS
from neurosim.kernels.neuron import send


def encode(plan, reals, ints, marks, x):  # type: ignore[no-untyped-def]
    """Rewrite the input's event list from x: reals (elements,) already encoded, or bytes (elements,)."""


@njit
def _encode_reals(plan, reals, ints, marks, x):  # type: ignore[no-untyped-def]
    sender = plan[SENDERS]
    plan[sender + S_COUNT] = send(
        plan[RULE], reals[plan[sender + S_THRESHOLD]], x, 0, reals[plan[sender + S_REF]:],
        ints[plan[sender + S_EVENT]:], reals[plan[sender + S_PAYLOAD]:], 0)


@njit
def _encode_bytes(plan, reals, ints, marks, x):  # type: ignore[no-untyped-def]
    sender, n_elements = plan[SENDERS], plan[N_INPUT]
    previous = marks[plan[PREVIOUS]:][:n_elements]
    table = reals[plan[ENCODER_TABLE]:][:256]
    threshold, ref = reals[plan[sender + S_THRESHOLD]], reals[plan[sender + S_REF]:]
    event, payload = ints[plan[sender + S_EVENT]:], reals[plan[sender + S_PAYLOAD]:]
    n, i, every = 0, 0, plan[FIRST] == 1
    while i < n_elements:
        if not every and i + 8 <= n_elements and _same(previous, x, i):
            i += 8
            continue
        if every or previous[i] != x[i]:
            b = x[i]
            previous[i] = b
            n = send(plan[RULE], threshold, table[b:][:1], i, ref, event, payload, n)
        i += 1
    plan[sender + S_COUNT] = n


@njit
def _same(a, b, i):  # type: ignore[no-untyped-def]
    return ((a[i] ^ b[i]) | (a[i + 1] ^ b[i + 1]) | (a[i + 2] ^ b[i + 2]) | (a[i + 3] ^ b[i + 3])
            | (a[i + 4] ^ b[i + 4]) | (a[i + 5] ^ b[i + 5]) | (a[i + 6] ^ b[i + 6]) | (a[i + 7] ^ b[i + 7])) == 0


@overload(encode)
def _encode_of_dtype(plan, reals, ints, marks, x):  # type: ignore[no-untyped-def]
    if x.dtype == types.uint8:
        return lambda plan, reals, ints, marks, x: _encode_bytes(plan, reals, ints, marks, x)
    return lambda plan, reals, ints, marks, x: _encode_reals(plan, reals, ints, marks, x)
