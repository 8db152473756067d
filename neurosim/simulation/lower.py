"""Lower a Network to the flat tables of the kernels. The layout is explained in kernels/layout.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.activation import Elementwise
from neurosim.errors import SimulationError
from neurosim.host import HostProgram
from neurosim.kernels import layout as at
from neurosim.network import Layer, Network
from neurosim.synapses import INPUT, Synapses

ALIGNMENT = 64
"""Bytes of a cache line: every block of the pools starts on one."""

SCHEDULES = {"fall_through": at.FALL_THROUGH, "pipelined": at.PIPELINED}
RULES = {"hold": at.HOLD, "sigma_delta": at.SIGMA_DELTA, "quantised": at.QUANTISED, "naive": at.NAIVE}
NUMERICS = {"float32": np.float32, "float64": np.float64}


@dataclass
class Tables:
    """The pools of one lowered network. The kernels change them in place; one owner, one state."""

    plan: np.ndarray
    reals: np.ndarray
    ints: np.ndarray
    marks: np.ndarray
    takes_bytes: bool


class _Pool:
    """Blocks gathered into one aligned array; `add` returns the offset at which a block will lie."""

    def __init__(self, dtype: type) -> None:
        self.dtype = np.dtype(dtype)
        self._blocks: list[tuple[int, np.ndarray]] = []
        self.size = 0

    def add(self, block: np.ndarray) -> int:
        offset, step = self.size, ALIGNMENT // self.dtype.itemsize
        block = np.ascontiguousarray(block, self.dtype).reshape(-1)
        self._blocks.append((offset, block))
        self.size += -(-max(block.size, 1) // step) * step
        return offset

    def zeros(self, n: int) -> int:
        return self.add(np.zeros(n, self.dtype))

    def build(self) -> np.ndarray:
        raw = np.zeros(self.size * self.dtype.itemsize + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        pool = raw[start: start + self.size * self.dtype.itemsize].view(self.dtype)
        for offset, block in self._blocks:
            pool[offset: offset + block.size] = block
        return pool


def lower(network: Network, numerics: str, schedule: str, rule: str) -> Tables:
    """Build the tables.

    Parameters
    ----------
    numerics : ``float32`` or ``float64``
    schedule : ``fall_through`` or ``pipelined``
    rule : a key of `RULES`

    Raises
    ------
    SimulationError
        For an unknown option, or max pooling under the `naive` rule (a held maximum is
        undefined when what was sent does not add up to the value).
    """
    for value, known, what in ((numerics, NUMERICS, "numerics"), (schedule, SCHEDULES, "schedule"), (rule, RULES, "delta rule")):
        if value not in known:
            raise SimulationError(f"{what} {value!r} is unknown; choose one of {', '.join(known)}")
    if rule == "naive" and any(layer.is_max_pool for layer in network.layers):
        raise SimulationError("the naive rule is not defined for max pooling; use hold, sigma_delta or quantised")
    return _Lowering(network, NUMERICS[numerics], SCHEDULES[schedule], RULES[rule]).tables()


class _Lowering:
    def __init__(self, network: Network, dtype: type, schedule: int, rule: int) -> None:
        self.network, self.schedule, self.rule = network, schedule, rule
        self.reals, self.ints, self.marks = _Pool(dtype), _Pool(np.int32), _Pool(np.uint8)
        self.dtype = dtype
        self.header = dict.fromkeys(range(at.N_HEADER), 0)

    def tables(self) -> Tables:
        network = self.network
        groups = [self._group(s) for layer in network.layers for s in layer.synapses]
        f_rows = [self._f(layer, e) for layer in network.layers for e in layer.activation]
        layers = [self._layer_constants(layer) for layer in network.layers]
        senders = self._state(layers)
        takes_bytes = self._input()
        self._answer(layers)
        plan = self._plan(layers, groups, senders, f_rows)
        reals, ints, marks = self.reals.build(), self.ints.build(), self.marks.build()
        plan[[at.INTS, at.N_INTS, at.MARKS, at.N_MARKS]] = ints.ctypes.data, ints.size, marks.ctypes.data, marks.size
        return Tables(plan, reals, ints, marks, takes_bytes)

    def _group(self, s: Synapses) -> list[int]:
        n_source = self.network.size_of(s.source)
        cell = s.cell_of_source(n_source)
        channel = cell % s.grid[2]
        position = np.where(cell >= 0, cell // s.grid[2], -1)
        segments = _phase_segments(s) if s.channel_groups == 1 and s.dilation[1] == 1 else _tap_segments(s)
        start, destination, weight_offset, length, weights, channel_stride = segments
        per_group = s.grid[2] // s.channel_groups
        weight_shift = channel * channel_stride[np.maximum(position, 0)]
        destination_shift = (channel // per_group) * s.channels_out
        add = self.ints.add
        return [self.network.senders.index(s.source), add(position), add(weight_shift), add(destination_shift),
                add(start), add(destination), add(weight_offset), add(length), self.reals.add(weights),
                add(s.fan_out(n_source)), add(s.nonzero_fan_out(n_source)), int(s.weighted), int(s.kind != "max_pool")]

    def _f(self, layer: Layer, step: Elementwise) -> list[int]:
        row = [at.OPS.index(step.op)]
        parameters = [*step.parameters, *[np.zeros(())] * (2 - len(step.parameters))]
        for p in parameters:
            per_neuron = p.size == layer.n_neurons and p.size != layer.shape[2]
            values = p if per_neuron else np.broadcast_to(p.reshape(-1), (layer.shape[2],))
            row += [self.reals.add(values), at.PER_NEURON if per_neuron else at.PER_CHANNEL]
        return row

    def _layer_constants(self, layer: Layer) -> list[int]:
        unit = layer.unit
        n_units = layer.n_neurons // unit
        row = [0] * at.LAYER_ROW
        row[at.L_NEURONS], row[at.L_CHANNELS], row[at.L_UNIT], row[at.L_N_UNITS] = layer.n_neurons, layer.shape[2], unit, n_units
        row[at.L_MARK] = self.marks.zeros(n_units + 8)
        row[at.L_SCRATCH] = self.reals.zeros(unit)
        row[at.L_N_F], row[at.L_N_GROUPS] = len(layer.activation), len(layer.synapses)
        row[at.L_POOL_START] = row[at.L_POOL_ELEMENT] = -1
        if layer.is_max_pool:
            start, element = _pool_windows(layer.synapses[0], layer.name)
            row[at.L_POOL_START], row[at.L_POOL_ELEMENT] = self.ints.add(start), self.ints.add(element)
        return row

    def _state(self, layers: list[list[int]]) -> list[list[int]]:
        """Initial accumulators and, block by block in the same order, the state that `reset` rewrites."""
        network, h = self.network, self.header
        h[at.INITIAL] = self.reals.size
        for layer in network.layers:
            self.reals.add(layer.bias_per_neuron())
        h[at.ACCUMULATORS] = self.reals.size
        h[at.N_ACCUMULATORS] = h[at.ACCUMULATORS] - h[at.INITIAL]
        for row in layers:
            row[at.L_ACCUMULATOR] = self.reals.zeros(row[at.L_NEURONS])
        h[at.REFS] = self.reals.size
        refs = [self.reals.zeros(network.size_of(s)) for s in network.senders]
        h[at.N_REFS] = self.reals.size - h[at.REFS]
        for i, row in enumerate(layers):
            row[at.L_VALUE] = self.reals.zeros(row[at.L_NEURONS]) if i in network.output_layers else -1
            row[at.L_SENDER] = network.senders.index(i) if i in network.senders else -1
        senders = []
        for s, ref in zip(network.senders, refs):
            n = network.size_of(s)
            threshold = network.input.threshold if s == INPUT else network.layers[s].threshold
            senders.append([n, ref, self.ints.zeros(n), self.reals.zeros(n), 0, self.reals.add(np.array([threshold]))])
        h[at.MAX_EVENTS] = sum(row[at.S_ELEMENTS] for row in senders)
        return senders

    def _input(self) -> bool:
        n, table = self.network.input.n_elements, byte_table(self.network.input.encoder, self.network.input.shape, self.dtype)
        self.header[at.N_INPUT] = n
        self.header[at.PREVIOUS] = self.marks.zeros(n)
        self.header[at.ENCODER_TABLE] = self.reals.add(np.zeros(256) if table is None else table)
        return table is not None

    def _answer(self, layers: list[list[int]]) -> None:
        source = np.concatenate([layers[p.layer][at.L_VALUE] + p.elements.reshape(-1) for p in self.network.outputs])
        self.header[at.N_ANSWER] = source.size
        self.header[at.ANSWER] = self.reals.zeros(source.size)
        self.header[at.ANSWER_SOURCE] = self.ints.add(source)

    def _plan(self, layers: list[list[int]], groups: list[list[int]], senders: list[list[int]], f_rows: list[list[int]]) -> np.ndarray:
        h, n_counts = self.header, 1 + len(layers) * at.N_COLUMNS
        h[at.N_LAYERS], h[at.N_SENDERS] = len(layers), len(senders)
        h[at.SCHEDULE], h[at.RULE] = self.schedule, self.rule
        h[at.LAYERS] = at.N_HEADER
        h[at.GROUPS] = h[at.LAYERS] + len(layers) * at.LAYER_ROW
        h[at.SENDERS] = h[at.GROUPS] + len(groups) * at.GROUP_ROW
        f_start = h[at.SENDERS] + len(senders) * at.SENDER_ROW
        h[at.COUNTS] = f_start + len(f_rows) * at.F_ROW
        h[at.TOTALS] = h[at.COUNTS] + n_counts
        h[at.FIRST_TOTALS] = h[at.TOTALS] + n_counts
        group = f = 0
        for row in layers:
            row[at.L_GROUP] = h[at.GROUPS] + group * at.GROUP_ROW
            row[at.L_F] = f_start + f * at.F_ROW
            group += row[at.L_N_GROUPS]
            f += row[at.L_N_F]
        rows = [v for table in (layers, groups, senders, f_rows) for row in table for v in row]
        return np.array([*(h[i] for i in range(at.N_HEADER)), *rows, *[0] * (3 * n_counts)], np.int64)


def byte_table(encoder: HostProgram, shape: tuple[int, ...], dtype: type) -> np.ndarray | None:
    """The encoder as a table of 256 values, or None where it treats elements differently."""
    if any(not isinstance(o, int) and np.size(o) != 1 for op in encoder.ops for o in op.operands):
        return None
    column: np.ndarray = np.arange(256, dtype=dtype).reshape(256, *[1] * len(shape))
    return encoder(column).reshape(256)


def _tap_segments(s: Synapses) -> tuple[np.ndarray, ...]:
    """One segment per tap: weights (tap, source channel, channel out of the group)."""
    start, position, tap = s.taps
    n_channels, out = s.grid[2], s.channels_out
    stride = np.full(start.size - 1, out)
    return (start, position * s.target_grid[2], tap * n_channels * out, np.full(tap.size, out), s.tap_weights, stride)


def _phase_segments(s: Synapses) -> tuple[np.ndarray, ...]:
    """Taps of one kernel row and stride phase as one segment: weights (row, phase, source channel, tap descending, channel out)."""
    (n_rows, n_taps), stride = s.kernel, s.stride[1]
    n_in, n_out = s.grid[2], s.target_grid[2]
    weights = s.tap_weights.reshape(n_rows, n_taps, n_in, n_out)
    phases = [np.arange(phase, n_taps, stride)[::-1] for phase in range(min(stride, n_taps))]
    packed = [weights[row, taps].transpose(1, 0, 2).reshape(-1) for row in range(n_rows) for taps in phases]
    base = np.concatenate(([0], np.cumsum([p.size for p in packed])))[:-1].reshape(n_rows, len(phases))
    per_phase = np.array([taps.size for taps in phases])

    start, position, tap = s.taps
    row, column = tap // n_taps, tap % n_taps
    phase = column % stride
    slot = per_phase[phase] - 1 - column // stride
    source = np.repeat(np.arange(start.size - 1), np.diff(start))
    opens = np.ones(tap.size, bool)
    opens[1:] = (source[1:] != source[:-1]) | (row[1:] != row[:-1])
    first = np.flatnonzero(opens)
    length = np.diff(np.append(first, tap.size)) * n_out
    segment_start = np.zeros(start.size, np.int64)
    np.cumsum(np.bincount(source[first], minlength=start.size - 1), out=segment_start[1:])
    channel_stride = np.zeros(start.size - 1, np.int64)
    channel_stride[source] = per_phase[phase] * n_out
    return (segment_start, position[first] * n_out, base[row[first], phase[first]] + slot[first] * n_out, length,
            np.concatenate(packed), channel_stride)


def _pool_windows(s: Synapses, name: str) -> tuple[np.ndarray, np.ndarray]:
    """For every target neuron, the source elements whose held values it takes the maximum of."""
    start, position, _ = s.taps
    channels = s.grid[2]
    source = np.repeat(np.arange(start.size - 1), np.diff(start))
    neuron = (position[:, None] * channels + np.arange(channels)).reshape(-1)
    element = (source[:, None] * channels + np.arange(channels)).reshape(-1)
    if s.view is not None:
        element = s.view[element].astype(np.int64)
    neuron, element = neuron[element >= 0], element[element >= 0]
    order = np.argsort(neuron, kind="stable")
    n_neurons = int(np.prod(s.target_grid))
    sizes = np.bincount(neuron, minlength=n_neurons)
    if (sizes == 0).any():
        raise SimulationError(f"layer {name!r}: a pooling window holds no input at all, only padding")
    return np.concatenate(([0], np.cumsum(sizes))), element[order]
