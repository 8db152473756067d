"""rollout: Network + environment -> Rollout. The event-driven, the dense and a random policy on the same seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim import dense
from neurosim.control.environment import check_fit, default_action, make_environment
from neurosim.control.policy import ACTIONS, DeltaPolicy, DensePolicy, RandomPolicy, to_action
from neurosim.control.statistics import mean_interval, paired_difference
from neurosim.errors import SimulationError
from neurosim.kernels import layout as at
from neurosim.network import Network
from neurosim.simulation.run import trace_of
from neurosim.trace import Reference, Trace

if TYPE_CHECKING:
    import gymnasium

Progress = Callable[[str, int, int], None]


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
        All decisions of the event-driven policy, one timestep each.
    action_agreement : float
        Share of its decisions in which the dense policy would have done the same on the same
        observation (continuous actions: equal within 1 % of the action range).
    still_share : float
        Share of decisions (first of each episode left out) on an observation equal to the one before.
    """

    env_id: str
    seed: int
    returns: np.ndarray
    dense_returns: np.ndarray
    random_returns: np.ndarray
    lengths: np.ndarray
    trace: Trace
    action_agreement: float
    still_share: float

    def __repr__(self) -> str:
        return (
            f"Rollout({self.env_id}: {len(self.returns)} episodes, mean return {self.returns.mean():,.2f}, dense "
            f"{self.dense_returns.mean():,.2f}, {self.macs_per_decision().mean():,.0f} MACs per decision)"
        )

    def macs_per_decision(self) -> np.ndarray:
        """Effective MACs of each decision, int64 (env_steps,)."""
        counts = self.trace.counts
        assert counts is not None  # rollouts always record
        return counts[:, :, at.C_EFFECTIVE_MACS].sum(axis=1, dtype=np.int64)

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
    progress : callable(policy name, done, total), optional

    Returns
    -------
    Rollout

    Raises
    ------
    SimulationError
        When policy and environment do not match, before the first step; or a return is not finite.
    """
    if episodes < 1 or seed < 0:
        raise SimulationError(f"{episodes} episodes from seed {seed}; at least 1 episode and a seed of 0 or more are needed")
    own = isinstance(env, str)
    env = make_environment(env, env_kwargs, preprocess) if isinstance(env, str) else env
    try:
        action = action or default_action(env, network)
        if action not in ACTIONS:
            raise SimulationError(f"action {action!r} is unknown; choose one of {', '.join(ACTIONS)}")
        check_fit(network, env, action)
        check_fit(baseline or network, env, action)
        delta = DeltaPolicy(network, env.action_space, action, numerics=numerics)
        agreement = _Agreement(network, baseline or network, env.action_space, action)
        returns, lengths = play(env, delta, episodes, seed, "event-driven", progress, agreement)
        dense_returns, _ = play(
            env, DensePolicy(baseline or network, env.action_space, action, numerics=numerics), episodes, seed, "dense", progress
        )
        random_returns, _ = play(env, RandomPolicy(env.action_space), episodes, seed, "random", progress)
    finally:
        if own:
            env.close()
    first = np.zeros(int(lengths.sum()), np.bool_)
    first[np.cumsum(lengths) - lengths] = True
    trace = trace_of(delta.simulator, first, reference=agreement.reference())
    env_id = env.spec.id if env.spec else type(env.unwrapped).__name__
    return Rollout(env_id, seed, returns, dense_returns, random_returns, lengths, trace, agreement.share, agreement.still_share)


def play(
    env: gymnasium.Env,
    policy: DeltaPolicy | DensePolicy | RandomPolicy,
    episodes: int,
    seed: int,
    name: str,
    progress: Progress | None = None,
    watcher: _Agreement | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Play episodes with one policy, reset on the very step on which the environment is.

    Parameters
    ----------
    policy : object with `reset(seed)` and `act(observation)`
    seed : int
        Episode i is reset with seed + i.

    Returns
    -------
    returns : float64, (episodes,)
    lengths : int64, (episodes,)
        env_steps.
    """
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    for i in range(episodes):
        observation, _ = env.reset(seed=seed + i)
        policy.reset(seed + i)
        ended = False
        while not ended:
            chosen = policy.act(observation)
            if watcher is not None:
                watcher.see(observation, chosen)
            observation, reward, terminated, truncated, _ = env.step(chosen)
            returns[i] += float(reward)
            lengths[i] += 1
            ended = terminated or truncated
        if watcher is not None:
            watcher.close_episode()
        if progress is not None:
            progress(name, i + 1, episodes)
    if not np.isfinite(returns).all():
        raise SimulationError(f"{name} policy: a return is not finite")
    return returns, lengths


class _Agreement:
    """Watches the event-driven policy and runs its observations densely, an episode at a time."""

    def __init__(self, network: Network, baseline: Network, space: Any, action: str) -> None:
        self._network, self._baseline, self._space, self._action = network, baseline, space, action
        self._observations: list[np.ndarray] = []
        self._actions: list[Any] = []
        self._skip: list[np.ndarray] = []
        self._n = self._same = self._still = self._pairs = 0

    def see(self, observation: np.ndarray, action: Any) -> None:
        self._observations.append(np.array(observation))
        self._actions.append(action)

    def close_episode(self) -> None:
        observations = np.stack(self._observations)
        for part in dense.chunks(self._network, len(observations)):
            encoded, values, outputs = dense.evaluate(self._network, observations[part])
            self._skip.append(dense.zero_skip_macs(self._network, encoded, values))
            if self._baseline is not self._network:
                _, _, outputs = dense.evaluate(self._baseline, observations[part])
            for taken, answer in zip(self._actions[part], outputs):
                self._same += self._equal(taken, to_action(self._baseline.decode(answer), self._action, self._space))
        flat = observations.reshape(len(observations), -1)
        self._still += int((flat[1:] == flat[:-1]).all(axis=1).sum())
        self._pairs += len(flat) - 1
        self._n += len(flat)
        self._observations, self._actions = [], []

    def _equal(self, a: Any, b: Any) -> bool:
        if not hasattr(self._space, "low"):
            return bool(a == b)
        span = np.where(np.isfinite(self._space.high - self._space.low), self._space.high - self._space.low, 1.0)
        return bool((np.abs(np.asarray(a, np.float64) - b) <= 0.01 * span).all())

    @property
    def share(self) -> float:
        return self._same / self._n

    @property
    def still_share(self) -> float:
        return self._still / max(1, self._pairs)

    def reference(self) -> Reference:
        """Zero-skip counts of all decisions; outputs are compared as actions, not as errors."""
        nothing = float("nan")
        return Reference(np.arange(self._n), np.concatenate(self._skip), nothing, nothing, self.share, complete=True)
