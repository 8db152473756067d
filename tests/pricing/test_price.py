"""Pricing: refusals, conservation, includes, links, periods; properties on random networks."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import full, layer, nature_like, network, networks, slow_stream, two_three_one

from neurosim import counters
from neurosim.chip import Chip
from neurosim.errors import DoesNotFit, PricingError
from neurosim.kernels import traffic as kernel
from neurosim.mapping import compile
from neurosim.pricing import price, traffic
from neurosim.simulation import simulate

near = partial(pytest.approx, rel=1e-9, abs=0)
"""Equal to rounding, however small: the default lets 1e-12 pass, which is a picojoule."""

FIT = Chip.load("loihi1_silicon_fit")
SMALL = FIT.with_settings({"core.neurons": 7, "noc.width": 5, "noc.height": 40})
COLUMN = {name: i for i, name in enumerate(counters.KERNEL_COLUMNS)}


def mapped(net, chip=FIT, **options):
    return compile(net, chip, hypothetical=True, **options)


def stream(net, n, seed=0):
    return slow_stream(net.input.shape, n, np.random.default_rng(seed))


def layer_sums(trace, program):
    """Sums of the kernel's columns over timesteps, per layer, from the mapped traffic."""
    total = sum(block.counts.sum(0) for block in traffic.blocks(trace, program))
    out = np.zeros((len(trace.network.layers), kernel.N_COLUMNS), np.int64)
    np.add.at(out, program.layer_of_slice, total)
    return out


@given(networks(), st.sampled_from(["fall_through", "pipelined"]), st.integers(2, 40), st.integers(0, 1000))
@settings(max_examples=40)
def test_cores_add_up_to_layers(net, schedule, core_neurons, seed):
    """Synapses met, updates and events out, summed over cores, are the layer's own counts."""
    resets = np.zeros(9, bool)
    resets[5] = True
    trace = simulate(net, stream(net, 9, seed), numerics="float64", schedule=schedule, resets=resets, reference="none")
    chip = SMALL.with_settings({"core.neurons": core_neurons})
    sums = layer_sums(trace, mapped(net, chip))
    np.testing.assert_array_equal(sums[:, kernel.NONZERO], trace.totals[:, COLUMN["effective_macs"]])
    np.testing.assert_array_equal(sums[:, kernel.UPDATES], trace.totals[:, COLUMN["neuron_updates"]])
    senders = [s for s in net.senders if s >= 0]
    np.testing.assert_array_equal(sums[senders, kernel.EVENTS_OUT], trace.totals[senders, COLUMN["events_out"]])
    per_timestep = np.concatenate([block.counts[:, :, kernel.UPDATES].sum(1) for block in traffic.blocks(trace, mapped(net, chip))])
    np.testing.assert_array_equal(per_timestep, trace.counts[:, :, COLUMN["neuron_updates"]].sum(1))
    dense = chip.with_settings({"core.weight_storage": ["dense"]})
    sums = layer_sums(trace, mapped(net, dense))
    np.testing.assert_array_equal(sums[:, kernel.SYNAPSES], trace.totals[:, COLUMN["synaptic_ops"]])
    np.testing.assert_array_equal(sums[:, kernel.VISITS], trace.totals[:, COLUMN["synaptic_ops"]])


@given(networks(), st.integers(0, 1000))
@settings(max_examples=20)
def test_placement_changes_only_hops(net, seed):
    """Any placement gives equal visits, updates and messages; only hops differ."""
    trace = simulate(net, stream(net, 5, seed), numerics="float64", reference="none")
    reports = [price(trace, mapped(net, SMALL, trace=trace, placement=p)) for p in ("row_major", "snake", "greedy")]
    for report in reports[1:]:
        for key in ("synapse_visits", "weight_reads", "messages_sent", "messages_received", "messages_local"):
            assert report.mapping_counts[key] == reports[0].mapping_counts[key]
        for key in ("neuron_update", "event_out", "neuron_access", "host_in"):
            assert report.energy.counts[key] == reports[0].energy.counts[key]


@given(networks(), st.sampled_from(["synapse.dense", "neuron_update", "event_out", "message_out", "hop.x", "neuron_access"]),
       st.floats(0.1, 10))
@settings(max_examples=20)
def test_energy_is_linear_in_each_coefficient(net, action, factor):
    trace = simulate(net, stream(net, 4), numerics="float64", reference="none")
    chip = SMALL.with_settings({"core.weight_storage": ["dense"]})
    dearer = chip.with_settings({f"cost.{action}.energy": f"{chip.energy_j(action) * factor!r} J"})
    a, b = (price(trace, mapped(net, c)).energy for c in (chip, dearer))
    assert b.total_j == near(a.total_j + (factor - 1) * a.parts.get(action, 0.0))


def test_unicast_messages_are_conserved():
    net = nature_like(np.random.default_rng(0))
    trace = simulate(net, stream(net, 6), numerics="float64", reference="none")
    counts = price(trace, mapped(net, SMALL)).mapping_counts
    assert counts["messages_sent"] == counts["messages_received"] > counts["input_messages"] > 0


def test_multicast_sends_once_and_crosses_no_more_links():
    net = nature_like(np.random.default_rng(0))
    trace = simulate(net, stream(net, 6), numerics="float64", reference="none")
    one, many = (price(trace, mapped(net, SMALL.with_settings({"noc.multicast": m}))).mapping_counts for m in (False, True))
    assert many["messages_received"] == one["messages_received"] > many["messages_sent"]
    for key in ("hops_x", "hops_y"):
        assert 0 < many[key] <= one[key]


def test_held_inputs_and_resets_are_counted_in_the_first_timestep():
    net = two_three_one()
    resets = np.array([False, True])
    trace = simulate(net, np.array([[1.0, 0], [1, 0]]), numerics="float64", resets=resets, reference="none")
    report = price(trace, mapped(net))
    assert report.energy.counts["state_reset"] == 8 and report.energy.counts["neuron_update"] == 8


def test_local_delivery_pays_a_message_only_where_the_chip_says_so():
    net = two_three_one()
    trace = simulate(net, np.array([[1.0, 0]]), numerics="float64", reference="none")
    for local in (True, False):
        chip = FIT.with_settings({"noc.local_messages": local})
        program = mapped(net, chip)
        # put both layers on one core by hand: the table has to be built again for it
        from neurosim.mapping import axons, route
        from neurosim.mapping.geometry import Reach
        slices = tuple(replace(s, core=0) for s in program.slices)
        reaches = {i: tuple(Reach(s) for s in x.synapses) for i, x in enumerate(net.layers)}
        table = axons.build(net, slices, reaches, chip.core)
        tiles = program.tile_of_core[:1]
        routes = route.routes(table, np.zeros(2, np.int64), tiles, (0, 0), program.mesh, 1, False)
        report = price(trace, replace(program, slices=slices, axons=table, routes=routes, tile_of_core=tiles))
        assert report.mapping_counts["messages_local"] == 2 and report.cores_used == 1
        assert report.energy.counts["message_out"] == (2 if local else 0)
        assert report.energy.counts["message_in"] == (3 if local else 1)


def test_overlap_groups_count_only_the_largest():
    net = two_three_one()
    trace = simulate(net, np.array([[1.0, 0]]), numerics="float64", reference="none")
    chip = FIT.with_settings({"timing.overlap": [["message_in", "synapse"], ["neuron_update", "event_out", "message_out"]]})
    # hidden core: max(16, 11.4) + max(11.1, 60, 10.2) + 18 = 94 ns; output core: max(32, 7.6) + 3.7 + 6 = 41.7 ns
    # both cores on one tile: no hops, barrier 2 x 0.6 us; an output core's idle 6 ns is never the slowest
    assert price(trace, mapped(net, chip)).latency.timestep_s["mean"] == near((94 + 41.7 + 1200) * 1e-9)


def test_busiest_link_can_be_critical():
    net = two_three_one()
    trace = simulate(net, np.array([[1.0, 0]]), numerics="float64", reference="none")
    chip = FIT.with_settings({"noc.flit_time": "1 us", "noc.events_per_message": 2})
    places = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
    latency = price(trace, mapped(net, chip, placement=places)).latency
    # 1 input event: 1 flit; 2 hidden events in one flit: 1 us each, hops 4.1 + 6.5 ns, 2 barriers of 1 us
    assert latency.timestep_s["mean"] == near((1000 + 4.1 + 1000 + 6.5 + 2000) * 1e-9)
    assert latency.critical["kind"] == "link" and latency.not_priced == ()


def test_period_counts_missed_deadlines():
    net = two_three_one()
    trace = simulate(net, np.array([[1.0, 0], [1, 1], [1, 1]]), numerics="float64", reference="none")
    # 2,186.6, 2,241.5, 2,036 ns with hand placement; here on one tile: less, but t3 stays below t1 and t2
    report = price(trace, mapped(net), period_s=1.3e-6)
    assert report.period.missed_share == near(2 / 3)


def test_extrapolated_operating_point_is_said():
    rng = np.random.default_rng(0)
    net = network([layer("a", full(-1, 40, 40, rng=rng)), layer("b", full(0, 40, 2, rng=rng), ())], (40,))
    trace = simulate(net, stream(net, 4), numerics="float64", reference="none")
    notes = price(trace, compile(net, Chip.load("loihi2"))).notes
    assert any("extrapolated" in note and "PilotNet" in note for note in notes)


def test_one_chip_file_can_be_complete():
    chip = Chip.load("""
name: all-known
kind: event
noc: {width: 2, height: 1, flit_time: 0 ns}
static_power: {per_chip: 1 mW}
cost:
  synapse: {energy: 1 pJ, time: 1 ns}
  neuron_access: {energy: 0 pJ, time: 0 ns}
  neuron_update: {energy: 1 pJ, time: 0 ns}
  event_out: {energy: 1 pJ, time: 0 ns}
  message_in: {energy: 1 pJ, time: 0 ns}
  message_out: {energy: 1 pJ, time: 0 ns}
  hop: {energy: 1 pJ, time: 0 ns}
  state_reset: {energy: 0 pJ}
  input_compare: {energy: 0 pJ}
  host_in: {energy: 0 pJ}
  host_out: {energy: 0 pJ}
""")
    net = two_three_one()
    trace = simulate(net, np.array([[1.0, 0]]), numerics="float64", reference="none")
    report = price(trace, compile(net, chip))
    # 5 visits, 4 updates, 2 events, 3 in, 2 out; hops: 1 input message stays in its tile, 2 cross one link; 5 ns x 1 mW
    assert report.energy.total_j == near((5 + 4 + 2 + 3 + 2 + 3 + 5) * 1e-12)
    assert report.energy.complete and report.latency.complete and ">=" not in str(report)


def test_refusals():
    net = two_three_one()
    trace = simulate(net, np.array([[1.0, 0]]), numerics="float64", reference="none")
    with pytest.raises(PricingError, match="loihi2 is an event chip: compile the network for it"):
        price(trace, Chip.load("loihi2"))
    other = nature_like(np.random.default_rng(0))
    with pytest.raises(PricingError, match="the trace is of another network"):
        price(trace, mapped(other))
    bare = simulate(net, np.array([[1.0, 0]]), numerics="float64", record="none", reference="none")
    with pytest.raises(PricingError, match="no event record"):
        price(bare, mapped(net))
    with pytest.raises(PricingError, match="control period is more than 0"):
        price(trace, mapped(net), period_s=0)
    with pytest.raises(DoesNotFit, match="hypothetical"):
        compile(net, FIT)
    assert price(trace, mapped(net)).hypothetical


def test_partly_recorded_run_is_priced_as_such():
    net = two_three_one()
    trace = simulate(net, np.array([[1.0, 0], [1, 1], [1, 1]]), numerics="float64", reference="none")
    n = len(net.senders)
    short = replace(trace, n_recorded=1, event_start=trace.event_start[: n + 1].copy(),
                    event_element=trace.event_element[: trace.event_start[n]].copy())
    report = price(short, mapped(net))
    assert report.n_timesteps == 1 and any("first 1 of 3 timesteps" in note for note in report.notes)


def test_blocks_of_timesteps_do_not_change_a_report(monkeypatch):
    net = nature_like(np.random.default_rng(1))
    trace = simulate(net, stream(net, 8), numerics="float64", schedule="pipelined", reference="none")
    program = mapped(net, SMALL)
    whole = price(trace, program)
    monkeypatch.setattr(traffic, "CHUNK", 1)
    parts = price(trace, program)
    assert parts.energy.total_j == near(whole.energy.total_j) and parts.mapping_counts == whole.mapping_counts
    np.testing.assert_allclose(parts.latency.per_timestep_s, whole.latency.per_timestep_s)
    np.testing.assert_array_equal(parts.burst, whole.burst)
