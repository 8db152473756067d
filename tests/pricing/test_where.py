"""Where energy goes (parts with ranges, layers, cores), area, and notes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks, slow_stream, two_three_one

from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.kernels import traffic as kernel
from neurosim.mapping import compile
from neurosim.pricing import price, price_variants
from neurosim.pricing.energy import action_counts, energy, located
from neurosim.report import NOT_MODELLED
from neurosim.simulation import simulate


def near(expected):
    """Equal but for rounding: joules and seconds are small, so nothing absolute is forgiven."""
    return pytest.approx(expected, rel=1e-9, abs=0)


FIT = Chip.load("loihi1_silicon_fit")
PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
PJ = 1e-12
ALL_KNOWN = """
name: all-known
kind: event
noc: {width: 5, height: 40, cores_per_tile: 2, flit_time: 3 ns}
core: {neurons: 9}
static_power: {per_chip: 1 mW, low: 0.5 mW, high: 3 mW, per_core: 10 uW, gated: true}
cost:
  synapse: {energy: 1 pJ, low: 0.5 pJ, time: 1 ns}
  neuron_access: {energy: 0.25 pJ, high: 1 pJ, time: 0.5 ns}
  neuron_update: {energy: 2 pJ, time: 1 ns}
  event_out: {energy: 3 pJ, time: 1 ns}
  message_in: {energy: 4 pJ, time: 2 ns}
  message_out: {energy: 5 pJ, time: 2 ns}
  hop: {energy: 6 pJ, time: 1 ns}
  state_reset: {energy: 7 pJ}
  input_compare: {energy: 8 pJ}
  host_in: {energy: 9 pJ}
  host_out: {energy: 11 pJ}
"""


def run(x=((1.0, 0),), **options):
    return simulate(two_three_one(), np.array(x), numerics="float64", reference="none", **options)


def test_energy_per_layer_and_core():
    # hidden: 3 visits x 35.5, 3 neurons x 2 accesses x 51.2, 3 updates x 21.6, 2 events x 69.3, 2 messages x 111, 2 hops in y x 4.2
    # output: 2 visits x 35.5, 2 accesses x 51.2, 1 update x 21.6; the input's message crosses one link in x: 3.0
    trace = run()
    cost = price(trace, compile(trace.network, FIT, placement=PLACES, hypothetical=True)).energy
    expected = {"input": {"hop": 3.0},
                "hidden": {"synapse": 106.5, "neuron_access": 307.2, "neuron_update": 64.8, "event_out": 138.6, "message_out": 222.0,
                           "message_in": 0.0, "hop": 8.4},
                "output": {"synapse": 71.0, "neuron_access": 102.4, "neuron_update": 21.6, "message_in": 0.0}}
    assert {name: {a: j / PJ for a, j in parts.items()} for name, parts in cost.by_layer.items()} == {
        name: near(parts) for name, parts in expected.items()}
    np.testing.assert_allclose(cost.by_core_j / PJ, [847.5, 195.0])


@given(networks(), st.sampled_from(["fall_through", "pipelined"]), st.sampled_from(["fall_through", "pipelined"]), st.booleans(),
       st.booleans(), st.integers(0, 1000))
@settings(max_examples=20)
def test_layers_and_cores_add_up(net, schedule, native, local, multicast, seed):
    """Energy of layers + static = total; energy of cores + border of the chip and hops of the input + static = total."""
    chip = Chip.load(ALL_KNOWN).with_settings({"supports.native_schedule": native, "noc.local_messages": local, "noc.multicast": multicast,
                                               "timing.barrier": "10 ns"})
    resets = np.zeros(5, bool)
    resets[3] = True
    trace = simulate(net, slow_stream(net.input.shape, 5, np.random.default_rng(seed)), numerics="float64", schedule=schedule, resets=resets,
                     reference="none")
    cost = price(trace, compile(net, chip)).energy
    layers = sum(sum(parts.values()) for parts in cost.by_layer.values())
    assert layers + cost.static_j == near(cost.total_j) and cost.complete
    border = cost.parts.get("host_out", 0.0) + sum(cost.by_layer["input"].values())
    assert cost.by_core_j.sum() + border + cost.static_j == near(cost.total_j)


def test_local_deliveries_belong_to_their_layers():
    # by hand: hidden sends 2 events to its own core, output receives 3; local messages pay 5 and 4 pJ
    trace = run()
    program = compile(trace.network, Chip.load(ALL_KNOWN).with_settings({"noc.local_messages": True}), placement=PLACES)
    counts, fans = np.zeros((2, kernel.N_COLUMNS), np.int64), np.zeros(program.axons.n_fans, np.int64)
    counts[0, kernel.LOCAL_OUT], counts[1, kernel.LOCAL_IN] = 2, 3
    actions = action_counts(trace, program, counts, fans @ program.routes.hops, 1)
    cost = located(energy(program.chip, program, actions, 1, None), trace, program, counts, fans, 1)
    assert cost.by_layer["hidden"]["message_out"] == near(10 * PJ) and cost.by_layer["output"]["message_in"] == near(12 * PJ)


def test_parts_have_ranges():
    trace = run()
    cost = price(trace, compile(trace.network, Chip.load(ALL_KNOWN), placement=PLACES)).energy
    assert cost.parts_range["synapse.dense"] == near((5 * 0.5 * PJ, 5 * PJ))  # no high end: the figure itself
    assert cost.parts_range["neuron_access"] == near((4 * 0.25 * PJ, 4 * PJ))
    power = (1e-3 + 20e-6, 0.5e-3 + 20e-6, 3e-3 + 20e-6)
    assert cost.parts_range["static"] == near((cost.static_j / power[0] * power[1], cost.static_j / power[0] * power[2]))
    assert {"synapse.dense", "neuron_access", "static"}.isdisjoint(cost.no_range) and "event_out" in cost.no_range
    for k, total in ((0, cost.low_j), (1, cost.high_j)):
        assert sum(ends[k] for ends in cost.parts_range.values()) == near(total)
    document = cost.to_json()
    assert document["parts_range"]["neuron_access"] == near([PJ, 4 * PJ]) and "event_out" in document["no_range"]


@pytest.mark.parametrize(("settings", "mm2", "of"), [
    ({"area.per_chip": "60 mm2", "area.per_core": "0.4 mm2"}, 60, "1 chip"),
    ({"area.per_chip": "60 mm2", "chips": 2}, 60, "1 chip"),  # both cores stand on the first chip
    ({"area.per_core": "0.4 mm2"}, 0.8, "2 cores in use"),
])
def test_area_of_what_is_used(settings, mm2, of):
    chip = Chip.load(ALL_KNOWN).with_settings({**settings, "area.process": "22 nm", "area.grade": "vendor_claim"})
    trace = run()
    report = price(trace, compile(trace.network, chip))
    assert report.area.area_m2 == near(mm2 * 1e-6) and report.area.of == of and f"{mm2:g} mm2 ({of}, 22 nm)" in str(report)
    assert report.to_json()["area"] == {"area_m2": near(mm2 * 1e-6), "of": of, "process": "22 nm", "grade": "vendor_claim",
                                        "source": None}


def test_area_that_is_not_published_is_null():
    trace = run()
    report = price(trace, compile(trace.network, Chip.load(ALL_KNOWN)))
    assert report.area is None and report.to_json()["area"] is None
    machine = Chip.load("horowitz_int8").with_settings({"area.per_chip": "2 mm2"})
    assert price(trace, machine).area.area_m2 == near(2e-6)


def test_notes_come_weightiest_first_and_in_few_lines():
    trace = run()
    chip = Chip.load("loihi2")
    report = price(trace, compile(trace.network, chip))
    starts = ["energy is a lower bound; not priced: ", "time is a lower bound, and so is static energy; not priced: ", "extrapolated: ",
              "fall_through is emulated", "inside the energy of synapse, not added again: neuron_access, ", "not published: input port ("]
    assert all(note.startswith(start) for note, start in zip(report.notes, starts))
    assert report.notes[-1] == f"simulated model of loihi2, not silicon; not modelled: {'; '.join(NOT_MODELLED)}"
    assert len(report.notes) == len(set(report.notes)) and report.to_json()["not_modelled"] == list(NOT_MODELLED)
    assert price(trace, compile(trace.network, FIT, hypothetical=True)).notes[0].startswith("hypothetical: ")
    assert price(trace, Chip.load("horowitz_int8")).notes[-1].startswith("simulated model of horowitz_int8, not silicon; not modelled: ")


def test_variants_equal_prices_of_their_own():
    trace = run(((1.0, 0), (1, 1), (1, 1)))
    chip = Chip.load(ALL_KNOWN)
    program = compile(trace.network, chip, placement=PLACES)
    changed = [{"cost.synapse.time": "50 ns"}, {"noc.flit_time": "200 ns"}, {"timing.barrier": "1 us", "static_power.per_chip": "2 mW"}, {}]
    found = price_variants(trace, program, [chip.with_settings(s) for s in changed], period_s=1e-6)
    for report, settings_ in zip(found, changed, strict=True):
        own = price(trace, compile(trace.network, chip.with_settings(settings_), placement=PLACES), period_s=1e-6)
        assert report.to_json() == own.to_json() and report.coverage == own.coverage


def test_variants_of_another_mapping_are_refused():
    trace, chip = run(), Chip.load(ALL_KNOWN)
    program = compile(trace.network, chip)
    with pytest.raises(PricingError, match="all-known differs from all-known in noc, core: compile the network for it"):
        price_variants(trace, program, [chip.with_settings({"noc.width": 6, "core.neurons": 8})])
    with pytest.raises(PricingError, match="differs from all-known in kind"):
        price_variants(trace, program, [Chip.load("horowitz_int8")])
