"""Assemble a Report from what was counted and timed: coverage, control period, area, notes."""

from __future__ import annotations

import numpy as np

from neurosim.chip import Chip
from neurosim.pricing.energy import static_power_w
from neurosim.pricing.latency import answers
from neurosim.pricing.notes import notes_of
from neurosim.program import Program
from neurosim.report import Area, Energy, Latency, Period, Report
from neurosim.trace import Trace

_BORDER = ("state_reset", "input_compare", "host_in", "host_out")
"""Actions that take no part in the time of a timestep."""


def assembled(trace: Trace, program: Program, actions: dict[str, int], cost: Energy, latency: Latency | None, named: dict[str, int],
              burst: np.ndarray, period_s: float | None) -> Report:
    """Report of a mapped run."""
    n, chip = trace.n_recorded, program.chip
    return Report(chip.name, trace.network.name, n, cost, latency, program.cores_used, named, burst, coverage(chip, actions, latency),
                  period(trace, chip, program, cost, latency, n, period_s), program.hypothetical,
                  notes_of(trace, program, cost, latency, n), area(chip, program))


def coverage(chip: Chip, actions: dict[str, int], latency: Latency | None) -> tuple[str, ...]:
    """What the cost table leaves out, whether or not it happened (storage kinds only where used)."""
    missing = []
    for quantity in ("energy", "time"):
        unknown, border = chip.cost.unknown[quantity], _BORDER if quantity == "time" else ()
        for action, n in actions.items():
            unused = n == 0 and action.startswith("synapse.") or (action == "hop.chip" and chip.chips == 1)
            if action in unknown and action not in border and not unused:
                missing.append(f"{quantity}:{action}")
        if quantity == "energy" and "static" not in chip.included("energy") and (latency is None or static_power_w(chip, None) is None):
            missing.append("energy:static")
    if latency is None:
        return (*(m for m in missing if m.startswith("energy")), "time")
    if chip.kind == "event" and (chip.noc is None or chip.noc.flit_time is None) and "hop" not in chip.included("time"):
        missing.append("time:link")
    if chip.kind == "event" and chip.supports.native_schedule == "pipelined" and chip.barrier_s(1) is None:
        missing.append("time:barrier")
    return tuple(missing)


def period(trace: Trace, chip: Chip, program: Program | None, cost: Energy, latency: Latency | None, n: int,
           period_s: float | None) -> Period | None:
    """Energy of a control period and the share of answers that miss it; None without a period."""
    if period_s is None:
        return None
    power = (0.0,) if "static" in chip.included("energy") else static_power_w(chip, program)
    static_j = None if power is None else power[0] * _awake_s(trace, latency, period_s)
    dynamic = (cost.total_j - cost.static_j) / n * trace.timesteps_per_input
    missed = None
    if latency is not None:
        missed = float((answers(latency.per_timestep_s, trace) > period_s).mean())
    return Period(period_s, static_j, None if static_j is None else dynamic + static_j, missed)


def _awake_s(trace: Trace, latency: Latency | None, period_s: float) -> float:
    """Mean seconds between one input and the next: the period, or the timesteps of an input where they take longer."""
    if latency is None:
        return period_s
    held = trace.timesteps_per_input
    steps = latency.per_timestep_s[: latency.per_timestep_s.size // held * held].reshape(-1, held).sum(1)
    return float(np.maximum(steps, period_s).mean()) if steps.size else period_s


def area(chip: Chip, program: Program | None) -> Area | None:
    """Area of the chips in use, or of the cores in use where only a core's is known."""
    figure = chip.area
    if figure.per_chip is not None:
        n = program.chips_used if program else chip.chips
        return Area(figure.per_chip * n, f"{n} chip{'s' * (n > 1)}", figure.process, figure.grade, figure.source)
    if figure.per_core is not None:
        n = program.cores_used if program else 1
        return Area(figure.per_core * n, f"{n:,} core{'s' * (n > 1)} in use", figure.process, figure.grade, figure.source)
    return None
