"""An independent checker: it shares no code with the mapper and derives every delivery again.

It holds that

- the program belongs to this network and to its chip: hash, layers, chips, mesh;
- every neuron stands on exactly one core;
- an event of every source element reaches every core that holds a target of one of its stored
  synapses, and no other core; each synapse is walked exactly once, in the storage of its group, and
  each delivery is counted once (`check_deliveries`);
- every route leads link by link from the sender to each target, along x and then y, inside the
  mesh and without a detour; hops and messages are those of the links (`check_routes`);
- no core, no tile and no type of core holds more than its limits, in no storage that it lacks, and the
  utilisation rows say what is held (`check_limits`).

Tables are first checked for their shapes and ranges, then for their content; a problem of one
kind is named at the first place where it shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.chip import STORAGE_KINDS
from neurosim.errors import MappingError
from neurosim.mapping.check_deliveries import delivery_problems, held_synapses
from neurosim.mapping.check_limits import limit_problems
from neurosim.mapping.check_routes import route_problems
from neurosim.network import Network
from neurosim.program import Program

SHOWN = 20
"""Problems that a message lists."""


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
        if program.chip.kind == "event":
            raise MappingError(f"{program.chip.name} is an event chip, but the program holds no slices")
        return
    # each pass may rely on the ones before it
    for found in _passes(program, network):
        if found:
            found = list(dict.fromkeys(found))
            more = [f"... and {len(found) - SHOWN:,} problems more"] * (len(found) > SHOWN)
            raise MappingError("\n".join(found[:SHOWN] + more))


def _passes(program: Program, network: Network) -> Iterator[list[str]]:
    yield [*_slices(program, network), *_machine(program)]
    yield [*_axon_shapes(program, network), *_route_shapes(program)]
    yield _neurons(program, network)
    held = held_synapses(program, network)
    yield [*delivery_problems(program, network, held), *route_problems(program), *limit_problems(program, network, held)]


def _slices(program: Program, network: Network) -> Iterator[str]:
    """Slices lie in their layers, and cores are numbered from 0 without a gap."""
    names = tuple(layer.name for layer in network.layers)
    if program.layer_names != names:
        yield f"layers {list(program.layer_names)} in the program, {list(names)} in the network"
    n_cores = len(program.tile_of_core)
    for i, s in enumerate(program.slices):
        if not 0 <= s.layer < len(names):
            yield f"slice {i}: layer {s.layer} of a network with {len(names)} layers"
            continue
        layer, box = network.layers[s.layer], (s.rows, s.columns, s.channels)
        if any(not 0 <= a < b <= n for (a, b), n in zip(box, layer.shape, strict=True)):
            yield f"layer {layer.name!r}: a slice {box} is empty or leaves the layer {layer.shape}"
        if not 0 <= s.core < n_cores:
            yield f"layer {layer.name!r}, slice {i}: core {s.core} of {n_cores} cores"
        if len(s.storage) != len(layer.synapses) or not set(s.storage) <= set(STORAGE_KINDS):
            yield f"layer {layer.name!r}, slice {i}: storage {s.storage} for {len(layer.synapses)} groups of synapses"
    idle = set(range(n_cores)) - {s.core for s in program.slices}
    if idle:
        yield f"core {min(idle)} holds no slice ({len(idle):,} such cores)"


def _machine(program: Program) -> Iterator[str]:
    """Mesh, chips and port agree with the chip; every core stands on a tile of the mesh."""
    chip, (width, height), (x, y) = program.chip, program.mesh, program.port
    noc = chip.noc
    if noc is None or noc.width is None or noc.height is None:
        if width % chip.chips:
            yield f"a mesh of {width} x {height} tiles cannot be shared out over {chip.chips} chips"
    elif (width, height) != (noc.width * chip.chips, noc.height):
        yield (f"a mesh of {width} x {height} tiles, but {chip.chips} chip{'s' * (chip.chips > 1)} of {noc.width} x {noc.height} "
               f"tiles give {noc.width * chip.chips} x {noc.height}")
    if not (0 <= x < width and 0 <= y < height):
        yield f"the input port {program.port} lies outside the mesh of {width} x {height} tiles"
    tiles = program.tile_of_core
    if tiles.ndim != 2 or tiles.shape[1] != 2 or not np.issubdtype(tiles.dtype, np.integer):
        yield f"tiles of cores have shape {tiles.shape}, expected (cores, 2)"
        return
    outside = np.flatnonzero(((tiles < 0) | (tiles >= np.array(program.mesh))).any(1))
    if outside.size:
        core = int(outside[0])
        yield f"core {core} stands on tile {tuple(tiles[core].tolist())}, outside the mesh of {width} x {height} tiles"


def _rises(start: np.ndarray, n_rows: int, n_entries: int) -> bool:
    """Whether `start` shares `n_entries` out over `n_rows`."""
    return bool(start.shape == (n_rows + 1,) and start[0] == 0 and start[-1] == n_entries and (np.diff(start) >= 0).all())


def _axon_shapes(program: Program, network: Network) -> Iterator[str]:
    a = program.axons
    expected = np.cumsum([0, *(network.size_of(sender) for sender in network.senders)])
    if not np.array_equal(a.source_offset, expected):
        yield f"sources are numbered {a.source_offset.tolist()}, the senders of the network give {expected.tolist()}"
        return
    n_sources, n_slices, n_cores = int(expected[-1]), len(program.slices), len(program.tile_of_core)
    columns = (a.slice, a.group, a.n_synapses, a.n_nonzero, a.n_visits, a.storage, a.weighted, a.delivery)
    if not _rises(a.start, n_sources, a.slice.size) or any(c.shape != a.slice.shape for c in columns):
        yield f"the axon table does not hold together: {a.start.size - 1:,} sources, columns of {sorted({c.size for c in columns})} axons"
        return
    if a.slice.size and not (0 <= a.slice.min() and a.slice.max() < n_slices):
        yield f"an axon leads to slice {a.slice.max() if a.slice.min() >= 0 else a.slice.min()} of {n_slices:,} slices"
        return
    n_groups = np.array([len(s.storage) for s in program.slices])
    if a.group.size and ((a.group < 0) | (a.group >= n_groups[a.slice])).any():
        yield "an axon leads to a group of synapses that its layer does not have"
    if a.fan_of_source.shape != (n_sources,) or not _rises(a.fan_start, a.n_fans, a.fan_core.size):
        yield f"the fans do not hold together: {a.fan_of_source.size:,} of {n_sources:,} sources, {a.n_fans:,} fans"
        return
    for what, values, low, high in (("fan", a.fan_of_source, 0, a.n_fans), ("slice of a fan", a.fan_slice, -1, n_slices),
                                    ("core of a fan", a.fan_core, 0, n_cores)):
        if values.size and not (low <= values.min() and values.max() < high):
            yield f"{what} {values.max() if values.min() >= low else values.min()} of {high:,}"
            return
    fan = np.repeat(np.arange(a.n_fans), np.diff(a.fan_start))
    falls = np.flatnonzero((np.diff(fan) == 0) & (np.diff(a.fan_core) <= 0))
    if falls.size:
        yield f"fan {fan[falls[0]]}: cores do not ascend, or core {a.fan_core[falls[0] + 1]} stands twice"


def _route_shapes(program: Program) -> Iterator[str]:
    r, n = program.routes, program.axons.n_fans
    if not _rises(r.link_start, n, r.link.size) or any(
            c.shape != shape for c, shape in ((r.n_messages, (n,)), (r.n_local, (n,)), (r.hops, (n, 4)), (r.longest, (n, 4)))):
        yield f"the routes do not hold together: {r.link_start.size - 1:,} routes and {r.n_messages.size:,} counts for {n:,} fans"


def _neurons(program: Program, network: Network) -> list[str]:
    problems = []
    for i, layer in enumerate(network.layers):
        holders = np.zeros(layer.shape, np.int32)
        for s in program.slices:
            if s.layer == i:
                holders[s.rows[0]:s.rows[1], s.columns[0]:s.columns[1], s.channels[0]:s.channels[1]] += 1
        if (holders == 0).any():
            problems.append(f"layer {layer.name!r}: {(holders == 0).sum():,} neurons stand on no core")
        if (holders > 1).any():
            problems.append(f"layer {layer.name!r}: {(holders > 1).sum():,} neurons stand on several cores")
    return problems
