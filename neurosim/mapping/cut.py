"""Cut a network into slices, last layer first, so that the cores that a neuron reaches are known.

Each layer goes to the core type that takes fewest pieces (the smaller type of two), and each slice to a core of its own.
"""

from __future__ import annotations

import numpy as np

from neurosim.chip import Chip, Core
from neurosim.mapping.balance import Activity, profile_of
from neurosim.mapping.geometry import Reach
from neurosim.mapping.partition import Cuts, Demand
from neurosim.network import Network
from neurosim.program import HOST, LayerSlice

Reaches = dict[int, tuple[Reach, ...]]


def reaches_of(network: Network) -> Reaches:
    """Geometry of every group of synapses of every layer."""
    return {i: tuple(Reach(s) for s in layer.synapses) for i, layer in enumerate(network.layers)}


def cut(network: Network, chip: Chip, reaches: Reaches, activity: Activity | None, violations: list[str]) -> tuple[LayerSlice, ...]:
    """Cut all layers.

    Parameters
    ----------
    activity : Activity or None
        Events of a run, which say how much work each neuron is: of cuts with equally many pieces the
        one whose busiest piece has least work is taken.
    violations : list of str, appended to
        What does not fit; the slices of such a layer are missing from the result.
    """
    limited = any(c.axons_out is not None or c.max_destinations is not None for c in chip.core)
    destinations = {sender: np.zeros(network.size_of(sender), np.int64) for sender in network.senders}
    pieces: dict[int, list[LayerSlice]] = {}
    left = [None if c.count is None else c.count * chip.chips for c in chip.core]
    for i in reversed(range(len(network.layers))):
        layer = network.layers[i]
        sent = destinations.get(i, np.zeros(layer.n_neurons, np.int64)).reshape(layer.shape)
        blank = Demand(layer, chip, Core(), sent, reaches[i], None if activity is None else profile_of(activity, chip, i, reaches[i]))
        chosen = _cut_layer(blank, left, violations)
        if chosen is None:
            continue
        pieces[i] = _slices(i, chip.core.index(chosen[0].core), *chosen)
        if limited:
            _note_destinations(pieces[i], reaches[i], chip, destinations)
    slices: list[LayerSlice] = []
    for i in sorted(pieces):
        slices += [LayerSlice(s.layer, len(slices) + k, s.rows, s.columns, s.channels, s.storage, s.core_type)
                   for k, s in enumerate(pieces[i])]
    return tuple(slices)


def _note_destinations(pieces: list[LayerSlice], reaches: tuple[Reach, ...], chip: Chip, destinations: dict[int, np.ndarray]) -> None:
    """Count each piece once as a target core of every source element that reaches it over any group."""
    for s in pieces:
        reached: dict[int, np.ndarray] = {}
        for reach, kind in zip(reaches, s.storage, strict=True):
            sources = reach.sources((s.rows, s.columns, s.channels), reach.drops_zeros(kind, chip.core[s.core_type].axon_source))
            mask = reached.setdefault(reach.synapses.source, np.zeros(destinations[reach.synapses.source].size, bool))
            mask[sources] = True
        for sender, mask in reached.items():
            destinations[sender] += mask


def _cut_layer(blank: Demand, left: list[int | None], violations: list[str]) -> tuple[Demand, Cuts] | None:
    """Cut one layer for the best core type; None (and violations) where none fits."""
    best: tuple[int, int, Demand, Cuts] | None = None
    found: list[str] = []
    for k, core in enumerate(blank.chip.core):
        demand = blank.on(core)
        problems = demand.violations()
        if problems:
            found += problems
            continue
        cuts = demand.best_cuts()
        if cuts is None:
            found.append(demand.too_many_pieces())
            continue
        n = int(np.prod([c.size - 1 for c in cuts]))
        spare = left[k]
        if spare is not None and n > spare:
            found.append(f"layer {blank.layer.name!r}: {n:,} cores > {spare:,} left of core type {k}; raise core.{k}.count")
        elif best is None or (n, core.neurons or 0) < (best[0], best[2].core.neurons or 0):
            best = n, k, demand, cuts
    if best is None:
        violations += dict.fromkeys(found)
        return None
    n, k, demand, cuts = best
    spare = left[k]
    left[k] = None if spare is None else spare - n
    return demand, cuts


def _slices(i: int, core_type: int, demand: Demand, cuts: Cuts) -> list[LayerSlice]:
    kinds = [demand.storage(g, cuts) for g in range(len(demand.reaches))]
    y, x, c = cuts
    return [LayerSlice(i, HOST, (int(y[a]), int(y[a + 1])), (int(x[b]), int(x[b + 1])), (int(c[d]), int(c[d + 1])),
                       tuple(names[best[a, b, d]] for best, _, names in kinds), core_type)
            for a in range(y.size - 1) for b in range(x.size - 1) for d in range(c.size - 1)]
