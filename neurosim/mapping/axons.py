"""The axon table: for every source element the slices it reaches, with its synapses there.

Two sources of a slice belong to the same fan when they reach the same set of cores.
An axon exists where at least one synapse is stored, or as ``core.axon_source`` says; an element
with none sends nothing there (`neurosim.mapping.geometry.Reach.drops_zeros`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurosim.chip import Core
from neurosim.mapping.geometry import Reach
from neurosim.network import Network
from neurosim.program import HOST, LOCAL, MESSAGE, NO_DELIVERY, STORAGE_INDEX, Axons, LayerSlice
from neurosim.synapses import INPUT


def entries(slices: list[LayerSlice] | tuple[LayerSlice, ...], reaches: tuple[Reach, ...], cores: Sequence[Core]
            ) -> list[tuple[int, int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Axons of slices of one layer.

    Parameters
    ----------
    slices : of one layer
    reaches : one per group of synapses of that layer
    cores : sequence of Core
        Types of core: a row of a crossbar has the neurons of its core (of the slice, where these are not published).

    Returns
    -------
    list of (index within `slices`, group, source, n_synapses, n_nonzero, n_visits)
        Sources are elements of the group's source.
    """
    found = []
    for i, s in enumerate(slices):
        for g, reach in enumerate(reaches):
            kind = s.storage[g]
            core = cores[s.core_type]
            source, n_all, n_nonzero = reach.axons((s.rows, s.columns, s.channels), reach.drops_zeros(kind, core.axon_source))
            if kind == "sparse":
                visits = n_nonzero
            elif kind == "crossbar":
                visits = np.full(source.size, core.neurons or s.n_neurons, np.int64)
            else:
                visits = n_all
            found.append((i, g, source, n_all, n_nonzero, visits))
    return found


def build(network: Network, slices: tuple[LayerSlice, ...], reaches: dict[int, tuple[Reach, ...]],
          cores: Sequence[Core]) -> Axons:
    """Build the table of a whole network from its slices."""
    sizes = [network.size_of(sender) for sender in network.senders]
    offset = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows: list[tuple[np.ndarray, ...]] = []
    for layer, layer_reaches in reaches.items():
        mine = [i for i, s in enumerate(slices) if s.layer == layer]
        for i, g, source, n_all, n_nonzero, visits in entries([slices[i] for i in mine], layer_reaches, cores):
            synapses = layer_reaches[g].synapses
            base = offset[network.senders.index(synapses.source)]
            full = np.full(source.size, 1, np.int64)
            rows.append((base + source, full * mine[i], full * g, n_all, n_nonzero, visits,
                         full * STORAGE_INDEX[slices[mine[i]].storage[g]], full * synapses.weighted))
    columns = [np.concatenate(c) for c in zip(*rows, strict=True)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    source, at_slice, group, n_all, n_nonzero, visits, storage, weighted = (c[order] for c in columns)
    start = np.zeros(offset[-1] + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=offset[-1]), out=start[1:])
    core_of_slice = np.array([s.core for s in slices], np.int64)
    sender_slice = _slice_of_source(network, slices, offset)
    delivery, pairs = _deliveries(source, core_of_slice[at_slice], core_of_slice, sender_slice)
    fan_of_source, fan_slice, fan_start, fan_core = _fans(sender_slice, pairs)
    return Axons(
        offset, start, at_slice.astype(np.int32), group.astype(np.int32), n_all.astype(np.int32), n_nonzero.astype(np.int32),
        visits.astype(np.int32), storage.astype(np.int8), weighted.astype(np.int8), delivery,
        fan_of_source, fan_slice, fan_start, fan_core)


def _slice_of_source(network: Network, slices: tuple[LayerSlice, ...], offset: np.ndarray) -> np.ndarray:
    """Slice that each source element stands on; `HOST` for input elements (int64, (sources,))."""
    of_source = np.full(offset[-1], HOST, np.int64)
    for j, sender in enumerate(network.senders):
        if sender == INPUT:
            continue
        for i, s in enumerate(slices):
            if s.layer == sender:
                of_source[offset[j] + s.neurons(network.layers[sender].shape)] = i
    return of_source


def _deliveries(source: np.ndarray, core: np.ndarray, core_of_slice: np.ndarray, sender_slice: np.ndarray
                ) -> tuple[np.ndarray, np.ndarray]:
    """How each axon's event arrives (int8, (axons,)), and the distinct (source, core) pairs (int64, (n, 2))."""
    n_cores = int(core_of_slice.max()) + 1
    pair, first = np.unique(source * n_cores + core, return_index=True)
    at = sender_slice[source]
    own = np.where(at >= 0, core_of_slice[at], HOST)
    delivery = np.full(source.size, NO_DELIVERY, np.int8)
    delivery[first] = np.where(own[first] == core[first], LOCAL, MESSAGE)
    return delivery, np.stack([pair // n_cores, pair % n_cores], 1)


def _fans(sender_slice: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Group sources by (slice, set of cores); sets are told apart by a 64-bit sum of one random number per core."""
    n_sources = sender_slice.size
    n_cores = int(pairs[:, 1].max(initial=0)) + 1
    start = np.zeros(n_sources + 1, np.int64)
    np.cumsum(np.bincount(pairs[:, 0], minlength=n_sources), out=start[1:])
    number = np.random.default_rng(0).integers(1, 2**63, n_cores + int(sender_slice.max(initial=0)) + 2, dtype=np.uint64)
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(number[pairs[:, 1]], dtype=np.uint64)])
    label = running[start[1:]] - running[start[:-1]] + number[n_cores + 1 + sender_slice]
    _, first, fan = np.unique(label, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    first = first[order]
    size = start[first + 1] - start[first]
    fan_start = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    at = np.repeat(start[first] - fan_start[:-1], size) + np.arange(fan_start[-1])
    return rank[fan.ravel()].astype(np.int32), sender_slice[first].astype(np.int32), fan_start, pairs[at, 1].astype(np.int32)
