"""Claims: several nodes work on one study, and each task is done by one of them. Through Optuna's storage.

A claim is an Optuna trial: its number, which the storage gives out once, is the task's place in the plan. A node that
dies leaves its trial running. Nodes show that they live by touching a file of the study's folder; a claim whose node
has been silent for `SILENT_S` is taken over by the one node that can still set it to failed.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from neurosim.errors import LoadError
from neurosim.explore.tune.storage import optuna_module

if TYPE_CHECKING:
    from optuna.trial import Trial

BEAT_S, SILENT_S = 5.0, 60.0
ATTEMPTS = 4
_NODE, _TASK = "node", "task"


class Node:
    """This process as one of several that work on a study.

    Parameters
    ----------
    folder : Path
        Of the study, on a disk that all nodes see.
    storage : str or None
        Address of a database (``postgresql://...``), or the path of a journal file; by default a journal in the folder.
    silent_s : float
        After so many seconds without a sign of life a node is taken for dead.
    """

    def __init__(self, folder: Path, storage: str | None = None, silent_s: float = SILENT_S) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.folder, self.silent_s = folder / "nodes", silent_s
        self._file = self.folder / self.name
        self._optuna, self._storage = optuna_module(), open_storage(storage or str(folder / "claims.journal"))

    @contextmanager
    def living(self) -> Iterator[Node]:
        """Give signs of life while the block runs."""
        self.folder.mkdir(exist_ok=True)
        self._file.touch()
        over = Event()

        def beat() -> None:
            while not over.wait(min(BEAT_S, self.silent_s / 4)):
                self._file.touch()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
            with suppress(OSError):
                self._file.unlink()

    def claims(self, plan: str, n_tasks: int) -> Claims:
        """Claims on the tasks of a plan."""
        study = self._optuna.create_study(storage=self._storage, study_name=f"claims-{plan}", load_if_exists=True,
                                          sampler=self._optuna.samplers.RandomSampler())
        return Claims(self, study, n_tasks)

    def is_silent(self, name: str | None) -> bool:
        """Whether a node has given no sign of life for too long; by the clock of the disk."""
        path = self.folder / (name or "")
        try:
            last = path.stat().st_mtime
        except OSError:
            return True
        return name is None or self._file.stat().st_mtime - last > self.silent_s


class Claims:
    """Claims of one node on the tasks of one plan: 0 .. n - 1."""

    def __init__(self, node: Node, study: Any, n_tasks: int) -> None:
        self._node, self._study, self._n = node, study, n_tasks
        self._fresh = True

    def take(self) -> tuple[int, Trial] | None:
        """A task that nobody has taken yet, or whose node died; None where there is none (now)."""
        if self._fresh:
            trial = self._ask()
            if trial.number < self._n:
                trial.set_user_attr(_TASK, trial.number)
                return trial.number, trial
            self._fresh = False
            self._study.tell(trial, state=self._state.PRUNED)
        return self._taken_over()

    def done(self, trial: Trial) -> None:
        """Say that a task is done."""
        self._study.tell(trial, 0.0)

    @property
    def _state(self) -> Any:
        return self._node._optuna.trial.TrialState

    def _ask(self) -> Trial:
        trial = self._study.ask()
        trial.set_user_attr(_NODE, self._node.name)
        return trial

    def _taken_over(self) -> tuple[int, Trial] | None:
        """The task of a dead node."""
        for dead in self._study.get_trials(deepcopy=False, states=[self._state.RUNNING]):
            if not self._is_dead(dead):
                continue
            try:
                self._study._storage.set_trial_state_values(dead._trial_id, self._state.FAIL)
            except (RuntimeError, KeyError):  # another node was faster
                continue
            task = dead.user_attrs.get(_TASK, dead.number)
            if task < self._n:
                trial = self._ask()
                trial.set_user_attr(_TASK, task)
                return task, trial
        return None

    def _is_dead(self, trial: Any) -> bool:
        name = trial.user_attrs.get(_NODE)
        if name == self._node.name:
            return False
        if name is None:  # taken a moment ago, or its node died before it could say so
            return time.time() - trial.datetime_start.timestamp() > self._node.silent_s
        return self._node.is_silent(name)


def open_storage(address: str) -> Any:
    """An Optuna storage: a database by its address, else a journal file.

    Raises
    ------
    LoadError
        When it cannot be used.
    """
    optuna = optuna_module()
    for attempt in range(ATTEMPTS):
        try:
            if "://" in address:
                return optuna.storages.RDBStorage(address)
            return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(address))
        except Exception as error:  # whatever a database driver raises; nodes that begin together also make its tables together
            if attempt == ATTEMPTS - 1 or "://" not in address:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise LoadError(f"cannot use {address} as storage: {reason}") from None
            time.sleep(1.0)
    raise AssertionError
