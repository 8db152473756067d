"""Latency: the slowest core or the busiest link of every level, the longest message, the barrier.

work(core, level) = sum of count x time of the actions of that level's slices on that core; of the
actions of one overlap group only the largest counts.

fall_through:  T = sum over levels of [max(slowest core, busiest link) + longest hop latency] + barrier
emulated:      on a chip that runs pipelined natively every level is one of its timesteps: each
               core accesses all its neurons in each of them, and there are depth barriers
pipelined:     T = max(slowest core over all levels, busiest link) + longest hop latency + barrier;
               an input is answered after depth timesteps

Messages travel in the level after the one that sends them (the input's in the first). Time of a
link is flits x ``noc.flit_time``. Host input, host output and reset take no part in T.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from neurosim.kernels import traffic as kernel
from neurosim.mesh import HOP_KINDS, link_name
from neurosim.pricing.bottleneck import Waits
from neurosim.pricing.energy import COLUMN, emulated
from neurosim.pricing.traffic import Block
from neurosim.program import HOST, Program
from neurosim.report import Latency, Spread
from neurosim.trace import Trace


@dataclass(frozen=True)
class Times:
    """What the time of a block of timesteps is made of.

    Parameters
    ----------
    busy_s : ndarray, float64, (timesteps, cells)
        Work of each core in each of its levels (`Clock.cell_core`, `Clock.cell_level`); emulated, with
        the accesses of all neurons of the core.
    wait_s : ndarray, float64, (timesteps, levels)
        max(slowest core, busiest link).
    link_s, link : ndarray, float64 and int64, (timesteps, levels)
        Time of the busiest link, and which it is (-1: none).
    hops_s : ndarray, float64, (timesteps, levels)
        Hop latency of the longest message.
    barrier_s : ndarray, float64, (levels,)
        The barrier behind each level: behind the last one only, unless emulated.
    step_s : ndarray, float64, (timesteps,)
    """

    busy_s: np.ndarray
    wait_s: np.ndarray
    link_s: np.ndarray
    link: np.ndarray
    hops_s: np.ndarray
    barrier_s: np.ndarray
    step_s: np.ndarray


@dataclass
class Clock:
    """Adds up the time of a run, block by block."""

    trace: Trace
    program: Program
    steps: list[np.ndarray] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=lambda: {"hops": 0.0, "barrier": 0.0})

    def __post_init__(self) -> None:
        chip, network = self.program.chip, self.trace.network
        self.local = bool(chip.noc and chip.noc.local_messages)
        self.held = chip.included("time")
        self.is_pipelined = self.trace.schedule == "pipelined"
        self.n_levels = 1 if self.is_pipelined else network.depth
        levels = np.array(network.levels) - 1
        slice_level = np.zeros(len(self.program.slices), np.int64) if self.is_pipelined else levels[self.program.layer_of_slice]
        n_cores = self.program.cores_used
        cells, self.cell_of_slice = np.unique(slice_level * n_cores + self.program.core_of_slice, return_inverse=True)
        self.cell_core, self.cell_level = cells % n_cores, cells // n_cores
        self.core_work, self.slice_work = np.zeros(n_cores), np.zeros(len(self.program.slices))
        self.slice_level, self.emulated = slice_level, emulated(self.trace, chip)
        self.waits = Waits(self.n_levels, n_cores, self._idle if self.emulated else np.zeros(n_cores))
        n_links = 4 * int(np.prod(self.program.mesh))
        self.link_total, self.link_flits = np.zeros(n_links, np.int64), np.zeros(n_links, np.int64)
        self.load = np.zeros((self.n_levels, n_links), np.int64)

    def time_of(self, action: str) -> float:
        """Seconds per action; 0 where it is included elsewhere or not published."""
        return 0.0 if action.partition(".")[0] in self.held else self.program.chip.time_s(action) or 0.0

    @cached_property
    def _idle(self) -> np.ndarray:
        """Seconds that each core takes to access all its neurons (cores,)."""
        neurons = np.array([s.n_neurons for s in self.program.slices], float)
        return np.bincount(self.program.core_of_slice, neurons, self.program.cores_used) * self.time_of("neuron_access")

    def _by_cell(self, of_slice: np.ndarray) -> np.ndarray:
        if np.array_equal(self.cell_of_slice, np.arange(of_slice.shape[1])):
            return of_slice
        one_hot = np.zeros((of_slice.shape[1], self.cell_core.size))
        one_hot[np.arange(of_slice.shape[1]), self.cell_of_slice] = 1
        return of_slice @ one_hot

    def _of_action(self, counts: np.ndarray, action: str) -> np.ndarray:
        """Seconds of one action per timestep and slice."""
        if action == "neuron_access":
            neurons = np.array([s.n_neurons for s in self.program.slices], float)
            return np.broadcast_to(neurons * self.time_of(action), counts.shape[:2])
        n = counts[:, :, COLUMN[action]]
        if self.local and action.startswith("message"):
            n = n + counts[:, :, kernel.LOCAL_IN if action == "message_in" else kernel.LOCAL_OUT]
        return n * self.time_of(action)

    def _work(self, counts: np.ndarray) -> np.ndarray:
        """work(core, level): seconds per timestep and cell."""
        actions, grouped = ["neuron_access", *COLUMN], set()
        work = np.zeros((counts.shape[0], self.cell_core.size))
        for group in self.program.chip.timing.overlap or ():
            members = [a for a in actions if a.partition(".")[0] in group]
            grouped |= set(members)
            sums: dict[str, np.ndarray] = {}
            for a in members:
                root = a.partition(".")[0]
                sums[root] = sums.get(root, 0) + self._by_cell(self._of_action(counts, a))
            if sums:
                work += np.max(list(sums.values()), axis=0)
        alone = sum(self._of_action(counts, a) for a in actions if a not in grouped and self.time_of(a))
        if isinstance(alone, np.ndarray):
            work += self._by_cell(alone)
        self.slice_work += sum(self._of_action(counts, a).sum(0) for a in actions)
        return work

    @cached_property
    def _fans(self) -> tuple[np.ndarray, np.ndarray]:
        """Level in which the messages of each fan travel, and hop latency of its longest message."""
        sender = self.program.axons.fan_slice
        level = np.zeros(sender.size, np.int64)
        if not self.is_pipelined:
            of_layer = np.array(self.trace.network.levels)
            level[sender != HOST] = of_layer[self.program.layer_of_slice[sender[sender != HOST]]]
            level = np.minimum(level, self.n_levels - 1)
        kinds = [self.time_of(f"hop.{kind}") if self.program.chip.noc or kind == "chip" else 0.0 for kind in HOP_KINDS]
        return level, self.program.routes.longest @ np.array(kinds)

    def _links(self, fans: np.ndarray, total: np.ndarray, flits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Busiest link in flits, which it is, and longest hop latency, each (timesteps, levels); adds to `total` and `flits`."""
        routes, noc = self.program.routes, self.program.chip.noc
        shape = (fans.shape[0], self.n_levels)
        busiest, busiest_link, longest = np.zeros(shape, np.int64), np.full(shape, -1), np.zeros(shape)
        kernel.links(fans, *self._fans, routes.link_start, routes.link, noc.events_per_message if noc else 1,
                     self.load, busiest, busiest_link, longest, total, flits)
        return busiest, busiest_link, longest

    def flits(self, block: Block) -> np.ndarray:
        """Flits over each link in each timestep of a block (int64, (timesteps, links)); nothing is added up."""
        found = np.zeros((block.fans.shape[0], self.link_flits.size), np.int64)
        for t, flits in enumerate(found):
            self._links(block.fans[t: t + 1], np.zeros_like(flits), flits)
        return found

    def add(self, block: Block) -> Times:
        """Add the time of a block of timesteps."""
        chip = self.program.chip
        work = self._work(block.counts)
        busy = work + (self._idle[self.cell_core] - self._own_access) if self.emulated else work
        busiest, busiest_link, longest = self._links(block.fans, self.link_total, self.link_flits)
        link_s = busiest * ((chip.noc.flit_time if chip.noc else None) or 0.0)
        wait, total = np.zeros_like(longest), np.zeros(work.shape[0])
        for level in range(self.n_levels):
            mine = np.flatnonzero(self.cell_level == level)
            wait[:, level] = self.waits.add(level, busy[:, mine], self.cell_core[mine], link_s[:, level], busiest_link[:, level])
            total += wait[:, level] + longest[:, level]
        one = chip.barrier_s(self.program.tiles_used) or 0.0
        barrier = one * (self.trace.network.depth if self.emulated else 1)
        self.parts["hops"] += float(longest.sum())
        self.parts["barrier"] += barrier * total.size
        self.core_work += np.bincount(self.cell_core, work.sum(0), self.core_work.size)
        self.steps.append(total + barrier)
        behind = np.where(self.emulated | (np.arange(self.n_levels) == self.n_levels - 1), one, 0.0)
        return Times(busy, wait, link_s, busiest_link, longest, behind, self.steps[-1])

    @cached_property
    def _own_access(self) -> np.ndarray:
        """Access time that the work of each cell already holds."""
        neurons = np.array([s.n_neurons for s in self.program.slices], float)
        return np.bincount(self.cell_of_slice, neurons, self.cell_core.size) * self.time_of("neuron_access")

    def read(self, counts: dict[str, int]) -> Latency | None:
        """The latency of everything added; None where the chip publishes no time at all."""
        step = np.concatenate(self.steps)
        missing = missing_times(self.program, counts, bool(self.link_total.any()))
        if not step.any() and missing:
            return None
        answer, whole = answers(step, self.trace), float(step.sum()) or 1.0
        parts = self.parts | {"cores": float(self.waits.core_s.sum()), "links": self.waits.link_s}
        places = self.waits.places(step.size, whole, parts, one_level=self.n_levels == 1, layer_of=self._layer_of,
                                   link_name=self._link_name)
        return Latency(spread(step), spread(answer), float(1 / (step.mean() * self.trace.timesteps_per_input)) if step.any() else 0.0,
                       self._critical(whole), parts, missing, step, self.core_work / step.size, not missing,
                       self.waits.core_s.sum(0) / whole, places, self._gains(step, missing))

    def _gains(self, step: np.ndarray, missing: tuple[str, ...]) -> dict[str, float | None]:
        """Mean timestep under each what-if of `neurosim.report.GAINS`; None where nothing is known of it."""
        noc = self.program.chip.noc
        saved: dict[str, float | None] = {
            "balanced": self.waits.balanced_saved, "links": self.waits.link_saved, "hops": self.parts["hops"],
            "barrier": self.parts["barrier"]}
        if self.link_total.any() and (noc is None or noc.flit_time is None):
            saved["links"] = None
        if not self.parts["hops"] and ("hop" in self.held or any(a.startswith("hop") for a in missing)):
            saved["hops"] = None
        if "barrier" in missing:
            saved["barrier"] = None
        return {name: None if s is None else max(0.0, float(step.sum()) - s) / step.size for name, s in saved.items()}

    def _layer_of(self, level: int, core: int) -> str:
        """Layer with most work on a core in a level (of all its levels where it has none in this one)."""
        mine = np.flatnonzero(self.program.core_of_slice == core)
        here = mine[self.slice_level[mine] == level]
        mine = here if here.size else mine
        return self.program.layer_names[self.program.slices[mine[self.slice_work[mine].argmax()]].layer]

    def _link_name(self, link: int) -> str:
        return link_name(link, self.program.mesh[0])

    def _critical(self, whole_s: float) -> dict[str, Any]:
        """The core or link that was waited for longest, over all levels."""
        core_s, link_s = self.waits.core_s.sum(0), dict.fromkeys((link for _, link in self.waits.links), 0.0)
        for (_, link), row in self.waits.links.items():
            link_s[link] += float(row[0])
        if max(link_s.values(), default=0.0) > core_s.max():
            busiest = max(link_s, key=lambda link: link_s[link])
            return {"kind": "link", "link": self._link_name(busiest), "layer": "", "share": link_s[busiest] / whole_s}
        core = int(core_s.argmax())
        return {"kind": "core", "core": core, "layer": self._layer_of(-1, core), "share": float(core_s[core]) / whole_s}


def missing_times(program: Program, counts: dict[str, int], uses_links: bool) -> tuple[str, ...]:
    """Actions that happened, take part in the time of a timestep and have no published time."""
    chip = program.chip
    held = chip.included("time")
    found = [a for a, n in counts.items() if n and a.partition(".")[0] not in held
             and (a in COLUMN or a == "neuron_access" or a.startswith("hop")) and chip.time_s(a) is None]
    if uses_links and (chip.noc is None or chip.noc.flit_time is None) and "hop" not in held:
        found.append("link")
    if chip.supports.native_schedule == "pipelined" and chip.barrier_s(program.tiles_used) is None:
        found.append("barrier")
    return tuple(found)


def answers(step_s: np.ndarray, trace: Trace) -> np.ndarray:
    """Seconds from each input to its answer; at least one whole window of timesteps is taken.

    Fall-through answers after the timesteps for which an input is held, pipelined after `depth`
    timesteps or more.
    """
    held = trace.timesteps_per_input
    n = held if trace.schedule != "pipelined" else max(held, trace.network.depth)
    running = np.concatenate([[0.0], step_s.cumsum()])
    start = np.arange(0, step_s.size - n + 1, held)
    if start.size == 0:
        return np.array([step_s.mean() * n])
    return running[start + n] - running[start]


def answers_are_steps(trace: Trace) -> bool:
    """Whether every timestep answers an input of its own."""
    return trace.timesteps_per_input == 1 and (trace.schedule != "pipelined" or trace.network.depth == 1)


def spread(values: np.ndarray) -> Spread:
    """Mean, 99th percentile and maximum."""
    return {"mean": float(values.mean()), "p99": float(np.percentile(values, 99)), "max": float(values.max())}
