"""The dense meaning of a Network: every value of every layer for given inputs, in numpy.

This is the conventional forward pass: what loaders check themselves against, what the
zero-skip baseline is counted on, and what `fidelity` compares with. It knows no events.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.activation import apply
from neurosim.network import Layer, Network
from neurosim.synapses import INPUT, Synapses


def evaluate(network: Network, inputs: np.ndarray, dtype: type = np.float64) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Run the network densely.

    Equation: a = f(bias + sum over synapses of weight x source), layer by layer.

    Parameters
    ----------
    inputs : ndarray, any real dtype, (timesteps, *input shape)
    dtype : float64 or float32

    Returns
    -------
    encoded : ndarray, (timesteps, elements)
        Input after the encoder.
    activations : list of ndarray, (timesteps, neurons)
        Per layer, after f.
    outputs : ndarray, (timesteps, *network.output_shape)
        Before the decoder.
    """
    encoded = encode(network, inputs, dtype)
    values: list[np.ndarray] = []
    for layer in network.layers:
        sources = [encoded if s.source == INPUT else values[s.source] for s in layer.synapses]
        values.append(_layer(layer, sources, dtype))
    outputs = [values[part.layer][:, part.elements.reshape(-1)] for part in network.outputs]
    return encoded, values, np.concatenate(outputs, axis=1).reshape(len(inputs), *network.output_shape)


def encode(network: Network, inputs: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Encoder of the network: (timesteps, *input shape) -> (timesteps, elements) in `dtype`."""
    encoded = network.input.encoder(np.asarray(inputs).astype(dtype))
    return np.ascontiguousarray(encoded, dtype).reshape(len(inputs), -1)


def zero_skip_macs(network: Network, encoded: np.ndarray, activations: list[np.ndarray]) -> np.ndarray:
    """Non-zero activation x non-zero weight, weighted synapses only: int64 (timesteps, layers).

    Source: NeuroBench's Effective_MACs (Yik et al., Nature Communications 2025).
    """
    counts = np.zeros((len(encoded), len(network.layers)), np.int64)
    for i, layer in enumerate(network.layers):
        for s in layer.synapses:
            if s.weighted:
                source = encoded if s.source == INPUT else activations[s.source]
                # float64 products of 0/1 and fan-outs are exact integers below 2^53
                fan_out = s.nonzero_fan_out(source.shape[1]).astype(np.float64)
                counts[:, i] += ((source != 0).astype(np.float64) @ fan_out).astype(np.int64)
    return counts


def chunks(network: Network, n_timesteps: int, limit_bytes: int = 1 << 27) -> Iterator[slice]:
    """Slices of timesteps whose dense float64 values stay under `limit_bytes`."""
    per_timestep = 8 * (network.input.n_elements + sum(layer.n_neurons for layer in network.layers))
    size = max(1, limit_bytes // (3 * per_timestep))
    for start in range(0, n_timesteps, size):
        yield slice(start, min(start + size, n_timesteps))


def _layer(layer: Layer, sources: list[np.ndarray], dtype: type) -> np.ndarray:
    n = len(sources[0])
    if layer.is_max_pool:
        total = max_pool(layer.synapses[0], sources[0])
    else:
        total = np.broadcast_to(layer.bias_per_neuron().astype(dtype), (n, layer.n_neurons)).reshape(n, *layer.shape).copy()
        for synapses, source in zip(layer.synapses, sources):
            accumulate(synapses, source, total)
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
