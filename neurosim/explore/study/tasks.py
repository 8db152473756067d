"""What a worker does: simulate a run, or price a chunk. Results are files of the study's folder; nothing else is handed back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim import counters
from neurosim.chip import Chip
from neurosim.control import EnvironmentSpec, Job, play_jobs
from neurosim.control.environment import fitting_action
from neurosim.control.episodes import Played, join
from neurosim.control.policy import DeltaPolicy, ExactPolicy, RandomPolicy
from neurosim.control.statistics import distinct_games, score_interval
from neurosim.errors import ChipError, SimulationError
from neurosim.explore.compare import Row, compare
from neurosim.explore.study.figures import PRICE_FIGURES
from neurosim.explore.study.points import Chunk, Run, digest, load_chip, load_model, model_card, own_baseline
from neurosim.explore.study.spec import Study
from neurosim.explore.study.store import Store
from neurosim.explore.tune.recorded import Stream, dense_outputs
from neurosim.network import Network
from neurosim.trace import Trace
from neurosim.trace_file import load_trace, save_trace
from neurosim.transforms import prune, quantize, set_thresholds
from neurosim.version import __version__

if TYPE_CHECKING:
    from neurosim.explore.study.points import Settings

KEPT_BYTES = 1 << 28
HOPELESS_AFTER = 4
"""After one part in so many of the episodes a run is broken off whose score cannot reach the floor."""


_lock = Lock()
_made_of = ""


def do(folder: str, version: str, made_of: str, task: Run | Chunk) -> str:
    """Do a task of a study and keep its result; returns the task's key.

    Parameters
    ----------
    folder : str
    version : str
        Of the package that runs the study.
    made_of : str
        Digest of the study and its files: what a process remembers of others is forgotten.

    Raises
    ------
    SimulationError
        For a worker of another version of the package.
    NeurosimError
        As simulating and pricing raise.
    """
    if version != __version__:
        raise SimulationError(f"a worker has neurosim {__version__}, the study runs with {version}; install the same everywhere")
    import numba

    numba.set_num_threads(1)
    _forget_unless(made_of)
    study = _study(folder)
    if isinstance(task, Run):
        _simulate(study, Store(folder), task)
    else:
        _price(study, Store(folder), task)
    return task.key


def _forget_unless(made_of: str) -> None:
    """Forget studies, chips, traces and outputs, unless they belong to what this study is made of."""
    global _made_of
    with _lock:
        if made_of != _made_of:
            for remembered in (_study, _chip, _described):
                remembered.cache_clear()
            for kept in (_traces, _dense):
                kept.clear()
            _made_of = made_of


@lru_cache(maxsize=1)
def _study(folder: str) -> Study:
    return Store(folder).study()


def _simulate(study: Study, store: Store, run: Run) -> None:
    """Simulate a run: its trace, and its figures."""
    if "trace" in run.settings:
        path = study.path(str(run.settings["trace"])).resolve()
        return store.keep_run(run.key, {"trace": str(path), **_figures(load_trace(path))})
    network = _network(study, run.settings)
    work = study.workload
    assert work is not None  # a study with models has one
    trace, more = _recorded(study, network, run.settings) if work.inputs else _played(study, store, network, run.settings)
    if study.prices:
        save_trace(trace, store.trace_path(run.key))
    store.keep_run(run.key, {"trace": store.trace_path(run.key).name if study.prices else None, **_figures(trace), **more})


def _network(study: Study, settings: Settings) -> Network:
    """The model of a run, pruned, quantised and with its thresholds."""
    network = load_model(study, str(settings["model"]))
    sparsity = {layer.name: _of(settings, "sparsity", layer.name) for layer in network.layers}
    chosen = {name: float(value) for name, value in sparsity.items() if value}
    network = prune(network, chosen) if chosen else network
    if bits := settings.get("weight_bits"):
        network = quantize(network, int(bits))
    thresholds = {name: _of(settings, "threshold", name) for name in network.thresholds}
    given = {name: float(value) for name, value in thresholds.items() if value is not None}
    return set_thresholds(network, {**network.thresholds, **given}) if given else network


def _of(settings: Settings, axis: str, name: str) -> Any:
    """Setting of one layer: its own axis, else the common one."""
    return settings.get(f"{axis}.{name}", settings.get(axis))


def _recorded(study: Study, network: Network, settings: Settings) -> tuple[Trace, dict[str, Any]]:
    """A run over recorded inputs, its outputs compared with the dense run of the model as it was before pruning and rounding."""
    from neurosim.simulation import simulate

    inputs, resets = _inputs(study)
    schedule = str(settings.get("schedule") or network.default("schedule"))
    changed = any(settings.get(axis) for axis in settings if axis == "weight_bits" or axis.startswith("sparsity"))
    zero_skip = any(_chip(study.folder, str(name)).kind == "zero_skip" for name in study.prices.get("chip", ()))
    trace = simulate(network, inputs, resets=resets, numerics=study.numerics, schedule=schedule,
                     record="events" if study.prices else "counts", reference="all" if zero_skip else "none" if changed else "auto")
    if not changed:
        return trace, {}
    if schedule != "fall_through":
        return trace, {"max_abs_error": None, "argmax_agreement": None}
    wanted = _dense_outputs(study, str(settings["model"]))
    outputs = np.asarray(trace.outputs, np.float64).reshape(wanted.shape)
    return trace, {"max_abs_error": float(abs(outputs - wanted).max()),
                   "argmax_agreement": float((outputs.argmax(1) == wanted.argmax(1)).mean())}


def _inputs(study: Study) -> tuple[np.ndarray, np.ndarray | None]:
    from neurosim.loaders.inputs import load_array

    work = study.workload
    assert work is not None and work.inputs is not None
    return load_array(study.path(work.inputs)), load_array(study.path(work.resets)) if work.resets else None


_dense: dict[str, np.ndarray] = {}


def _dense_outputs(study: Study, model: str) -> np.ndarray:
    """Dense outputs of a model on the recorded inputs; those of the last model are kept."""
    found = _dense.get(model)
    if found is None:
        found = dense_outputs(load_model(study, model), Stream(*_inputs(study)), "inputs")
        _dense.clear()
        _dense[model] = found
    return found


def _played(study: Study, store: Store, network: Network, settings: Settings) -> tuple[Trace, dict[str, Any]]:
    """Episodes of the event-driven policy, and of the dense and the random one on the same seeds."""
    work, card = study.workload, model_card(study, str(settings["model"]))
    assert work is not None
    if work.env is None and (card is None or card.env is None):
        raise SimulationError(f"workload.env is needed: {settings['model']} names no environment")
    own = card.env if card and work.env is None else None
    spec = EnvironmentSpec(own.id if own else str(work.env), own.kwargs if own else work.env_kwargs,
                           own.preprocess if own else work.preprocess)
    if settings.get("schedule") not in (None, "fall_through"):
        raise SimulationError("a policy that is played answers in the same timestep: schedule fall_through")
    seed = int(settings.get("seed", work.seed) or 0)
    base = load_model(study, work.baseline or own_baseline(study, str(settings["model"])))
    env = spec.make()
    action = fitting_action(env, [network, base], work.action or (card.action if card else None))
    env.close()
    dense, random = _yardstick(study, store, base, spec, seed, action)
    policy = partial(DeltaPolicy, network, action=action, numerics=study.numerics or "float32", record="events" if study.prices else "none")
    job = Job("event-driven", policy, None, network)
    floor = study.bounds().get("score_low", (None, None))[0]
    first = max(2, work.episodes // HOPELESS_AFTER) if floor is not None and work.episodes >= 2 * HOPELESS_AFTER else work.episodes
    played = play_jobs([job], spec, first, seed)[0]
    if first < work.episodes and not _score(played, dense, random)["score_high"] < floor:
        played = join([played, play_jobs([job], spec, work.episodes - first, seed + first)[0]])
    assert played.trace is not None
    return played.trace, _score(played, dense, random)


def _yardstick(study: Study, store: Store, base: Network, spec: EnvironmentSpec, seed: int, action: str
               ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns and games of the dense and the random policy; played once for all runs of the study that share them."""
    assert study.workload is not None
    episodes = study.workload.episodes
    key = digest([base.sha256, spec.id, spec.kwargs, spec.preprocess, seed, episodes, action, __version__])
    found = store.note("yardsticks", key)
    if found is None:
        jobs = [Job("dense", partial(ExactPolicy, base, action=action)), Job("random", RandomPolicy)]
        played = play_jobs(jobs, spec, episodes, seed)
        found = {job.name: {"returns": p.returns.tolist(), "games": p.games.tolist()} for job, p in zip(jobs, played, strict=True)}
        store.keep_note("yardsticks", key, found)
    return found["dense"], found["random"]


def _score(played: Played, dense: dict[str, Any], random: dict[str, Any]) -> dict[str, Any]:
    """Figures of the closed loop; the interval is over games that differ, as in `rollout`."""
    n = len(played.returns)
    best, chance = (np.array(policy["returns"][:n]) for policy in (dense, random))
    own = distinct_games(played.games, np.array(dense["games"][:n], np.uint64))
    score, low, high = score_interval(played.returns[own], best[own], chance[own])
    if np.isnan(score):
        score, low, high = score_interval(played.returns, best, chance)
    known = {"score": score, "score_low": low, "score_high": high}
    return {"episodes": n, "mean_return": float(played.returns.mean()), "dense_return": float(best.mean()),
            "random_return": float(chance.mean()), **{k: float(v) for k, v in known.items() if np.isfinite(v)}}


def _figures(trace: Trace) -> dict[str, Any]:
    """Figures of a run, means per timestep."""
    n, total, network = trace.n_timesteps, trace.totals_by_counter, trace.network
    reference = trace.reference
    dense, nonzero = (int(network.static_total(name)) for name in ("dense_macs", "nonzero_macs"))
    return {"timesteps": n, "dense_macs": dense, "nonzero_macs": nonzero,
            "effective_macs": (total["effective_macs"] + total["effective_acs"]) / n, "all_ops": counters.all_ops(total) / n,
            "events": total["events"] / n, "max_abs_error": reference and reference.max_abs_error,
            "argmax_agreement": reference and reference.argmax_agreement}


_traces: dict[str, tuple[int, Trace]] = {}


def _trace(path: str) -> Trace:
    """A trace; some of the last ones are kept, up to `KEPT_BYTES` of their files."""
    with _lock:
        if path in _traces:
            return _traces[path][1]
    size, trace = Path(path).stat().st_size, load_trace(path)
    with _lock:
        while _traces and size + sum(n for n, _ in _traces.values()) > KEPT_BYTES:
            _traces.pop(next(iter(_traces)))
        _traces[path] = size, trace
    return trace


def _price(study: Study, store: Store, chunk: Chunk) -> None:
    """Price a chunk: one row per candidate."""
    facts = store.run_facts(chunk.run.key)
    shared = {**chunk.run.settings, **{k: v for k, v in facts.items() if k != "trace"}}
    if not study.prices:
        return store.keep_rows(study, chunk.key, [shared])
    trace = _trace(str(Path(store.folder, "runs", facts["trace"])))
    priced = priced_rows(study, trace, chunk.candidates, chunk.run.settings.get("weight_bits"))
    store.keep_rows(study, chunk.key, [{**shared, **c, **row} for c, row in zip(chunk.candidates, priced, strict=True)])


def priced_rows(study: Study, trace: Trace, candidates: Sequence[Settings], weight_bits: Any = None) -> list[dict[str, Any]]:
    """Figures of a run on each candidate; one that contradicts itself or does not fit says why."""
    described = _described(study.folder, json.dumps([candidates, int(weight_bits or 0)]))
    chips = [c for c in described if not isinstance(c, str)]
    layout: Any = study.path(study.placement) if study.placement.endswith((".yaml", ".yml")) else study.placement
    compared = compare(trace, chips, hypothetical=study.hypothetical, placement=layout, balance=study.balance, period_s=study.period_s,
                       simulate_again=lambda chip: trace)
    figures = iter(_price_figures(row) for row in compared.rows)
    return [{"fits": False, "why_not": c} if isinstance(c, str) else next(figures) for c in described]


@lru_cache(maxsize=2)
def _described(folder: str, candidates: str) -> list[tuple[dict[str, Any], Chip] | str]:
    """Settings and chip of each candidate, or what contradicts itself; those of the last chunks are kept for other runs."""
    found: list[tuple[dict[str, Any], Chip] | str] = []
    given, weight_bits = json.loads(candidates)
    for candidate in given:
        settings = {k: v for k, v in candidate.items() if k != "chip"} | ({"arithmetic.weight_bits": weight_bits} if weight_bits else {})
        try:
            found.append((settings, _chip(folder, str(candidate["chip"])).with_settings(settings)))
        except ChipError as error:
            found.append(str(error))
    return found


def _price_figures(row: Row) -> dict[str, Any]:
    data = row.to_json()
    why = row.why_not and "; ".join(line.strip() for line in row.why_not.splitlines())
    return {"fits": row.fits, "why_not": why, "complete": data["complete"], "not_priced": ", ".join(data.get("coverage") or ()),
            **{name: data.get(name) for name in PRICE_FIGURES}}


@lru_cache(maxsize=64)
def _chip(folder: str, name: str) -> Chip:
    return load_chip(folder, name)
