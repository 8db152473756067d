"""Utilisation: what each core holds against its limits."""

from __future__ import annotations

import numpy as np

from neurosim.chip import Chip
from neurosim.mapping.geometry import Reach
from neurosim.mapping.partition import NOMINAL_WEIGHT_BITS, Demand
from neurosim.network import Network
from neurosim.program import Axons, LayerSlice, Use

RESOURCES = ("neurons", "synapse_memory", "state_memory", "axons_in", "axons_out")


def usage_of(network: Network, chip: Chip, slices: tuple[LayerSlice, ...], table: Axons, multicast: bool
             ) -> tuple[Use, ...]:
    """Rows per core and resource."""
    a, core = chip.arithmetic, chip.core[0]
    used: dict[int, dict[str, int]] = {}
    layers: dict[int, dict[str, None]] = {}
    axons_in = np.bincount(table.slice, minlength=len(slices))
    n_cores_of_fan = np.diff(table.fan_start)
    fan_out = np.minimum(n_cores_of_fan, 1) if multicast else n_cores_of_fan
    per_source = fan_out[table.fan_of_source]
    at = table.fan_slice[table.fan_of_source]
    axons_out = np.bincount(at[at >= 0], per_source[at >= 0], len(slices)).astype(np.int64)
    memory = _memory(network, chip, slices)
    for i, s in enumerate(slices):
        row = used.setdefault(s.core, dict.fromkeys(RESOURCES, 0))
        layer = network.layers[s.layer]
        layers.setdefault(s.core, {})[layer.name] = None
        row["neurons"] += s.n_neurons
        row["synapse_memory"] += memory[i]
        held = int(axons_in[i]) * (a.payload_bits or 0) if layer.is_max_pool else 0
        row["state_memory"] += s.n_neurons * ((a.accumulator_bits or 0) + (a.payload_bits or 0)) + held
        row["axons_in"] += int(axons_in[i])
        row["axons_out"] += int(axons_out[i])
    known, rows = _known_widths(chip), []
    for c in sorted(used):
        for resource in RESOURCES:
            limit = getattr(core, resource) if len(chip.core) == 1 else None
            rows.append(Use(c, tuple(layers[c]), resource, used[c][resource] if known.get(resource, True) else None,
                            None if limit is None else int(limit)))
    return tuple(rows)


def _known_widths(chip: Chip) -> dict[str, bool]:
    """Whether the word widths are published by which a memory is counted."""
    a = chip.arithmetic
    return {"synapse_memory": a.weight_bits is not None, "state_memory": a.accumulator_bits is not None and a.payload_bits is not None}


def _memory(network: Network, chip: Chip, slices: tuple[LayerSlice, ...]) -> list[int]:
    """Weight and index bits of each slice."""
    demands: dict[int, Demand] = {}
    found = []
    for s in slices:
        layer = network.layers[s.layer]
        if s.layer not in demands:  # all pieces of a layer stand on cores of one type
            demands[s.layer] = Demand(layer, chip, chip.core[s.core_type], np.zeros(layer.shape, np.int64),
                                      tuple(Reach(x) for x in layer.synapses))
        cuts = np.array(s.rows), np.array(s.columns), np.array(s.channels)
        memory = [demands[s.layer].memory(g, kind, cuts) for g, kind in enumerate(s.storage)]
        found.append(sum(int(bits.reshape(-1)[0]) for bits in memory if bits is not None))
    return found


def storage_notes(chip: Chip) -> list[str]:
    """What was assumed about storage, and which limits could not be checked."""
    a, core, known, notes = chip.arithmetic, chip.core[0], _known_widths(chip), list[str]()
    missing = [r for r in RESOURCES if getattr(core, r) is None]
    if missing:
        notes.append(f"not published, so not checked: core.{', core.'.join(missing)}")
    unchecked = [r for r in known if not known[r] and getattr(core, r) is not None]
    if unchecked:
        notes.append(f"word widths not published, so not checked: core.{', core.'.join(unchecked)}")
    if a.weight_bits is None:
        notes.append(f"weight width not published; {NOMINAL_WEIGHT_BITS} bit taken to compare storage kinds")
    else:
        notes.append(f"weights are counted at {a.weight_bits} bit")
    if core.index_bits is None and "sparse" in core.weight_storage:
        notes.append("width of a sparse index not published; ceil(log2(neurons of the slice)) bit assumed")
    return notes
