"""Fill the tables of `neurosim.pricing.family.cells` from the event record of a run."""

from __future__ import annotations

import numpy as np

from neurosim.kernels import cells as kernel
from neurosim.pricing.family.cells import Cells, Edges, Table, input_view
from neurosim.synapses import INPUT, Synapses
from neurosim.trace import Trace


def tabulate(cells: Cells, trace: Trace, begin: int, end: int) -> np.ndarray:
    """Count timesteps begin .. end - 1.

    Returns
    -------
    ndarray, int32, (rows, timesteps)
        Every row is the sum over the boxes from the origin to its corner.
    """
    increments = np.zeros((end - begin, cells.n_rows), np.int32)
    (senders, sender_corner), (layers, position_corner, channel_corner) = _senders(cells), _layers(cells)
    groups, cell, tap_start, tap_position, tap, nonzero = _groups(cells)
    stamp = np.full(sum(layer.n_neurons for layer in cells.network.layers), -1, np.int64)
    kernel.tabulate(
        begin, end, trace.schedule == "pipelined", trace.first, trace.event_start, trace.event_element, senders, sender_corner,
        groups, layers, cell, tap_start, tap_position, tap, position_corner, channel_corner, nonzero, stamp, increments)
    rows = np.ascontiguousarray(increments.T)
    for table in cells.tables:
        grid = rows[table.first: table.first + table.n_rows].reshape(*(n + 1 for n in table.shape), end - begin)
        for axis in range(3):
            np.cumsum(grid, axis=axis, out=grid)
    return rows


def _interval(edges: np.ndarray) -> np.ndarray:
    """Interval in which each index lies (int64)."""
    return np.repeat(np.arange(edges.size - 1), np.diff(edges))


def _corners(edges: Edges) -> np.ndarray:
    """Corner beyond the box in which each element of a grid lies (int64, flat)."""
    y, x, c = (_interval(e) + 1 for e in edges)
    return ((y[:, None, None] * edges[1].size + x[:, None]) * edges[2].size + c).ravel()


def _flat(parts: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Arrays one after the other (int64), and where each begins."""
    sizes = [part.size for part in parts]
    whole = np.concatenate(parts) if parts else np.zeros(0)
    return np.ascontiguousarray(whole, np.int64), [sum(sizes[:k]) for k in range(len(sizes))]


def _senders(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    network = cells.network
    of_element = []
    for sender, table in zip(network.senders, cells.sent, strict=True):
        corner = _corners(table.edges)
        view = input_view(network) if sender == INPUT else None
        if isinstance(view, np.ndarray):
            seen = np.empty_like(corner)
            seen[view] = corner
            corner = seen
        of_element.append(corner)
    flat, at = _flat(of_element)
    rows = [(at[j], cells.sent[j].first, cells.received[j].first) for j in range(len(network.senders))]
    return np.array(rows, np.int64), flat


def _layers(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    position, channel, rows, stamp = [], [], [], 0
    for table in cells.updated:
        y, x, c = (_interval(e) + 1 for e in table.edges)
        position.append((y[:, None] * table.edges[1].size + x).ravel())
        channel.append(c)
    (positions, at), (channels, channel_at) = _flat(position), _flat(channel)
    for i, (layer, table) in enumerate(zip(cells.network.layers, cells.updated, strict=True)):
        height, width, n_channels = layer.shape
        rows.append((height * width, n_channels, table.whole, stamp, at[i], channel_at[i], table.first, table.edges[2].size))
        stamp += layer.n_neurons
    return np.array(rows, np.int64), positions, channels


def _groups(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of groups, and flat: grid cell of each element, tap start, tap position, tap, non-zero weights."""
    network = cells.network
    keys = list(cells.visits)
    synapses = [network.layers[i].synapses[g] for i, g in keys]
    taps = [s.taps for s in synapses]
    n_taps = np.cumsum([0, *(position.size for _, position, _ in taps)])
    cell, cell_at = _flat([s.cell_of_source(network.size_of(s.source)) for s in synapses])
    start, start_at = _flat([begin + n_taps[k] for k, (begin, _, _) in enumerate(taps)])
    weights, weight_at = _flat([_nonzero(s, cells.nonzero.get(key)) for s, key in zip(synapses, keys, strict=True)])
    rows = [(network.senders.index(s.source), i, cell_at[k], s.grid[2], s.grid[2] // s.channel_groups, s.channels_out, start_at[k],
             cells.visits[i, g].first, cells.nonzero[i, g].first if (i, g) in cells.nonzero else -1, weight_at[k])
            for k, ((i, g), s) in enumerate(zip(keys, synapses, strict=True))]
    return (np.array(rows, np.int64), cell, start, _flat([position for _, position, _ in taps])[0],
            _flat([tap for _, _, tap in taps])[0], weights)


def _nonzero(s: Synapses, table: Table | None) -> np.ndarray:
    """Non-zero weights per tap, source channel and interval of target channels (int64, flat)."""
    if table is None:
        return np.zeros(0, np.int64)
    is_nonzero = s.tap_weights != 0
    if s.channel_groups > 1:
        return _nonzero_grouped(s, is_nonzero, table)
    return np.add.reduceat(is_nonzero.astype(np.int64), table.edges[2][:-1], axis=2).ravel()


def _nonzero_grouped(s: Synapses, is_nonzero: np.ndarray, table: Table) -> np.ndarray:
    n_taps, n_source, n_out = is_nonzero.shape
    full = np.zeros((n_taps, n_source, s.target_grid[2]), np.int64)
    group = np.arange(n_source) // (n_source // s.channel_groups)
    channel = group[:, None] * n_out + np.arange(n_out)
    full[:, np.arange(n_source)[:, None], channel] = is_nonzero
    return np.add.reduceat(full, table.edges[2][:-1], axis=2).ravel()
