"""Price a family of mappings of one run from its cells: the same figures as `price`, thousands at a time.

Configurations of one *load* (a mapping with the times of a chip) share the work of their cores and
differ in places, links and barriers. Runs are tabulated in blocks of timesteps and configurations
are taken in batches, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.kernels import cells as kernel
from neurosim.kernels import traffic as columns
from neurosim.mesh import hops_of_paths, link_name, paths
from neurosim.pricing.assemble import assembled
from neurosim.pricing.energy import action_counts, emulated, energy, host_counts
from neurosim.pricing.family.cells import Cells, lay_out
from neurosim.pricing.family.core_work import Mapping, Times, ends_of_pairs, times_of
from neurosim.pricing.family.tabulate import tabulate
from neurosim.pricing.family.terms import Terms, encode
from neurosim.pricing.latency import answers, answers_are_steps, missing_times, spread
from neurosim.pricing.traffic import mapping_counts
from neurosim.program import HOST, Program
from neurosim.report import Latency, Report
from neurosim.trace import Trace

TABLE_BYTES = 128 << 20
"""Tables are made for as many timesteps at a time as fit this."""

STEPS = 16_000_000
"""Step times that are held at once, and that reports keep (configurations x timesteps)."""


@dataclass(frozen=True)
class Outcome:
    """What one mapping did on one chip.

    Parameters
    ----------
    counts : ndarray, int64, (slices, columns)
        Summed over the recorded timesteps (`kernels/traffic.py`).
    messages, input_messages : int
    hops : ndarray, int64, (4,)
        In x, in y, between chips, inside a tile.
    steps_s : ndarray, float64, (timesteps,)
    total_s, p99_s, max_s : float
        Sum, 99th percentile and maximum of them.
    parts : ndarray, float64, (4,)
        Seconds of cores, links, hops and barriers.
    core_work_s, core_critical_s : ndarray, float64, (cores,)
        Seconds of work, and seconds for which each core was the slowest thing of its level.
    critical_link : (int, float)
        Link that was the slowest thing of its level for longest, and for how many seconds; (-1, 0) where none was.
    burst : ndarray, int64, (cores,)
        Most events that arrive in one timestep.
    """

    counts: np.ndarray
    messages: int
    input_messages: int
    hops: np.ndarray
    steps_s: np.ndarray
    total_s: float
    p99_s: float
    max_s: float
    parts: np.ndarray
    core_work_s: np.ndarray
    core_critical_s: np.ndarray
    critical_link: tuple[int, float]
    burst: np.ndarray


def price_family(trace: Trace, programs: Sequence[Program], *, period_s: float | None = None) -> list[Report]:
    """Price many programs of one run together.

    Parameters
    ----------
    trace : Trace
    programs : sequence of Program
        Mappings that can be counted in boxes (`neurosim.pricing.family.cells.why_not`); they need no axons or routes.
    period_s : float or None
        As in `neurosim.pricing.price`.

    Returns
    -------
    list of Report
        As `price` gives them, but that energy is not told apart by layer and core, nor waiting by place, and that
        more than `STEPS` step times are not kept.

    Raises
    ------
    PricingError
        When the trace holds no event record.
    """
    if trace.n_recorded == 0:
        raise PricingError("the trace holds no event record; simulate again with recording on")
    host, found = host_counts(trace, trace.n_recorded), dict[int, Report]()
    keep = len(programs) * trace.n_recorded <= STEPS
    for i, outcome in outcomes(trace, programs):
        report = _report(trace, programs[i], outcome, host, period_s)
        if not keep and report.latency is not None:
            report = replace(report, latency=replace(report.latency, per_timestep_s=np.zeros(0)))
        found[i] = report
    return [found[i] for i in range(len(programs))]


def _report(trace: Trace, program: Program, outcome: Outcome, host: dict[str, int], period_s: float | None) -> Report:
    actions = action_counts(trace, program, outcome.counts, outcome.hops, trace.n_recorded, host)
    latency = _latency(trace, program, outcome, actions)
    cost = energy(program.chip, program, actions, trace.n_recorded, latency)
    named = mapping_counts(outcome.counts, outcome.hops, outcome.messages, outcome.input_messages)
    return assembled(trace, program, actions, cost, latency, named, outcome.burst, period_s)


def _latency(trace: Trace, program: Program, outcome: Outcome, actions: dict[str, int]) -> Latency | None:
    step, whole = outcome.steps_s, outcome.total_s
    missing = missing_times(program, actions, sum(outcome.hops[:3].tolist()) > 0)
    if not whole and missing:
        return None
    mean = whole / step.size
    times = {"mean": mean, "p99": outcome.p99_s, "max": outcome.max_s}
    answer = times if answers_are_steps(trace) else spread(answers(step, trace))
    names = ("cores", "links", "hops", "barrier")
    return Latency(times, answer, 1 / (mean * trace.timesteps_per_input) if whole else 0.0, _critical(program, outcome, whole or 1.0),
                   dict(zip(names, outcome.parts.tolist(), strict=True)), missing, step, outcome.core_work_s / step.size, not missing,
                   outcome.core_critical_s / (whole or 1.0))


def _critical(program: Program, outcome: Outcome, whole_s: float) -> dict[str, Any]:
    """The core or link that was waited for longest."""
    core, (link, link_s) = int(outcome.core_critical_s.argmax()), outcome.critical_link
    if link_s > outcome.core_critical_s[core]:
        share = link_s / whole_s
        return {"kind": "link", "link": link_name(link, program.mesh[0]), "layer": "", "share": share}
    return {"kind": "core", "core": core, "layer": program.layer_names[program.slices[core].layer],
            "share": float(outcome.core_critical_s[core]) / whole_s}


def outcomes(trace: Trace, programs: Sequence[Program]) -> Iterator[tuple[int, Outcome]]:
    """Count and time every program of a family, in any order, each with its index; none needs axons or routes (`why_not`)."""
    slices = {id(p.slices): p.slices for p in programs}
    tables = Tables(lay_out(trace, list(slices.values())), trace)
    terms = encode(tables.cells, _row_neurons(programs, slices))
    mappings = {key: Mapping(tables.cells, terms, k, trace) for k, key in enumerate(slices)}
    known = Known()
    keys = [known.load_key(p) for p in programs]
    order = sorted(range(len(programs)), key=lambda i: keys[i])
    size = max(1, STEPS // trace.n_recorded)
    for begin in range(0, len(order), size):
        chosen = order[begin: begin + size]
        batch = Batch(tables, terms, [programs[i] for i in chosen], [mappings[id(programs[i].slices)] for i in chosen],
                      [keys[i] for i in chosen], known)
        for table, first in tables.blocks():
            batch.add(table, first)
            batch.add_bursts(table)
        yield from zip(chosen, batch.read(tables.sums), strict=True)


class Known:
    """What configurations share: times of equal cost tables, ways between tiles of equal places."""

    def __init__(self) -> None:
        self._times: dict[Any, Times] = {}
        self._equal: dict[Any, Times] = {}
        self._ways: dict[Any, tuple[tuple[np.ndarray, np.ndarray], np.ndarray]] = {}

    def times(self, chip: Chip) -> Times:
        """Times of a chip; equal ones are one object."""
        core = chip.core[0]
        key = id(chip.cost), core.clock, core.lanes, chip.timing.overlap
        if key not in self._times:
            times = times_of(chip)
            content = times.of_column.tobytes(), times.of_hop.tobytes(), times.access_s, times.operation, times.segment.tobytes()
            self._times[key] = self._equal.setdefault(content, times)
        return self._times[key]

    def ways(self, programs: list[Program], mappings: list[Mapping]) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[np.ndarray]]:
        """Tiles between which the messages of every pair travel, and hops of these paths, of every configuration."""
        found = []
        for p, m in zip(programs, mappings, strict=True):
            key = id(m), id(p.tile_of_core), p.port, p.mesh, p.chip.chips
            if key not in self._ways:
                ends = ends_of_pairs(p, m)
                self._ways[key] = ends, hops_of_paths(*ends, p.mesh[0] // p.chip.chips)
            found.append(self._ways[key])
        return [ends for ends, _ in found], [hops for _, hops in found]

    def load_key(self, program: Program) -> tuple[int, int]:
        """Programs of equal key have equal work on every core."""
        return id(program.slices), id(self.times(program.chip))


def _row_neurons(programs: Sequence[Program], slices: dict[int, Any]) -> np.ndarray:
    """Synapses of a whole row in crossbar storage, of every slice of every mapping."""
    cores = {id(p.slices): p.chip.core for p in programs}
    return np.array([cores[key][s.core_type].neurons or s.n_neurons for key, mapping in slices.items() for s in mapping], np.int64)


class Tables:
    """Tables of a run in blocks of timesteps; made once where one block holds the run."""

    def __init__(self, cells: Cells, trace: Trace) -> None:
        self.cells, self.trace = cells, trace
        self.size = max(1, min(trace.n_recorded, TABLE_BYTES // (4 * cells.n_rows)))
        self.kept: np.ndarray | None = None
        self.sums = np.zeros(cells.n_rows, np.int64)
        self.is_summed = False

    def blocks(self) -> Iterator[tuple[np.ndarray, int]]:
        """(table, first timestep) of every block; after a pass `sums` holds every row's sum over time."""
        for begin in range(0, self.trace.n_recorded, self.size):
            end = min(begin + self.size, self.trace.n_recorded)
            table = self.kept if self.kept is not None else tabulate(self.cells, self.trace, begin, end)
            if end - begin == self.trace.n_recorded:
                self.kept = table
            if not self.is_summed:
                self.sums += table.sum(1, dtype=np.int64)
            yield table, begin
        self.is_summed = True


def _offsets(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts]).astype(dtype)


def _level_rows(trace: Trace, cells: Cells, n_levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that count all events whose messages travel in each level, one level after the other."""
    levels = [0 if sender < 0 else min(trace.network.levels[sender], n_levels - 1) for sender in trace.network.senders]
    rows = [[cells.sent[j].first + cells.sent[j].n_rows - 1 for j, at in enumerate(levels) if at == level] for level in range(n_levels)]
    return _offsets([len(r) for r in rows]), np.array([row for r in rows for row in r], np.int64)


class Batch:
    """Configurations in order of their loads, as the arrays that the kernel takes, and what it has added up so far."""

    def __init__(self, tables: Tables, terms: Terms, programs: list[Program], mappings: list[Mapping], keys: list[tuple[int, int]],
                 known: Known) -> None:
        trace = tables.trace
        self.programs, self.mappings, self.terms = programs, mappings, terms
        self.times = [known.times(p.chip) for p in programs]
        self.ends, self.hops = known.ways(programs, mappings)
        first = [i for i, key in enumerate(keys) if i == 0 or keys[i - 1] != key]
        self.load_of = np.cumsum(np.isin(np.arange(len(keys)), first)) - 1
        self.load_cores = self._loads(first)
        self._machines(trace)
        self._pairs()
        self.level_rows = _level_rows(trace, tables.cells, mappings[0].n_levels)
        cores = [m.order.size for m in mappings]
        self.critical_start = _offsets(cores)
        n = len(programs)
        self.steps, self.parts = np.zeros((n, trace.n_recorded)), np.zeros((n, 4))
        self.core_work, self.core_critical = np.zeros(int(self.load_cores[-1])), np.zeros(int(self.critical_start[-1]))
        self.link_critical = np.zeros((n, self.n_links))
        self.burst: dict[int, np.ndarray] = {}

    def _loads(self, first: list[int]) -> np.ndarray:
        """Segments and terms of every load; cores of each."""
        parts = [self.mappings[i].load(self.times[i]) for i in first]
        cores = _offsets([self.mappings[i].order.size for i in first])
        self.level_core = np.stack([self.mappings[i].level_start + cores[k] for k, i in enumerate(first)])
        segments = [np.full(self.mappings[i].order.size, len(self.times[i].operation)) for i in first]
        self.segment_start = _offsets(np.concatenate(segments))
        self.operation, self.constant = _joined([p[0] for p in parts], np.int64), _joined([p[1] for p in parts], np.float64)
        at = _offsets([p[3].size for p in parts])
        self.term_start = np.append(_joined([p[2][:-1] + at[k] for k, p in enumerate(parts)], np.int64), at[-1])
        self.term_row, self.term_value = _joined([p[3] for p in parts], np.int64), _joined([p[4] for p in parts], np.float64)
        return cores

    def _machines(self, trace: Trace) -> None:
        """Idle work, links and barriers of every configuration."""
        slow = np.array([emulated(trace, p.chip) for p in self.programs])
        accesses = [m.neurons * t.access_s for m, t in zip(self.mappings, self.times, strict=True)]
        self.idle = np.where(slow, [a.max() for a in accesses], 0.0)
        self.idle_core = np.array([a.argmax() for a in accesses], np.int64)
        self.barrier = np.array([p.chip.barrier_s(p.tiles_used) or 0.0 for p in self.programs]) * np.where(slow, trace.network.depth, 1)
        nocs = [p.chip.noc for p in self.programs]
        self.flit_time = np.array([(noc.flit_time if noc else None) or 0.0 for noc in nocs])
        self.events_per_message = np.array([noc.events_per_message if noc else 1 for noc in nocs], np.int64)

    def _pairs(self) -> None:
        """Pairs of every configuration by level, in falling order of hop latency, with their links where these take time."""
        pair, pair_time, sizes, level_pair, n_before = [], [], [], [], 0
        link: list[np.ndarray] = []
        self.crossed: list[np.ndarray] = []
        for i, (p, m) in enumerate(zip(self.programs, self.mappings, strict=True)):
            seconds = self.hops[i] @ self.times[i].of_hop
            keep = np.flatnonzero(seconds > 0) if not self.flit_time[i] else np.arange(seconds.size)
            order = keep[np.lexsort((-seconds[keep], m.pair_level[keep]))]
            pair.append(m.pair[order])
            pair_time.append(seconds[order])
            size, crossed = np.zeros(order.size, np.int64), np.zeros(0, np.int64)
            if self.flit_time[i]:
                start, stop = self.ends[i]
                size, links = paths(start[order], stop[order], p.mesh[0])
                crossed, number = np.unique(links, return_inverse=True)
                link.append(number.ravel())
            self.crossed.append(crossed)
            sizes.append(size)
            level_pair.append(n_before + np.searchsorted(m.pair_level[order], np.arange(m.n_levels + 1)))
            n_before += order.size
        self.n_links = max([1, *(crossed.size for crossed in self.crossed)])
        self.pair, self.pair_time = _joined(pair, np.int64), _joined(pair_time, np.float64)
        self.level_pair, self.link_start, self.link = np.stack(level_pair), _offsets(_joined(sizes, np.int64)), _joined(link, np.int64)

    def add(self, table: np.ndarray, first: int) -> None:
        """Add a block of timesteps."""
        t = self.terms
        kernel.step_times(
            table, self.load_of, self.level_core, self.level_pair, self.idle, self.idle_core, self.flit_time, self.events_per_message,
            self.barrier, self.segment_start, self.operation, self.constant, self.term_start, self.term_row, self.term_value,
            self.pair, self.pair_time, t.pair_start, t.pair_row, t.pair_value, *self.level_rows, self.link_start, self.link, self.n_links,
            self.steps[:, first: first + table.shape[1]], self.core_work, self.critical_start, self.core_critical,
            self.link_critical, self.parts)

    def add_bursts(self, table: np.ndarray) -> None:
        """Note the most events that arrive at each core in one timestep of a block."""
        for m in {id(m): m for m in self.mappings}.values():
            arrivals = m.column == columns.MESSAGES_IN
            start = np.searchsorted(m.slice[arrivals], np.arange(m.order.size + 1))
            most = self.burst.setdefault(id(m), np.zeros(m.order.size))
            kernel.largest(table, start, m.row[arrivals], m.value[arrivals].astype(np.float64), most)

    def _critical_link(self, i: int) -> tuple[int, float]:
        """The link that was waited for longest, and how long; (-1, 0) where none was."""
        crossed, seconds = self.crossed[i], self.link_critical[i]
        most = int(seconds[: crossed.size].argmax()) if crossed.size else -1
        return (int(crossed[most]), float(seconds[most])) if most >= 0 and seconds[most] > 0 else (-1, 0.0)

    def read(self, sums: np.ndarray) -> list[Outcome]:
        """Figures of every configuration."""
        pair_sum = np.add.reduceat(self.terms.pair_value * sums[self.terms.pair_row], self.terms.pair_start[:-1])
        counts = {id(m): m.counts(sums) for m in {id(m): m for m in self.mappings}.values()}
        total, p99, most = self.steps.sum(1).tolist(), np.percentile(self.steps, 99, axis=1).tolist(), self.steps.max(1).tolist()
        seats = {id(m): np.argsort(m.order) for m in self.mappings}
        burst = {key: most.astype(np.int64) for key, most in self.burst.items()}
        found = []
        for i, m in enumerate(self.mappings):
            sent = pair_sum[m.pair]
            at = seats[id(m)]
            work = self.core_work[self.load_cores[self.load_of[i]]:][: m.order.size]
            critical = self.core_critical[self.critical_start[i]: self.critical_start[i + 1]]
            found.append(Outcome(counts[id(m)], int(sent.sum()), int(sent[m.source == HOST].sum()), sent @ self.hops[i], self.steps[i],
                                 total[i], p99[i], most[i], self.parts[i], work[at], critical[at],
                                 self._critical_link(i), burst[id(m)]))
        return found
