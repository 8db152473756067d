"""The Program: a network laid out on a chip. Frozen data, made by `neurosim.mapping`, read by `neurosim.pricing`.

A layer is cut into *slices* (boxes of rows x columns x channels), each on one core. An *axon* is
the entry of one source element at one slice and group of synapses; it holds how many synapses a
core walks when the element sends an event. A *fan* is a set of cores that an element's events go
to; elements of one slice that reach the same cores share it, and all traffic on the
network-on-chip follows from how often each fan was used.

Source elements of all senders (``network.senders``) are numbered through: element e of the j-th
sender is source ``source_offset[j] + e``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np

from neurosim.chip import STORAGE_KINDS, Chip

HOST = -1
"""Slice and core index of the input port."""

NO_DELIVERY, MESSAGE, LOCAL = 0, 1, 2
"""How an axon's event arrives: with an earlier axon of the same core, as a message, or from its own core."""


@dataclass(frozen=True, slots=True)
class LayerSlice:
    """Part of a layer on one core (of which type): rows, columns and channels [first, last), and how each group is stored."""

    layer: int
    core: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    channels: tuple[int, int]
    storage: tuple[str, ...]
    core_type: int = 0

    @property
    def n_neurons(self) -> int:
        """Neurons of the slice."""
        return ((self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])
                * (self.channels[1] - self.channels[0]))

    def neurons(self, shape: tuple[int, int, int]) -> np.ndarray:
        """Indices of its neurons within a layer of `shape` (int64, ascending)."""
        rows, columns, channels = (np.arange(*r) for r in (self.rows, self.columns, self.channels))
        return ((rows[:, None, None] * shape[1] + columns[:, None]) * shape[2] + channels).ravel()


@dataclass(frozen=True)
class Axons:
    """Axon table and fans; independent of where cores stand.

    Parameters
    ----------
    source_offset : ndarray, int64, (senders + 1,)
    start : ndarray, int64, (sources + 1,)
        Axons of source s are ``start[s]:start[s + 1]``, slices ascending.
    slice, group : ndarray, int32, (axons,)
    n_synapses, n_nonzero : ndarray, int32, (axons,)
        Synapses of the element into the slice: all, and those with a non-zero weight.
    n_visits : ndarray, int32, (axons,)
        Synapses that the core walks, by the storage of the group.
    storage : ndarray, int8, (axons,)
        Index in `chip.STORAGE_KINDS`.
    weighted : ndarray, int8, (axons,)
        1 where the synapses multiply by a stored weight.
    delivery : ndarray, int8, (axons,)
        `NO_DELIVERY`, `MESSAGE` or `LOCAL`.
    fan_of_source : ndarray, int32, (sources,)
    fan_slice : ndarray, int32, (fans,)
        Slice that sends, or `HOST`.
    fan_start, fan_core : ndarray, int64 (fans + 1,), int32
        Cores that a fan reaches, ascending; the own core is among them where it holds targets.
    """

    source_offset: np.ndarray
    start: np.ndarray
    slice: np.ndarray
    group: np.ndarray
    n_synapses: np.ndarray
    n_nonzero: np.ndarray
    n_visits: np.ndarray
    storage: np.ndarray
    weighted: np.ndarray
    delivery: np.ndarray
    fan_of_source: np.ndarray
    fan_slice: np.ndarray
    fan_start: np.ndarray
    fan_core: np.ndarray

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            getattr(self, name).setflags(write=False)

    @property
    def n_fans(self) -> int:
        """Number of fans."""
        return self.fan_slice.size


@dataclass(frozen=True)
class Routes:
    """Links that fans cross. A link is ``(tile index) * 4 + direction``; directions are +x, -x, +y, -y.

    Parameters
    ----------
    link_start, link : ndarray, int64 (fans + 1,), int32
        Links of each fan; unicast lists a link once per message, multicast once.
    n_messages, n_local : ndarray, int64, (fans,)
        Messages injected per event, and deliveries to the own core.
    hops : ndarray, int64, (fans, 4)
        Links crossed in x, in y, between chips, and messages that stay in their tile (a multicast
        message does when it crosses no link).
    longest : ndarray, int64, (fans, 4)
        The same for the way to the target core that takes longest (most links where hops take no time).
    """

    link_start: np.ndarray
    link: np.ndarray
    n_messages: np.ndarray
    n_local: np.ndarray
    hops: np.ndarray
    longest: np.ndarray

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            getattr(self, name).setflags(write=False)


_NO_AXONS = Axons(*(np.zeros(0, np.int64) for _ in fields(Axons)))
_NO_ROUTES = Routes(*(np.zeros(0, np.int64) for _ in fields(Routes)))


@dataclass(frozen=True, slots=True)
class Use:
    """One row of a utilisation table; `limit` None is not published and not checked."""

    core: int
    layers: tuple[str, ...]
    resource: str
    used: int | None
    limit: int | None


@dataclass(frozen=True, repr=False)
class Program:
    """Slices, places and routes of one network on one chip.

    Parameters
    ----------
    chip : Chip
    network_name, network_sha256 : str
    layer_names : tuple of str
    slices : tuple of LayerSlice
        Empty for dense and zero-skip machines, which need no mapping.
    tile_of_core : ndarray, int64, (cores, 2)
        x and y of each core's tile; chips stand side by side along x.
    port : (int, int)
        Tile of the input port.
    mesh : (int, int)
        Tiles in x (over all chips) and y.
    axons, routes : Axons, Routes
    usage : tuple of Use
    hypothetical : bool
        Graded events on a chip that was described for spikes only.
    notes : tuple of str
        What was assumed or not checked.
    """

    chip: Chip
    network_name: str
    network_sha256: str
    layer_names: tuple[str, ...]
    slices: tuple[LayerSlice, ...] = ()
    tile_of_core: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    port: tuple[int, int] = (0, 0)
    mesh: tuple[int, int] = (1, 1)
    axons: Axons = field(default_factory=lambda: _NO_AXONS)
    routes: Routes = field(default_factory=lambda: _NO_ROUTES)
    usage: tuple[Use, ...] = ()
    hypothetical: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_mapped(self) -> bool:
        """Whether the chip is one of cores; dense and zero-skip machines need no mapping."""
        return bool(self.slices)

    def __repr__(self) -> str:
        return f"Program({self.network_name!r} on {self.chip.name}: {self.cores_used} cores)"

    @property
    def cores_used(self) -> int:
        """Cores that hold neurons; a machine without mapping is one."""
        return max(1, len(self.tile_of_core))

    @property
    def tiles_used(self) -> int:
        """Tiles that hold at least one core in use."""
        return max(1, len({tuple(tile) for tile in self.tile_of_core.tolist()}))

    @property
    def chips_used(self) -> int:
        """Chips that hold at least one core in use."""
        width = self.mesh[0] // self.chip.chips or 1
        return max(1, len({x // width for x in self.tile_of_core[:, 0].tolist()}))

    @cached_property
    def core_of_slice(self) -> np.ndarray:
        """Core of each slice (int64)."""
        return np.array([s.core for s in self.slices], np.int64)

    @cached_property
    def layer_of_slice(self) -> np.ndarray:
        """Layer of each slice (int64)."""
        return np.array([s.layer for s in self.slices], np.int64)

    def slice_of_neuron(self, layer: int, shape: tuple[int, int, int]) -> np.ndarray:
        """Slice that holds each neuron of a layer (int32, (neurons,)); -1 where none does."""
        grid = np.full(shape, -1, np.int32)
        for i, s in enumerate(self.slices):
            if s.layer == layer:
                grid[slice(*s.rows), slice(*s.columns), slice(*s.channels)] = i
        return grid.ravel()

    def utilization(self) -> list[Use]:
        """Used and limit per core and resource, cores ascending; memory in bits."""
        return list(self.usage)

    def cores_of_layer(self, layer: int) -> list[int]:
        """Cores that hold slices of a layer."""
        return sorted({s.core for s in self.slices if s.layer == layer})

    def __str__(self) -> str:
        rows = [f"{self.network_name} on {self.chip.name}: {self.cores_used} cores, {self.tiles_used} tiles"]
        for i, name in enumerate(self.layer_names):
            mine = [s for s in self.slices if s.layer == i]
            if mine:
                kinds = ", ".join(dict.fromkeys(k for s in mine for k in s.storage))
                rows.append(f"  {name}: {len(mine)} slices of up to {max(s.n_neurons for s in mine):,} neurons ({kinds})")
        return "\n".join(rows + [f"  note: {note}" for note in self.notes])


STORAGE_INDEX = {kind: i for i, kind in enumerate(STORAGE_KINDS)}
