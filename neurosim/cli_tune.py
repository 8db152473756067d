"""The command `tune`. `neurosim.cli` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurosim.cli_options import AsJson, ChipName, Hypothetical, Model, Numerics, OutputName, Setting
from neurosim.cli_support import (
    note,
    own_baseline,
    print_result,
    progress_bar,
    read_chip,
    read_json_object,
    read_model_card,
    read_network,
    require_writable,
    say_if_compiling,
)
from neurosim.errors import NotProved, SimulationError
from neurosim.whole_file import whole_file

if TYPE_CHECKING:
    from neurosim.explore.tune import Tuned
    from neurosim.model_card import ModelCard
    from neurosim.network import Network

Array = Annotated[str | None, typer.Option(metavar="X.npz:key")]


def tune(
    model: Model,
    env: Annotated[str | None, typer.Option(metavar="ID", help="Gymnasium id (a folder's model.yaml names its own).")] = None,
    env_kwargs: Annotated[str | None, typer.Option(metavar="JSON")] = None,
    preprocess: Annotated[str | None, typer.Option(help="As in rollout.")] = None,
    action: Annotated[str | None, typer.Option(help="argmax, clip or identity (default: by the action space).")] = None,
    episodes: Annotated[int | None, typer.Option(metavar="N", help="Episodes of each trial (default 20).")] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Trials play seeds S, S + 1, ... (default 0).")] = None,
    claim_episodes: Annotated[int | None, typer.Option(metavar="M", help="Episodes of the claim (default 200).")] = None,
    claim_seed: Annotated[int | None, typer.Option(metavar="S2", help="First seed of the claim (default S + N).")] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="0.95", help="Floor of (R - R_random) / (R_dense - R_random), at 95 % confidence.")
    ] = None,
    inputs: Annotated[str | None, typer.Option(metavar="X.npz:key", help="Recorded inputs instead of an environment.")] = None,
    resets: Array = None,
    claim_inputs: Annotated[str | None, typer.Option(metavar="X.npz:key", help="Inputs held out for the claim.")] = None,
    claim_resets: Array = None,
    max_error: Annotated[float | None, typer.Option(metavar="0.02", help="Recorded inputs: largest relative error of the outputs.")] = None,
    min_agreement: Annotated[float | None, typer.Option(metavar="0.99", help="Recorded inputs: least share of equal argmax.")] = None,
    objective: Annotated[str | None, typer.Option(help="macs, or energy (with --chip).")] = None,
    chip: ChipName = None,
    hypothetical: Hypothetical = False,
    setting: Setting = None,
    sparsity: Annotated[bool, typer.Option("--sparsity", help="Search magnitude pruning per layer too.")] = False,
    trials: Annotated[int, typer.Option(metavar="T", help="In total, those in the storage included.")] = 60,
    sampler_seed: Annotated[int, typer.Option(metavar="S")] = 0,
    candidates: Annotated[int, typer.Option(metavar="K", help="Settings that the claim tests at most.")] = 5,
    storage: Annotated[Path | None, typer.Option(metavar="FILE", help="Finished trials; an existing file is continued.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="OUT.yaml", help="Write the thresholds, for --thresholds.")] = None,
    numerics: Numerics = "float32",
    output: OutputName = None,
    baseline: Annotated[str | None, typer.Option(metavar="MODEL", help="Network of the dense policy, if another.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes (inputs: threads) among which episodes are shared out.")] = 1,
    json_: AsJson = False,
) -> None:
    """Find thresholds per layer that need least under a constraint, and prove it on seeds that no trial saw."""
    closed = {
        "--env": env, "--env-kwargs": env_kwargs, "--preprocess": preprocess, "--action": action, "--episodes": episodes, "--seed": seed,
        "--claim-episodes": claim_episodes, "--claim-seed": claim_seed, "--min-score": min_score,
    }  # fmt: skip
    recorded = {
        "--resets": resets, "--claim-inputs": claim_inputs, "--claim-resets": claim_resets, "--max-error": max_error,
        "--min-agreement": min_agreement,
    }  # fmt: skip
    _refuse_mixed(inputs, closed, recorded)
    if chip is None and (setting or hypothetical):
        raise SimulationError("--set and --hypothetical need --chip")
    require_writable(out, storage)
    if out is not None and storage is not None and out.resolve() == storage.resolve():
        raise SimulationError(f"--out and --storage are the same file, {out}: the thresholds would replace the trials")
    card = read_model_card(model)
    network = read_network(model, output, 0.0)
    base = baseline or own_baseline(model, card)
    common: dict[str, Any] = {
        "objective": objective or ("energy" if chip else "macs"), "chip": read_chip(chip, setting) if chip else None,
        "hypothetical": hypothetical, "sparsity": sparsity, "trials": trials, "sampler_seed": sampler_seed, "candidates": candidates,
        "storage": storage, "numerics": numerics, "baseline": read_network(base) if base else None, "workers": workers,
    }  # fmt: skip
    say_if_compiling()
    with progress_bar("trials") as progress:
        common["progress"] = lambda what, done, total: progress(done, total, what)
        result = _closed_loop(network, card, closed, common) if inputs is None else _recorded(network, inputs, recorded, common)
    if out is not None and result.chosen is not None:
        with whole_file(out) as f:
            f.write(result.yaml().encode())
    _print(result, json_)
    if result.chosen is None:
        raise NotProved(result.claim.statement)
    if any(result.chosen.setting.sparsity.values()):
        note("the thresholds belong to the pruned network: prune it in Python, neurosim.prune(network, {layer: sparsity})")


def _refuse_mixed(inputs: str | None, closed: dict[str, Any], recorded: dict[str, Any]) -> None:
    useless = [option for option, value in (closed if inputs else recorded).items() if value is not None]
    if useless:
        why = "inputs are recorded, nothing is played" if inputs else "they belong to recorded inputs (--inputs)"
        raise SimulationError(f"{', '.join(useless)}: {why}")


def _closed_loop(network: Network, card: ModelCard | None, given: dict[str, Any], common: dict[str, Any]) -> Tuned:
    from neurosim.explore.tune import tune as tune_policy

    own = card.env if card and card.env and given["--env"] is None else None
    env_id = given["--env"] or (own.id if own else None)
    if env_id is None:
        raise SimulationError("--env or --inputs is needed: no model.yaml names an environment")
    numbers = {"episodes": "--episodes", "seed": "--seed", "claim_episodes": "--claim-episodes", "min_score": "--min-score"}
    return tune_policy(
        network,
        env_id,
        env_kwargs=read_json_object(given["--env-kwargs"]) if given["--env-kwargs"] else own.kwargs if own else None,
        preprocess=given["--preprocess"] or (own.preprocess if own else None),
        action=given["--action"] or (card.action if card else None),
        claim_seed=given["--claim-seed"],
        say=note,
        **{name: given[option] for name, option in numbers.items() if given[option] is not None},
        **common,
    )


def _recorded(network: Network, inputs: str, given: dict[str, Any], common: dict[str, Any]) -> Tuned:
    from neurosim.explore.tune import tune_recorded
    from neurosim.loaders.inputs import load_array

    if given["--claim-resets"] and not given["--claim-inputs"]:
        raise SimulationError("--claim-resets needs --claim-inputs")
    resets, claim_inputs, claim_resets = (
        load_array(given[option]) if given[option] else None for option in ("--resets", "--claim-inputs", "--claim-resets")
    )
    return tune_recorded(
        network,
        load_array(inputs),
        resets=resets,
        claim_inputs=claim_inputs,
        claim_resets=claim_resets,
        max_error=given["--max-error"],
        min_agreement=given["--min-agreement"],
        **common,
    )


def _print(result: Tuned, json_: bool) -> None:
    if json_:
        return print_result(result.to_dict())
    from neurosim.view.tune import tuned_table

    print_result(None, tuned_table(result))
