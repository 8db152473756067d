"""A finished study on the screen and as JSON: its size, and its front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurosim.explore.study.figures import PRICE_FIGURES, RUN_FIGURES, UNITS
from neurosim.units import show

if TYPE_CHECKING:
    from rich.table import Table

    from neurosim.explore.study import Done, Study

SHOWN = 20
_SYMBOLS = {"energy": "J", "time": "s"}


def study_document(study: Study, done: Done) -> dict[str, Any]:
    """The ``sweep --json`` document."""
    front = front_rows(done)
    return {"schema": "neurosim.study/1", "study": study.name, "folder": str(done.folder), "n_rows": done.rows, "n_runs": done.runs,
            "simulated": done.simulated, "priced": done.priced, "objectives": list(study.objectives), "front": front}


def front_rows(done: Done) -> list[dict[str, Any]]:
    """Rows on the front, in the order of the table."""
    from neurosim.explore.study import Store

    return [row for row in Store(done.folder).table() if row["on_front"]]


def study_table(study: Study, done: Done) -> Table:
    """Axes, objectives and constraints of the rows on the front."""
    from rich.table import Table

    front = front_rows(done)
    named = {**RUN_FIGURES, **PRICE_FIGURES}
    figures = list(dict.fromkeys([*study.objectives, *study.constraints]))
    table = Table(title=f"{study.name}: front of {', '.join(named[name] for name in study.objectives)}")
    for name in (*study.axes, *figures):
        table.add_column(name, justify="left" if name in study.axes else "right", overflow="fold")
    for row in sorted(front, key=lambda row: row[study.objectives[0]] or 0.0)[:SHOWN]:
        table.add_row(*(str(row[name]) for name in study.axes), *(_figure(name, row) for name in figures))
    more = f", {len(front) - SHOWN:,} more in the table" if len(front) > SHOWN else ""
    table.caption = f"{len(front):,} of {done.rows:,} rows{more}" + (
        "; >= where the chip leaves something unpriced" if any(row.get("complete") is False for row in front) else "")
    return table


def _figure(name: str, row: dict[str, Any]) -> str:
    value = row[name]
    if value is None:
        return "-"
    if name in UNITS:
        return f"{'>= ' if row.get('complete') is False else ''}{show(value, _SYMBOLS[UNITS[name]])}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
