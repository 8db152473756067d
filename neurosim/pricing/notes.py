"""Notes: what must be said about a price, in few lines, the weightiest first.

Order: what makes the price hypothetical or partial, what makes it a lower bound, what makes it
doubtful, how the run was read, what was assumed because nobody published it, the chip file's own
remarks, and last what no price holds.
"""

from __future__ import annotations

import re
from functools import lru_cache

from neurosim.chip import Chip
from neurosim.pricing.energy import emulated
from neurosim.program import Program
from neurosim.report import NOT_MODELLED, Energy, Latency
from neurosim.trace import Trace

_COMPARABLE = (0.5, 2.0)
"""A figure is extrapolated when the load per core lies outside this range of its operating point."""

_ASSUMED = re.compile(r"^(?P<what>.+?) not published; (?P<instead>.+)$")


def notes_of(trace: Trace, program: Program, cost: Energy, latency: Latency | None, n_timesteps: int) -> tuple[str, ...]:
    """Notes on a price of a mapped run."""
    chip, notes = program.chip, []
    if n_timesteps < trace.n_timesteps:
        notes.append(f"events are recorded for the first {n_timesteps:,} of {trace.n_timesteps:,} timesteps; only these are priced")
    notes += bounds(cost, latency)
    notes += _operating_point(program, cost, latency)
    if emulated(trace, chip):
        depth = trace.network.depth
        notes.append(f"fall_through is emulated on a chip that runs pipelined: {depth} barriers and {depth} accesses of every neuron")
    elif trace.schedule != chip.supports.native_schedule:
        notes.append(f"{trace.schedule} run on a chip that runs {chip.supports.native_schedule}; priced as {trace.schedule}")
    notes += inside(cost)
    hypothetical = [note for note in program.notes if note.startswith("hypothetical")]
    return (*dict.fromkeys((*hypothetical, *notes, *_grouped((*program.notes, *chip.notes)), not_silicon(chip))),)


def bounds(cost: Energy, latency: Latency | None) -> list[str]:
    """What makes totals lower bounds."""
    notes, late = [], latency is not None and latency.not_priced
    if cost.not_priced:
        notes.append(f"energy is a lower bound; not priced: {', '.join(cost.not_priced)}")
    if latency is not None and late:
        notes.append(f"time is a lower bound{', and so is static energy' if cost.static_j else ''}; "
                     f"not priced: {', '.join(latency.not_priced)}")
    return notes


def inside(cost: Energy) -> list[str]:
    """What is inside the figure of another action."""
    held: dict[str, list[str]] = {}
    for action, by in cost.included.items():
        held.setdefault(by, []).append(action)
    return [f"inside the energy of {by}, not added again: {', '.join(actions)}" for by, actions in held.items()]


def not_silicon(chip: Chip) -> str:
    """What no price holds."""
    return f"simulated model of {chip.name}, not silicon; not modelled: {'; '.join(NOT_MODELLED)}"


@lru_cache(256)
def _grouped(notes: tuple[str, ...]) -> tuple[str, ...]:
    """Notes of one kind in one line: ``not published: multicast (unicast assumed), ...``."""
    assumed, rest = [], []
    for note in notes:
        match = _ASSUMED.match(note)
        if match:
            assumed.append(f"{match['what']} ({match['instead']})")
        else:
            rest.append(note)
    return (*([f"not published: {', '.join(dict.fromkeys(assumed))}"] if assumed else []), *rest)


def _operating_point(program: Program, cost: Energy, latency: Latency | None) -> list[str]:
    """Say when an all-in figure is used far from the load at which it was taken."""
    chip, notes = program.chip, []
    rates = [a for a in cost.parts if a.startswith("synapse")]
    figures = [f for a in rates if (f := chip.figure(a)) and not set(f.includes.energy or ()) <= {"synapse"}]
    for point in dict.fromkeys(f.operating_point.energy for f in figures):
        if point is None:
            continue
        if point.rate is None or latency is None or not latency.timestep_s["mean"]:
            notes.append(f"all-in synapse figure taken at: {point.text or 'unknown load'}; this run cannot be compared with it")
            continue
        here = sum(cost.counts[a] for a in rates) / (latency.timestep_s["mean"] * latency.per_timestep_s.size) / program.cores_used
        there = point.rate / (point.cores or 1)
        if not _COMPARABLE[0] * (1 - 1e-9) <= here / there <= _COMPARABLE[1] * (1 + 1e-9):
            notes.append(f"extrapolated: {here:,.3g} synaptic operations per second and core, {here / there:.3g} times the load "
                         f"at which the synapse figure was taken ({point.text})")
    return notes
