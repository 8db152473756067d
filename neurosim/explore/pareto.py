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
    usable = np.flatnonzero(~np.isnan(values).any(1))
    if not values.shape[1]:
        return usable.tolist()
    different, of_point = np.unique(values[usable], axis=0, return_inverse=True)  # in order: whatever dominates a point comes before it
    kept = np.zeros((0, values.shape[1]))
    best = np.zeros(len(different), bool)
    for i, point in enumerate(different):
        if not (kept <= point).all(1).any():
            best[i] = True
            kept = np.vstack([kept, point])
    return usable[best[of_point.reshape(-1)]].tolist()


def grouped_front(points: Sequence[Sequence[float | None]], groups: Sequence[Hashable]) -> list[int]:
    """Front within each group; an axis that is None for a row takes no part in its group.

    Parameters
    ----------
    points : one sequence per row
    groups : one label per row; rows of label None are left out
    """
    of_label: dict[Hashable, list[int]] = {}
    for i, label in enumerate(groups):
        if label is not None:
            of_label.setdefault(label, []).append(i)
    found: list[int] = []
    for rows in of_label.values():
        axes = [k for k in range(len(points[rows[0]])) if all(points[i][k] is not None for i in rows)]
        found += [rows[i] for i in front([[points[r][k] or 0.0 for k in axes] for r in rows])]
    return sorted(found)
