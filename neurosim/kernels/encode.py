"""Input: find what changed since the last timestep, encode it, compare with what was last sent.

Inputs are compared as they come, in blocks of 64 bytes, with those of the last timestep.
Skipping equal blocks is exact: their values were compared before, with the same result. A
changed block is encoded (by a table of 256 values, or by the steps of the encoder) and sent
like a layer's activations. Nothing is changed before all of the input is known to be finite.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from neurosim.kernels.functions import apply
from neurosim.kernels.layout import (
    BLOCK,
    CHANGED,
    ENCODER,
    ENCODER_TABLE,
    FIRST,
    HOLD,
    INPUT_SCRATCH,
    MASKS,
    N_ENCODER,
    N_INPUT,
    PREVIOUS,
    RAW_KIND,
    RAW_TYPES,
    RULE,
    S_COUNT,
    S_EVENT,
    S_PAYLOAD,
    S_REF,
    S_SHIFT,
    S_SIGNAL,
    S_THRESHOLD,
    SENDERS,
    VALUES,
)
from neurosim.kernels.pointer import address_of, copy_bytes, int32_pointer, int64_pointer, pointer, shifted, size_of, uint8_pointer
from neurosim.kernels.primitives import count_bits, differing, lowest, prefetch
from neurosim.kernels.update import lowest_of, send

DONE, BUFFER_FULL, NOT_FINITE, BAD_SHAPE, UNPREPARED = range(5)
"""Statuses of a timestep; all but DONE mean that nothing was done."""

AHEAD_BYTES = 1024
"""Bytes of the input that are asked for in advance."""

DENSE = 16
"""Changed bytes of a block from which on all of it is looked up at once."""


def raw_kind(raw):
    """Number of an element type in RAW_TYPES, or -1."""


@overload(raw_kind)
def _raw_kind_of(raw):
    kind = RAW_TYPES.index(raw.dtype.name) if raw.dtype.name in RAW_TYPES else -1
    return lambda raw: kind


def _value(raw, real, i):
    """Element i as a real."""


@overload(_value)
def _value_of(raw, real, i):
    dtype = real.dtype
    return lambda raw, real, i: dtype(raw[i])


def _not_finite(raw, real, first, stop):
    """Whether an element first .. stop - 1 is NaN or infinite as a real."""


@overload(_not_finite)
def _not_finite_of(raw, real, first, stop):
    if not isinstance(raw.dtype, types.Float):
        return lambda raw, real, first, stop: False
    is_float = isinstance(real.dtype, types.Float)

    def test(raw, real, first, stop):
        bad = 0
        for i in range(first, stop):
            x = _value(raw, real, i) if is_float else raw[i]
            bad += x - x != 0
        return bad != 0
    return test


@njit
def _encoded(plan, raw, real, first, stop):
    """A block of elements, encoded, in the scratch table."""
    x = pointer(plan[INPUT_SCRATCH], real)
    if plan[ENCODER_TABLE] != 0 and raw_kind(raw) == 0:
        table = pointer(plan[ENCODER_TABLE], real)
        for i in range(first, stop):
            x[i - first] = table[int(raw[i])]
    else:
        for i in range(first, stop):
            x[i - first] = _value(raw, real, i)
        apply(plan, plan[ENCODER], plan[N_ENCODER], x, first, stop - first)
    return x


@njit
def _find_changed(plan, raw, real, every):
    """List the blocks that differ from the last timestep's, and which of their bytes do.

    Returns how many, or -1 where a value is not finite. The list is made without a branch: no
    predictor foresees which blocks change. The last block, where it is not whole, always counts.
    """
    n_bytes = plan[N_INPUT] * size_of(raw)
    changed, masks = int32_pointer(plan[CHANGED]), int64_pointer(plan[MASKS])
    old, new = uint8_pointer(plan[PREVIOUS]), uint8_pointer(address_of(raw))
    n_blocks, n = n_bytes // BLOCK, np.int64(0)
    for block in range(n_blocks):
        prefetch(address_of(raw) + block * BLOCK + AHEAD_BYTES)
        mask = differing(shifted(old, block * BLOCK), shifted(new, block * BLOCK))
        changed[n] = block
        masks[n] = mask
        n += np.int64(mask != 0) | every
    if n_bytes > n_blocks * BLOCK:
        changed[n] = n_blocks
        masks[n] = -1
        n += 1
    width = BLOCK // size_of(raw)
    for c in range(n):
        first = changed[c] * width
        stop = min(first + width, plan[N_INPUT])
        if _not_finite(raw, real, first, stop):
            return -1
        if plan[N_ENCODER] > 0 and not (plan[ENCODER_TABLE] != 0 and raw_kind(raw) == 0):
            x = _encoded(plan, raw, real, first, stop)
            if _not_finite(x, real, np.int64(0), stop - first):
                return -1
    return n


@njit
def _send_block(plan, raw, real, first, stop, n):
    """Encode a block of elements and send what moved; return the new length of the event list."""
    x = _encoded(plan, raw, real, first, stop)
    return send(plan, plan[SENDERS], x, first, stop - first, n, lowest_of(real))


@njit
def _send_bytes(plan, raw, real, first, mask, n):
    """The same for the few bytes of a block that changed, one at a time, under the hold rule."""
    sender = plan[SENDERS]
    table, ref = pointer(plan[ENCODER_TABLE], real), pointer(plan[sender + S_REF], real)
    event, payload = int32_pointer(plan[sender + S_EVENT]), pointer(plan[sender + S_PAYLOAD], real)
    threshold = pointer(plan[sender + S_THRESHOLD], real)[0]
    while mask != 0:
        i = first + lowest(mask)
        mask &= mask - 1
        value, held = table[int(raw[i])], ref[i]
        d = value - held
        sends = abs(d) > threshold
        event[n] = i
        payload[n] = d
        ref[i] = value if sends else held
        n += np.int64(sends)
    return n


@njit
def encode(plan, address, real, raw):
    """Rewrite the input's event list from the input at `address`; `raw` tells its element type. Returns a status."""
    x = pointer(address, raw)
    n_elements, width = plan[N_INPUT], BLOCK // size_of(raw)
    sender = plan[SENDERS]
    every = np.int64(plan[FIRST] == 1 or plan[RAW_KIND] != raw_kind(raw) or plan[sender + S_SIGNAL] == VALUES)
    n_changed = _find_changed(plan, x, real, every)
    if n_changed < 0:
        return NOT_FINITE
    changed, masks = int32_pointer(plan[CHANGED]), int64_pointer(plan[MASKS])
    by_bytes = (raw_kind(raw) == 0 and plan[ENCODER_TABLE] != 0 and plan[RULE] == HOLD and plan[sender + S_SHIFT] == 0
                and every == 0)
    n = np.int64(0)
    for c in range(n_changed):
        block = np.int64(changed[c])
        first, mask = block * width, masks[c]
        size = min(width, n_elements - first)
        if size == width:
            copy_bytes(plan[PREVIOUS] + block * BLOCK, address + block * BLOCK, BLOCK)
        else:
            copy_bytes(plan[PREVIOUS] + block * BLOCK, address + block * BLOCK, size * size_of(raw))
        if by_bytes and size == width and count_bits(mask) < DENSE:
            n = _send_bytes(plan, x, real, first, mask, n)
        else:
            n = _send_block(plan, x, real, first, first + size, n)
    plan[sender + S_COUNT] = n
    plan[RAW_KIND] = raw_kind(raw)
    return DONE
