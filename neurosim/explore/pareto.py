"""Pareto front: rows that no other row beats in everything that is compared."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other point dominates; less is better on every axis.

    A point dominates another when it is nowhere worse and somewhere better; equal points keep
    each other company. Points with NaN are left out.
    """
    values = np.array(points, float).reshape(len(points), -1)
    usable = ~np.isnan(values).any(1)
    found = []
    for i in np.flatnonzero(usable):
        others = values[usable]
        dominated = ((others <= values[i]).all(1) & (others < values[i]).any(1)).any()
        if not dominated:
            found.append(int(i))
    return found


def grouped_front(points: Sequence[Sequence[float | None]], groups: Sequence[Hashable]) -> list[int]:
    """Front within each group; an axis that is None for a row takes no part in its group.

    Parameters
    ----------
    points : one sequence per row
    groups : one label per row; rows of label None are left out
    """
    found: list[int] = []
    for label in dict.fromkeys(g for g in groups if g is not None):
        rows = [i for i, g in enumerate(groups) if g == label]
        axes = [k for k in range(len(points[rows[0]])) if all(points[i][k] is not None for i in rows)]
        found += [rows[i] for i in front([[points[r][k] or 0.0 for k in axes] for r in rows])]
    return sorted(found)
