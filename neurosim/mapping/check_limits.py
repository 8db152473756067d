"""Part of the checker: what tiles, cores and types of core hold against their limits, and utilisation rows.

Memory of one group of synapses on a slice, in bits (weights w, index i bits wide):

    dense         w x synapses                    sparse     (w + i) x non-zero synapses
    convolution   w x kernel weights of the       crossbar   w x source elements x neurons of the core
                  slice's channels
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import ceil, log2, prod

import numpy as np

from neurosim.chip import Chip, Core
from neurosim.mapping.check_deliveries import Held, HeldSynapses
from neurosim.network import Network
from neurosim.program import LayerSlice, Program, Use
from neurosim.synapses import Synapses

Amounts = dict[str, int | None]
"""Resource -> what a core holds; None where a word width is not published."""


def limit_problems(program: Program, network: Network, held: HeldSynapses) -> list[str]:
    """Crowded tiles, cores over a limit, types of core used too often, rows that say something else."""
    problems = list(_tile_problems(program))
    on_core: list[list[int]] = [[] for _ in program.tile_of_core]
    for i, s in enumerate(program.slices):
        on_core[s.core].append(i)
    n_targets = np.diff(program.axons.fan_start)[program.axons.fan_of_source]
    fits: list[dict[int, Amounts]] = []
    for core, mine in enumerate(on_core):
        found: list[list[str]] = []
        fits.append({})
        for k, described in enumerate(program.chip.core):
            amounts = _amounts(program, network, held, described, mine, n_targets)
            found.append(list(_excess(program, network, described, core, mine, amounts, n_targets)))
            if not found[k]:
                fits[core][k] = amounts
        if not fits[core]:
            problems += found[int(np.argmin([len(texts) for texts in found]))]
    problems += _type_problems(program.chip, fits)
    return problems or list(_row_problems(program, on_core, fits))


def _tile_problems(program: Program) -> Iterator[str]:
    chip = program.chip
    tiles, n = np.unique(program.tile_of_core, axis=0, return_counts=True)
    seats = chip.noc.cores_per_tile if chip.noc else 1
    if n.max() > seats:
        yield f"tile {tuple(tiles[n.argmax()].tolist())}: {n.max()} cores > {seats} cores per tile"
    if chip.n_cores is not None and len(program.tile_of_core) > chip.n_cores:
        yield f"{len(program.tile_of_core):,} cores > {chip.n_cores:,} on {chip.chips} chip{'s' * (chip.chips > 1)}"


def _amounts(program: Program, network: Network, held: HeldSynapses, core: Core, mine: Sequence[int], n_targets: np.ndarray) -> Amounts:
    """What slices `mine` take of one core of a type."""
    a, axons = program.chip.arithmetic, program.axons
    multicast = bool(program.chip.noc and program.chip.noc.multicast)
    neurons = axons_in = axons_out = memory = state = 0
    for i in mine:
        s = program.slices[i]
        layer = network.layers[s.layer]
        sources = sum(held[i, g].source.size for g in range(len(s.storage)))
        neurons, axons_in = neurons + s.n_neurons, axons_in + sources
        memory += sum(_bits(program.chip, core, s, layer.synapses[g], held[i, g], s.storage[g])
                      for g in range(len(s.storage)))
        state += s.n_neurons * ((a.accumulator_bits or 0) + (a.payload_bits or 0)) + layer.is_max_pool * sources * (a.payload_bits or 0)
        if s.layer in network.senders:
            at = n_targets[axons.source_offset[network.senders.index(s.layer)] + s.neurons(layer.shape)]
            axons_out += int(np.minimum(at, 1).sum() if multicast else at.sum())
    return {"neurons": neurons, "synapse_memory": memory if a.weight_bits else None,
            "state_memory": state if a.accumulator_bits and a.payload_bits else None, "axons_in": axons_in, "axons_out": axons_out}


def _bits(chip: Chip, core: Core, s: LayerSlice, synapses: Synapses, stored: Held, kind: str) -> int:
    """Synapse memory of one group of synapses on a slice, in bits."""
    width = chip.arithmetic.weight_bits or 0
    if kind == "sparse":
        index = core.index_bits or max(1, ceil(log2(max(s.n_neurons, 2))))
        return int(stored.n_nonzero.sum()) * (width + index)
    if kind == "convolution":
        inputs = 1 if synapses.weight is None else int(synapses.weight.shape[1])
        return (s.channels[1] - s.channels[0]) * prod(synapses.kernel) * inputs * width
    if kind == "crossbar":
        return stored.all_sources * (core.neurons or s.n_neurons) * width
    return stored.all_synapses * width


def _excess(program: Program, network: Network, core: Core, at: int, mine: Sequence[int], amounts: Amounts,
            n_targets: np.ndarray) -> Iterator[str]:
    """Why slices `mine` cannot stand on a core of this type."""
    names = ", ".join(dict.fromkeys(network.layers[program.slices[i].layer].name for i in mine))
    where = f"core {at} (layer {names!r})"
    for resource, amount in amounts.items():
        limit = getattr(core, resource)
        if limit is not None and amount is not None and amount > limit:
            unit = " bit" if resource.endswith("memory") else ""
            yield f"{where}: {amount:,}{unit} {resource.replace('_', ' ')} > {int(limit):,}{unit}"
    for i in mine:
        s = program.slices[i]
        layer = network.layers[s.layer]
        for g, kind in enumerate(s.storage):
            if kind not in core.weight_storage:
                yield f"{where}: {kind} storage is not among {', '.join(core.weight_storage)} of the core"
            if kind == "convolution" and not core.kernel_sharing:
                yield f"{where}: convolution storage on a core without kernel sharing"
            if kind == "convolution" and layer.synapses[g].kind == "full":
                yield f"{where}: convolution storage of full synapses"
        if core.max_destinations is not None and s.layer in network.senders:
            offset = program.axons.source_offset[network.senders.index(s.layer)]
            most = int(n_targets[offset + s.neurons(layer.shape)].max())
            if most > core.max_destinations:
                yield f"{where}: {most:,} target cores of one neuron > {core.max_destinations:,}"


def _row_problems(program: Program, on_core: list[list[int]], fits: list[dict[int, Amounts]]) -> Iterator[str]:
    """Utilisation rows: one per core and resource, with what is held and the limit of a type that fits."""
    rows: dict[int, list[Use]] = {}
    for use in program.usage:
        rows.setdefault(use.core, []).append(use)
    if rows.keys() - set(range(len(on_core))):
        yield f"a utilisation row of core {max(rows)}, but {len(on_core):,} cores are used"
    for core, mine in enumerate(on_core):
        resources, here = list(next(iter(fits[core].values()))), rows.get(core, [])
        layers = [name for name in dict.fromkeys(program.layer_names[program.slices[i].layer] for i in mine)]
        if [use.resource for use in here] != resources:
            yield f"core {core}: utilisation rows of {[use.resource for use in here]}, expected {resources}"
            continue
        for use in here:
            due = [amounts[use.resource] for amounts in fits[core].values()]
            limits = [None if (limit := getattr(program.chip.core[k], use.resource)) is None else int(limit) for k in fits[core]]
            if use.used not in due:
                yield f"core {core}: the utilisation row says {use.used} {use.resource}, {due[0]} are held"
            if use.limit not in limits and (use.limit is not None or len(program.chip.core) == 1):
                yield f"core {core}: the utilisation row says a limit of {use.limit} {use.resource}, the chip gives {limits[0]}"
            if sorted(use.layers) != sorted(layers):
                yield f"core {core}: the utilisation row names layers {list(use.layers)}, {layers} stand there"


def _type_problems(chip: Chip, fits: Sequence[dict[int, Amounts]]) -> Iterator[str]:
    """Hall's condition: no set of types may be the only ones that fit more cores than there are of them."""
    counted = [k for k, core in enumerate(chip.core) if core.count is not None]
    for n in range(1, len(counted) + 1):
        for types in combinations(counted, n):
            confined = sum(1 for f in fits if f and set(f) <= set(types))
            there = chip.chips * sum(chip.core[k].count or 0 for k in types)
            if confined > there:
                names = f"core type{'s' * (n > 1)} {', '.join(map(str, types))}"
                yield (f"{confined:,} cores fit only on {names}, of which there are {there:,} "
                       f"on {chip.chips} chip{'s' * (chip.chips > 1)}")
                return
