"""Tables of comparisons (rich): few rows are shown whole, of thousands the front."""

from __future__ import annotations

import re
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
    varied = _varied(comparison)
    extra = [name for name in comparison.objectives if name not in ("energy_j", "latency_s", "cores_used")]
    title = f"means per timestep (* on the front of {spans} among rows of equal coverage)"
    rows = table(title, "#", "chip", *_headers(varied), "cores", "energy", "of it static", "range", "time", *extra)
    shown, lines = _shown(comparison)
    on_front = _starred(comparison)
    for i in shown:
        _add(rows, i, comparison.rows[i], i in on_front, varied, extra)
    for column in rows.columns:  # no figure is cut: a narrower screen wraps lines
        column.min_width = max(len(str(cell)) for cell in (column.header, *column.cells))
    lines += [f"the same in every row: {key}={value}" for key, value in comparison.rows[0].settings.items() if key not in varied]
    chips = [row.chip for row in comparison.rows]
    cheapest = [f"the two cheapest chips of equal coverage: {f.ranking.text}" for f in flips(comparison.rows)
                if chips[f.rows[0]] != chips[f.rows[1]]]
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


def _varied(comparison: Comparison) -> list[str]:
    """Settings that are not the same in every row, in the order in which they were given."""
    keys = dict.fromkeys(key for row in comparison.rows for key in row.settings)
    return [key for key in keys if len({str(row.settings.get(key)) for row in comparison.rows}) > 1]


def _headers(paths: list[str]) -> list[str]:
    """Last parts of the paths, or whole paths where these would be the same."""
    last = [path.rpartition(".")[2] for path in paths]
    return [path if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]


def _starred(comparison: Comparison) -> set[int]:
    """Rows of the front that have others of equal coverage to be better than."""
    size = Counter(row.report.coverage for row in comparison.rows if row.report is not None)
    return {i for i in comparison.pareto if (r := comparison.rows[i].report) is not None and size[r.coverage] > 1}


def _add(rows: Table, i: int, row: Row, on_front: bool, varied: list[str], extra: list[str]) -> None:
    settings, r = [str(row.settings.get(key, "-")) for key in varied], row.report
    if r is None:
        rows.add_row(f"  {i}", row.chip, *settings, "does not fit", *["-"] * (4 + len(extra)))
        return
    e = r.energy
    time = "not priced" if r.latency is None else at_least(r.latency.complete) + show(row.latency_s, "s")
    energy = at_least(e.complete) + show(row.energy_j, "J") if e.parts else "not priced"
    name = row.chip + (" (hypothetical)" if r.hypothetical else "")
    rows.add_row(f"{'*' if on_front else ' '} {i}", name, *settings, f"{r.cores_used:,}", energy,
                 f"{e.static_j / e.total_j:.0%}" if e.total_j and "static" in e.parts else "-", energy_range(r), time,
                 *(_shown_objective(name, row.objective(name)) for name in extra))


_UNITS = {"answer_s": "s", "period_energy_j": "J", "area_m2": "m2"}


def _shown_objective(name: str, value: float | None) -> str:
    if value is None:
        return "not known"
    if name == "missed_share":
        return f"{value:.1%}"
    if name == "energy_delay_js":
        return f"{value:.3g} J s"
    return show(value, _UNITS[name]) if name in _UNITS else f"{value:,}"


def _reasons(comparison: Comparison) -> list[str]:
    """Why rows do not fit, reasons that differ in their numbers only as one, the most frequent first."""
    found: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.report is None:
            why = [line.strip() for line in (row.why_not or "").splitlines()]
            text = f"{row.chip} does not fit: {'; '.join(why[1:] or why)}"
            found.setdefault(re.sub(r"[0-9][0-9,.]*", "#", text), []).append(text)
    ranked = sorted(found.values(), key=len, reverse=True)
    lines = [texts[0] + (f" ({len(texts):,} rows; figures of the first)" if len(texts) > 1 else "") for texts in ranked[:MOST_REASONS]]
    return lines + ([f"{len(ranked) - MOST_REASONS:,} more reasons: --json lists them"] if len(ranked) > MOST_REASONS else [])
