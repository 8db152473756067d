"""Pages: one self-contained HTML file that shows where the energy and the time of a run go.

Each module makes the sections of one subject from a Trace, a Program and a Report; ``document`` puts
them into one file with ``page.html``, ``page.css`` and ``page.js``. Needs the extra ``report``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace

if TYPE_CHECKING:
    from neurosim.explore.sensitivity import Bar

__all__ = ["report_page", "study_page"]


def report_page(trace: Trace, program: Program, report: Report, *, bars: Sequence[Bar] = (),
                study_rows: Sequence[Mapping[str, Any]] | None = None) -> str:
    """The page of one priced run.

    Parameters
    ----------
    trace, program, report
        A run, where it was mapped, and its price (`neurosim.price`).
    bars : sequence of Bar
        Of `neurosim.explore.tornado`.
    study_rows : sequence of mapping, optional
        Configurations to show beside it, as in `study_page`.

    Returns
    -------
    str
        HTML, complete in itself.

    Raises
    ------
    LoadError
        When Bokeh or Jinja2 is not installed.
    PricingError
        When the report is of another run.
    """
    from neurosim.errors import PricingError
    from neurosim.view.page import activity, energy, facts, mesh, prices, study, summary
    from neurosim.view.page.document import document
    from neurosim.view.page.figures import require_packages

    require_packages()
    if report.network_name != trace.network.name or report.chip != program.chip.name or program.network_sha256 != trace.network.sha256:
        raise PricingError(f"the report is of {report.network_name!r} on {report.chip}, the run of {trace.network.name!r}, the program of "
                           f"{program.network_name!r} on {program.chip.name}: give what belongs together")
    sections = [summary.summary(trace, program, report), summary.why(report), mesh.mesh(trace, program, report), energy.energy(report),
                activity.activity(trace), activity.layers(trace, program, report), facts.memory(program),
                prices.prices(trace, program, report, bars), facts.provenance(program), facts.limits(trace, program, report)]
    if study_rows is not None:
        sections[8:8] = study.study(study_rows)
    hypothetical = " Hypothetical: the chip was described for spikes only." if report.hypothetical else ""
    return document(f"{trace.network.name} on {program.chip.name}", f"Simulated model of {program.chip.name}, not silicon.{hypothetical} "
                    f"{report.n_timesteps:,} timesteps priced.", sections)


def study_page(rows: Sequence[Mapping[str, Any]], title: str, objectives: Sequence[str] = (),
               facts: Mapping[str, str] | None = None) -> str:
    """The page of a study: many configurations, their front, and thresholds against score where the rows hold both.

    Parameters
    ----------
    rows : sequence of mapping
        One per configuration: setting columns, figures (``energy_j``, ``latency_s``, ``cores_used``, ``score``, ``effective_macs`` ...),
        ``on_front``, ``fits``, ``why_not``. Units are read from the ends of names (``_j``, ``_s``, ``_m2``).
    title : str
    objectives : sequence of str
        Columns that the front spans; the first two are the axes at first.
    facts : mapping, optional
        What must be known to read the rows, name -> text.

    Raises
    ------
    LoadError
        When Bokeh or Jinja2 is not installed.
    """
    from neurosim.view.page.blocks import Facts, Lines, Section
    from neurosim.view.page.document import document
    from neurosim.view.page.figures import require_packages
    from neurosim.view.page.study import study

    require_packages()
    about = Section("about", "About this study", [Facts(tuple((name, str(text)) for name, text in facts.items())) if facts
                                                  else Lines(("Nothing was said about this study.",))])
    return document(title, "Simulated models of chips, not silicon.", [*study(rows, objectives), about])
