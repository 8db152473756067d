"""Section `energy`: where it goes, per action and per layer, its range, and what is not priced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim.report import Report
from neurosim.units import show
from neurosim.view.page.blocks import Block, Cell, Lines, Plot, Section, Table, number, percent, quantity, words
from neurosim.view.page.figures import INK, colour, new_figure, scale_of, short, style_legend
from neurosim.view.tables import at_least, energy_range, part_range

if TYPE_CHECKING:
    from bokeh.plotting import figure

MOST_LAYERS = 30
"""Layers drawn; the table lists all."""


def energy(report: Report) -> Section:
    """Stack, coverage, and tables per action and per layer."""
    e = report.energy
    lines = [f"Energy per timestep: {at_least(e.complete).replace('>=', '≥')}{show(e.per_timestep_j, 'J')}. "
             f"Range with all figures at the low or the high end of theirs: {energy_range(report).replace('>=', '≥')}.", *coverage(report)]
    blocks: list[Block] = [Lines(tuple(lines))]
    if e.total_j:
        whole, layers, n = _whole(report), _per_layer(report), report.n_timesteps
        actions = list(dict.fromkeys([*whole, *(action for _, parts in layers for action in parts)]))
        ends = (e.low_j / n, e.high_j / n)
        drawn = _stack([("all", whole)], actions, ends)
        blocks.append(Plot("energy", "Energy per timestep as a stacked bar, by action, with its range", drawn))
        if layers:
            blocks.append(Plot("energy_layers", "Energy per timestep of each layer as stacked bars, by action", _stack(layers, actions)))
    blocks += [_actions(report), *([_layers(report)] if e.by_layer else [])]
    if not e.by_layer:
        blocks.append(Lines(("Nothing is mapped on cores, so energy is not shared out to layers.",)))
    return Section("energy", "Energy", blocks)


def coverage(report: Report) -> list[str]:
    """What the total holds and what it does not."""
    e, lines = report.energy, []
    if e.not_priced:
        lines.append(f"The total is a lower bound (≥). Happened but not priced, because no energy is published: {', '.join(e.not_priced)}.")
    elif not e.complete:
        lines.append("The total is a lower bound (≥): static energy is power x time, and the time is a lower bound.")
    else:
        lines.append("Everything that happened in this run has a published energy.")
    if e.included:
        held = {by: [a for a in e.included if e.included[a] == by] for by in dict.fromkeys(e.included.values())}
        lines += [f"Inside the figure of {by}, not added again: {', '.join(actions)}." for by, actions in held.items()]
    if e.no_range:
        lines.append(f"No range is published for {', '.join(e.no_range)}: taken as exact in the range.")
    return lines


def _whole(report: Report) -> dict[str, float]:
    """Action (without its kind) -> joule per timestep."""
    every: dict[str, float] = {}
    for action, joule in report.energy.parts.items():
        root = action.partition(".")[0]
        every[root] = every.get(root, 0.0) + joule / report.n_timesteps
    return {action: joule for action, joule in every.items() if joule > 0}


def _per_layer(report: Report) -> list[tuple[str, dict[str, float]]]:
    """The layers with most energy, in the order of the network."""
    e, n = report.energy, report.n_timesteps
    most = sorted(e.by_layer, key=lambda name: -sum(e.by_layer[name].values()))[:MOST_LAYERS]
    rows = [(name, {action: joule / n for action, joule in parts.items() if joule > 0})
            for name, parts in e.by_layer.items() if name in most]
    return rows if any(parts for _, parts in rows) else []


def _stack(rows: Sequence[tuple[str, dict[str, float]]], actions: Sequence[str], ends: tuple[float, float] | None = None) -> figure:
    """Horizontal stacked bars, one per row, coloured by action; `ends` is the range of the first row."""
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    top = max(*(sum(parts.values()) for _, parts in rows), ends[1] if ends else 0.0)
    scale, unit = scale_of(top, "J")
    names = _labels([name for name, _ in rows])
    p = new_figure(120 + 26 * len(names), y_range=names[::-1], x_range=Range1d(0, top / scale * 1.05),
                   x_axis_label=f"energy per timestep, {unit}")
    p.ygrid.visible = False
    left = np.zeros(len(rows))
    for k, action in enumerate(actions):
        joule = np.array([parts.get(action, 0.0) for _, parts in rows])
        if not joule.any():
            continue
        source = ColumnDataSource({"y": names, "left": left / scale, "right": (left + joule) / scale, "layer": [name for name, _ in rows],
                                   "text": [show(j, "J") for j in joule], "action": [action] * len(rows)})
        bars = p.hbar("y", left="left", right="right", height=0.7, source=source, color=colour(k), legend_label=action, line_color=None)
        p.add_tools(HoverTool(renderers=[bars], tooltips=[("layer", "@layer"), ("action", "@action"), ("per timestep", "@text")]))
        left = left + joule
    if ends:
        low, high = ends[0] / scale, ends[1] / scale
        p.segment([low], names[:1], [high], names[:1], line_color=INK, line_width=2, name="ink")
        p.scatter([low, high], names[:1] * 2, marker="dash", angle=np.pi / 2, size=16, line_color=INK, line_width=2, name="ink")
    style_legend(p)
    return p


def _labels(names: list[str]) -> list[str]:
    """Short names, no two alike."""
    found: list[str] = []
    for i, name in enumerate(names):
        label = short(name)
        found.append(f"{label} #{i}" if label in found else label)
    return found


def _actions(report: Report) -> Table:
    e, n, rows = report.energy, report.n_timesteps, []
    for action, joule in sorted(e.parts.items(), key=lambda part: -part[1]):
        count = e.counts.get(action)
        rows.append((words(action), Cell("") if count is None or action == "static" else number(count / n), quantity(joule / n, "J"),
                     words(part_range(report, action)), percent(joule / e.total_j if e.total_j else None)))
    for action in e.not_priced:
        count = e.counts.get(action)
        rows.append((words(action), Cell("") if count is None else number(count / n), words("not priced"), words(""), words("")))
    for action, by in e.included.items():
        total = sum(k for name, k in e.counts.items() if name.partition(".")[0] == action)
        rows.append((words(action), Cell("") if action == "static" else number(total / n), words(f"inside {by}"), words(""), words("")))
    return Table("Energy per action, a mean timestep", ("action", "count", "energy", "range", "share"), tuple(rows))


def _layers(report: Report) -> Table:
    e, n = report.energy, report.n_timesteps
    actions = list(dict.fromkeys(action for parts in e.by_layer.values() for action in parts))
    rows = [(words(name), *(quantity(parts[a] / n, "J") if a in parts else words("") for a in actions),
             quantity(sum(parts.values()) / n, "J"), percent(sum(parts.values()) / e.total_j if e.total_j else None))
            for name, parts in e.by_layer.items()]
    if "static" in e.parts:
        rows.append((words("static (no layer's)"), *(words("") for _ in actions), quantity(e.static_j / n, "J"),
                     percent(e.static_j / e.total_j if e.total_j else None)))
    return Table("Energy per layer, a mean timestep (messages and hops are the sender's)", ("layer", *actions, "all", "share"), tuple(rows))
