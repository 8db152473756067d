"""`neurosim report`: one HTML file that shows where the energy and the time of a run go. `neurosim.cli` registers it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from neurosim.cli_options import Balance, ChipName, Hypothetical, PeriodOption, Placement, Setting
from neurosim.cli_support import is_trace, note, read_chip, read_quantity, require_writable
from neurosim.errors import LoadError
from neurosim.whole_file import whole_file

MOST_ROWS = 1_000
"""Rows of the front, and as many others, that the page of a study shows."""
SHOWN = ("effective_macs", "score", "score_low", "score_high", "max_abs_error", "argmax_agreement", "energy_j", "latency_s", "cores_used",
         "fits", "why_not", "on_front")
"""Figures that the page of a study shows beside axes, objectives and constraints."""


def report(
    subject: Annotated[str, typer.Argument(metavar="TRACE|STUDY", help="Saved trace, folder of a study, or .json of `compare --json`.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.html", help="File to write.")],
    chip: ChipName = None,
    study: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Also show this document of `compare --json`.")] = None,
    setting: Setting = None,
    hypothetical: Hypothetical = False,
    placement: Placement = "row_major",
    balance: Balance = False,
    period: PeriodOption = None,
) -> None:
    """Write a page, one file that needs no network: where the energy and the time of a run go, core by core."""
    from neurosim.view.page.figures import require_packages

    require_packages()
    require_writable(out)
    if not Path(subject).exists():
        raise LoadError(f"{subject}: no such file or folder")
    if Path(subject).is_file() and is_trace(subject):
        if chip is None:
            raise LoadError(f"{subject} is a trace: give the --chip on which it is to be priced; `neurosim chips` lists them")
        options = {"hypothetical": hypothetical, "placement": placement, "balance": balance}
        text = _of_trace(subject, chip, setting, read_quantity(period, "time", "--period"), study, options)
    else:
        if chip or study or setting or period:
            raise LoadError(f"{subject} is no trace: --chip, --set, --period and --study need one")
        text = _of_folder(Path(subject)) if Path(subject).is_dir() else _of_comparison(Path(subject))
    with whole_file(out) as file:
        file.write(text.encode())
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    note(f"open it in a browser: {out.resolve().as_uri()}")


def _of_trace(subject: str, chip: str, setting: list[str] | None, period_s: float | None, study: Path | None,
              options: dict[str, Any]) -> str:
    from neurosim.explore import tornado
    from neurosim.mapping import compile
    from neurosim.pricing import price
    from neurosim.trace_file import load_trace
    from neurosim.view.page import report_page

    described, recorded = read_chip(chip, setting), load_trace(subject)
    rows = None if study is None else study_rows(_read(study))
    program = compile(recorded.network, described, recorded, **options)
    priced = price(recorded, program, period_s=period_s)
    return report_page(recorded, program, priced, bars=tornado(recorded, program, period_s), study_rows=rows)


def _of_folder(folder: Path) -> str:
    """The page of a study that `sweep` has finished; of very many rows those of the front and some of the others."""
    from neurosim.explore.study import Store
    from neurosim.view.page import study_page

    study, rows = Store(folder).study(), list(Store(folder).table())
    left = [row for row in rows if not row["on_front"]]
    every = max(1, -(-len(left) // MOST_ROWS))
    shown = [row for i, row in enumerate(left) if i % every == 0] + [row for row in rows if row["on_front"]][:MOST_ROWS]
    facts = {"rows": f"{len(rows):,}" + (f", of which the front and every {every}th other are shown" if every > 1 else ""),
             **{f"bounds of {name}": _bounds(*ends) for name, ends in study.bounds().items()}}
    kept = {*study.axes, *study.objectives, *study.constraints, *SHOWN}
    return study_page([{k: v for k, v in row.items() if k in kept and v is not None} for row in shown], study.name, study.objectives, facts)


def _bounds(least: float | None, largest: float | None) -> str:
    return " and ".join([f"at least {least:g}"] * (least is not None) + [f"at most {largest:g}"] * (largest is not None))


def _of_comparison(path: Path) -> str:
    from neurosim.view.page import study_page

    document = _read(path)
    facts = {f"note {i}": text for i, text in enumerate(document.get("notes") or (), 1)}
    return study_page(study_rows(document), path.stem, document.get("objectives") or (), facts)


def _read(path: Path) -> dict[str, Any]:
    """The document of ``compare --json``."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from None
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
        raise LoadError(f"{path} is neither a trace nor a document of `neurosim compare --json`: it has no rows")
    if not all(isinstance(row, dict) for row in document["rows"]):
        raise LoadError(f"{path}: every row of a study is an object")
    return document


def study_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a comparison, one mapping each: settings as columns of their own, the front as a column; lists and objects are left out."""
    front = set(document.get("pareto") or ())
    rows = []
    for i, row in enumerate(document["rows"]):
        plain = {key: value for key, value in row.items() if not isinstance(value, list | dict)}
        rows.append({**(row.get("set") or {}), **plain, "on_front": i in front})
    return rows
