"""Rows of the validation: a figure that others published, ours, and what their ratio says."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from neurosim.units import show

INDEPENDENCE = {
    "independent": "the target took no part in making our constants or rules",
    "same source": "our constants come from the paper, board or vendor of the target",
    "circular": "a constant of ours was derived from this very target",
    "arithmetic": "shapes or given figures, added up by the package",
}

BANDS = (("within 10 %", 1.1), ("within 25 %", 1.25), ("within a factor 2", 2.0))
OUTSIDE = "outside a factor 2"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Parameters
    ----------
    what : str
    unit : str
        ``J``, ``s``, ``W``, or what is counted (``cores``, ``MACs``, ``x``).
    target : float or None
        In SI units; None where nothing comparable is published.
    source : str
        Of the target.
    ours : float
    independence : str
        One of `INDEPENDENCE`.
    why : str
        What explains the ratio.
    assumes : str
        Activity that had to be assumed; empty where counts are given.
    detail : bool
        Part of another row (a layer of a sum): not counted again.
    model : bool
        The target is the result of another model, not a measurement.
    part : str
    """

    what: str
    unit: str
    target: float | None
    source: str
    ours: float
    independence: str
    why: str
    assumes: str = ""
    detail: bool = False
    model: bool = False
    part: str = ""

    def __post_init__(self) -> None:
        if self.independence not in INDEPENDENCE:
            raise ValueError(f"{self.what}: independence {self.independence!r} is not one of {', '.join(INDEPENDENCE)}")

    @property
    def ratio(self) -> float | None:
        """Ours over the target."""
        return None if self.target is None else self.ours / self.target

    @property
    def verdict(self) -> str:
        """Band and reason in one sentence."""
        return f"{band(self.ratio)}: {self.why}"

    def to_json(self) -> dict[str, Any]:
        """JSON data of the row."""
        return asdict(self) | {"ratio": self.ratio, "band": band(self.ratio), "verdict": self.verdict}


def band(ratio: float | None) -> str:
    """How far a ratio is from 1, in either direction: within 25 % is a ratio of 0.8 to 1.25."""
    if ratio is None:
        return "no target"
    if math.isclose(ratio, 1, rel_tol=1e-9):
        return "equal"
    factor = max(ratio, 1 / ratio) if ratio > 0 else float("inf")
    return next((name for name, limit in BANDS if factor <= limit), OUTSIDE)


def tally(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows lie in each band, each in the narrowest that holds it; equal ones are within 10 %."""
    counts = dict.fromkeys((*(name for name, _ in BANDS), OUTSIDE), 0)
    for row in rows:
        found = band(row.ratio)
        if found != "no target":
            counts["within 10 %" if found == "equal" else found] += 1
    return counts


def headline(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Bands of the independent rows only, apart by what they rest on; every row stands in one line."""
    lines: dict[str, list[Row]] = {"measured or deployed on silicon": [], "single layers of these": [], "one cost table against another": [],
                                   "activity assumed": []}
    for row in (r for r in rows if r.independence == "independent"):
        what = "activity assumed" if row.assumes else "single layers of these" if row.detail else "one cost table against another"
        lines[what if row.assumes or row.detail or row.model else "measured or deployed on silicon"].append(row)
    return {what: tally(some) for what, some in lines.items()}


def shown(value: float | None, unit: str) -> str:
    """A figure for tables; counts without their unit."""
    if value is None:
        return "-"
    if unit in ("J", "s", "W"):
        return show(value, unit)
    return f"{value:.3g}x" if unit == "x" else f"{value:,.0f}"
