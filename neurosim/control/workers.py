"""Episodes shared out among processes. Environments hold Python's lock, so threads would not help.

Processes are started by ``spawn`` on every system: each begins with a fresh interpreter, shares
nothing, and loads the compiled kernels from this machine's cache. They are kept for further calls.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.control.environment import make_environment
from neurosim.control.episodes import Agreement, Played, Progress, join, play_episodes
from neurosim.control.policy import Policy
from neurosim.errors import SimulationError
from neurosim.network import Network

if TYPE_CHECKING:
    import gymnasium

BLOCKS_PER_WORKER = 4
"""Episodes differ in length: so many blocks per worker and policy keep all of them busy to the end."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """How to make an environment, in any process (see `make_environment`)."""

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    preprocess: str | None = None

    def make(self) -> gymnasium.Env:
        """A new environment."""
        return make_environment(self.id, self.kwargs, self.preprocess)


@dataclass(frozen=True)
class Job:
    """One policy to be played.

    Parameters
    ----------
    name : str
    make_policy : callable(space=...) -> Policy
        Picklable: a class, or a `functools.partial` of one.
    make_agreement : callable(space=...) -> Agreement, optional
    network : Network, optional
        Of a `DeltaPolicy` whose trace is kept.
    """

    name: str
    make_policy: Callable[..., Policy]
    make_agreement: Callable[..., Agreement] | None = None
    network: Network | None = None

    def play(self, env: gymnasium.Env, episodes: int, seed: int, progress: Progress | None = None) -> Played:
        """Play in this process."""
        agreement = self.make_agreement(space=env.action_space) if self.make_agreement else None
        policy = self.make_policy(space=env.action_space)
        return play_episodes(env, policy, episodes, seed, self.name, progress, agreement, traced=self.network is not None)


def play_jobs(
    jobs: list[Job], spec: EnvironmentSpec, episodes: int, seed: int, workers: int = 1, progress: Progress | None = None
) -> list[Played]:
    """Play all jobs on the same seeds, shared out among processes.

    Parameters
    ----------
    spec : EnvironmentSpec
    seed : int
        Episode i of each job is reset with seed + i.
    workers : int
        Processes; the results are the same for any number.
    progress : callable(name, done, total), optional

    Raises
    ------
    SimulationError
        As raised in a worker; or when a worker died.
    """
    if workers < 1:
        raise SimulationError(f"{workers} workers; at least 1 is needed")
    if workers == 1 or episodes * len(jobs) == 1:
        env = spec.make()
        try:
            return [job.play(env, episodes, seed, progress) for job in jobs]
        finally:
            env.close()
    try:
        with _published(jobs, spec) as path, _pool(workers) as pool:
            blocks = _blocks(episodes, BLOCKS_PER_WORKER * workers)
            futures = [[pool.submit(_play_block, path, i, len(block), seed + block.start) for block in blocks] for i in range(len(jobs))]
            return [_gather(job, parts, blocks, progress) for job, parts in zip(jobs, futures)]
    except BrokenProcessPool:
        raise SimulationError(
            f"one of {workers} worker processes died: out of memory (fewer workers, record='none'), "
            "or a script that plays with workers lacks its line: if __name__ == '__main__':"
        ) from None


def _blocks(episodes: int, n: int) -> list[range]:
    """Consecutive episodes, in at most n blocks of nearly equal size."""
    n = min(n, episodes)
    edges = [i * episodes // n for i in range(n + 1)]
    return [range(a, b) for a, b in zip(edges, edges[1:])]


def _gather(job: Job, futures: list[Future], blocks: list[range], progress: Progress | None) -> Played:
    parts: list[Played] = []
    for future, block in zip(futures, blocks):
        parts.append(future.result())
        if progress is not None:
            progress(job.name, block.stop, blocks[-1].stop)
    joined = join(parts)
    if joined.trace is None or job.network is None:
        return joined
    return replace(joined, trace=replace(joined.trace, network=job.network))  # workers do not send it back


@contextmanager
def _published(jobs: list[Job], spec: EnvironmentSpec) -> Iterator[str]:
    """Jobs in a file that each worker reads once, instead of with every block."""
    handle, path = tempfile.mkstemp(prefix="neurosim-jobs-")
    try:
        with os.fdopen(handle, "wb") as f:
            pickle.dump((jobs, spec), f, pickle.HIGHEST_PROTOCOL)
        yield path
    finally:
        Path(path).unlink(missing_ok=True)


_pools: dict[int, ProcessPoolExecutor] = {}


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that outlive the call; after an error new ones are started next time."""
    pool = _pools.pop(workers, None) or ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    _pools[workers] = pool


@lru_cache(maxsize=1)
def _read(path: str) -> tuple[list[Job], EnvironmentSpec, gymnasium.Env]:
    """Jobs, and an environment for all of their blocks that this process plays."""
    jobs, spec = pickle.loads(Path(path).read_bytes())  # written by this program's parent process a moment ago
    return jobs, spec, spec.make()


def _play_block(path: str, job: int, episodes: int, seed: int) -> Played:
    jobs, _, env = _read(path)
    played = jobs[job].play(env, episodes, seed)
    return played if played.trace is None else replace(played, trace=replace(played.trace, network=None))  # type: ignore[arg-type]
