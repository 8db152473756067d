"""An independent checker: it shares no code with the mapper and derives every delivery again.

It holds that

- every neuron stands on exactly one core;
- an event of every source element reaches every core that holds a target of one of its stored
  synapses, and no other core; each synapse is walked exactly once;
- every route leads link by link from the sender to each target, inside the mesh;
- no core and no tile holds more than its limits.
"""

from __future__ import annotations

import numpy as np

from neurosim.errors import MappingError
from neurosim.network import Network
from neurosim.program import HOST, LayerSlice, Program
from neurosim.synapses import Synapses


def check(program: Program, network: Network) -> None:
    """Check a program against its network and its chip.

    Raises
    ------
    MappingError
        With every problem found (the first of each kind and place).
    """
    if program.network_sha256 != network.sha256:
        raise MappingError(f"the program was compiled for another network ({program.network_name!r})")
    if not program.is_mapped:
        return
    problems = _neurons(program, network)
    if not problems:
        problems = _deliveries(program, network) + _routes(program) + _limits(program, network)
    if problems:
        raise MappingError("\n".join(dict.fromkeys(problems)))


def _neurons(program: Program, network: Network) -> list[str]:
    problems = []
    for i, layer in enumerate(network.layers):
        holders = np.zeros(layer.shape, np.int64)
        for s in program.slices:
            box = (s.rows, s.columns, s.channels)
            if s.layer == i and any(not 0 <= a < b <= n for (a, b), n in zip(box, layer.shape, strict=True)):
                problems.append(f"layer {layer.name!r}: a slice {box} is empty or leaves the layer {layer.shape}")
            elif s.layer == i:
                holders[s.rows[0]:s.rows[1], s.columns[0]:s.columns[1], s.channels[0]:s.channels[1]] += 1
        if (holders == 0).any():
            problems.append(f"layer {layer.name!r}: {(holders == 0).sum():,} neurons stand on no core")
        if (holders > 1).any():
            problems.append(f"layer {layer.name!r}: {(holders > 1).sum():,} neurons stand on several cores")
    return problems


def _met(synapses: Synapses, s: LayerSlice, stores_zeros: bool) -> tuple[np.ndarray, int]:
    """Grid cells (bool) that a slice reads, and the synapses that it stores; straight from the equation."""
    met, total = np.zeros(synapses.grid, bool), 0
    present = np.ones(synapses.grid, bool) if synapses.view is None else (synapses.view >= 0).reshape(synapses.grid)
    if synapses.kind == "full" and synapses.weight is not None and not stores_zeros:
        stored = (synapses.weight[s.channels[0]:s.channels[1]] != 0) & present.ravel()
        return stored.any(0).reshape(synapses.grid), int(stored.sum())
    n_groups = synapses.groups if synapses.kind in ("full", "convolution") else synapses.grid[2]
    out_per, in_per = synapses.target_grid[2] // n_groups, synapses.grid[2] // n_groups
    for group in range(s.channels[0] // out_per, (s.channels[1] - 1) // out_per + 1):
        n_out = min(s.channels[1], (group + 1) * out_per) - max(s.channels[0], group * out_per)
        for k in np.ndindex(*synapses.kernel):
            at = [np.arange(*span) * synapses.stride[a] + k[a] * synapses.dilation[a] - synapses.pads[a]
                  for a, span in enumerate((s.rows, s.columns))]
            y, x = (q[(q >= 0) & (q < synapses.grid[a])] for a, q in enumerate(at))
            window = np.ix_(y, x, np.arange(group * in_per, (group + 1) * in_per))
            met[window] |= present[window]
            total += n_out * int(present[window].sum())
    return met, total


def _deliveries(program: Program, network: Network) -> list[str]:
    axons, problems = program.axons, []
    n_sources, n_cores = axons.start.size - 1, len(program.tile_of_core)
    axon_source = np.repeat(np.arange(n_sources), np.diff(axons.start))
    needed = []
    for (i, g), mine in _axons_of(program).items():
        s = program.slices[i]
        synapses = network.layers[s.layer].synapses[g]
        met, n_synapses = _met(synapses, s, s.storage[g] != "sparse")
        element = np.flatnonzero(met) if synapses.view is None else synapses.view[np.flatnonzero(met)]
        source = axons.source_offset[network.senders.index(synapses.source)] + element
        needed.append(source * n_cores + s.core)
        name = f"layer {network.layers[s.layer].name!r}, slice {i}, synapses {g}"
        if not np.array_equal(axon_source[mine], np.sort(source)):
            problems.append(f"{name}: {mine.size:,} axons, but {source.size:,} sources have synapses there")
        full_sparse = synapses.kind == "full" and s.storage[g] == "sparse"
        walked = int((axons.n_nonzero if full_sparse else axons.n_synapses)[mine].sum())
        if walked != n_synapses:
            problems.append(f"{name}: {walked:,} synapses in the axon table, {n_synapses:,} in the network")
    wanted = np.sort(np.concatenate(needed))
    wanted = wanted[np.concatenate([[True], wanted[1:] != wanted[:-1]])]
    size = np.diff(axons.fan_start)[axons.fan_of_source]
    within = np.arange(size.sum()) - np.repeat(size.cumsum() - size, size)
    at = np.repeat(axons.fan_start[axons.fan_of_source], size) + within
    reached = np.sort(np.repeat(np.arange(n_sources), size) * n_cores + axons.fan_core[at])
    if np.array_equal(wanted, reached):
        return problems + _senders(program, network)
    for word, wrong in (("misses", np.setdiff1d(wanted, reached)), ("is sent needlessly to", np.setdiff1d(reached, wanted))):
        if wrong.size:
            source, core = divmod(int(wrong[0]), n_cores)
            problems.append(f"source element {source} {word} core {core} ({wrong.size:,} deliveries in all)")
    return problems + _senders(program, network)


def _axons_of(program: Program) -> dict[tuple[int, int], np.ndarray]:
    """Axons of every (slice, group of synapses), sources ascending."""
    axons = program.axons
    n_groups = max(len(s.storage) for s in program.slices)
    key = axons.slice.astype(np.int64) * n_groups + axons.group
    order = np.argsort(key, kind="stable")
    start = np.searchsorted(key[order], np.arange(len(program.slices) * n_groups + 1))
    return {(i, g): order[start[i * n_groups + g]: start[i * n_groups + g + 1]]
            for i, s in enumerate(program.slices) for g in range(len(s.storage))}


def _senders(program: Program, network: Network) -> list[str]:
    axons = program.axons
    for j, sender in enumerate(network.senders):
        at = axons.fan_slice[axons.fan_of_source[axons.source_offset[j]: axons.source_offset[j + 1]]]
        expected = np.full(network.size_of(sender), HOST)
        if sender >= 0:
            expected = program.slice_of_neuron(sender, network.layers[sender].shape)
        if not np.array_equal(at, expected):
            name = "input" if sender < 0 else network.layers[sender].name
            return [f"{name!r}: {(at != expected).sum():,} elements send from a slice where they do not stand"]
    return []


_STEP = ((1, 0), (-1, 0), (0, 1), (0, -1))


def _routes(program: Program) -> list[str]:
    axons, routes, problems = program.axons, program.routes, []
    width, height = program.mesh
    multicast = bool(program.chip.noc and program.chip.noc.multicast)
    for f in range(axons.n_fans):
        sender = axons.fan_slice[f]
        own = HOST if sender == HOST else program.slices[sender].core
        start = tuple(program.port) if own == HOST else tuple(program.tile_of_core[own].tolist())
        targets = [tuple(program.tile_of_core[c].tolist())
                   for c in axons.fan_core[axons.fan_start[f]: axons.fan_start[f + 1]] if c != own]
        links = routes.link[routes.link_start[f]: routes.link_start[f + 1]].tolist()
        tree: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for link in links:
            tile, (dx, dy) = (link // 4 % width, link // 4 // width), _STEP[link % 4]
            tree.setdefault(tile, []).append((tile[0] + dx, tile[1] + dy))
        reached, waiting = {start}, [start]
        while waiting:
            for step in tree.get(waiting.pop(), ()):
                if step not in reached and 0 <= step[0] < width and 0 <= step[1] < height:
                    reached.add(step)
                    waiting.append(step)
        distance = sum(abs(x - start[0]) + abs(y - start[1]) for x, y in targets)
        expected = len(reached) - 1 if multicast else distance
        if not set(targets) <= reached:
            problems.append(f"fan {f}: the route from tile {start} does not reach {sorted(set(targets) - reached)[0]}")
        elif len(links) != expected or routes.hops[f, :3].sum() != expected:
            problems.append(f"fan {f}: {len(links)} links and {routes.hops[f, :3].sum()} hops, expected {expected}")
        elif routes.n_messages[f] != (min(1, len(targets)) if multicast else len(targets)):
            problems.append(f"fan {f}: {routes.n_messages[f]} messages for {len(targets)} target cores")
    return problems


def _limits(program: Program, network: Network) -> list[str]:
    chip, problems = program.chip, []
    bits = chip.arithmetic.weight_bits
    tiles, n = np.unique(program.tile_of_core, axis=0, return_counts=True)
    seats = chip.noc.cores_per_tile if chip.noc else chip.chips
    if n.max() > seats:
        problems.append(f"tile {tuple(tiles[n.argmax()].tolist())}: {n.max()} cores > {seats} cores per tile")
    if (program.tile_of_core < 0).any() or (program.tile_of_core >= program.mesh).any():
        problems.append(f"a core stands outside the mesh of {program.mesh[0]} x {program.mesh[1]} tiles")
    loosest = {key: max((getattr(c, key) or np.inf) for c in chip.core)
               for key in ("neurons", "axons_in", "synapse_memory")}
    axons_of = _axons_of(program)
    for core in range(len(program.tile_of_core)):
        mine = [i for i, s in enumerate(program.slices) if s.core == core]
        used = {"neurons": sum(program.slices[i].n_neurons for i in mine),
                "axons_in": sum(axons_of[i, g].size for i in mine for g in range(len(program.slices[i].storage)))}
        if bits:
            used["synapse_memory"] = sum(_stored_bits(program, network, i, g, axons_of[i, g], bits)
                                         for i in mine for g in range(len(program.slices[i].storage)))
        problems += [f"core {core}: {used[k]:,} {k} > {loosest[k]:,}" for k in used if used[k] > loosest[k]]
    return problems


def _stored_bits(program: Program, network: Network, i: int, g: int, mine: np.ndarray, bits: int) -> int:
    """Lower bound of the weight bits of a group of synapses of a slice (index bits left out)."""
    s, axons = program.slices[i], program.axons
    synapses, kind = network.layers[s.layer].synapses[g], s.storage[g]
    if kind == "convolution":
        per_tap = synapses.grid[2] // synapses.groups if synapses.weight is not None else 1
        return (s.channels[1] - s.channels[0]) * int(np.prod(synapses.kernel)) * per_tap * bits
    column = {"crossbar": axons.n_visits, "sparse": axons.n_nonzero}.get(kind, axons.n_synapses)
    return int(column[mine].sum()) * bits
