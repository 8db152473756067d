"""Sections `memory`, `provenance` and `limits`: how full cores are, where constants come from, what no price holds."""

from __future__ import annotations

from neurosim import counters
from neurosim.program import Program, Use
from neurosim.report import NOT_MODELLED, Report
from neurosim.trace import Trace
from neurosim.units import show
from neurosim.version import __version__
from neurosim.view.chip_library import COLUMNS, NOT_PUBLISHED, parameters
from neurosim.view.page.blocks import Block, Cell, Facts, Lines, Section, Table, words

MOST_CORES = 1000
"""Cores listed, the fullest."""


def memory(program: Program) -> Section:
    """Used and limit per core and resource."""
    uses = program.utilization()
    if not uses:
        return Section("memory", "Memory", [Lines((f"{program.chip.name} is one machine: no core has limits to keep.",))])
    resources = list(dict.fromkeys(use.resource for use in uses))
    cores: dict[int, dict[str, Use]] = {}
    for use in uses:
        cores.setdefault(use.core, {})[use.resource] = use
    fullest = max((use for use in uses if use.used is not None and use.limit), key=_fill, default=None)
    said = ["No limit of a core is published, so nothing was checked."] if fullest is None else [
        f"Fullest: {fullest.resource.replace('_', ' ')} of core {fullest.core} ({', '.join(fullest.layers)}), {_fill(fullest):.0%} of "
        f"{_amount(fullest.limit, fullest.resource)}."]
    unknown = [r.replace("_", " ") for r in resources if all(use.limit is None for use in uses if use.resource == r)]
    headers = [f"{name} (limit unknown)" if name in unknown else name for name in (r.replace("_", " ") for r in resources)]
    if unknown and fullest is not None:
        said.append(f"Limits not published, so not checked: {', '.join(unknown)}.")
    chosen = sorted(cores, key=lambda core: -max(map(_fill, cores[core].values())))[:MOST_CORES]
    if len(chosen) < len(cores):
        said.append(f"The {len(chosen):,} fullest of {len(cores):,} cores are listed.")
    rows = [(Cell(f"core {core}", core), words(", ".join(next(iter(cores[core].values())).layers)),
             *(_use(cores[core].get(r)) for r in resources)) for core in sorted(chosen)]
    blocks: list[Block] = [Lines((" ".join(said),)), Table("Used and limit per core", ("core", "layers", *headers), tuple(rows))]
    return Section("memory", "Memory", blocks)


def _fill(use: Use) -> float:
    return 0.0 if use.used is None or not use.limit else use.used / use.limit


def _amount(value: int | None, resource: str) -> str:
    """Memory in bytes or KiB, everything else as a number."""
    if value is None:
        return NOT_PUBLISHED
    if not resource.endswith("memory"):
        return f"{value:,}"
    return f"{value / 8192:,.4g} KiB" if value >= 8192 else f"{value / 8:,.4g} B"


def _use(use: Use | None) -> Cell:
    if use is None:
        return words("")
    if use.used is None:
        return words("word width not published")
    if use.limit is None:
        return Cell(_amount(use.used, use.resource), use.used)
    return Cell(f"{_amount(use.used, use.resource)} of {_amount(use.limit, use.resource)}", _fill(use), _fill(use))


def provenance(program: Program) -> Section:
    """Every constant of the chip file with value, range, grade and source."""
    rows = parameters(program.chip)
    unknown = sum(row[1].startswith(NOT_PUBLISHED) for row in rows)
    said = (f"{len(rows)} constants, {unknown} of them not published (null in the chip file; never counted as zero). Grades: measured, "
            "fitted, simulated, derived, vendor_claim, assumed.")
    table = Table(f"Constants of {program.chip.name}", COLUMNS, tuple(tuple(words(text) for text in row) for row in rows))
    return Section("provenance", "Sources of constants", [Lines((said,)), table])


def limits(trace: Trace, program: Program, report: Report) -> Section:
    """What is not modelled, notes, versions."""
    network, thresholds = trace.network, sorted(set(trace.network.thresholds.values()))
    span = "none" if not thresholds else " to ".join(f"{t:g}" for t in dict.fromkeys((thresholds[0], thresholds[-1])))
    facts = [("neurosim", __version__), ("counters", f"version {counters.VERSION}"), ("chip", program.chip.name),
             ("settings", ", ".join(f"{k}={v}" for k, v in program.chip.settings.items()) or "none"),
             ("network", f"{network.name}, sha256 {network.sha256}"),
             ("timesteps", f"{trace.n_timesteps:,}, priced {report.n_timesteps:,}"), ("numerics", trace.numerics),
             ("schedule", trace.schedule), ("delta rule", trace.rule), ("thresholds", span)]
    if report.period is not None:
        facts.append(("control period", f"{show(report.period.period_s, 's')}: {report.deadline()}"))
    said = f"Simulated model of {report.chip}, not silicon. Not modelled on any chip: {'; '.join(NOT_MODELLED)}."
    notes = tuple(note for note in report.notes if NOT_MODELLED[0] not in note)  # that one is said already
    blocks: list[Block] = [Lines((said,)), Lines(notes, listed=True), Facts(tuple(facts))]
    return Section("limits", "What is not modelled", blocks)
