"""Mapping: partition, place and route a network on a chip, and check the result.

Network, Chip -> Program. Counts do not depend on it; messages, hops, load and time do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.chip import Chip
from neurosim.errors import DoesNotFit, MappingError
from neurosim.mapping import axons as axon_table
from neurosim.mapping import place, route
from neurosim.mapping.balance import Activity, activity_of, work_times
from neurosim.mapping.check import check
from neurosim.mapping.cut import Reaches, cut, reaches_of
from neurosim.mapping.placement_file import read_placement
from neurosim.mapping.usage import storage_notes, usage_of
from neurosim.mesh import HOP_KINDS
from neurosim.network import Network
from neurosim.neurons import SPIKE
from neurosim.program import Axons, LayerSlice, Program
from neurosim.synapses import INPUT
from neurosim.trace import Trace

__all__ = ["Cuts", "Placement", "check", "compile", "read_placement", "rerouted"]

Placement = str | Mapping[Any, tuple[int, int]]

_BY_TRAFFIC = ("greedy", "quadratic")
"""Strategies that ask how many events pass between cores."""


@dataclass
class Cuts:
    """What earlier calls found out about networks, for calls that follow: geometry, cuts, axon tables and places.

    Configurations that differ in nothing that a cut depends on share one.
    """

    reaches: dict[str, Reaches] = field(default_factory=dict)
    slices: dict[Any, tuple[tuple[LayerSlice, ...], tuple[str, ...]]] = field(default_factory=dict)
    axons: dict[Any, Axons] = field(default_factory=dict)
    tiles: dict[Any, tuple[Trace | None, np.ndarray]] = field(default_factory=dict)
    same: dict[tuple[LayerSlice, ...], tuple[LayerSlice, ...]] = field(default_factory=dict)
    activity: dict[int, tuple[Trace, Activity]] = field(default_factory=dict)


def compile(network: Network, chip: Chip | str, trace: Trace | None = None, placement: Placement | Path = "row_major", *,
            balance: bool = False, hypothetical: bool = False, verify: bool = True, routed: bool = True,
            cuts: Cuts | None = None) -> Program:
    """Lay a network out on a chip.

    Parameters
    ----------
    network : Network
    chip : Chip or str
        A chip, its name or its file.
    trace : Trace or None
        A profile: its events are the traffic for ``greedy`` and ``quadratic`` placement (else every
        source element counts once), and the work by which `balance` cuts.
    placement : str, Path or mapping
        ``row_major``, ``snake``, ``greedy``, ``quadratic``, a YAML file (`read_placement`), or tiles
        by hand: layer name or (layer name, number of the slice) -> (x, y); ``input`` may name the
        tile of the input port.
    balance : bool
        Of the cuts of a layer into as few pieces take the one whose busiest piece has least work in `trace`.
        Where the layers so cut do not fit, pieces of equal size are taken, with a note.
    hypothetical : bool
        Accept graded events (and static neurons) on a chip described for spikes only.
    verify : bool
        Run the independent checker.
    routed : bool
        False leaves out axons, routes and utilisation: slices and places only.
    cuts : Cuts or None
        Filled and read: what earlier calls found out.

    Returns
    -------
    Program

    Raises
    ------
    DoesNotFit
        With all violations: layer, resource, demand, limit and what would help.
    MappingError
        For an unknown or impossible placement, or `balance` without a trace.
    """
    chip = Chip.load(chip) if isinstance(chip, str) else chip
    placement = placement if isinstance(placement, Mapping) else read_placement(placement)
    if trace is not None and trace.network.sha256 != network.sha256 and not _is_profile(trace, network):
        raise MappingError(f"the profile is of another network, {trace.network.name!r}: its senders differ from those of {network.name!r}")
    if balance and chip.kind == "event" and (trace is None or trace.n_recorded == 0):
        raise MappingError("balance needs a trace with its events, by which the work is cut: --profile run.trace")
    if chip.kind != "event":
        return Program(chip, network.name, network.sha256, tuple(layer.name for layer in network.layers),
                       notes=(f"{chip.kind} machine: no mapping, one machine",))
    cells = [layer.name for layer in network.layers if layer.ports > 1]
    if cells:
        raise DoesNotFit(f"{network.name} does not fit {chip.name}:\n  layer {cells[0]!r}: gated cells (LSTM, GRU) are counted "
                         "but not cut onto cores; price them on a dense or zero_skip machine")
    known = Cuts() if cuts is None else cuts
    key = _cut_key(network, chip, trace if balance else None)
    if key not in known.slices:
        known.slices[key] = _cut(network, chip, trace if balance else None, known)
    slices, violations = known.slices[key]
    if balance and (violations or chip.n_cores is not None and len(slices) > chip.n_cores):
        equal = compile(network, chip, trace, placement, hypothetical=hypothetical, verify=verify, routed=routed, cuts=known)
        return replace(equal, notes=(*equal.notes, "cuts balanced by work would not fit, so pieces are of equal size"))
    hard = [*_signals(network, chip, hypothetical), *violations]
    if chip.n_cores is not None and len(slices) > chip.n_cores:
        hard.append(_too_many(network, chip, len(slices)))
    if hard:
        raise DoesNotFit(f"{network.name} does not fit {chip.name}:\n" + "\n".join(f"  {v}" for v in hard))
    if (routed or placement in _BY_TRAFFIC) and key not in known.axons:
        known.axons[key] = axon_table.build(network, slices, known.reaches[network.sha256], chip.core)
    layout = _placed(network, chip, slices, _Seating(placement, key, trace, known), bool(_signals(network, chip, False)))
    return _routed(layout, network, known.axons[key], verify) if routed else layout


def _is_profile(trace: Trace, network: Network) -> bool:
    """Whether the events of a run can be those of a network: the same senders of the same sizes (weights may differ)."""
    sizes = [[(sender, net.size_of(sender)) for sender in net.senders] for net in (trace.network, network)]
    return sizes[0] == sizes[1] and len(trace.network.layers) == len(network.layers)


def _cut_key(network: Network, chip: Chip, trace: Trace | None) -> tuple[Any, ...]:
    """Everything that a cut depends on."""
    cores = tuple((c.count, c.neurons, c.synapse_memory, c.state_memory, c.axons_in, c.axons_out, c.max_destinations,
                   c.weight_storage, c.index_bits, c.kernel_sharing, c.axon_source) for c in chip.core)
    times = () if trace is None else (id(trace), *work_times(chip))
    a = chip.arithmetic
    return (network.sha256, cores, a.weight_bits, a.payload_bits, a.accumulator_bits, chip.chips,
            bool(chip.noc and chip.noc.multicast), times)


def _cut(network: Network, chip: Chip, trace: Trace | None, known: Cuts) -> tuple[tuple[LayerSlice, ...], tuple[str, ...]]:
    """Slices, and what does not fit."""
    if network.sha256 not in known.reaches:
        known.reaches[network.sha256] = reaches_of(network)
    if trace is not None and id(trace) not in known.activity:
        known.activity[id(trace)] = trace, activity_of(trace)
    violations: list[str] = []
    activity = None if trace is None else known.activity[id(trace)][1]
    slices = cut(network, chip, known.reaches[network.sha256], activity, violations)
    violations += _feedback(network, chip, slices)
    return known.same.setdefault(slices, slices), tuple(violations)


def _feedback(network: Network, chip: Chip, slices: tuple[LayerSlice, ...]) -> list[str]:
    """Layers that are fed back and have more target cores than a neuron may have. (Cutting sees only the layers behind.)"""
    n_slices = [sum(s.layer == i for s in slices) for i in range(len(network.layers))]
    limits = [core.max_destinations for core in chip.core if core.max_destinations is not None]
    found = []
    for i, layer in enumerate(network.layers):
        readers = {j for j, other in enumerate(network.layers) for s in other.synapses if s.source == i}
        n = sum(n_slices[j] for j in readers)
        if limits and min(readers, default=i + 1) <= i and n > min(limits):
            found.append(f"layer {layer.name!r}: {n} target cores of one neuron, its own among them > {min(limits)}; "
                         "take a chip with more destinations, or raise core.max_destinations")
    return found


def _too_many(network: Network, chip: Chip, n: int) -> str:
    """More cores than the chip has, and the smallest mesh or number of chips that would hold them."""
    text = f"network {network.name!r}: {n:,} cores > {chip.n_cores:,} on {chip.chips} chip{'s' * (chip.chips > 1)}; "
    noc, per_chip = chip.noc, (chip.n_cores or 1) // chip.chips
    if noc is None or noc.width is None or noc.height is None:
        return text + "raise chips, or core.neurons and its memories"
    width, height = smallest_mesh(-(-n // (noc.cores_per_tile * chip.chips)))
    return (text + f"the smallest mesh that holds them is noc.width {width} x noc.height {height} (now {noc.width} x {noc.height}), "
            f"or take chips {-(-n // per_chip)}, or raise core.neurons and its memories")


def _signals(network: Network, chip: Chip, hypothetical: bool) -> list[str]:
    if hypothetical:
        return []
    found = []
    graded = ["input" if s == INPUT else network.layers[s].name for s in network.senders if network.signal_of(s) != SPIKE]
    if graded and "graded" not in chip.signals:
        found.append(f"network {network.name!r}: graded events (of {', '.join(graded[:4])}{', ...' * (len(graded) > 4)}) > "
                     f"{', '.join(chip.signals) or 'no'} signals on {chip.name}; take a chip with graded signals, or add --hypothetical "
                     "(hypothetical=True)")
    unknown = sorted({layer.neuron for layer in network.layers} - set(chip.supports.neurons))
    if unknown and chip.supports.neurons:
        found.append(f"network {network.name!r}: neurons {', '.join(unknown)} are not among "
                     f"{', '.join(chip.supports.neurons)} of {chip.name}; take another chip, or add --hypothetical (hypothetical=True)")
    return found


@dataclass(frozen=True)
class _Seating:
    """How cores are placed: by which strategy, with the traffic of which cut and run."""

    placement: Placement
    key: tuple[Any, ...]
    trace: Trace | None
    known: Cuts

    def tiles(self, network: Network, slices: tuple[LayerSlice, ...], mesh: tuple[int, int], per_tile: int, port: tuple[int, int]
              ) -> np.ndarray:
        """Tile of each core (int64, (cores, 2)); the same question is answered once."""
        seats, n_cores = np.full(mesh, per_tile, np.int64), 1 + max(s.core for s in slices)
        if isinstance(self.placement, Mapping):
            return place.by_hand(self.placement, _names(network, slices), seats)
        key = (self.key, self.placement, mesh, per_tile, port, id(self.trace))
        if key not in self.known.tiles:
            traffic, axons = np.zeros((n_cores + 1, n_cores + 1)), self.known.axons.get(self.key)
            if axons is not None and self.placement in _BY_TRAFFIC:
                traffic = _traffic(network, axons, slices, n_cores, self.trace)
            tiles = place.STRATEGIES[self.placement](seats, traffic, port)
            tiles.setflags(write=False)
            self.known.tiles[key] = self.trace, tiles  # the trace is kept, so that its id stays its own
        return self.known.tiles[key][1]


def _placed(network: Network, chip: Chip, slices: tuple[LayerSlice, ...], seating: _Seating, assumed: bool) -> Program:
    """Slices and places."""
    noc = chip.noc
    mesh, notes = _mesh(chip, 1 + max(s.core for s in slices))
    port = noc.input_port if noc and noc.input_port else (0, 0)
    if noc and noc.input_port is None:
        notes.append("input port not published; tile (0, 0) assumed")
    tiles = seating.tiles(network, slices, mesh, noc.cores_per_tile if noc else (chip.n_cores or chip.chips) // chip.chips, port)
    if isinstance(seating.placement, Mapping):
        x, y = seating.placement.get("input", port)
        port = (int(x), int(y))
    if not (port[0] < mesh[0] and port[1] < mesh[1]):
        raise MappingError(f"input port {port} lies outside the mesh of {mesh[0]} x {mesh[1]} tiles")
    if noc and noc.multicast is None:
        notes.append("multicast not published; unicast assumed")
    if assumed:
        notes.append(f"hypothetical: {chip.name} is described for {', '.join(chip.signals)} signals and "
                     f"{', '.join(chip.supports.neurons)} neurons only; graded events are assumed to cost the same")
    return Program(chip, network.name, network.sha256, tuple(layer.name for layer in network.layers), slices, tiles, port, mesh,
                   hypothetical=assumed, notes=(*notes, *storage_notes(chip)))


def _routed(layout: Program, network: Network, axons: Axons, verify: bool) -> Program:
    """Add axons, routes and utilisation, and check all of it."""
    chip = layout.chip
    multicast = bool(chip.noc and chip.noc.multicast)
    routes = route.routes(axons, layout.core_of_slice, layout.tile_of_core, layout.port, layout.mesh, chip.chips, multicast,
                          [chip.time_s(f"hop.{kind}") or 0.0 for kind in HOP_KINDS])
    program = replace(layout, axons=axons, routes=routes, usage=usage_of(network, chip, layout.slices, axons, multicast))
    if verify:
        check(program, network)
    return program


def rerouted(program: Program, chip: Chip) -> Program:
    """The same mapping with the routes that the hop times of another description of its chip choose as longest."""
    multicast = bool(chip.noc and chip.noc.multicast)
    routes = route.routes(program.axons, program.core_of_slice, program.tile_of_core, program.port, program.mesh, chip.chips, multicast,
                          [chip.time_s(f"hop.{kind}") or 0.0 for kind in HOP_KINDS])
    return replace(program, chip=chip, routes=routes)


def smallest_mesh(n_tiles: int) -> tuple[int, int]:
    """Width and height of the mesh of fewest tiles that holds so many, at most twice as wide as high; of equals the squarest."""
    heights = range(1, int(np.ceil(np.sqrt(n_tiles))) + 1)
    meshes = [(-(-n_tiles // h), h) for h in heights if h <= -(-n_tiles // h) <= 2 * h] or [(n_tiles, 1)]
    return min(meshes, key=lambda mesh: (mesh[0] * mesh[1], mesh[0] - mesh[1]))


def _mesh(chip: Chip, n_cores: int) -> tuple[tuple[int, int], list[str]]:
    """Tiles in x (over all chips) and y; the smallest near-square mesh where none is published."""
    noc = chip.noc
    if noc is None:
        return (chip.chips, 1), []
    if noc.width is not None and noc.height is not None:
        return (noc.width * chip.chips, noc.height), []
    width, height = smallest_mesh(-(-n_cores // (noc.cores_per_tile * chip.chips)))
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
