"""`neurosim export`: archives, networks and priced runs as files for other tools. `neurosim.cli` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurosim.cli_options import AsJson, Balance, Hypothetical, Model, Placement, Setting
from neurosim.cli_support import guarded, note, print_result, read_chip, read_json_object, require_writable
from neurosim.errors import LoadError, SimulationError

if TYPE_CHECKING:
    from neurosim.exporters import Export

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Export agents as model folders, networks as NIR, priced runs as timelines."
)


@app.callback()
def _export() -> None:
    pass


@app.command("sb3")
@guarded
def sb3(
    agent: Annotated[Path, typer.Argument(metavar="AGENT.zip", help="What model.save(...) of Stable-Baselines3 wrote.")],
    folder: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="New folder for policy.onnx and model.yaml.")],
    vecnormalize: Annotated[Path | None, typer.Option(metavar="FILE", help="Statistics that VecNormalize.save wrote.")] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Take the figures in --vecnormalize, a pickle, on trust; its code never runs.")
    ] = False,
    raw_observations: Annotated[
        bool, typer.Option("--raw-observations", help="Export without the statistics of an agent trained behind VecNormalize.")
    ] = False,
    env: Annotated[str | None, typer.Option(metavar="ID", help="Gymnasium id, for model.yaml; checked where it can be made.")] = None,
    env_kwargs: Annotated[str | None, typer.Option(metavar="JSON")] = None,
    preprocess: Annotated[str | None, typer.Option(help="atari, atari_fire or time_feature, as for rollout.")] = None,
    activation: Annotated[str | None, typer.Option(metavar="NAME", help="Of hidden layers, where the archive does not say it.")] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Images come as height, width, channels; the graph transposes them.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Export the actor of a Stable-Baselines3 agent. Nothing is unpickled; neither torch nor Stable-Baselines3 is needed."""
    from neurosim.exporters import export_sb3

    if env is None and (env_kwargs or preprocess):
        raise SimulationError("--env-kwargs and --preprocess need --env")
    if preprocess not in (None, "atari", "atari_fire", "time_feature"):
        raise SimulationError(f"--preprocess {preprocess!r} is unknown; atari, atari_fire and time_feature are known")
    result = export_sb3(
        agent,
        folder,
        vecnormalize=vecnormalize,
        trust_pickle=trust_pickle,
        raw_observations=raw_observations,
        activation=activation,
        channels_last=channels_last,
        env=env,
        env_kwargs=read_json_object(env_kwargs) if env_kwargs else None,
        preprocess=preprocess,
    )
    misfit = _misfit(result, env_kwargs, preprocess)
    if json_:
        return print_result(result.to_dict() | {"env_misfit": misfit})
    actor = result.actor
    typer.echo(
        f"{result.folder}: {result.policy} ({actor.algorithm}), input obs {actor.input_shape}, output {actor.output} "
        f"({actor.n_outputs},), {actor.parameters:,} parameters, {actor.activation} ({actor.activation_from}), action {actor.action}"
    )
    for text in (*(f"checked: {c}" for c in result.checks), *(f"note: {n}" for n in (*result.notes, *([misfit] if misfit else [])))):
        note(text)
    note(f"next: neurosim check {result.folder}" + (f"; neurosim rollout {result.folder}" if env and not misfit else ""))


@app.command("nir")
@guarded
def nir(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.nir", help="File to write.")],
    dt: Annotated[float, typer.Option("--dt", metavar="SECONDS", help="Length of a timestep.")] = 1e-4,
) -> None:
    """Write a network as a NIR file, as far as NIR can express it."""
    from neurosim.exporters.nir import export_nir
    from neurosim.loaders import load

    path = export_nir(load(model), out, dt)
    typer.echo(f"{path}")
    note(f"next: neurosim check {path} --dt {dt:g}")


@app.command("perfetto")
@guarded
def perfetto(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="What run --trace wrote.")],
    chip: Annotated[str, typer.Option("--chip", metavar="C", help="Chip of the library or a .yaml file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.perfetto-trace", help="File to write.")],
    first: Annotated[int, typer.Option(metavar="N", help="First timestep that is drawn.")] = 0,
    timesteps: Annotated[int, typer.Option(metavar="M", help="Timesteps that are drawn.")] = 200,
    flows: Annotated[int, typer.Option(metavar="N", help="Arrows between cores per timestep, at most: those of most messages.")] = 64,
    setting: Setting = None,
    hypothetical: Hypothetical = False,
    placement: Placement = "row_major",
    balance: Balance = False,
) -> None:
    """Write a priced run as a timeline for ui.perfetto.dev: what every core does in every timestep."""
    from neurosim.mapping import compile
    from neurosim.trace_file import load_trace
    from neurosim.view.timeline import timeline
    from neurosim.whole_file import whole_file

    require_writable(out)
    described, recorded = read_chip(chip, setting), load_trace(trace)
    program = compile(recorded.network, described, recorded, placement, balance=balance, hypothetical=hypothetical)
    drawn = timeline(recorded, program, first=first, timesteps=timesteps, flows_per_timestep=flows)
    with whole_file(out) as file:
        file.write(drawn)
    typer.echo(f"{out}")
    note("next: open it at https://ui.perfetto.dev; the name of the first track says in which unit times are shown")


def _misfit(result: Export, env_kwargs: str | None, preprocess: str | None) -> str | None:
    """Why the exported network cannot play the environment as it is, if it cannot."""
    if result.env is None:
        return None
    from neurosim.control.environment import check_fit, make_environment
    from neurosim.loaders import load

    try:
        network = load(result.folder)
        world = make_environment(result.env, read_json_object(env_kwargs) if env_kwargs else None, preprocess)
    except (LoadError, SimulationError) as error:
        return f"not tried in {result.env}: {error}"
    try:
        check_fit(network, world, result.actor.action)
    except SimulationError as error:
        return str(error)
    finally:
        world.close()
    return None
