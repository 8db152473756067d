"""The storage of `tune`: finished trials, the settings they belong to, and what need not be played twice, in one file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.errors import LoadError, SimulationError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STUDY = "neurosim.tune"
_SETTINGS, _DONE = "settings", "done"


def optuna_module() -> Any:
    """Optuna, quiet.

    Raises
    ------
    SimulationError
        When it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise SimulationError("tune needs optuna (pip install 'neurosim-chip[tune]')") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Storage:
    """An Optuna study in a journal file; only finished trials are written, so a run may be killed at any time.

    Parameters
    ----------
    path : Path or None
        None keeps everything in memory.
    settings : dict
        What the trials depend on, plain JSON values; must equal the settings found in the file.
    directions : list of str

    Raises
    ------
    LoadError
        When the file is not such a storage.
    SimulationError
        When it was made with other settings; each difference is named.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any], directions: list[str]) -> None:
        optuna = optuna_module()
        self._optuna = optuna
        try:
            unused = optuna.samplers.RandomSampler()
            self._study = optuna.create_study(
                storage=_journal(path), study_name=STUDY, directions=directions, load_if_exists=True, sampler=unused
            )
        except OSError as error:
            raise LoadError(f"cannot use {path} as storage: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise LoadError(f"{path} is not a storage of tune: {error}") from None
        objectives = len(self._study.directions)
        if objectives != len(directions):
            raise LoadError(f"{path} is not a storage of tune: objectives of its study: {objectives}, not {len(directions)}")
        found = self._study.user_attrs.get(_SETTINGS)
        if found is None and self._study.trials:
            raise LoadError(f"{path} is not a storage of tune: its study names no settings")
        if found is None:
            self._study.set_user_attr(_SETTINGS, settings)
        elif found != settings:
            raise SimulationError(f"{path} belongs to another search: {_differences(found, settings)}; choose another --storage")

    @property
    def trials(self) -> list[FrozenTrial]:
        """Finished trials, oldest first."""
        return self._study.get_trials(deepcopy=False, states=[self._optuna.trial.TrialState.COMPLETE])

    def add(self, trial: FrozenTrial) -> None:
        """Append a finished trial."""
        self._study.add_trial(trial)

    def remembered(self, key: str, compute: Callable[[], Any]) -> Any:
        """The JSON value stored under `key`; computed and stored when it is missing."""
        key = f"{_DONE} {key}"
        if key not in self._study.user_attrs:
            self._study.set_user_attr(key, compute())
        return self._study.user_attrs[key]

    def round_of(self, key: str) -> int:
        """0 for the first claim tested on this storage, 1 for the second, ...; the same claim keeps its number."""
        rounds: list[str] = self._study.user_attrs.get("claims", [])
        if key not in rounds:
            rounds = [*rounds, key]
            self._study.set_user_attr("claims", rounds)
        return rounds.index(key)


def _journal(path: Path | None) -> Any:
    if path is None:
        return None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path.exists() and path.stat().st_size:
        _mend(path)
    return JournalStorage(JournalFileBackend(str(path)))


def _mend(path: Path) -> None:
    """Drop a last line that a killed run did not finish; refuse what is no journal of Optuna."""
    with open(path, "r+b") as f:
        first = f.readline()
        if not (first.startswith(b"{") and first.endswith(b"\n") and "op_code" in json.loads(first)):
            raise ValueError("it is no journal of Optuna")
        whole = len(first) + sum(len(line) for line in f if line.endswith(b"\n"))
        f.truncate(whole)


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return "; ".join(f"{key} is {found.get(key)!r} there, {wanted.get(key)!r} here" for key in keys)
