"""tune: Network + environment or recorded inputs -> Tuned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.chip import Chip
from neurosim.control.workers import EnvironmentSpec
from neurosim.errors import SimulationError
from neurosim.explore.tune.claim import claim_error, claim_score
from neurosim.explore.tune.pricer import Pricer
from neurosim.explore.tune.recorded import ErrorTask, Stream
from neurosim.explore.tune.result import Tuned
from neurosim.explore.tune.score import ScoreTask, Seeds
from neurosim.explore.tune.search import SAMPLER, Progress, Trial, front_of, search
from neurosim.explore.tune.space import Space, activation_scales, prunable_layers, require_scales
from neurosim.explore.tune.storage import Storage, optuna_module
from neurosim.network import Network
from neurosim.version import __version__

OBJECTIVES = ("macs", "energy")


def tune(
    network: Network,
    env: str,
    *,
    episodes: int = 20,
    seed: int = 0,
    claim_episodes: int = 200,
    claim_seed: int | None = None,
    min_score: float = 0.95,
    candidates: int = 5,
    objective: str = "macs",
    chip: Chip | None = None,
    hypothetical: bool = False,
    sparsity: bool = False,
    trials: int = 60,
    sampler_seed: int = 0,
    storage: Path | None = None,
    action: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    preprocess: str | None = None,
    numerics: str = "float32",
    baseline: Network | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Tuned:
    """Find thresholds per layer that need least while a policy's score stays above a floor, and prove it on other seeds.

    Equation: score = (R - R_random) / (R_dense - R_random), mean returns on paired seeds; the claim
    holds where the lower end of its paired bootstrap interval reaches `min_score`.

    Parameters
    ----------
    network : Network
        Its thresholds are replaced.
    env, env_kwargs, preprocess, action, numerics : as in `neurosim.rollout`
    episodes, seed : int
        Each trial plays seeds seed, seed + 1, ...
    claim_episodes, claim_seed : int
        Of the claim; by default the seeds after those of the trials.
    min_score : float
        In (0, 1).
    candidates : int
        Settings tested on the claim seeds at most, dearest first, until one fails (fixed sequence).
    objective : {"macs", "energy"}
        Effective MACs per decision, or energy per decision on `chip`.
    sparsity : bool
        Search a sparsity per layer (magnitude pruning without retraining) too.
    trials : int
        In total, those found in `storage` included.
    sampler_seed : int
    storage : Path, optional
        File that is continued when it exists.
    baseline : Network, optional
        Network of the dense policy; by default the same one.
    workers : int
        Processes among which episodes are shared out.
    progress : callable(what, done, total), optional
    say : callable(text), optional
        Told before the search when an independent copy of the dense policy would need more claim episodes.

    Raises
    ------
    NotProved
        Before the search, when the claim episodes are fewer than any proof of the floor needs.
    SimulationError
        For options out of range, overlapping seeds, a storage of another search, or a policy that
        does not match the environment.

    Notes
    -----
    Source of the sampler: Ozaki et al. 2022 (multi-objective tree-structured Parzen estimator), through Optuna.
    """
    pricer = _pricer(network, objective, chip, hypothetical)
    seeds = Seeds(seed, episodes)
    held_out = Seeds(seed + episodes if claim_seed is None else claim_seed, claim_episodes)
    spec = EnvironmentSpec(env, env_kwargs or {}, preprocess)
    task = ScoreTask(network, baseline or network, spec, seeds, held_out, min_score, action=action, numerics=numerics,
                     candidates=candidates, workers=workers, pricer=pricer, say=say)
    return _tuned(task, trials, sampler_seed, sparsity, storage, pricer, progress or _silent)


def tune_recorded(
    network: Network,
    inputs: np.ndarray,
    *,
    resets: np.ndarray | None = None,
    claim_inputs: np.ndarray | None = None,
    claim_resets: np.ndarray | None = None,
    max_error: float | None = None,
    min_agreement: float | None = None,
    candidates: int = 5,
    objective: str = "macs",
    chip: Chip | None = None,
    hypothetical: bool = False,
    sparsity: bool = False,
    trials: int = 60,
    sampler_seed: int = 0,
    storage: Path | None = None,
    numerics: str = "float32",
    baseline: Network | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Tuned:
    """Find thresholds per layer that need least while outputs on recorded inputs stay near those of the dense run.

    Equations: error = ||Y - Y_dense|| / ||Y_dense|| <= max_error; share of inputs with the same
    argmax >= min_agreement; outputs before the decoder.

    Parameters
    ----------
    inputs, claim_inputs : ndarray, (inputs, *network.input.shape)
        Of the trials; held out for the claim (without them nothing is claimed about other inputs).
    resets, claim_resets : ndarray, bool, (inputs,), optional
        True before inputs at which state is cleared.
    max_error, min_agreement : float
        One of them, or both.
    workers : int
        Threads among which a stream is shared out at its resets.
    objective, chip, sparsity, trials, storage and others : as in `tune`

    Raises
    ------
    SimulationError
        For options out of range, inputs that do not fit, a claim on the inputs of the search, or a
        storage of another search.
    """
    pricer = _pricer(network, objective, chip, hypothetical)
    held_out = None if claim_inputs is None else Stream(claim_inputs, claim_resets)
    task = ErrorTask(network, baseline or network, Stream(inputs, resets), held_out, max_error=max_error, min_agreement=min_agreement,
                     numerics=numerics, candidates=candidates, workers=workers, pricer=pricer)
    return _tuned(task, trials, sampler_seed, sparsity, storage, pricer, progress or _silent)


def _pricer(network: Network, objective: str, chip: Chip | None, hypothetical: bool) -> Pricer:
    if objective not in OBJECTIVES:
        raise SimulationError(f"objective {objective!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
    if objective == "energy" and chip is None:
        raise SimulationError("objective energy needs a chip (--chip)")
    if objective == "macs" and chip is not None:
        raise SimulationError(f"objective macs does not use a chip; for energy on {chip.name}: --objective energy")
    return Pricer(network, chip, hypothetical)


def _tuned(
    task: ScoreTask | ErrorTask, trials: int, sampler_seed: int, sparsity: bool, path: Path | None, pricer: Pricer, progress: Progress
) -> Tuned:
    if trials < 1 or sampler_seed < 0:
        raise SimulationError(f"{trials} trials, sampler seed {sampler_seed}; at least 1 trial and a seed of 0 or more are needed")
    network = task.network
    if not network.thresholds:
        raise SimulationError(f"network {network.name!r} sends spikes and values that do not last: it has no thresholds to tune")
    prunable = prunable_layers(network) if sparsity else ()
    settings = {
        "network_sha256": network.sha256,
        "baseline_sha256": task.baseline.sha256,
        **task.settings,
        **_chip_settings(pricer),
        "sparsity": sparsity,
        "sampler_seed": sampler_seed,
    }
    kept = Storage(path, settings, ["minimize", task.better])
    if isinstance(task, ScoreTask):
        task.prepare(kept, progress)
    scales: dict[str, float] = kept.remembered("scales", lambda: activation_scales(network, task.observations()))
    require_scales(scales)
    done = search(task, network, Space(scales, prunable), kept, trials, sampler_seed, progress)
    front: list[Trial] = front_of(done, task.better)
    claim = claim_score(task, done, kept, progress) if isinstance(task, ScoreTask) else claim_error(task, front)
    return Tuned(network, settings, scales, tuple(done), tuple(front), claim, _search_facts(task, kept, progress))


def _chip_settings(pricer: Pricer) -> dict[str, Any]:
    chip = pricer.chip
    return {"objective": "macs" if chip is None else "energy", "chip": chip and chip.name, "chip_settings": chip.settings if chip else {}}


def _search_facts(task: ScoreTask | ErrorTask, kept: Storage, progress: Progress) -> dict[str, Any]:
    versions = {"neurosim": __version__, "optuna": optuna_module().__version__, "numpy": np.__version__}
    facts = {"sampler": SAMPLER, "versions": versions}
    if not isinstance(task, ScoreTask):
        return facts
    return {**facts, **task.yardstick(task.seeds, kept, progress).to_dict(), "copy_of_dense_needs": task.copy_needs}


def _silent(what: str, done: int, total: int) -> None:
    pass
