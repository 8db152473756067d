"""Run a study: its tasks on an executor, generation by generation, then the table. May be stopped at any moment and started again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from neurosim.errors import SimulationError
from neurosim.explore.study.claims import Claims, Node
from neurosim.explore.study.executors import dask_pool, process_pool
from neurosim.explore.study.manifest import manifest
from neurosim.explore.study.points import Chunk, Plan, Run, Sources, digest, grid, plan, random_points
from neurosim.explore.study.search import generation
from neurosim.explore.study.spec import Study, contradictions
from neurosim.explore.study.store import Store
from neurosim.explore.study.tasks import do
from neurosim.version import __version__

Progress = Callable[[str, int, int], None]
Task = Run | Chunk
IN_FLIGHT, WINDOW = 8, 64
"""Tasks handed out before the first of them is done: per process of this machine; to an executor of any size."""
ATTEMPTS = 3
"""Times that a pool of processes is started anew after one of them died, without a task done in between."""
POLL_S = 0.5


@dataclass(frozen=True)
class Done:
    """A finished study.

    Parameters
    ----------
    folder : Path
        With ``table.parquet``.
    rows, runs, simulated, priced : int
        Rows of the table, runs behind them, and how many runs and chunks this call did itself.
    """

    folder: Path
    rows: int
    runs: int
    simulated: int
    priced: int


def run_study(
    study: Study,
    folder: str | Path,
    *,
    executor: Executor | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    join: bool = False,
    storage: str | None = None,
    silent_s: float = 60.0,
    progress: Progress | None = None,
) -> Done:
    """Run a study, or go on with one.

    Parameters
    ----------
    study : Study
    folder : str or Path
        Results; an existing folder is continued: what it holds is not done again.
    executor : Executor, optional
        Anything with the interface of `concurrent.futures.Executor` whose workers see the folder; stays open.
    workers : int
        Without an executor: processes of this machine (1: this process itself).
    scheduler : str, optional
        Address of a Dask scheduler, instead.
    join : bool
        Share the work with other processes and machines that run the same study on the same folder.
    storage : str, optional
        With `join`: Optuna's storage, a journal file or the address of a database; by default a journal in the folder.
    silent_s : float
        With `join`: seconds without a sign of life after which the tasks of another process are taken over.
    progress : callable(what, done, total), optional

    Returns
    -------
    Done
        The table has the same bytes for any executor and number of workers.

    Raises
    ------
    NeurosimError
        What is wrong with the study, before anything runs; or what a task raised.
    """
    if problems := contradictions(study):
        raise SimulationError("\n".join(problems))
    if workers < 1:
        raise SimulationError(f"{workers} workers; at least 1 is needed")
    store, sources = Store(Path(folder).resolve()), Sources(study)
    store.prepare(study)
    store.keep_manifest(manifest(study, sources))
    node = Node(store.folder, storage, silent_s) if join else None
    pool: AbstractContextManager[Executor | None] = (
        nullcontext(executor) if executor is not None else dask_pool(scheduler) if scheduler else nullcontext(None))
    work = partial(do, str(store.folder), __version__, sources.digest)
    with pool as given, node.living() if node else nullcontext(), Crew(store, work, given, workers, node, progress or _silent) as crew:
        chunks: list[Chunk] = []
        runs: set[str] = set()
        for each in _plans(store, sources):
            crew.do("runs", each.runs)
            crew.do("rows", each.work)
            chunks += each.chunks
            runs |= {run.key for run in each.runs}
        rows = store.write_table(study, chunks)
    return Done(store.folder, rows, len(runs), crew.n_done["runs"], crew.n_done["rows"])


def _plans(store: Store, sources: Sources) -> Iterator[Plan]:
    """Generations; the next one is made when the last one is done."""
    study = sources.study
    if study.search.kind == "grid":
        yield grid(sources)
    elif study.search.kind == "random":
        yield plan(sources, random_points(study))
    else:
        rows: list[dict[str, Any]] = []
        number = 0
        while points := generation(study, rows, number):
            each = plan(sources, points)
            yield each
            rows += [row for table in store.rows(each.chunks) for row in table.to_pylist()]
            number += 1


class Crew(AbstractContextManager["Crew"]):
    """Does tasks: in this process, on processes that are kept from task to task, on an executor, or together with other nodes."""

    def __init__(self, store: Store, work: Callable[[Task], str], executor: Executor | None, workers: int, node: Node | None,
                 progress: Progress) -> None:
        self._store, self._work, self._executor, self._workers, self._node, self._progress = store, work, executor, workers, node, progress
        self.n_done = {"runs": 0, "rows": 0}
        self._own = ExitStack()
        self._pool: Executor | None = None

    def __exit__(self, *_: object) -> None:
        self._own.close()

    def do(self, what: str, tasks: tuple[Task, ...]) -> None:
        """Do all tasks whose result is not there."""
        size = [len(t.candidates) if isinstance(t, Chunk) else 1 for t in tasks]
        total, found = sum(size), [self._store.is_done(t) for t in tasks]
        done = sum(s for s, there in zip(size, found, strict=True) if there)
        self._progress(what, done, total)
        if all(found):
            return
        source: _Source = _Joined(self._node, self._store, tasks) if self._node else _Alone(
            [i for i, there in enumerate(found) if not there])
        for i in self._results(tasks, source):
            done += size[i]
            self.n_done[what] += 1
            self._progress(what, min(done, total), total)

    def _results(self, tasks: tuple[Task, ...], source: _Source) -> Iterator[int]:
        """Indices of tasks as they are done."""
        if self._executor is not None:
            yield from self._on(self._executor, tasks, source, WINDOW)
        elif self._workers == 1:
            while (i := source.take()) is not None:
                self._work(tasks[i])
                source.settle(i)
                yield i
        else:
            yield from self._on_processes(tasks, source)

    def _on_processes(self, tasks: tuple[Task, ...], source: _Source) -> Iterator[int]:
        """Processes of this machine; new ones where one of them died."""
        window = self._workers if self._node else IN_FLIGHT * self._workers
        attempts = 0
        while attempts < ATTEMPTS:
            self._pool = self._pool or self._own.enter_context(process_pool(self._workers))
            try:
                for i in self._on(self._pool, tasks, source, window):
                    attempts = 0
                    yield i
                return
            except BrokenExecutor:
                self._own.close()
                self._pool, attempts = None, attempts + 1
        raise SimulationError("worker processes died again and again: out of memory (fewer workers), or a script that runs a study "
                              "lacks its line: if __name__ == '__main__':")

    def _on(self, pool: Executor, tasks: tuple[Task, ...], source: _Source, window: int) -> Iterator[int]:
        running: dict[Future[str], int] = {}
        try:
            while True:
                while len(running) < window and (i := source.take(wait=not running)) is not None:
                    running[pool.submit(self._work, tasks[i])] = i
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    i = running.pop(future)
                    source.settle(i)
                    yield i
        finally:
            for future in running:
                future.cancel()
            source.give_back(list(running.values()))


class _Alone:
    """All tasks are ours."""

    def __init__(self, tasks: list[int]) -> None:
        self._left = tasks[::-1]

    def take(self, wait: bool = True) -> int | None:
        """The next task; None where all are taken."""
        return self._left.pop() if self._left else None

    def give_back(self, tasks: list[int]) -> None:
        """Tasks that were taken and not done."""
        self._left += sorted(tasks, reverse=True)

    def settle(self, task: int) -> None:
        """A task is done."""


class _Joined:
    """Tasks are claimed one by one; at the end those of other nodes are waited for.

    A task that fails here stays claimed; once this process has ended another node takes it over, and sees for itself.
    """

    def __init__(self, node: Node, store: Store, tasks: tuple[Task, ...]) -> None:
        self._store, self._tasks = store, tasks
        self._claims: Claims = node.claims(digest([task.key for task in tasks]), len(tasks))
        self._held: dict[int, Any] = {}
        self._again: list[int] = []
        self._missing = list(range(len(tasks)))

    def take(self, wait: bool = True) -> int | None:
        """The next task to do here; None where all are done, or where there is none now and `wait` is false."""
        if self._again:
            return self._again.pop()
        while True:
            claimed = self._claims.take()
            if claimed is not None:
                task, self._held[claimed[0]] = claimed
                if not self._store.is_done(self._tasks[task]):
                    return task
                self.settle(task)
                continue
            self._missing = [i for i in self._missing if not self._store.is_done(self._tasks[i])]
            if not self._missing or not wait:
                return None
            time.sleep(POLL_S)

    def give_back(self, tasks: list[int]) -> None:
        """Tasks that were taken and not done."""
        self._again += tasks

    def settle(self, task: int) -> None:
        """A task is done."""
        self._claims.done(self._held.pop(task))


_Source = _Alone | _Joined


def _silent(what: str, done: int, total: int) -> None:
    pass
