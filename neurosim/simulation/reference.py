"""The slow, obvious twin of the kernels: numpy, whole arrays, float64, no tables.

Counts come from algebra instead of fan-out tables: the map of events (0 or 1 per source
element) is sent through the network's own connectivity (all ones) and through its weight mask
(1 where the weight is not 0); the sums are the synaptic operations. A neuron is touched where
the former is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from neurosim import dense
from neurosim.activation import apply
from neurosim.counters import KERNEL_COLUMNS
from neurosim.network import Input, Layer, Network
from neurosim.neurons import DELTA, SPIKE
from neurosim.synapses import INPUT, Synapses


@dataclass(frozen=True)
class ReferenceRun:
    """Result of `run_reference`: outputs (timesteps, *output_shape), counts as in `Trace.counts`, events per sender."""

    outputs: np.ndarray
    input_counts: np.ndarray
    counts: np.ndarray
    events: tuple[tuple[np.ndarray, ...], ...]


@dataclass
class Recorded:
    """What `run_reference` sees of each layer and sender, timestep by timestep: sums, values, payloads."""

    sums: dict[int, list[np.ndarray]] = field(default_factory=dict)
    values: dict[int, list[np.ndarray]] = field(default_factory=dict)
    sent: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def note(self, state: _State) -> None:
        """Append a timestep."""
        for i, total in enumerate(state.sums):
            self.sums.setdefault(i, []).append(total.copy())
            self.values.setdefault(i, []).append(state.value[i].copy())
        for s in state.network.senders:
            self.sent.setdefault(s, []).append(state.delta[s].copy())


def run_reference(network: Network, inputs: np.ndarray, *, schedule: str = "fall_through", rule: str = "hold",
                  resets: np.ndarray | None = None, record: Recorded | None = None) -> ReferenceRun:
    """Run a network as delta events, one timestep and one layer at a time.

    Parameters
    ----------
    inputs : ndarray, (timesteps, *network.input.shape)
    schedule, rule, resets : as in `simulate`
    record : Recorded, optional
        Filled with all numbers of the run.

    Returns
    -------
    ReferenceRun
    """
    state = _State(network)
    encoded = dense.encode(network, inputs)
    counts = np.zeros((len(inputs), len(network.layers), len(KERNEL_COLUMNS)), np.int64)
    outputs, input_counts, events = [], [], []
    for t, x in enumerate(encoded):
        if t == 0 or (resets is not None and resets[t]):
            state = _State(network)
        state.send(INPUT, x, network.input, rule)
        order = range(len(network.layers)) if schedule == "fall_through" else range(len(network.layers) - 1, -1, -1)
        for i in order:
            counts[t, i] = state.layer(i, rule)
        if record is not None:
            record.note(state)
        state.end()
        events.append(tuple(np.flatnonzero(state.delta[s]) for s in network.senders))
        input_counts.append(events[-1][0].size)
        outputs.append(np.concatenate([state.value[p.layer][p.elements.reshape(-1)] for p in network.outputs]))
    return ReferenceRun(np.array(outputs).reshape(len(inputs), *network.output_shape), np.array(input_counts), counts, tuple(events))


class _State:
    def __init__(self, network: Network) -> None:
        self.network, self.first = network, True
        self.accumulator = [layer.bias_per_accumulator().copy() for layer in network.layers]
        self.sums = [a.copy() for a in self.accumulator]
        self.passing = [np.zeros(layer.n_accumulators) for layer in network.layers]
        self.memory = [np.zeros((layer.dynamics.of.n_states if layer.dynamics else 0, layer.n_neurons)) for layer in network.layers]
        self.past: list[dict[int, np.ndarray]] = []
        self.value = [np.zeros(layer.n_neurons) for layer in network.layers]
        self.ref = {s: np.zeros(network.size_of(s)) for s in network.senders}
        self.delta = {s: np.zeros(network.size_of(s)) for s in network.senders}

    def end(self) -> None:
        """End a timestep: what was sent is remembered for delayed synapses."""
        self.first = False
        self.past.append({source: delta.copy() for source, delta in self.delta.items()})

    def sent(self, s: Synapses) -> np.ndarray:
        """What a group of synapses reads: what its source has sent, `delay` timesteps ago."""
        if not s.delay:
            return self.delta[s.source]
        return self.past[-s.delay][s.source] if s.delay <= len(self.past) else np.zeros_like(self.delta[s.source])

    def send(self, source: int, value: np.ndarray, sender: Input | Layer, rule: str) -> None:
        """Apply the delta rule to a whole source: sets `delta` (0 where nothing is sent) and `ref`."""
        if self.network.signal_of(source) != DELTA:
            self.delta[source] = value.copy()
            return
        ref, threshold, size = self.ref[source], sender.threshold, 2.0 ** sender.payload_shift
        if rule == "quantised" and threshold > 0:
            value = threshold * np.rint(value / threshold)
        change = value - ref
        if rule == "quantised":
            sends = change != 0
        elif rule == "sigma_delta":
            sends = (np.abs(change) >= threshold) & (change != 0)
        else:
            sends = np.abs(change) > threshold
        self.delta[source] = np.where(sends, np.floor(change / size) if size > 1 else change, 0.0)
        after = ref + self.delta[source] * size if rule == "hold" and size > 1 else value
        self.ref[source] = value.copy() if rule == "naive" else np.where(sends, after, ref)

    def layer(self, i: int, rule: str) -> np.ndarray:
        """Deliver what the layer's sources sent, re-evaluate it, send. Returns its count row."""
        layer = self.network.layers[i]
        touched = np.full(layer.n_neurons, self.first)
        row = np.zeros(len(KERNEL_COLUMNS), np.int64)
        for s in layer.synapses:
            sent = self.sent(s)
            mask = (sent != 0).astype(np.float64)
            met = _through(_structure(s), mask)
            touched |= (met > 0).reshape(layer.n_neurons, -1).any(axis=1)
            row[0] += int(mask[s.fan_out(mask.size) > 0].sum())
            row[1] += int(met.sum())
            if s.weight is not None:
                column = 6 if self.network.signal_of(s.source) == SPIKE else 2
                row[column] += int(_through(replace(s, weight=np.not_equal(s.weight, 0).astype(np.float64)), mask).sum())
            else:
                row[3] += int(met.sum())
            if s.kind != "max_pool":
                passes = self.network.signal_of(s.source) != DELTA or layer.dynamics is not None and layer.dynamics.of.clears
                (self.passing if passes else self.accumulator)[i] += _through(s, sent)
        value = self._evaluate(layer, i)
        counted = touched
        if layer.dynamics is not None or any(self.network.signal_of(s.source) != DELTA for s in layer.synapses):
            at_rest = apply(layer.activation, layer.bias_per_accumulator().reshape(1, *layer.accumulator_grid))
            counted = touched if layer.dynamics is None and not at_rest.any() else np.ones_like(touched)
            touched = np.ones_like(touched)
        if i in self.network.senders:
            before = self.ref[i].copy()
            self.send(i, np.where(touched, value, self.value[i]), layer, rule)
            self.delta[i][~touched] = 0.0
            self.ref[i] = np.where(touched, self.ref[i], before)
            row[5] = int(np.count_nonzero(self.delta[i]))
        self.value[i] = np.where(touched, value, self.value[i])
        row[4] = int(counted.sum())
        return row

    def _evaluate(self, layer: Layer, i: int) -> np.ndarray:
        if layer.is_max_pool:
            s = layer.synapses[0]
            pooled = dense.max_pool(s, self.ref[s.source][None])
            return apply(layer.activation, pooled).reshape(-1)
        total, self.passing[i] = self.accumulator[i] + self.passing[i], np.zeros_like(self.passing[i])
        self.sums[i] = total
        if layer.dynamics is not None:
            parameters = [layer.dynamics.per_neuron(name, layer.n_neurons, layer.shape[2]) for name in layer.dynamics.parameters]
            total, self.memory[i] = layer.dynamics.of.advance(total.reshape(layer.n_neurons, -1), self.memory[i], *parameters)
        return apply(layer.activation, total.reshape(1, *layer.shape)).reshape(-1)


def _structure(s: Synapses) -> Synapses:
    """The same connectivity with every weight 1."""
    if s.weighted:
        ones = np.ones_like(s.weight)
        return replace(s, weight=ones if s.feeds is None else ones * s.feeds[:, None])
    return replace(s, kind="sum_pool", sign=1)


def _through(s: Synapses, values: np.ndarray) -> np.ndarray:
    """Send values (elements,) through a group of synapses: (neurons,)."""
    total = np.zeros((1, *s.target_grid))
    dense.accumulate(s, values[None], total)
    return total.reshape(-1)
