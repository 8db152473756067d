"""Pricing: what a recorded run costs on a described chip. (Trace, Program) -> Report, a pure function.

An event chip is priced by what its cores, links and synapses did (``traffic``); a dense machine by
``dense_macs`` and a zero-skip machine by ``zero_skip_macs`` of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.kernels import traffic as kernel
from neurosim.mesh import HOP_KINDS
from neurosim.pricing import traffic
from neurosim.pricing.assemble import area, assembled, coverage, period
from neurosim.pricing.energy import action_counts, energy, host_counts, located
from neurosim.pricing.family import price_family
from neurosim.pricing.latency import Clock, answers, spread
from neurosim.pricing.notes import bounds, inside, not_silicon
from neurosim.program import Program
from neurosim.report import Latency, Report
from neurosim.trace import Trace

__all__ = ["price", "price_family", "price_variants"]


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
    if not isinstance(program_or_chip, Program | Chip):
        raise PricingError(f"{program_or_chip!r} is no Program or Chip: load the chip, and compile the network for it")
    chip = program_or_chip.chip if isinstance(program_or_chip, Program) else program_or_chip
    return price_variants(trace, program_or_chip, [chip], period_s=period_s)[0]


def price_variants(trace: Trace, program_or_chip: Program | Chip, chips: Sequence[Chip], *,
                   period_s: float | None = None) -> list[Report]:
    """Price a run under several cost tables of one mapping: traffic is counted once.

    Parameters
    ----------
    trace, program_or_chip, period_s
        As in `price`.
    chips : sequence of Chip
        The program's chip with other costs, times or powers (`Chip.with_settings`).

    Raises
    ------
    PricingError
        As `price`, and when a chip differs in more than its costs: it needs a mapping of its own.
    """
    program = program_or_chip if isinstance(program_or_chip, Program) else None
    own = program_or_chip.chip if isinstance(program_or_chip, Program) else program_or_chip
    if period_s is not None and not period_s > 0:
        raise PricingError(f"period {period_s!r} s: a control period is more than 0")
    for chip in chips:
        if chip is not own and (differs := _structure(own, chip)):
            raise PricingError(f"{chip.name} differs from {own.name} in {', '.join(differs)}: "
                               "compile the network for it, then price that program")
    if own.kind != "event":
        return [_machine(trace, chip, period_s) for chip in chips]
    if program is None:
        raise PricingError(f"{own.name} is an event chip: compile the network for it, then price the program")
    if program.network_sha256 != trace.network.sha256:
        raise PricingError(f"the program was compiled for network {program.network_name!r}, "
                           f"the trace is of another network, {trace.network.name!r}")
    return _mapped(trace, [program if chip is own else replace(program, chip=chip) for chip in chips], period_s)


def _structure(a: Chip, b: Chip) -> list[str]:
    """Sections in which two chips ask for different mappings."""
    costs: dict[str, set[str]] = {"noc": {"flit_time", "events_per_message", "local_messages", "flit_bits"}, "core": {"clock", "lanes"}}

    def shape(chip: Chip, section: str) -> Any:
        value = getattr(chip, section)
        left_out = costs.get(section, set())
        if isinstance(value, tuple):
            return [v.model_dump(exclude=left_out) if hasattr(v, "model_dump") else v for v in value]
        return value.model_dump(exclude=left_out) if hasattr(value, "model_dump") else value

    sections = [section for section in ("kind", "chips", "arithmetic", "noc", "core") if shape(a, section) != shape(b, section)]
    hops = [[chip.time_s(f"hop.{kind}") for kind in HOP_KINDS] for chip in (a, b)]
    return [*sections, *(["hop times, by which the longest path is chosen"] if hops[0] != hops[1] else [])]


def _mapped(trace: Trace, programs: list[Program], period_s: float | None) -> list[Report]:
    """Reports of programs that differ in the costs of their chips only."""
    program = programs[0]
    clocks = [Clock(trace, p) for p in programs]
    n_slices, n = len(program.slices), trace.n_recorded
    counts, fans = np.zeros((n_slices, kernel.N_COLUMNS), np.int64), np.zeros(program.axons.n_fans, np.int64)
    burst = np.zeros(program.cores_used, np.int64)
    slice_on_core = (program.core_of_slice[:, None] == np.arange(program.cores_used)).astype(np.int64)
    for block in traffic.blocks(trace, program):
        for clock in clocks:
            clock.add(block)
        counts += block.counts.sum(0)
        fans += block.fans.sum(0)
        arrived = block.counts[:, :, kernel.MESSAGES_IN] + block.counts[:, :, kernel.LOCAL_IN]
        burst = np.maximum(burst, (arrived @ slice_on_core).max(0))
    sent, from_host = fans * program.routes.n_messages, program.axons.fan_slice < 0
    named = traffic.mapping_counts(counts, fans @ program.routes.hops, int(sent.sum()), int(sent[from_host].sum()))
    named["busiest_link_events"] = int(clocks[0].link_total.max(initial=0))
    return [_report(trace, clock, counts, fans, dict(named), burst.copy(), n, period_s) for clock in clocks]


def _report(trace: Trace, clock: Clock, counts: np.ndarray, fans: np.ndarray, named: dict[str, int], burst: np.ndarray, n: int,
            period_s: float | None) -> Report:
    program = clock.program
    actions = action_counts(trace, program, counts, fans @ program.routes.hops, n)
    latency = clock.read(actions)
    cost = energy(program.chip, program, actions, n, latency)
    cost = located(cost, trace, program, counts, fans, n)
    report = assembled(trace, program, actions, cost, latency, named, burst, period_s)
    return replace(report, traffic=traffic.by_place(program, counts, actions["neuron_access"], clock.link_total, clock.link_flits))


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
    cost = energy(chip, None, actions, n, latency)
    notes = []
    if macs is None:
        cost = replace(cost, not_priced=("synapse", *cost.not_priced), complete=False)
        notes.append("zero_skip_macs was not measured over the whole run, so synapse is not priced; simulate with reference 'all'")
    notes += [*bounds(cost, latency), *inside(cost), *chip.notes, not_silicon(chip)]
    left_out = (("energy:synapse",) if macs is None else ()) + coverage(chip, actions, latency)
    return Report(chip.name, trace.network.name, n, cost, latency, 1, {}, np.zeros(1, np.int64), left_out,
                  period(trace, chip, None, cost, latency, n, period_s), False, tuple(dict.fromkeys(notes)), area(chip, None))


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
