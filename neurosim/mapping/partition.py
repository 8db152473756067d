"""Partition: cut layers along channels, rows and columns so that each piece fits a core. Never along inputs.

A layer is cut into n_y x n_x x n_c nearly equal boxes; the smallest product that fits wins, then the
one with fewest axons. Each core holds one slice. Demand of a slice:

neurons         rows x columns x channels
synapse memory  per group of synapses, the cheapest kind that the core supports:
                dense        weight_bits x synapses (zero weights stored)
                sparse       (weight_bits + index_bits) x non-zero synapses
                convolution  weight_bits x kernel weights of the slice's channels (shared)
                crossbar     weight_bits x axons in x neurons of the core
state memory    neurons x (accumulator_bits + payload_bits), + axons in x payload_bits for max pooling
axons in        source elements with a stored synapse into the slice, per group (convolutions: zero kernels count too)
axons out       (neuron, target core) pairs; with multicast, neurons that send

Layers are cut from the last to the first, so that the cores that a neuron reaches are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from neurosim.chip import Chip, Core
from neurosim.mapping.balance import Profile
from neurosim.mapping.geometry import Reach, box_sums, edges, running_sum
from neurosim.network import Layer

Cuts = tuple[np.ndarray, np.ndarray, np.ndarray]

NOMINAL_WEIGHT_BITS = 8
"""Used only to compare storage kinds where a chip does not publish its weight width."""

MAX_TRIED = 4096
"""Pieces of one layer that are tried before the search gives up."""

STEPPED = 64
"""Numbers of pieces that are tried one by one from the lower bound on; beyond, the search doubles and halves."""

LEVERS = {
    "neurons": "raise core.neurons",
    "synapse_memory": "prune or quantise, or raise core.synapse_memory",
    "state_memory": "raise core.state_memory",
    "axons_in": "prune, or raise core.axons_in",
    "axons_out": "raise core.axons_out, or use larger cores for the layers that read it",
    "max_destinations": "raise core.max_destinations, or use larger cores for the layers that read it",
    "weight_storage": "add dense or sparse to core.weight_storage",
}


def shown(resource: str, amount: float) -> str:
    """An amount with its noun: ``3,136 axons in``, ``200 KiB synapse memory``."""
    if resource.endswith("memory"):
        kib = amount / 8192
        return f"{kib:,.4g} KiB {resource.replace('_', ' ')}" if kib < 1024 else f"{kib:,.0f} KiB {resource.replace('_', ' ')}"
    return f"{int(amount):,} {resource.replace('_', ' ').replace('max destinations', 'target cores of one neuron')}"


@dataclass(frozen=True)
class Demand:
    """What boxes of one layer take of a core.

    Parameters
    ----------
    layer : Layer
    chip : Chip
    core : Core
    destinations : ndarray, int64, layer shape
        Cores that each neuron's events go to.
    reaches : tuple of Reach
    profile : Profile or None
        Measured work, by which pieces are balanced.
    """

    layer: Layer
    chip: Chip
    core: Core
    destinations: np.ndarray
    reaches: tuple[Reach, ...] = field(default=())
    profile: Profile | None = None

    def on(self, core: Core) -> Demand:
        """The same layer on another core type."""
        return replace(self, core=core)

    @cached_property
    def _axons_out(self) -> np.ndarray:
        multicast = self.chip.noc is not None and self.chip.noc.multicast
        return running_sum(np.minimum(self.destinations, 1) if multicast else self.destinations)

    def n_neurons(self, cuts: Cuts) -> np.ndarray:
        """Neurons of each box (n_y, n_x, n_c)."""
        y, x, c = (np.diff(cut) for cut in cuts)
        return y[:, None, None] * x[:, None] * c

    def memory(self, i: int, kind: str, cuts: Cuts) -> np.ndarray | None:
        """Bits that group `i` takes in storage `kind`, per box; None where the kind cannot hold it."""
        reach, bits = self.reaches[i], self.chip.arithmetic.weight_bits or NOMINAL_WEIGHT_BITS
        n = self.n_neurons(cuts)
        if kind == "dense":
            return box_sums(reach.synapse_sums, cuts) * bits
        if kind == "sparse":
            index = self.core.index_bits or np.maximum(1, np.ceil(np.log2(np.maximum(n, 2)))).astype(np.int64)
            return box_sums(reach.nonzero_sums, cuts) * (bits + index)
        if kind == "crossbar":
            return reach.n_sources(cuts) * (self.core.neurons or n) * bits
        if reach.synapses.kind == "full" or not self.core.kernel_sharing:
            return None
        return np.broadcast_to(np.diff(cuts[2]) * reach.weights_per_channel * bits, n.shape)

    def storage(self, i: int, cuts: Cuts) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Cheapest supported kind of group `i` per box: index into the kinds, bits, the kinds."""
        options = [(kind, bits) for kind in self.core.weight_storage if (bits := self.memory(i, kind, cuts)) is not None]
        if not options:
            shape = self.n_neurons(cuts).shape
            return np.zeros(shape, np.int64), np.zeros(shape, np.int64), ("",)
        bits = np.stack([b for _, b in options])
        best = bits.argmin(0)
        return best, np.take_along_axis(bits, best[None], 0)[0], tuple(kind for kind, _ in options)

    def axons_in(self, i: int, best: np.ndarray, kinds: tuple[str, ...], cuts: Cuts) -> np.ndarray:
        """Source elements with a stored synapse of group `i` into each box."""
        reach = self.reaches[i]
        n = reach.n_sources(cuts)
        if reach.synapses.kind != "full":
            return n
        drops = np.array([reach.drops_zeros(kind, self.core.axon_source) for kind in kinds])[best]
        return np.where(drops, reach.n_nonzero_sources(cuts), n) if drops.any() else n

    def of(self, cuts: Cuts) -> dict[str, np.ndarray]:
        """Demand of every resource per box; `weight_storage` is 1 where no supported kind can hold a group."""
        n = self.n_neurons(cuts)
        zero = np.zeros(n.shape, np.int64)
        demand = {"neurons": n, "synapse_memory": zero, "axons_in": zero, "weight_storage": zero,
                  "axons_out": box_sums(self._axons_out, cuts), "state_memory": zero}
        for i in range(len(self.reaches)):
            best, bits, kinds = self.storage(i, cuts)
            demand["synapse_memory"] = demand["synapse_memory"] + bits
            demand["axons_in"] = demand["axons_in"] + self.axons_in(i, best, kinds, cuts)
            demand["weight_storage"] = demand["weight_storage"] + (kinds == ("",))
        a = self.chip.arithmetic
        if a.accumulator_bits is not None and a.payload_bits is not None:
            held = demand["axons_in"] * a.payload_bits if self.layer.is_max_pool else 0
            demand["state_memory"] = n * (a.accumulator_bits + a.payload_bits) + held
        return demand

    @cached_property
    def limits(self) -> dict[str, int]:
        """Limits that are published and can be checked."""
        c, a = self.core, self.chip.arithmetic
        limits = {"neurons": c.neurons, "axons_in": c.axons_in, "axons_out": c.axons_out, "weight_storage": 0,
                  "synapse_memory": c.synapse_memory if a.weight_bits else None,
                  "state_memory": c.state_memory if a.accumulator_bits and a.payload_bits else None}
        return {k: int(v) for k, v in limits.items() if v is not None}

    def excess(self, demand: dict[str, np.ndarray]) -> dict[str, int]:
        """Resources of which some box takes more than the limit, with the largest demand."""
        return {k: int(demand[k].max()) for k, limit in self.limits.items() if demand[k].max() > limit}

    def _is_small(self) -> bool:
        """Whether a single neuron fits for certain: every bound on what one takes is within its limit."""
        bits, limits = self.chip.arithmetic.weight_bits or NOMINAL_WEIGHT_BITS, self.limits
        fan_in = sum(reach.largest_fan_in for reach in self.reaches)
        bounds = {"neurons": 1, "axons_in": fan_in, "synapse_memory": fan_in * bits,
                  "axons_out": int(self.destinations.max(initial=0))}
        if "dense" not in self.core.weight_storage or "state_memory" in limits or self.core.max_destinations is not None:
            return False
        return all(bound <= limits[k] for k, bound in bounds.items() if k in limits)

    def violations(self) -> list[str]:
        """What no split can mend: a single neuron already exceeds a core."""
        if self._is_small():
            return []
        found = []
        for resource, amount in self.excess(self.of(self.cuts(*self.layer.shape))).items():
            if resource == "weight_storage":
                text = f"no storage kind of {list(self.core.weight_storage)} can hold it on a core"
            else:
                text = f"{shown(resource, amount)} > {_bare(resource, self.limits[resource])} on a core"
            found.append(f"layer {self.layer.name!r}: {text}; {LEVERS[resource]}")
        limit = self.core.max_destinations
        if limit is not None and self.destinations.size and self.destinations.max() > limit:
            found.append(f"layer {self.layer.name!r}: {shown('max_destinations', self.destinations.max())} > {limit:,}; "
                         f"{LEVERS['max_destinations']}")
        return found

    def cuts(self, n_y: int, n_x: int, n_c: int) -> Cuts:
        """Edges of nearly equal boxes."""
        height, width, channels = self.layer.shape
        return edges(height, n_y), edges(width, n_x), edges(channels, n_c)

    def least_pieces(self) -> int:
        """A lower bound on the number of pieces from the whole layer's demand."""
        least = {"neurons": self.layer.n_neurons, "axons_out": int(self._axons_out[-1, -1, -1]),
                 "synapse_memory": sum(self._least_memory(i) for i in range(len(self.reaches)))}
        return max([1, *(-(-amount // self.limits[k]) for k, amount in least.items() if self.limits.get(k))])

    def _least_memory(self, i: int) -> int:
        """Bits that group `i` takes at least, however it is cut; 0 where that is not known."""
        reach, bits = self.reaches[i], self.chip.arithmetic.weight_bits or NOMINAL_WEIGHT_BITS
        least = {"dense": int(reach.synapse_sums[-1, -1, -1]) * bits,
                 "sparse": int(reach.nonzero_sums[-1, -1, -1]) * (bits + (self.core.index_bits or 1))}
        shared = reach.synapses.kind != "full" and self.core.kernel_sharing
        return min(least.get(kind, 0) for kind in self.core.weight_storage if kind != "convolution" or shared)

    def best_cuts(self) -> Cuts | None:
        """Fewest pieces that fit; of those the least busiest piece (with a profile), then fewest axons. None within `MAX_TRIED`."""
        first, last = self.least_pieces(), min(self.layer.n_neurons, MAX_TRIED)
        for n in range(first, min(last, first + STEPPED) + 1):
            if (found := self._best_of(n)) is not None:
                return found
        # far from the bound: double the pieces until they fit, then halve the gap
        low, high, found = first + STEPPED, first + STEPPED, None
        while found is None and high < last:
            low, high = high, min(2 * high, last)
            found = self._best_of(high)
        while found is not None and high - low > 1:
            middle = (low + high) // 2
            smaller = self._best_of(middle)
            low, high, found = (low, middle, smaller) if smaller is not None else (middle, high, found)
        return found

    def _best_of(self, n: int) -> Cuts | None:
        """The best cuts into `n` pieces that fit, or None."""
        most = self.limits.get("neurons", self.layer.n_neurons)
        best: tuple[float, int, Cuts] | None = None
        for counts in _triples(n, self.layer.shape):
            for cuts in self._candidates(counts):
                if np.prod([np.diff(cut).max() for cut in cuts]) > most:
                    continue
                demand = self.of(cuts)
                if not self.excess(demand):
                    busiest = 0.0 if self.profile is None else float(self._work(cuts).max())
                    total = int(demand["axons_in"].sum())
                    if best is None or (busiest, total) < best[:2]:
                        best = busiest, total, cuts
        return None if best is None else best[2]

    def _work(self, cuts: Cuts) -> np.ndarray:
        """Measured work of each piece, with the storage that it would have."""
        assert self.profile is not None
        stored = [np.array(kinds)[best] for best, _, kinds in (self.storage(i, cuts) for i in range(len(self.reaches)))]
        return self.profile.work(cuts, stored, self.core.neurons)

    def too_many_pieces(self) -> str:
        """What is said where `best_cuts` finds none: the resources that still exceed a core."""
        height, width, channels = self.layer.shape
        n_c = min(channels, MAX_TRIED)
        n_y = min(height, MAX_TRIED // n_c)
        finest = self.excess(self.of(self.cuts(n_y, min(width, MAX_TRIED // (n_c * n_y)), n_c)))
        levers = dict.fromkeys(LEVERS[resource] for resource in finest) or {"raise core.neurons or the memories of the core": None}
        what = ", ".join(f"{shown(k, amount)} > {_bare(k, self.limits[k])} on a core"
                         for k, amount in finest.items() if k != "weight_storage")
        return (f"layer {self.layer.name!r}: more than {min(MAX_TRIED, self.layer.n_neurons):,} cores"
                + (f" ({what} even then)" if what else "") + f"; {'; '.join(levers)}")

    def _candidates(self, counts: tuple[int, int, int]) -> list[Cuts]:
        """Equal boxes, and boxes of equal measured work along each axis."""
        equal = self.cuts(*counts)
        if self.profile is None:
            return [equal]
        y, x, c = (self.profile.edges(axis, n) for axis, n in enumerate(counts))
        return [equal, (y, x, c), (y, x, equal[2])]


def _bare(resource: str, limit: int) -> str:
    return shown(resource, limit).split(" ")[0] + (" KiB" if resource.endswith("memory") else "")


def _triples(n: int, shape: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """All (n_y, n_x, n_c) with product n that do not exceed `shape`; channels first."""
    for n_c in range(min(n, shape[2]), 0, -1):
        if n % n_c:
            continue
        for n_y in range(1, min(n // n_c, shape[0]) + 1):
            n_x, rest = divmod(n // n_c, n_y)
            if rest == 0 and n_x <= shape[1]:
                yield n_y, n_x, n_c
