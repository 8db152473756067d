"""Lower a Network to the flat tables of the kernels. The layout is explained in kernels/layout.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.activation import Elementwise
from neurosim.errors import SimulationError
from neurosim.host import HostProgram
from neurosim.kernels import compiled
from neurosim.kernels import layout as at
from neurosim.kernels.functions import ENCODER_FUNCTIONS
from neurosim.network import Layer, Network
from neurosim.simulation.lower_synapses import Storage, lower_group
from neurosim.simulation.memory import Memory
from neurosim.synapses import INPUT, Synapses

SCHEDULES = {"fall_through": at.FALL_THROUGH, "pipelined": at.PIPELINED}
RULES = {"hold": at.HOLD, "sigma_delta": at.SIGMA_DELTA, "quantised": at.QUANTISED, "naive": at.NAIVE}
NUMERICS = {"float32": np.float32, "float64": np.float64}


_SCRATCH_BLOCK = 4096
"""Neurons that are evaluated at a time."""


@dataclass
class Tables:
    """One lowered network. The kernels change its tables in place; one owner, one state.

    Parameters
    ----------
    plan : int64
        Names the tables of `memory` by address.
    storage : tuple
        Of each layer: how the weights of its groups lie in memory.
    host_encoder : HostProgram or None
        The encoder, where the kernels cannot run it: inputs then come encoded.
    takes_bytes : bool
        Whether bytes need no encoding even so (the encoder is a table).
    """

    plan: np.ndarray
    memory: Memory
    storage: tuple[tuple[Storage, ...], ...]
    host_encoder: HostProgram | None
    takes_bytes: bool

    def prepare(self, dtype: np.dtype, real: np.dtype) -> bool:
        """Make the kernel that reads inputs of this type ready; False where there is none."""
        if dtype.name not in at.RAW_TYPES:
            return False
        slot = at.ENCODE + at.RAW_TYPES.index(dtype.name)
        if self.plan[slot] == 0:
            self.plan[slot] = compiled.address("encode", real, dtype)
        return True


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
        self.dtype = np.dtype(dtype)
        self.memory = Memory()
        self.header = dict.fromkeys(range(at.N_HEADER), 0)

    def tables(self) -> Tables:
        network, h = self.network, self.header
        groups, layers, steps, storage = [], [], [], []
        for i, layer in enumerate(network.layers):
            lowered = [lower_group(s, network.size_of(s.source), layer.n_neurons // layer.unit, len(layer.synapses) == 1,
                                   self.memory, self.dtype) for s in layer.synapses]
            groups += [group.row for group in lowered]
            storage.append(tuple(group.storage for group in lowered))
            layer_row, layer_steps = self._layer(i, layer, lowered[0].scale)
            layers.append(layer_row)
            steps += layer_steps
        senders = [self._sender(s) for s in network.senders]
        host_encoder, takes_bytes, encoder = self._input()
        self._answer(layers)
        h[at.MAX_EVENTS] = sum(row[at.S_ELEMENTS] for row in senders)
        for slot, name in ((at.ADVANCE, "advance"), (at.RESET, "reset")):
            h[slot] = compiled.address(name, self.dtype)
        plan = self._plan(layers, groups, senders, steps + encoder, len(encoder))
        return Tables(plan, self.memory, tuple(storage), host_encoder, takes_bytes)

    def _f(self, step: Elementwise, channels: int, n_neurons: int) -> list[int]:
        parameters = [*step.parameters, *[np.zeros(())] * (2 - len(step.parameters))]
        return [compiled.address(step.op, self.dtype), *self._parameter(parameters[0], channels, n_neurons),
                *self._parameter(parameters[1], channels, n_neurons), channels]

    def _parameter(self, values: np.ndarray, channels: int, n_neurons: int) -> tuple[int, int]:
        """(address, kind) of a parameter of f."""
        values = np.asarray(values).reshape(-1)
        kind = at.SCALAR if values.size == 1 else at.PER_CHANNEL if values.size == channels else at.PER_NEURON
        if kind == at.PER_NEURON and values.size != n_neurons:
            raise ValueError(f"a parameter of {values.size} values for {n_neurons} neurons in {channels} channels")
        return self.memory.add(values, self.dtype), kind

    def _layer(self, i: int, layer: Layer, scale: np.ndarray | None) -> tuple[list[int], list[list[int]]]:
        """The row of a layer and the steps of its f. Sums that lack a scale (one per channel) get it, and the bias, as a first step."""
        network, memory, n = self.network, self.memory, layer.n_neurons
        row = [0] * at.LAYER_ROW
        row[at.L_NEURONS], row[at.L_UNIT], row[at.L_N_UNITS] = n, layer.unit, n // layer.unit
        row[at.L_MARK] = memory.zeros(n // layer.unit, np.uint8)
        bias = layer.bias_per_neuron()
        f = layer.activation
        if scale is not None:
            f = (Elementwise("affine", (scale, layer.bias if layer.bias.ndim else np.full(scale.size, float(layer.bias)))), *f)
            bias = np.zeros_like(bias)
        row[at.L_INITIAL] = memory.add(bias, self.dtype)
        row[at.L_ACCUMULATOR] = memory.zeros(n, self.dtype)
        row[at.L_AT_A_TIME] = min(n, _SCRATCH_BLOCK)
        row[at.L_UPDATE] = compiled.address("update", self.dtype)
        is_output = i in network.output_layers
        row[at.L_VALUE] = memory.zeros(n, self.dtype) if is_output else 0
        row[at.L_N_GROUPS], row[at.L_N_F] = len(layer.synapses), len(f)
        floor = -np.inf if self.dtype.kind == "f" else -(2.0 ** (8 * self.dtype.itemsize - 1))
        if f and f[-1].op == "relu" and self.rule == at.HOLD and not is_output:
            row[at.L_N_F], floor = row[at.L_N_F] - 1, 0  # the comparison with what was sent rectifies on the way
        row[at.L_FLOOR] = memory.add(np.array([floor]), self.dtype)
        if layer.is_max_pool:
            start, element = _pool_windows(layer.synapses[0], layer.name)
            row[at.L_POOL_START], row[at.L_POOL_ELEMENT] = memory.add(start, np.int32), memory.add(element, np.int32)
        if layer.is_max_pool or row[at.L_N_F]:
            row[at.L_SCRATCH] = memory.zeros(row[at.L_AT_A_TIME], self.dtype)
        return row, [self._f(step, layer.shape[2], n) for step in f[: row[at.L_N_F]]]

    def _sender(self, s: int) -> list[int]:
        n, memory = self.network.size_of(s), self.memory
        threshold = self.network.input.threshold if s == INPUT else self.network.layers[s].threshold
        row = [0] * at.SENDER_ROW
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
            constants = [o for o in op.operands[1:] if not isinstance(o, int)]
            if (op.op not in ENCODER_FUNCTIONS or op.attributes or not isinstance(op.operands[0], int) or op.operands[0] != i
                    or any(np.asarray(c).dtype.kind != "f" for c in constants) or len(constants) != len(op.operands) - 1 or not constants):
                return None
            if op.op == "Clip":
                constants = [*constants, np.array(np.inf)][:2]
            try:
                spread = [c if np.size(c) == 1 else np.broadcast_to(c, (1, *shape)) for c in constants]
            except ValueError:
                return None
            parameters = [self._parameter(c, 0, n) for c in (*spread, np.zeros(()))][:2]
            kernel = compiled.address(ENCODER_FUNCTIONS[op.op].__name__, self.dtype)
            steps.append([kernel, *parameters[0], *parameters[1], 1])
        return steps

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

    def _plan(self, layers: list[list[int]], groups: list[list[int]], senders: list[list[int]], steps: list[list[int]],
              n_encoder: int) -> np.ndarray:
        h, n_counts = self.header, 1 + len(layers) * at.N_COLUMNS
        h[at.N_LAYERS], h[at.N_SENDERS] = len(layers), len(senders)
        h[at.SCHEDULE], h[at.RULE] = self.schedule, self.rule
        h[at.LAYERS] = at.N_HEADER
        h[at.GROUPS] = h[at.LAYERS] + len(layers) * at.LAYER_ROW
        h[at.SENDERS] = h[at.GROUPS] + len(groups) * at.GROUP_ROW
        first_step = h[at.SENDERS] + len(senders) * at.SENDER_ROW
        h[at.COUNTS] = first_step + len(steps) * at.F_ROW
        h[at.TOTALS] = h[at.COUNTS] + n_counts
        h[at.FIRST_TOTALS] = h[at.TOTALS] + n_counts
        h[at.ENCODER], h[at.N_ENCODER] = first_step + (len(steps) - n_encoder) * at.F_ROW, n_encoder
        self._link(layers, groups, first_step)
        rows = [v for table in (layers, groups, senders, steps) for row in table for v in row]
        return np.array([*(h[i] for i in range(at.N_HEADER)), *rows, *[0] * (3 * n_counts)], np.int64)

    def _link(self, layers: list[list[int]], groups: list[list[int]], first_step: int) -> None:
        """Fill in where rows stand that name each other."""
        h, group, step = self.header, 0, first_step
        sender_row = {s: h[at.SENDERS] + j * at.SENDER_ROW for j, s in enumerate(self.network.senders)}
        for i, (row, layer) in enumerate(zip(layers, self.network.layers)):
            row[at.L_COUNTS] = h[at.COUNTS] + 1 + i * at.N_COLUMNS
            row[at.L_SENDER] = sender_row.get(i, 0)
            row[at.L_F], step = step, step + row[at.L_N_F] * at.F_ROW
            row[at.L_GROUP] = h[at.GROUPS] + group * at.GROUP_ROW
            for s in layer.synapses:
                groups[group][at.G_LAYER] = h[at.LAYERS] + i * at.LAYER_ROW
                groups[group][at.G_SENDER] = sender_row[s.source]
                group += 1
            if layer.is_max_pool:
                row[at.L_POOL_SENDER] = sender_row[layer.synapses[0].source]


def byte_table(encoder: HostProgram, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """The encoder as a table of 256 finite values, or None where there is none: elements are treated differently."""
    if any(not isinstance(o, int) and np.size(o) != 1 for op in encoder.ops for o in op.operands):
        return None
    column: np.ndarray = np.arange(256, dtype=dtype).reshape(256, *[1] * len(shape))
    with np.errstate(all="ignore"):
        table = encoder(column).astype(dtype).reshape(256)
    return table if np.isfinite(table).all() else None


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
