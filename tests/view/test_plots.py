"""Plots: what is drawn is what was counted; every function returns the Axes it was given; SVG and PDF."""

import numpy as np
import pytest
from networks import nature_like, slow_stream

import neurosim as ns
from neurosim.errors import PricingError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    network = nature_like(rng)
    resets = np.isin(np.arange(30), (0, 11))
    return ns.simulate(network, slow_stream((20, 20, 2), 30, rng), resets=resets)


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_raster_shows_each_event_once(run, ax):
    from neurosim.view.plots import raster

    assert raster(ax, run, "c1", elements=10_000, first=5, timesteps=10) is ax
    points = ax.collections[0].get_offsets()
    j = run.network.senders.index(0)
    expected = [(t, e) for t in range(5, 15) for e in run.events_of(t, j)]
    assert sorted(map(tuple, np.asarray(points).tolist())) == sorted(expected)
    assert [line.get_xdata()[0] for line in ax.lines] == [10.5]  # the reset
    with pytest.raises(PricingError, match="'f2' transmits nothing; choose one of input, c1"):
        raster(ax, run, "f2")
    with pytest.raises(PricingError, match="events are recorded for 30 timesteps; 30 is not among them"):
        raster(ax, run, "c1", first=30)


def test_activity_adds_up(run, ax):
    from neurosim.view.plots import activity

    assert activity(ax, run) is ax
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}
    assert drawn["all"].sum() == run.totals_by_counter["effective_macs"]
    assert np.array_equal(sum(drawn[layer.name] for layer in run.network.layers), drawn["all"])
    with pytest.raises(PricingError, match="no counts per timestep"):
        activity(ax, ns.simulate(run.network, np.zeros((2, 20, 20, 2)), record="none"))


def test_energy_stack_reaches_the_total(run, ax):
    from neurosim.view.plots import energy_stack

    reports = [ns.price(run, ns.compile(run.network, ns.Chip.load(c), hypothetical=True)) for c in ("loihi2", "horowitz_int8")]
    assert energy_stack(ax, reports) is ax
    for i, report in enumerate(reports):
        bars = [p for p in ax.patches if round(p.get_x() + p.get_width() / 2) == i]
        assert max(p.get_y() + p.get_height() for p in bars) == pytest.approx(report.energy.per_timestep_j)
    assert [t.get_text() for t in ax.get_xticklabels()] == [">= loihi2", ">= horowitz_int8"]


def test_heatmap_holds_all_visits(run, ax):
    from neurosim.view.plots import core_heatmap

    program = ns.compile(run.network, ns.Chip.load("loihi2").with_settings({"core.neurons": 16}))
    report = ns.price(run, program)
    assert core_heatmap(ax, report, program) is ax
    shown = ax.images[0].get_array()
    assert float(np.ma.filled(shown, 0).sum()) == pytest.approx(report.mapping_counts["synapse_visits"] / 30)
    machine = ns.compile(run.network, ns.Chip.load("horowitz_int8"))
    with pytest.raises(PricingError, match="no mesh of cores"):
        core_heatmap(ax, ns.price(run, machine), machine)
    with pytest.raises(PricingError, match="counter 'spikes' is unknown"):
        core_heatmap(ax, report, program, "spikes")


def test_pareto_fills_the_front(run, ax, tmp_path):
    from neurosim.view.plots import pareto

    table = ns.compare(run, ns.sweep("loihi2", {"core.neurons": [16, 64, 256]}), objectives=("energy_j", "latency_s"))
    assert pareto(ax, table) is ax
    assert len(ax.lines[0].get_xdata()) == len(table.pareto) and len(ax.collections[0].get_offsets()) == 3
    for suffix in ("svg", "pdf"):
        ax.figure.savefig(tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").stat().st_size > 1000
