"""The 2-3-1 network on three machines, every figure computed by hand (weights and events: tests/networks.py).

        h            y   input events  hidden events  synapses met  non-zero  updates  zero-skip
t1      1, 0, 2      3   1             2              3 + 2 = 5     2 + 2     4        4
t2      3, 1, 0      4   1             3              3 + 3 = 6     3 + 3     4        7
t3      3, 1, 0      4   0             0              0             0         0        7

Places: input port on tile (0, 0), hidden layer on (1, 0), output on (1, 1): an input message
crosses one link in x, a hidden message one in y.
"""

from functools import partial

import numpy as np
import pytest
from networks import TWO_THREE_ONE_INPUTS, two_three_one

from neurosim.chip import Chip
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate

near = partial(pytest.approx, rel=1e-9, abs=0)
"""Equal to rounding, however small: the default lets 1e-12 pass, which is a picojoule."""

PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
PJ, NS = 1e-12, 1e-9


def run(n, **options):
    return simulate(two_three_one(), TWO_THREE_ONE_INPUTS[:n], numerics="float64", reference="all", **options)


def mapped(chip, trace, **options):
    return price(trace, compile(trace.network, chip, placement=PLACES, hypothetical=True), **options)


def per_timestep_pj(chip, leave_out=("static", "state_reset")):
    """Dynamic energy of t1, t2, t3 from the differences of runs of one, two and three timesteps."""
    totals = [0.0]
    for n in (1, 2, 3):
        parts = mapped(chip, run(n)).energy.parts
        totals.append(sum(j for action, j in parts.items() if action not in leave_out) / PJ)
    return np.diff(totals)


FIT = Chip.load("loihi1_silicon_fit")


@pytest.mark.parametrize(("chip", "expected"), [
    # t1: 8 x 51.2 + 4 x 21.6 + 2 x 69.3 + 2 x 111.0 + 3 x 0 + 5 x 35.5 + 3.0 + 2 x 4.2
    #     = 409.6 + 86.4 + 138.6 + 222.0 + 0 + 177.5 + 3.0 + 8.4 = 1,045.5
    # t2: 409.6 + 4 x 21.6 + 3 x 69.3 + 3 x 111.0 + 6 x 35.5 + 3.0 + 3 x 4.2 = 1,265.5;  t3: 8 x 51.2
    (FIT, (1045.5, 1265.5, 409.6)),
    # 4, 6, 0 visits at 33.6: 1,045.5 - 177.5 + 134.4; 1,265.5 - 213.0 + 201.6
    (FIT.with_settings({"core.weight_storage": ["sparse"]}), (1002.4, 1254.1, 409.6)),
    # natively fall-through: 4 accesses, so 204.8 less
    (FIT.with_settings({"supports.native_schedule": "fall_through"}), (840.7, 1060.7, 204.8)),
    # published set: 8 x 52 + 4 x 29 + 5 x 23.6 + 3.0 + 2 x 4.0 = 661.0;
    # 416 + 116 + 6 x 23.6 + 3.0 + 3 x 4.0 = 688.6; 416 (state reset, 4 x 45.3 once, apart)
    (Chip.load("loihi1"), (661.0, 688.6, 416.0)),
    # 5 x 20, 6 x 20, 0; everything else is included
    (Chip.load("grai_one"), (100.0, 120.0, 0.0)),
    # sparse storage: 4 visits
    (Chip.load("grai_one").with_settings({"core.weight_storage": ["sparse"]}), (80.0, 120.0, 0.0)),
], ids=["fit", "fit-sparse", "fit-native", "published", "grai", "grai-sparse"])
def test_dynamic_energy_per_timestep(chip, expected):
    np.testing.assert_allclose(per_timestep_pj(chip), expected, rtol=1e-12)


def test_silicon_fit_names_what_it_leaves_out():
    report = mapped(FIT, run(1))
    assert set(report.energy.not_priced) == {"host_in", "input_compare", "host_out", "state_reset", "static"}
    assert not report.energy.complete and ">= 1.05 nJ" in str(report)
    counts = report.energy.counts
    assert (counts["host_in"], counts["input_compare"], counts["host_out"], counts["state_reset"]) == (1, 2, 1, 4)
    assert (counts["message_in"], counts["message_out"], counts["neuron_access"]) == (3, 2, 8)
    assert any("not silicon" in note for note in report.notes) and any("emulated" in note for note in report.notes)


def test_silicon_fit_time():
    # hidden core 16 + 3 x 3.8 + 3 x 6 + 3 x 3.7 + 2 x 30 + 2 x 5.1 = 126.7; output core 2 x 16 + 2 x 3.8 + 6 + 3.7 = 49.3
    # (126.7 + 4.1) + (49.3 + 6.5) + 2 x 1,000 (two tiles: barrier 1.0 us) = 2,186.6 ns
    latency = mapped(FIT, run(1)).latency
    assert latency.timestep_s["mean"] == near(2186.6 * NS)
    assert latency.critical == {"kind": "core", "core": 0, "layer": "hidden", "share": near(126.7 / 2186.6)}
    assert latency.parts["barrier"] == near(2000 * NS) and latency.parts["hops"] == near(10.6 * NS)
    assert not latency.complete and latency.not_priced == ("link",)


def test_silicon_fit_pipelined():
    # t1's input held for two timesteps: 8 accesses, 4 + 1 updates, the rest as in fall-through:
    # 409.6 + 108.0 + 138.6 + 222.0 + 177.5 + 11.4 = 1,067.1 pJ
    trace = simulate(two_three_one(), TWO_THREE_ONE_INPUTS[:1], numerics="float64", schedule="pipelined", timesteps_per_input=2)
    report = mapped(FIT, trace)
    assert report.energy.total_j == near(1067.1 * PJ)
    # the first timestep: hidden core 126.7, longest hop 6.5, barrier 1,000
    assert report.latency.per_timestep_s[0] == near(1133.2 * NS)
    assert report.latency.answer_s["mean"] == near(report.latency.per_timestep_s.sum())
    assert not any("emulated" in note for note in report.notes)


def test_silicon_fit_pipelined_steady_state():
    # inputs that keep alternating: hidden and output work in one step; the hidden core has most
    x = np.array([[1.0, 0]] + [[0, 0], [1, 0]] * 3)
    latency = mapped(FIT, simulate(two_three_one(), x, numerics="float64", schedule="pipelined")).latency
    # hidden core: 1 message, 3 visits, 3 accesses, 3 updates, 2 events and messages out = 126.7 in every step
    np.testing.assert_allclose(latency.per_timestep_s, 1133.2 * NS)
    assert latency.answer_s["mean"] == near(2 * 1133.2 * NS)
    assert latency.throughput_hz == near(1 / (1133.2 * NS))


def test_grai_one():
    report = mapped(Chip.load("grai_one"), run(1), period_s=16.7e-3)
    assert report.energy.parts["synapse.dense"] == near(100 * PJ)
    assert report.energy.low_j - 350 * PJ == near(5 * 16.3 * PJ)
    # (3 + 2) x 2 ns; hops are included; 35 mW x 10 ns = 350 pJ; 35 mW x 16.7 ms = 584.5 uJ
    assert report.latency.timestep_s["mean"] == near(10 * NS)
    assert report.energy.static_j == near(350 * PJ)
    assert report.period.static_j == near(584.5e-6) and report.period.missed_share == 0
    assert set(report.energy.included) == {"neuron_update", "event_out", "message_out", "message_in", "hop"}
    assert {"neuron_access", "host_in", "host_out"} <= set(report.energy.not_priced)
    latency = mapped(Chip.load("grai_one"), run(3)).latency
    np.testing.assert_allclose(latency.per_timestep_s, [10 * NS, 12 * NS, 0], atol=1e-20)


@pytest.mark.parametrize(("name", "expected_pj"), [
    ("horowitz_int8", 3 * 9 * 0.23),                  # 9 dense MACs in each of three timesteps
    ("horowitz_int8_zero_skip", (4 + 7 + 7) * 0.23),
    ("horowitz_int8_sram", 3 * 9 * 2.73),
    ("horowitz_fp32", 3 * 9 * 4.6),
])
def test_dense_machines(name, expected_pj):
    report = price(run(3), Chip.load(name))
    assert report.energy.total_j == near(expected_pj * PJ)
    assert report.latency is None and report.cores_used == 1 and not report.energy.complete
    assert {"neuron_update", "static"} <= set(report.energy.not_priced)


def test_zero_skip_machine_without_reference_is_not_priced():
    trace = simulate(two_three_one(), TWO_THREE_ONE_INPUTS, numerics="float64", reference="none")
    report = price(trace, Chip.load("horowitz_int8_zero_skip"))
    assert report.energy.parts == {} and report.energy.not_priced[0] == "synapse" and not report.energy.complete
    assert any("zero_skip_macs was not measured" in note for note in report.notes)
