"""Plots for papers and documents: functions that take a matplotlib Axes, draw, and return it.

Colours are from Okabe and Ito's palette (safe for the colour-blind).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim.counters import KERNEL_COLUMNS
from neurosim.errors import PricingError
from neurosim.explore.compare import OBJECTIVES
from neurosim.synapses import INPUT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from neurosim.explore.compare import Comparison
    from neurosim.program import Program
    from neurosim.report import Report
    from neurosim.trace import Trace

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Okabe and Ito's, in the order of use."""


def threshold_curve(
    ax: Axes,
    thresholds: Sequence[float],
    returns: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    macs: Sequence[float],
    *,
    dense_return: float,
    random_return: float,
    dense_macs: float,
) -> Axes:
    """Return and effective MACs per decision against the delta threshold.

    Parameters
    ----------
    thresholds : sequence of float
        Ascending; 0 is drawn at the left edge of a logarithmic axis.
    returns, low, high : sequence of float
        Mean return and its 95 % interval.
    macs : sequence of float
        Effective MACs per decision.
    dense_return, random_return, dense_macs : float
        Drawn as references.
    """
    x = np.array(thresholds, float)
    smallest = x[x > 0].min()
    x = np.where(x == 0, smallest / 3, x)
    ax.set_xscale("log")
    ax.fill_between(x, low, high, color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(x, returns, "o-", color=BLUE, label="event-driven policy, mean and 95 % interval")
    ax.axhline(dense_return, color=GREY, linestyle="--", linewidth=1, label="dense policy")
    ax.axhline(random_return, color=GREY, linestyle=":", linewidth=1, label="random policy")
    ax.set_xlabel("delta threshold (leftmost point: 0)")
    ax.set_ylabel("return", color=BLUE)
    right = ax.twinx()
    right.set_yscale("log")
    right.plot(x, macs, "s-", color=ORANGE, markersize=4, label="effective MACs per decision (right)")
    right.axhline(dense_macs, color=ORANGE, linestyle="--", linewidth=1, label="dense MACs per decision (right)")
    right.set_ylabel("MACs per decision", color=ORANGE)
    handles, labels = (a + b for a, b in zip(ax.get_legend_handles_labels(), right.get_legend_handles_labels()))
    ax.legend(handles, labels, loc="lower left", fontsize="small", frameon=False)
    ax.grid(True, which="major", axis="x", linewidth=0.3)
    return ax


def raster(ax: Axes, trace: Trace, sender: str, elements: int = 200, first: int = 0, timesteps: int = 200) -> Axes:
    """Which elements of a sender transmitted in which timestep; resets as vertical lines.

    Parameters
    ----------
    sender : str
        ``input`` or a layer that transmits.
    elements : int
        At most so many, evenly spaced, are drawn.
    first, timesteps : int
        Recorded timesteps that are drawn.

    Raises
    ------
    PricingError
        For a layer that transmits nothing, or timesteps whose events were not recorded.
    """
    names = ["input" if s == INPUT else trace.network.layers[s].name for s in trace.network.senders]
    if sender not in names:
        raise PricingError(f"{sender!r} transmits nothing; choose one of {', '.join(names)}")
    stop = min(first + timesteps, trace.n_recorded)
    if not 0 <= first < stop:
        raise PricingError(f"events are recorded for {trace.n_recorded:,} timesteps; {first:,} is not among them")
    j = names.index(sender)
    n = trace.network.size_of(trace.network.senders[j])
    chosen = np.unique(np.linspace(0, n - 1, min(elements, n)).astype(np.int64))
    row = np.full(n, -1)
    row[chosen] = np.arange(chosen.size)
    at, which = [], []
    for t in range(first, stop):
        found = row[trace.events_of(t, j)]
        which.append(found[found >= 0])
        at.append(np.full(which[-1].size, t))
    ax.scatter(np.concatenate(at), np.concatenate(which), s=3, marker="|", color=BLUE, linewidths=0.8)
    for after in np.flatnonzero(trace.first[first:stop]):
        ax.axvline(first + after - 0.5, color=ORANGE, linewidth=0.8)
    ax.set(xlim=(first - 0.5, stop - 0.5), ylim=(-0.5, chosen.size - 0.5), xlabel="timestep")
    ax.set_ylabel(f"{sender}: element" + (f" (every {n / chosen.size:.0f}th of {n:,})" if chosen.size < n else ""))
    return ax


def activity(ax: Axes, trace: Trace) -> Axes:
    """Effective MACs and ACs of each layer, and of all, over time; the dense count as a line.

    Raises
    ------
    PricingError
        Where the trace holds no counts per timestep.
    """
    if trace.counts is None:
        raise PricingError("the trace holds no counts per timestep; simulate again with record='counts'")
    columns = [KERNEL_COLUMNS.index(name) for name in ("effective_macs", "effective_acs")]
    per_layer = trace.counts[:, :, columns].sum(axis=2)
    weighted = [i for i, row in enumerate(trace.network.static_counts) if row["dense_macs"]]
    x = np.arange(trace.n_timesteps)
    for k, i in enumerate(weighted):
        ax.step(x, per_layer[:, i], where="mid", color=PALETTE[k % len(PALETTE)], linewidth=1, label=trace.network.layers[i].name)
    ax.step(x, per_layer.sum(axis=1), where="mid", color="black", linewidth=1.2, label="all")
    dense = trace.network.static_total("dense_macs")
    ax.axhline(dense, color=GREY, linestyle="--", linewidth=1, label=f"dense: {dense:,}")
    ax.set(yscale="symlog", xlim=(0, max(1, trace.n_timesteps - 1)), xlabel="timestep", ylabel="synaptic operations, non-zero weights")
    ax.set_ylim(0, dense * 30)
    ax.legend(loc="upper right", fontsize="small", frameon=False, ncols=3)
    return ax


def energy_stack(ax: Axes, reports: Sequence[Report]) -> Axes:
    """Energy per timestep of one or more reports, a bar each, its parts stacked; the published range as a whisker.

    A bar of a report that leaves something unpriced is a lower bound: its name begins with >=.
    """
    actions = list(dict.fromkeys(name for r in reports for name, joule in r.energy.parts.items() if joule > 0))
    colours = {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(actions)}
    hatch = {name: "" if k < len(PALETTE) else "//" for k, name in enumerate(actions)}
    for i, report in enumerate(reports):
        bottom = 0.0
        for name in actions:
            joule = report.energy.parts.get(name, 0.0) / report.n_timesteps
            label = name if name not in ax.get_legend_handles_labels()[1] else None
            ax.bar(i, joule, bottom=bottom, width=0.6, color=colours[name], hatch=hatch[name], edgecolor="white", linewidth=0.3,
                   label=label)
            bottom += joule
        low, high = (x / report.n_timesteps for x in (report.energy.low_j, report.energy.high_j))
        ax.errorbar(i, bottom, yerr=[[max(0.0, bottom - low)], [max(0.0, high - bottom)]], color="black", capsize=4, linewidth=1)
    names = [f"{'' if r.energy.complete else '>= '}{r.chip}" for r in reports]
    ax.set_xticks(range(len(reports)), names, rotation=20 if len(reports) > 3 else 0)
    ax.set_ylabel("joule per timestep")
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], fontsize="small", frameon=False)
    return ax


def core_heatmap(ax: Axes, report: Report, program: Program, counter: str = "synapse_visits") -> Axes:
    """A counter of `Report.traffic.cores` over the mesh of tiles, the cores of a tile added up, per timestep.

    Raises
    ------
    PricingError
        For a machine without a mesh, and for an unknown counter.
    """
    if report.traffic is None or not program.is_mapped:
        raise PricingError(f"{report.chip} has no mesh of cores to draw")
    if counter not in report.traffic.cores:
        raise PricingError(f"counter {counter!r} is unknown; choose one of {', '.join(report.traffic.cores)}")
    (width, height), (x, y) = program.mesh, program.tile_of_core.T
    tiles, used = np.zeros((height, width)), np.zeros((height, width), bool)
    np.add.at(tiles, (y, x), report.traffic.cores[counter] / report.n_timesteps)
    used[y, x] = True
    shown = np.where(used, tiles, np.nan)
    image = ax.imshow(shown, origin="lower", cmap="cividis", vmin=0)
    ax.figure.colorbar(image, ax=ax, label=f"{counter.replace('_', ' ')} per timestep")
    ax.set(xlabel="tile x", ylabel="tile y", title=f"{report.chip}: {program.cores_used} cores")
    return ax


def pareto(ax: Axes, comparison: Comparison, x: str = "latency_s", y: str = "energy_j") -> Axes:
    """Rows of a comparison over two objectives; those on its front are filled, and joined where it spans these two alone."""
    points = [(i, a, b) for i, row in enumerate(comparison.rows) if row.fits
              for a, b in [(row.objective(x), row.objective(y))] if a is not None and b is not None]
    every = np.array([(a, b) for _, a, b in points], np.float64).reshape(-1, 2)
    front = np.array(sorted((a, b) for i, a, b in points if i in comparison.pareto), np.float64).reshape(-1, 2)
    ax.scatter(every[:, 0], every[:, 1], s=18, facecolors="none", edgecolors=GREY, linewidths=0.8, label="configurations")
    ax.plot(front[:, 0], front[:, 1], "o-" if {x, y} == set(comparison.objectives) else "o", color=BLUE, markersize=5, linewidth=1,
            label=f"on the front of {', '.join(OBJECTIVES[name] for name in comparison.objectives)}")
    ax.set(xscale="log", yscale="log", xlabel=OBJECTIVES[x], ylabel=OBJECTIVES[y])
    ax.legend(fontsize="small", frameon=False)
    return ax
