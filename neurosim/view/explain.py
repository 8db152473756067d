"""Why a price is what it is: where time and energy go, which constants decide, where a dense machine wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from neurosim.explore.break_even import BreakEven
from neurosim.explore.sensitivity import Bar
from neurosim.report import GAINS, Latency, Report
from neurosim.units import show
from neurosim.view.tables import part_range, share_bar, table

_WIDTH = 25
"""Characters of a bar of a tornado."""


def explanation(report: Report, bars: Sequence[Bar] = (), crossings: Sequence[BreakEven] = ()) -> list[RenderableType]:
    """Tables that explain a report; those of `tornado` and `break_even` where given."""
    found = [*time_tables(report), *energy_tables(report)]
    if bars:
        found.append(tornado_table(bars))
    return found + [break_even_table(crossing) for crossing in crossings]


def explanation_document(bars: Sequence[Bar] = (), crossings: Sequence[BreakEven] = ()) -> dict[str, Any]:
    """JSON keys that stand beside those of the report (which holds the places, gains and parts itself)."""
    return {"tornado": [bar.to_json() for bar in bars], "break_even": [crossing.to_json() for crossing in crossings]}


def time_tables(report: Report) -> list[RenderableType]:
    """What timesteps wait for, and what each remedy would gain; none where no time is priced."""
    latency = report.latency
    if latency is None or not latency.places:
        return []
    return [_places_table(report.chip, latency), _gains_table(latency)]


def _places_table(chip: str, latency: Latency) -> RenderableType:
    mean = latency.timestep_s["mean"]
    rows = table(f"why a timestep takes {show(mean, 's')} on {chip}: what is waited for", "place", "level", "in timesteps", "share of time",
                 "", "if fixed", "gain")
    for place in latency.places:
        rows.add_row(place.name, "" if place.level is None else str(place.level),
                     "" if place.timesteps_share is None else f"{place.timesteps_share:.0%}", *share_bar(place.share, 1.0),
                     show(place.fixed_timestep_s, "s") + ("*" if place.alone else ""), _gain(place.fixed_timestep_s, mean))
    lines = ["fixed: a core does no more than the next slowest of its level; links, hops and the barrier take no time"]
    if any(place.alone for place in latency.places):
        lines.append("* alone in its level: as if its work took no time")
    if latency.not_priced:
        lines.append(f"no time is published for {', '.join(latency.not_priced)}: places may be missing, and times are lower bounds")
    return Group(rows, *(Text(f"  {line}", style="dim") for line in lines))


def _gains_table(latency: Latency) -> RenderableType:
    mean = latency.timestep_s["mean"]
    rows = table("what a remedy would gain", "if", "timestep", "gain")
    for name, seconds in latency.gains.items():
        rows.add_row(GAINS[name], *(("not published", "-") if seconds is None else (show(seconds, "s"), _gain(seconds, mean))))
    return rows


def _gain(then_s: float, now_s: float) -> str:
    return f"{now_s / then_s:,.3g}x" if then_s > 0 else "-"


def energy_tables(report: Report) -> list[RenderableType]:
    """The stack of parts with what is not priced or inside another figure; energy per layer and action."""
    return [_stack_table(report), *([_layer_table(report)] if report.energy.by_layer else [])]


def _stack_table(report: Report) -> RenderableType:
    e, n = report.energy, report.n_timesteps
    rows = table(f"where the energy of a timestep goes on {report.chip}", "part", "count", "energy", "range", "share", "")
    for action, joule in sorted(e.parts.items(), key=lambda part: -part[1]):
        share = share_bar(joule, e.total_j)
        rows.add_row(action, _count(e.counts.get(action), n), show(joule / n, "J"), part_range(report, action), *share)
    for action in e.not_priced:
        rows.add_row(action, _count(e.counts.get(action), n), "not priced", "", "", "", style="dim")
    for action, by in e.included.items():
        count = sum(k for name, k in e.counts.items() if name.partition(".")[0] == action)
        rows.add_row(action, _count(count, n) if action != "static" else "", f"in {by}", "", "", "", style="dim")
    return rows


def _count(count: int | None, n_timesteps: int) -> str:
    return "" if count is None else f"{count / n_timesteps:,.4g}" if count < 1e4 * n_timesteps else f"{count / n_timesteps:,.0f}"


def _layer_table(report: Report) -> RenderableType:
    e, n = report.energy, report.n_timesteps
    actions = list(dict.fromkeys(action for parts in e.by_layer.values() for action in parts))
    rows = table("per layer (messages and hops are the sender's)", "layer", *actions, "all", "share", "")
    for name, parts in e.by_layer.items():
        total = sum(parts.values())
        rows.add_row(name, *(show(parts[a] / n, "J") if a in parts else "" for a in actions), show(total / n, "J"),
                     *share_bar(total, e.total_j))
    if "static" in e.parts:
        rows.add_row("static", *("" for _ in actions), show(e.static_j / n, "J"), *share_bar(e.static_j, e.total_j))
    if e.by_core_j.size > 1 and e.by_core_j.any():
        core, mean = int(e.by_core_j.argmax()), float(e.by_core_j.mean())
        line = (f"core {core} draws most: {show(float(e.by_core_j[core]) / n, 'J')} per timestep, "
                f"{float(e.by_core_j[core]) / mean:.3g} times the mean of {e.by_core_j.size:,} cores")
        return Group(rows, Text(f"  {line}", style="dim"))
    return rows


def tornado_table(bars: Sequence[Bar], most: int = 12) -> RenderableType:
    """Bars of a tornado, widest first: what each constant does to energy and time."""
    tables: list[RenderableType] = []
    for moves, unit in (("energy", "J"), ("time", "s")):
        mine = [bar for bar in bars if bar.moves == moves]
        wide = [bar for bar in mine if bar.swing > 0][:most]
        if not wide:
            continue
        largest = max(abs(end - bar.base) for bar in wide for end in (bar.at_low, bar.at_high))
        rows = table(f"which constants decide the {moves} ({show(wide[0].base, unit)})", "constant", "figure", "at low", "at high", "",
                     "grade", "note")
        for bar in wide:
            rows.add_row(bar.constant, _figure(bar), show(bar.at_low, unit), show(bar.at_high, unit), _tornado(bar, largest),
                         bar.grade or "", bar.remark)
        rest = len(mine) - len(wide)
        tables.append(Group(rows, Text(f"  {rest} more constant{'s' * (rest != 1)} with less or no effect", style="dim")) if rest else rows)
    return Group(*tables)


def _figure(bar: Bar) -> str:
    """The constant with its ends, in the unit that its name tells."""
    last = bar.constant.rpartition(".")[2]
    unit = {"energy": "J", "per_chip": "W", "per_core": "W", "clock": "Hz", "cycles": ""}.get(last, "s")
    shown = (f"{v:g} cycles" if last == "cycles" else show(v, unit) for v in (bar.figure, bar.low, bar.high))
    figure, low, high = shown
    return f"{figure} ({low} .. {high})"


def _tornado(bar: Bar, largest: float) -> str:
    """``---|=====``: minus towards less, equals towards more."""
    half = _WIDTH // 2
    less = max(0.0, *(bar.base - end for end in (bar.at_low, bar.at_high)))
    more = max(0.0, *(end - bar.base for end in (bar.at_low, bar.at_high)))
    left, right = (round(half * x / largest) if largest else 0 for x in (less, more))
    return f"{'-' * left:>{half}}|{'=' * right:<{half}}"


def break_even_table(crossing: BreakEven) -> RenderableType:
    """Up to which activity the event chip is cheaper, in words."""
    first, *rest = str(crossing).splitlines()
    n_facts = len(rest) - len(crossing.notes)
    return Group(Text(first, style="bold"), *(Text(line, style="" if i < n_facts else "dim") for i, line in enumerate(rest)))
