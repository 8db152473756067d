"""export_sb3: a Stable-Baselines3 archive -> a model folder that `check`, `run` and `rollout` take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurosim.errors import LoadError
from neurosim.exporters.archive import open_archive
from neurosim.exporters.model_folder import require_new, write_folder
from neurosim.exporters.sb3_actor import Actor, actor_of
from neurosim.exporters.sb3_data import MAX_DATA, AgentData, read_data
from neurosim.exporters.torch_file import read_state_dict
from neurosim.exporters.vecnormalize import Normalisation, read_vecnormalize

MAX_POLICY = 1 << 30


@dataclass(frozen=True, slots=True)
class Export:
    """What was exported.

    Parameters
    ----------
    folder : Path
    policy : str
        Class of the policy.
    actor : Actor
    normalised : bool
        Whether observations are normalised in the graph.
    env : str or None
    checks, notes : tuple of str
    """

    folder: Path
    policy: str
    actor: Actor
    normalised: bool
    env: str | None
    checks: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``export sb3 --json`` (schema ``neurosim.export/1``)."""
        actor = self.actor
        return {
            "schema": "neurosim.export/1",
            "folder": str(self.folder),
            "policy": self.policy,
            "algorithm": actor.algorithm,
            "input_shape": list(actor.input_shape),
            "output": actor.output,
            "outputs": actor.n_outputs,
            "action": actor.action,
            "activation": actor.activation,
            "activation_from": actor.activation_from,
            "parameters": actor.parameters,
            "normalised": self.normalised,
            "env": self.env,
            "checks": list(self.checks),
            "notes": list(self.notes),
        }


def export_sb3(
    agent: str | Path,
    folder: str | Path,
    *,
    vecnormalize: str | Path | None = None,
    trust_pickle: bool = False,
    raw_observations: bool = False,
    activation: str | None = None,
    channels_last: bool = False,
    env: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    preprocess: str | None = None,
) -> Export:
    """Export the actor of an agent.

    Neither Stable-Baselines3 nor torch is needed, and nothing is unpickled: see
    `neurosim.exporters.inert_pickle`.

    Parameters
    ----------
    agent : path
        What ``model.save`` wrote.
    folder : path
        New folder for policy.onnx and model.yaml.
    vecnormalize : path, optional
        What ``VecNormalize.save`` wrote: its statistics become Sub, Mul, Clip at the head of the graph.
    trust_pickle : bool
        Required beside `vecnormalize`, whose format is a pickle: its figures are taken on trust
        (they decide what the policy sees), its code never runs.
    raw_observations : bool
        Export an agent that was trained behind VecNormalize without its statistics.
    activation : str, optional
        Of hidden layers, where the archive does not say it readably.
    channels_last : bool
        Images come as (height, width, channels), as from the environment before SB3 transposes them.
    env, env_kwargs, preprocess : optional
        For the model card.

    Raises
    ------
    LoadError
        With everything that is refused, and what would help. Nothing is written then.
    """
    agent, folder = Path(agent), Path(folder)
    require_new(folder)
    normalisation = _statistics(vecnormalize, trust_pickle)
    with open_archive(agent) as archive:
        data = read_data(f"{agent}: data", archive.read("data", MAX_DATA))
        weights = read_state_dict(f"{agent}: policy.pth", archive.read("policy.pth", MAX_POLICY))
        notes = _check_normalisation(agent, data, vecnormalize, normalisation, raw_observations)
        actor = actor_of(str(agent), data, weights, normalisation, activation, channels_last)
    if actor.activation_from.startswith("default"):
        notes.append(f"hidden layers use {actor.activation}, the {actor.activation_from}: the archive names no other")
    card = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.resolve().name),
        "description": f"{data.policy} ({actor.algorithm}) of Stable-Baselines3, {actor.parameters:,} parameters, {actor.activation}",
        "env": None if env is None else {"id": env, "kwargs": env_kwargs or {}, "preprocess": preprocess},
        "licence": "",
        "recipe": _recipe(agent, vecnormalize if normalisation else None, activation, channels_last, env),
    }
    checks = write_folder(folder, actor, card)
    return Export(folder, data.policy, actor, normalisation is not None, env, checks, (*notes, *actor.notes))


def _statistics(path: str | Path | None, trusted: bool) -> Normalisation | None:
    if path is None:
        return None
    if not trusted:
        raise LoadError(f"{path}: a pickle. Its numbers would be read as inert data, its code never run, but they decide what the policy "
                        "sees: add --trust-pickle if you know where the file comes from")
    return read_vecnormalize(Path(path))


def _check_normalisation(
    agent: Path, data: AgentData, path: str | Path | None, normalisation: Normalisation | None, raw: bool
) -> list[str]:
    """Refuse to lose statistics in silence; say what is known."""
    if raw and path is not None:
        raise LoadError("--raw-observations and --vecnormalize exclude each other")
    if path is not None:
        return [] if normalisation else [f"{path} normalises rewards only: observations stay as they are"]
    if data.normalised and not raw:
        raise LoadError(f"{agent}: this agent was trained behind VecNormalize, whose statistics are in a file of their own: "
                        "give it with --vecnormalize FILE --trust-pickle, or --raw-observations if only rewards were normalised")
    if data.normalised is None:
        return ["the archive does not say whether observations were normalised (VecNormalize); if they were, give --vecnormalize"]
    return []


def _recipe(agent: Path, vecnormalize: str | Path | None, activation: str | None, channels_last: bool, env: str | None) -> str:
    parts = ["neurosim export sb3", agent.name]
    parts += [f"--vecnormalize {Path(vecnormalize).name} --trust-pickle"] if vecnormalize else []
    parts += [f"--activation {activation}"] if activation else []
    parts += ["--channels-last"] if channels_last else []
    parts += [f"--env {env}"] if env else []
    return " ".join(parts)
