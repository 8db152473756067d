"""Spans: when each core works, and who waits for whom, in each timestep of a run. The pricer's own times, laid out.

`neurosim.pricing.latency` says how long a level takes; within it, this is the order that is drawn:

    hops of the longest message | slowest core or busiest link | barrier, where one follows

All cores and links of a level begin together, behind the hops, since the messages that a level
works on travel in that level. The order changes no duration: a timestep is a sum.

A *cell* is a core in one of its levels (pipelined, one level holds all of them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.kernels import traffic as kernel
from neurosim.pricing import traffic
from neurosim.pricing.latency import Clock
from neurosim.program import HOST, Program
from neurosim.trace import Trace

HOPS, WAIT, BARRIER = range(3)
"""Parts of a level."""


@dataclass(frozen=True)
class Spans:
    """Times and counts of the timesteps first, first + 1, ...

    Parameters
    ----------
    first : int
    step_s : ndarray, float64, (timesteps,)
        Duration of each timestep, as priced.
    parts_s : ndarray, float64, (timesteps, levels, 3)
        Durations of `HOPS`, `WAIT` and `BARRIER`.
    cell_core, cell_level : ndarray, int64, (cells,)
    cell_of_slice : ndarray, int64, (slices,)
        Cells of no slice only access the neurons of their core: emulated runs have them.
    busy_s : ndarray, float64, (timesteps, cells)
    counts : ndarray, int64, (timesteps, cells, kernel columns)
    link_s, link : ndarray, float64 and int64, (timesteps, levels)
        Time of the busiest link, and which it is (-1: none).
    flits : ndarray, int64, (timesteps, links)
    input_events, input_messages : ndarray, int64, (timesteps,)
        Sent by the input port.
    """

    first: int
    step_s: np.ndarray
    parts_s: np.ndarray
    cell_core: np.ndarray
    cell_level: np.ndarray
    cell_of_slice: np.ndarray
    busy_s: np.ndarray
    counts: np.ndarray
    link_s: np.ndarray
    link: np.ndarray
    flits: np.ndarray
    input_events: np.ndarray
    input_messages: np.ndarray

    @property
    def edge_s(self) -> np.ndarray:
        """Begin of each timestep and end of each of its parts (float64, (timesteps, 3 * levels + 1)); time is 0 at the first begin."""
        end = self.step_s.cumsum()
        begin = np.concatenate([[0.0], end[:-1]])[:, None]
        edges = np.minimum(begin + self.parts_s.reshape(end.size, -1).cumsum(1), end[:, None])  # sums differ in their last bits
        edges[:, -1] = end
        return np.hstack([begin, edges])

    @property
    def cell_span_s(self) -> tuple[np.ndarray, np.ndarray]:
        """Begin and end of the work of each cell (float64, (timesteps, cells))."""
        edge_s = self.edge_s
        begin = edge_s[:, 3 * self.cell_level + 1]
        return begin, np.minimum(begin + self.busy_s, edge_s[:, 3 * self.cell_level + 2])

    @property
    def core_work_s(self) -> np.ndarray:
        """Work of each core in each timestep (float64, (timesteps, cores))."""
        return self.busy_s @ (self.cell_core[:, None] == np.arange(self.cell_core.max() + 1))


def spans(trace: Trace, program: Program, step_s: np.ndarray, first: int = 0) -> Spans:
    """Lay out the timesteps first, first + 1, ... of a priced run.

    Parameters
    ----------
    step_s : ndarray, float64, (timesteps,)
        Their durations: part of `Latency.per_timestep_s`.

    Raises
    ------
    PricingError
        When the trace holds no event record.
    """
    clock, times, counts, flits, sent = Clock(trace, program), [], [], [], []
    from_host = np.flatnonzero(program.axons.fan_slice == HOST)
    per_event = np.stack([np.ones(from_host.size, np.int64), program.routes.n_messages[from_host]], 1)
    n_cells = clock.cell_core.size
    idle = _idle_cells(clock)
    for block in traffic.blocks(trace, program, first, first + step_s.size):
        times.append(clock.add(block))
        of_cell = np.zeros((block.counts.shape[0], n_cells + idle.size, kernel.N_COLUMNS), np.int64)
        np.add.at(of_cell.swapaxes(0, 1), clock.cell_of_slice, block.counts.swapaxes(0, 1))
        counts.append(of_cell)
        flits.append(clock.flits(block))
        sent.append(block.fans[:, from_host] @ per_event)
    busy_s, wait_s, link_s, link, hops_s = (np.concatenate([getattr(t, name) for t in times])
                                            for name in ("busy_s", "wait_s", "link_s", "link", "hops_s"))
    core, level = idle % program.cores_used, idle // program.cores_used
    busy_s = np.hstack([busy_s, np.broadcast_to(clock.waits.idle_s[core], (step_s.size, idle.size))])
    parts_s = np.stack([hops_s, wait_s, np.broadcast_to(times[0].barrier_s, wait_s.shape)], 2)
    events, messages = np.concatenate(sent).T
    return Spans(first, step_s, parts_s, np.concatenate([clock.cell_core, core]), np.concatenate([clock.cell_level, level]),
                 clock.cell_of_slice, busy_s, np.concatenate(counts), link_s, link, np.concatenate(flits), events, messages)


def _idle_cells(clock: Clock) -> np.ndarray:
    """Cores that access their neurons in levels in which they have no slice: level * cores + core (int64)."""
    n_cores = clock.waits.idle_s.size
    takes_time = np.flatnonzero(clock.waits.idle_s > 0)
    every = (np.arange(clock.n_levels)[:, None] * n_cores + takes_time).ravel()
    return np.setdiff1d(every, clock.cell_level * n_cores + clock.cell_core)


@dataclass(frozen=True)
class Flow:
    """Messages from one cell to another: sent in a timestep of the spans, received in the same or the next one."""

    sent: int
    sender: int
    received: int
    receiver: int
    n_messages: int


def flows(trace: Trace, program: Program, laid_out: Spans, most: int) -> tuple[list[Flow], np.ndarray]:
    """Messages between cells, added up per timestep, sender and receiver.

    Fall-through, a message is received in the timestep in which it is sent, unless its receiver stands no later than
    its sender (recurrence: the next timestep). Pipelined, layers are heard in the next timestep, the input at once.

    Parameters
    ----------
    most : int
        Flows kept per timestep: those of most messages.

    Returns
    -------
    list of Flow
    left_out : ndarray, int64, (timesteps,)
        Messages sent in each timestep without a flow: beyond `most`, lost in a reset, or received after the last timestep.
    """
    who, n_cells = traffic.Deliveries.of(program), laid_out.cell_core.size
    cell = np.append(laid_out.cell_of_slice, HOST)  # of the sender HOST: -1
    key, which = np.unique((cell[who.sender] - HOST) * n_cells + cell[who.receiver], return_inverse=True)
    sender, receiver = key // n_cells + HOST, key % n_cells
    at_once = sender == HOST
    if trace.schedule != "pipelined":
        at_once |= laid_out.cell_level[sender] < laid_out.cell_level[receiver]
    found: list[Flow] = []
    n_timesteps = laid_out.step_s.size
    left_out = np.zeros(n_timesteps, np.int64)
    for t in range(n_timesteps):
        sent = np.zeros(key.size, np.int64)
        np.add.at(sent, which.ravel(), who.sent(trace, laid_out.first + t))
        is_heard = t + 1 < n_timesteps and not trace.first[laid_out.first + t + 1]
        kept = np.flatnonzero((sent > 0) & (at_once | is_heard))
        kept = np.sort(kept[(-sent[kept]).argsort(kind="stable")[:most]])
        left_out[t] = sent.sum() - sent[kept].sum()
        found += [Flow(t, int(sender[k]), t + (not at_once[k]), int(receiver[k]), int(sent[k])) for k in kept.tolist()]
    return found, left_out
