"""Input: compare each element with what was last sent and emit events.

Real inputs come encoded. Byte inputs stay bytes: the encoder is a table of 256 values, unchanged
blocks of 64 bytes are skipped as eight words, and only bytes that changed are looked up.
Skipping is exact: an unchanged value was compared before, with the same result.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from neurosim.kernels.layout import ENCODER_TABLE, FIRST, N_INPUT, PREVIOUS, RULE, S_COUNT, S_EVENT, S_PAYLOAD, S_REF, S_THRESHOLD, SENDERS
from neurosim.kernels.neuron import send

BLOCK = 64


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
    n, every = 0, plan[FIRST] == 1
    n_blocks = n_elements // BLOCK
    old = previous[:n_blocks * BLOCK].view(np.uint64)
    new = x[:n_blocks * BLOCK].view(np.uint64)
    for block in range(n_blocks + 1):
        if not every and block < n_blocks and _same(old[block * 8:][:8], new[block * 8:][:8]):
            continue
        for i in range(block * BLOCK, min(block * BLOCK + BLOCK, n_elements)):
            if every or previous[i] != x[i]:
                previous[i] = x[i]
                n = send(plan[RULE], threshold, table[x[i]:][:1], i, ref, event, payload, n)
    plan[sender + S_COUNT] = n


@njit
def _same(a, b):  # type: ignore[no-untyped-def]
    differs = np.uint64(0)
    for j in range(8):
        differs |= a[j] ^ b[j]
    return differs == 0


@overload(encode)
def _encode_of_dtype(plan, reals, ints, marks, x):  # type: ignore[no-untyped-def]
    if x.dtype == types.uint8:
        return lambda plan, reals, ints, marks, x: _encode_bytes(plan, reals, ints, marks, x)
    return lambda plan, reals, ints, marks, x: _encode_reals(plan, reals, ints, marks, x)
