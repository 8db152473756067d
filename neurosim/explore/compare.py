"""Compare: one recorded run, priced on many chips. Nothing is simulated again.

Rows are ranked only against rows of equal coverage (the same actions priced): a front is formed
within each coverage group over energy per timestep, latency per timestep and cores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neurosim.chip import Chip
from neurosim.errors import DoesNotFit
from neurosim.explore.pareto import grouped_front
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.report import Report
from neurosim.trace import Trace
from neurosim.units import show

SCHEMA = "neurosim.compare/1"

Candidate = str | Chip | tuple[Mapping[str, Any], Chip]


@dataclass(frozen=True)
class Row:
    """One configuration: its settings, and its report or why it does not fit."""

    chip: str
    settings: Mapping[str, Any]
    report: Report | None
    why_not: str | None

    @property
    def fits(self) -> bool:
        """Whether the network fits."""
        return self.report is not None

    @property
    def energy_j(self) -> float | None:
        """Mean energy per timestep."""
        return None if self.report is None else self.report.energy.per_timestep_j

    @property
    def latency_s(self) -> float | None:
        """Mean duration of a timestep."""
        if self.report is None or self.report.latency is None:
            return None
        return self.report.latency.timestep_s["mean"]

    def to_json(self) -> dict[str, Any]:
        """JSON data of one row."""
        row: dict[str, Any] = {"chip": self.chip, "set": dict(self.settings), "fits": self.fits, "why_not": self.why_not}
        r = self.report
        if r is None:
            return row | dict.fromkeys(("complete", "cores_used", "energy_j", "latency_s", "hops"))
        counts, t = r.mapping_counts, r.latency
        return row | {
            "complete": r.energy.complete and t is not None and t.complete, "cores_used": r.cores_used,
            "energy_j": self.energy_j, "latency_s": self.latency_s,
            "hops": sum(counts.get(k, 0) for k in ("hops_x", "hops_y", "hops_chip")) if counts else None,
            "energy_low_j": r.energy.low_j / r.n_timesteps, "energy_high_j": r.energy.high_j / r.n_timesteps,
            "answer_s": t and t.answer_s["mean"], "throughput_hz": t and t.throughput_hz, "critical": t and t.critical,
            "mapping_counts": dict(counts), "not_priced": list(r.energy.not_priced), "coverage": list(r.coverage),
            "hypothetical": r.hypothetical, "notes": list(r.notes)}


@dataclass(frozen=True)
class Comparison:
    """Rows in the order given, the front (row indices), and what must be said about it."""

    rows: tuple[Row, ...]
    pareto: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether any row fits."""
        return any(row.fits for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The ``compare --json`` document."""
        return {"schema": SCHEMA, "rows": [row.to_json() for row in self.rows], "pareto": list(self.pareto),
                "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [f"{'':1} {'chip':<22} {'settings':<34} {'cores':>6} {'energy/timestep':>16} {'latency/timestep':>17}"]
        for i, row in enumerate(self.rows):
            settings = ", ".join(f"{k}={v}" for k, v in row.settings.items())
            if row.report is None:
                why = "; ".join(line.strip() for line in (row.why_not or "").splitlines()[1:])
                lines.append(f"  {row.chip:<22} {settings:<34} does not fit: {why}")
                continue
            energy = ("" if row.report.energy.complete else ">= ") + show(row.energy_j, "J")
            t = row.report.latency
            latency = "not priced" if t is None else ("" if t.complete else ">= ") + show(row.latency_s, "s")
            lines.append(f"{'*' if i in self.pareto else ' '} {row.chip:<22} {settings:<34} {row.report.cores_used:>6,} "
                         f"{energy:>16} {latency:>17}{'  hypothetical' if row.report.hypothetical else ''}")
        return "\n".join([*lines, "* on the front of energy, latency and cores", *(f"note: {n}" for n in self.notes)])


def compare(trace: Trace, chips: Iterable[Candidate], *, hypothetical: bool = False, placement: str = "row_major",
            period_s: float | None = None) -> Comparison:
    """Price a run on many chips.

    Parameters
    ----------
    trace : Trace
    chips : iterable of str, Chip or (settings, Chip)
        As `neurosim.explore.sweep` returns them.
    hypothetical : bool
        Accept graded events on chips described for spikes only.
    placement : str
        ``row_major``, ``snake`` or ``greedy``.
    period_s : float or None
        Control period, passed to `price`.

    Raises
    ------
    ChipError
        When a chip cannot be read.
    PricingError
        When the trace holds no event record and an event chip is asked for.
    """
    partitions: dict[Any, Any] = {}
    rows = []
    chips = [chips] if isinstance(chips, str | Chip) else chips
    for candidate in chips:
        settings, chip = candidate if isinstance(candidate, tuple) else ({}, candidate)
        chip = Chip.load(chip) if isinstance(chip, str) else chip
        try:
            program = compile(trace.network, chip, trace, placement, hypothetical=hypothetical, partitions=partitions)
            rows.append(Row(chip.name, dict(settings or chip.settings), price(trace, program, period_s=period_s), None))
        except DoesNotFit as error:
            rows.append(Row(chip.name, dict(settings or chip.settings), None, str(error)))
    return _ranked(rows)


def _ranked(rows: list[Row]) -> Comparison:
    groups = [None if row.report is None else row.report.coverage for row in rows]
    points = [(row.energy_j, row.latency_s, None if row.report is None else row.report.cores_used) for row in rows]
    notes = []
    labels = list(dict.fromkeys(g for g in groups if g is not None))
    if len(labels) > 1:
        notes.append(f"{len(labels)} coverage groups (different actions are not priced); rows are ranked only within their group")
        notes += [f"rows {', '.join(str(i) for i, g in enumerate(groups) if g == label)}: "
                  f"not priced {', '.join(label) or 'nothing'}" for label in labels]
    elif labels and labels[0]:
        notes.append(f"not priced in any row: {', '.join(labels[0])}; energies and times are lower bounds")
    if any(row.report is not None and row.report.hypothetical for row in rows):
        notes.append("hypothetical rows: graded events on chips that were described for spikes only")
    return Comparison(tuple(rows), tuple(grouped_front(points, groups)), tuple(notes))
