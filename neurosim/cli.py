"""The command line. Results on stdout (tables, or one JSON document), progress and notes on stderr.

Exit codes: 0 done, 1 a stated budget is missed, 2 bad input, 3 does not fit. Everything heavy
is imported inside the command that needs it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurosim import units
from neurosim.errors import LoadError, NeurosimError, SimulationError
from neurosim.version import __version__

if TYPE_CHECKING:
    from neurosim.chip import Chip
    from neurosim.model_card import ModelCard
    from neurosim.network import Network
    from neurosim.report import Report
    from neurosim.trace import Trace

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
                  help="Run trained networks as delta events on a simulated neuromorphic chip, count, price and compare.")

Model = Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file, architecture .yaml, or a folder with model.yaml.")]
Inputs = Annotated[str, typer.Option("--inputs", metavar="X.npz[:key]", help="Array (timesteps, *input shape without batch).")]
Threshold = Annotated[float | None, typer.Option(help="One delta threshold for the input and every hidden layer (default 0, or the model card's).")]
Thresholds = Annotated[Path | None, typer.Option(help="YAML file: one threshold per name, {input: t, LAYER: t}.")]
Numerics = Annotated[str, typer.Option(help="float32 or float64.")]
ChipName = Annotated[str | None, typer.Option("--chip", metavar="C", help="Chip of the library or a .yaml file.")]
Hypothetical = Annotated[bool, typer.Option("--hypothetical", help="Allow graded events on a chip described for spikes only.")]
Setting = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a chip field; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document.")]
OutputName = Annotated[str | None, typer.Option("--output", metavar="NAME", help="Output of the model to run.")]


def main() -> None:
    """Entry point of the console script. ``--debug`` anywhere shows tracebacks."""
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        os.environ["NEUROSIM_DEBUG"] = "1"
    app()


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
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
            typer.echo("error: out of memory; use fewer timesteps, or record less", err=True)
            raise typer.Exit(2) from None
    return run


def _command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda command: app.command(name)(_guarded(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neurosim {__version__}")
        raise typer.Exit


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


def _note(text: str) -> None:
    typer.echo(text, err=True)


@contextmanager
def _progress(label: str):  # type: ignore[no-untyped-def]
    """A progress bar on stderr, only on a terminal; yields callback(done, total, label=...)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total, text=label: progress.update(task, completed=done, total=total, description=text)


def _wait_note() -> None:
    from neurosim.kernels import is_compiled

    if not is_compiled():
        _note("compiling kernels for this machine (once, up to half a minute) ...")


def _card(model: str) -> ModelCard | None:
    from neurosim.model_card import read_card

    path = Path(model)
    if path.is_dir():
        path = path / "model.yaml"
        if not path.is_file():
            raise LoadError(f"{model}: a folder without model.yaml")
    return read_card(path) if path.name == "model.yaml" else None


def _network(model: str, output: str | None, threshold: float | None, thresholds: Path | None, card: ModelCard | None = None) -> Network:
    from neurosim import strict_yaml
    from neurosim.loaders import load
    from neurosim.transforms import set_thresholds

    if threshold is not None and thresholds is not None:
        raise SimulationError("give --threshold or --thresholds, not both")
    chosen: Any = threshold if threshold is not None else card.thresholds if card and card.thresholds is not None else 0.0
    if thresholds is not None:
        try:
            chosen, _ = strict_yaml.read(thresholds)
        except OSError as error:
            raise LoadError(f"{thresholds}: {error.strerror}") from None
        except strict_yaml.StrictYamlError as error:
            raise LoadError(str(error)) from None
        if not isinstance(chosen, dict):
            raise LoadError(f"{thresholds}: expected one entry per name: {{input: 0.01, LAYER: 0.01}}")
    return set_thresholds(load(model, output=output), chosen)


def _chip(name: str, settings: list[str] | None) -> Chip:
    from neurosim.chip import Chip

    chip = Chip.load(name)
    chosen = {key: values for key, values in _settings(settings).items()}
    several = [key for key, values in chosen.items() if len(values) > 1]
    if several:
        raise LoadError(f"--set {several[0]}: one value is needed here; `compare` takes lists")
    return chip.with_settings({key: values[0] for key, values in chosen.items()}) if chosen else chip


def _settings(settings: list[str] | None) -> dict[str, list[Any]]:
    from neurosim import strict_yaml

    parsed: dict[str, list[Any]] = {}
    for text in settings or []:
        key, separator, values = text.partition("=")
        if not separator or not key or not values:
            raise LoadError(f"--set {text!r}: write PATH=VALUE, for example core.neurons=256 or core.neurons=64,256")
        try:
            parsed[key] = [strict_yaml.read(value)[0] for value in values.split(",")]
        except strict_yaml.StrictYamlError as error:
            raise LoadError(f"--set {text!r}: {error}") from None
    return parsed


def _quantity(text: str | None, dimension: str, option: str) -> float | None:
    if text is None:
        return None
    try:
        return units.parse(text, dimension)
    except ValueError as error:
        raise SimulationError(f"{option}: {error}") from None


def _reference(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def _is_trace(path: str) -> bool:
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "trace.json" in archive.namelist()


def _price(trace: Trace, chip: Chip, hypothetical: bool, period_s: float | None = None) -> Report:
    from neurosim.mapping import compile
    from neurosim.pricing import price

    return price(trace, compile(trace.network, chip, trace, hypothetical=hypothetical), period_s=period_s)


def _print(document: dict[str, Any] | None, *tables: Any) -> None:
    if document is not None:
        from neurosim.view.documents import to_json

        typer.echo(to_json(document))
        return
    from neurosim.view.tables import console

    screen = console()
    for table in tables:
        screen.print(table)
        screen.print()


@_command("check")
def check(model: Model, chip: ChipName = None, output: OutputName = None, hypothetical: Hypothetical = False, setting: Setting = None,
          json_: AsJson = False) -> None:
    """Load a model, list its layers, and say whether it fits a chip."""
    from neurosim.view.documents import network_document

    card = _card(model)
    network = _network(model, output or (card.output if card else None), None, None, card)
    program = None
    if chip is not None:
        from neurosim.mapping import compile

        program = compile(network, _chip(chip, setting), hypothetical=hypothetical)
    if json_:
        layers = [{"name": layer.name, "kind": layer.kind, **row} for layer, row in zip(network.layers, network.static_counts)]
        document = {"schema": "neurosim.check/1", "network": network_document(network), "layers": layers, "chip": chip,
                    "fits": None if program is None else True, "cores_used": None if program is None else program.cores_used}
        return _print(document)
    from neurosim.view.tables import network_table, program_table

    _print(None, network_table(network), *([program_table(program)] if program else []))


@_command("run")
def run(
    model: Model, inputs: Inputs, threshold: Threshold = None, thresholds: Thresholds = None, numerics: Numerics = "float32",
    schedule: Annotated[str, typer.Option(help="fall_through or pipelined.")] = "fall_through",
    rule: Annotated[str, typer.Option(help="Delta rule: hold, sigma_delta, quantised, naive.")] = "hold",
    timesteps_per_input: Annotated[int, typer.Option(metavar="K", help="Timesteps for which each input is held.")] = 1,
    readout: Annotated[str, typer.Option(help="last, mean or sum of the timesteps of an input.")] = "last",
    resets: Annotated[str | None, typer.Option(metavar="X.npz:key", help="True before inputs at which state is cleared.")] = None,
    output: OutputName = None,
    outputs: Annotated[Path | None, typer.Option(metavar="Y.npy", help="Write outputs before the decoder.")] = None,
    decoded: Annotated[Path | None, typer.Option(metavar="Y.npy", help="Write outputs after the decoder.")] = None,
    reference: Annotated[str, typer.Option(metavar="all|N|none", help="Inputs also run densely (zero-skip baseline, fidelity).")] = "auto",
    chip: ChipName = None, hypothetical: Hypothetical = False, setting: Setting = None,
    period: Annotated[str | None, typer.Option(metavar="16.7ms", help="Control period.")] = None,
    trace: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the trace; price and compare need nothing else.")] = None,
    max_macs: Annotated[float | None, typer.Option(help="Budget: mean effective MACs and ACs per timestep.")] = None,
    max_energy: Annotated[str | None, typer.Option(metavar="5uJ", help="Budget: mean energy per timestep.")] = None,
    max_latency: Annotated[str | None, typer.Option(metavar="1ms", help="Budget: longest timestep.")] = None,
    json_: AsJson = False,
) -> None:
    """Run a model over a stream of inputs as delta events: counts, fidelity, and with --chip energy and time."""
    from neurosim.loaders.inputs import load_array
    from neurosim.simulation import simulate
    from neurosim.view.documents import run_document

    budgets = {"energy": _quantity(max_energy, "energy", "--max-energy"), "latency": _quantity(max_latency, "time", "--max-latency"), "macs": max_macs}
    period_s = _quantity(period, "time", "--period")
    if chip is None and (max_energy or max_latency or period or setting):
        raise SimulationError("--max-energy, --max-latency, --period and --set need --chip")
    card = _card(model)
    network = _network(model, output or (card.output if card else None), threshold, thresholds, card)
    described = _chip(chip, setting) if chip else None
    x, starts = load_array(inputs), load_array(resets) if resets else None
    _wait_note()
    with _progress("timesteps") as progress:
        result = simulate(network, x, numerics=numerics, schedule=schedule, rule=rule, timesteps_per_input=timesteps_per_input,
                          readout=readout, resets=starts, reference=_reference(reference), progress=progress,
                          record="events" if chip or trace else "counts")
    report = _price(result, described, hypothetical, period_s) if described else None
    _write_outputs(result, outputs, decoded)
    if trace is not None:
        result.save(trace)
    if json_:
        _print(run_document(result, report))
    else:
        from neurosim.view.tables import report_table, run_table

        _print(None, run_table(result), *([report_table(report)] if report else []))
    _check_budgets(result, report, budgets)


def _write_outputs(trace: Trace, outputs: Path | None, decoded: Path | None) -> None:
    import numpy as np

    for path, values in ((outputs, lambda: trace.outputs), (decoded, lambda: np.stack([trace.network.decode(a) for a in trace.outputs]))):
        if path is None:
            continue
        partial = path.with_name(path.name + ".part")
        try:
            with open(partial, "wb") as f:
                np.save(f, values())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise LoadError(f"cannot write {path}: {error.strerror}") from None


def _check_budgets(trace: Trace, report: Report | None, budgets: dict[str, float | None]) -> None:
    c = trace.totals_by_counter
    figures = {"macs": ((c["effective_macs"] + c["effective_acs"]) / trace.n_timesteps, "mean MACs per timestep", "")}
    if report is not None:
        figures["energy"] = (report.energy.per_timestep_j, "mean energy per timestep", "J")
        figures["latency"] = (report.latency.timestep_s["max"] if report.latency else float("nan"), "longest timestep", "s")
    missed = []
    for key, limit in budgets.items():
        if limit is None:
            continue
        value, what, unit = figures[key]
        if not value <= limit:
            shown = (units.show(value, unit), units.show(limit, unit)) if unit and value == value else (f"{value:,.6g}", f"{limit:,.6g}")
            missed.append(f"{what} {shown[0]} > {shown[1]}" if value == value else f"{what} is not priced by the chip file: the budget cannot be proved")
    if missed:
        _note("budget missed: " + "; ".join(missed))
        raise typer.Exit(1)


@_command("compile")
def compile_(model: Model, chip: Annotated[str, typer.Option("--chip", metavar="C")], output: OutputName = None,
             placement: Annotated[str, typer.Option(help="row_major, snake or greedy.")] = "row_major",
             hypothetical: Hypothetical = False, setting: Setting = None, json_: AsJson = False) -> None:
    """Partition, place and route a model on a chip; used and limit per core and resource."""
    from neurosim.mapping import compile

    card = _card(model)
    network = _network(model, output or (card.output if card else None), None, None, card)
    program = compile(network, _chip(chip, setting), placement=placement, hypothetical=hypothetical)
    if json_:
        slices = [{"layer": program.layer_names[s.layer], "core": s.core, "tile": program.tile_of_core[s.core].tolist(), "rows": s.rows,
                   "columns": s.columns, "channels": s.channels, "neurons": s.n_neurons, "storage": s.storage} for s in program.slices]
        use = [{"core": u.core, "layers": u.layers, "resource": u.resource, "used": u.used, "limit": u.limit} for u in program.utilization()]
        return _print({"schema": "neurosim.compile/1", "chip": program.chip.name, "cores_used": program.cores_used, "slices": slices,
                       "utilization": use, "notes": program.notes})
    from neurosim.view.tables import program_table

    _print(None, program_table(program))


@_command("price")
def price(trace: Annotated[str, typer.Argument(metavar="TRACE")], chip: Annotated[str, typer.Option("--chip", metavar="C")],
          setting: Setting = None, hypothetical: Hypothetical = False,
          period: Annotated[str | None, typer.Option(metavar="16.7ms", help="Control period.")] = None, json_: AsJson = False) -> None:
    """Price a saved trace on a chip: energy, time, where they go. Nothing is simulated again."""
    from neurosim.trace import load_trace
    from neurosim.view.documents import run_document

    described, recorded = _chip(chip, setting), load_trace(trace)
    report = _price(recorded, described, hypothetical, _quantity(period, "time", "--period"))
    if json_:
        return _print(run_document(recorded, report))
    from neurosim.view.tables import report_table

    _print(None, report_table(report))


@_command("compare")
def compare(
    subject: Annotated[str, typer.Argument(metavar="MODEL|TRACE", help="A saved trace, or a model with --inputs.")],
    chips: Annotated[str, typer.Option(metavar="a,b,c", help="Chips of the library or .yaml files.")],
    inputs: Annotated[str | None, typer.Option(metavar="X.npz[:key]")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=A,B,C", help="Chip field and its values; may be repeated (product).")] = None,
    threshold: Threshold = None, thresholds: Thresholds = None, numerics: Numerics = "float32", hypothetical: Hypothetical = False,
    placement: Annotated[str, typer.Option(help="row_major, snake or greedy.")] = "row_major", json_: AsJson = False,
) -> None:
    """Compare chips and core configurations on one run: simulated once, priced many times."""
    from neurosim.chip import Chip
    from neurosim.explore import compare as compare_chips
    from neurosim.explore import sweep

    values = _settings(setting)
    names = [name.strip() for name in chips.split(",") if name.strip()]
    candidates: list[Any] = [row for name in names for row in (sweep(name, values) if values else [({}, Chip.load(name))])]
    recorded = _recorded(subject, inputs, threshold, thresholds, numerics)
    result = compare_chips(recorded, candidates, hypothetical=hypothetical, placement=placement)
    if json_:
        _print(result.to_json())
    else:
        from neurosim.view.tables import compare_table

        _print(None, compare_table(result))
    if not result.fits:
        _note("no configuration fits")
        raise typer.Exit(3)


def _recorded(subject: str, inputs: str | None, threshold: float | None, thresholds: Path | None, numerics: str) -> Trace:
    from neurosim.trace import load_trace

    if Path(subject).is_file() and _is_trace(subject):
        if inputs or threshold is not None or thresholds:
            raise LoadError(f"{subject} is a trace: its inputs and thresholds are fixed; leave out --inputs and thresholds")
        return load_trace(subject)
    if inputs is None:
        raise LoadError(f"{subject}: a model needs --inputs (only a saved trace stands alone)")
    from neurosim.loaders.inputs import load_array
    from neurosim.simulation import simulate

    card = _card(subject)
    network = _network(subject, card.output if card else None, threshold, thresholds, card)
    x = load_array(inputs)
    _wait_note()
    with _progress("timesteps") as progress:
        return simulate(network, x, numerics=numerics, progress=progress)


@_command("rollout")
def rollout(
    model: Model, episodes: Annotated[int, typer.Option(metavar="N")] = 10, seed: Annotated[int, typer.Option(metavar="S")] = 0,
    env: Annotated[str | None, typer.Option(metavar="ID", help="Gymnasium id (a folder's model.yaml names its own).")] = None,
    env_kwargs: Annotated[str | None, typer.Option(metavar="JSON")] = None,
    preprocess: Annotated[str | None, typer.Option(help="atari: frame-skip 4, maximum of two, 84x84 grey, stack of 4.")] = None,
    action: Annotated[str | None, typer.Option(help="argmax, clip or identity (default: by the action space).")] = None,
    threshold: Threshold = None, thresholds: Thresholds = None, numerics: Numerics = "float32", output: OutputName = None,
    baseline: Annotated[str | None, typer.Option(metavar="MODEL", help="Network of the dense policy, if another.")] = None,
    chip: ChipName = None, hypothetical: Hypothetical = False, setting: Setting = None,
    period: Annotated[str | None, typer.Option(metavar="16.7ms", help="Control period.")] = None,
    trace: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the trace of all decisions.")] = None, json_: AsJson = False,
) -> None:
    """Play episodes with the event-driven policy, and the same seeds with the dense and a random one."""
    from neurosim.control import rollout as play

    card = _card(model)
    env_id = env or (card.env.id if card and card.env else None)
    if env_id is None:
        raise SimulationError("--env is needed: no model.yaml names an environment")
    own = card.env if card and card.env and env is None else None
    described = _chip(chip, setting) if chip else None
    network = _network(model, output or (card.output if card else None), threshold, thresholds, card)
    base = baseline or (str(Path(model, card.baseline)) if card and card.baseline else None)
    _wait_note()
    with _progress("episodes") as progress:
        result = play(network, env_id, episodes=episodes, seed=seed, action=action or (card.action if card else None),
                      env_kwargs=_json_object(env_kwargs) if env_kwargs else own.kwargs if own else None,
                      preprocess=preprocess or (own.preprocess if own else None), numerics=numerics,
                      baseline=_network(base, None, 0.0, None) if base else None,
                      progress=lambda name, done, total: progress(done, total, f"{name} policy"))
    report = _price(result.trace, described, hypothetical, _quantity(period, "time", "--period")) if described else None
    if trace is not None:
        result.trace.save(trace)
    if json_:
        return _print(result.to_dict() | (report.to_json() if report else {}))
    from neurosim.view.tables import report_table, rollout_table

    _print(None, rollout_table(result), *([report_table(report)] if report else []))


def _json_object(text: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(text)
    except ValueError as error:
        raise SimulationError(f"--env-kwargs is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SimulationError('--env-kwargs: a JSON object is needed, for example \'{"continuous": true}\'')
    return value


@_command("chips")
def chips(name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, json_: AsJson = False) -> None:
    """List the chip library, or every parameter of one chip with grade and source."""
    from neurosim.view import chip_library

    if name is None:
        return _print(chip_library.library_document() if json_ else None, chip_library.library_table())
    _print(chip_library.chip_document(name) if json_ else None, chip_library.chip_table(name))


@_command("demo")
def demo(episodes: Annotated[int, typer.Option(metavar="N", help="Episodes to play.")] = 10, json_: AsJson = False) -> None:
    """Play a bundled trained policy on two simulated chips. Needs no file."""
    from neurosim.view.demo import demonstrate

    _wait_note()
    with _progress("episodes") as progress:
        document, tables = demonstrate(episodes, lambda name, done, total: progress(done, total, f"{name} policy"))
    _print(document if json_ else None, *tables)
