"""The closed loop as a task of `tune`: score between the random and the dense policy on paired seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from neurosim.control.environment import fitting_action
from neurosim.control.episodes import Agreement, Played, play_episodes
from neurosim.control.policy import DeltaPolicy, ExactPolicy, Policy, RandomPolicy
from neurosim.control.statistics import (
    CONFIDENCE,
    distinct_games,
    episodes_for,
    episodes_needed,
    expected_low,
    fewest_episodes,
    mean_interval,
    score_interval,
    variance_behind,
)
from neurosim.control.workers import EnvironmentSpec, Job, play_jobs
from neurosim.errors import NotProved, SimulationError
from neurosim.explore.tune.pricer import Pricer
from neurosim.explore.tune.search import Measured, Progress, Trial, measured
from neurosim.explore.tune.space import sample_size
from neurosim.explore.tune.storage import Storage
from neurosim.network import Network

COMPARED_EVERY = 20
"""Every so many decisions of the claim are also run densely, for the zero-skip count and the agreement of actions."""
SCALE_EPISODES = 3
"""Episodes of the dense policy whose observations give the activation scales."""


@dataclass(frozen=True)
class Seeds:
    """Episode i is reset with first + i."""

    first: int
    episodes: int

    def __str__(self) -> str:
        return f"{self.first}..{self.first + self.episodes - 1}"

    def overlaps(self, other: Seeds) -> bool:
        """Whether any seed is in both."""
        return self.first < other.first + other.episodes and other.first < self.first + self.episodes


@dataclass(frozen=True)
class Yardstick:
    """Returns of the dense and the random policy on the same seeds, and digests of the dense policy's games."""

    dense: np.ndarray
    random: np.ndarray
    games: np.ndarray

    def distinct(self, games: np.ndarray) -> np.ndarray:
        """Indices of episodes whose game, with the dense policy's, no earlier one repeats."""
        return distinct_games(games, self.games)

    def to_dict(self) -> dict[str, Any]:
        """Means with 95 % intervals, and the returns."""
        return {
            name: {"mean_return": float(r.mean()), "ci95": list(mean_interval(r)), "returns": r.tolist()}
            for name, r in (("dense", self.dense), ("random", self.random))
        }


class ScoreTask:
    """Minimise the cost of a policy while its score stays above a floor.

    Parameters
    ----------
    network, baseline : Network
        To be tuned; of the dense policy.
    spec : EnvironmentSpec
    seeds, claim_seeds : Seeds
        Of the trials; of the claim. No seed may be in both.
    floor : float
        In (0, 1).
    candidates : int
        Settings that the claim may test at most.
    say : callable(text), optional
        Told before the search what the claim may fail by.

    Raises
    ------
    SimulationError
        When policy and environment do not match, seeds overlap, or an option is out of range.
    """

    better = "maximize"

    def __init__(
        self,
        network: Network,
        baseline: Network,
        spec: EnvironmentSpec,
        seeds: Seeds,
        claim_seeds: Seeds,
        floor: float,
        *,
        action: str | None = None,
        numerics: str = "float32",
        candidates: int = 5,
        workers: int = 1,
        pricer: Pricer,
        say: Callable[[str], None] | None = None,
    ) -> None:
        _check(seeds, claim_seeds, floor, candidates)
        self.network, self.baseline, self.spec, self.seeds, self.claim_seeds = network, baseline, spec, seeds, claim_seeds
        self.floor, self.numerics, self.candidates, self.workers, self._pricer = floor, numerics, candidates, workers, pricer
        self._say = say
        env = spec.make()
        try:
            self.action = fitting_action(env, [network, baseline], action)
        finally:
            env.close()

    @property
    def settings(self) -> dict[str, Any]:
        """What trials depend on."""
        return {
            "constraint": {"kind": "score", "floor": self.floor, "confidence": CONFIDENCE},
            "env": {"id": self.spec.id, "kwargs": self.spec.kwargs, "preprocess": self.spec.preprocess},
            "action": self.action,
            "numerics": self.numerics,
            "episodes": self.seeds.episodes,
            "seed": self.seeds.first,
        }

    def observations(self) -> np.ndarray:
        """Evenly spaced observations of the dense policy on the first search seeds."""
        env = self.spec.make()
        try:
            policy = _Recorder(self._dense_policy(space=env.action_space), sample_size(self.network))
            play_episodes(env, policy, min(SCALE_EPISODES, self.seeds.episodes), self.seeds.first, "dense")
        finally:
            env.close()
        return np.stack(policy.kept)

    def prepare(self, storage: Storage, progress: Progress) -> None:
        """Play the dense and the random policy on the search seeds; refuse a claim that cannot be proved.

        Raises
        ------
        NotProved
            When the claim episodes are fewer than any proof needs; says how many would do.
        """
        needed = fewest_episodes(self.floor)
        if needed > self.claim_seeds.episodes:
            raise NotProved(
                f"{self.claim_seeds.episodes} claim episodes cannot prove a score of {self.floor:g} or more at 95 % confidence: "
                f"a policy that fails in {1 - self.floor:.2%} of its episodes may show no failure in fewer, so any would need {needed:,} "
                f"(--claim-episodes {needed}, or a lower --min-score)"
            )
        self._search = self.yardstick(self.seeds, storage, progress)
        if not self._search.dense.mean() > self._search.random.mean():
            raise SimulationError(
                f"the dense policy's mean return {self._search.dense.mean():.6g} does not exceed the random policy's "
                f"{self._search.random.mean():.6g} on seeds {self.seeds}: no score is defined"
            )
        if self._say and self.copy_needs and self.copy_needs > self.claim_seeds.episodes:
            self._say(
                f"by the spread of {self.seeds.episodes} returns an independent copy of the dense policy would need {self.copy_needs:,} "
                f"claim episodes; {self.claim_seeds.episodes:,} may do for a policy that plays nearly the dense policy's games"
            )

    @property
    def copy_needs(self) -> int | None:
        """Episodes in which an independent copy of the dense policy would be proved, by the spread on the search seeds.

        A policy that plays nearly the dense policy's games may need fewer, one that scores less more.
        """
        return episodes_needed(None, self._search.dense, self._search.random, self.floor)

    def yardstick(self, seeds: Seeds, storage: Storage, progress: Progress) -> Yardstick:
        """The dense and the random policy, played once per storage."""

        def play() -> dict[str, list[Any]]:
            jobs = [Job("dense", self._dense_policy), Job("random", RandomPolicy)]
            played = play_jobs(jobs, self.spec, seeds.episodes, seeds.first, self.workers, progress)
            return {job.name: p.returns.tolist() for job, p in zip(jobs, played)} | {"games": played[0].games.tolist()}

        found = storage.remembered(f"returns on seeds {seeds}", play)
        return Yardstick(np.array(found["dense"]), np.array(found["random"]), np.array(found["games"], np.uint64))

    def measure(self, network: Network, progress: Progress) -> Measured:
        """Play the search seeds."""
        played = self._play(network, self.seeds, progress)
        return self._measured(played, self._search, self.level(0))

    def measure_claim(self, network: Network, yardstick: Yardstick, level: float, progress: Progress) -> tuple[Measured, dict[str, Any]]:
        """Play the claim seeds; with the shares of the reduction."""
        agreement = partial(Agreement, network, self.baseline, action=self.action, every=COMPARED_EVERY)
        played = self._play(network, self.claim_seeds, progress, agreement)
        assert played.trace is not None  # an event-driven policy has one
        shares = {**played.trace.reduction(), "action_agreement": played.agreed / max(1, played.compared)}
        return self._measured(played, yardstick, level), shares

    def shortfall(self, run: Measured) -> float:
        """Floor minus the lower end to be expected of the claim."""
        return min(self.floor - self.expected_low(run), 10.0)

    def expected_low(self, run: Measured) -> float:
        """Lower end that the claim would have, were its score that of the search and its spread too."""
        if run.low is None or not math.isfinite(run.low):
            return -math.inf
        longer = self.claim_seeds.episodes / self.seeds.episodes
        return expected_low(run.value, self._variance(run), (run.distinct or self.seeds.episodes) * longer)

    def expected_need(self, trials: list[Trial]) -> int | None:
        """Games after which the first of the trials is expected to be proved, with the scores and the spread of the search."""
        runs = [t.measured for t in trials if t.measured.low is not None and math.isfinite(t.measured.low)]
        needs = [episodes_for(run.value, self._variance(run), self.floor) for run in runs]
        return min((n for n in needs if n is not None), default=None)

    def _variance(self, run: Measured) -> float:
        """Behind the interval of a trial."""
        return variance_behind(run.value, run.low or 0.0, run.distinct or self.seeds.episodes)

    def level(self, earlier: int) -> float:
        """Confidence of a claim: 95 % for the first; each earlier one on the same storage halves the error that is left."""
        return 1 - (1 - CONFIDENCE) / 2**earlier

    def chosen_candidates(self, trials: list[Trial]) -> list[Trial]:
        """Settings to test on the claim seeds, dearest first.

        Of all trials whose claim is expected to reach the floor, sorted into equal steps of the
        logarithm of the cost, the one with the highest lower end in each step. A lucky cheap trial
        hides dearer ones from the front, but not from here.
        """
        hopeful = [t for t in trials if self.expected_low(t.measured) >= self.floor]
        if not hopeful:
            return []
        costs = np.log([max(t.measured.cost, 1e-15) for t in hopeful])
        steps = np.digitize(costs, np.linspace(costs.min(), costs.max(), self.candidates + 1)[1:-1], right=True)
        best = {step: max((t for t, s in zip(hopeful, steps) if s == step), key=_lower_end_then_cheap) for step in set(steps.tolist())}
        return [best[step] for step in sorted(best, reverse=True)]

    def proves(self, run: Measured, level: float) -> bool:
        """Whether the claim is proved: lower end at the floor, and distinct games enough to have shown rare failures."""
        return run.low is not None and run.low >= self.floor and (run.distinct or 0) >= fewest_episodes(self.floor, level)

    def would_prove(self, run: Measured, yardstick: Yardstick, level: float) -> int | None:
        """Episodes that the claim would need with the score and the spread found; the larger of two estimates.

        `episodes_needed` by the spread of the returns, `episodes_for` by that behind the interval.
        """
        needed = episodes_needed(np.array(run.returns), yardstick.dense, yardstick.random, self.floor, level)
        if needed is None or run.low is None or not math.isfinite(run.low) or not run.distinct:
            return needed
        by_interval = episodes_for(run.value, variance_behind(run.value, run.low, run.distinct, level), self.floor, level)
        return by_interval and max(needed, by_interval)

    @property
    def _dense_policy(self) -> Callable[..., Policy]:
        return partial(ExactPolicy, self.baseline, action=self.action)

    def _play(self, network: Network, seeds: Seeds, progress: Progress, agreement: Callable[..., Agreement] | None = None) -> Played:
        policy = partial(DeltaPolicy, network, action=self.action, numerics=self.numerics, record=self._pricer.record)
        jobs = [Job("event-driven", policy, agreement, network)]
        return play_jobs(jobs, self.spec, seeds.episodes, seeds.first, self.workers, progress)[0]

    def _measured(self, played: Played, yardstick: Yardstick, level: float) -> Measured:
        own = yardstick.distinct(played.games)
        score, low, high = score_interval(played.returns[own], yardstick.dense[own], yardstick.random[own], level)
        if math.isnan(score):  # too few distinct games, or a dense policy that is no better on them
            score, low, high = score_interval(played.returns, yardstick.dense, yardstick.random, level)[0], -math.inf, math.inf
        assert played.trace is not None  # an event-driven policy has one
        more = {"low": low, "high": high, "returns": tuple(float(r) for r in played.returns), "distinct": len(own)}
        return measured(played.trace, self._pricer.report(played.trace), score, **more)


def _lower_end_then_cheap(trial: Trial) -> tuple[float, float]:
    return (-math.inf if trial.measured.low is None else trial.measured.low, -trial.measured.cost)


class _Recorder:
    """Keeps evenly spaced observations of another policy: every k-th, k doubling when there are too many."""

    def __init__(self, inner: Policy, size: int) -> None:
        self._inner, self._size, self._every, self._n = inner, size, 1, 0
        self.kept: list[np.ndarray] = []

    def reset(self, seed: int | None = None) -> None:
        """A new episode."""
        self._inner.reset(seed)

    def act(self, observation: np.ndarray) -> Any:
        """The other policy's action."""
        if self._n % self._every == 0:
            self.kept.append(np.array(observation))
        if len(self.kept) > self._size:
            self.kept, self._every = self.kept[::2], 2 * self._every
        self._n += 1
        return self._inner.act(observation)


def _check(seeds: Seeds, claim_seeds: Seeds, floor: float, candidates: int) -> None:
    for what, s in (("search", seeds), ("claim", claim_seeds)):
        if s.episodes < 2 or s.first < 0:
            raise SimulationError(f"{s.episodes} {what} episodes from seed {s.first}; at least 2 and a seed of 0 or more are needed")
    if seeds.overlaps(claim_seeds):
        raise SimulationError(f"search seeds {seeds} and claim seeds {claim_seeds} overlap: a claim needs seeds that no trial saw")
    if not 0 < floor < 1:
        raise SimulationError(f"a score of {floor:g} cannot be a floor; it must lie between 0 and 1")
    if candidates < 1:
        raise SimulationError(f"{candidates} candidates; at least 1 is needed")
