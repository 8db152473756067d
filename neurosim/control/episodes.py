"""Playing episodes in one process: what a policy earned, how long it took, and what its decisions cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim import dense
from neurosim.control.policy import DeltaPolicy, Policy, to_action
from neurosim.errors import SimulationError
from neurosim.kernels import layout as at
from neurosim.network import Network
from neurosim.simulation.run import trace_of
from neurosim.trace import Reference, Trace

if TYPE_CHECKING:
    import gymnasium

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Played:
    """Episodes of one policy, in order.

    Parameters
    ----------
    returns : ndarray, float64, (episodes,)
    lengths : ndarray, int64, (episodes,)
        env_steps.
    games : ndarray, uint64, (episodes,)
        Digest of each episode's actions and rewards, and of its first observation where that is
        real-valued: equal ones are the same game played again.
    still : ndarray, bool, (env_steps,)
        Decisions on an observation equal to the one before (the first of an episode never is).
    macs : ndarray, int64, (env_steps,), or None
        Effective MACs of each decision; None for a policy without a simulator.
    trace : Trace or None
    agreed, compared : int
        Decisions that were compared with the dense policy, and those that it would have taken too.
    """

    returns: np.ndarray
    lengths: np.ndarray
    games: np.ndarray
    still: np.ndarray
    macs: np.ndarray | None = None
    trace: Trace | None = None
    agreed: int = 0
    compared: int = 0


def play_episodes(
    env: gymnasium.Env,
    policy: Policy,
    episodes: int,
    seed: int,
    name: str,
    progress: Progress | None = None,
    agreement: Agreement | None = None,
    traced: bool = False,
) -> Played:
    """Play episodes with one policy, reset on the very step on which the environment is.

    Parameters
    ----------
    policy : object with `reset(seed)` and `act(observation)`
    seed : int
        Episode i is reset with seed + i.
    name : str
        For progress and messages.
    agreement : Agreement, optional
        Compares the decisions with those of the dense policy.
    traced : bool
        Keep what a `DeltaPolicy` recorded.

    Raises
    ------
    SimulationError
        When a return is not finite.
    """
    meter = _Meter(policy)
    returns, lengths, games = np.zeros(episodes), np.zeros(episodes, np.int64), np.zeros(episodes, np.uint64)
    for i in range(episodes):
        observation, _ = env.reset(seed=seed + i)
        policy.reset(seed + i)
        meter.start()
        game = hashlib.blake2b(_start(observation), digest_size=8)
        ended = False
        while not ended:
            chosen = policy.act(observation)
            meter.see(observation)
            if agreement is not None:
                agreement.see(observation, chosen)
            observation, reward, terminated, truncated, _ = env.step(chosen)
            game.update(np.asarray(chosen).tobytes() + np.float64(reward).tobytes())
            returns[i] += float(reward)
            lengths[i] += 1
            ended = terminated or truncated
        games[i] = int.from_bytes(game.digest(), "little")
        if agreement is not None:
            agreement.close_episode()
        if progress is not None:
            progress(name, i + 1, episodes)
    if not np.isfinite(returns).all():
        raise SimulationError(f"{name} policy: a return is not finite")
    trace = _trace(policy, lengths, agreement) if traced and isinstance(policy, DeltaPolicy) else None
    agreed, compared = (agreement.agreed, agreement.compared) if agreement else (0, 0)
    return Played(returns, lengths, games, np.array(meter.still, np.bool_), meter.macs(), trace, agreed, compared)


def _start(observation: np.ndarray) -> bytes:
    """What tells starts apart: real values. Screens may differ while the game is the same."""
    values = np.asarray(observation)
    return values.tobytes() if values.dtype.kind == "f" else b""


def play(
    env: gymnasium.Env, policy: Policy, episodes: int, seed: int, name: str, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns, float64 (episodes,), and lengths in env_steps, int64 (episodes,), of `play_episodes`."""
    played = play_episodes(env, policy, episodes, seed, name, progress)
    return played.returns, played.lengths


def _trace(policy: DeltaPolicy, lengths: np.ndarray, agreement: Agreement | None) -> Trace:
    first = np.zeros(int(lengths.sum()), np.bool_)
    first[np.cumsum(lengths) - lengths] = True
    return trace_of(policy.simulator, first, reference=agreement.reference() if agreement else None)


class _Meter:
    """Reads a simulator's counters after each decision, and notes unchanged observations."""

    def __init__(self, policy: Policy) -> None:
        self._simulator = getattr(policy, "simulator", None)
        self._sums: list[int] = [0]
        self._previous: np.ndarray | None = None
        self.still: list[bool] = []

    def start(self) -> None:
        """The next observation is the first of an episode."""
        self._previous = None

    def see(self, observation: np.ndarray) -> None:
        """Note one decision."""
        self.still.append(self._previous is not None and np.array_equal(self._previous, observation))
        self._previous = np.array(observation)
        if self._simulator is not None:
            self._sums.append(int(self._simulator.totals()[1][:, at.C_EFFECTIVE_MACS].sum()))

    def macs(self) -> np.ndarray | None:
        """Effective MACs of each decision."""
        return None if self._simulator is None else np.diff(np.array(self._sums, np.int64))


class Agreement:
    """Runs every `every`-th observation of each episode densely: zero-skip counts, and what the dense policy would have done.

    Parameters
    ----------
    network, baseline : Network
        Of the event-driven policy (zero-skip counts) and of the dense one (actions).
    every : int
        1 compares all decisions; k compares the decisions k // 2, k // 2 + k, ... of each episode. Networks that remember
        are compared in all of them: each of their decisions depends on those before.
    """

    def __init__(self, network: Network, baseline: Network, space: Any, action: str, every: int = 1) -> None:
        self._network, self._baseline, self._space, self._action = network, baseline, space, action
        self._every = every if network.is_memoryless and baseline.is_memoryless else 1
        self._streams = [dense.Stream(network)] + [dense.Stream(baseline)] * (baseline is not network)
        self._chunk = next(dense.chunks(network, 1 << 20)).stop
        self._observations: list[np.ndarray] = []
        self._actions: list[Any] = []
        self._timesteps: list[int] = []
        self._skip: list[np.ndarray] = [np.zeros((0, len(network.layers)), np.int64)]
        self._n = self._in_episode = 0
        self.agreed = self.compared = 0

    def see(self, observation: np.ndarray, action: Any) -> None:
        """Note one decision."""
        if self._in_episode % self._every == self._every // 2:
            self._observations.append(np.array(observation))
            self._actions.append(action)
            self._timesteps.append(self._n)
            if len(self._actions) == self._chunk:
                self._compare()
        self._n += 1
        self._in_episode += 1

    def close_episode(self) -> None:
        """Compare what is left; the next observation is the first of an episode."""
        self._in_episode = 0
        if self._actions:
            self._compare()
        for stream in self._streams:
            stream.clear()

    def _compare(self) -> None:
        observations, before = np.stack(self._observations), self._streams[0].past
        encoded, values, outputs = self._streams[0].run(observations)
        self._skip.append(dense.zero_skip_macs(self._network, encoded, values, before=before))
        if self._baseline is not self._network:
            _, _, outputs = self._streams[1].run(observations)
        for taken, answer in zip(self._actions, outputs):
            self.agreed += self._equal(taken, to_action(self._baseline.decode(answer), self._action, self._space))
        self.compared += len(observations)
        self._observations, self._actions = [], []

    def _equal(self, a: Any, b: Any) -> bool:
        if not hasattr(self._space, "low"):
            return bool(a == b)
        span = np.where(np.isfinite(self._space.high - self._space.low), self._space.high - self._space.low, 1.0)
        return bool((np.abs(np.asarray(a, np.float64) - b) <= 0.01 * span).all())

    def reference(self) -> Reference:
        """Zero-skip counts of the compared decisions; outputs are compared as actions, not as errors."""
        return _reference(np.array(self._timesteps, np.int64), np.concatenate(self._skip), self.agreed, self._every == 1)


def _reference(timesteps: np.ndarray, skip: np.ndarray, agreed: int, complete: bool) -> Reference:
    nothing = float("nan")
    return Reference(timesteps, skip, nothing, nothing, agreed / timesteps.size if timesteps.size else nothing, complete)


def join(parts: list[Played]) -> Played:
    """Episodes that were played apart, one after the other: what one process would have returned."""
    if len(parts) == 1:
        return parts[0]
    agreed, compared = sum(p.agreed for p in parts), sum(p.compared for p in parts)
    macs = [p.macs for p in parts if p.macs is not None]
    traces = [p.trace for p in parts if p.trace is not None]
    return Played(
        returns=np.concatenate([p.returns for p in parts]),
        lengths=np.concatenate([p.lengths for p in parts]),
        games=np.concatenate([p.games for p in parts]),
        still=np.concatenate([p.still for p in parts]),
        macs=np.concatenate(macs) if macs else None,
        trace=_join_traces(traces, agreed) if traces else None,
        agreed=agreed,
        compared=compared,
    )


def _join_traces(traces: list[Trace], agreed: int) -> Trace:
    """The trace of parts of a stream, one after the other."""
    starts, n_events = [np.zeros(1, np.int64)], 0
    for trace in traces:
        starts.append(trace.event_start[1:] + n_events)
        n_events += int(trace.event_start[-1])
    summed = {
        name: sum(getattr(t, name) for t in traces)
        for name in ("n_timesteps", "n_recorded", "input_events", "first_input_events", "totals", "first_totals")
    }
    return replace(
        traces[0],
        **summed,
        first=np.concatenate([t.first for t in traces]),
        event_start=np.concatenate(starts),
        event_element=np.concatenate([t.event_element for t in traces]),
        counts=_all_or_none([t.counts for t in traces]),
        input_counts=_all_or_none([t.input_counts for t in traces]),
        reference=_join_references(traces, agreed),
    )


def _all_or_none(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    return None if arrays[0] is None else np.concatenate([a for a in arrays if a is not None])


def _join_references(traces: list[Trace], agreed: int) -> Reference | None:
    references = [t.reference for t in traces if t.reference is not None]
    if not references:
        return None
    offsets = np.cumsum([0] + [t.n_timesteps for t in traces[:-1]])
    timesteps = np.concatenate([r.timesteps + offset for r, offset in zip(references, offsets)])
    return _reference(timesteps, np.concatenate([r.zero_skip_macs for r in references]), agreed, references[0].complete)
