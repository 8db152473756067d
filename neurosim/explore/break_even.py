"""Break-even: up to which activity an event-driven chip is cheaper than a dense machine.

Activity is effective MACs / dense MACs. Per timestep

    event(activity) = fixed + slope x activity          dense = what the dense machine's price says

``fixed`` is what a timestep without any event costs: neuron_access, input_compare, host_out,
state_reset, and static power over the time of such a timestep (a barrier and the accesses).
``slope`` is the rest of the run's price over the run's activity: events are taken to stay spread
over the layers as they were. Below the activity of the run this is exact for the run diluted with
timesteps in which nothing changes; above it, it is extrapolated. Break-even is where both are equal.

Both machines must pay for the same things. A core of an event chip walks its own memory, so its
synapse figure is taken to hold the fetch of the weight; a dense figure holds it where it includes
``weight_read``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim import counters
from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.kernels import traffic as kernel
from neurosim.pricing import price
from neurosim.pricing.energy import static_power_w
from neurosim.pricing.latency import Clock
from neurosim.pricing.traffic import Block
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace
from neurosim.units import show

ALWAYS_PAID = ("neuron_access", "input_compare", "host_out", "state_reset")
"""Actions that do not follow from events."""


@dataclass(frozen=True)
class Crossing:
    """Where the two energies meet.

    Parameters
    ----------
    verdict : str
        ``below`` (the event chip is cheaper below `activity`), ``never`` (the fixed part alone
        costs more than the dense machine), ``always`` (cheaper even at every dense MAC), or
        ``unknown`` (the run sent nothing, so its slope is not known).
    activity, source_activity : float or None
        Break-even as effective / dense MACs, and as the share of source values sent (at most 1).
    low, high : float or None
        `activity` with the constants of both machines at the ends of their ranges that are worst
        and best for the event chip; 0 is never, 1 is always.
    fixed_j, slope_j, dense_j : float
        Joule per timestep; the slope per unit of activity.
    wins : bool
        Whether the event chip is cheaper in the run itself.
    """

    verdict: str
    activity: float | None
    source_activity: float | None
    low: float | None
    high: float | None
    fixed_j: float
    slope_j: float | None
    dense_j: float
    wins: bool

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class BreakEven:
    """An event chip against a dense machine.

    Parameters
    ----------
    chip, dense_chip : str
    activity, source_activity : float
        Of the run: effective / dense MACs, and the share of source values sent.
    without_static, with_static : Crossing
        Dynamic energy alone, and with static power; the latter is None where the event chip
        publishes none (or no time for it).
    same_memory_model : bool
        Whether both figures hold the fetch of the weight. Where not, the number says little.
    notes : tuple of str
    """

    chip: str
    dense_chip: str
    activity: float
    source_activity: float
    without_static: Crossing
    with_static: Crossing | None
    same_memory_model: bool
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON data of a ``break_even`` key."""
        return {"chip": self.chip, "dense_chip": self.dense_chip, "activity": self.activity, "source_activity": self.source_activity,
                "without_static": self.without_static.to_json(), "with_static": self.with_static and self.with_static.to_json(),
                "same_memory_model": self.same_memory_model, "notes": list(self.notes)}

    def lines(self) -> tuple[str, ...]:
        """The answer in words."""
        found = [f"this run: {_share(self.activity)} of the dense MACs are done, "
                 f"{_share(self.source_activity)} of the source values are sent",
                 f"without static power: {self._say(self.without_static)}"]
        found.append(f"with static power: {self._say(self.with_static)}" if self.with_static else
                     f"with static power: not known apart, {self.chip} publishes none that can be priced")
        return (*found, *self.notes)

    def _say(self, c: Crossing) -> str:
        costs = f"fixed {show(c.fixed_j, 'J')} against {show(c.dense_j, 'J')} per timestep"
        if c.verdict == "never":
            where = f"{self.chip} is never cheaper"
        elif c.verdict == "always":
            where = f"{self.chip} is always cheaper, at every dense MAC too"
        elif c.verdict == "unknown":
            return f"not known: the run sent nothing, so what an event costs is not seen ({costs})"
        else:
            where = (f"{self.chip} is cheaper below {_share(c.activity)} of the dense MACs "
                     f"({_share(c.source_activity)} of the source values sent)")
        ends = "" if c.low is None or c.low == c.high else f"; inside the ranges {_share(c.low)} .. {_share(c.high)}"
        return f"{where} ({costs}{ends}); in this run {self.chip if c.wins else self.dense_chip} is cheaper"

    def __str__(self) -> str:
        mark = "" if self.same_memory_model else " (memory models differ)"
        return "\n".join([f"break-even of {self.chip} and {self.dense_chip}{mark}", *(f"  {line}" for line in self.lines())])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g}%"


_Ends = tuple[float, float, float]
"""A figure, and its low and high end."""


def break_even(trace: Trace, program: Program, dense_chip: Chip | str, *, period_s: float | None = None) -> BreakEven:
    """Find the activity at which an event chip and a dense machine cost the same energy.

    Parameters
    ----------
    trace : Trace
    program : Program
        The network on the event chip.
    dense_chip : Chip or str
        A dense or zero-skip machine.
    period_s : float or None
        Control period: static power is then paid for all of it, on both.

    Raises
    ------
    PricingError
        When `program` is of a dense machine or `dense_chip` an event chip, when either leaves its
        synapses unpriced, and as `price`.
    """
    dense_chip = Chip.load(dense_chip) if isinstance(dense_chip, str) else dense_chip
    chip = program.chip
    if chip.kind != "event":
        raise PricingError(f"{chip.name} is a {chip.kind} machine: break-even needs a program for an event chip")
    if dense_chip.kind == "event":
        raise PricingError(f"{dense_chip.name} is an event chip: break-even compares with a dense or zero-skip machine, "
                           "for example horowitz_int8_sram")
    ours, theirs = price(trace, program, period_s=period_s), price(trace, dense_chip, period_s=period_s)
    for report in (ours, theirs):
        unpriced = [a for a in report.energy.not_priced if a.startswith("synapse")]
        if unpriced:
            raise PricingError(f"{report.chip}: energy of {', '.join(unpriced)} is not priced, so there is no break-even; "
                               "give it in the chip file (a zero-skip machine needs a run with reference 'all')")
    activity, source_activity = _activity(trace)
    fixed, variable, dense = _dynamic(ours, ALWAYS_PAID), _dynamic(ours, ALWAYS_PAID, rest=True), _dynamic(theirs, ())
    static = _static(trace, program, ours, period_s)
    crossing = None
    if static is not None:
        more = _machine_static(trace, theirs, dense_chip, period_s)
        crossing = _crossing(_sum(fixed, static[0]), _sum(variable, static[1]), _sum(dense, more), activity, source_activity)
    same, notes = _memory(ours, chip, dense_chip)
    hypothetical = ["hypothetical: graded events on a chip that was described for spikes only"] if ours.hypothetical else []
    return BreakEven(chip.name, dense_chip.name, activity, source_activity,
                     _crossing(fixed, variable, dense, activity, source_activity), crossing, same,
                     (*hypothetical, *notes, *_bounds(ours, theirs, crossing is not None)))


def _activity(trace: Trace) -> tuple[float, float]:
    """Effective MACs and ACs / dense MACs, and source values sent / all, over the timesteps that are priced."""
    n, network = trace.n_recorded, trace.network
    columns = [counters.KERNEL_COLUMNS.index(name) for name in ("effective_macs", "effective_acs")]
    if n == trace.n_timesteps:
        macs = trace.totals[:, columns].sum()
    elif trace.counts is not None:
        macs = trace.counts[:n, :, columns].sum(dtype=np.int64)
    else:
        raise PricingError(f"events are recorded for {n:,} of {trace.n_timesteps:,} timesteps and counts for none: "
                           "the activity of the priced part is not known; simulate again with recording on")
    dense = network.static_total("dense_macs") * n
    if dense == 0:
        raise PricingError(f"network {network.name!r} has no weighted synapses: there is no activity to speak of")
    values = sum(network.size_of(sender) for sender in network.senders) * n
    return float(macs) / dense, float(trace.event_start[n * len(network.senders)]) / values


def _dynamic(report: Report, actions: tuple[str, ...], rest: bool = False) -> _Ends:
    """Joule per timestep of some actions, or of all others (all, where none is named and `rest` is off)."""
    names = [a for a in report.energy.parts if a != "static" and (not actions or (a in actions) != rest)]
    parts, ends = report.energy.parts, report.energy.parts_range
    total = sum(parts[a] for a in names), sum(ends[a][0] for a in names), sum(ends[a][1] for a in names)
    return total[0] / report.n_timesteps, total[1] / report.n_timesteps, total[2] / report.n_timesteps


def silent_timestep_s(trace: Trace, program: Program) -> float:
    """Seconds of a timestep in which nothing is sent: accesses of neurons, and barriers."""
    clock = Clock(trace, program)
    clock.add(Block(0, np.zeros((1, len(program.slices), kernel.N_COLUMNS), np.int64), np.zeros((1, program.axons.n_fans), np.int64)))
    return float(clock.steps[0][0])


def _static(trace: Trace, program: Program, report: Report, period_s: float | None) -> tuple[_Ends, _Ends] | None:
    """Static joule per timestep: what a silent timestep draws, and the rest of the run's; None where not known."""
    power = None if "static" in report.energy.included else static_power_w(program.chip, program)
    if power is None or (period_s is None and report.latency is None):
        return None
    if period_s is not None or report.latency is None:
        return _times(power, (period_s or 0.0) / trace.timesteps_per_input), (0.0, 0.0, 0.0)
    silent = silent_timestep_s(trace, program)
    return _times(power, silent), _times(power, report.latency.timestep_s["mean"] - silent)


def _machine_static(trace: Trace, report: Report, chip: Chip, period_s: float | None) -> _Ends:
    power = None if "static" in report.energy.included else static_power_w(chip, None)
    if power is None or (period_s is None and report.latency is None):
        return 0.0, 0.0, 0.0
    return _times(power, report.latency.timestep_s["mean"] if period_s is None and report.latency else
                  (period_s or 0.0) / trace.timesteps_per_input)


def _times(ends: _Ends, factor: float) -> _Ends:
    return ends[0] * factor, ends[1] * factor, ends[2] * factor


def _sum(a: _Ends, b: _Ends) -> _Ends:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _crossing(fixed: _Ends, variable: _Ends, dense: _Ends, activity: float, source_activity: float) -> Crossing:
    def solve(fixed_j: float, variable_j: float, dense_j: float) -> float | None:
        """Activity of break-even, within 0 (never) and 1 (always)."""
        if fixed_j >= dense_j:
            return 0.0
        if activity == 0:
            return None
        return 1.0 if variable_j == 0 else min(1.0, (dense_j - fixed_j) / variable_j * activity)

    at, low, high = (solve(fixed[0], variable[0], dense[0]), solve(fixed[2], variable[2], dense[1]), solve(fixed[1], variable[1], dense[2]))
    verdict = {None: "unknown", 0.0: "never", 1.0: "always"}.get(at, "below")
    known = at if verdict == "below" else None
    share = None if known is None else min(1.0, source_activity * known / activity)
    return Crossing(verdict, known, share, low, high, fixed[0], variable[0] / activity if activity else None, dense[0],
                    fixed[0] + variable[0] < dense[0])


def _memory(report: Report, chip: Chip, dense_chip: Chip) -> tuple[bool, list[str]]:
    """Whether both synapse figures hold the fetch of the weight, and what must be said about it."""
    used = [f for a in report.energy.parts if a.startswith("synapse") and (f := chip.figure(a)) is not None]
    listed = all("weight_read" in (f.includes.energy or ()) for f in used)
    figure = dense_chip.figure("synapse")
    held = figure is not None and "weight_read" in (figure.includes.energy or ())
    notes = [] if held else [f"memory models differ: the figure of {dense_chip.name} holds no fetch of the weight, that of {chip.name} "
                             f"{'does' if listed else 'is taken to'}; the dense machine looks too cheap"]
    if held and not listed:
        notes.append(f"the synapse figure of {chip.name} is taken to hold the fetch of the weight (its file does not list weight_read)")
    return held, notes


def _bounds(ours: Report, theirs: Report, with_static: bool) -> list[str]:
    """Which way the break-even would move if everything were priced."""
    notes = []
    for report, moves in ((ours, "lower"), (theirs, "higher")):
        missing = [a for a in report.energy.not_priced if a != "static"]
        if missing:
            notes.append(f"not priced on {report.chip}: {', '.join(missing)}; with them the break-even would be {moves}")
    notes += [f"static power is inside the synapse figure of {report.chip}, so it is in the comparison without static power too"
              for report in (ours, theirs) if "static" in report.energy.included]
    if "neuron_access" in ours.energy.included:
        notes.append(f"access to idle neurons is inside the synapse figure of {ours.chip}, and so follows the activity here")
    if with_static and "static" in theirs.energy.not_priced:
        notes.append(f"static power of {theirs.chip} is not priced; with it the break-even with static power would be higher")
    if with_static and ours.latency is not None and not ours.latency.complete:
        notes.append(f"time on {ours.chip} is a lower bound; with all of it the break-even with static power would be lower")
    return notes
