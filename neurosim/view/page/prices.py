"""Section `what decides`: the tornado, and sliders that price the energy again in the page.

Energy is linear in each energy figure and in each static power:

    energy = (rest + sum of count x figure) / timesteps

`terms` holds count and figure of each constant; ``page.js`` evaluates the same sum. Time, and with it
the seconds for which static power is drawn, stays as it was priced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neurosim.explore.sensitivity import Bar, ends_of, energy_figures, energy_of_bars, timesteps_per_energy
from neurosim.pricing.energy import powered
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace
from neurosim.units import show
from neurosim.view.page.blocks import Block, Lines, Plot, Section, Sliders, quantity
from neurosim.view.page.figures import INK, OUTLINE, colour, new_figure, scale_of

if TYPE_CHECKING:
    from bokeh.plotting import figure

MOST_BARS = 12


@dataclass(frozen=True, slots=True)
class Term:
    """One constant: ``count x figure`` joule over the run. Of a static power, `count` is parts that draw it x seconds."""

    path: str
    unit: str
    count: float
    figure: float
    low: float
    high: float
    assumed: tuple[str, ...]


def terms(trace: Trace, program: Program, report: Report) -> list[Term]:
    """Constants in which the energy is linear, most energy first."""
    chip, found = program.chip, []
    for path, (figure, count) in energy_figures(chip, report).items():
        value = figure.energy or 0.0
        found.append(Term(path, "J", count, value, *ends_of(value, figure.low, figure.high)))
    power, period = chip.static_power, report.period
    joule = report.energy.static_j if period is None else (period.static_j or 0.0) * timesteps_per_energy(trace, report)
    if "static" not in report.energy.included and joule:
        parts = dict(zip(("per_chip", "per_core"), powered(chip, program if program.is_mapped else None)))
        watt = sum((getattr(power, key) or 0.0) * n for key, n in parts.items())
        for key, n in parts.items():
            if value := getattr(power, key):
                ends = (power.low, power.high) if key == "per_chip" else (None, None)
                found.append(Term(f"static_power.{key}", "W", n * joule / watt, value, *ends_of(value, *ends)))
    return sorted(found, key=lambda term: -term.count * term.figure)


def prices(trace: Trace, program: Program, report: Report, bars: Sequence[Bar]) -> Section:
    """Tornado of energy and of time, and the sliders."""
    blocks: list[Block] = [Lines(("Each bar is the price with one constant at the low and at the high end of its range, all others as they "
                                  "are. Where no range is published, half of the figure is taken off and added: an assumption "
                                  "(hatched). Blue: the low end, orange: the high end, each with what it makes of the price.",))]
    what = {"energy": "energy per timestep" if report.period is None else "energy of a control period", "time": "time of a timestep"}
    for moves in what:
        mine = [bar for bar in bars if bar.moves == moves and bar.swing > 0][:MOST_BARS]
        if mine:
            blocks.append(Plot(f"tornado_{moves}", f"Tornado: what each constant does to the {moves}", _tornado(mine, what[moves])))
    if len(blocks) == 1:
        blocks = [Lines(("No constant was varied for this page.",))]
    linear = terms(trace, program, report)
    if not linear:
        return Section("prices", "Which constants decide?", [*blocks, Lines(("No energy is priced, so there is nothing to price again.",))])
    total, per = energy_of_bars(trace, report), timesteps_per_energy(trace, report)
    rest = total * per - sum(t.count * t.figure for t in linear)
    rest = 0.0 if abs(rest) < 1e-9 * total * per else rest
    rows = [_row(term) for term in linear]
    blocks += [Lines(("What if? Move a constant: the energy is priced again here, count x figure, exactly. Time is held as it was "
                      "priced, so static energy follows its power and not the time.",)),
               Sliders(what["energy"], quantity(total, "J", least=not report.energy.complete), tuple(rows))]
    return Section("prices", "Which constants decide?", blocks,
                   {"prices": {"terms": rows, "rest_j": rest, "per": per, "total_j": total, "complete": report.energy.complete}})


def _row(term: Term) -> dict[str, Any]:
    scale, unit = scale_of(term.figure, term.unit)
    published = f"{show(term.low, term.unit)} .. {show(term.high, term.unit)}"
    remark = ("published range", f"{' and '.join(term.assumed)} end assumed", "range assumed, ±50%")[len(term.assumed)]
    return {"path": term.path, "count": term.count, "figure": term.figure, "low": term.low, "high": term.high, "base": term.unit,
            "scale": scale, "unit": unit, "typed": f"{term.figure / scale:.6g}", "range": f"{published} ({remark})"}


def _tornado(bars: Sequence[Bar], what: str) -> figure:
    """Bars around the price as it is (`what` in words), widest on top; hatched where an end is assumed."""
    from bokeh.models import ColumnDataSource, HoverTool, Span

    moves = bars[0].moves
    base_unit = "J" if moves == "energy" else "s"
    top = max(max(bar.at_low, bar.at_high, bar.base) for bar in bars)
    scale, unit = scale_of(top, base_unit)
    names = [bar.constant for bar in bars]
    p = new_figure(90 + 28 * len(bars), y_range=names[::-1],
                   x_axis_label=f"{what}, {unit}")
    p.ygrid.visible = False
    for k, end in enumerate(("low", "high")):
        at = [getattr(bar, f"at_{end}") for bar in bars]
        source = ColumnDataSource({
            "y": names, "left": [min(a, bar.base) / scale for a, bar in zip(at, bars)],
            "right": [max(a, bar.base) / scale for a, bar in zip(at, bars)], "price": [show(a, base_unit) for a in at],
            "remark": [bar.remark or "published range" for bar in bars], "grade": [bar.grade or "" for bar in bars],
            "hatch": ["right_diagonal_line" if end in bar.assumed else " " for bar in bars]})
        drawn = p.hbar("y", left="left", right="right", height=0.7, source=source, color=colour(k), line_color=None, hatch_pattern="hatch",
                       hatch_color="white", hatch_alpha=0.6, hatch_scale=8)
        p.add_tools(HoverTool(renderers=[drawn], tooltips=[("constant", "@y"), (f"price at its {end} end", "@price"), ("range", "@remark"),
                                                           ("grade", "@grade")]))
    p.add_layout(Span(location=bars[0].base / scale, dimension="height", line_color=INK, line_width=1.5, name="ink"))
    if moves == "energy":
        p.add_layout(Span(location=bars[0].base / scale, dimension="height", line_color=OUTLINE, line_width=2, line_dash="dashed",
                          name="priced_again", tags=[scale], visible=False))
    p.yaxis.major_label_text_font_size = "11px"
    return p
