"""Part of the checker: synapses, axons, fans and deliveries, from the equation of the synapses alone.

Target row y meets source row ``y * stride + k * dilation - pad`` over tap k (columns likewise), and target
channels meet the source channels of their group. Over one tap the rows [first, last) of a slice therefore
meet a strided window of the grid; synapses per cell are the sum over taps of those windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurosim.chip import STORAGE_KINDS
from neurosim.network import Network
from neurosim.program import HOST, LOCAL, MESSAGE, NO_DELIVERY, LayerSlice, Program
from neurosim.synapses import Synapses


@dataclass(frozen=True)
class Held:
    """Synapses of one group on one slice.

    Parameters
    ----------
    source, n_synapses, n_nonzero : ndarray, int64, (axons,)
        Per source that has an axon (numbered through, ascending).
    all_sources, all_synapses : int
        Sources without an axon included.
    """

    source: np.ndarray
    n_synapses: np.ndarray
    n_nonzero: np.ndarray
    all_sources: int
    all_synapses: int


HeldSynapses = dict[tuple[int, int], Held]
"""(slice, group of synapses) -> what is stored."""


def held_synapses(program: Program, network: Network) -> HeldSynapses:
    """What every slice has to store, derived from the network and the boxes of the slices."""
    held: HeldSynapses = {}
    nonzero: dict[tuple[int, int], np.ndarray] = {}
    offset = dict(zip(network.senders, program.axons.source_offset.tolist(), strict=False))
    for i, s in enumerate(program.slices):
        for g, synapses in enumerate(network.layers[s.layer].synapses):
            if (s.layer, g) not in nonzero and synapses.weight is not None:
                nonzero[s.layer, g] = synapses.weight.reshape(*synapses.weight.shape[:2], *synapses.kernel) != 0
            cell, n_synapses, n_nonzero = _per_cell(synapses, s, nonzero.get((s.layer, g)))
            element = cell if synapses.view is None else synapses.view[cell].astype(np.int64)
            met = (n_synapses > 0) & (element >= 0)
            total = int(met.sum()), int(n_synapses[met].sum())
            if _drops_zeros(synapses, s.storage[g], program.chip.core[0].axon_source):
                met &= n_nonzero > 0
            kept = np.flatnonzero(met)
            if synapses.view is not None:
                kept = kept[np.argsort(element[kept], kind="stable")]
            held[i, g] = Held(offset[synapses.source] + element[kept], n_synapses[kept], n_nonzero[kept], *total)
    return held


def _drops_zeros(synapses: Synapses, storage: str, axon_source: str | None) -> bool:
    """Whether a source without a non-zero weight into a slice has no axon there: by ``core.axon_source``; where that
    is not given, sparse storage of full synapses holds no zeros."""
    by_storage = synapses.kind == "full" and storage == "sparse"
    return by_storage if axon_source is None else axon_source == "nonzero" and synapses.weight is not None


def _per_cell(synapses: Synapses, s: LayerSlice, nonzero: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid cells around a slice, ascending, and its synapses per cell: all, and those with a non-zero weight (int64)."""
    n_groups = synapses.groups if synapses.weight is not None else synapses.grid[2]
    out_per, in_per = synapses.target_grid[2] // n_groups, synapses.grid[2] // n_groups
    low, high = s.channels
    groups = np.arange(low // out_per, -(-high // out_per))
    n_out = np.minimum(high, (groups + 1) * out_per) - np.maximum(low, groups * out_per)
    n_out = np.repeat(n_out, in_per)
    taps = None
    if nonzero is not None:
        first = np.maximum(low, groups * out_per) - low
        taps = np.add.reduceat(nonzero[low:high], first, axis=0, dtype=np.int64).reshape(-1, *synapses.kernel)
    rows, columns = _meetings(s.rows, synapses, 0), _meetings(s.columns, synapses, 1)
    y, x = np.flatnonzero(rows.any(0)), np.flatnonzero(columns.any(0))
    rows, columns = rows[:, y], columns[:, x]
    all_ = rows.sum(0)[:, None, None] * columns.sum(0)[:, None] * n_out
    some = all_
    if taps is not None and (taps != n_out[:, None, None]).any():
        n, (k_y, k_x) = n_out.size, synapses.kernel
        by_column = (taps.reshape(n * k_y, k_x).astype(float) @ columns).reshape(n, k_y, x.size)
        some = by_column.transpose(2, 0, 1).reshape(x.size * n, k_y) @ rows
        some = np.rint(some).astype(np.int64).reshape(x.size, n, y.size).transpose(2, 0, 1)
    channel = groups[0] * in_per + np.arange(n_out.size)
    cell = ((y[:, None] * synapses.grid[1] + x)[:, :, None] * synapses.grid[2] + channel).ravel()
    return cell, all_.astype(np.int64).ravel(), some.astype(np.int64).ravel()


def _meetings(span: tuple[int, int], synapses: Synapses, axis: int) -> np.ndarray:
    """1 where a target row (or column) of [first, last) meets a source row over a tap (float64, (taps, source rows))."""
    met = np.zeros((synapses.kernel[axis], synapses.grid[axis]))
    for k in range(synapses.kernel[axis]):
        met[k, _window(span, synapses, axis, k)] = 1
    return met


def _window(span: tuple[int, int], synapses: Synapses, axis: int, k: int) -> slice:
    """Source rows (or columns) that target rows [first, last) meet over tap `k`."""
    stride, size = synapses.stride[axis], synapses.grid[axis]
    shift = k * synapses.dilation[axis] - synapses.pads[axis]
    first = max(span[0], -(shift // stride))                  # first target with source >= 0
    last = min(span[1], (size - 1 - shift) // stride + 1)     # behind the last target with source < size
    if first >= last:
        return slice(0, 0)
    return slice(first * stride + shift, (last - 1) * stride + shift + 1, stride)


def delivery_problems(program: Program, network: Network, held: HeldSynapses) -> list[str]:
    """Axons against `held`, then fans and deliveries against the cores that hold targets."""
    problems = list(_axon_problems(program, network, held))
    n_cores = len(program.tile_of_core)
    wanted = np.sort(np.concatenate([held[key].source * n_cores + program.slices[key[0]].core for key in held]))
    problems += _fan_problems(program, network, wanted[np.diff(wanted, prepend=-1) > 0])
    problems += _sender_problems(program, network)
    return problems if problems else list(_flag_problems(program, network))


def _axon_problems(program: Program, network: Network, held: HeldSynapses) -> Iterator[str]:
    axons, axons_of = program.axons, _axons_of(program)
    axon_source = np.repeat(np.arange(axons.start.size - 1), np.diff(axons.start))
    falls = (np.diff(axon_source) == 0) & (np.diff(axons.slice) < 0)
    if falls.any():
        yield f"axons of source element {axon_source[falls.argmax()]} are not sorted by slice"
    for (i, g), stored in held.items():
        s, mine = program.slices[i], axons_of[i, g]
        synapses = network.layers[s.layer].synapses[g]
        name = f"layer {network.layers[s.layer].name!r}, slice {i}, synapses {g}"
        if not np.array_equal(axon_source[mine], stored.source):
            yield (f"{name}: {mine.size:,} axons, but {stored.source.size:,} sources have synapses there"
                   f"{_first(axon_source[mine], stored)}")
            continue
        kind = s.storage[g]
        columns: dict[str, np.ndarray | int] = {
            "n_synapses": stored.n_synapses, "n_nonzero": stored.n_nonzero, "storage": STORAGE_KINDS.index(kind),
            "weighted": int(synapses.weight is not None), "n_visits": stored.n_nonzero if kind == "sparse" else stored.n_synapses}
        if kind == "crossbar":
            columns["n_visits"] = _row(program, s, axons.n_visits[mine])
        for column, expected in columns.items():
            wrong = np.flatnonzero(getattr(axons, column)[mine] != expected)
            if wrong.size:
                at = wrong[0]
                due = expected[at] if isinstance(expected, np.ndarray) else expected
                yield (f"{name}: {column} of source element {stored.source[at]} is {getattr(axons, column)[mine[at]]} in the axon table, "
                       f"expected {due} in {kind} storage ({wrong.size:,} axons in all)")


def _row(program: Program, s: LayerSlice, visits: np.ndarray) -> int:
    """Synapses in a row of a crossbar: the neurons of a type of core (where not published, those of the slice)."""
    rows = [core.neurons or s.n_neurons for core in program.chip.core]
    return int(visits[0]) if visits.size and visits[0] in rows else rows[0]


def _first(found: np.ndarray, stored: Held) -> str:
    missing, extra = np.setdiff1d(stored.source, found), np.setdiff1d(found, stored.source)
    if missing.size:
        return f"; source element {missing[0]} has no axon"
    if extra.size:
        return f"; source element {extra[0]} needs none"
    return "; an axon stands twice"


def _axons_of(program: Program) -> dict[tuple[int, int], np.ndarray]:
    """Axons of every (slice, group of synapses), sources ascending."""
    axons = program.axons
    n_groups = max(len(s.storage) for s in program.slices)
    key = axons.slice.astype(np.int64) * n_groups + axons.group
    order = np.argsort(key, kind="stable")
    start = np.searchsorted(key[order], np.arange(len(program.slices) * n_groups + 1))
    return {(i, g): order[start[i * n_groups + g]: start[i * n_groups + g + 1]]
            for i, s in enumerate(program.slices) for g in range(len(s.storage))}


def _fan_problems(program: Program, network: Network, wanted: np.ndarray) -> Iterator[str]:
    """Every source reaches the cores of `wanted` (source * cores + core, ascending) and no other."""
    axons, n_cores = program.axons, len(program.tile_of_core)
    first = axons.fan_start[axons.fan_of_source]
    size = axons.fan_start[axons.fan_of_source + 1] - first
    within = np.arange(size.sum()) - np.repeat(size.cumsum() - size, size)
    core = axons.fan_core[np.repeat(first, size) + within]
    reached = np.repeat(np.arange(size.size), size) * n_cores + core
    if np.array_equal(wanted, reached):
        return
    for word, wrong in (("misses", np.setdiff1d(wanted, reached)), ("is sent needlessly to", np.setdiff1d(reached, wanted))):
        if wrong.size:
            source, at = divmod(int(wrong[0]), n_cores)
            yield f"{_element(program, network, source)} {word} core {at} ({wrong.size:,} deliveries in all)"


def _element(program: Program, network: Network, source: int) -> str:
    j = int(np.searchsorted(program.axons.source_offset, source, side="right")) - 1
    name = "input" if network.senders[j] < 0 else network.layers[network.senders[j]].name
    return f"source element {source} (element {source - program.axons.source_offset[j]} of {name!r})"


def _sender_problems(program: Program, network: Network) -> Iterator[str]:
    """Every element sends from the slice on which it stands, input elements from the port."""
    axons = program.axons
    for j, sender in enumerate(network.senders):
        at = axons.fan_slice[axons.fan_of_source[axons.source_offset[j]: axons.source_offset[j + 1]]]
        expected = np.full(network.size_of(sender), HOST)
        name = "input" if sender < 0 else network.layers[sender].name
        for i, s in enumerate(program.slices):
            if s.layer == sender:
                expected[s.neurons(network.layers[sender].shape)] = i
        if not np.array_equal(at, expected):
            yield f"{name!r}: {(at != expected).sum():,} elements send from a slice where they do not stand"


def _flag_problems(program: Program, network: Network) -> Iterator[str]:
    """Of the axons of one source on one core the first counts the delivery: as local on the sender's own core, else as a message."""
    axons, n_cores = program.axons, len(program.tile_of_core)
    core_of_slice = np.array([s.core for s in program.slices] + [HOST])
    source = np.repeat(np.arange(axons.start.size - 1), np.diff(axons.start))
    core = core_of_slice[axons.slice]
    own = core_of_slice[axons.fan_slice[axons.fan_of_source]]
    _, first = np.unique(source * n_cores + core, return_index=True)
    expected = np.full(source.size, NO_DELIVERY)
    expected[first] = np.where(own[source[first]] == core[first], LOCAL, MESSAGE)
    wrong = np.flatnonzero(axons.delivery != expected)
    if wrong.size:
        words, at = {NO_DELIVERY: "no delivery", MESSAGE: "a message", LOCAL: "a local delivery"}, wrong[0]
        yield (f"{_element(program, network, int(source[at]))} counts {words.get(int(axons.delivery[at]), 'something unknown')} at core "
               f"{core[at]}, expected {words[int(expected[at])]} ({wrong.size:,} deliveries in all)")
