"""Plots for papers and documents: functions that take a matplotlib Axes, draw, and return it.

Colours are from Okabe and Ito's palette (safe for the colour-blind).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


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
