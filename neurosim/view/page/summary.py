"""Sections `summary` and `why is it slow`: key figures with their definitions, and what everything waits for."""

from __future__ import annotations

from typing import Any

from neurosim import counters
from neurosim.program import Program
from neurosim.report import GAINS, Latency, Report
from neurosim.trace import Trace
from neurosim.units import show
from neurosim.view.page.blocks import Callout, Cell, Lines, Section, Table, Tile, Tiles, number, percent, quantity, words


def summary(trace: Trace, program: Program, report: Report) -> Section:
    """Key figures; the critical core or link first."""
    return Section("summary", "Summary", [Callout(critical(program, report), "mesh" if program.is_mapped else ""),
                                          Lines((spender(report),)), Tiles(tuple(_tiles(trace, report)))])


def critical(program: Program, report: Report) -> str:
    """One sentence: the core or link that sets the time."""
    t = report.latency
    if not program.is_mapped:
        return f"{report.chip} is one machine without cores and mesh: there is no critical core."
    if t is None:
        return f"{report.chip} publishes no time, so no core can be called critical. {_busiest(report)}"
    name = max(("hops", "barrier"), key=lambda key: t.parts[key])
    share, other = t.parts[name] / (sum(t.parts.values()) or 1.0), "the barrier" if name == "barrier" else name
    place = critical_place(report)
    if place is None:
        return f"No core or link is critical: of the priced time, {share:.0%} is {other}. {_busiest(report)}"
    kind, layer = place["kind"], f" ({place['layer']})" if place["layer"] else ""
    text = f"Critical {kind}: {kind} {place[kind]}{layer}. It is waited for in {place['share']:.0%} of all time."
    return text if share <= place["share"] else f"{text} Still more is spent on {other}: {share:.0%}."


def critical_place(report: Report) -> dict[str, Any] | None:
    """The core or link that was waited for longest; None where no time of a core or link is known."""
    t = report.latency
    return t.critical if t is not None and t.critical["share"] > 0 else None


def _busiest(report: Report) -> str:
    """The core with most synapse visits."""
    if report.traffic is None:
        return ""
    visits = report.traffic.cores["synapse_visits"]
    core = int(visits.argmax())
    return f"Core {core} walks most synapses: {visits[core] / max(1, visits.sum()):.0%} of {visits.size:,} cores' visits."


def spender(report: Report) -> str:
    """One sentence: what takes most of the energy."""
    parts = report.energy.parts
    if not parts or not report.energy.total_j:
        return f"{report.chip} prices no energy of what happened in this run."
    action = max(parts, key=lambda name: parts[name])
    what = "Static power" if action == "static" else f"Action {action}"
    return f"{what} takes {parts[action] / report.energy.total_j:.0%} of the {'energy' if report.energy.complete else 'priced energy'}."


def _tiles(trace: Trace, report: Report) -> list[Tile]:
    e, t, found = report.energy, report.latency, []

    def tile(label: str, cell: Cell, definition: str) -> None:
        found.append(Tile(label, cell.text, cell.value, definition))

    lower = "" if e.complete else f" A lower bound (≥): not priced are {', '.join(e.not_priced) or 'parts of the time'}."
    tile("energy per timestep", quantity(e.per_timestep_j, "J", least=not e.complete),
         f"Sum over all actions of count x energy, plus static power x time; mean over {report.n_timesteps:,} timesteps.{lower}")
    if t is not None:
        late = "" if t.complete else f" A lower bound (≥): no time is published for {', '.join(t.not_priced)}."
        tile("time of a timestep", quantity(t.timestep_s["mean"], "s", least=not t.complete),
             "Mean. Per level, the slowest core or the busiest link; plus the hops of the longest message, plus the barrier." + late)
        tile("longest timestep", quantity(t.timestep_s["max"], "s", least=not t.complete), "Maximum over the run." + late)
        tile("time to an answer", quantity(t.answer_s["mean"], "s", least=not t.complete), "From an input to its answer, mean." + late)
        tile("inputs per second", number(t.throughput_hz), "Inputs answered per second, one after the other.")
    tile("cores used", number(report.cores_used), "Cores that hold neurons.")
    if report.period is not None:
        tile("energy of a control period", quantity(report.period.total_j, "J", least=not e.complete),
             f"Period {show(report.period.period_s, 's')}: dynamic energy of a mean input plus static energy of the whole period.")
        tile("missed deadlines", percent(report.period.missed_share),
             f"Share of answers that take longer than the period: {report.deadline()}.")
    if report.area is not None:
        tile("silicon area", quantity(report.area.area_m2, "m2"), f"Of {report.area.of}; {report.area.grade or 'grade not given'}.")
    return found + _operations(trace)


def _operations(trace: Trace) -> list[Tile]:
    """Counts of the run, which no chip changes."""
    c, n, found = trace.totals_by_counter, trace.n_timesteps, []
    macs = c["effective_macs"] + c["effective_acs"]
    rows = (("effective MACs", macs / n, f"{counters.COUNTERS['effective_macs'].definition}; accumulations of spikes included"),
            ("all operations", counters.all_ops(c) / n, "effective MACs and ACs + unweighted operations + neuron updates + input compares"),
            ("events", c["events"] / n, counters.COUNTERS["events"].definition))
    for label, value, definition in rows:
        cell = number(value)
        found.append(Tile(f"{label} per timestep", cell.text, cell.value, f"{definition}; mean over {n:,} timesteps."))
    ratio = trace.reduction()["vs_dense"]
    if ratio is not None:
        found.append(Tile("fewer MACs than dense", f"{ratio:,.3g} times", ratio, "dense MACs / effective MACs: pruning x activation "
                          f"sparsity x delta. Dense: {counters.COUNTERS['dense_macs'].definition}."))
    return found


def why(report: Report) -> Section:
    """Places and gains."""
    t = report.latency
    if t is None:
        return Section("why", "Why is it slow?", [Lines((f"The chip file of {report.chip} gives no time, so this cannot be said.",))])
    if not t.places:
        return Section("why", "Why is it slow?", [Lines((f"{report.chip} is one machine: its time is that of its multiplications.",))])
    known = () if t.complete else (f"No time is published for {', '.join(t.not_priced)}: places may be missing, times are lower bounds.",)
    said = tuple(line[0].upper() + line[1:] + "." for line in t.why())
    return Section("why", "Why is it slow?", [Lines((*said, *known), listed=True), _places(t), _gains(t)])


def _places(t: Latency) -> Table:
    rows = []
    for p in t.places:
        gain = t.timestep_s["mean"] / p.fixed_timestep_s if p.fixed_timestep_s > 0 else None
        rows.append((words(p.name), Cell("" if p.level is None else str(p.level), p.level), percent(p.share), percent(p.timesteps_share),
                     quantity(p.fixed_timestep_s, "s"), Cell("-") if gain is None else Cell(f"{gain:,.3g} x", gain)))
    return Table("What timesteps wait for, longest first", ("place", "level", "share of time", "in timesteps", "timestep if fixed", "gain"),
                 tuple(rows), {"place": "a core or a link of one level, the hops of the longest message, or the barrier",
                               "level": "position of the layer on the longest path from the input; empty where all levels work at once",
                               "share of time": "seconds in which it was waited for, of the whole run",
                               "in timesteps": "share of timesteps in which it was the slowest of its level",
                               "timestep if fixed": "mean timestep if a core did no more than the next slowest of its level (if it is "
                               "alone there: none), or if link, hops or barrier took no time"})


def _gains(t: Latency) -> Table:
    rows = []
    for name, seconds in t.gains.items():
        gain = t.timestep_s["mean"] / seconds if seconds else None
        rows.append((words(f"if {GAINS[name]}"), quantity(seconds, "s"), Cell("-") if gain is None else Cell(f"{gain:,.3g} x", gain)))
    return Table("What a remedy would gain", ("remedy", "timestep", "gain"), tuple(rows))
