"""Tables of comparisons (rich): few rows are shown whole, of thousands the front."""

from __future__ import annotations

from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from neurosim.explore.compare import OBJECTIVES, Comparison, Row
from neurosim.explore.ranking import flips
from neurosim.units import show
from neurosim.view.tables import at_least, energy_range, table

MOST_ROWS = 25
"""Rows up to which a comparison is shown whole; of a longer one this many of its front."""

MOST_REASONS = 8


def compare_table(comparison: Comparison) -> RenderableType:
    """One row per configuration; the front is starred; reasons why rows do not fit stand below."""
    spans = ", ".join(OBJECTIVES[name] for name in comparison.objectives)
    rows = table(f"means per timestep (* on the front of {spans} among rows of equal coverage)", "", "chip", "settings", "cores", "energy",
                 "of it static", "range of the figures", "time")
    shown, lines = _shown(comparison)
    on_front, varied = set(comparison.pareto), _varied(comparison)
    for i in shown:
        _add(rows, comparison.rows[i], i in on_front, varied)
    lines += [f"the same in every row: {key}={value}" for key, value in comparison.rows[0].settings.items() if key not in varied]
    chips = [row.chip for row in comparison.rows]
    cheapest = [f"the two cheapest chips: {f.ranking.text}" for f in flips(comparison.rows) if chips[f.rows[0]] != chips[f.rows[1]]]
    lines += _reasons(comparison) + cheapest + list(comparison.notes)
    return Group(rows, *(Text(f"  {line}", style="dim") for line in lines))


def _shown(comparison: Comparison) -> tuple[list[int], list[str]]:
    """Rows to show, and what is left out."""
    n = len(comparison.rows)
    if n <= MOST_ROWS:
        return list(range(n)), []
    first = comparison.objectives[0]
    value = [row.objective(first) for row in comparison.rows]
    same: dict[tuple[object, ...], list[int]] = {}
    for i in sorted(comparison.pareto, key=lambda i: (value[i] is None, value[i] or 0.0)):
        row = comparison.rows[i]
        same.setdefault((row.chip, *(row.objective(name) for name in comparison.objectives)), []).append(i)
    front = [rows[0] for rows in same.values()]
    fit = sum(row.fits for row in comparison.rows)
    left_out = f"; {len(front) - MOST_ROWS:,} more" if len(front) > MOST_ROWS else ""
    equal = f" ({len(front):,} that differ in what the front spans)" if len(front) < len(comparison.pareto) else ""
    return front[:MOST_ROWS], [f"{n:,} configurations, {fit:,} fit, {len(comparison.pareto):,} on the front{equal}, "
                               f"shown by {OBJECTIVES[first]}{left_out}; --json lists all"]


def _varied(comparison: Comparison) -> set[str]:
    """Settings that are not the same in every row."""
    first = comparison.rows[0].settings if comparison.rows else {}
    return {key for row in comparison.rows for key, value in row.settings.items() if first.get(key) != value or key not in first}


def _add(rows: Table, row: Row, on_front: bool, varied: set[str]) -> None:
    settings, r = ", ".join(f"{k}={v}" for k, v in row.settings.items() if k in varied) or "-", row.report
    if r is None:
        rows.add_row("", row.chip, settings, "does not fit", "-", "-", "-", "-")
        return
    e = r.energy
    time = "not priced" if r.latency is None else at_least(r.latency.complete) + show(row.latency_s, "s")
    rows.add_row("*" if on_front else "", row.chip, settings, f"{r.cores_used:,}", at_least(e.complete) + show(row.energy_j, "J"),
                 f"{e.static_j / e.total_j:.0%}" if e.total_j and "static" in e.parts else "-", energy_range(r), time)


def _reasons(comparison: Comparison) -> list[str]:
    """Why rows do not fit, the most frequent first."""
    found: Counter[str] = Counter()
    for row in comparison.rows:
        if row.report is None:
            why = [line.strip() for line in (row.why_not or "").splitlines()]
            found[f"{row.chip} does not fit: {'; '.join(why[1:] or why)}"] += 1
    lines = [text + (f" ({n:,} rows)" if n > 1 else "") for text, n in found.most_common(MOST_REASONS)]
    return lines + ([f"{len(found) - MOST_REASONS:,} more reasons: --json lists them"] if len(found) > MOST_REASONS else [])
