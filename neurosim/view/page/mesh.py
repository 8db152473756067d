"""Section `core mesh`: what every core does over time, and the busiest links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.counters import COUNTERS
from neurosim.pricing import traffic
from neurosim.pricing.latency import Clock
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace
from neurosim.view.page.blocks import Block, Cell, Choice, Controls, Lines, Plot, Section, Table, number, percent, quantity, words
from neurosim.view.page.figures import INK, OUTLINE, new_figure, scale_of
from neurosim.view.page.summary import critical_place

if TYPE_CHECKING:
    from bokeh.plotting import figure

WINDOWS = 60
"""Windows of timesteps at most."""

MOST_VALUES = 250_000
"""Values (cores x windows x counters) that a page holds: with more cores there are fewer windows."""

MOST_LINKS, MOST_CORES, MOST_TILES = 12, 500, 4096
"""Links and cores listed; outlines of tiles drawn."""

MEANING = {
    "work": "time for which the core is busy with actions that have a published time",
    "waited": "time in which everything else waited for this core, the slowest of its level",
    "synapse_visits": COUNTERS["synapse_visits"].definition,
    "weight_reads": COUNTERS["weight_reads"].definition,
    "neuron_updates": "neurons of the core that were re-evaluated",
    "events_out": "events that neurons of the core transmitted",
    "messages_in": "messages delivered to the core",
    "messages_out": "messages that the core injected",
    "messages_local": "events delivered inside the core",
}
"""Counters to choose from, per timestep, in this order."""


def windows_of(n_timesteps: int, n_cores: int) -> np.ndarray:
    """Edges of windows of timesteps (int64, (windows + 1,)): at most `WINDOWS`, fewer where the page would grow too large."""
    most = max(1, min(WINDOWS, n_timesteps, MOST_VALUES // (len(MEANING) * max(1, n_cores)) - 1))
    return np.linspace(0, n_timesteps, most + 1).astype(np.int64)


def per_window(trace: Trace, program: Program, edges: np.ndarray) -> dict[str, np.ndarray]:
    """Means per timestep of each counter (float64, (windows, cores)); `work` and `waited` in seconds.

    The counts are those of `Report.traffic`, the work that of `Latency.core_work_s`: their means over
    the windows, weighted by the windows' lengths, are the report's.
    """
    clock, n_windows, n_cores = Clock(trace, program), len(edges) - 1, program.cores_used
    sums = {name: np.zeros((n_windows, n_cores)) for name in MEANING}
    no_links = np.zeros(0, np.int64)
    for window, piece in _pieces(trace, program, edges):
        work, waited = clock.core_work.copy(), clock.waits.core_s.sum(0)
        clock.add(piece)
        sums["work"][window] += clock.core_work - work
        sums["waited"][window] += clock.waits.core_s.sum(0) - waited
        counted = traffic.by_place(program, piece.counts.sum(0), 0, no_links, no_links)
        for name in MEANING:
            if name in counted.cores:
                sums[name][window] += counted.cores[name]
    return {name: total / np.diff(edges)[:, None] for name, total in sums.items()}


def _pieces(trace: Trace, program: Program, edges: np.ndarray) -> Iterator[tuple[int, traffic.Block]]:
    """Blocks of counts, cut at the edges of windows."""
    for block in traffic.blocks(trace, program):
        end = block.begin + len(block.counts)
        for window in range(int(np.searchsorted(edges, block.begin, "right")) - 1, len(edges) - 1):
            a, b = max(block.begin, int(edges[window])), min(end, int(edges[window + 1]))
            if a >= b:
                break
            at = slice(a - block.begin, b - block.begin)
            yield window, traffic.Block(a, block.counts[at].copy(), block.fans[at])


def mesh(trace: Trace, program: Program, report: Report) -> Section:
    """Heatmap with a slider over time, and the busiest links."""
    if not program.is_mapped or report.traffic is None:
        return Section("mesh", "Cores and links", [Lines((f"{report.chip} has no mesh of cores: nothing is mapped.",))])
    edges = windows_of(report.n_timesteps, program.cores_used)
    found = per_window(trace, program, edges)
    data, whole = _data(found, edges), _whole(found, edges)
    if not data["counters"]:
        return Section("mesh", "Cores and links", [Lines(("No core did anything in this run.",))])
    several = len(data["windows"]) > 1
    said = ["Colour is the chosen counter, mean per timestep.", "Point at a core for its layers and all its figures."]
    if several:
        said.insert(1, "Position 0 of the slider is the whole run, the others are windows of timesteps, which share one scale of colours.")
    choice = Choice("counter", "counter", tuple((c["name"], f"{c['label']}: {MEANING[c['name']]}") for c in data["counters"]))
    blocks: list[Block] = [
        Lines((_where(program, report), " ".join(said))), Controls((choice,), "window", "window of timesteps", len(data["windows"])),
        Plot("mesh", f"Heatmap of {program.cores_used:,} cores on the mesh of tiles", _heatmap(program, report, data)),
        _cores(program, report, whole), _links(report)]
    return Section("mesh", "Cores and links", blocks, {"mesh": data})


def _whole(found: dict[str, np.ndarray], edges: np.ndarray) -> dict[str, np.ndarray]:
    """Means per timestep over all windows."""
    lengths = np.diff(edges)
    return {name: (values * lengths[:, None]).sum(0) / lengths.sum() for name, values in found.items()}


def _data(found: dict[str, np.ndarray], edges: np.ndarray) -> dict[str, Any]:
    """What ``page.js`` draws: of each counter the values of the whole run, then of each window (none where there is but one)."""
    whole, several = _whole(found, edges), len(edges) > 2
    counters, values = [], {}
    for name in MEANING:
        if not found[name].any():
            continue
        scale, unit = scale_of(float(found[name].max()), "s") if name in ("work", "waited") else (1.0, "")
        rows = [whole[name], *(found[name] if several else ())]
        values[name] = [_digits(row / scale) for row in rows]
        counters.append({"name": name, "label": f"{name.replace('_', ' ')}{', ' if unit else ''}{unit} per timestep",
                         "whole": max(values[name][0]), "high": max(map(max, values[name][1:]), default=0.0)})
    waited = [int(row.argmax()) if row.any() else None for row in (whole["waited"], *(found["waited"] if several else ()))]
    spans = [(int(edges[0]), int(edges[-1])), *(zip(edges[:-1].tolist(), edges[1:].tolist()) if several else ())]
    return {"counters": counters, "windows": spans, "values": values, "waited": waited}


def _where(program: Program, report: Report) -> str:
    place, (width, height) = critical_place(report), program.mesh
    text = f"{program.cores_used:,} cores on {program.tiles_used:,} tiles of a mesh of {width:,} x {height:,}"
    if place is None:
        return text + "."
    if place["kind"] == "link":
        return f"{text}. Marked: link {place['link']}, the critical link of the whole run."
    return (f"{text}. Outlined: core {place['core']} ({place['layer']}) on tile "
            f"{tuple(program.tile_of_core[place['core']].tolist())}, the critical core of the whole run.")


def _digits(row: np.ndarray) -> list[float]:
    """Six significant digits: what a picture shows."""
    return [float(f"{value:.6g}") for value in row.tolist()]


def _places(program: Program) -> tuple[np.ndarray, np.ndarray, float]:
    """Centre of each core, the cores of a tile side by side in a square, and the width of a core."""
    tiles, rank, seen = program.tile_of_core, np.zeros(program.cores_used, np.int64), dict[tuple[int, ...], int]()
    for core, tile in enumerate(map(tuple, tiles.tolist())):
        rank[core] = seen[tile] = seen.get(tile, -1) + 1
    side = int(np.ceil(np.sqrt(rank.max(initial=0) + 1)))
    x = tiles[:, 0] + ((rank % side) + 0.5) / side - 0.5
    y = tiles[:, 1] + ((rank // side) + 0.5) / side - 0.5
    return x, y, 0.9 / side


def _layers(program: Program) -> list[str]:
    """Names of the layers on each core."""
    names: list[dict[str, None]] = [{} for _ in range(program.cores_used)]
    for s in program.slices:
        names[s.core][program.layer_names[s.layer]] = None
    return [", ".join(mine) if len(mine) <= 4 else f"{', '.join([*mine][:4])} and {len(mine) - 4} more" for mine in names]


def _heatmap(program: Program, report: Report, data: dict[str, Any]) -> figure:
    from bokeh.models import BasicTicker, ColorBar, ColumnDataSource, HoverTool, LinearColorMapper, Range1d
    from bokeh.palettes import Cividis256

    x, y, width = _places(program)
    counters, first = data["counters"], data["counters"][0]
    source = ColumnDataSource({"x": x, "y": y, "core": list(range(x.size)), "tile": [str(tuple(t)) for t in program.tile_of_core.tolist()],
                               "layers": _layers(program), "shown": np.zeros(x.size)}, name="mesh_source")  # page.js adds the counters
    (left, low), (right, high) = (program.tile_of_core.min(0).tolist(), program.tile_of_core.max(0).tolist())
    p = new_figure(int(np.clip(150 + 110 * (high - low + 1) / max(1, (right - left + 1) / 6), 330, 560)),
                   x_range=Range1d(left - 0.6, right + 0.6), y_range=Range1d(low - 0.6, high + 0.6), x_axis_label="tile x",
                   y_axis_label="tile y")
    p.grid.visible = False
    p.xaxis.ticker, p.yaxis.ticker = (BasicTicker(min_interval=1, num_minor_ticks=0) for _ in "xy")
    tiles = np.mgrid[left: right + 1, low: high + 1].reshape(2, -1)
    if tiles.shape[1] <= MOST_TILES:
        p.rect(tiles[0], tiles[1], 0.96, 0.96, fill_color=None, line_color=INK, line_alpha=0.5)
    mapper = LinearColorMapper(Cividis256, low=0, high=first["whole"], name="mesh_colours")
    cores = p.rect("x", "y", width, width, source=source, line_color=None, fill_color={"field": "shown", "transform": mapper})
    _outline(p, report, x, y, width)
    p.add_layout(ColorBar(color_mapper=mapper, title=first["label"], name="mesh_bar", background_fill_color=None, height=10,
                          title_text_font_size="13px", title_text_font_style="normal", major_label_text_font_size="12px"), "below")
    p.add_tools(HoverTool(renderers=[cores], tooltips=[("core", "@core"), ("tile", "@tile"), ("layers", "@layers"), *(
        (c["label"], f"@{{{c['name']}}}{{0,0.[000]}}") for c in counters)]))
    return p


def _outline(p: figure, report: Report, x: np.ndarray, y: np.ndarray, width: float) -> None:
    """Mark the critical core, or the tile and direction of the critical link."""
    critical = critical_place(report) or {}
    if critical.get("kind") == "core":
        core = critical["core"]
        p.rect([x[core]], [y[core]], width, width, fill_color=None, line_color=OUTLINE, line_width=4)
        at, text = (x[core], y[core]), f"core {core}"
    elif critical.get("kind") == "link":
        tile, direction = critical["link"].rsplit(" ", 1)
        i, j = (int(k) for k in tile.strip("()").split(","))
        dx, dy = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}[direction]
        p.segment([i], [j], [i + dx], [j + dy], line_color=OUTLINE, line_width=5)
        at, text = (i + dx / 2, j + dy / 2), f"link {critical['link']}"
    else:
        return
    p.text([at[0]], [at[1]], [text], text_align="center", text_baseline="middle", text_color="white", text_font_size="13px",
           text_font_style="bold", background_fill_color=OUTLINE, padding=4)


def _cores(program: Program, report: Report, whole: dict[str, np.ndarray]) -> Block:
    """The cores with most work (synapse visits where no time is known), over the whole run."""
    by = "work" if whole["work"].any() else "synapse_visits"
    chosen, layers, energy, t = np.argsort(-whole[by], kind="stable")[:MOST_CORES].tolist(), _layers(program), report.energy, report.latency
    rows = []
    for core in chosen:
        counts = [number(float(whole[name][core])) for name in ("synapse_visits", "neuron_updates", "events_out", "messages_in")]
        share = percent(float(t.critical_share[core])) if t is not None else words("not published")
        work = quantity(float(whole["work"][core]), "s") if t is not None else words("not published")
        joule = quantity(float(energy.by_core_j[core]) / report.n_timesteps, "J") if energy.by_core_j.size else words("-")
        tile = words(tuple(program.tile_of_core[core].tolist()))
        rows.append((Cell(f"core {core}", core), tile, words(layers[core]), work, share, *counts, joule))
    title = f"Cores, means per timestep{'' if len(rows) == program.cores_used else f', the {len(rows):,} busiest'}"
    columns = ("core", "tile", "layers", "work", "waited for", "synapse visits", "neuron updates", "events out", "messages in", "energy")
    meaning = {"waited for": "share of the whole time in which everything else waited for this core",
               "energy": "priced energy of what the core does, without static power"}
    meaning |= {name.replace("_", " "): MEANING[name] for name in ("work", "synapse_visits", "neuron_updates", "events_out", "messages_in")}
    return Table(title, columns, tuple(rows), meaning)


def _links(report: Report) -> Block:
    """The links that most events crossed."""
    links, n = report.traffic.links if report.traffic else {}, report.n_timesteps
    if not links:
        return Lines(("No message crossed a link between tiles.",))
    most, every, rows = max(events for events, _ in links.values()), sum(events for events, _ in links.values()), []
    for name, (events, flits) in sorted(links.items(), key=lambda entry: -entry[1][0])[:MOST_LINKS]:
        rows.append((words(name), number(events / n, events / most), number(flits / n), percent(events / every)))
    columns = ("link", "events per timestep", "flits per timestep", "of all crossings")
    meaning = {"link": "the tile that it leaves, and its direction",
               "flits per timestep": "what the link carries, by which its time is reckoned"}
    return Table(f"Busiest links: {len(rows)} of {len(links):,} in use", columns, tuple(rows), meaning)
