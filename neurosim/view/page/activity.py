"""Sections `activity over time` and `layers`: what each layer did, per timestep and in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurosim.counters import COUNTERS, KERNEL_COLUMNS
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace
from neurosim.view.page.blocks import Block, Cell, Lines, Plot, Section, Table, number, quantity, words
from neurosim.view.page.figures import INK, OUTLINE, colour, new_figure, short, style_legend

if TYPE_CHECKING:
    from bokeh.plotting import figure

MOST_POINTS = 600
"""Points of a line: longer runs are shown as means over bins of timesteps."""

MOST_LINES = 10
"""Layers drawn one by one; the rest is one line."""


def activity(trace: Trace) -> Section:
    """Effective MACs and ACs of each layer over time."""
    if trace.counts is None:
        return Section("activity", "Activity over time", [Lines(("The run was made without counts per timestep, so there is no curve.",))])
    edges = bins_of(trace.n_timesteps)
    binned, n = len(edges) - 1 < trace.n_timesteps, trace.n_timesteps
    text = (f"Effective MACs{' and ACs' if trace.totals_by_counter['effective_acs'] else ''} into each layer; the dashed line is the dense "
            f"count, upright dashed lines are resets. A layer without any in a timestep is left out there.")
    lines = [text, f"Each point is the mean of {n / (len(edges) - 1):.3g} timesteps." if binned else "Each point is a timestep."]
    plot = Plot("activity", "Effective MACs per timestep and layer over time", _curves(trace, edges))
    blocks: list[Block] = [Lines((" ".join(lines),)), plot]
    return Section("activity", "Activity over time", blocks)


def bins_of(n_timesteps: int) -> np.ndarray:
    """Edges of bins of timesteps (int64, (bins + 1,)): one each, or `MOST_POINTS` bins."""
    return np.linspace(0, n_timesteps, min(n_timesteps, MOST_POINTS) + 1).astype(np.int64)


def binned_macs(trace: Trace, edges: np.ndarray) -> np.ndarray:
    """Effective MACs and ACs, mean per timestep of each bin (float64, (bins, layers))."""
    assert trace.counts is not None  # asked by `activity`
    columns = [KERNEL_COLUMNS.index(name) for name in ("effective_macs", "effective_acs")]
    per_layer = trace.counts[:, :, columns].sum(axis=2, dtype=np.int64)
    return np.add.reduceat(per_layer, edges[:-1], axis=0) / np.diff(edges)[:, None]


def _curves(trace: Trace, edges: np.ndarray) -> figure:
    """Lines on a logarithmic axis; what is 0 is not drawn."""
    from bokeh.models import ColumnDataSource, HoverTool

    macs, dense, middle = binned_macs(trace, edges), trace.network.static_total("dense_macs"), (edges[:-1] + edges[1:] - 1) / 2
    p = new_figure(420, y_axis_type="log", x_axis_label="timestep", y_axis_label="effective MACs per timestep", tools="box_zoom,reset",
                   toolbar_location="above", output_backend="canvas")
    most = np.argsort(-macs.sum(0), kind="stable")
    weighted = [int(i) for i in most if trace.network.static_counts[i]["dense_macs"]]
    lines = {trace.network.layers[i].name: macs[:, i] for i in sorted(weighted[:MOST_LINES])}
    if weighted[MOST_LINES:]:
        lines[f"{len(weighted) - MOST_LINES} other layers"] = macs[:, weighted[MOST_LINES:]].sum(1)
    lines["all layers"] = macs.sum(1)
    for k, (name, values) in enumerate(lines.items()):
        shown = np.where(values > 0, values, np.nan)
        whole = name == "all layers"
        source = ColumnDataSource({"x": middle, "y": shown, "name": [name] * middle.size, "from": edges[:-1], "to": edges[1:] - 1})
        drawn = p.line("x", "y", source=source, color=INK if whole else colour(k), line_width=2 if whole else 1.3, legend_label=short(name),
                       name="ink" if whole else None)
        p.add_tools(HoverTool(renderers=[drawn], visible=False, tooltips=[
            ("layer", "@name"), ("timesteps", "@from to @to"), ("MACs per timestep", "@y{0,0.[0]}")]))
    p.line([0, max(1, trace.n_timesteps - 1)], [dense, dense], color=INK, line_dash="dashed", legend_label=f"dense: {dense:,}", name="ink")
    resets = np.flatnonzero(trace.first)
    if resets.size <= MOST_POINTS // 4:
        p.vspan(x=resets, line_color=OUTLINE, line_dash="dashed", line_width=1.5, legend_label="reset")
    style_legend(p)
    return p


def layers(trace: Trace, program: Program, report: Report) -> Section:
    """One row per layer, sortable."""
    n, priced, rows = trace.n_timesteps, report.energy.by_layer, []
    rows.append((words("input"), words("input"), number(trace.network.input.n_elements), words(""), words(""), words(""), words(""),
                 words(""), number(trace.input_events / n), words(""), _energy(priced, "input", report)))
    for i, (layer, row) in enumerate(zip(trace.network.layers, trace.layer_counts(), strict=True)):
        effective = row["effective_macs"] + row["effective_acs"]
        times = row["dense_macs"] / effective if effective else None
        rows.append((words(layer.name), words(layer.kind), number(layer.n_neurons), number(len(program.cores_of_layer(i))) if
                     program.is_mapped else words("-"), number(row["dense_macs"] / n), number(effective / n),
                     words("-") if times is None else Cell(f"{times:,.3g} x", times), number(row["events"] / n),
                     number(row["events_out"] / n), number(row["neuron_updates"] / n), _energy(priced, layer.name, report)))
    columns = ("layer", "kind", "neurons", "cores", "dense MACs", "effective MACs", "dense / effective", "events in", "events out",
               "neuron updates", "energy")
    names = {"dense MACs": "dense_macs", "effective MACs": "effective_macs", "neuron updates": "neuron_updates"}
    definitions = {label: COUNTERS[name].definition for label, name in names.items()} | {
        "events in": "arrivals over the synapses into the layer", "events out": "transmitted by the layer, each once",
        "energy": "priced energy of the layer without static power; messages and hops are the sender's"}
    table = Table(f"Means per timestep over {n:,} timesteps", columns, tuple(rows), definitions)
    return Section("layers", "Layers", [Lines(("Press a header to sort.",)), table])


def _energy(priced: dict[str, dict[str, float]], name: str, report: Report) -> Cell:
    if name not in priced:
        return words("-")
    return quantity(sum(priced[name].values()) / report.n_timesteps, "J")
