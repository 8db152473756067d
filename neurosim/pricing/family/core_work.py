"""Loads: how the counts of one mapping become the work of its cores on one chip.

The work of a core in a timestep is a sum of table rows (`neurosim.pricing.family.cells`), each times a count
and the time of its action; of the actions of an overlap group only the largest counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.chip import STORAGE_KINDS, Chip
from neurosim.kernels import cells as kernel
from neurosim.kernels import traffic as columns
from neurosim.mesh import HOP_KINDS
from neurosim.pricing.energy import COLUMN
from neurosim.pricing.family.cells import Cells
from neurosim.pricing.family.terms import Terms
from neurosim.program import HOST, Program
from neurosim.trace import Trace

_ROOTS = {column: action.partition(".")[0] for action, column in COLUMN.items()}
"""Column of the traffic kernel -> action, without its kind."""


@dataclass(frozen=True)
class Times:
    """Times of a chip's actions as the kernel takes them.

    Parameters
    ----------
    of_column : ndarray, float64, (columns,)
        Seconds per count of a column of `kernels/traffic.py`.
    access_s : float
        Seconds of one neuron access.
    operation : tuple of int
        What each segment of a core's terms does (`kernels/cells.py`).
    segment : ndarray, int64, (columns,)
        Segment to which a column belongs.
    access_segment : int
    of_hop : ndarray, float64, (4,)
        Seconds per hop in x, in y, between chips, inside a tile.
    """

    of_column: np.ndarray
    access_s: float
    operation: tuple[int, ...]
    segment: np.ndarray
    access_segment: int
    of_hop: np.ndarray


def times_of(chip: Chip) -> Times:
    """Read the times of a chip; actions that are held by others or not published take none."""
    held = chip.included("time")

    def seconds(action: str) -> float:
        return 0.0 if action.partition(".")[0] in held else chip.time_s(action) or 0.0

    of_column = np.zeros(columns.N_COLUMNS)
    for column, root in _ROOTS.items():
        of_column[column] = seconds(root if root != "synapse" else f"synapse.{STORAGE_KINDS[column - columns.VISITS]}")
    operation, segment_of = [kernel.ADD], dict[str, int]()
    for group in chip.timing.overlap or ():
        members = [root for root in dict.fromkeys(group) if root in {*_ROOTS.values(), "neuron_access"}]
        for k, root in enumerate(members):
            segment_of[root] = len(operation)
            operation.append(kernel.FIRST if k == 0 else kernel.LARGER)
        if members:
            operation.append(kernel.CLOSE)
    segment = np.zeros(columns.N_COLUMNS, np.int64)
    for column, action in _ROOTS.items():
        segment[column] = segment_of.get(action, 0)
    return Times(of_column, seconds("neuron_access"), tuple(operation), segment, segment_of.get("neuron_access", 0),
                 np.array([seconds(f"hop.{kind}") if chip.noc or kind == "chip" else 0.0 for kind in HOP_KINDS]))


class Mapping:
    """One mapping of a family: cores in order of level, the terms of each, the pairs between them.

    Attributes
    ----------
    order : ndarray, int64, (cores,)
        Slices in order of level; a *seat* is a place in this order.
    level_start : ndarray, int64, (levels + 1,)
        Seats of each level.
    slice, core, column, row, value : ndarray, int64, (terms,)
        Terms with the slice (and seat) that they count for.
    pair : ndarray, int64, (pairs,)
        Index of each pair in `Terms`; `source` and `target` are slices of this mapping, or `HOST`.
    pair_level : ndarray, int64, (pairs,)
        Level in which the messages of a pair travel.
    """

    def __init__(self, cells: Cells, terms: Terms, index: int, trace: Trace) -> None:
        begin, end = int(cells.start[index]), int(cells.start[index + 1])
        layer = np.array([s.layer for s in cells.slices[begin:end]])
        levels, pipelined = np.array(trace.network.levels), trace.schedule == "pipelined"
        level = np.zeros(layer.size, np.int64) if pipelined else levels[layer] - 1
        self.n_levels = 1 if pipelined else trace.network.depth
        self.order = np.argsort(level, kind="stable")
        self.level_start = np.searchsorted(level[self.order], np.arange(self.n_levels + 1))
        self.neurons = np.array([s.n_neurons for s in cells.slices[begin:end]], np.int64)[self.order]
        mine = slice(*np.searchsorted(terms.slice, [begin, end]))
        self.slice, self.column, self.row, self.value = terms.slice[mine] - begin, terms.column[mine], terms.row[mine], terms.value[mine]
        self.core = np.argsort(self.order)[self.slice]
        self.pair = np.arange(terms.pairs_of_mapping[index], terms.pairs_of_mapping[index + 1])
        source = terms.pair_source[self.pair]
        self.source, self.target = np.where(source == HOST, HOST, source - begin), terms.pair_target[self.pair] - begin
        sends = np.where(source == HOST, 0, levels[layer[self.source]])
        self.pair_level = np.zeros(self.pair.size, np.int64) if pipelined else np.minimum(sends, self.n_levels - 1)

    def counts(self, sums: np.ndarray) -> np.ndarray:
        """Counts of every slice from the sums of all rows over time (int64, (slices, columns))."""
        found = np.zeros((self.order.size, columns.N_COLUMNS), np.int64)
        np.add.at(found, (self.slice, self.column), self.value * sums[self.row])
        return found

    def load(self, times: Times) -> tuple[np.ndarray, ...]:
        """Segments and terms of every core: operation, constant, term_start, row, value."""
        n = len(times.operation)
        operation, constant = np.tile(times.operation, self.order.size), np.zeros(n * self.order.size)
        constant[times.access_segment:: n] = times.access_s * self.neurons
        weight = times.of_column[self.column]
        keep = weight != 0
        segment = self.core[keep] * n + times.segment[self.column[keep]]
        order = np.argsort(segment, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(segment, minlength=constant.size))])
        return operation, constant, start, self.row[keep][order], (self.value[keep] * weight[keep])[order]


def ends_of_pairs(program: Program, mapping: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Tiles between which the messages of each pair of a mapping travel (int64, (pairs, 2) each)."""
    port = np.array(program.port, np.int64)
    start = np.where((mapping.source == HOST)[:, None], port, program.tile_of_core[mapping.source])
    return start, program.tile_of_core[mapping.target]
