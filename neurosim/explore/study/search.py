"""Guided search: each generation is suggested by Optuna from the rows of all earlier ones.

Generations depend on finished rows alone, never on who finished them first, so a search has the same points for any
number of workers, and after any interruption.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosim.explore.study.points import Settings, digest, split
from neurosim.explore.study.spec import Range, Study
from neurosim.explore.study.store import plain, schema_of
from neurosim.explore.tune.storage import optuna_module

FAR = 1e6
"""How far a row misses its constraints that has no figures at all."""


def generation(study: Study, rows: Sequence[dict[str, Any]], number: int) -> list[tuple[Settings, Settings]]:
    """New points of a generation; empty where the search is over, or no new point was suggested."""
    assert study.search.samples is not None
    seen = {digest({name: row[name] for name in study.axes}) for row in rows}
    wanted = min(study.search.batch, study.search.samples - len(rows))
    found: dict[str, Any] = {}
    if wanted <= 0:
        return []
    searched, distributions = _told(study, rows, number), _distributions(study)
    for _ in range(20 * wanted):
        if len(found) == wanted:
            break
        trial = searched.ask(distributions)
        point = {name: _value(axis, trial.params[name]) for name, axis in study.axes.items()}
        if (key := digest(_as_stored(study, point))) not in seen:
            found.setdefault(key, split(study, point))
    return list(found.values())


def _as_stored(study: Study, point: Settings) -> dict[str, Any]:
    """A point as its row gives it back."""
    schema = schema_of(study)
    return {name: plain(point[name], str(schema.field(name).type)) for name in study.axes}


def _told(study: Study, rows: Sequence[dict[str, Any]], number: int) -> Any:
    """A study of Optuna that knows all rows."""
    optuna = optuna_module()
    seed = int(np.random.SeedSequence([study.search.seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # multivariate and constant_liar are called experimental, constraints_func old
        sampler = optuna.samplers.TPESampler(n_startup_trials=study.search.batch, multivariate=True, constant_liar=True, seed=seed,
                                             constraints_func=lambda trial: (trial.user_attrs["missed"],))
        searched = optuna.create_study(directions=["maximize" if more else "minimize" for more in study.maximised], sampler=sampler)
        searched.add_trials(as_trials(study, rows))
    return searched


def as_trials(study: Study, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """Rows as finished trials of Optuna; a figure that is not known is the worst that is."""
    optuna, distributions = optuna_module(), _distributions(study)
    worst = [max((_signed(r[name], more) for r in rows if r[name] is not None), default=0.0) for name, more in _objectives(study)]
    trials = []
    for row in rows:
        values = [row[name] if row[name] is not None else -bad if more else bad
                  for (name, more), bad in zip(_objectives(study), worst, strict=True)]
        miss = missed(study, row)
        trials.append(optuna.trial.create_trial(
            params={name: _parameter(axis, row[name]) for name, axis in study.axes.items()}, distributions=distributions, values=values,
            user_attrs={"missed": miss, **{k: v for k, v in row.items() if k not in study.axes and v is not None}},
            system_attrs={"constraints": [miss]}))
    return trials


def missed(study: Study, row: dict[str, Any]) -> float:
    """How far a row misses its constraints, relative to the bounds: 0 or less when it keeps them all."""
    if not row.get("fits", True) or any(row[name] is None for name in study.objectives):
        return FAR
    found = []
    for name, (least, largest) in study.bounds().items():
        value = row[name]
        if value is None:
            return FAR
        found += [(least - value) / (abs(least) or 1.0)] if least is not None else []
        found += [(value - largest) / (abs(largest) or 1.0)] if largest is not None else []
    return max(found, default=0.0)


def _objectives(study: Study) -> list[tuple[str, bool]]:
    return list(zip(study.objectives, study.maximised, strict=True))


def _signed(value: float, more: bool) -> float:
    return -value if more else value


def _distributions(study: Study) -> dict[str, Any]:
    d = optuna_module().distributions
    found = {}
    for name, axis in study.axes.items():
        if isinstance(axis, Range):
            whole = axis.integer
            found[name] = d.IntDistribution(round(axis.low), round(axis.high), log=axis.log) if whole else d.FloatDistribution(
                axis.low, axis.high, log=axis.log)
        else:
            found[name] = d.CategoricalDistribution(axis)
    return found


def _value(axis: Any, parameter: Any) -> Any:
    return axis.text(parameter) if isinstance(axis, Range) else parameter


def _parameter(axis: Any, stored: Any) -> Any:
    """Parameter of Optuna behind a value of a table."""
    if not isinstance(axis, Range):
        return next(value for value in axis if value == stored or str(value) == stored)
    number = float(str(stored).split()[0])
    return round(number) if axis.integer else math.nextafter(number, axis.low) if number > axis.high else max(number, axis.low)
