"""Cells: the activity of a run, added up over boxes, so that many mappings are priced from one pass over the events.

For each sender the events it sent, and for each layer the synapses met and the neurons updated, are
counted per box between the edges at which some mapping of the family cuts, and summed from the
origin to every corner. The count of a slice in every timestep is then a sum of at most eight rows.

Not every mapping can be expressed in boxes. `why_not` names what stands against it; such
mappings are counted event by event (`neurosim.pricing.traffic`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurosim.chip import Chip
from neurosim.network import Network
from neurosim.program import LayerSlice
from neurosim.synapses import INPUT, Synapses
from neurosim.trace import Trace

MOST_SYNAPSES = 2**31 - 1
"""Synapses that one group may meet in a timestep: counts are 32 bits wide."""

Slices = tuple[LayerSlice, ...]
Edges = tuple[np.ndarray, np.ndarray, np.ndarray]


def why_not(network: Network, chip: Chip, slices: Slices) -> str | None:
    """What keeps a mapping of a network on a chip from being counted in boxes, or None."""
    if chip.noc is not None and chip.noc.multicast:
        return "multicast trees are walked event by event"
    if len({s.core for s in slices}) < len(slices):
        return "a core holds several slices"
    if not network.is_memoryless or any(network.autonomous):
        return "neurons with a state, and delays, are counted timestep by timestep"
    for i, layer in enumerate(network.layers):
        sources = [s.source for s in layer.synapses]
        if len(set(sources)) < len(sources):
            return f"layer {layer.name!r} reads one source over several groups of synapses"
        for g, s in enumerate(layer.synapses):
            if _has_gaps(s):
                return f"layer {layer.name!r}: dilated synapses, or a stride beyond the kernel, leave sources between taps"
            if not _is_whole(s, network.size_of(s.source)):
                return f"layer {layer.name!r} reads part of its source, or padding that is an index map"
            if s.kind != "full" and s.grid != _sender_shape(network, s.source):
                return f"layer {layer.name!r} sees its source in another grid than the one in which it stands"
            if s.n_synapses(network.size_of(s.source)) > MOST_SYNAPSES:
                return f"layer {layer.name!r}: more synapses than a count of a timestep holds"
            mine = [x for x in slices if x.layer == i]
            if not all(_are_connected(s, chip.core[x.core_type].axon_source, [x], g) for x in mine):
                return f"layer {layer.name!r}: a source has no non-zero weight into a slice, and so no axon there"
    return None if input_view(network) is not False else "readers of the input see it in different orders"


def _are_connected(s: Synapses, axon_source: str | None, slices: Sequence[LayerSlice], g: int) -> bool:
    """Whether every source of every slice has an axon there, as boxes assume."""
    if not s.weighted or axon_source == "structural":
        return True
    if axon_source == "nonzero" and s.kind != "full":
        return False
    mine = slices if axon_source == "nonzero" else [x for x in slices if s.kind == "full" and x.storage[g] == "sparse"]
    if not mine:
        return True
    is_nonzero = s.tap_weights[0] != 0
    return all(is_nonzero[:, low:high].any(1).all() for low, high in {x.channels for x in mine})


def _has_gaps(s: Synapses) -> bool:
    return any(n > 1 and (k > 1 and d > 1 or stride > k) for n, k, d, stride in
               zip(s.grid[:2], s.kernel, s.dilation, s.stride, strict=True))


def _is_whole(s: Synapses, n_source: int) -> bool:
    """Whether the grid is the whole source: in order, or in any order where position does not matter."""
    if s.view is None:
        return s.n_cells == n_source
    return bool((s.view >= 0).all()) and s.n_cells == n_source and (s.kind == "full" or s.source == INPUT)


def input_view(network: Network) -> np.ndarray | None | Literal[False]:
    """Order in which convolutions and pools see the input; False where they differ."""
    views = [s.view for layer in network.layers for s in layer.synapses if s.source == INPUT and s.kind != "full"]
    if not views:
        return None
    first = views[0]
    same = all(v is None if first is None else v is not None and np.array_equal(v, first) for v in views)
    return views[0] if same else False


@dataclass(frozen=True)
class Table:
    """Rows of one kind of count: corners of boxes between `edges`.

    Parameters
    ----------
    first : int
        First row; the row of corner (y, x, c) is ``first + (y * (n_x + 1) + x) * (n_c + 1) + c``.
    edges : rows, columns, channels
    whole : bool
        All channels count alike: one row of corners serves them, times the channels of the box.
    """

    first: int
    edges: Edges
    whole: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Boxes along each axis."""
        return (self.edges[0].size - 1, self.edges[1].size - 1, 1 if self.whole else self.edges[2].size - 1)

    @property
    def n_rows(self) -> int:
        """Corners."""
        return int(np.prod([n + 1 for n in self.shape]))

    def corners(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows whose sum, each times its value, counts each box.

        Parameters
        ----------
        boxes : ndarray, int64, (n, 3, 2)

        Returns
        -------
        box, row, value : ndarray, int64
        """
        y, x = (np.searchsorted(self.edges[axis], boxes[:, axis]) for axis in (0, 1))
        width = boxes[:, 2, 1] - boxes[:, 2, 0] if self.whole else np.ones(len(boxes), np.int64)
        c = np.tile(np.arange(2), (len(boxes), 1)) if self.whole else np.searchsorted(self.edges[2], boxes[:, 2])
        n_x, n_c = self.shape[1] + 1, self.shape[2] + 1
        row = self.first + (y[:, :, None, None] * n_x + x[:, None, :, None]) * n_c + c[:, None, None, :]
        sign = np.array([-1, 1])
        value = width[:, None, None, None] * (sign[:, None, None] * sign[:, None] * sign)
        holds: np.ndarray = np.all(boxes[:, :, 1] > boxes[:, :, 0], axis=1)
        present = (y[:, :, None, None] > 0) & (x[:, None, :, None] > 0) & (c[:, None, None, :] > 0) & holds[:, None, None, None]
        box = np.broadcast_to(np.arange(len(boxes))[:, None, None, None], row.shape)
        return box[present], row[present], value[present]


@dataclass(frozen=True)
class Cells:
    """Tables of a run over the cuts of a family of mappings.

    Parameters
    ----------
    network : Network
    slices : tuple of LayerSlice
        Slices of all mappings, one after the other.
    start : ndarray, int64, (mappings + 1,)
        Slices of each mapping.
    sent, received : Table per sender
        Events sent, and events received, in each timestep (they differ in pipelined runs).
    visits, nonzero : Table per (layer, group)
        Synapses met, and those with a non-zero weight (only where some slice stores them sparsely).
    updated : Table per layer
    """

    network: Network
    slices: Slices
    start: np.ndarray
    sent: tuple[Table, ...]
    received: tuple[Table, ...]
    visits: dict[tuple[int, int], Table]
    nonzero: dict[tuple[int, int], Table]
    updated: tuple[Table, ...]

    @property
    def tables(self) -> list[Table]:
        """All tables, each once."""
        every = (*self.sent, *self.received, *self.visits.values(), *self.nonzero.values(), *self.updated)
        return list({t.first: t for t in every}.values())

    @property
    def n_rows(self) -> int:
        """Rows of all tables."""
        return sum(t.n_rows for t in self.tables)


def boxes_of(slices: Sequence[LayerSlice]) -> np.ndarray:
    """Boxes of slices (int64, (slices, 3, 2))."""
    return np.array([(s.rows, s.columns, s.channels) for s in slices], np.int64).reshape(-1, 3, 2)


def field(s: Synapses, boxes: np.ndarray) -> np.ndarray:
    """Boxes of the source grid that reach target boxes (int64, (n, 3, 2))."""
    found = np.empty_like(boxes)
    for axis in (0, 1):
        low = boxes[:, axis, 0] * s.stride[axis] - s.pads[axis]
        high = (boxes[:, axis, 1] - 1) * s.stride[axis] - s.pads[axis] + (s.kernel[axis] - 1) * s.dilation[axis] + 1
        found[:, axis] = np.clip(np.stack([low, high], 1), 0, s.grid[axis])
    per_group = s.grid[2] // s.channel_groups
    found[:, 2, 0] = boxes[:, 2, 0] // s.channels_out * per_group
    found[:, 2, 1] = -(-boxes[:, 2, 1] // s.channels_out) * per_group
    return found


def lay_out(trace: Trace, mappings: Sequence[Slices]) -> Cells:
    """Find the edges of all mappings and give every table its rows."""
    network = trace.network
    slices = tuple(s for mapping in mappings for s in mapping)
    boxes, layer_of = boxes_of(slices), np.array([s.layer for s in slices])
    n_rows = 0

    def table(edges: Edges, whole: bool = False) -> Table:
        nonlocal n_rows
        made = Table(n_rows, edges, whole)
        n_rows += made.n_rows
        return made

    cut = [_edges([boxes[layer_of == i]], layer.shape) for i, layer in enumerate(network.layers)]
    sent, received = [], []
    for sender in network.senders:
        readers = [(s, boxes[layer_of == i]) for i, layer in enumerate(network.layers) for s in layer.synapses if s.source == sender]
        shape = _sender_shape(network, sender)
        fields = [field(s, b) for s, b in readers if s.kind != "full"]
        sent.append(table(_edges([*fields, *([boxes[layer_of == sender]] if sender >= 0 else [])], shape)))
        received.append(table(sent[-1].edges) if trace.schedule == "pipelined" and sender >= 0 else sent[-1])
    visits, nonzero, updated = {}, {}, []
    for i, layer in enumerate(network.layers):
        updated.append(table(cut[i], layer.unit == layer.shape[2]))
        for g, s in enumerate(layer.synapses):
            visits[i, g] = table(cut[i], s.channel_groups == 1)
            if any(x.layer == i and x.storage[g] == "sparse" for x in slices):
                nonzero[i, g] = table(cut[i])
    start = np.concatenate([[0], np.cumsum([len(m) for m in mappings])]).astype(np.int64)
    return Cells(network, slices, start, tuple(sent), tuple(received), visits, nonzero, tuple(updated))


def _sender_shape(network: Network, sender: int) -> tuple[int, int, int]:
    """Grid in which a sender's events are counted: the layer's own, or that in which the input is seen."""
    if sender >= 0:
        return network.layers[sender].shape
    grids = [s.grid for layer in network.layers for s in layer.synapses if s.source == INPUT and s.kind != "full"]
    return grids[0] if grids else (1, 1, network.input.n_elements)


def _edges(boxes: Sequence[np.ndarray], shape: tuple[int, int, int]) -> Edges:
    found = [np.unique(np.concatenate([[0, n], *(b[:, axis].ravel() for b in boxes)])).astype(np.int64) for axis, n in enumerate(shape)]
    return found[0], found[1], found[2]
