"""The command `sweep`. `neurosim.cli` registers it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurosim.cli_options import AsJson
from neurosim.cli_support import note, print_result, progress_bar, say_if_compiling
from neurosim.errors import LoadError, SimulationError

if TYPE_CHECKING:
    from neurosim.explore.study import Done, Study


def sweep(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Study in YAML, or the folder of one that was begun.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Results (default: the study's name); an existing one goes on.")
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes of this machine (default: one per core).")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Dask scheduler whose workers see the folder under the same path.")
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Share the work with all who run the same study on the same folder.")] = False,
    storage: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="With --join: journal file, or database (postgresql://...) of the claims.")
    ] = None,
    dashboard: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="Write the rows as trials of Optuna, for optuna-dashboard.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Run a study: networks x thresholds x chips x chip fields ..., on one machine or many; may be stopped at any moment."""
    from neurosim.explore.study import run_study

    if storage is not None and not join:
        raise SimulationError("--storage belongs to --join: it holds who does what")
    if scheduler is not None and workers is not None:
        raise SimulationError("--workers are of this machine, --scheduler has workers of its own: give one of them")
    described, folder = _study(study, out)
    say_if_compiling()
    with progress_bar("runs") as progress:
        done = run_study(described, folder, workers=_cores() if workers is None else workers, scheduler=scheduler, join=join,
                         storage=storage, progress=_with_rate(progress))
    note(f"{done.rows:,} rows of {done.runs:,} runs in {done.folder / 'table.parquet'}; done here: {done.simulated:,} runs, "
         f"{done.priced:,} chunks of rows")
    if dashboard is not None:
        from neurosim.explore.study.dashboard import write_trials

        n = write_trials(described, done.folder, dashboard)
        note(f"{n:,} trials in {dashboard}; see them with: optuna-dashboard {dashboard}")
    _print(described, done, json_)


def _study(name: str, out: Path | None) -> tuple[Study, Path]:
    """A study and its folder."""
    from neurosim.explore.study import Store, read_study

    path = Path(name)
    if path.is_dir():
        begun = Store(path).study()
        if out is not None and out.resolve() != path.resolve():
            raise LoadError(f"{path} is the folder of a study and goes on there; leave out -o")
        return begun, path
    described = read_study(path)
    return described, out or Path(described.name)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_rate(progress: Any) -> Any:
    """Progress with a rate: so many per second since this kind of task began here."""
    begun: dict[str, tuple[float, int]] = {}

    def show(what: str, done: int, total: int) -> None:
        start, first = begun.setdefault(what, (time.monotonic(), done))
        passed = time.monotonic() - start
        progress(done, total, f"{what} ({(done - first) / passed:,.3g}/s)" if passed > 1 and done > first else what)

    return show


def _print(study: Study, done: Done, json_: bool) -> None:
    from neurosim.view.study import study_document, study_table

    print_result(study_document(study, done) if json_ else None, *([] if json_ else [study_table(study, done)]))
