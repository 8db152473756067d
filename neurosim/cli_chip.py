"""Commands about chips: compile, price, compare, chips. `neurosim.cli` registers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurosim.cli_options import (
    AsJson,
    Balance,
    Hypothetical,
    Model,
    Numerics,
    OutputName,
    PeriodOption,
    Placement,
    Setting,
    Threshold,
    Thresholds,
)
from neurosim.cli_support import (
    note,
    print_result,
    progress_bar,
    read_chip,
    read_model_card,
    read_network,
    read_quantity,
    read_settings,
    read_trace_or_run,
    say_if_compiling,
)
from neurosim.errors import PricingError, SimulationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from neurosim.chip import Chip
    from neurosim.trace import Trace

Profile = Annotated[str | None, typer.Option("--profile", metavar="TRACE", help="Saved trace: its events are the traffic and the work.")]


def compile_(
    model: Model,
    chip: Annotated[str, typer.Option("--chip", metavar="C")],
    output: OutputName = None,
    placement: Placement = "row_major",
    profile: Profile = None,
    balance: Balance = False,
    hypothetical: Hypothetical = False,
    setting: Setting = None,
    json_: AsJson = False,
) -> None:
    """Partition, place and route a model on a chip; used and limit per core and resource."""
    from neurosim.mapping import compile
    from neurosim.trace_file import load_trace

    network = read_network(model, output, card=read_model_card(model))
    trace = load_trace(profile) if profile else None
    program = compile(network, read_chip(chip, setting), trace, placement, balance=balance, hypothetical=hypothetical)
    if json_:
        from neurosim.view.documents import program_document

        return print_result(program_document(program))
    from neurosim.view.tables import program_table

    print_result(None, program_table(program))


def price(
    trace: Annotated[str, typer.Argument(metavar="TRACE")],
    chip: Annotated[str, typer.Option("--chip", metavar="C")],
    setting: Setting = None,
    hypothetical: Hypothetical = False,
    placement: Placement = "row_major",
    balance: Balance = False,
    period: PeriodOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Why it is slow, where the energy goes, which constants decide.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="DENSE", help="Dense chip: up to which activity is the event chip cheaper?")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Price a saved trace on a chip: energy, time, where they go. Nothing is simulated again."""
    from neurosim.chip import Chip
    from neurosim.explore import break_even, tornado
    from neurosim.mapping import compile
    from neurosim.pricing import price as price_run
    from neurosim.trace_file import load_trace
    from neurosim.view.documents import run_document
    from neurosim.view.explain import explanation, explanation_document

    period_s, described, recorded = read_quantity(period, "time", "--period"), read_chip(chip, setting), load_trace(trace)
    program = compile(recorded.network, described, recorded, placement, balance=balance, hypothetical=hypothetical)
    report = price_run(recorded, program, period_s=period_s)
    if {"arithmetic.weight_bits", "arithmetic"} & set(described.settings):
        note(f"the run was made with the network's own weights; {described.arithmetic.weight_bits} bit is only what they take in memory")
    bars = tornado(recorded, program, period_s) if explain else ()
    crossings = (break_even(recorded, program, Chip.load(against), period_s=period_s),) if against else ()
    if json_:
        return print_result(run_document(recorded, report) | (explanation_document(bars, crossings) if explain or against else {}))
    from neurosim.view.tables import report_table

    print_result(None, report_table(report), *(explanation(report, bars, crossings) if explain or against else []))


def compare(
    subject: Annotated[str, typer.Argument(metavar="MODEL|TRACE", help="A saved trace, or a model with --inputs.")],
    chips: Annotated[str, typer.Option(metavar="a,b,c", help="Chips of the library or .yaml files.")],
    inputs: Annotated[str | None, typer.Option(metavar="X.npz[:key]")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=A,B,C", help="Chip field and its values; may be repeated (product).")
    ] = None,
    hold: Annotated[str | None, typer.Option(metavar="memory", help="Keep the memory of all cores together as it is in the chip.")] = None,
    objectives: Annotated[
        str,
        typer.Option(metavar="A,B", help="Axes of the front: energy_j, latency_s, answer_s, cores_used, hops, energy_delay_js, area_m2."),
    ] = "energy_j,latency_s,cores_used",
    threshold: Threshold = None,
    thresholds: Thresholds = None,
    numerics: Numerics = "float32",
    hypothetical: Hypothetical = False,
    placement: Placement = "row_major",
    balance: Balance = False,
    period: PeriodOption = None,
    json_: AsJson = False,
) -> None:
    """Compare chips and core configurations on one run: simulated once, priced many times."""
    from neurosim.chip import Chip
    from neurosim.explore import compare as compare_chips
    from neurosim.explore import sweep

    values, period_s = read_settings(setting), read_quantity(period, "time", "--period")
    names = [name.strip() for name in chips.split(",") if name.strip()]
    if not names:
        raise SimulationError("--chips names no chip; `neurosim chips` lists them")
    if hold and not values:
        raise SimulationError("--hold needs a field to vary: --set noc.width=4,8")
    candidates: list[Any] = [row for name in names for row in (sweep(name, values, hold) if values else [({}, Chip.load(name))])]
    needs_all = any(described.kind == "zero_skip" for _, described in candidates)
    recorded = read_trace_or_run(subject, inputs, threshold, thresholds, numerics, "all" if needs_all else "auto")
    again = _simulate_again(recorded, inputs, "all" if needs_all else "auto") if inputs else None
    result = compare_chips(
        recorded,
        candidates,
        hypothetical=hypothetical,
        placement=placement,
        balance=balance,
        period_s=period_s,
        objectives=[name.strip() for name in objectives.split(",") if name.strip()],
        simulate_again=again,
    )
    if json_:
        print_result(result.to_json())
    else:
        from neurosim.view.compare import compare_table

        print_result(None, compare_table(result))
    if not result.fits:
        note("no configuration fits")
        raise typer.Exit(3)


def _simulate_again(recorded: Trace, inputs: str, reference: str) -> Callable[[Chip], Trace]:
    """Runs the network of a run with the weights of a chip's arithmetic."""
    from neurosim.loaders.inputs import load_array
    from neurosim.simulation import simulate
    from neurosim.transforms import quantize

    x = load_array(inputs)

    def run(chip: Chip) -> Trace:
        bits = chip.arithmetic.weight_bits
        if bits is None:
            raise PricingError(f"{chip.name}: arithmetic.weight_bits is null; give a number of bits")
        note(f"simulating again with weights of {bits} bit")
        say_if_compiling()
        with progress_bar("timesteps") as progress:
            return simulate(quantize(recorded.network, bits), x, numerics=recorded.numerics, reference=reference, progress=progress)

    return run


def chips(name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, json_: AsJson = False) -> None:
    """List the chip library, or every parameter of one chip with grade and source."""
    from neurosim.view import chip_library

    if name is None:
        return print_result(chip_library.all_chips_document() if json_ else None, chip_library.all_chips_table())
    print_result(chip_library.chip_document(name) if json_ else None, chip_library.chip_table(name))
