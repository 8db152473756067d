"""Tornado bars: by hand, and every end equal to a price with that constant."""

import numpy as np
import pytest
from networks import nature_like, slow_stream, two_three_one

from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.explore.sensitivity import tornado
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate


def near(expected):
    """Equal but for rounding: joules and seconds are small, so nothing absolute is forgiven."""
    return pytest.approx(expected, rel=1e-9, abs=0)


PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
NS, PJ = 1e-9, 1e-12
NET = nature_like(np.random.default_rng(0))
TRACE = simulate(NET, slow_stream(NET.input.shape, 6, np.random.default_rng(1)), numerics="float64", reference="all", timesteps_per_input=2)


def one_timestep(chip, **options):
    trace = simulate(two_three_one(), np.array([[1.0, 0]]), numerics="float64", reference="none")
    return tornado(trace, compile(trace.network, chip, placement=PLACES, hypothetical=True), **options)


def bar_of(bars, constant, moves="energy"):
    return next(bar for bar in bars if (bar.constant, bar.moves) == (constant, moves))


def test_bars_by_hand():
    # the worked example: 1,045.5 pJ and 2,186.6 ns; 5 visits x 35.5 pJ, 8 accesses x 51.2 pJ; two barriers of 1 us
    bars = one_timestep(Chip.load("loihi1_silicon_fit"))
    synapse = bar_of(bars, "cost.synapse.dense.energy")
    assert (synapse.low, synapse.high) == near((17.75 * PJ, 53.25 * PJ))
    assert (synapse.base, synapse.at_low, synapse.at_high) == near((1045.5 * PJ, 956.75 * PJ, 1134.25 * PJ))
    assert synapse.remark == "no range published; +-50% assumed" and synapse.grade == "fitted"
    energies = [bar for bar in bars if bar.moves == "energy"]
    assert energies[0].constant == "cost.neuron_access.energy" and energies[0].swing == near(8 * 51.2 * PJ)
    assert energies[-1].constant == "cost.message_in.energy" and energies[-1].swing == 0  # a figure of 0 has no half
    barrier = bar_of(bars, "timing.barrier", "time")
    assert (barrier.figure, barrier.low, barrier.at_low, barrier.at_high) == near((1e-6, 0.5e-6, 1186.6 * NS, 3186.6 * NS))
    # hidden core: 3 visits x 3.8 ns, output core 2 visits x 3.8 ns, both critical
    visit = bar_of(bars, "cost.synapse.dense.time", "time")
    assert (visit.at_low, visit.at_high) == near(((2186.6 - 5 * 1.9) * NS, (2186.6 + 5 * 1.9) * NS))
    assert not any(bar.constant.startswith("static_power") or bar.constant == "noc.flit_time" for bar in bars)  # not published
    assert [bar.moves for bar in bars] == sorted(bar.moves for bar in bars)


def test_half_a_published_range():
    bars = one_timestep(Chip.load("grai_one"))
    # 5 visits at 20 pJ, from 16.3; no high end: 30; static 35 mW x 10 ns; a slower clock takes longer and draws more
    synapse = bar_of(bars, "cost.synapse.energy")
    assert (synapse.at_low, synapse.at_high) == near((431.5 * PJ, 500 * PJ))
    assert synapse.assumed == ("high",) and synapse.remark == "no high end published; +50% assumed"
    clock = bar_of(bars, "core.clock", "time")
    assert (clock.at_low, clock.at_high) == near((20 * NS, 10 / 1.5 * NS))
    assert (bar_of(bars, "core.clock").at_low, bar_of(bars, "static_power.per_chip").at_low) == near((800 * PJ, 275 * PJ))


def test_published_range_of_static_power_over_a_period():
    # 104.4 mW, published from 29 mW to 104.4 mW, over 1 ms: time constants no longer move the energy
    bars = one_timestep(Chip.load("loihi1"), period_s=1e-3)
    power = bar_of(bars, "static_power.per_chip")
    assert power.assumed == () and power.remark == "" and power.at_high == power.base
    assert power.base - power.at_low == near((104.4e-3 - 29e-3) * 1e-3)
    assert all(bar.moves == "time" for bar in bars if bar.constant.endswith((".time", "barrier")))


@pytest.mark.parametrize("period_s", [None, 1e-3])
@pytest.mark.parametrize("name", ["loihi1", "loihi1_silicon_fit", "loihi2", "grai_one", "horowitz_int8", "fast"])
def test_ends_equal_prices_with_that_constant(name, period_s):
    if name == "fast":
        chip = Chip.load("loihi1_silicon_fit").with_settings({
            "noc.flit_time": "20 ns", "static_power.per_core": "1 mW", "cost.hop.local": {"energy": "1 pJ", "high": "2 pJ", "time": "1 ns"},
            "supports.native_schedule": "fall_through", "core.clock": "500 MHz", "core.neurons": 24,
            "cost.message_in": {"energy": "1 pJ", "low": "0.5 pJ", "cycles": 8}})
    else:
        chip = Chip.load(name)
    bars = tornado(TRACE, compile(NET, chip, hypothetical=True), period_s)
    assert {bar.constant for bar in bars} and len({(bar.constant, bar.moves) for bar in bars}) == len(bars)
    for bar in bars:
        for settings, expected in ((bar.settings_low, bar.at_low), (bar.settings_high, bar.at_high)):
            assert list(settings) == [bar.constant]
            report = price(TRACE, compile(NET, chip.with_settings(settings), hypothetical=True), period_s=period_s)
            if bar.moves == "time":
                found = report.latency.timestep_s["mean"]
            elif report.period is None:
                found = report.energy.per_timestep_j
            else:
                dynamic = (report.energy.total_j - report.energy.static_j) / TRACE.n_timesteps * 2 if report.period.total_j is None else None
                found = report.period.total_j if dynamic is None else dynamic
            assert found == near(expected), bar.constant


def test_every_priced_figure_has_a_bar():
    chip = Chip.load("loihi1")
    report = price(TRACE, compile(NET, chip, hypothetical=True))
    constants = {bar.constant for bar in tornado(TRACE, compile(NET, chip, hypothetical=True)) if bar.moves == "energy"}
    named = {a.partition(".")[0] for a in report.energy.parts if a != "static"}
    assert {c.split(".")[1] for c in constants if c.endswith(".energy")} == named and "static_power.per_chip" in constants


def test_json_and_refusals():
    bars = one_timestep(Chip.load("grai_one"))
    document = bars[0].to_json()
    assert {"constant", "moves", "figure", "low", "high", "base", "at_low", "at_high", "swing", "assumed", "remark", "grade", "source"} == set(document)
    with pytest.raises(PricingError, match="compile the network for it"):
        tornado(TRACE, Chip.load("loihi2"))
    with pytest.raises(PricingError, match="control period is more than 0"):
        tornado(TRACE, Chip.load("horowitz_int8"), period_s=-1)
