"""The dense meaning of a Network: every value of every layer for given inputs, in numpy.

This is the conventional forward pass: what loaders check themselves against, what the
zero-skip baseline is counted on, and what `fidelity` compares with. It knows no events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from neurosim.activation import apply
from neurosim.network import Layer, Network
from neurosim.synapses import INPUT, Synapses


def evaluate(network: Network, inputs: np.ndarray, dtype: type = np.float64, resets: np.ndarray | None = None
             ) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Run the network densely.

    Equation: a = f(bias + sum over synapses of weight x source), layer by layer; neurons with a state follow
    `neurosim.neurons.KINDS`, and synapses with a delay of d read the values of d timesteps before (0 before the first).
    Neurons that add up changes themselves (`NeuronKind.clears`) see by how much their sums have changed. Sources with a
    payload shift s count 2^-s of their values.

    Parameters
    ----------
    inputs : ndarray, any real dtype, (timesteps, *input shape)
    dtype : float64 or float32
    resets : ndarray, bool, (timesteps,), optional
        State is cleared before these timesteps; before the first it is clear.

    Returns
    -------
    encoded : ndarray, (timesteps, elements)
        Input after the encoder.
    activations : list of ndarray, (timesteps, neurons)
        Per layer, after f.
    outputs : ndarray, (timesteps, *network.output_shape)
        Before the decoder.
    """
    return Stream(network, dtype).run(inputs, resets)


class Stream:
    """A dense run that can go on: what neurons with a state and delayed synapses remember is kept between calls.

    Parameters
    ----------
    network : Network
    dtype : float64 or float32
    """

    def __init__(self, network: Network, dtype: type = np.float64) -> None:
        self.network, self.dtype = network, dtype
        self._at_once = _memoryless_layers(network)
        self._longest = max((s.delay for layer in network.layers for s in layer.synapses), default=0)
        self.clear()

    def clear(self) -> None:
        """Forget everything: as after a reset."""
        n_states = [layer.dynamics.of.n_states if layer.dynamics else 0 for layer in self.network.layers]
        self._before: list[np.ndarray] = [np.zeros(layer.accumulator_grid, self.dtype) for layer in self.network.layers]
        self._state: list[np.ndarray] = [np.zeros((n, layer.n_neurons), self.dtype) for n, layer in zip(n_states, self.network.layers)]
        self._past: deque[list[np.ndarray]] = deque(maxlen=max(1, self._longest))

    def run(self, inputs: np.ndarray, resets: np.ndarray | None = None) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Further timesteps; arguments and results as those of `evaluate`."""
        network = self.network
        encoded = encode(network, inputs, self.dtype)
        values: list[np.ndarray] = [np.zeros((len(encoded), layer.n_neurons), self.dtype) for layer in network.layers]
        for i in self._at_once:
            layer = network.layers[i]
            sources = [self._sent(s, encoded if s.source == INPUT else values[s.source]) for s in layer.synapses]
            values[i] = _layer(layer, sources, self.dtype)
        if len(self._at_once) < len(network.layers):
            for t in range(len(encoded)):
                if resets is not None and resets[t]:
                    self.clear()
                self._timestep(t, encoded, values)
        outputs = [values[part.layer][:, part.elements.reshape(-1)] for part in network.outputs]
        return encoded, values, np.concatenate(outputs, axis=1).reshape(len(inputs), *network.output_shape)

    @property
    def past(self) -> list[list[np.ndarray]]:
        """Input and values of all layers in the last timesteps since the reset, as many as delays reach back to; oldest first."""
        return list(self._past)

    def _timestep(self, t: int, encoded: np.ndarray, values: list[np.ndarray]) -> None:
        """Fill row t of the layers that remember, or that read such layers."""
        for i, layer in enumerate(self.network.layers):
            if i not in self._at_once:
                sources = [self._sent(s, self._source(s, t, encoded, values)) for s in layer.synapses]
                if layer.dynamics is None:
                    values[i][t] = _layer(layer, sources, self.dtype)[0]
                else:
                    values[i][t] = self._moved(i, _sums(layer, sources, self.dtype)[0])
        if self._longest:
            self._past.append([encoded[t].copy(), *(v[t].copy() for v in values)])

    def _sent(self, s: Synapses, values: np.ndarray) -> np.ndarray:
        """Values of a source in the unit of its payloads."""
        shift = (self.network.input if s.source == INPUT else self.network.layers[s.source]).payload_shift
        return values * self.dtype(2.0**-shift) if shift else values

    def _source(self, s: Synapses, t: int, encoded: np.ndarray, values: list[np.ndarray]) -> np.ndarray:
        if s.delay == 0:
            return encoded[t: t + 1] if s.source == INPUT else values[s.source][t: t + 1]
        if s.delay > len(self._past):
            return np.zeros((1, self.network.size_of(s.source)), self.dtype)
        return self._past[-s.delay][s.source + 1][None]

    def _moved(self, i: int, sums: np.ndarray) -> np.ndarray:
        """Values of neurons with a state after they took their sums (accumulator grid): (neurons,)."""
        layer = self.network.layers[i]
        assert layer.dynamics is not None
        n, channels = layer.n_neurons, layer.shape[2]
        dynamics = layer.dynamics
        if dynamics.of.clears:
            sums, self._before[i] = sums - self._before[i], sums
        parameters: list[np.ndarray] = [dynamics.per_neuron(name, n, channels).astype(self.dtype) for name in dynamics.parameters]
        value, self._state[i] = dynamics.of.advance(sums.reshape(n, layer.ports), self._state[i], *parameters)
        return apply(layer.activation, value.astype(self.dtype).reshape(1, *layer.shape)).reshape(-1)


def _memoryless_layers(network: Network) -> frozenset[int]:
    """Layers whose values follow from the input of the same timestep alone."""
    found: set[int] = set()
    for i, layer in enumerate(network.layers):
        if layer.dynamics is None and all(not s.delay and (s.source == INPUT or s.source in found) for s in layer.synapses):
            found.add(i)
    return frozenset(found)


def encode(network: Network, inputs: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Encoder of the network: (timesteps, *input shape) -> (timesteps, elements) in `dtype`."""
    encoded = network.input.encoder(np.asarray(inputs).astype(dtype))
    return np.ascontiguousarray(encoded, dtype).reshape(len(inputs), -1)


def zero_skip_macs(network: Network, encoded: np.ndarray, activations: list[np.ndarray], resets: np.ndarray | None = None,
                   before: Sequence[list[np.ndarray]] = ()) -> np.ndarray:
    """Non-zero activation x non-zero weight, weighted synapses only: int64 (timesteps, layers).

    Synapses with a delay read the values of so many timesteps before: those of `before` (`Stream.past`), none before a reset.
    Source: NeuroBench's Effective_MACs (Yik et al., Nature Communications 2025).
    """
    counts = np.zeros((len(encoded), len(network.layers)), np.int64)
    age = _age(len(encoded), resets, len(before))
    for i, layer in enumerate(network.layers):
        for s in layer.synapses:
            if s.weighted:
                source = encoded if s.source == INPUT else activations[s.source]
                # float64 products of 0/1 and fan-outs are exact integers below 2^53
                fan_out = s.nonzero_fan_out(source.shape[1]).astype(np.float64)
                met = ((source != 0).astype(np.float64) @ fan_out).astype(np.int64)
                if s.delay:
                    earlier = [int((row[s.source + 1] != 0) @ fan_out) for row in before]
                    met = np.concatenate([np.zeros(s.delay, np.int64), np.array(earlier, np.int64), met])[len(earlier): -s.delay]
                    met = np.where(age >= s.delay, met, 0)
                counts[:, i] += met
    return counts


def _age(n: int, resets: np.ndarray | None, before: int) -> np.ndarray:
    """Timesteps since the last reset, 0 at a reset and `before` in the first row if that is none (int64, (n,))."""
    starts = np.full(n, -before)
    if resets is not None:
        starts = np.where(np.asarray(resets, np.bool_), np.arange(n), -before)
    return np.arange(n) - np.maximum.accumulate(starts)


def chunks(network: Network, n_timesteps: int, limit_bytes: int = 1 << 27) -> Iterator[slice]:
    """Slices of timesteps whose dense float64 values stay under `limit_bytes`."""
    per_timestep = 8 * (network.input.n_elements + sum(layer.n_neurons for layer in network.layers))
    size = max(1, limit_bytes // (3 * per_timestep))
    for start in range(0, n_timesteps, size):
        yield slice(start, min(start + size, n_timesteps))


def _sums(layer: Layer, sources: list[np.ndarray], dtype: type) -> np.ndarray:
    """Accumulators: (timesteps, *accumulator grid)."""
    n = len(sources[0])
    bias: np.ndarray = np.broadcast_to(layer.bias_per_accumulator().astype(dtype), (n, layer.n_accumulators))
    total = bias.reshape(n, *layer.accumulator_grid).copy()
    for synapses, source in zip(layer.synapses, sources):
        accumulate(synapses, source, total)
    return total


def _layer(layer: Layer, sources: list[np.ndarray], dtype: type) -> np.ndarray:
    n = len(sources[0])
    total = max_pool(layer.synapses[0], sources[0]) if layer.is_max_pool else _sums(layer, sources, dtype)
    return apply(layer.activation, total).reshape(n, -1)


def _grid(s: Synapses, source: np.ndarray, fill: float) -> np.ndarray:
    """Source values laid out on the grid, with a border of `fill` that every tap can reach."""
    if s.view is None:
        cells = source
    else:
        cells = np.where(s.view >= 0, source[:, np.maximum(s.view, 0)], source.dtype.type(fill))
    cells = cells.reshape(len(source), *s.grid)
    reach = [(s.target_grid[a] - 1) * s.stride[a] + (s.kernel[a] - 1) * s.dilation[a] + 1 - s.pads[a] for a in (0, 1)]
    border = [(s.pads[a], max(0, reach[a] - s.grid[a])) for a in (0, 1)]
    return np.pad(cells, ((0, 0), *border, (0, 0)), constant_values=fill)


def _windows(s: Synapses, grid: np.ndarray) -> Iterator[np.ndarray]:
    """For each tap, the (timesteps, height, width, channels) values it sees."""
    for k_y in range(s.kernel[0]):
        for k_x in range(s.kernel[1]):
            y, x = k_y * s.dilation[0], k_x * s.dilation[1]
            yield grid[:, y: y + s.stride[0] * (s.target_grid[0] - 1) + 1: s.stride[0],
                       x: x + s.stride[1] * (s.target_grid[1] - 1) + 1: s.stride[1]]


def accumulate(s: Synapses, source: np.ndarray, total: np.ndarray) -> None:
    """Add what `source` (timesteps, elements) contributes over s to `total` (timesteps, *s.target_grid), in place."""
    weights = s.tap_weights.astype(source.dtype)
    groups = s.channel_groups
    for tap, window in enumerate(_windows(s, _grid(s, source, 0.0))):
        if groups == 1:
            total += window @ weights[tap]
        elif s.channels_out == 1 and groups == s.grid[2]:
            total += window * weights[tap][:, 0]
        else:
            split = window.reshape(*window.shape[:3], groups, -1)
            w = weights[tap].reshape(groups, -1, s.channels_out)
            total += np.einsum("nyxgi,gio->nyxgo", split, w).reshape(total.shape)


def max_pool(s: Synapses, source: np.ndarray) -> np.ndarray:
    """Maximum over each window of `source` (timesteps, elements): (timesteps, *s.target_grid)."""
    best = np.full((len(source), *s.target_grid), -np.inf, source.dtype)
    for window in _windows(s, _grid(s, source, -np.inf)):
        np.maximum(best, window, out=best)
    return best
