"""Ranking: whether the cheaper of two chips stays the cheaper one inside the ranges of their constants.

Both energies are worst-case intervals, low(all figures at their low end) .. high(all at their high
end). Reports of different coverage are never ranked against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from neurosim.report import Report
from neurosim.units import show


@dataclass(frozen=True)
class Ranking:
    """Which of two prices is lower, whatever the constants are inside their ranges.

    Parameters
    ----------
    verdict : str
        ``first``, ``second`` (cheaper in every case), ``flips`` (their ranges overlap), ``equal``,
        or ``not ranked`` (different coverage, or different runs).
    text : str
        The same in words, with the energies.
    """

    verdict: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"verdict": self.verdict, "text": self.text}


def ranking(a: Report, b: Report, names: tuple[str, str] | None = None) -> Ranking:
    """Compare the energies per timestep of two reports as worst-case intervals.

    ``first`` means high(a) < low(b): no choice of constants inside the published ranges makes b
    cheaper. That both chips have a constant in common is not assumed. A figure without a
    published range counts as exact, and the text says which.

    Parameters
    ----------
    a, b : Report
    names : (str, str) or None
        How to call them; by default the names of the chips.
    """
    first, second = names or (a.chip, b.chip)
    if (a.network_name, a.n_timesteps) != (b.network_name, b.n_timesteps):
        return Ranking("not ranked", f"not ranked: different runs ({a.network_name}, {a.n_timesteps:,} timesteps; "
                                     f"{b.network_name}, {b.n_timesteps:,} timesteps)")
    if set(a.coverage) != set(b.coverage):
        only = [f"{name} leaves out {', '.join(c for c in one.coverage if c not in other.coverage)}"
                for name, one, other in ((first, a, b), (second, b, a)) if set(one.coverage) - set(other.coverage)]
        return Ranking("not ranked", f"not ranked: different coverage; only {'; only '.join(only)}")
    (low_a, high_a), (low_b, high_b) = ((r.energy.low_j / r.n_timesteps, r.energy.high_j / r.n_timesteps) for r in (a, b))
    ranges = f"{first} {_interval(low_a, high_a)}, {second} {_interval(low_b, high_b)}"
    if high_a < low_b or high_b < low_a:
        verdict, what = ("first", f"{first} cheaper in every case") if high_a < low_b else ("second", f"{second} cheaper in every case")
    elif low_a == high_a == low_b == high_b:
        verdict, what = "equal", "equal"
    else:
        verdict, what = "flips", f"flips inside the ranges: either of {first} and {second} can be cheaper"
    exact = [f"{name}: {', '.join(r.energy.no_range)}" for name, r in ((first, a), (second, b)) if r.energy.no_range]
    left_out = [c.removeprefix("energy:") for c in a.coverage if c.startswith("energy:")]
    caveats = [f"of what both price; both leave out {', '.join(left_out)}"] if left_out else []
    if "static" in a.energy.parts and len(left_out) < len(a.coverage):
        caveats.append("static energy over times that are lower bounds")
    caveats += [f"taken as exact, no range published: {'; '.join(exact)}"] if exact else []
    return Ranking(verdict, f"{what} ({ranges}{''.join(f'; {c}' for c in caveats)})")


def _interval(low: float, high: float) -> str:
    return show(low, "J") if low == high else f"{show(low, 'J')} .. {show(high, 'J')}"


class Priced(Protocol):
    """A row of a comparison: its chip, settings and report (None where it does not fit)."""

    @property
    def chip(self) -> str:
        """Name of the chip."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the row."""

    @property
    def report(self) -> Report | None:
        """Its price."""


@dataclass(frozen=True)
class Flip:
    """The two cheapest rows of a coverage group (cheapest first), and whether they change places inside the ranges."""

    coverage: tuple[str, ...]
    rows: tuple[int, int]
    ranking: Ranking

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"coverage": list(self.coverage), "rows": list(self.rows), **self.ranking.to_json()}


def flips(rows: Iterable[Priced]) -> tuple[Flip, ...]:
    """For each coverage group the two cheapest chips, each at its cheapest row (of one chip its two cheapest rows), by `ranking`.

    Parameters
    ----------
    rows : iterable of rows
        As of `neurosim.explore.compare`.
    """
    rows = list(rows)
    groups: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    for i, row in enumerate(rows):
        if row.report is not None:
            groups.setdefault(row.report.coverage, []).append((row.report.energy.per_timestep_j, i))
    found = []
    for coverage, members in groups.items():
        if len(members) > 1:
            best: dict[str, tuple[float, int]] = {}
            for energy_j, index in sorted(members):
                best.setdefault(rows[index].chip, (energy_j, index))
            i, j = (index for _, index in (list(best.values()) if len(best) > 1 else sorted(members))[:2])
            found.append(Flip(coverage, (i, j), ranking(_report(rows, i), _report(rows, j), (_name(rows, i), _name(rows, j)))))
    return tuple(found)


def _report(rows: Sequence[Priced], i: int) -> Report:
    report = rows[i].report
    assert report is not None  # only rows with a report are grouped
    return report


def _name(rows: Sequence[Priced], i: int) -> str:
    settings = ", ".join(f"{k}={v}" for k, v in rows[i].settings.items())
    return f"row {i} ({rows[i].chip}{', ' if settings else ''}{settings})"
