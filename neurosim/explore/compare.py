"""Compare: one recorded run, priced on many chips. Nothing is simulated again, but for a change of arithmetic.

Rows are ranked only against rows of equal coverage (the same actions priced): a front is formed
within each coverage group over energy per timestep, latency per timestep and cores, or other
objectives. Many mappings that can be counted in boxes are priced together from one pass over the
events (`neurosim.pricing.family`); the others one by one. The figures are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neurosim.chip import Chip
from neurosim.errors import MappingError, PricingError
from neurosim.explore.pareto import grouped_front
from neurosim.mapping import Cuts, Placement, compile, read_placement
from neurosim.pricing import price, price_family
from neurosim.pricing.family import why_not
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace
from neurosim.units import show

SCHEMA = "neurosim.compare/1"

FAMILY = 8
"""From so many mappings on, tables of the run's activity are worth their making."""

OBJECTIVES: dict[str, str] = {
    "energy_j": "energy per timestep", "latency_s": "time of a timestep", "answer_s": "time to an answer", "cores_used": "cores",
    "hops": "links crossed", "period_energy_j": "energy of a control period", "missed_share": "missed deadlines",
    "energy_delay_js": "energy x time of a timestep", "area_m2": "silicon area"}
"""What a front may span; less is better in each."""

Candidate = str | Chip | tuple[Mapping[str, Any], Chip]


@dataclass(frozen=True)
class Row:
    """One configuration: its settings, and its report or why it does not fit.

    `fidelity` is set where the network ran again with other arithmetic: its outputs against those of the first run.
    """

    chip: str
    settings: Mapping[str, Any]
    report: Report | None
    why_not: str | None
    fidelity: Mapping[str, float] | None = None

    @property
    def fits(self) -> bool:
        """Whether the network fits."""
        return self.report is not None

    @property
    def energy_j(self) -> float | None:
        """Mean energy per timestep."""
        return None if self.report is None else self.report.energy.per_timestep_j

    def objective(self, name: str) -> float | None:
        """Value of one of `OBJECTIVES`, or None where it is not known."""
        r = self.report
        if r is None or name in ("energy_j", "latency_s"):
            return getattr(self, name) if r is not None else None
        if name == "energy_delay_js":
            return None if self.energy_j is None or self.latency_s is None else self.energy_j * self.latency_s
        if name == "answer_s":
            return None if r.latency is None else r.latency.answer_s["mean"]
        if name == "period_energy_j":
            return None if r.period is None else r.period.total_j
        if name == "missed_share":
            return None if r.period is None else r.period.missed_share
        if name == "area_m2":
            return None if r.area is None else r.area.area_m2
        return r.cores_used if name == "cores_used" else self.hops

    @property
    def hops(self) -> int | None:
        """Links crossed by all messages; None on machines without a mapping."""
        counts = None if self.report is None else self.report.mapping_counts
        return sum(counts.get(k, 0) for k in ("hops_x", "hops_y", "hops_chip")) if counts else None

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
            "hops": self.hops,
            "energy_low_j": r.energy.low_j / r.n_timesteps, "energy_high_j": r.energy.high_j / r.n_timesteps,
            "latency_p99_s": t and t.timestep_s["p99"], "latency_max_s": t and t.timestep_s["max"], "area_m2": self.objective("area_m2"),
            "answer_s": t and t.answer_s["mean"], "throughput_hz": t and t.throughput_hz, "critical": t and t.critical,
            "mapping_counts": {k: n for k, n in counts.items() if k != "busiest_link_events"},
            "not_priced": list(r.energy.not_priced), "coverage": list(r.coverage),
            "period_s": r.period and r.period.period_s, "period_energy_j": self.objective("period_energy_j"),
            "missed_share": self.objective("missed_share"), "fidelity": self.fidelity,
            "hypothetical": r.hypothetical, "notes": list(r.notes)}


@dataclass(frozen=True)
class Comparison:
    """Rows in the order given, the front (row indices), and what must be said about it."""

    rows: tuple[Row, ...]
    pareto: tuple[int, ...]
    notes: tuple[str, ...]
    objectives: tuple[str, ...] = ("energy_j", "latency_s", "cores_used")

    @property
    def fits(self) -> bool:
        """Whether any row fits."""
        return any(row.fits for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The ``compare --json`` document."""
        return {"schema": SCHEMA, "rows": [row.to_json() for row in self.rows], "pareto": list(self.pareto),
                "objectives": list(self.objectives),
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
        front = ", ".join(OBJECTIVES[name] for name in self.objectives)
        return "\n".join([*lines, f"* on the front of {front}", *(f"note: {n}" for n in self.notes)])


def compare(trace: Trace, chips: Iterable[Candidate], *, hypothetical: bool = False, placement: Placement | Path = "row_major",
            balance: bool = False, period_s: float | None = None, objectives: Sequence[str] = ("energy_j", "latency_s", "cores_used"),
            simulate_again: Callable[[Chip], Trace] | None = None) -> Comparison:
    """Price a run on many chips.

    Parameters
    ----------
    trace : Trace
    chips : iterable of str, Chip or (settings, Chip)
        As `neurosim.explore.sweep` returns them.
    hypothetical : bool
        Accept graded events on chips described for spikes only.
    placement, balance
        As in `neurosim.mapping.compile`; the profile is the run itself.
    period_s : float or None
        Control period, passed to `price`.
    objectives : sequence of str
        Names in `OBJECTIVES` that the front spans.
    simulate_again : function of a Chip, or None
        Runs the network with the arithmetic of a chip. Needed where settings change ``arithmetic.weight_bits``;
        called once for each value of it.

    Raises
    ------
    ChipError
        When a chip cannot be read.
    PricingError
        For an unknown objective, a trace without an event record where an event chip is asked
        for, and a change of arithmetic without `simulate_again`.
    """
    unknown = [name for name in objectives if name not in OBJECTIVES]
    if unknown or not objectives:
        raise PricingError(f"objective {', '.join(map(repr, unknown)) or 'none'}: choose from {', '.join(OBJECTIVES)}")
    chips = [chips] if isinstance(chips, str | Chip) else chips
    candidates = [(dict(c[0]), c[1]) if isinstance(c, tuple) else ({}, Chip.load(c) if isinstance(c, str) else c) for c in chips]
    candidates = [(settings or dict(chip.settings), chip) for settings, chip in candidates]
    layout = placement if isinstance(placement, Mapping) else read_placement(placement)
    runs, notes = _runs(trace, candidates, simulate_again)
    notes += dict.fromkeys(note for _, chip in candidates for note in chip.notes if "rescaled with" in note)
    rows: list[Row | None] = [None] * len(candidates)
    for run in {id(r): r for r in runs}.values():
        mine = [i for i, r in enumerate(runs) if r is run]
        priced = _Pricing(run, hypothetical, layout, balance, period_s).rows([candidates[i] for i in mine])
        fidelity = None if run is trace else _fidelity(trace, run)
        for i, row in zip(mine, priced, strict=True):
            rows[i] = replace(row, fidelity=fidelity)
    return _ranked([row for row in rows if row is not None], tuple(objectives), notes)


def _runs(trace: Trace, candidates: list[tuple[dict[str, Any], Chip]], simulate_again: Callable[[Chip], Trace] | None
          ) -> tuple[list[Trace], list[str]]:
    """The run that each candidate is priced on: one more for every width of weights that is swept."""
    again: dict[int | None, Trace] = {}
    runs, notes = [], []
    for settings, chip in candidates:
        if not {"arithmetic.weight_bits", "arithmetic"} & {*settings, *chip.settings}:
            runs.append(trace)
            continue
        if simulate_again is None:
            raise PricingError("arithmetic.weight_bits changes what is computed, so the network must run again: "
                               "give the MODEL and --inputs instead of a trace")
        bits = chip.arithmetic.weight_bits
        if bits not in again:
            again[bits] = simulate_again(chip)
        runs.append(again[bits])
    if again:
        agree = {bits: _fidelity(trace, run) for bits, run in again.items()}
        notes.append("simulated again, so these rows differ in what was computed: " + "; ".join(
            f"weights of {bits} bit" + (f", same largest output as the first run in {f['argmax_agreement']:.1%}" if f else "")
            for bits, f in agree.items()))
    if any(key in settings for settings, _ in candidates for key in ("arithmetic.payload_bits", "arithmetic.accumulator_bits")):
        notes.append("payload_bits and accumulator_bits change memory and fit only: values are not rounded to them")
    return runs, notes


def _fidelity(first: Trace, again: Trace) -> dict[str, float] | None:
    """Outputs of a run with other arithmetic against those of the first one, before the decoder."""
    if first.outputs is None or again.outputs is None or first.outputs.shape != again.outputs.shape:
        return None
    a, b = (x.outputs.reshape(len(x.outputs), -1).astype(float) for x in (first, again) if x.outputs is not None)
    return {"max_abs_error": float(abs(a - b).max()), "mean_abs_error": float(abs(a - b).mean()),
            "argmax_agreement": float((a.argmax(1) == b.argmax(1)).mean())}


@dataclass(frozen=True)
class _Pricing:
    """How the rows of one run are priced."""

    trace: Trace
    hypothetical: bool
    placement: Placement
    balance: bool
    period_s: float | None

    def rows(self, candidates: list[tuple[dict[str, Any], Chip]]) -> list[Row]:
        """One row per candidate."""
        cuts = Cuts()
        programs: list[Program | str] = []
        many = sum(chip.kind == "event" for _, chip in candidates) >= FAMILY
        for _, chip in candidates:
            try:
                programs.append(self._compiled(chip, cuts, routed=not many))
            except MappingError as error:
                programs.append(str(error))
        family = self._family(programs) if many else {}
        found = []
        for i, ((settings, chip), program) in enumerate(zip(candidates, programs, strict=True)):
            if isinstance(program, str):
                found.append(Row(chip.name, settings, None, program))
                continue
            if i not in family and many and program.is_mapped:
                program = self._compiled(chip, cuts, routed=True)
            report = family[i] if i in family else price(self.trace, program, period_s=self.period_s)
            found.append(Row(chip.name, settings, report, None))
        return found

    def _compiled(self, chip: Chip, cuts: Cuts, routed: bool) -> Program:
        return compile(self.trace.network, chip, self.trace, self.placement, balance=self.balance,
                       hypothetical=self.hypothetical, cuts=cuts, routed=routed)

    def _family(self, programs: Sequence[Program | str]) -> dict[int, Report]:
        """Reports of the programs that can be counted in boxes, by their index."""
        can: dict[tuple[Any, ...], bool] = {}
        chosen = []
        for i, program in enumerate(programs):
            if isinstance(program, str) or not program.is_mapped:
                continue
            chip = program.chip
            key = id(program.slices), chip.noc and chip.noc.multicast, tuple(core.axon_source for core in chip.core)
            if key not in can:
                can[key] = why_not(self.trace.network, chip, program.slices) is None
            if can[key]:
                chosen.append(i)
        if len(chosen) < FAMILY:
            return {}
        reports = price_family(self.trace, [p for i in chosen if isinstance(p := programs[i], Program)], period_s=self.period_s)
        return dict(zip(chosen, reports, strict=True))


def _ranked(rows: list[Row], objectives: tuple[str, ...], notes: list[str]) -> Comparison:
    groups = [None if row.report is None else (row.report.coverage, row.report.n_timesteps) for row in rows]
    points = [[row.objective(name) for name in objectives] for row in rows]
    lengths = sorted({row.report.n_timesteps for row in rows if row.report is not None})
    if len(lengths) > 1:
        notes.append(f"rows are priced over {' and '.join(f'{n:,}' for n in lengths)} timesteps; only rows over equally many are ranked")
    coverages = [None if g is None else g[0] for g in groups]
    labels = list(dict.fromkeys(g for g in coverages if g is not None))
    if len(labels) > 1:
        notes.append(f"{len(labels)} coverage groups (different actions are not priced); rows are ranked only within their group")
        notes += [f"rows {_listed([i for i, g in enumerate(coverages) if g == label])}: not priced {', '.join(label) or 'nothing'}"
                  for label in labels]
    elif labels and labels[0]:
        notes.append(f"not priced in any row: {', '.join(labels[0])}; energies and times are lower bounds")
    if any(row.report is not None and row.report.hypothetical for row in rows):
        notes.append("hypothetical rows: graded events on chips that were described for spikes only")
    return Comparison(tuple(rows), tuple(grouped_front(points, groups)), tuple(notes), objectives)


def _listed(numbers: list[int]) -> str:
    """Numbers with runs put together: ``0-3, 7``."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
