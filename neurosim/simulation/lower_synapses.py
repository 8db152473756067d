"""Lower one group of synapses to the tables that deliver its events. The layout is explained in kernels/layout.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from neurosim.errors import SimulationError
from neurosim.kernels import compiled, target
from neurosim.kernels import layout as at
from neurosim.simulation.memory import Memory
from neurosim.simulation.stored import StoredWeights, store
from neurosim.synapses import Synapses

SPARSE_IN_CACHE, SPARSE_BEYOND = 0.04, 0.2
"""Densities below which only non-zero weights are kept: where dense rows fit the second-level cache, and where not.
Dense rows stream through registers about 20 times faster per weight than single weights scatter, as long as the cache feeds them."""

_BATCHES = ((target.L1_BYTES // 2, 64), (target.L2_BYTES, 8), (1 << 62, 16))
"""Bytes of full weights, and rows that are added at a time (measured): where rows come from a slow cache, few streams at once."""

_LONG = 64
"""Weights of a sparse row from which on it is worth asking for rows in advance."""

_N_BITS = 31
"""Element numbers are below 2 to this."""


@dataclass(frozen=True)
class Storage:
    """How a group's weights lie in memory: `kind` is that of its kernel (full, convolution, sparse), `n_bytes` without fillers."""

    kind: str
    dtype: np.dtype
    n_bytes: int


@dataclass(frozen=True)
class Lowered:
    """A lowered group of synapses.

    Parameters
    ----------
    row : list of int
        Its row in the plan; what names other rows is filled in later.
    scale : ndarray or None
        Of narrow weights, per channel: the layer's sums times `scale` are what the synapses add up to.
    storage : Storage
    """

    row: list[int]
    scale: np.ndarray | None
    storage: Storage


@dataclass(frozen=True)
class _Classes:
    """Positions by what they meet: `place` (positions, 2) is (class, first target position); class k meets the
    target positions first + `target` over the kernel taps `tap`, of ``start[k]:start[k + 1]``."""

    place: np.ndarray
    start: np.ndarray
    target: np.ndarray
    tap: np.ndarray

    @property
    def n(self) -> int:
        return self.start.size - 1

    def taps_of(self, k: int) -> slice:
        return slice(self.start[k], self.start[k + 1])

    def chosen(self, k: np.ndarray) -> _Classes:
        """The classes k, in this order (without the places)."""
        taps = np.concatenate([np.arange(self.start[i], self.start[i + 1]) for i in k])
        return _Classes(self.place[:0], _starts(np.diff(self.start)[k]), self.target[taps], self.tap[taps])

    @cached_property
    def of_tap(self) -> np.ndarray:
        """Class that each tap belongs to."""
        return np.repeat(np.arange(self.n), np.diff(self.start))


def _starts(sizes: np.ndarray) -> np.ndarray:
    """Where blocks of these sizes start, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(sizes)))


def lower_group(s: Synapses, n_source: int, n_units: int, alone: bool, memory: Memory,
                dtype: np.dtype) -> Lowered:
    """The tables of a group.

    Parameters
    ----------
    n_source : int
        Elements of the source.
    n_units : int
        Units of the layer.
    alone : bool
        Whether the layer has no other group.
    """
    if (s.n_cells != n_source) if s.view is None else s.view.max(initial=0) >= n_source:
        raise SimulationError(f"{s.kind} synapses read a grid of {s.n_cells:,} cells, which does not match the {n_source:,} "
                              "elements of their source")
    row = [0] * at.GROUP_ROW
    row[at.G_WEIGHTED] = int(s.weighted)
    if s.kind == "full" and (s.feeds is not None or not _is_sparse(s, dtype)):
        return _full(row, s, n_source, n_units, alone, memory, dtype)
    return _by_position(row, s, n_source, n_units, alone, memory, dtype)


def _is_sparse(s: Synapses, dtype: np.dtype) -> bool:
    assert s.weight is not None
    density = np.count_nonzero(s.weight) / max(s.weight.size, 1)
    return bool(density < (SPARSE_IN_CACHE if s.weight.size * dtype.itemsize <= target.L2_BYTES else SPARSE_BEYOND))


def _full(row: list[int], s: Synapses, n_source: int, n_units: int, alone: bool, memory: Memory, dtype: np.dtype) -> Lowered:
    """Rows of weights in the order of source elements."""
    assert s.weight is not None
    cells = s.cell_of_source(n_source)
    by_source = np.zeros((n_source, s.weight.shape[0]))
    by_source[cells >= 0] = s.weight.T[cells[cells >= 0]]
    stored = store(by_source, dtype, True, alone)
    if (cells < 0).any():
        row[at.G_CELL] = memory.add(np.where(cells >= 0, np.arange(n_source), -1), np.int32)
    row[at.G_BATCH] = next(batch for limit, batch in _BATCHES if stored.values.nbytes <= limit)
    row[at.G_LENGTH], row[at.G_UNITS] = stored.values.shape[1], n_units
    row[at.G_FAN_OUT] = s.weight.shape[0] if s.feeds is None else int(s.feeds.sum())
    if not np.all(s.weight):
        row[at.G_NONZERO] = memory.add(s.nonzero_fan_out(n_source), np.int32)
    _weights(row, "full", stored, row[at.G_BATCH] + 1, memory, dtype)
    return Lowered(row, stored.column_scale, Storage("full", stored.values.dtype, stored.values.nbytes))


def _weights(row: list[int], kernel: str, stored: StoredWeights, n_rows: int, memory: Memory, dtype: np.dtype) -> None:
    row[at.G_KERNEL] = compiled.address(kernel, dtype, stored.values.dtype)
    row[at.G_WEIGHT] = memory.add(stored.values, stored.values.dtype)
    row[at.G_SCALE] = memory.add(np.array([stored.scale]), dtype)
    row[at.G_ROWS], row[at.G_PAYLOADS] = memory.zeros(n_rows, np.int64), memory.zeros(n_rows, dtype)


def _by_position(row: list[int], s: Synapses, n_source: int, n_units: int, alone: bool, memory: Memory,
                 dtype: np.dtype) -> Lowered:
    classes = _classes(s)
    channels, n_out = s.grid[2], s.target_grid[2]
    blocks = n_units // (s.target_grid[0] * s.target_grid[1])
    row[at.G_CHANNELS], row[at.G_N_OUT], row[at.G_UNITS] = channels, n_out, blocks
    row[at.G_MAGIC], row[at.G_SHIFT] = _divisor(channels)
    if s.view is not None:
        row[at.G_CELL] = memory.add(s.cell_of_source(n_source), np.int32)
        row[at.G_READ], row[at.G_READ_PAYLOADS] = memory.zeros(at.CHUNK, np.int32), memory.zeros(at.CHUNK, dtype)
    row[at.G_PLACE] = memory.add(classes.place, np.int32)
    fan_out = np.diff(classes.start) * s.channels_out
    if s.channel_groups == 1 and s.weighted and not _is_sparse(s, dtype):
        if not np.all(s.weight):
            nonzero = np.zeros((classes.n, channels), np.int64)
            np.add.at(nonzero, classes.of_tap, np.count_nonzero(s.tap_weights, axis=2)[classes.tap])
            row[at.G_NONZERO] = memory.add(nonzero, np.int32)
        shape, base, step, stored = _dense(row, s, classes, alone, memory, dtype)
        scale, storage = stored.column_scale, Storage("convolution", stored.values.dtype, stored.values.nbytes)
        _, representative = np.unique(shape, return_index=True)
    else:
        storage = _sparse(row, s, classes, blocks, memory, dtype)
        shape = representative = np.arange(classes.n)
        base, step, scale = np.zeros_like(shape), np.zeros_like(shape), None
    row[at.G_CLASS] = memory.add(np.stack([shape, base, step, fan_out], axis=1), np.int32)
    for slot, values in zip((at.G_MARKS, at.G_M_UNIT, at.G_M_COUNT), _marks(s, classes.chosen(representative), blocks)):
        row[slot] = memory.add(values, np.int32)
    return Lowered(row, scale, storage)


def _divisor(channels: int) -> tuple[int, int]:
    """(magic, shift) such that n // channels == n * magic >> shift for 0 <= n < 2^31 (Granlund and Montgomery 1994)."""
    shift = _N_BITS + max(channels - 1, 0).bit_length()
    return -(-(1 << shift) // channels), shift


def _classes(s: Synapses) -> _Classes:
    """Positions that meet the same targets (relative to the first) over the same taps are one class."""
    start, position, tap = s.taps
    n_taps = np.diff(start)
    if not s.weighted:
        tap = np.zeros_like(tap)
    first = np.zeros(n_taps.size, np.int64)
    first[n_taps > 0] = position[start[:-1][n_taps > 0]]
    relative = position - np.repeat(first, n_taps)
    code = (relative * (s.kernel[0] * s.kernel[1]) + tap).astype(np.uint64) + np.uint64(1)
    # mixed as splitmix64 does: equal sums of codes are equal connectivity, which _verify makes sure of
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    running = np.concatenate(([np.uint64(0)], np.cumsum(code, dtype=np.uint64)))
    _, representative, k = np.unique(running[start[1:]] - running[start[:-1]], return_index=True, return_inverse=True)
    chosen = _Classes(np.zeros((0, 2)), start, relative, tap).chosen(representative)
    classes = replace(chosen, place=np.stack([k.reshape(-1), first], axis=1))
    _verify(classes, n_taps, relative, tap)
    return classes


def _verify(classes: _Classes, n_taps: np.ndarray, target: np.ndarray, tap: np.ndarray) -> None:
    """The classes were found by a hash: every position must really equal its class."""
    k = classes.place[:, 0]
    if np.array_equal(np.diff(classes.start)[k], n_taps):
        within = np.arange(target.size) - np.repeat(np.cumsum(n_taps) - n_taps, n_taps)
        at_class = classes.start[:-1][np.repeat(k, n_taps)] + within
        if np.array_equal(classes.target[at_class], target) and np.array_equal(classes.tap[at_class], tap):
            return
    raise AssertionError("positions of one class differ in what they meet")


def _marks(s: Synapses, classes: _Classes, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of units that an event of each class meets: start per class, first unit, number of units."""
    if s.channel_groups > 1:
        per_channel = blocks * s.channels_out // s.target_grid[2]
        return classes.start, classes.target * blocks, np.full(classes.target.size, per_channel)
    opens = np.ones(classes.target.size, bool)
    opens[1:] = (np.diff(classes.target) != 1) | (np.diff(classes.of_tap) != 0)
    first = np.flatnonzero(opens)
    start = _starts(np.bincount(classes.of_tap[first], minlength=classes.n))
    return start, classes.target[first] * blocks, np.diff(np.append(first, classes.target.size)) * blocks


def _sparse(row: list[int], s: Synapses, classes: _Classes, blocks: int, memory: Memory, dtype: np.dtype) -> Storage:
    """Rows of non-zero weights per class and channel."""
    n_channels, out = s.grid[2], s.channels_out
    group = np.arange(n_channels) // (n_channels // s.channel_groups)
    sizes, targets, weights = [], [], []
    for k in range(classes.n if s.kind != "max_pool" else 0):
        taps = classes.taps_of(k)
        weight = s.tap_weights[classes.tap[taps]].transpose(1, 0, 2)
        channel, tap, o = np.nonzero(weight)
        sizes.append(np.bincount(channel, minlength=n_channels))
        targets.append(classes.target[taps][tap] * s.target_grid[2] + group[channel] * out + o)
        weights.append(weight[channel, tap, o])
    if s.kind == "max_pool":
        sizes, targets, weights = [np.zeros(classes.n * n_channels, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    size, target_of, weight = np.concatenate(sizes), np.concatenate(targets), np.concatenate(weights)
    start = _starts(-(-size // 4) * 4)
    slot = np.repeat(start[:-1] - _starts(size)[:-1], size) + np.arange(target_of.size)
    index = np.dtype(np.uint16 if target_of.size == 0 or target_of.max() < 1 << 16 else np.int32)
    row[at.G_KERNEL] = compiled.address("sparse", dtype, index)
    row[at.G_ROW_START], row[at.G_NONZERO] = memory.add(start, np.int32), memory.add(size, np.int32)
    # what fills up a row adds 0 to its last target
    filled_target = np.repeat(target_of[_starts(size)[1:] - 1] if target_of.size else size, np.diff(start))
    filled_weight = np.zeros(filled_target.size)
    filled_target[slot], filled_weight[slot] = target_of, weight
    row[at.G_WEIGHT], row[at.G_ROW_TARGET] = memory.add(filled_weight, dtype), memory.add(filled_target, index)
    row[at.G_FIRST_UNIT] = memory.add(group * (out * blocks // s.target_grid[2]), np.int32)
    row[at.G_CHANNEL_GROUPS], row[at.G_LONG_ROWS] = s.channel_groups, int(size.mean() >= _LONG)
    return Storage("sparse", dtype, weight.size * (dtype.itemsize + index.itemsize))


def _dense(row: list[int], s: Synapses, classes: _Classes, alone: bool, memory: Memory,
           dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray, StoredWeights]:
    """Weights as segments: the taps of a kernel row and stride phase side by side, or single taps where they are dilated.

    Returns the shape, the weight base and the weights per channel of each class, and the weights.
    """
    pack = _phase_segments if s.dilation[1] == 1 else _tap_segments
    start, target_position, weight, n_positions, weights, step = pack(s, classes)
    n_out = s.target_grid[2]
    has = np.diff(start) > 0
    base = np.zeros(classes.n, np.int64)
    base[has] = weight[start[:-1][has]]
    segments = np.stack([target_position, weight - np.repeat(base, np.diff(start)), n_positions], axis=1)
    keys = [segments[a:b].tobytes() for a, b in zip(start, start[1:])]
    shapes = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    table = [segments[start[keys.index(key)]: start[keys.index(key) + 1]] for key in shapes]
    for slot, values in zip((at.G_S_TARGET, at.G_S_WEIGHT, at.G_S_LENGTH), (np.concatenate(table) * [n_out, 1, n_out]).T):
        row[slot] = memory.add(values, np.int32)
    row[at.G_SEGMENTS] = memory.add(_starts(np.array([len(t) for t in table])), np.int32)
    # (by taps, sources come in ascending order only where the columns of a segment are neighbours)
    by_taps = s.view is None and (s.dilation[1] == 1 or s.kernel[1] == 1)
    if by_taps and n_out * dtype.itemsize >= 8 * target.VECTOR_BYTES:  # a tap fills the registers of a block of sums
        row[at.G_WIDTH] = s.grid[1]
        row[at.G_TAP_ROWS], row[at.G_TAP_COLUMNS] = max(len(t) for t in table), int(n_positions.max(initial=0))
    row[at.G_VISITS] = memory.zeros(at.VISIT_ROW * at.CHUNK, np.int32)
    stored = store(weights.reshape(-1, n_out), dtype, False, alone)
    _weights(row, "convolution", stored, 2 * at.CHUNK, memory, dtype)  # a visit of one event takes two places
    return np.array([shapes[key] for key in keys]), base, step, stored


def _tap_segments(s: Synapses, classes: _Classes) -> tuple[np.ndarray, ...]:
    """One segment per tap: weights (tap, source channel, channel out)."""
    n_out = s.target_grid[2]
    return (classes.start, classes.target, classes.tap * s.grid[2] * n_out, np.ones_like(classes.tap), s.tap_weights,
            np.full(classes.n, n_out))


def _phase_segments(s: Synapses, classes: _Classes) -> tuple[np.ndarray, ...]:
    """Taps of one kernel row and stride phase as one segment: weights (row, phase, source channel, tap descending, channel out)."""
    (n_rows, n_taps), stride = s.kernel, s.stride[1]
    n_in, n_out = s.grid[2], s.target_grid[2]
    weights = s.tap_weights.reshape(n_rows, n_taps, n_in, n_out)
    phases = [np.arange(phase, n_taps, stride)[::-1] for phase in range(min(stride, n_taps))]
    packed = [weights[row, taps].transpose(1, 0, 2).reshape(-1) for row in range(n_rows) for taps in phases]
    base = np.concatenate(([0], np.cumsum([p.size for p in packed])))[:-1].reshape(n_rows, len(phases))
    per_phase = np.array([taps.size for taps in phases])

    row, column = classes.tap // n_taps, classes.tap % n_taps
    phase = column % stride
    slot = per_phase[phase] - 1 - column // stride
    opens = np.ones(classes.tap.size, bool)
    opens[1:] = (np.diff(classes.of_tap) != 0) | (np.diff(row) != 0)
    first = np.flatnonzero(opens)
    start = _starts(np.bincount(classes.of_tap[first], minlength=classes.n))
    step = np.zeros(classes.n, np.int64)
    step[classes.of_tap] = per_phase[phase] * n_out
    return (start, classes.target[first], base[row[first], phase[first]] + slot[first] * n_out,
            np.diff(np.append(first, classes.tap.size)), np.concatenate(packed), step)
