"""Rows of a study as finished trials in Optuna's storage, which optuna-dashboard and Optuna's own plots read."""

from __future__ import annotations

import warnings
from pathlib import Path

from neurosim.errors import LoadError
from neurosim.explore.study.claims import open_storage
from neurosim.explore.study.search import as_trials
from neurosim.explore.study.spec import Study
from neurosim.explore.study.store import Store
from neurosim.explore.tune.storage import optuna_module

MOST = 20_000
"""Trials that a dashboard shows with ease."""


def write_trials(study: Study, folder: Path, address: str) -> int:
    """Write all rows that fit as trials of the Optuna study that is named like this one; returns how many there are.

    Raises
    ------
    LoadError
        For more than 20,000 rows, a storage that cannot be used, or one that holds a study of this name already.
    """
    rows = [row for row in Store(folder).table() if row.get("fits", True)]
    if len(rows) > MOST:
        raise LoadError(f"{len(rows):,} rows are more than a dashboard shows ({MOST:,}); choose some of table.parquet")
    optuna, storage = optuna_module(), open_storage(address)
    directions = ["maximize" if more else "minimize" for more in study.maximised]
    try:
        shown = optuna.create_study(storage=storage, study_name=study.name, directions=directions,
                                    sampler=optuna.samplers.RandomSampler())
    except optuna.exceptions.DuplicatedStudyError:
        raise LoadError(f"{address} holds a study {study.name!r} already; choose another file") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of objectives are called experimental
        shown.set_metric_names(list(study.objectives))
    shown.add_trials(as_trials(study, rows))
    return len(rows)
