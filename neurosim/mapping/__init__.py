"""Mapping: partition, place and route a network on a chip, and check the result.

Network, Chip -> Program. Counts do not depend on it; messages, hops, load and time do.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from neurosim.chip import Chip, Core
from neurosim.errors import DoesNotFit, MappingError
from neurosim.mapping import axons as axon_table
from neurosim.mapping import place, route
from neurosim.mapping.check import check
from neurosim.mapping.geometry import Reach
from neurosim.mapping.partition import Cuts, Demand
from neurosim.mapping.usage import usage_of
from neurosim.network import Network
from neurosim.program import HOST, Axons, LayerSlice, Program
from neurosim.trace import Trace

__all__ = ["check", "compile"]

Placement = str | Mapping[Any, tuple[int, int]]
Partitions = MutableMapping[Any, tuple[tuple[LayerSlice, ...], Axons]]


def compile(network: Network, chip: Chip | str, trace: Trace | None = None, placement: Placement = "row_major", *,
            hypothetical: bool = False, verify: bool = True, partitions: Partitions | None = None) -> Program:
    """Lay a network out on a chip.

    Parameters
    ----------
    network : Network
    chip : Chip or str
        A chip, its name or its file.
    trace : Trace or None
        Gives the traffic for ``greedy`` placement; else every source element counts once.
    placement : str or mapping
        ``row_major``, ``snake``, ``greedy``, or tiles by hand: layer name or (layer name, number
        of the slice) -> (x, y); ``input`` may name the tile of the input port.
    hypothetical : bool
        Accept graded events (and static neurons) on a chip described for spikes only.
    verify : bool
        Run the independent checker.
    partitions : mapping or None
        Filled and read: partitions of earlier calls, reused where network and cores agree.

    Returns
    -------
    Program

    Raises
    ------
    DoesNotFit
        With all violations: layer, resource, demand, limit and what would help.
    MappingError
        For an unknown or impossible placement.
    """
    chip = Chip.load(chip) if isinstance(chip, str) else chip
    if not isinstance(placement, Mapping) and placement not in place.STRATEGIES:
        raise MappingError(f"unknown placement {placement!r}; one of {', '.join(place.STRATEGIES)}, or tiles by hand")
    if chip.kind != "event":
        return Program(chip, network.name, network.sha256, tuple(layer.name for layer in network.layers),
                       notes=(f"{chip.kind} machine: no mapping, one machine",))
    violations, assumed = _signals(network, chip, hypothetical), bool(_signals(network, chip, False))
    key = (network.sha256, *(c.model_dump_json(exclude={"clock", "lanes"}) for c in chip.core), chip.arithmetic,
           chip.chips, bool(chip.noc and chip.noc.multicast))
    if partitions is not None and key in partitions:
        slices, table = partitions[key]
    else:
        slices, table = _partition(network, chip, violations)
        if partitions is not None and not violations:
            partitions[key] = slices, table
    if chip.n_cores is not None and len(slices) > chip.n_cores:
        violations.append(f"network {network.name!r}: {len(slices):,} cores > {chip.n_cores:,} on {chip.chips} "
                          f"chip{'s' * (chip.chips > 1)}; raise chips, noc.width x noc.height, or core.neurons and its memories")
    if violations:
        raise DoesNotFit(f"{network.name} does not fit {chip.name}:\n" + "\n".join(f"  {v}" for v in violations))
    return _laid_out(network, chip, slices, table, trace, placement, assumed, verify)


def _signals(network: Network, chip: Chip, hypothetical: bool) -> list[str]:
    if hypothetical:
        return []
    found = []
    if "graded" not in chip.signals:
        found.append(f"network {network.name!r}: graded events > {', '.join(chip.signals) or 'no'} signals on {chip.name}; "
                     "take a chip with graded signals, or say hypothetical")
    unknown = sorted({layer.neuron for layer in network.layers} - set(chip.supports.neurons))
    if unknown and chip.supports.neurons:
        found.append(f"network {network.name!r}: neurons {', '.join(unknown)} are not among "
                     f"{', '.join(chip.supports.neurons)} of {chip.name}; take another chip, or say hypothetical")
    return found


def _partition(network: Network, chip: Chip, violations: list[str]) -> tuple[tuple[LayerSlice, ...], Axons]:
    """Cut all layers, last first; append what does not fit to `violations`."""
    destinations = {sender: np.zeros(network.size_of(sender), np.int64) for sender in network.senders}
    pieces: dict[int, list[LayerSlice]] = {}
    reaches = {i: tuple(Reach(s) for s in layer.synapses) for i, layer in enumerate(network.layers)}
    left = [None if c.count is None else c.count * chip.chips for c in chip.core]
    row_neurons = chip.core[0].neurons
    for i in reversed(range(len(network.layers))):
        layer = network.layers[i]
        sent = destinations.get(i, np.zeros(layer.n_neurons, np.int64)).reshape(layer.shape)
        chosen = _cut(Demand(layer, chip, Core(), sent, reaches[i]), chip, left, violations)
        if chosen is None:
            continue
        demand, cuts = chosen
        pieces[i] = _slices(i, demand, cuts)
        reached: dict[tuple[int, int], list[np.ndarray]] = {}
        for at, g, source, *_ in axon_table.entries(pieces[i], reaches[i], row_neurons):
            reached.setdefault((layer.synapses[g].source, at), []).append(source)
        for (sender, _), sources in reached.items():
            # one group reads a source once; several groups may share it, and its core is counted once
            once = sources[0] if len(sources) == 1 else np.unique(np.concatenate(sources))
            np.add.at(destinations[sender], once, 1)
    slices: list[LayerSlice] = []
    for i in sorted(pieces):
        slices += [LayerSlice(s.layer, len(slices) + k, s.rows, s.columns, s.channels, s.storage)
                   for k, s in enumerate(pieces[i])]
    if len(pieces) < len(network.layers):
        return tuple(slices), Program(chip, "", "", ()).axons
    return tuple(slices), axon_table.build(network, tuple(slices), reaches, row_neurons)


def _cut(blank: Demand, chip: Chip, left: list[int | None], violations: list[str]) -> tuple[Demand, Cuts] | None:
    """Cut one layer for the core type that takes fewest pieces (the smaller of two); None (and violations) where none fits."""
    best: tuple[int, int, Demand, Cuts] | None = None
    found: list[str] = []
    for k, core in enumerate(chip.core):
        demand = Demand(blank.layer, chip, core, blank.destinations, blank.reaches)
        problems = demand.violations()
        if problems:
            found += problems
            continue
        cuts = demand.best_cuts()
        if cuts is None:
            found.append(f"layer {blank.layer.name!r}: more than {min(4096, blank.layer.n_neurons):,} cores; "
                         "raise core.neurons or the memories of the core")
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


def _slices(i: int, demand: Demand, cuts: Cuts) -> list[LayerSlice]:
    kinds = [demand.storage(g, cuts) for g in range(len(demand.reaches))]
    y, x, c = cuts
    return [LayerSlice(i, HOST, (int(y[a]), int(y[a + 1])), (int(x[b]), int(x[b + 1])), (int(c[d]), int(c[d + 1])),
                       tuple(names[best[a, b, d]] for best, _, names in kinds))
            for a in range(y.size - 1) for b in range(x.size - 1) for d in range(c.size - 1)]


def _laid_out(network: Network, chip: Chip, slices: tuple[LayerSlice, ...], table: Axons, trace: Trace | None,
              placement: Placement, assumed: bool, verify: bool) -> Program:
    n_cores, noc = 1 + max(s.core for s in slices), chip.noc
    mesh, notes = _mesh(chip, n_cores)
    seats = np.full(mesh, noc.cores_per_tile if noc else 1, np.int64)
    port = noc.input_port if noc and noc.input_port else (0, 0)
    if noc and noc.input_port is None:
        notes.append("input port not published; tile (0, 0) assumed")
    if isinstance(placement, Mapping):
        x, y = placement.get("input", port)
        port = (int(x), int(y))
        tiles = place.by_hand(placement, _names(network, slices), seats)
    else:
        traffic = _traffic(network, table, slices, n_cores, trace if placement == "greedy" else None)
        tiles = place.STRATEGIES[placement](seats, traffic, port)
    if not (port[0] < mesh[0] and port[1] < mesh[1]):
        raise MappingError(f"input port {port} lies outside the mesh of {mesh[0]} x {mesh[1]} tiles")
    multicast = bool(noc and noc.multicast)
    core_of_slice = np.array([s.core for s in slices], np.int64)
    routes = route.routes(table, core_of_slice, tiles, port, mesh, chip.chips, multicast)
    usage, more = usage_of(network, chip, slices, table, multicast)
    if noc and noc.multicast is None:
        notes.append("multicast not published; unicast assumed")
    if assumed:
        notes.append(f"hypothetical: {chip.name} is described for {', '.join(chip.signals)} signals and "
                     f"{', '.join(chip.supports.neurons)} neurons only; graded events are assumed to cost the same")
    tiles.setflags(write=False)
    program = Program(chip, network.name, network.sha256, tuple(layer.name for layer in network.layers), slices, tiles,
                      port, mesh, table, routes, usage, assumed, (*notes, *more))
    if verify:
        check(program, network)
    return program


def _mesh(chip: Chip, n_cores: int) -> tuple[tuple[int, int], list[str]]:
    """Tiles in x (over all chips) and y; the smallest near-square mesh where none is published."""
    noc = chip.noc
    if noc is None:
        return (chip.chips, 1), []
    if noc.width is not None and noc.height is not None:
        return (noc.width * chip.chips, noc.height), []
    tiles = -(-n_cores // (noc.cores_per_tile * chip.chips))
    width = int(np.ceil(np.sqrt(tiles)))
    height = -(-tiles // width)
    return (width * chip.chips, height), [f"mesh not published; {width} x {height} tiles per chip assumed"]


def _names(network: Network, slices: tuple[LayerSlice, ...]) -> list[tuple[str, int]]:
    seen: dict[int, int] = {}
    names = []
    for s in slices:
        names.append((network.layers[s.layer].name, seen.get(s.layer, 0)))
        seen[s.layer] = seen.get(s.layer, 0) + 1
    return names


def _traffic(network: Network, table: Axons, slices: tuple[LayerSlice, ...], n_cores: int, trace: Trace | None) -> np.ndarray:
    """Events between cores (float64, (cores + 1, cores + 1)); the last row is the input port."""
    n_events = np.ones(table.fan_of_source.size)
    if trace is not None:
        sender = np.repeat(np.tile(np.arange(len(network.senders)), trace.n_recorded), np.diff(trace.event_start))
        n_events = np.bincount(table.source_offset[sender] + trace.event_element, minlength=n_events.size).astype(float)
    per_fan = np.bincount(table.fan_of_source, n_events, table.n_fans)
    core = np.array([s.core for s in slices] + [n_cores])
    fan = np.repeat(np.arange(table.n_fans), np.diff(table.fan_start))
    traffic = np.zeros((n_cores + 1, n_cores + 1))
    np.add.at(traffic, (core[table.fan_slice[fan]], table.fan_core), per_fan[fan])
    np.fill_diagonal(traffic, 0)
    return traffic
