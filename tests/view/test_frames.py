"""Tables as data: sums are the totals, unknown is empty, files come back as they went."""

import csv

import numpy as np
import pytest
from networks import nature_like, slow_stream

import neurosim as ns
from neurosim.errors import LoadError
from neurosim.view import frames


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    return ns.simulate(nature_like(rng), slow_stream((20, 20, 2), 12, rng))


def test_layers_and_timesteps_add_up(run):
    layers, steps = frames.layer_rows(run), frames.timestep_rows(run)
    total = run.totals_by_counter
    assert len(layers) == 4 and len(steps) == 48
    for name in ("effective_macs", "neuron_updates", "synaptic_ops"):
        assert sum(row[name] for row in layers) == sum(row[name] for row in steps) == total[name]
    assert layers[-1]["threshold"] is None and layers[0]["threshold"] == 0
    with pytest.raises(LoadError, match="no counts per timestep"):
        frames.timestep_rows(ns.simulate(run.network, np.zeros((2, 20, 20, 2)), record="none"))


def test_energy_leaves_out_what_is_not_priced(run):
    report = ns.price(run, ns.compile(run.network, ns.Chip.load("loihi2")))
    rows = frames.energy_rows(report)
    assert sum(row["energy_j"] or 0 for row in rows) == pytest.approx(report.energy.total_j)
    missing = {row["action"] for row in rows if row["energy_j"] is None}
    assert set(report.energy.not_priced) <= missing and "host_in" in missing


def test_comparisons_and_episodes(run):
    table = ns.compare(run, ns.sweep("loihi2", {"core.neurons": [2, 64]}))
    rows = frames.comparison_rows(table)
    assert [row["core.neurons"] for row in rows] == [2, 64] and [row["on_front"] for row in rows] == [i in table.pareto for i in (0, 1)]
    played = ns.rollout(ns.load("models/cartpole_ppo"), "CartPole-v1", episodes=3, seed=5)
    rows = frames.episode_rows(played)
    assert [row["seed"] for row in rows] == [5, 6, 7] and [row["return"] for row in rows] == played.returns.tolist()
    assert sum(row["decisions"] * row["macs_per_decision"] for row in rows) == pytest.approx(played.trace.totals_by_counter["effective_macs"])


def test_files(run, tmp_path):
    rows = frames.layer_rows(run)
    path = frames.write_table(rows, tmp_path / "t.csv")
    with path.open(newline="") as file:
        back = list(csv.DictReader(file))
    assert [row["layer"] for row in back] == [row["layer"] for row in rows] and back[-1]["threshold"] == ""
    assert [int(row["dense_macs"]) for row in back] == [row["dense_macs"] for row in rows]
    assert frames.write_table(rows, tmp_path / "again.csv").read_bytes() == path.read_bytes()
    for name, message in (("t.xls", "as .csv or .parquet"), ("none/t.csv", "cannot write")):
        with pytest.raises(LoadError, match=message):
            frames.write_table(rows, tmp_path / name)
    with pytest.raises(LoadError, match="no rows"):
        frames.write_table([], tmp_path / "e.csv")


def test_pandas_and_parquet(run, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rows = frames.timestep_rows(run)
    frame = frames.to_pandas(rows)
    assert frame["effective_macs"].sum() == run.totals_by_counter["effective_macs"]
    back = pandas.read_parquet(frames.write_table(rows, tmp_path / "t.parquet"))
    pandas.testing.assert_frame_equal(back, frame)
