"""Lower a Network to the flat tables of the kernels. The layout is explained in kernels/layout.py."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurosim.activation import Elementwise
from neurosim.errors import SimulationError
from neurosim.host import HostOp, HostProgram
from neurosim.kernels import compiled
from neurosim.kernels import layout as at
from neurosim.kernels.functions import ENCODER_FUNCTIONS
from neurosim.network import Layer, Network
from neurosim.neurons import DELTA, SPIKE
from neurosim.simulation import fixed
from neurosim.simulation.lower_synapses import Storage, lower_group
from neurosim.simulation.memory import Memory
from neurosim.synapses import INPUT, Synapses

SCHEDULES = {"fall_through": at.FALL_THROUGH, "pipelined": at.PIPELINED}
RULES = {"hold": at.HOLD, "sigma_delta": at.SIGMA_DELTA, "quantised": at.QUANTISED, "naive": at.NAIVE}
NUMERICS = ("float32", "float64", "fixed")


_SCRATCH_BLOCK = 4096
"""Neurons that are evaluated at a time."""


@dataclass
class Tables:
    """One lowered network. The kernels change its tables in place; one owner, one state.

    Parameters
    ----------
    plan : int64
        Names the tables of `memory` by address.
    dtype : dtype
        Of accumulators, payloads and answers.
    storage : tuple
        Of each layer: how the weights of its groups lie in memory.
    host_encoder : HostProgram or None
        The encoder, where the kernels cannot run it: inputs then come encoded.
    takes_bytes : bool
        Whether bytes need no encoding even so (the encoder is a table).
    """

    plan: np.ndarray
    dtype: np.dtype
    memory: Memory
    storage: tuple[tuple[Storage, ...], ...]
    host_encoder: HostProgram | None
    takes_bytes: bool

    def prepare(self, dtype: np.dtype) -> bool:
        """Make the kernel that reads inputs of this type ready; False where there is none."""
        if dtype.name not in at.RAW_TYPES:
            return False
        slot = at.ENCODE + at.RAW_TYPES.index(dtype.name)
        if self.plan[slot] == 0:
            self.plan[slot] = compiled.address("encode", self.dtype, dtype)
        return True


def lower(network: Network, numerics: str, schedule: str, rule: str) -> Tables:
    """Build the tables.

    Parameters
    ----------
    numerics : a name in `NUMERICS`
        ``fixed`` is int32 or int64, as the network needs.
    schedule : ``fall_through`` or ``pipelined``
    rule : a key of `RULES`

    Raises
    ------
    SimulationError
        For an unknown option; for max pooling under the `naive` rule (a held maximum is undefined when what was sent
        does not add up to the value) or over values that do not last; for a network that ``fixed`` cannot run.
    """
    for value, known, what in ((numerics, NUMERICS, "numerics"), (schedule, SCHEDULES, "schedule"), (rule, RULES, "delta rule")):
        if value not in known:
            raise SimulationError(f"{what} {value!r} is unknown; choose one of {', '.join(known)}")
    if rule == "naive" and any(layer.is_max_pool for layer in network.layers):
        raise SimulationError("the naive rule is not defined for max pooling; use hold, sigma_delta or quantised")
    for layer in network.layers:
        if layer.is_max_pool and network.signal_of(layer.synapses[0].source) != DELTA:
            raise SimulationError(f"layer {layer.name!r}: max pooling over spikes; only lasting values have a maximum. Use sum pooling")
    dtype = fixed.check(network) if numerics == "fixed" else np.dtype(numerics)
    return _Lowering(network, dtype, SCHEDULES[schedule], RULES[rule]).tables()


class _Lowering:
    def __init__(self, network: Network, dtype: np.dtype, schedule: int, rule: int) -> None:
        self.network, self.schedule, self.rule = network, schedule, rule
        self.dtype = dtype
        self.memory = Memory()
        self.header = dict.fromkeys(range(at.N_HEADER), 0)

    def tables(self) -> Tables:
        network, h = self.network, self.header
        groups, layers, steps, storage = [], [], [], []
        for i, layer in enumerate(network.layers):
            alone = len(layer.synapses) == 1 and not self._is_always(i)
            lowered = [lower_group(s, network.size_of(s.source), layer.n_accumulators // layer.unit, alone, self.memory, self.dtype)
                       for s in layer.synapses]
            for group, s in zip(lowered, layer.synapses):
                if s.weighted:
                    group.row[at.G_WEIGHTED] = at.ACS if network.signal_of(s.source) == SPIKE else at.MACS
            groups += [group.row for group in lowered]
            storage.append(tuple(group.storage for group in lowered))
            layer_row, layer_steps = self._layer(i, layer, lowered[0].scale if lowered else None)
            layers.append(layer_row)
            steps += layer_steps
        senders = [self._sender(s) for s in network.senders]
        host_encoder, takes_bytes, encoder = self._input()
        self._answer(layers)
        h[at.MAX_EVENTS] = sum(row[at.S_ELEMENTS] for row in senders)
        lines = self._lines(senders)
        for slot, name in ((at.ADVANCE, "advance"), (at.RESET, "reset")):
            h[slot] = compiled.address(name, self.dtype)
        plan = self._plan(layers, groups, senders, lines, steps + encoder, len(encoder))
        return Tables(plan, self.dtype, self.memory, tuple(storage), host_encoder, takes_bytes)

    def _passes(self, i: int, s: Synapses) -> bool:
        """Whether what a group brings counts in its own timestep only."""
        dynamics = self.network.layers[i].dynamics
        return self.network.signal_of(s.source) != DELTA or dynamics is not None and dynamics.of.clears

    def _is_always(self, i: int) -> bool:
        """Whether a layer runs in every timestep."""
        return self.network.layers[i].dynamics is not None or any(self._passes(i, s) for s in self.network.layers[i].synapses)

    def _lines(self, senders: list[list[int]]) -> dict[tuple[int, int], list[int]]:
        """A row for each delay line (source, delay). Appends the rows that show what is read to `senders`."""
        network, rows = self.network, {}
        for source, delay in sorted({(s.source, s.delay) for layer in network.layers for s in layer.synapses if s.delay}):
            n, row = network.size_of(source), [0] * at.DELAY_ROW
            row[at.D_DELAY], row[at.D_COUNT] = delay, self.memory.zeros(delay, np.int64)
            row[at.D_EVENT], row[at.D_PAYLOAD] = self.memory.zeros(n * delay, np.int32), self.memory.zeros(n * delay, self.dtype)
            rows[source, delay] = row
            reader = [0] * at.SENDER_ROW
            reader[at.S_ELEMENTS], reader[at.S_EVENT], reader[at.S_PAYLOAD] = n, row[at.D_EVENT], row[at.D_PAYLOAD]
            senders.append(reader)
        return rows

    def _f(self, step: Elementwise, channels: int, n_neurons: int) -> list[int]:
        parameters = [*step.parameters, *[np.zeros(())] * (2 - len(step.parameters))]
        dtype = np.dtype(np.float64) if step.op == "requantize" else self.dtype
        return [compiled.address(step.op, self.dtype), *self._parameter(parameters[0], channels, n_neurons, dtype),
                *self._parameter(parameters[1], channels, n_neurons, dtype), channels]

    def _parameter(self, values: np.ndarray, channels: int, n_neurons: int, dtype: np.dtype) -> tuple[int, int]:
        """(address, kind) of a parameter of f."""
        values = np.asarray(values).reshape(-1)
        kind = at.SCALAR if values.size == 1 else at.PER_CHANNEL if values.size == channels else at.PER_NEURON
        if kind == at.PER_NEURON and values.size != n_neurons:
            raise ValueError(f"a parameter of {values.size} values for {n_neurons} neurons in {channels} channels")
        return self.memory.add(values, dtype), kind

    def _layer(self, i: int, layer: Layer, scale: np.ndarray | None) -> tuple[list[int], list[list[int]]]:
        """The row of a layer and the steps of its f. Sums that lack a scale (one per channel) get it, and the bias, as a first step."""
        network, memory, n, n_sums = self.network, self.memory, layer.n_neurons, layer.n_accumulators
        row = [0] * at.LAYER_ROW
        row[at.L_NEURONS], row[at.L_UNIT], row[at.L_N_UNITS] = n, layer.unit, n_sums // layer.unit
        row[at.L_MARK] = memory.zeros(n_sums // layer.unit, np.uint8)
        bias = layer.bias_per_accumulator()
        f = layer.activation
        if scale is not None:
            f = (Elementwise("affine", (scale, layer.bias if layer.bias.ndim else np.full(scale.size, float(layer.bias)))), *f)
            bias = np.zeros_like(bias)
        row[at.L_INITIAL] = memory.add(bias, self.dtype)
        row[at.L_ACCUMULATOR], row[at.L_N_ACCUMULATORS] = memory.zeros(n_sums, self.dtype), n_sums
        row[at.L_AT_A_TIME] = min(n, _SCRATCH_BLOCK)
        row[at.L_UPDATE] = compiled.address("update", self.dtype)
        is_output = i in network.output_layers
        row[at.L_VALUE] = memory.zeros(n, self.dtype) if is_output else 0
        row[at.L_N_GROUPS], row[at.L_N_F] = len(layer.synapses), len(f)
        floor = -np.inf if self.dtype.kind == "f" else -(2.0 ** (8 * self.dtype.itemsize - 1))
        if self._is_always(i):
            self._always(i, row)
        elif f and f[-1].op == "relu" and self.rule == at.HOLD and not is_output and not layer.payload_shift:
            row[at.L_N_F], floor = row[at.L_N_F] - 1, 0  # the comparison with what was sent rectifies on the way
        row[at.L_FLOOR] = memory.add(np.array([floor]), self.dtype)
        if layer.is_max_pool:
            start, element = _pool_windows(layer.synapses[0], layer.name)
            row[at.L_POOL_START], row[at.L_POOL_ELEMENT] = memory.add(start, np.int32), memory.add(element, np.int32)
        if layer.is_max_pool or row[at.L_N_F]:
            row[at.L_SCRATCH] = memory.zeros(row[at.L_AT_A_TIME], self.dtype)
        return row, [self._f(step, layer.shape[2], n) for step in f[: row[at.L_N_F]]]

    def _always(self, i: int, row: list[int]) -> None:
        """Complete the row of a layer that runs in every timestep."""
        layer, memory = self.network.layers[i], self.memory
        n, n_sums = layer.n_neurons, layer.n_accumulators
        row[at.L_ALWAYS], row[at.L_UPDATE] = 1, compiled.address("autonomous", self.dtype)
        row[at.L_SUM], row[at.L_RESULT] = memory.zeros(n_sums, self.dtype), memory.zeros(n, self.dtype)
        if any(self._passes(i, s) for s in layer.synapses):
            row[at.L_TRANSIENT] = memory.zeros(n_sums, self.dtype)
        if layer.dynamics is None:
            row[at.L_AUTONOMOUS] = int(self.network.autonomous[i])
            return
        kind, channels = layer.dynamics.of, layer.shape[2]
        row[at.L_AUTONOMOUS], row[at.L_NEURON] = 1, compiled.address(layer.dynamics.kind, self.dtype)
        row[at.L_N_STATE] = kind.n_states * n
        row[at.L_STATE] = memory.zeros(row[at.L_N_STATE], self.dtype)
        table: list[int] = []
        for name, values in layer.dynamics.parameters.items():
            values = 2.0 ** (values - 1) if name == "bits" else values  # half the range of the numbers
            one = values.size == 1
            spread = values if one else replace(layer.dynamics, parameters={**layer.dynamics.parameters, name: values}).per_neuron(
                name, n, channels)
            table += [memory.add(spread, self.dtype), int(not one)]
        row[at.L_PARAMETERS] = memory.add(np.array(table, np.int64), np.int64)

    def _sender(self, s: int) -> list[int]:
        n, memory = self.network.size_of(s), self.memory
        source = self.network.input if s == INPUT else self.network.layers[s]
        threshold = source.threshold
        row = [0] * at.SENDER_ROW
        row[at.S_SIGNAL] = at.CHANGES if self.network.signal_of(s) == DELTA else at.VALUES
        row[at.S_SHIFT] = source.payload_shift
        row[at.S_ELEMENTS], row[at.S_REF] = n, memory.zeros(n, self.dtype)
        row[at.S_EVENT], row[at.S_PAYLOAD] = memory.zeros(n, np.int32), memory.zeros(n, self.dtype)
        row[at.S_THRESHOLD] = memory.add(np.array([threshold]), self.dtype)
        return row

    def _input(self) -> tuple[HostProgram | None, bool, list[list[int]]]:
        """Tables of the input. Returns the encoder if it must run on the host, whether bytes need none, and its steps."""
        source, memory, h = self.network.input, self.memory, self.header
        n = source.n_elements
        h[at.N_INPUT], h[at.N_DIMENSIONS], h[at.SHAPE] = n, len(source.shape), memory.add(np.array(source.shape), np.int64)
        n_blocks = 8 * n // at.BLOCK + 1  # of the widest type that inputs come in
        h[at.PREVIOUS] = memory.zeros(8 * n, np.uint8)
        h[at.CHANGED], h[at.MASKS] = memory.zeros(n_blocks, np.int32), memory.zeros(n_blocks, np.int64)
        h[at.INPUT_SCRATCH] = memory.zeros(at.BLOCK, self.dtype)
        h[at.RAW_KIND] = -1
        table = byte_table(source.encoder, source.shape, self.dtype)
        h[at.ENCODER_TABLE] = 0 if table is None else memory.add(table, self.dtype)
        steps = self._encoder_steps(source.encoder, source.shape)
        return (source.encoder if steps is None else None), table is not None, steps or []

    def _encoder_steps(self, encoder: HostProgram, shape: tuple[int, ...]) -> list[list[int]] | None:
        """The encoder as steps of f (parameters per element), or None where it needs the host."""
        n, steps = int(np.prod(shape, dtype=np.int64)), []
        for i, op in enumerate(encoder.ops):
            constants = [np.asarray(o) for o in op.operands[1:] if not isinstance(o, int)]
            if not self._is_step(op, i, constants):
                return None
            if op.op == "Clip":
                constants = [*constants, np.array(np.inf)][:2]
            try:
                spread = [c if np.size(c) == 1 else np.broadcast_to(c, (1, *shape)) for c in constants]
            except ValueError:
                return None
            parameters = [self._parameter(c, 0, n, self.dtype) for c in (*spread, np.zeros(()))][:2]
            kernel = compiled.address(ENCODER_FUNCTIONS[op.op].__name__, self.dtype)
            steps.append([kernel, *parameters[0], *parameters[1], 1])
        return steps

    def _is_step(self, op: HostOp, i: int, constants: list[np.ndarray]) -> bool:
        """Whether the i-th operator of the encoder takes the result of the one before, and constants that the kernels know."""
        integers = self.dtype.kind == "i"
        known = op.op in ENCODER_FUNCTIONS and not op.attributes and not (integers and op.op == "Div")
        chained = isinstance(op.operands[0], int) and op.operands[0] == i and 0 < len(constants) == len(op.operands) - 1
        return known and chained and all(c.dtype.kind == "f" and not (integers and np.any(c != np.rint(c))) for c in constants)

    def _answer(self, layers: list[list[int]]) -> None:
        size = self.dtype.itemsize
        for part in self.network.outputs:
            n = self.network.layers[part.layer].n_neurons
            if part.elements.size and not 0 <= part.elements.min() <= part.elements.max() < n:
                raise SimulationError(f"an output reads beyond the {n:,} neurons of layer {self.network.layers[part.layer].name!r}")
        source = np.concatenate([layers[p.layer][at.L_VALUE] + size * p.elements.reshape(-1) for p in self.network.outputs])
        h, memory = self.header, self.memory
        h[at.N_ANSWER], h[at.ANSWER_BYTES] = source.size, source.size * size
        h[at.ANSWER_SOURCE] = memory.add(source, np.int64)

    def _plan(self, layers: list[list[int]], groups: list[list[int]], senders: list[list[int]], lines: dict[tuple[int, int], list[int]],
              steps: list[list[int]], n_encoder: int) -> np.ndarray:
        h, n_counts = self.header, 1 + len(layers) * at.N_COLUMNS
        h[at.N_LAYERS], h[at.N_SENDERS], h[at.N_LINES] = len(layers), len(senders) - len(lines), len(lines)
        passing = [i for i, row in enumerate(layers) if row[at.L_TRANSIENT]]
        h[at.SCHEDULE], h[at.RULE] = self.schedule, self.rule
        h[at.LAYERS] = at.N_HEADER
        h[at.GROUPS] = h[at.LAYERS] + (len(layers) + len(passing)) * at.LAYER_ROW
        h[at.SENDERS] = h[at.GROUPS] + len(groups) * at.GROUP_ROW
        h[at.LINES] = h[at.SENDERS] + len(senders) * at.SENDER_ROW
        first_step = h[at.LINES] + len(lines) * at.DELAY_ROW
        h[at.COUNTS] = first_step + len(steps) * at.F_ROW
        h[at.TOTALS] = h[at.COUNTS] + n_counts
        h[at.FIRST_TOTALS] = h[at.TOTALS] + n_counts
        h[at.ENCODER], h[at.N_ENCODER] = first_step + (len(steps) - n_encoder) * at.F_ROW, n_encoder
        self._link(layers, groups, list(lines), passing, first_step)
        for j, (source, _) in enumerate(lines):
            row = lines[source, _]
            row[at.D_SENDER] = h[at.SENDERS] + self.network.senders.index(source) * at.SENDER_ROW
            row[at.D_READER] = h[at.SENDERS] + (h[at.N_SENDERS] + j) * at.SENDER_ROW
        doubles = [[*layers[i]] for i in passing]
        for row in doubles:
            row[at.L_ACCUMULATOR] = row[at.L_TRANSIENT]
        rows = [v for table in (layers, doubles, groups, senders, lines.values(), steps) for row in table for v in row]
        return np.array([*(h[i] for i in range(at.N_HEADER)), *rows, *[0] * (3 * n_counts)], np.int64)

    def _link(self, layers: list[list[int]], groups: list[list[int]], lines: list[tuple[int, int]], passing: list[int],
              first_step: int) -> None:
        """Fill in where rows stand that name each other."""
        h, group, step = self.header, 0, first_step
        senders = [(s, 0) for s in self.network.senders] + lines
        sender_row = {key: h[at.SENDERS] + j * at.SENDER_ROW for j, key in enumerate(senders)}
        for i, (row, layer) in enumerate(zip(layers, self.network.layers)):
            row[at.L_COUNTS] = h[at.COUNTS] + 1 + i * at.N_COLUMNS
            row[at.L_SENDER] = sender_row.get((i, 0), 0)
            row[at.L_F], step = step, step + row[at.L_N_F] * at.F_ROW
            row[at.L_GROUP] = h[at.GROUPS] + group * at.GROUP_ROW
            for s in layer.synapses:
                place = len(layers) + passing.index(i) if self._passes(i, s) else i
                groups[group][at.G_LAYER] = h[at.LAYERS] + place * at.LAYER_ROW
                groups[group][at.G_SENDER] = sender_row[s.source, s.delay]
                group += 1
            if layer.is_max_pool:
                row[at.L_POOL_SENDER] = sender_row[layer.synapses[0].source, 0]


def byte_table(encoder: HostProgram, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """The encoder as a table of 256 finite values, or None where there is none: elements are treated differently."""
    if any(not isinstance(o, int) and np.size(o) != 1 for op in encoder.ops for o in op.operands):
        return None
    column: np.ndarray = np.arange(256, dtype=dtype if dtype.kind == "f" else np.float64).reshape(256, *[1] * len(shape))
    with np.errstate(all="ignore"):
        table = encoder(column).reshape(256)
    if not np.isfinite(table).all() or dtype.kind == "i" and np.any(table != np.rint(table)):
        return None
    return table.astype(dtype)


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
