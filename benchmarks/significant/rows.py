"""From tallies to figures: scores with intervals, MACs per decision, shares, and what they prove."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurosim import counters
from neurosim.control.statistics import (
    distinct_games,
    episodes_for,
    episodes_needed,
    fewest_episodes,
    mean_interval,
    paired_difference,
    score_interval,
    variance_behind,
)
from significant.tally import Tally
from significant.tasks import FLOOR, Row

OPERATIONS = ("effective_macs", "unweighted_ops", "neuron_updates", "elementwise_ops", "input_compares", "events", "output_reads")


def describe(row: Row, tally: Tally, dense: Tally | None = None, random: Tally | None = None) -> dict[str, Any]:
    """The figures of one row; its score where the dense and the random policy played the same seeds.

    Returns are over distinct games; operations over all decisions.
    """
    own = np.array(tally.returns)[_distinct(tally)]
    figures: dict[str, Any] = {
        "key": row.key,
        "title": row.title,
        "episodes": len(tally.returns),
        "mean_return": float(own.mean()),
        "ci95": _numbers(mean_interval(own)),
        "decisions": tally.decisions,
        "still_share": tally.still / max(1, tally.decisions - len(tally.lengths)),
        "macs": _macs(row, tally),
        "operations": _operations(tally),
        "agreement": tally.agreed / tally.compared if tally.compared else None,
    }
    if row.network is not None:
        figures["thresholds"] = row.network.thresholds
        figures["sparsity"] = sparsity(row.network)
    if dense is not None and random is not None:
        figures |= score(tally, dense, random)
    return figures


def score(tally: Tally, dense: Tally, random: Tally) -> dict[str, Any]:
    """Score and paired difference over distinct games: those that no earlier seed repeats, of this and the dense policy both."""
    distinct = _distinct(tally, dense)
    own, base, chance = (np.array(t.returns)[distinct] for t in (tally, dense, random))
    value, low, high = score_interval(own, base, chance)
    enough = distinct.size >= fewest_episodes(FLOOR)
    return {
        "score": _number(value),
        "score_ci95": _numbers((low, high)),
        "distinct_games": int(distinct.size),
        "paired": {name: _numbers(v) if name == "ci95" else v for name, v in paired_difference(own, base).items()},
        "proved": bool(enough and low >= FLOOR),
        "episodes_needed": _needed(own, base, chance, value, low),
    }


def _needed(own: np.ndarray, base: np.ndarray, chance: np.ndarray, value: float, low: float) -> int | None:
    """Games that would prove the score, by the spread of the returns; by that behind the interval where so many were played in vain."""
    by_returns = episodes_needed(own, base, chance, FLOOR)
    if by_returns is None or by_returns > own.size or low >= FLOOR or not math.isfinite(low):
        return by_returns
    return max(by_returns, episodes_for(value, variance_behind(value, low, own.size), FLOOR) or 0)


def _distinct(*tallies: Tally) -> np.ndarray:
    """Seeds whose games, of all these policies together, no earlier seed repeats."""
    return distinct_games(*(np.array(t.games, np.uint64) for t in tallies))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: Any) -> list[float | None]:
    return [_number(v) for v in values]


def _macs(row: Row, tally: Tally) -> dict[str, float | None]:
    """MACs per decision of four machines, and what a timestep's kind does to the event-driven one."""
    effective = row.macs if row.macs is not None else tally.per_decision("effective_macs")
    static = {name: None if row.network is None else float(row.network.static_total(name)) for name in ("dense_macs", "nonzero_macs")}
    n, n_first = tally.decisions, len(tally.lengths)
    changed = n - tally.still
    counted = "effective_macs" in tally.counts
    first = tally.first["effective_macs"] if counted else 0
    skip = tally.zero_skip_macs / tally.compared if tally.compared else None
    dense, nonzero = static["dense_macs"], static["nonzero_macs"]
    return {
        "dense": dense,
        "nonzero": nonzero,
        "zero_skip": skip,
        "effective": effective,
        "first": first / n_first if counted else None,
        "after_first": (tally.counts["effective_macs"] - first) / (n - n_first) if counted and n > n_first else None,
        "changed": tally.changed_macs / changed if counted and changed else None,
        "worst": tally.worst if counted else None,
        "worst_after_first": tally.worst_after_first if counted else None,
        "vs_dense": _ratio(dense, effective),
        "vs_dense_changed": _ratio(dense, tally.changed_macs / changed) if counted and changed else None,
        "pruning": _ratio(dense, nonzero),
        "activation": _ratio(nonzero, skip),
        "delta": _ratio(skip, effective),
    }


def _ratio(whole: float | None, part: float | None) -> float | None:
    return whole / part if whole is not None and part else None


def _operations(tally: Tally) -> dict[str, float] | None:
    """All counters per decision, and the sum that stands beside every MAC figure."""
    if "neuron_updates" not in tally.counts:
        return None
    return {name: tally.counts[name] / tally.decisions for name in OPERATIONS} | {
        "all_ops": counters.all_ops(tally.counts) / tally.decisions
    }


def sparsity(network: Any) -> dict[str, Any]:
    """Share of weights, and of MACs, that are zero: of the whole network and per layer."""
    total = {name: network.static_total(name) for name in ("weights", "nonzero_weights", "dense_macs", "nonzero_macs")}
    layers = {
        layer.name: 1 - row["nonzero_weights"] / row["weights"]
        for layer, row in zip(network.layers, network.static_counts)
        if row["weights"]
    }
    return {
        "weights": 1 - total["nonzero_weights"] / total["weights"],
        "macs": 1 - total["nonzero_macs"] / total["dense_macs"],
        "layers": layers,
    }


def knee(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of fewest effective MACs whose score clears the floor: by its lower bound (proved), and by its mean."""
    cheap = sorted(rows, key=lambda r: r["macs"]["effective"])
    by_mean = next((r for r in cheap if r["score"] is not None and r["score"] >= FLOOR), None)
    by_bound = next((r for r in cheap if r["proved"]), None)
    return {name: None if r is None else {"key": r["key"], "macs": r["macs"]["effective"], "vs_dense": r["macs"]["vs_dense"], "score": r["score"]}
            for name, r in (("proved", by_bound), ("by_mean", by_mean))}  # fmt: skip
