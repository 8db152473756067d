"""Conservation: what happens does not depend on where neurons sit; what depends on it equals a walk over every event and link."""

from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import THRESHOLDS, full, identity, layer, network, networks, slow_stream
from walker import Walker

from neurosim import counters
from neurosim.chip import STORAGE_KINDS, Chip
from neurosim.kernels import traffic as kernel
from neurosim.mapping import axons, check, compile, route
from neurosim.mapping.cut import reaches_of
from neurosim.mapping.usage import usage_of
from neurosim.pricing import price, traffic
from neurosim.simulation import simulate

BASE = """
name: tiny
kind: event
signals: [graded]
arithmetic: {weight_bits: 8, payload_bits: 16, accumulator_bits: 24}
noc: {width: 8, height: 40, cores_per_tile: 2, multicast: false, input_port: [1, 0], flit_time: 1 us}
core: {neurons: 9, weight_storage: [dense, sparse, convolution], kernel_sharing: true, index_bits: 4}
static_power: {per_chip: 1 mW}
cost:
  synapse: {dense: {energy: 3 pJ, time: 5 ns}, sparse: {energy: 5 pJ, time: 7 ns}, convolution: {energy: 7 pJ, time: 11 ns},
            crossbar: {energy: 11 pJ, time: 1 ns}}
  neuron_access: {energy: 13 pJ, time: 1 ns}
  neuron_update: {energy: 17 pJ, time: 3 ns}
  event_out: {energy: 19 pJ, time: 2 ns}
  message_in: {energy: 23 pJ, time: 2 ns}
  message_out: {energy: 29 pJ, time: 4 ns}
  hop: {x: {energy: 31 pJ, time: 3 ns}, y: {energy: 37 pJ, time: 5 ns}, chip: {energy: 41 pJ, time: 70 ns}, local: {energy: 43 pJ, time: 1 ns}}
  state_reset: {energy: 47 pJ}
  input_compare: {energy: 53 pJ}
  host_in: {energy: 59 pJ}
  host_out: {energy: 61 pJ}
"""
CHIP = Chip.load(BASE)
near = partial(pytest.approx, rel=1e-12, abs=0)
"""Equal to rounding, however small (by default pytest lets a picojoule pass)."""

PLACEMENTS = ("row_major", "snake", "greedy", "quadratic")
COLUMN = {name: i for i, name in enumerate(counters.KERNEL_COLUMNS)}


@st.composite
def chips(draw):
    """Settings of small event chips: unicast and multicast, one and several chips, all storage kinds, cores of several sizes."""
    n_chips = draw(st.sampled_from([1, 1, 2, 3]))
    storage = draw(st.sampled_from([["dense"], ["sparse"], ["crossbar"], ["dense", "sparse", "convolution"], ["sparse", "convolution"]]))
    return {
        "noc.multicast": draw(st.booleans()), "chips": n_chips, "noc.width": 9 - 2 * n_chips, "core.weight_storage": storage,
        "core.neurons": draw(st.sampled_from([1, 4, 9, 25, 300])), "noc.cores_per_tile": draw(st.sampled_from([1, 2, 4])),
        "noc.height": 1 + 400 // (9 - 2 * n_chips), "core.axon_source": draw(st.sampled_from([None, "structural", "nonzero"])),
        "noc.local_messages": draw(st.booleans())}


@st.composite
def pruned(draw):
    """Pruned full layers with a residual sum: many sources without any synapse into a core."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, hidden = draw(st.integers(3, 20)), draw(st.integers(2, 20))
    zeros = draw(st.sampled_from([0.5, 0.8, 0.95]))
    layers = [layer("a", full(-1, n, hidden, rng=rng, zeros=zeros), threshold=draw(THRESHOLDS)),
              layer("b", (full(0, hidden, hidden, rng=rng, zeros=zeros), identity(0, (1, 1, hidden))), threshold=draw(THRESHOLDS)),
              layer("c", full(1, hidden, 3, rng=rng, zeros=zeros), ())]
    return network(layers, (n,), threshold=draw(THRESHOLDS))


def run(net, n, seed, schedule="fall_through", reset_at=3):
    resets = np.zeros(n, bool)
    resets[reset_at:reset_at + 1] = True
    inputs = slow_stream(net.input.shape, n, np.random.default_rng(seed))
    return simulate(net, inputs, numerics="float64", schedule=schedule, resets=resets, reference="none")


def frozen(trace):
    """Everything that a trace holds, as bytes."""
    return [v.tobytes() if isinstance(v, np.ndarray) else repr(v) for f in fields(trace) for v in [getattr(trace, f.name)]]


NETS, SCHEDULES = st.one_of(networks(), pruned()), st.sampled_from(["fall_through", "pipelined"])


@given(NETS, st.lists(st.tuples(chips(), st.sampled_from(PLACEMENTS), st.booleans()), min_size=3, max_size=3), SCHEDULES, st.integers(0, 1000))
@settings(max_examples=25)
def test_mapping_and_pricing_change_nothing_of_a_run(net, mappings, schedule, seed):
    """Any mapping on any chip: the run stays as it is, and its mapping-free actions are priced equally often."""
    trace = run(net, 5, seed, schedule)
    before, totals = frozen(trace), dict(trace.totals_by_counter)
    free = None
    for chip, placement, balance in mappings:
        chip = CHIP.with_settings(chip)
        report = price(trace, compile(net, chip, trace, placement, balance=balance))
        counts = {a: report.energy.counts[a] for a in ("neuron_update", "event_out", "state_reset", "input_compare", "host_in", "host_out",
                                                       "neuron_access")}
        free = free or counts
        assert counts == free
        assert counts["neuron_update"] == totals["neuron_updates"] and counts["input_compare"] == totals["input_compares"]
        assert counts["host_in"] + counts["event_out"] == totals["events"]
    assert frozen(trace) == before and trace.totals_by_counter == totals
    again = run(net, 5, seed, schedule)
    assert again.outputs.tobytes() == trace.outputs.tobytes() and again.totals.tobytes() == trace.totals.tobytes()


@given(NETS, chips(), st.sampled_from(PLACEMENTS), SCHEDULES, st.integers(0, 1000))
@settings(max_examples=60)
def test_counts_equal_a_walk_over_every_event(net, chip, placement, schedule, seed):
    chip = CHIP.with_settings(chip)
    trace = run(net, 4, seed, schedule)
    program = compile(net, chip, trace, placement)
    walk, counts = Walker(trace, program), price(trace, program).mapping_counts
    expected = {"messages_sent": "sent", "input_messages": "input_sent", "messages_received": "received", "messages_local": "local",
                "hops_x": "x", "hops_y": "y", "hops_chip": "chip", "hops_local": "local_hops", "synapse_visits": "visits",
                "weight_reads": "weight_reads"}
    assert {key: counts[key] for key in expected} == {key: walk.total(name) for key, name in expected.items()}
    for kind in STORAGE_KINDS:
        assert counts.get(f"synapse_visits.{kind}", 0) == walk.total(f"visits.{kind}")


@given(NETS, chips(), st.sampled_from(PLACEMENTS), SCHEDULES, st.integers(0, 1000))
@settings(max_examples=40)
def test_cores_equal_a_walk_and_add_up(net, chip, placement, schedule, seed):
    """Per timestep and core, and summed over cores; only messages received grow with the number of cores."""
    chip = CHIP.with_settings(chip)
    trace = run(net, 4, seed, schedule)
    program = compile(net, chip, trace, placement)
    walk, blocks = Walker(trace, program), list(traffic.blocks(trace, program))
    on_core = np.eye(program.cores_used, dtype=np.int64)[program.core_of_slice]
    per_core = np.einsum("tsk,sc->ktc", np.concatenate([block.counts for block in blocks]), on_core)
    for column, name in ((kernel.MESSAGES_IN, "received"), (kernel.LOCAL_IN, "local"), (kernel.UPDATES, "updates"),
                         (kernel.EVENTS_OUT, "events_out"), (kernel.MESSAGES_OUT, "messages_out"), (kernel.WEIGHT_READS, "weight_reads"),
                         *((kernel.VISITS + k, f"visits.{kind}") for k, kind in enumerate(STORAGE_KINDS))):
        np.testing.assert_array_equal(per_core[column], walk.of_core(name), err_msg=name)
    total, report = per_core.sum(2), price(trace, program)
    senders = [s for s in net.senders if s >= 0]
    assert total[kernel.UPDATES].sum() == trace.totals[:, COLUMN["neuron_updates"]].sum()
    assert total[kernel.EVENTS_OUT].sum() == trace.totals[senders, COLUMN["events_out"]].sum()
    assert total[kernel.NONZERO].sum() == trace.totals[:, COLUMN["effective_macs"]].sum()
    assert total[kernel.MESSAGES_OUT].sum() + report.mapping_counts["input_messages"] == report.mapping_counts["messages_sent"]
    if set(chip.core[0].weight_storage) == {"dense"} and chip.core[0].axon_source != "nonzero":
        assert report.mapping_counts["synapse_visits"] == trace.totals[:, COLUMN["synaptic_ops"]].sum()
    if not chip.noc.multicast and schedule == "fall_through":
        assert report.mapping_counts["messages_sent"] == report.mapping_counts["messages_received"]


@given(NETS, chips(), SCHEDULES, st.integers(0, 1000), st.integers(2, 4))
@settings(max_examples=40)
def test_cores_that_hold_several_slices(net, chip, schedule, seed, per_core):
    """Slices of different layers share a core: events to the own core are local, one delivery serves all slices of a core."""
    chip = CHIP.with_settings(chip)
    trace = run(net, 4, seed, schedule)
    program = compile(net, chip, trace, "greedy")
    is_crossbar = "crossbar" in chip.core[0].weight_storage     # whose rows are as long as a core has neurons: it stays too small
    roomy = chip if is_crossbar else chip.with_settings({"core.neurons": None})
    n = len(program.slices)
    slices = tuple(replace(s, core=i * 7 % n // per_core if n % 7 else i // per_core) for i, s in enumerate(program.slices))
    tiles = program.tile_of_core[:1 + max(s.core for s in slices)]
    table = axons.build(net, slices, reaches_of(net), roomy.core)
    hop_s = [chip.time_s(f"hop.{kind}") for kind in ("x", "y", "chip", "local")]
    routes = route.routes(table, np.array([s.core for s in slices]), tiles, program.port, program.mesh, chip.chips, chip.noc.multicast, hop_s)
    shared = replace(program, chip=roomy, slices=slices, axons=table, routes=routes, tile_of_core=tiles,
                     usage=usage_of(net, roomy, slices, table, chip.noc.multicast))
    if not is_crossbar:
        check(shared, net)
    walk, report = Walker(trace, shared), price(trace, shared)
    assert report.cores_used == len(tiles)
    expected = {"messages_sent": "sent", "messages_received": "received", "messages_local": "local", "hops_x": "x", "hops_y": "y",
                "hops_chip": "chip", "hops_local": "local_hops", "synapse_visits": "visits"}
    assert {key: report.mapping_counts[key] for key in expected} == {key: walk.total(name) for key, name in expected.items()}
    paid = walk.total("local") if chip.noc.local_messages else 0
    assert report.energy.counts["message_in"] == walk.total("received") + paid


@given(NETS, chips(), st.sampled_from(PLACEMENTS), SCHEDULES, st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=40)
def test_busiest_link_and_longest_message_equal_a_walk(net, chip, placement, schedule, seed, per_flit):
    """A chip on which only links, or only hops, take time: a timestep is the busiest link, or the longest message, of each level."""
    chip = CHIP.with_settings(chip)
    trace = run(net, 4, seed, schedule)
    idle = {f"cost.{a}.time": "0 ns" for a in ("neuron_access", "neuron_update", "event_out", "message_in", "message_out")}
    idle |= {f"cost.synapse.{kind}.time": "0 ns" for kind in STORAGE_KINDS}
    links = chip.with_settings(idle | {f"cost.hop.{kind}.time": "0 ns" for kind in ("x", "y", "chip", "local")}
                               | {"noc.events_per_message": per_flit})
    program = compile(net, links, trace, placement)
    walk = Walker(trace, program)
    busiest = [sum(-(-n // per_flit) for n in levels.values()) * 1e-6 for levels in walk.links]
    np.testing.assert_allclose(price(trace, program).latency.per_timestep_s, busiest, rtol=1e-12)
    hops = chip.with_settings(idle | {"noc.flit_time": "0 ns"})
    program = compile(net, hops, trace, placement)
    longest = [sum(levels.values()) for levels in Walker(trace, program).longest]
    np.testing.assert_allclose(price(trace, program).latency.per_timestep_s, longest, rtol=1e-12, atol=1e-20)


COEFFICIENTS = [*(f"synapse.{kind}" for kind in STORAGE_KINDS), "neuron_access", "neuron_update", "event_out", "message_in", "message_out",
                "hop.x", "hop.y", "hop.chip", "hop.local", "state_reset", "input_compare", "host_in", "host_out"]


@pytest.mark.parametrize("action", COEFFICIENTS)
@given(NETS, chips(), st.sampled_from(PLACEMENTS), st.integers(0, 1000))
@settings(max_examples=5)
def test_energy_is_linear_in_each_coefficient(action, net, chip, placement, seed):
    """Double one cost: its part doubles, the other parts and the counts stay as they are."""
    chip = CHIP.with_settings(chip)
    trace = run(net, 4, seed)
    dearer = chip.with_settings({f"cost.{action}.energy": f"{2 * chip.energy_j(action)!r} J"})
    one, two = (price(trace, compile(net, c, trace, placement)).energy for c in (chip, dearer))
    assert one.counts == two.counts and one.parts.keys() == two.parts.keys()
    for part, energy_j in one.parts.items():
        assert two.parts[part] == near(energy_j * (2 if part == action else 1))
    assert two.total_j == near(one.total_j + one.parts.get(action, 0.0))
    for part, energy_j in one.parts.items():
        if part != "static":
            assert energy_j == near(one.counts[part] * chip.energy_j(part))
    assert one.total_j == near(sum(one.parts.values()))


def test_every_action_happens_in_some_run():
    """The properties above see every coefficient at work."""
    seen = set()
    rng = np.random.default_rng(0)
    net = network([layer("a", full(-1, 12, 12, rng=rng)), layer("b", full(0, 12, 3, rng=rng), ())], (12,))
    trace = run(net, 4, 0)
    for settings_ in ({"core.neurons": 3, "chips": 2, "noc.width": 1, "noc.height": 2}, {"core.weight_storage": ["crossbar"]},
                      {"core.weight_storage": ["dense"], "core.neurons": 3}, {"core.weight_storage": ["sparse"], "core.neurons": 2}):
        report = price(trace, compile(net, CHIP.with_settings(settings_), placement="row_major"))
        seen |= {action for action, n in report.energy.counts.items() if n}
    assert seen >= set(COEFFICIENTS) - {"synapse.convolution"}


@given(NETS, chips(), st.sampled_from(PLACEMENTS), SCHEDULES, st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=30)
def test_cores_and_links_equal_a_walk(net, chip, placement, schedule, seed, per_flit):
    chip = CHIP.with_settings(chip | {"noc.events_per_message": per_flit})
    trace = run(net, 4, seed, schedule)
    program = compile(net, chip, trace, placement)
    report, walk = price(trace, program), Walker(trace, program)
    traffic, counts = report.traffic, report.mapping_counts
    for name, total in (("synapse_visits", counts["synapse_visits"]), ("messages_in", counts["messages_received"]),
                        ("neuron_updates", report.energy.counts["neuron_update"]), ("weight_reads", counts["weight_reads"]),
                        ("neuron_accesses", report.energy.counts["neuron_access"])):
        assert traffic.cores[name].sum() == total
    events, flits = {}, {}
    for levels in walk.loads:
        for load in levels.values():
            for link, n in load.items():
                events[link] = events.get(link, 0) + n
                flits[link] = flits.get(link, 0) + -(-n // per_flit)
    names = {(1, 0): "+x", (-1, 0): "-x", (0, 1): "+y", (0, -1): "-y"}
    expected = {f"({a[0]}, {a[1]}) {names[b[0] - a[0], b[1] - a[1]]}": (n, flits[a, b]) for (a, b), n in events.items()}
    assert traffic.links == expected
