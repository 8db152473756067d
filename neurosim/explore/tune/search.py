"""The search of `tune`: trials, their front, and Optuna's sampler. Two objectives: cost against score or error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from neurosim import counters
from neurosim.explore.pareto import front
from neurosim.explore.tune.space import Setting, Space
from neurosim.explore.tune.storage import Storage, optuna_module
from neurosim.network import Network
from neurosim.trace import Trace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from neurosim.report import Report

Progress = Callable[[str, int, int], None]
SAMPLER = "ladder, then by turns Optuna TPE (multivariate, two objectives, constrained) and neighbours of the cheapest kept trial"


@dataclass(frozen=True)
class Measured:
    """What one run of a setting costs and how well it does.

    Parameters
    ----------
    macs, all_ops : float
        Effective MACs and ACs, and all operations, per timestep (decision).
    layers : dict
        Layer -> effective MACs and ACs per timestep.
    timesteps : int
    energy_j : float or None
        Per timestep; None without a chip.
    energy_complete : bool or None
        Whether the chip file prices everything.
    value : float
        Score (closed loop) or error (recorded inputs).
    low, high : float or None
        Interval of the score.
    agreement : float or None
        Share of recorded inputs with the dense run's argmax.
    returns : tuple of float
        Of all episodes; closed loop only.
    distinct : int or None
        Episodes of which score and interval are made: those in which neither this nor the dense
        policy's game is a repetition of earlier ones.
    """

    macs: float
    all_ops: float
    layers: dict[str, float]
    timesteps: int
    energy_j: float | None
    energy_complete: bool | None
    value: float
    low: float | None = None
    high: float | None = None
    agreement: float | None = None
    returns: tuple[float, ...] = ()
    distinct: int | None = None

    @property
    def cost(self) -> float:
        """Energy where a chip is given, else effective MACs."""
        return self.macs if self.energy_j is None else self.energy_j

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"returns": list(self.returns)}


def measured(trace: Trace, report: Report | None, value: float, **more: Any) -> Measured:
    """Costs of a run beside its score or error."""
    n, total = trace.n_timesteps, trace.totals_by_counter
    return Measured(
        macs=(total["effective_macs"] + total["effective_acs"]) / n,
        all_ops=counters.all_ops(total) / n,
        layers={
            layer.name: (row["effective_macs"] + row["effective_acs"]) / n for layer, row in zip(trace.network.layers, trace.layer_counts())
        },
        timesteps=n,
        energy_j=report.energy.per_timestep_j if report else None,
        energy_complete=report.energy.complete if report else None,
        value=value,
        **more,
    )


def from_dict(data: dict[str, Any]) -> Measured:
    """The inverse of `Measured.to_dict`."""
    return Measured(**data | {"returns": tuple(data["returns"])})


@dataclass(frozen=True)
class Trial:
    """One setting and its run on the search seeds or inputs."""

    number: int
    setting: Setting
    measured: Measured

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"trial": self.number, **asdict(self.setting), **self.measured.to_dict()}


class Task(Protocol):
    """What is tuned for: runs a network, and says how far it is from the constraint."""

    better: str

    def measure(self, network: Network, progress: Progress) -> Measured:
        """Run a network on the search seeds or inputs."""

    def shortfall(self, run: Measured) -> float:
        """How much the search misses the constraint; 0 or less when it holds."""


def search(task: Task, network: Network, space: Space, storage: Storage, trials: int, seed: int, progress: Progress) -> list[Trial]:
    """Continue a search to `trials` trials in total.

    First the ladder of the space; then by turns a neighbour of the cheapest trial that keeps the
    constraint, and a suggestion of Optuna's sampler. Both are seeded by `seed` and the number of the
    trial and know finished trials only, so a search that was interrupted, and went on, equals one
    that was not.
    """
    study = _study_in_memory(storage, task.better)
    ladder, distributions = space.ladder(), space.distributions()
    for i in range(len(study.trials), trials):
        study.sampler = _sampler(seed, i, len(ladder), task)
        given = ladder[i] if i < len(ladder) else _near_the_best(study.trials, task, space, seed, i) if i % 2 else None
        if given is not None:
            study.enqueue_trial(given)
        trial = study.ask(distributions)
        run = task.measure(space.setting(trial.params).apply(network), progress)
        trial.set_user_attr("measured", run.to_dict())
        study.tell(trial, [_logarithm(run.cost), run.value])
        storage.add(study.trials[-1])
        progress("trials", i + 1, trials)
    return [
        Trial(i, space.setting(trial.params), from_dict(trial.user_attrs["measured"]))
        for i, trial in enumerate(storage.trials[:trials])
    ]


def _near_the_best(trials: list[FrozenTrial], task: Task, space: Space, seed: int, number: int) -> dict[str, float] | None:
    """A neighbour of the cheapest trial that keeps the constraint; None where no trial does."""
    runs = [from_dict(trial.user_attrs["measured"]) for trial in trials]
    kept = [(run.cost, i) for i, run in enumerate(runs) if task.shortfall(run) <= 0]
    return space.neighbour(trials[min(kept)[1]].params, np.random.default_rng([seed, number])) if kept else None


def _study_in_memory(storage: Storage, better: str) -> Any:
    optuna = optuna_module()
    study = optuna.create_study(directions=["minimize", better], sampler=optuna.samplers.RandomSampler())
    study.add_trials(storage.trials)
    return study


def _sampler(seed: int, number: int, startup: int, task: Task) -> Any:
    def constraints(trial: FrozenTrial) -> tuple[float]:
        return (task.shortfall(from_dict(trial.user_attrs["measured"])),)

    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # multivariate is called experimental, constraints_func old: both mean the same from Optuna 4 on
        return optuna_module().samplers.TPESampler(
            n_startup_trials=startup, multivariate=True, constraints_func=constraints, seed=own_seed
        )


def _logarithm(cost: float) -> float:
    return math.log10(max(cost, 1e-15))


def front_of(trials: list[Trial], better: str) -> list[Trial]:
    """Trials that no other beats in cost and in score or error; cheapest first, one per point."""
    sign = -1 if better == "maximize" else 1
    points = [(t.measured.cost, sign * t.measured.value) for t in trials]
    unique = {points[i]: trials[i] for i in reversed(front(points))}
    return [unique[point] for point in sorted(unique)]
