"""rollout: Network + environment -> Rollout. The event-driven, the dense and a random policy on the same seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.control.environment import fitting_action, make_environment
from neurosim.control.episodes import Agreement, Played, Progress, play
from neurosim.control.policy import DeltaPolicy, DensePolicy, ExactPolicy, RandomPolicy
from neurosim.control.statistics import distinct_games, mean_interval, paired_difference
from neurosim.control.workers import EnvironmentSpec, Job, play_jobs
from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.simulation.record import MODES
from neurosim.trace import Trace

if TYPE_CHECKING:
    import gymnasium

__all__ = ["DENSE_BY", "Rollout", "play", "rollout"]

DENSE_BY = ("evaluation", "events")


@dataclass(frozen=True, repr=False)
class Rollout:
    """Result of closed-loop episodes.

    Parameters
    ----------
    env_id : str
    seed : int
        Episode i was reset with seed + i, for all policies.
    returns, dense_returns, random_returns : ndarray, float64, (episodes,)
    lengths : ndarray, int64, (episodes,)
        env_steps of the event-driven policy's episodes.
    trace : Trace
        All decisions of the event-driven policy, one timestep each; with ``record="none"`` their sums only.
    action_agreement : float
        Share of its compared decisions in which the dense policy would have done the same on the same
        observation (continuous actions: equal within 1 % of the action range); NaN where none was.
    macs : ndarray, int64, (env_steps,)
        Effective MACs of each decision.
    still : ndarray, bool, (env_steps,)
        Decisions on an observation equal to the one before.
    games, dense_games : ndarray, uint64, (episodes,)
        Digests of actions and rewards: equal ones are the same game played again.
    """

    env_id: str
    seed: int
    returns: np.ndarray
    dense_returns: np.ndarray
    random_returns: np.ndarray
    lengths: np.ndarray
    trace: Trace
    action_agreement: float
    macs: np.ndarray
    still: np.ndarray
    games: np.ndarray
    dense_games: np.ndarray

    def __repr__(self) -> str:
        return (
            f"Rollout({self.env_id}: {len(self.returns)} episodes, mean return {self.returns.mean():,.2f}, dense "
            f"{self.dense_returns.mean():,.2f}, {self.macs_per_decision().mean():,.0f} MACs per decision)"
        )

    def macs_per_decision(self) -> np.ndarray:
        """Effective MACs of each decision, int64 (env_steps,)."""
        return self.macs

    @property
    def still_share(self) -> float:
        """Share of decisions (first of each episode left out) on an observation equal to the one before."""
        return int(self.still.sum()) / max(1, self.still.size - len(self.lengths))

    @property
    def distinct(self) -> np.ndarray:
        """Indices of episodes that no earlier one repeats (event-driven and dense game both), int64, ascending."""
        return distinct_games(self.games, self.dense_games)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``rollout --json`` (schema ``neurosim.rollout/1``)."""
        macs, after_first = self.macs_per_decision(), ~self.trace.first
        worst = int(macs.argmax())
        episode = int(np.cumsum(self.trace.first)[worst]) - 1
        return {
            "schema": "neurosim.rollout/1",
            "env": self.env_id,
            "episodes": len(self.returns),
            "seed": self.seed,
            "network": {"name": self.trace.network.name, "sha256": self.trace.network.sha256},
            "numerics": self.trace.numerics,
            "threshold": self.trace.network.thresholds,
            **_summary(self.returns),
            "dense": _summary(self.dense_returns),
            "random": _summary(self.random_returns),
            "paired": paired_difference(self.returns, self.dense_returns),
            "env_steps": int(self.lengths.sum()),
            "counts": self.trace.totals_by_counter,
            "first_timestep": self.trace.first_totals_by_counter,
            "reduction": self.trace.reduction(),
            "action_agreement": self.action_agreement,
            "still_share": self.still_share,
            "macs_per_changed_decision": float(macs[changed].mean()) if (changed := ~self.still).any() else None,
            "distinct_games": len(self.distinct),
            "worst_step": int(macs[worst]),
            "worst_step_at": {"episode": episode, "env_step": worst - int(self.lengths[:episode].sum())},
            "worst_step_after_first": int(macs[after_first].max()) if after_first.any() else None,
        }


def _summary(returns: np.ndarray) -> dict[str, Any]:
    return {"returns": returns.tolist(), "mean_return": float(returns.mean()), "ci95": list(mean_interval(returns))}


def rollout(
    network: Network,
    env: str | gymnasium.Env,
    *,
    episodes: int = 10,
    seed: int = 0,
    action: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    preprocess: str | None = None,
    numerics: str = "float32",
    baseline: Network | None = None,
    workers: int = 1,
    record: str = "events",
    reference_every: int = 1,
    dense_by: str = "evaluation",
    progress: Progress | None = None,
) -> Rollout:
    """Play episodes with the event-driven policy, and the same seeds with the dense and a random one.

    Parameters
    ----------
    network : Network
        With thresholds set. Its state is cleared whenever the environment resets.
    env : str or gymnasium.Env
        An id is made with `env_kwargs` and `preprocess` (see `make_environment`), and closed at
        the end; an environment that is handed over stays open.
    episodes, seed : int
        Episode i starts with ``env.reset(seed=seed + i)``.
    env_kwargs, preprocess : as in `make_environment`
    numerics : {"float32", "float64"}
        Of the event-driven and the dense policy.
    action : {"argmax", "clip", "identity"}, optional
        How a decoded answer becomes an action; by default from the action space.
    baseline : Network, optional
        Network of the dense policy (say, before pruning); by default the same one.
    workers : int
        Processes (started by ``spawn``) among which the episodes are shared out; `env` is then an
        id. The result is the same for any number. A script that asks for more than one needs
        ``if __name__ == "__main__":``.
    record : {"events", "counts", "none"}
        What the trace keeps of each decision. Pricing needs events (about 1 kB per decision of an
        Atari agent); with ``none`` a decision takes 9 bytes: its MACs and whether it stood still.
    reference_every : int
        Every so many decisions of an episode are also run densely, for zero-skip counts and
        agreement: 1 is all of them, 0 none. A screen takes some milliseconds.
    dense_by : {"evaluation", "events"}
        The dense policy by conventional inference in `numerics`, or by `ExactPolicy`: the same
        function to 13 digits, fast enough for thousands of games.
    progress : callable(policy name, done, total), optional

    Returns
    -------
    Rollout

    Raises
    ------
    SimulationError
        When policy and environment do not match, before the first step; a return is not finite;
        an option is unknown; or an environment that is handed over meets several workers.
    """
    _check_options(episodes, seed, workers, record, reference_every, dense_by, isinstance(env, str))
    own = isinstance(env, str)
    spec = EnvironmentSpec(env, env_kwargs or {}, preprocess) if isinstance(env, str) else None
    world = make_environment(env, env_kwargs, preprocess) if isinstance(env, str) else env
    baseline = baseline or network
    try:
        action = fitting_action(world, [network, baseline], action)
        env_id = world.spec.id if world.spec else type(world.unwrapped).__name__
        jobs = _jobs(network, baseline, action, numerics, record, reference_every, dense_by)
        if spec is None or workers == 1:
            parts = [job.play(world, episodes, seed, progress) for job in jobs]
        else:
            parts = play_jobs(jobs, spec, episodes, seed, workers, progress)
    finally:
        if own:
            world.close()
    return _result(env_id, seed, *parts)


def _check_options(episodes: int, seed: int, workers: int, record: str, reference_every: int, dense_by: str, by_id: bool) -> None:
    if episodes < 1 or seed < 0:
        raise SimulationError(f"{episodes} episodes from seed {seed}; at least 1 episode and a seed of 0 or more are needed")
    if workers < 1 or reference_every < 0:
        raise SimulationError(f"{workers} workers, every {reference_every} decisions; at least 1 worker and 0 or more are needed")
    if workers > 1 and not by_id:
        raise SimulationError(f"{workers} workers make environments of their own: give its id (and env_kwargs, preprocess), or workers=1")
    for name, value, known in (("record", record, MODES), ("dense_by", dense_by, DENSE_BY)):
        if value not in known:
            raise SimulationError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")


def _jobs(network: Network, baseline: Network, action: str, numerics: str, record: str, every: int, dense_by: str) -> list[Job]:
    """The event-driven, the dense and the random policy."""
    delta = partial(DeltaPolicy, network, action=action, numerics=numerics, record=record)
    agreement = partial(Agreement, network, baseline, action=action, every=every) if every else None
    by_evaluation = partial(DensePolicy, baseline, action=action, numerics=numerics)
    dense = by_evaluation if dense_by == "evaluation" else partial(ExactPolicy, baseline, action=action)
    return [Job("event-driven", delta, agreement, network), Job("dense", dense), Job("random", RandomPolicy)]


def _result(env_id: str, seed: int, delta: Played, dense: Played, random: Played) -> Rollout:
    assert delta.trace is not None and delta.macs is not None  # a DeltaPolicy has both
    share = delta.agreed / delta.compared if delta.compared else float("nan")
    returns = (delta.returns, dense.returns, random.returns)
    return Rollout(env_id, seed, *returns, delta.lengths, delta.trace, share, delta.macs, delta.still, delta.games, dense.games)
