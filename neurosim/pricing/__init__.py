"""Pricing: what a recorded run costs on a described chip. (Trace, Program) -> Report, a pure function.

An event chip is priced by what its cores, links and synapses did (``traffic``); a dense machine by
``dense_macs`` and a zero-skip machine by ``zero_skip_macs`` of the run.
"""

from __future__ import annotations

import numpy as np

from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.kernels import traffic as kernel
from neurosim.pricing import traffic
from neurosim.pricing.energy import action_counts, emulated, energy, host_counts, static_power_w
from neurosim.pricing.latency import Clock, answers, spread
from neurosim.program import Program
from neurosim.report import Energy, Latency, Period, Report
from neurosim.trace import Trace

__all__ = ["price"]

_COMPARABLE = (0.5, 2.0)
"""A figure is extrapolated when the load per core lies outside this range of its operating point."""


def price(trace: Trace, program_or_chip: Program | Chip, *, period_s: float | None = None) -> Report:
    """Price a run.

    Parameters
    ----------
    trace : Trace
    program_or_chip : Program or Chip
        A chip alone is enough for dense and zero-skip machines; an event chip needs the Program
        of the trace's network.
    period_s : float or None
        Control period: an input arrives every `period_s`.

    Returns
    -------
    Report
        Energy = sum over actions of count x energy + static power x time; time per timestep as
        in `neurosim.pricing.latency`.

    Raises
    ------
    PricingError
        When the program is of another network, an event chip comes without a program, or the
        trace holds no event record.
    """
    program = program_or_chip if isinstance(program_or_chip, Program) else None
    chip = program_or_chip.chip if isinstance(program_or_chip, Program) else program_or_chip
    if period_s is not None and not period_s > 0:
        raise PricingError(f"period {period_s!r} s: a control period is more than 0")
    if chip.kind != "event":
        return _machine(trace, chip, period_s)
    if program is None:
        raise PricingError(f"{chip.name} is an event chip: compile the network for it, then price the program")
    if program.network_sha256 != trace.network.sha256:
        raise PricingError(f"the program was compiled for network {program.network_name!r}, "
                           f"the trace is of another network, {trace.network.name!r}")
    return _mapped(trace, program, period_s)


def _mapped(trace: Trace, program: Program, period_s: float | None) -> Report:
    clock = Clock(trace, program)
    n_slices, n = len(program.slices), trace.n_recorded
    counts, fans = np.zeros((n_slices, kernel.N_COLUMNS), np.int64), np.zeros(program.axons.n_fans, np.int64)
    burst = np.zeros(program.cores_used, np.int64)
    slice_on_core = (program.core_of_slice[:, None] == np.arange(program.cores_used)).astype(np.int64)
    for block in traffic.blocks(trace, program):
        clock.add(block)
        counts += block.counts.sum(0)
        fans += block.fans.sum(0)
        arrived = block.counts[:, :, kernel.MESSAGES_IN] + block.counts[:, :, kernel.LOCAL_IN]
        burst = np.maximum(burst, (arrived @ slice_on_core).max(0))
    actions = action_counts(trace, program, counts, fans, n)
    latency = clock.read(actions)
    cost = energy(program.chip, program, actions, n, None if latency is None else float(latency.per_timestep_s.sum()))
    named = traffic.mapping_counts(counts, fans, program)
    named["busiest_link_events"] = int(clock.link_total.max(initial=0))
    notes = (*_notes(trace, program, cost, latency, n), *program.notes, *program.chip.notes)
    return Report(program.chip.name, trace.network.name, n, cost, latency, program.cores_used, named, burst,
                  _coverage(program.chip, actions, latency), _period(trace, program.chip, program, cost, latency, n, period_s),
                  program.hypothetical, tuple(dict.fromkeys(notes)))


def _machine(trace: Trace, chip: Chip, period_s: float | None) -> Report:
    """A dense or zero-skip machine: one core, no mapping."""
    n = trace.n_timesteps
    counters = trace.totals_by_counter
    macs = counters["dense_macs" if chip.kind == "dense" else "zero_skip_macs"]
    neurons = sum(layer.n_neurons for layer in trace.network.layers)
    actions: dict[str, int] = {"synapse": macs or 0, "neuron_update": neurons * n, "input_compare": counters["input_compares"] or 0,
               "host_in": trace.network.input.n_elements * n, "host_out": counters["output_reads"] or 0}
    if trace.n_recorded == n:
        actions |= {k: v for k, v in host_counts(trace, n).items() if k == "host_out"}
    latency = _machine_latency(trace, chip, macs)
    cost = energy(chip, None, actions, n, None if latency is None else float(latency.per_timestep_s.sum()))
    notes = [f"simulated model of {chip.name}, not silicon"]
    if macs is None:
        cost = Energy(cost.total_j, cost.per_timestep_j, cost.low_j, cost.high_j, cost.static_j, cost.parts, cost.counts,
                      ("synapse", *cost.not_priced), cost.included, False)
        notes.append("zero_skip_macs was not measured over the whole run, so synapse is not priced; simulate with reference 'all'")
    if not cost.complete:
        notes.append(f"not priced: {', '.join(cost.not_priced)}; totals are lower bounds")
    coverage = (("energy:synapse",) if macs is None else ()) + _coverage(chip, actions, latency)
    return Report(chip.name, trace.network.name, n, cost, latency, 1, {}, np.zeros(1, np.int64), coverage,
                  _period(trace, chip, None, cost, latency, n, period_s), False, (*notes, *chip.notes))


def _machine_latency(trace: Trace, chip: Chip, macs: int | None) -> Latency | None:
    """Time of a dense or zero-skip machine: its multiplications, spread evenly over the timesteps."""
    time_s, n = chip.time_s("synapse"), trace.n_timesteps
    if time_s is None or macs is None:
        return None
    step = np.full(n, macs / n * time_s)
    missing = tuple(a for a in ("neuron_update",) if a not in chip.included("time") and chip.time_s(a) is None)
    parts = {"cores": float(step.sum()), "links": 0.0, "hops": 0.0, "barrier": 0.0}
    throughput = float(1 / (step.mean() * trace.timesteps_per_input)) if step.any() else 0.0
    return Latency(spread(step), spread(answers(step, trace)), throughput,
                   {"kind": "core", "core": 0, "layer": "", "share": 1.0}, parts, missing, step, step[:1].copy(), not missing)


def _coverage(chip: Chip, actions: dict[str, int], latency: Latency | None) -> tuple[str, ...]:
    """What the cost table leaves out, whether or not it happened (storage kinds only where used)."""
    missing = []
    for quantity, value in (("energy", chip.energy_j), ("time", chip.time_s)):
        held = chip.included(quantity)
        border = ("state_reset", "input_compare", "host_in", "host_out") if quantity == "time" else ()
        for action, n in actions.items():
            unused = n == 0 and action.startswith("synapse.") or (action == "hop.chip" and chip.chips == 1)
            if action.partition(".")[0] not in (*held, *border) and not unused and value(action) is None:
                missing.append(f"{quantity}:{action}")
        if quantity == "energy" and "static" not in held and static_power_w(chip, None) is None:
            missing.append("energy:static")
    if latency is None:
        return (*(m for m in missing if m.startswith("energy")), "time")
    if chip.kind == "event" and (chip.noc is None or chip.noc.flit_time is None) and "hop" not in chip.included("time"):
        missing.append("time:link")
    if chip.kind == "event" and chip.supports.native_schedule == "pipelined" and chip.barrier_s(1) is None:
        missing.append("time:barrier")
    return tuple(missing)


def _period(trace: Trace, chip: Chip, program: Program | None, cost: Energy, latency: Latency | None, n: int,
            period_s: float | None) -> Period | None:
    if period_s is None:
        return None
    power = (0.0,) if "static" in chip.included("energy") else static_power_w(chip, program)
    static_j = None if power is None else power[0] * period_s
    dynamic = (cost.total_j - cost.static_j) / n * trace.timesteps_per_input
    missed = None
    if latency is not None:
        missed = float((answers(latency.per_timestep_s, trace) > period_s).mean())
    return Period(period_s, static_j, None if static_j is None else dynamic + static_j, missed)


def _notes(trace: Trace, program: Program, cost: Energy, latency: Latency | None, n: int) -> list[str]:
    chip = program.chip
    notes = [f"simulated model of {chip.name}, not silicon; not modelled: queues and back-pressure, voltage and temperature, "
             "host traffic beyond events in and values out"]
    if n < trace.n_timesteps:
        notes.append(f"events are recorded for the first {n:,} of {trace.n_timesteps:,} timesteps; only these are priced")
    if emulated(trace, chip):
        depth = trace.network.depth
        notes.append(f"fall_through is emulated on a chip that runs pipelined: {depth} barriers and {depth} accesses of every neuron")
    elif trace.schedule != chip.supports.native_schedule:
        notes.append(f"{trace.schedule} run on a chip that runs {chip.supports.native_schedule}; priced as {trace.schedule}")
    if cost.not_priced:
        notes.append(f"not priced: {', '.join(cost.not_priced)}; totals are lower bounds")
    if cost.included:
        notes.append("included in the figure of another action, not added: "
                     + ", ".join(f"{action} (in {by})" for action, by in cost.included.items()))
    if latency is not None and latency.not_priced:
        notes.append(f"time not priced: {', '.join(latency.not_priced)}")
        if cost.static_j:
            notes.append("static energy is over a time that is a lower bound")
    return notes + _operating_point(program, cost, latency)


def _operating_point(program: Program, cost: Energy, latency: Latency | None) -> list[str]:
    """Say when an all-in figure is used far from the load at which it was taken."""
    chip, notes = program.chip, []
    rates = [a for a in cost.parts if a.startswith("synapse")]
    figures = [f for a in rates if (f := chip.figure(a)) and not set(f.includes.energy or ()) <= {"synapse"}]
    for point in dict.fromkeys(f.operating_point.energy for f in figures):
        if point is None:
            continue
        if point.rate is None or latency is None or not latency.per_timestep_s.any():
            notes.append(f"all-in synapse figure taken at: {point.text or 'unknown load'}; this run cannot be compared with it")
            continue
        here = sum(cost.counts[a] for a in rates) / float(latency.per_timestep_s.sum()) / program.cores_used
        there = point.rate / (point.cores or 1)
        if not _COMPARABLE[0] * (1 - 1e-9) <= here / there <= _COMPARABLE[1] * (1 + 1e-9):
            notes.append(f"extrapolated: the synapse figure was taken at {there:,.3g} synaptic operations per second and core "
                         f"({point.text}); this run has {here:,.3g}, {here / there:.3g} times as many")
    return notes
