"""Plots of measured policies: score against operations, and which share of a saving comes from where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim.view.plots import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREEN = "#009E73"


def score_curve(
    ax: Axes,
    reductions: Sequence[float],
    scores: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    labels: Sequence[str],
    *,
    floor: float,
    knee: float | None = None,
) -> Axes:
    """Score against how many times fewer MACs than dense.

    Parameters
    ----------
    reductions : sequence of float
        Dense MACs / effective MACs, per point.
    scores, low, high : sequence of float
        (R - R_random) / (R_dense - R_random) and its 95 % interval; an end that is not finite is not drawn.
    labels : sequence of str
        Written beside the points.
    floor : float
        Least score at which a reduction counts.
    knee : float, optional
        Reduction to be marked.
    """
    x, y = np.array(reductions, float), np.array(scores, float)
    ends = np.array([low, high], float)
    spread = np.where(np.isfinite(ends), np.abs(ends - y), 0.0)
    ax.set_xscale("log")
    ax.errorbar(x, y, yerr=spread, fmt="o-", color=BLUE, capsize=3, label="score and 95 % interval")
    for at, value, label in zip(x, y, labels):
        ax.annotate(label, (at, value), textcoords="offset points", xytext=(5, 6), fontsize="small")
    ax.axhline(1.0, color=GREY, linestyle="--", linewidth=1, label="dense policy")
    ax.axhline(0.0, color=GREY, linestyle=":", linewidth=1, label="random policy")
    ax.axhline(floor, color=ORANGE, linewidth=1, label=f"floor {floor:g}")
    if knee is not None:
        ax.axvline(knee, color=ORANGE, linestyle="--", linewidth=1, label=f"knee: {_times(knee)}")
    _plain_ticks(ax)
    ax.set_xlabel("dense MACs / effective MACs")
    ax.set_ylabel("score")
    ax.legend(loc="lower left", fontsize="small", frameon=False)
    return ax


def _times(value: float) -> str:
    return f"{value:,.0f}x" if value >= 99.5 else f"{value:.3g}x"


def _plain_ticks(ax: Axes) -> None:
    """Whole numbers on a logarithmic axis, few enough to be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_xlim()
    steps = (1.0, 2.0, 5.0) if high / low > 4 else tuple(np.arange(1, 10, 0.5 if high / low < 2 else 1))
    ax.xaxis.set_major_locator(LogLocator(10, subs=steps))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.3g}x"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def share_bars(ax: Axes, names: Sequence[str], pruning: Sequence[float], activation: Sequence[float], delta: Sequence[float]) -> Axes:
    """How many times fewer MACs than dense, per task, as a product of three shares (lengths add up on a logarithmic axis).

    Parameters
    ----------
    names : sequence of str
    pruning, activation, delta : sequence of float
        Factors whose product is dense / effective; one below 1 (a loss) is drawn leftwards.
    """
    position = np.arange(len(names))[::-1]
    left = np.zeros(len(names))
    for label, factors, color in (("pruning", pruning, ORANGE), ("activation sparsity", activation, GREEN), ("delta", delta, BLUE)):
        length = np.log10(np.array(factors, float))
        ax.barh(position, length, left=left, color=color, label=label, height=0.6)
        left = left + length
    for y, end in zip(position, left):
        ax.annotate(_times(10**end), (end, y), textcoords="offset points", xytext=(4, -4), fontsize="small")
    ax.set_yticks(position, names)
    ax.set_xlim(right=max(left.max() * 1.12, 0.5))
    decades = [d * 10**k for k in range(int(max(left.max(), 0)) + 2) for d in (1, 2, 5)]
    ax.set_xticks(
        [np.log10(d) for d in decades if np.log10(d) <= ax.get_xlim()[1]], [f"{d}x" for d in decades if np.log10(d) <= ax.get_xlim()[1]]
    )
    ax.set_xlabel("dense MACs / effective MACs")
    ax.legend(loc="lower right", fontsize="small", frameon=False)
    return ax
