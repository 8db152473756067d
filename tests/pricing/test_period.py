"""Control periods, static power and held inputs, by hand."""

import numpy as np
import pytest
from networks import TWO_THREE_ONE_INPUTS, two_three_one

from neurosim.chip import Chip
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.pricing.latency import answers
from neurosim.simulation import simulate


def near(expected):
    """Equal but for rounding: joules and seconds are small, so nothing absolute is forgiven."""
    return pytest.approx(expected, rel=1e-9, abs=0)


NS, PJ = 1e-9, 1e-12
PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
FIT = Chip.load("loihi1_silicon_fit")
TWO_CHIPS = """
name: two-chips
kind: event
supports: {native_schedule: NATIVE}
noc: {width: 2, height: 2}
chips: 2
timing: {barrier: 100 ns}
static_power: {per_chip: 1 mW, low: 0.5 mW, per_core: 2 mW, gated: false}
cost:
  synapse: {energy: 1 pJ, time: 1 ns, includes: {energy: [synapse, neuron_access, neuron_update, event_out, message_in, message_out, hop]}, operating_point: "by hand"}
  neuron_access: {time: 10 ns}
"""


def trace_of(x, **options):
    return simulate(two_three_one(), np.array(x), numerics="float64", reference="none", **options)


def priced(trace, chip, period_s=None, placement=PLACES):
    return price(trace, compile(trace.network, chip, placement=placement, hypothetical=True), period_s=period_s)


@pytest.mark.parametrize(("gated", "watts"), [(False, 2 * 1e-3 + 8 * 2e-3), (True, 1 * 1e-3 + 2 * 2e-3)])
def test_static_power_of_chips_and_cores(gated, watts):
    # two chips of four cores; both layers stand on the first chip, on two cores
    chip = Chip.load(TWO_CHIPS.replace("NATIVE", "fall_through")).with_settings({"static_power.gated": gated})
    report = priced(trace_of([[1.0, 0]]), chip, 1e-3)
    # levels: 3 visits + 3 accesses x 10 = 33, 2 visits + 10 = 12; barrier 100: 145 ns
    assert report.latency.timestep_s["mean"] == near(145 * NS)
    assert report.energy.static_j == near(watts * 145 * NS)
    assert report.energy.low_j == near(5 * PJ + (watts - (1 if gated else 2) * 0.5e-3) * 145 * NS)
    # of the whole period, busy or not, beside 5 visits x 1 pJ
    assert report.period.static_j == near(watts * 1e-3) and report.period.total_j == near(watts * 1e-3 + 5 * PJ)


def test_gated_power_of_a_second_chip_in_use():
    chip = Chip.load(TWO_CHIPS.replace("NATIVE", "fall_through")).with_settings({"static_power.gated": True})
    report = priced(trace_of([[1.0, 0]]), chip, 1e-3, {"input": (0, 0), "hidden": (0, 0), "output": (3, 0)})
    assert report.period.static_j == near((2 * 1e-3 + 2 * 2e-3) * 1e-3)


def test_held_inputs_have_one_deadline_each():
    # each input held for two timesteps: 145, then 30 + 10 + 100 = 140 (nothing changes)
    # second input (1, 1): hidden 3 + 30, output 3 + 10, barrier: 146, then 140
    chip = Chip.load(TWO_CHIPS.replace("NATIVE", "fall_through"))
    trace = trace_of(TWO_THREE_ONE_INPUTS[:2], timesteps_per_input=2)
    report = priced(trace, chip, 285.5 * NS)
    np.testing.assert_allclose(report.latency.per_timestep_s, np.array([145, 140, 146, 140]) * NS)
    np.testing.assert_allclose(answers(report.latency.per_timestep_s, trace), np.array([285, 286]) * NS)
    assert report.period.missed_share == 0.5 and report.latency.throughput_hz == near(1 / (285.5 * NS))
    # 5 + 6 visits for two inputs, and 18 mW from input to input: 285.5 ns, and 286 where two timesteps take longer than the period
    assert report.period.total_j == near(5.5 * PJ + 18e-3 * 285.75 * NS)


def test_emulated_levels_count_towards_the_deadline():
    # natively pipelined: in each of two levels every core accesses its neurons (30 and 10), and there are two barriers
    # t1: (3 + 30) + max(2 + 10, 30) + 200 = 263;  t2: 33 + 30 + 200;  t3: 30 + 30 + 200 = 260
    chip = Chip.load(TWO_CHIPS.replace("NATIVE", "pipelined"))
    report = priced(trace_of(TWO_THREE_ONE_INPUTS), chip, 261 * NS)
    np.testing.assert_allclose(report.latency.per_timestep_s, np.array([263, 263, 260]) * NS)
    assert report.period.missed_share == near(2 / 3)


@pytest.mark.parametrize(("held", "steps"), [(1, 2), (2, 2), (3, 3)])
def test_pipelined_answers_take_the_depth_or_the_time_an_input_is_held(held, steps):
    # depth 2; the loop of the hidden core is the slowest in every timestep: its accesses at least
    chip = Chip.load(TWO_CHIPS.replace("NATIVE", "pipelined"))
    trace = trace_of(TWO_THREE_ONE_INPUTS, timesteps_per_input=held, schedule="pipelined")
    report = priced(trace, chip, 1.0)
    step = report.latency.per_timestep_s
    starts = range(0, step.size - steps + 1, held)
    np.testing.assert_allclose(answers(step, trace), [step[s: s + steps].sum() for s in starts])
    longest = answers(step, trace).max()
    assert priced(trace, chip, longest * 0.999).period.missed_share > 0 == priced(trace, chip, longest).period.missed_share


def test_a_period_without_static_power_or_time():
    trace = trace_of(TWO_THREE_ONE_INPUTS)
    report = priced(trace, FIT, 2.2e-6)
    # worked example: 2,186.6, 2,241.5 and 2,036 ns; no static power is published, so the period's energy is not known
    assert report.period.missed_share == near(1 / 3) and report.period.static_j is None and report.period.total_j is None
    machine = price(trace, Chip.load("horowitz_int8"), period_s=1e-3)
    assert machine.period.missed_share is None and "cannot be judged" in machine.deadline()
