"""Rows of a study against the verbs that they stand for, called one by one."""

import numpy as np
import pytest

import neurosim as ns
from neurosim.explore.study import Store, read_study, run_study


def table(study, folder, **options):
    run_study(study, folder, **options)
    return list(Store(folder).table())


def test_grid_equals_simulate_and_price(small, tmp_path):
    rows = table(small, tmp_path / "out")
    x = np.load(tmp_path / "x.npy")
    assert [(r["threshold"], r["core.neurons"], r["noc.width"]) for r in rows] == [
        (t, n, w) for t in (0.0, 0.02, 0.1) for n in (16, 32) for w in (4, 8)]
    network = ns.load(small.runs["model"][0])
    for row in rows:
        trace = ns.simulate(ns.set_thresholds(network, row["threshold"]), x)
        chip = ns.Chip.load("loihi2").with_settings({"core.neurons": row["core.neurons"], "noc.width": row["noc.width"]})
        report = ns.price(trace, ns.compile(trace.network, chip))
        assert row["effective_macs"] == trace.totals_by_counter["effective_macs"] / 60 and row["dense_macs"] == 4 * 64 + 64 * 64 + 64 * 2
        assert row["energy_j"] == pytest.approx(report.energy.per_timestep_j, rel=1e-12) and row["cores_used"] == report.cores_used
        assert row["latency_s"] == pytest.approx(report.latency.timestep_s["mean"], rel=1e-12)
        assert row["max_abs_error"] == trace.reference.max_abs_error and row["fits"]


def test_front_is_the_definition(small, tmp_path):
    rows = table(small, tmp_path / "out")
    points = [(r["energy_j"], r["latency_s"], r["cores_used"]) for r in rows]
    for row, p in zip(rows, points, strict=True):
        beaten = any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points)
        assert row["on_front"] == (not beaten)


def test_constraints_keep_rows_off_the_front(write, tmp_path):
    rows = table(read_study(write(constraints="{max_abs_error: {max: 0.001}}")), tmp_path / "out")
    assert {r["threshold"] for r in rows if r["on_front"]} == {0.0} and len(rows) == 12


def test_what_does_not_fit_is_a_row(write, tmp_path):
    rows = table(read_study(write(prices="{chip: [loihi2], core.neurons: [16, 32], noc.width: [1], noc.height: [1]}")), tmp_path / "out")
    assert not any(r["fits"] for r in rows) and all("core" in r["why_not"] and r["energy_j"] is None for r in rows)
    assert not any(r["on_front"] for r in rows)


def test_pruned_and_rounded_runs_are_held_against_the_model_as_it_was(write, small, tmp_path):
    model = small.runs["model"][0]
    rows = table(read_study(write(runs=f"{{model: ['{model}'], sparsity: [0, 0.9], weight_bits: [null, 3]}}", prices=None)), tmp_path / "out")
    network, x = ns.load(model), np.load(tmp_path / "x.npy")
    dense = ns.simulate(network, x, numerics="float64").outputs
    for row, sparsity, bits in zip(rows, (0, 0, 0.9, 0.9), (None, 3) * 2, strict=True):
        changed = ns.prune(network, sparsity) if sparsity else network
        changed = ns.quantize(changed, bits) if bits else changed
        error = abs(ns.simulate(changed, x).outputs - dense).max()
        assert row["max_abs_error"] == pytest.approx(error, rel=1e-4, abs=1e-6)
        assert row["nonzero_macs"] == changed.static_total("nonzero_macs")
    assert rows[3]["max_abs_error"] > 0.1 and rows[0]["on_front"] == (rows[0]["effective_macs"] == min(r["effective_macs"] for r in rows))


def test_weight_bits_reach_the_chip(write, small, tmp_path):
    model = small.runs["model"][0]
    rows = table(read_study(write(runs=f"{{model: ['{model}'], weight_bits: [4, 8]}}", prices="{chip: [loihi2], core.synapse_memory: [2560 B]}")),
                 tmp_path / "out")
    assert rows[0]["cores_used"] < rows[1]["cores_used"]


def test_saved_traces(write, small, tmp_path):
    network = ns.set_thresholds(ns.load(small.runs["model"][0]), 0.02)
    ns.simulate(network, np.load(tmp_path / "x.npy")).save(tmp_path / "a.trace")
    rows = table(read_study(write(runs="{trace: [a.trace]}", workload=None)), tmp_path / "out")
    again = [r for r in table(small, tmp_path / "out2") if r["threshold"] == 0.02]
    keys = ("core.neurons", "energy_j", "latency_s", "cores_used", "effective_macs")
    assert [[r[k] for k in keys] for r in rows] == [[r[k] for k in keys] for r in again] and rows[0]["trace"] == "a.trace"


def test_closed_loop_equals_rollout(write, small, tmp_path):
    model = small.runs["model"][0]
    study = read_study(write(workload="{env: CartPole-v1, episodes: 3, seed: 7}", runs=f"{{model: ['{model}'], threshold: [0, 0.3], seed: [7, 20]}}",
                             objectives="[energy_j, score]"))
    rows = table(study, tmp_path / "out")
    for row in rows:
        played = ns.rollout(ns.set_thresholds(ns.load(model), row["threshold"]), "CartPole-v1", episodes=3, seed=row["seed"])
        assert row["mean_return"] == played.returns.mean() and row["dense_return"] == played.dense_returns.mean()
        assert row["random_return"] == played.random_returns.mean() and row["episodes"] == 3
        assert row["effective_macs"] == played.macs_per_decision().mean()
        span = played.dense_returns.mean() - played.random_returns.mean()
        assert row["score"] == pytest.approx((played.returns.mean() - played.random_returns.mean()) / span)


def test_hopeless_runs_are_broken_off(write, small, tmp_path):
    """A threshold that silences the policy: its score cannot reach the floor after a quarter of the episodes."""
    model = small.runs["model"][0]
    lines = {"workload": "{env: CartPole-v1, episodes: 12, seed: 7}", "runs": f"{{model: ['{model}'], threshold: [0, 1000]}}", "prices": None}
    rows = table(read_study(write(**lines, constraints="{score_low: {min: 0.5}}")), tmp_path / "out")
    assert [r["episodes"] for r in rows] == [12, 3] and rows[1]["score_high"] < 0.5
    assert [r["episodes"] for r in table(read_study(write(**lines)), tmp_path / "out2")] == [12, 12]


def test_random_points_lie_in_their_ranges(write, small, tmp_path):
    model = small.runs["model"][0]
    study = read_study(write(search="{kind: random, samples: 40, seed: 2}",
                             runs=f"{{model: ['{model}'], threshold: {{low: 0.001, high: 0.1, log: true}}}}",
                             prices="{chip: [loihi2], core.neurons: {low: 8, high: 64, integer: true}, core.synapse_memory: "
                                    "{low: 1, high: 64, unit: KiB}}"))
    rows = table(study, tmp_path / "out")
    assert len(rows) == 40 == len({(r["threshold"], r["core.neurons"], r["core.synapse_memory"]) for r in rows})
    assert all(0.001 <= r["threshold"] <= 0.1 and 8 <= r["core.neurons"] <= 64 for r in rows)
    assert 10 <= sum(r["threshold"] < 0.01 for r in rows) <= 30  # logarithms are spread evenly


def test_a_small_space_is_not_drawn_twice(write, small, tmp_path):
    rows = table(read_study(write(search="{kind: random, samples: 40}")), tmp_path / "out")
    assert len(rows) == 12 == len({(r["threshold"], r["core.neurons"], r["noc.width"]) for r in rows})
