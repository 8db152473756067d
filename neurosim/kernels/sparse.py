"""Deliver events over sparse rows: pruned weights, depthwise and grouped convolutions, pooling, identity.

Each class and channel has a row: targets relative to the first target position, and weights.
Marks follow the connectivity, zero weights included; a row holds the others only.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from neurosim.kernels.deliver import count, mark
from neurosim.kernels.layout import (
    CLASS_ROW,
    G_BLOCKS,
    G_CELL,
    G_CHANNELS,
    G_CLASS,
    G_GROUP_OF_CHANNEL,
    G_LAYER,
    G_M_COUNT,
    G_M_UNIT,
    G_MAGIC,
    G_MARKS,
    G_N_OUT,
    G_PLACE,
    G_ROW_START,
    G_ROW_TARGET,
    G_SENDER,
    G_SHIFT,
    G_WEIGHT,
    K_FAN_OUT,
    L_ACCUMULATOR,
    L_MARK,
    S_COUNT,
    S_EVENT,
    S_PAYLOAD,
)
from neurosim.kernels.pointer import int32_pointer, pointer, shifted, uint8_pointer


def _scatter(target, index, w, d, n):  # type: ignore[no-untyped-def]
    j = 0
    while j + 4 <= n:
        a, b, c, e = index[j], index[j + 1], index[j + 2], index[j + 3]
        target[a] = target[a] + d * w[j]
        target[b] = target[b] + d * w[j + 1]
        target[c] = target[c] + d * w[j + 2]
        target[e] = target[e] + d * w[j + 3]
        j += 4
    while j < n:
        target[index[j]] = target[index[j]] + d * w[j]
        j += 1


_exact, _fused = njit(_scatter), njit(fastmath={"contract"})(_scatter)


def scatter(target, index, w, d, n):  # type: ignore[no-untyped-def]
    """target[index[j]] += d * w[j], j < n."""


@overload(scatter)
def _scatter_of(target, index, w, d, n):  # type: ignore[no-untyped-def]
    if target.dtype == types.float32:
        return lambda target, index, w, d, n: _fused(target, index, w, d, n)
    return lambda target, index, w, d, n: _exact(target, index, w, d, n)




@njit
def sparse(plan, group, real, index):  # type: ignore[no-untyped-def]
    """Deliver the current events of one group of synapses; arguments and result as in `convolution`.

    The type of `index` is that of the targets in the rows; weights are kept as reals.
    """
    sender, layer = plan[group + G_SENDER], plan[group + G_LAYER]
    n_events = plan[sender + S_COUNT]
    event = int32_pointer(plan[sender + S_EVENT])
    payload = pointer(plan[sender + S_PAYLOAD], real)
    cells = int32_pointer(plan[group + G_CELL])
    has_cells = plan[group + G_CELL] != 0
    channels, magic, shift = plan[group + G_CHANNELS], plan[group + G_MAGIC], plan[group + G_SHIFT]
    place, group_of = int32_pointer(plan[group + G_PLACE]), int32_pointer(plan[group + G_GROUP_OF_CHANNEL])
    row_start, row_target = int32_pointer(plan[group + G_ROW_START]), pointer(plan[group + G_ROW_TARGET], index)
    weights = pointer(plan[group + G_WEIGHT], real)
    marks = uint8_pointer(plan[layer + L_MARK])
    mark_start = int32_pointer(plan[group + G_MARKS])
    mark_unit, mark_count = int32_pointer(plan[group + G_M_UNIT]), int32_pointer(plan[group + G_M_COUNT])
    classes = int32_pointer(plan[group + G_CLASS])
    accumulator = pointer(plan[layer + L_ACCUMULATOR], real)
    n_out, blocks = plan[group + G_N_OUT], plan[group + G_BLOCKS]

    arrivals, visits, effective = 0, 0, 0
    for i in range(n_events):
        cell = np.int64(event[i])
        if has_cells:
            cell = np.int64(cells[cell])
            if cell < 0:
                continue
        position = (cell * magic) >> shift
        channel = cell - position * channels
        k, target = np.int64(place[2 * position]), np.int64(place[2 * position + 1])
        fan_out = np.int64(classes[k * CLASS_ROW + K_FAN_OUT])
        if fan_out == 0:
            continue
        row = k * channels + channel
        arrivals += 1
        visits += fan_out
        first = target * blocks + group_of[channel]
        for s in range(mark_start[k], mark_start[k + 1]):
            mark(marks, first + mark_unit[s], mark_count[s])
        begin = row_start[row]
        n = row_start[row + 1] - begin
        effective += n
        scatter(shifted(accumulator, target * n_out), shifted(row_target, begin), shifted(weights, begin), payload[i], n)
    count(plan, group, arrivals, visits, effective)
    return 0


