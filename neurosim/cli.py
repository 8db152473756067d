"""The command line. Results on stdout (tables, or one JSON document), progress and notes on stderr.

Exit codes: 0 done, 1 a stated budget is missed, 2 bad input, 3 does not fit. Everything heavy
is imported inside the command that needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from neurosim import cli_chip, cli_export, cli_report, cli_sweep, cli_tune
from neurosim.cli_options import (
    AnyNumerics,
    AsJson,
    ChipName,
    Dt,
    Hypothetical,
    Inputs,
    InputSignal,
    Model,
    Numerics,
    OutputName,
    PeriodOption,
    Setting,
    Style,
    Threshold,
    Thresholds,
)
from neurosim.cli_support import (
    check_budgets,
    compiled,
    guarded,
    note,
    own_baseline,
    priced,
    print_result,
    progress_bar,
    read_chip,
    read_json_object,
    read_model_card,
    read_network,
    read_quantity,
    read_reference,
    require_writable,
    say_if_compiling,
    write_outputs,
)
from neurosim.errors import DoesNotFit, SimulationError
from neurosim.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    help="Run trained networks as delta events on a simulated neuromorphic chip, count, price and compare.",
)


def main() -> None:
    """Entry point of the console script. ``--debug`` anywhere shows tracebacks."""
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        os.environ["NEUROSIM_DEBUG"] = "1"
    app()


def _command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda command: app.command(name)(guarded(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neurosim {__version__}")
        raise typer.Exit


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


@_command("check")
def check(
    model: Model,
    chip: ChipName = None,
    output: OutputName = None,
    hypothetical: Hypothetical = False,
    setting: Setting = None,
    dt: Dt = None,
    style: Style = None,
    input_signal: InputSignal = None,
    json_: AsJson = False,
) -> None:
    """Load a model, list its layers, and say whether it fits a chip."""
    from neurosim.view.documents import network_document

    if chip is None and setting:
        raise SimulationError("--set needs --chip")
    network = read_network(model, output, card=read_model_card(model), dt=dt, style=style, input_signal=input_signal)
    program, why_not = None, None
    if chip is not None:
        try:
            program = compiled(network, read_chip(chip, setting), hypothetical)
        except DoesNotFit as error:
            if not json_:
                raise
            why_not = str(error)
    if json_:
        layers = [{"name": layer.name, "kind": layer.kind, **row} for layer, row in zip(network.layers, network.static_counts)]
        document = {
            "schema": "neurosim.check/1",
            "network": network_document(network),
            "layers": layers,
            "chip": chip,
            "fits": None if chip is None else program is not None,
            "hypothetical": program is not None and program.hypothetical,
            "why_not": why_not,
            "cores_used": program and program.cores_used,
        }
        print_result(document)
        if why_not:
            raise typer.Exit(DoesNotFit.exit_code)
        return None
    from neurosim.view.tables import network_table, program_table

    print_result(None, network_table(network), *([program_table(program)] if program else []))


@_command("run")
def run(
    model: Model,
    inputs: Inputs,
    threshold: Threshold = None,
    thresholds: Thresholds = None,
    numerics: AnyNumerics = None,
    schedule: Annotated[str | None, typer.Option(help="fall_through or pipelined (default: the file's own, else fall_through).")] = None,
    rule: Annotated[
        str | None, typer.Option(help="Delta rule: hold, sigma_delta, quantised, naive (default: the file's own, else hold).")
    ] = None,
    timesteps_per_input: Annotated[int, typer.Option(metavar="K", help="Timesteps for which each input is held.")] = 1,
    readout: Annotated[str, typer.Option(help="last, mean or sum of the timesteps of an input; count of spikes.")] = "last",
    resets: Annotated[str | None, typer.Option(metavar="X.npz:key", help="True before inputs at which state is cleared.")] = None,
    output: OutputName = None,
    outputs: Annotated[Path | None, typer.Option(metavar="Y.npy", help="Write outputs before the decoder.")] = None,
    decoded: Annotated[Path | None, typer.Option(metavar="Y.npy", help="Write outputs after the decoder.")] = None,
    reference: Annotated[str, typer.Option(metavar="all|N|none", help="Inputs also run densely (zero-skip baseline, fidelity).")] = "auto",
    chip: ChipName = None,
    hypothetical: Hypothetical = False,
    setting: Setting = None,
    period: PeriodOption = None,
    trace: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the trace; price and compare need nothing else.")] = None,
    golden: Annotated[Path | None, typer.Option(metavar="OUT.npz", help="Write every number of the run, for a hardware team.")] = None,
    max_macs: Annotated[float | None, typer.Option(help="Budget: mean effective MACs and ACs per timestep.")] = None,
    max_energy: Annotated[str | None, typer.Option(metavar="5uJ", help="Budget: mean energy per timestep.")] = None,
    max_latency: Annotated[str | None, typer.Option(metavar="1ms", help="Budget: longest timestep.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Threads among which the stream is shared out at its resets.")] = 1,
    dt: Dt = None,
    style: Style = None,
    input_signal: InputSignal = None,
    json_: AsJson = False,
) -> None:
    """Run a model over a stream of inputs as delta events: counts, fidelity, and with --chip energy and time."""
    from neurosim.loaders.inputs import load_array
    from neurosim.simulation import simulate
    from neurosim.view.documents import run_document

    max_energy_j, max_latency_s = read_quantity(max_energy, "energy", "--max-energy"), read_quantity(max_latency, "time", "--max-latency")
    period_s = read_quantity(period, "time", "--period")
    if max_macs is not None and not max_macs >= 0:
        raise SimulationError(f"--max-macs {max_macs} is not a number of 0 or more")
    if chip is None and (max_energy or max_latency or period or setting):
        raise SimulationError("--max-energy, --max-latency, --period and --set need --chip")
    require_writable(trace, outputs, decoded, golden)
    network = read_network(model, output, threshold, thresholds, read_model_card(model), dt=dt, style=style, input_signal=input_signal)
    for option, given in (("numerics", numerics), ("schedule", schedule), ("rule", rule)):
        if given is None and option in dict(network.defaults):
            note(f"{option} {network.default(option)}, as {model} means it (--{option} for another)")
    program = compiled(network, read_chip(chip, setting), hypothetical) if chip else None
    x, starts = load_array(inputs), load_array(resets) if resets else None
    say_if_compiling()
    with progress_bar("timesteps") as progress:
        result = simulate(
            network,
            x,
            numerics=numerics,
            schedule=schedule,
            rule=rule,
            timesteps_per_input=timesteps_per_input,
            readout=readout,
            resets=starts,
            reference=read_reference(reference),
            progress=progress,
            record="events" if chip or trace else "counts",
            workers=workers,
        )
    write_outputs(result, outputs, decoded)
    if trace is not None:
        result.save(trace)
    if golden is not None:
        from neurosim.simulation.golden import write_golden

        write_golden(network, x, golden, schedule=result.schedule, rule=result.rule, numerics=result.numerics, resets=starts)
    report = priced(result, program, period_s)
    if json_:
        print_result(run_document(result, report))
    else:
        from neurosim.view.tables import report_table, run_table

        print_result(None, run_table(result), *([report_table(report)] if report else []))
    check_budgets(result, report, max_macs=max_macs, max_energy_j=max_energy_j, max_latency_s=max_latency_s)


@_command("rollout")
def rollout(
    model: Model,
    episodes: Annotated[int, typer.Option(metavar="N")] = 10,
    seed: Annotated[int, typer.Option(metavar="S")] = 0,
    env: Annotated[str | None, typer.Option(metavar="ID", help="Gymnasium id (a folder's model.yaml names its own).")] = None,
    env_kwargs: Annotated[str | None, typer.Option(metavar="JSON")] = None,
    preprocess: Annotated[
        str | None, typer.Option(help="atari: frame-skip 4, maximum of two, 84x84 grey, stack of 4; atari_fire: FIRE opens each life too; "
        "time_feature: the remaining time joins the observation.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="argmax, clip or identity (default: by the action space).")] = None,
    threshold: Threshold = None,
    thresholds: Thresholds = None,
    numerics: Numerics = "float32",
    output: OutputName = None,
    baseline: Annotated[str | None, typer.Option(metavar="MODEL", help="Network of the dense policy, if another.")] = None,
    chip: ChipName = None,
    hypothetical: Hypothetical = False,
    setting: Setting = None,
    period: PeriodOption = None,
    trace: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the trace of all decisions.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes among which episodes are shared out.")] = 1,
    reference_every: Annotated[
        int, typer.Option(metavar="K", help="Every K-th decision is also run densely (zero-skip, agreement); 0: none.")
    ] = 1,
    dense_by: Annotated[
        str, typer.Option(help="Dense policy by evaluation, or by events at threshold 0 in float64 (fast).")
    ] = "evaluation",
    json_: AsJson = False,
) -> None:
    """Play episodes with the event-driven policy, and the same seeds with the dense and a random one."""
    from neurosim.control import rollout as play

    card = read_model_card(model)
    env_id = env or (card.env.id if card and card.env else None)
    if env_id is None:
        raise SimulationError("--env is needed: no model.yaml names an environment")
    own = card.env if card and card.env and env is None else None
    if chip is None and (period or setting):
        raise SimulationError("--period and --set need --chip")
    period_s = read_quantity(period, "time", "--period")
    require_writable(trace)
    network = read_network(model, output, threshold, thresholds, card)
    program = compiled(network, read_chip(chip, setting), hypothetical) if chip else None
    base = baseline or own_baseline(model, card)
    say_if_compiling()
    with progress_bar("episodes") as progress:
        result = play(
            network,
            env_id,
            episodes=episodes,
            seed=seed,
            action=action or (card.action if card else None),
            env_kwargs=read_json_object(env_kwargs) if env_kwargs else own.kwargs if own else None,
            preprocess=preprocess or (own.preprocess if own else None),
            numerics=numerics,
            baseline=read_network(base) if base else None,
            workers=workers,
            record="events" if chip or trace else "none",
            reference_every=reference_every,
            dense_by=dense_by,
            progress=lambda name, done, total: progress(done, total, f"{name} policy"),
        )
    if trace is not None:
        result.trace.save(trace)
    report = priced(result.trace, program, period_s)
    if json_:
        return print_result(result.to_dict() | (report.to_json() if report else {}))
    from neurosim.view.tables import report_table, rollout_table

    print_result(None, rollout_table(result), *([report_table(report)] if report else []))


_command("compile")(cli_chip.compile_)
_command("price")(cli_chip.price)
_command("compare")(cli_chip.compare)
_command("chips")(cli_chip.chips)
_command("tune")(cli_tune.tune)
_command("sweep")(cli_sweep.sweep)
_command("report")(cli_report.report)
app.add_typer(cli_export.app, name="export")


@_command("demo")
def demo(episodes: Annotated[int, typer.Option(metavar="N", help="Episodes to play.")] = 20, json_: AsJson = False) -> None:
    """Play a bundled trained policy on two simulated chips. Needs no file."""
    from neurosim.view.demo import demonstrate

    say_if_compiling()
    with progress_bar("episodes") as progress:
        document, tables = demonstrate(episodes, lambda name, done, total: progress(done, total, f"{name} policy"))
    print_result(document if json_ else None, *tables)
