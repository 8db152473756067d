"""Sections of a study: many configurations, their Pareto front, and the curve of thresholds against score.

A row is a mapping: any setting columns, figures (``energy_j``, ``latency_s``, ``cores_used``, ``score``,
``effective_macs`` ...), ``on_front``, ``fits`` and ``why_not``. Columns are found in the rows; what a
row does not hold is not known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.explore.compare import OBJECTIVES
from neurosim.units import show
from neurosim.view.page.blocks import Block, Cell, Choice, Controls, Lines, Plot, Section, Table, number, quantity, words
from neurosim.view.page.figures import INK, OUTLINE, colour, new_figure, scale_of, style_legend

if TYPE_CHECKING:
    from bokeh.plotting import figure

Row = Mapping[str, Any]

MOST_ROWS = 2000
"""Rows listed in the table: those of the front first."""

_STATES = ("on_front", "fits", "why_not")
_UNITS = {"_j": "J", "_s": "s", "_m2": "m2", "_w": "W", "_hz": "Hz"}


def columns_of(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Columns of numbers, and all others (but for the states), in the order of their first appearance."""
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in _STATES]
    values = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    numeric = [name for name in names if values[name] and all(_is_number(v) for v in values[name])]
    return numeric, [name for name in names if name not in numeric and values[name]]


def study(rows: Sequence[Row], objectives: Sequence[str] = ()) -> list[Section]:
    """Front, threshold curve where there is one, and all rows."""
    if not rows:
        return [Section("front", "Pareto front", [Lines(("The study has no rows.",))])]
    return [front(rows, objectives), *curve(rows), listing(rows)]


def front(rows: Sequence[Row], objectives: Sequence[str] = ()) -> Section:
    """Configurations over two columns that the reader chooses."""
    numeric, _ = columns_of(rows)
    wanted = [name for name in (*objectives, *OBJECTIVES, "score", "effective_macs") if name in numeric]
    axes = list(dict.fromkeys([*wanted, *numeric]))
    n_fit = sum(row.get("fits", True) is not False for row in rows)
    n_front = sum(bool(row.get("on_front")) for row in rows)
    spans = f" of {', '.join(_title(name) for name in objectives)}" if objectives else ""
    said = f"{len(rows):,} configurations, {n_fit:,} fit, {n_front:,} are on the front{spans} (filled)."
    if len(axes) < 2:
        return Section("front", "Pareto front", [Lines((said, "There are not two columns of numbers to draw."))])
    shown = [row for row in rows if row.get("fits", True) is not False]
    options = tuple((name, _title(name)) for name in axes)
    first = next((name for name in axes if name != axes[0] and (name in objectives or not objectives)), axes[1])
    drawn = _scatter(shown, axes, (first, axes[0]))
    blocks: list[Block] = [Lines((said, "Hollow points are off the front. A row that lacks one of the two columns is not drawn.")),
                           Controls((Choice("x", "across", options, first), Choice("y", "up", options, axes[0]))),
                           Plot("front", "Configurations over two figures of the reader's choice", drawn)]
    return Section("front", "Pareto front", blocks, {"front": {"titles": {name: _scaled(shown, name)[1] for name in axes}}})


def _scatter(rows: Sequence[Row], axes: Sequence[str], chosen: tuple[str, str]) -> figure:
    from bokeh.models import ColumnDataSource, HoverTool

    numeric, others = columns_of(rows)
    data: dict[str, list[Any]] = {f"n{i}": _scaled(rows, name)[0] for i, name in enumerate(axes)}
    data |= {f"t{i}": [_shown(name, row.get(name)) for row in rows] for i, name in enumerate([*others, *numeric])}
    at = {name: f"n{i}" for i, name in enumerate(axes)}
    data |= {"x": data[at[chosen[0]]], "y": data[at[chosen[1]]], "fill": [0.9 if row.get("on_front") else 0.0 for row in rows],
             "size": [11 if row.get("on_front") else 7 for row in rows],
             "edge": [OUTLINE if row.get("on_front") else colour(0) for row in rows]}
    p = new_figure(440, x_axis_label=_scaled(rows, chosen[0])[1], y_axis_label=_scaled(rows, chosen[1])[1],
                   tools="box_zoom,reset", toolbar_location="above", name="front_figure", tags=[at])
    points = p.scatter("x", "y", size="size", fill_color=OUTLINE, fill_alpha="fill", line_color="edge", line_width=1.5,
                       source=ColumnDataSource(data, name="front_source"))
    p.add_tools(HoverTool(renderers=[points], tooltips=[(name, f"@t{i}") for i, name in enumerate([*others, *numeric])]))
    return p


def curve(rows: Sequence[Row]) -> list[Section]:
    """Score or error against the threshold, with effective MACs; no section where the study has no such columns."""
    numeric, _ = columns_of(rows)
    measure = next((name for name in ("score", "max_error") if name in numeric), None)
    if "threshold" not in numeric or measure is None:
        return []
    known = sorted((row for row in rows if row.get("threshold") is not None and row.get(measure) is not None), key=lambda r: r["threshold"])
    said = [f"{_title(measure).capitalize()} of {len(known):,} rows against the delta threshold."]
    blocks: list[Block] = [Plot("curve", f"{_title(measure)} against the threshold", _against_threshold(known, measure))]
    if "effective_macs" in numeric:
        macs = [row for row in known if row.get("effective_macs") is not None]
        blocks.append(Plot("curve_macs", "Effective MACs against the threshold", _against_threshold(macs, "effective_macs")))
    if any(row["threshold"] == 0 for row in known):
        said.append("The axis is logarithmic; threshold 0 stands at its left edge.")
    return [Section("curve", "Threshold and score", [Lines(tuple(said)), *blocks])]


def _against_threshold(rows: Sequence[Row], measure: str) -> figure:
    """Points, joined where every threshold occurs once; the interval where the rows hold its ends."""
    from bokeh.models import ColumnDataSource, HoverTool

    thresholds = np.array([row["threshold"] for row in rows], float)
    above = thresholds[thresholds > 0]
    smallest = float(above.min()) if above.size else 1.0
    data = {"x": np.where(thresholds > 0, thresholds, smallest / 3), "y": [row[measure] for row in rows],
            "threshold": [f"{t:g}" for t in thresholds], "text": [_shown(measure, row[measure]) for row in rows]}
    logarithmic = measure == "effective_macs" and all(row[measure] > 0 for row in rows)
    p = new_figure(300, x_axis_type="log", y_axis_type="log" if logarithmic else "linear", x_axis_label="delta threshold",
                   y_axis_label=_title(measure))
    ends = (f"{measure}_low", f"{measure}_high")
    tips = [("threshold", "@threshold"), (_title(measure), "@text")]
    once = np.unique(thresholds).size == thresholds.size
    if once and rows and all(row.get(end) is not None for row in rows for end in ends):
        p.varea(data["x"], [row[ends[0]] for row in rows], [row[ends[1]] for row in rows], fill_color=colour(0), fill_alpha=0.2,
                legend_label="interval")
    source = ColumnDataSource(data)
    if once:
        p.line("x", "y", source=source, color=colour(0), line_width=1.5)
    points = p.scatter("x", "y", size=8, source=source, color=colour(0), legend_label=_title(measure))
    for name, dash in (("dense_score", "dashed"), ("random_score", "dotted")):
        level = {row[name] for row in rows if row.get(name) is not None} if measure == "score" else set()
        if len(level) == 1:
            p.line(data["x"], [*level] * len(rows), color=INK, line_dash=dash, legend_label=_title(name), name="ink")
    p.add_tools(HoverTool(renderers=[points], tooltips=tips))
    style_legend(p)
    return p


def listing(rows: Sequence[Row]) -> Section:
    """All rows as a table."""
    numeric, others = columns_of(rows)
    ordered = sorted(range(len(rows)), key=lambda i: not rows[i].get("on_front"))[:MOST_ROWS]
    states = [name for name in _STATES if any(row.get(name) is not None for row in rows)]
    names = [*others, *numeric, *states]
    cells = tuple(tuple(_cell(name, rows[i].get(name), name in numeric) for name in names) for i in sorted(ordered))
    said = f"All {len(rows):,} rows." if len(ordered) == len(rows) else f"{len(ordered):,} of {len(rows):,} rows, those of the front first."
    return Section("rows", "Configurations", [Lines((said,)), Table("One row per configuration", tuple(map(_title, names)), cells)])


def _cell(name: str, value: Any, numeric: bool) -> Cell:
    if value is None:
        return words("")
    if not numeric:
        return words(_shown(name, value))
    unit = _unit(name)
    return quantity(float(value), unit) if unit else number(value)


def _unit(name: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def _title(name: str) -> str:
    """A column in words."""
    unit = _unit(name)
    return OBJECTIVES.get(name) or (name[: name.rindex("_")] if unit else name).replace("_", " ").replace("macs", "MACs")


def _scaled(rows: Sequence[Row], name: str) -> tuple[list[float], str]:
    """Values of a column in the unit that suits the largest, NaN where not known; and the column's title with that unit."""
    values, unit = [_float(row.get(name)) for row in rows], _unit(name)
    if not unit:
        return values, _title(name)
    scale, prefixed = scale_of(np.nanmax(np.abs(values)) if np.isfinite(values).any() else 1.0, unit)
    return [value / scale for value in values], f"{_title(name)}, {prefixed}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _float(value: Any) -> float:
    return float(value) if value is not None else math.nan


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        unit = _unit(name)
        return show(float(value), unit) if unit else f"{value:,.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
