"""Terms: the counts of every slice of a family of mappings as sums of table rows (`neurosim.pricing.family.cells`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.kernels import traffic as columns
from neurosim.pricing.family.cells import Cells, boxes_of, field
from neurosim.program import HOST, STORAGE_INDEX


@dataclass(frozen=True)
class Terms:
    """Counts of slices as sums of table rows: count (slice, column) = sum of value x row over its terms.

    Parameters
    ----------
    slice, column, row, value : ndarray, int64
        Sorted by slice, then column; columns are those of `kernels/traffic.py`.
    pair_source, pair_target : ndarray, int64, (pairs,)
        Slices (`HOST` is the input port) between which messages pass.
    pair_start, pair_row, pair_value : ndarray, int64
        Messages of each pair as a sum of rows.
    pairs_of_mapping : ndarray, int64, (mappings + 1,)
        Pairs of each mapping.
    """

    slice: np.ndarray
    column: np.ndarray
    row: np.ndarray
    value: np.ndarray
    pair_source: np.ndarray
    pair_target: np.ndarray
    pair_start: np.ndarray
    pair_row: np.ndarray
    pair_value: np.ndarray
    pairs_of_mapping: np.ndarray


def encode(cells: Cells, row_neurons: np.ndarray) -> Terms:
    """Express every slice of every mapping.

    Parameters
    ----------
    row_neurons : ndarray, int64, (slices,)
        Synapses of a whole row in crossbar storage.
    """
    boxes, layer_of = boxes_of(cells.slices), np.array([s.layer for s in cells.slices], np.int64)
    found: list[tuple[np.ndarray, ...]] = []
    pairs: list[tuple[np.ndarray, ...]] = []

    def add(mine: np.ndarray, column: int, part: tuple[np.ndarray, np.ndarray, np.ndarray], times: np.ndarray | int = 1) -> None:
        box, row, value = part
        factor = times[mine][box] if isinstance(times, np.ndarray) else times
        found.append((mine[box], np.full(box.size, column), row, value * factor))

    network = cells.network
    for j, sender in enumerate(network.senders):
        mine = np.flatnonzero(layer_of == sender)
        if mine.size:
            add(mine, columns.EVENTS_OUT, cells.sent[j].corners(boxes[mine]))
    for i, layer in enumerate(network.layers):
        mine = np.flatnonzero(layer_of == i)
        add(mine, columns.UPDATES, cells.updated[i].corners(boxes[mine]))
        for g, s in enumerate(layer.synapses):
            j = network.senders.index(s.source)
            fields = _whole(cells.sent[j].edges, mine.size) if s.kind == "full" else field(s, boxes[mine])
            arrivals = cells.received[j].corners(fields)
            add(mine, columns.MESSAGES_IN, arrivals)
            storage = np.array([STORAGE_INDEX[x.storage[g]] for x in cells.slices if x.layer == i])
            for kind in np.unique(storage):
                of_kind = mine[storage == kind]
                if kind == STORAGE_INDEX["crossbar"]:
                    keep = (storage == kind)[arrivals[0]]
                    box = (np.cumsum(storage == kind) - 1)[arrivals[0][keep]]
                    part = box, arrivals[1][keep], arrivals[2][keep]
                    times: np.ndarray | int = row_neurons
                else:
                    table = cells.nonzero if kind == STORAGE_INDEX["sparse"] else cells.visits
                    part, times = table[i, g].corners(boxes[of_kind]), 1
                for column in (columns.VISITS + int(kind), *((columns.WEIGHT_READS,) if s.weighted else ())):
                    add(of_kind, column, part, times)
            pairs += _pairs(cells, boxes, layer_of, mine, fields, j, s.source)
    return _terms(cells, found, pairs)


def _whole(edges: tuple[np.ndarray, ...], n: int) -> np.ndarray:
    """`n` boxes of the whole grid."""
    return np.broadcast_to(np.array([(0, e[-1]) for e in edges], np.int64), (n, 3, 2))


def _pairs(cells: Cells, boxes: np.ndarray, layer_of: np.ndarray, mine: np.ndarray, fields: np.ndarray, j: int, source: int
           ) -> list[tuple[np.ndarray, ...]]:
    """(source slice, target slice, box, row, value): messages between slices of one mapping, by the part of the field that each sends."""
    if source < 0:
        target = np.flatnonzero((fields[:, :, 1] > fields[:, :, 0]).all(1))  # a slice may read padding alone
        sender, box = np.full(target.size, HOST), fields[target]
    else:
        mapping = np.searchsorted(cells.start, mine, side="right") - 1
        senders = np.flatnonzero(layer_of == source)
        of_sender = np.searchsorted(cells.start, senders, side="right") - 1
        first, last = np.searchsorted(of_sender, mapping), np.searchsorted(of_sender, mapping, side="right")
        n = last - first
        target = np.repeat(np.arange(mine.size), n)
        sender = senders[np.repeat(first, n) + np.arange(n.sum()) - np.repeat(n.cumsum() - n, n)]
        low = np.maximum(boxes[sender][:, :, 0], fields[target][:, :, 0])
        high = np.minimum(boxes[sender][:, :, 1], fields[target][:, :, 1])
        meets = (high > low).all(1)
        sender, target, box = sender[meets], target[meets], np.stack([low, high], 2)[meets]
    at, row, value = cells.sent[j].corners(np.asarray(box))
    return [(sender, mine[target], at, row, value)]


def _terms(cells: Cells, found: list[tuple[np.ndarray, ...]], pairs: list[tuple[np.ndarray, ...]]) -> Terms:
    """Put all terms in order; what a slice sends is the sum over its pairs."""
    n = np.cumsum([0, *(p[0].size for p in pairs)])
    source, target = (np.concatenate([p[k] for p in pairs]) for k in (0, 1))
    at, row, value = np.concatenate([p[2] + n[k] for k, p in enumerate(pairs)]), *(np.concatenate([p[k] for p in pairs]) for k in (3, 4))
    mapping = np.searchsorted(cells.start, target, side="right") - 1
    by_mapping = np.argsort(mapping, kind="stable")
    rank = np.empty_like(by_mapping)
    rank[by_mapping] = np.arange(by_mapping.size)
    order = np.argsort(rank[at], kind="stable")
    pair_start = np.concatenate([[0], np.cumsum(np.bincount(rank[at], minlength=source.size))]).astype(np.int64)
    sends = source[at] != HOST
    found.append((source[at][sends], np.full(sends.sum(), columns.MESSAGES_OUT), row[sends], value[sends]))
    slice_, column, rows, values = (np.concatenate([f[k] for f in found]).astype(np.int64) for k in range(4))
    key = (slice_ * columns.N_COLUMNS + column) * cells.n_rows + rows
    key, back = np.unique(key, return_inverse=True)
    summed = np.bincount(back.ravel(), values, key.size).astype(np.int64)
    key, summed = key[summed != 0], summed[summed != 0]
    return Terms(key // cells.n_rows // columns.N_COLUMNS, key // cells.n_rows % columns.N_COLUMNS, key % cells.n_rows, summed,
                 source[by_mapping], target[by_mapping], pair_start, row[order], value[order],
                 np.searchsorted(mapping[by_mapping], np.arange(cells.start.size)))
