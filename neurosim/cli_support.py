"""What the commands share: reading arguments, progress, printing, budgets. Errors become messages here."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from neurosim import units
from neurosim.errors import LoadError, NeurosimError, SimulationError
from neurosim.whole_file import whole_file

if TYPE_CHECKING:
    from neurosim.chip import Chip
    from neurosim.model_card import ModelCard
    from neurosim.network import Network
    from neurosim.program import Program
    from neurosim.report import Report
    from neurosim.trace import Trace


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one message on stderr and the exit code they stand for."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except NeurosimError as error:
            if os.environ.get("NEUROSIM_DEBUG"):
                raise
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except (KeyboardInterrupt, BrokenPipeError):
            raise typer.Exit(130) from None
        except MemoryError:
            typer.echo("error: out of memory; use fewer timesteps, or a smaller network or mesh", err=True)
            raise typer.Exit(2) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if os.environ.get("NEUROSIM_DEBUG"):
                raise
            typer.echo(f"error: internal: {type(error).__name__}: {error}; please report it (--debug shows where)", err=True)
            raise typer.Exit(2) from None

    return run


def note(text: str) -> None:
    """One line on stderr."""
    typer.echo(text, err=True)


@contextmanager
def progress_bar(label: str):  # type: ignore[no-untyped-def]
    """A progress bar on stderr, only on a terminal; yields callback(done, total, label=...)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total, text=label: progress.update(task, completed=done, total=total, description=text)


def say_if_compiling() -> None:
    """Say on stderr what a first run waits for."""
    from neurosim.kernels import is_compiled

    if not is_compiled():
        note("compiling kernels for this machine (once, some ten seconds) ...")


def read_model_card(model: str) -> ModelCard | None:
    """The model.yaml that `model` (a folder or the file itself) names; None for other files."""
    from neurosim.model_card import read_card

    path = Path(model) / "model.yaml" if Path(model).is_dir() else Path(model)
    return read_card(path) if path.name == "model.yaml" and path.is_file() else None


def compiled(network: Network, chip: Chip, hypothetical: bool) -> Program:
    """Map before anything runs: what does not fit is said at once."""
    from neurosim.mapping import compile

    return compile(network, chip, hypothetical=hypothetical)


def priced(trace: Trace, program: Program | None, period_s: float | None) -> Report | None:
    """Price a run on the machine that it was compiled for, if any."""
    from neurosim.pricing import price

    return None if program is None else price(trace, program, period_s=period_s)


def own_baseline(model: str, card: ModelCard | None) -> str | None:
    """The baseline that a model card names: a file in the card's folder, or a folder beside that."""
    path = card.baseline_in(Path(model) if Path(model).is_dir() else Path(model).parent) if card else None
    return None if path is None else str(path)


def read_network(
    model: str, output: str | None = None, threshold: float | None = None, thresholds: Path | None = None, card: ModelCard | None = None,
    **options: Any,
) -> Network:
    """Load a model and set thresholds: the option's, else the model card's, else those of its file (0 where it has none).

    `options` are those of `neurosim.load`.
    """
    from neurosim.loaders import load
    from neurosim.transforms import set_thresholds

    if threshold is not None and thresholds is not None:
        raise SimulationError("give --threshold or --thresholds, not both")
    chosen: Any = threshold if threshold is not None else card.thresholds if card else None
    if thresholds is not None:
        chosen = _read_mapping(thresholds)
    network = load(model, output=output, **options)
    return network if chosen is None else set_thresholds(network, chosen)


def _read_mapping(path: Path) -> dict[str, Any]:
    from neurosim import strict_yaml

    try:
        mapping, _ = strict_yaml.read_file(path)
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from None
    except strict_yaml.StrictYamlError as error:
        raise LoadError(str(error)) from None
    if not isinstance(mapping, dict):
        raise LoadError(f"{path}: expected one entry per name: {{input: 0.01, LAYER: 0.01}}")
    return mapping


def read_chip(name: str, settings: list[str] | None) -> Chip:
    """A chip with single settings applied."""
    from neurosim.chip import Chip

    chip = Chip.load(name)
    chosen = {key: values for key, values in read_settings(settings).items()}
    several = [key for key, values in chosen.items() if len(values) > 1]
    if several:
        raise LoadError(f"--set {several[0]}: one value is needed here; `compare` takes lists")
    return chip.with_settings({key: values[0] for key, values in chosen.items()}) if chosen else chip


def read_settings(settings: list[str] | None) -> dict[str, list[Any]]:
    """``PATH=A,B`` options as {path: [values]}."""
    from neurosim import strict_yaml

    parsed: dict[str, list[Any]] = {}
    for text in settings or []:
        key, separator, values = text.partition("=")
        if key in parsed:
            raise LoadError(f"--set {key} is given twice; put all its values into one: --set {key}=A,B")
        if not separator or not key or not values or ",," in values or values.endswith(","):
            raise LoadError(f"--set {text!r}: write PATH=VALUE, for example core.neurons=256 or core.neurons=64,256")
        try:
            parsed[key] = [strict_yaml.read_text(value)[0] for value in re.split(r",(?![^\[{]*[\]}])", values)]
        except strict_yaml.StrictYamlError as error:
            raise LoadError(f"--set {text!r}: {error}") from None
    return parsed


def read_quantity(text: str | None, dimension: str, option: str) -> float | None:
    """A quantity of an option in SI units; None stays None."""
    if text is None:
        return None
    try:
        return units.parse(text, dimension)
    except ValueError as error:
        raise SimulationError(f"{option}: {error}") from None


def read_reference(text: str) -> str | int:
    """``all``, ``none``, ``auto`` or a number of inputs."""
    return int(text) if text.isdecimal() else text


def is_trace(path: str) -> bool:
    """Whether a file is a saved trace."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "trace.json" in archive.namelist()


def print_result(document: dict[str, Any] | None, *tables: Any) -> None:
    """One JSON document, or tables, on stdout."""
    if document is not None:
        from neurosim.view.documents import to_json

        typer.echo(to_json(document))
        return
    from neurosim.view.tables import console

    for table in tables:
        screen = console(table)
        screen.print(table)
        screen.print()


def read_trace_or_run(
    subject: str, inputs: str | None, threshold: float | None, thresholds: Path | None, numerics: str, reference: str
) -> Trace:
    """The trace that `subject` is, or the run of the model that it is."""
    from neurosim.trace_file import load_trace

    if Path(subject).is_file() and is_trace(subject):
        if inputs or threshold is not None or thresholds:
            raise LoadError(f"{subject} is a trace: its inputs and thresholds are fixed; leave out --inputs and thresholds")
        return load_trace(subject)
    if not Path(subject).exists():
        raise LoadError(f"{subject}: no such file or folder")
    if inputs is None:
        raise LoadError(f"{subject}: a model needs --inputs (only a saved trace stands alone)")
    from neurosim.loaders.inputs import load_array
    from neurosim.simulation import simulate

    card = read_model_card(subject)
    network = read_network(subject, None, threshold, thresholds, card)
    x = load_array(inputs)
    say_if_compiling()
    with progress_bar("timesteps") as progress:
        return simulate(network, x, numerics=numerics, reference=reference, progress=progress)


def require_writable(*paths: Path | None) -> None:
    """Refuse at the start what could not be written at the end."""
    for path in paths:
        if path is not None and path.is_dir():
            raise LoadError(f"cannot write {path}: it is a folder")
        if path is not None and (not path.name or not path.parent.is_dir() or not os.access(path.parent, os.W_OK)):
            raise LoadError(f"cannot write {path}: its folder is missing or not writable")


def write_outputs(trace: Trace, outputs: Path | None, decoded: Path | None) -> None:
    """Write .npy files before and after the decoder; a file appears only when it is whole."""
    import numpy as np

    answers = trace.outputs
    for path, decodes in ((outputs, False), (decoded, True)):
        if path is None or answers is None:
            continue
        values = np.stack([trace.network.decode(a) for a in answers]) if decodes else answers
        with whole_file(path) as f:
            np.save(f, values)


def check_budgets(
    trace: Trace, report: Report | None, *, max_macs: float | None, max_energy_j: float | None, max_latency_s: float | None
) -> None:
    """Exit with 1 and say which budget is missed: MACs and energy by their means per timestep, latency by its maximum."""
    c = trace.totals_by_counter
    energy_j = report.energy.per_timestep_j if report else None
    latency_s = report.latency.timestep_s["max"] if report and report.latency else None
    missed = [
        _missed("mean MACs per timestep", (c["effective_macs"] + c["effective_acs"]) / trace.n_timesteps, max_macs, "{:,.6g}".format),
        _missed("mean energy per timestep", energy_j, max_energy_j, lambda v: units.show(v, "J")),
        _missed("longest timestep", latency_s, max_latency_s, lambda v: units.show(v, "s")),
    ]
    if report and any(
        (
            max_energy_j is not None and not report.energy.complete,
            max_latency_s is not None and not (report.latency and report.latency.complete),
        )
    ):
        note("note: the chip file leaves something unpriced, so energy and time are lower bounds: a budget may be missed all the same")
    if any(missed):
        note("budget missed: " + "; ".join(m for m in missed if m))
        raise typer.Exit(1)


def _missed(what: str, value: float | None, limit: float | None, show: Callable[[float], str]) -> str | None:
    if limit is None:
        return None
    if value is None:
        return f"{what} is not priced by the chip file, so a budget of {show(limit)} cannot be proved"
    return f"{what} {show(value)} > {show(limit)}" if value > limit else None


def read_json_object(text: str) -> dict[str, Any]:
    """The JSON object of ``--env-kwargs``."""
    import json

    try:
        value = json.loads(text)
    except ValueError as error:
        raise SimulationError(f"--env-kwargs is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SimulationError("--env-kwargs: a JSON object is needed, for example '{\"continuous\": true}'")
    return value
