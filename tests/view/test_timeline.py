"""Timelines: read back with Perfetto's own classes, they hold the pricer's times and the trace's counts, and every message once."""

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import nature_like, networks, slow_stream, two_three_one

import neurosim as ns
from neurosim.errors import LoadError, PricingError
from neurosim.network import INPUT, Input, Layer, Network, OutputPart
from neurosim.neurons import Dynamics
from neurosim.synapses import Synapses

perfetto = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")

from neurosim.view.timeline import timeline  # noqa: E402

FIT = ns.Chip.load("loihi1_silicon_fit")
SMALL = {"core.neurons": 7, "core.weight_storage": ["dense"], "noc.width": 5, "noc.height": 40}
NATIVE = SMALL | {"supports.native_schedule": "fall_through"}
PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
PS = 1e-12


@dataclass
class Slice:
    track: str
    begin: int
    name: str
    args: dict
    sends: list
    receives: list
    inside: list
    end: int = -1


@dataclass
class File:
    tracks: list = field(default_factory=list)
    parent: dict = field(default_factory=dict)
    slices: list = field(default_factory=list)
    instants: list = field(default_factory=list)
    counters: dict = field(default_factory=lambda: defaultdict(list))
    units: dict = field(default_factory=dict)

    def on(self, start):
        return [s for s in self.slices if s.track.startswith(start)]

    @property
    def work(self):
        return self.on("core ")

    @property
    def steps(self):
        return [s for s in self.on("timesteps") if not s.inside]


def value_of(a):
    if a.dict_entries:
        return {e.name: value_of(e) for e in a.dict_entries}
    return getattr(a, next(kind for kind in ("bool_value", "int_value", "double_value", "string_value") if a.HasField(kind)))


def read(data):
    """Tracks, slices and counters of a file; refuses slices that do not nest, and events out of order."""
    parsed, file, names, opened, last = perfetto.Trace(), File(), {}, defaultdict(list), 0
    parsed.ParseFromString(data)
    for packet in parsed.packet:
        if packet.HasField("track_descriptor"):
            d = packet.track_descriptor
            names[d.uuid] = d.name
            file.tracks.append(d.name)
            file.parent[d.name] = names.get(d.parent_uuid)
            if d.HasField("counter"):
                file.units[d.name] = d.counter.unit_name
            continue
        event, at = packet.track_event, packet.timestamp
        assert at >= last and packet.trusted_packet_sequence_id
        last, track = at, names[event.track_uuid]
        args = {a.name: value_of(a) for a in event.debug_annotations}
        if event.type == event.TYPE_COUNTER:
            file.counters[track].append((at, event.counter_value if event.HasField("counter_value") else event.double_counter_value))
            continue
        if event.type == event.TYPE_SLICE_END:
            done = opened[track].pop()
            done.end = at
            continue
        new = Slice(track, at, event.name, args, list(event.flow_ids), list(event.terminating_flow_ids), [s.name for s in opened[track]])
        if event.type == event.TYPE_INSTANT:
            new.end = at
            file.instants.append(new)
        else:
            file.slices.append(new)
            opened[track].append(new)
    assert not any(opened.values())
    return file


def priced(net, chip=FIT, n=12, *, schedule="fall_through", resets=(), **options):
    rng = np.random.default_rng(3)
    trace = ns.simulate(net, slow_stream(net.input.shape, n, rng), numerics="float64", schedule=schedule, reference="none",
                        resets=np.isin(np.arange(n), (0, *resets)))
    program = ns.compile(net, chip, hypothetical=True, **options)
    return trace, program, ns.price(trace, program)


RUNS = {
    "emulated": (SMALL, "fall_through"),
    "native": (NATIVE, "fall_through"),
    "pipelined": (SMALL, "pipelined"),
    "overlap": (NATIVE | {"timing.overlap": [["message_in", "synapse"], ["neuron_update", "event_out", "message_out"]]}, "fall_through"),
    "links": (NATIVE | {"noc.flit_time": "80 ns", "noc.events_per_message": 2}, "fall_through"),
}


@pytest.fixture(scope="module", params=RUNS)
def run(request):
    settings_, schedule = RUNS[request.param]
    trace, program, report = priced(nature_like(np.random.default_rng(0)), FIT.with_settings(settings_), schedule=schedule, resets=(7,))
    return trace, program, report, read(timeline(trace, program, report, flows_per_timestep=10**6))


def test_two_cores_by_hand():
    # 2-3-1 network, inputs [1, 0]: one input event; h = [1, 0, 2]: two hidden events; see tests/pricing/test_worked_examples.py.
    # hops     input message, one link in x: 4.1 ns
    # core 0   message 16 + 3 visits 3 x 3.8 + 3 accesses 18 + 3 updates 11.1 + 2 events 60 + 2 messages 10.2 = 126.7 ns
    # core 1   meanwhile accesses its one neuron, 6 ns; barrier of two tiles 1,000 ns
    # hops     hidden messages, one link in y: 6.5 ns
    # core 1   2 messages 32 + 2 visits 7.6 + access 6 + update 3.7 = 49.3 ns; core 0 accesses 18 ns; barrier 1,000 ns
    # begins:  4.1 | 130.8 | 1,130.8 | 1,137.3 | 1,186.6 | 2,186.6 ns
    net = two_three_one()
    trace = ns.simulate(net, np.array([[1.0, 0]]), numerics="float64", reference="none")
    file = read(timeline(trace, ns.compile(net, FIT, hypothetical=True, placement=PLACES)))
    assert file.tracks == ["test on loihi1_silicon_fit, model time (1 ns shown is 1 ps)", "timesteps", "synaptic operations",
                           "work of the busiest core", "flits on link (1, 0) +y", "flits on link (0, 0) +x", "input port tile (0, 0)",
                           "core 0 (hidden) tile (1, 0)", "core 1 (output) tile (1, 1)"]
    assert [(s.name, s.begin, s.end) for s in file.on("timesteps")] == [
        ("timestep 0", 0, 2186600), ("hops", 0, 4100), ("level 1: core 0 (hidden)", 4100, 130800), ("barrier", 130800, 1130800),
        ("hops", 1130800, 1137300), ("level 2: core 1 (output)", 1137300, 1186600), ("barrier", 1186600, 2186600)]
    first, idle, second, idle_first = sorted(file.work, key=lambda s: (s.begin, s.begin - s.end))
    assert [(s.name, s.begin, s.end) for s in (first, idle, second, idle_first)] == [
        ("hidden", 4100, 130800), ("neuron access", 4100, 10100), ("output", 1137300, 1186600), ("neuron access", 1137300, 1155300)]
    assert {k: first.args[k] for k in ("synapse_visits", "neuron_updates", "events_out", "messages_out", "messages_in")} == {
        "synapse_visits": 3, "neuron_updates": 3, "events_out": 2, "messages_out": 2, "messages_in": 1}
    (sent,) = (s for s in file.instants if s.name == "input")
    assert sent.args == {"events_out": 1, "messages_out": 1, "messages_to": {"core 0 (hidden)": 1}}
    assert first.args["messages_to"] == {"core 1 (output)": 2} and first.args["messages_from"] == {"input port": 1}
    assert (sent.sends, first.receives, first.sends, second.receives) == ([1], [1], [2], [2]) and second.args["messages_from"] == {"core 0 (hidden)": 2}
    assert file.counters["synaptic operations"] == [(0, 5), (2186600, 0)]
    assert file.counters["work of the busiest core"] == [(0, pytest.approx(126.7 + 18)), (2186600, 0)]  # both levels of core 0
    assert file.counters["flits on link (1, 0) +y"] == [(0, 2), (2186600, 0)]


def test_two_cores_pipelined_by_hand():
    # The same network, inputs [1, 0], [1, 0]; both layers work at once, natively: one barrier of 1,000 ns per timestep.
    # t0  core 0 as above: 126.7 ns; core 1: access 6 + update 3.7 (first timestep) = 9.7 ns; the hidden messages travel in the
    #     timestep that sends them: hops max(4.1, 6.5) = 6.5 ns
    # t1  no input event: core 0 accesses, 18 ns; core 1 hears two messages: 49.3 ns; no message travels: no hops
    net = two_three_one()
    trace = ns.simulate(net, np.array([[1.0, 0], [1, 0]]), numerics="float64", schedule="pipelined", reference="none")
    file = read(timeline(trace, ns.compile(net, FIT, hypothetical=True, placement=PLACES)))
    end = 6500 + 126700 + 1000000
    assert [(s.name, s.begin, s.end) for s in file.on("timesteps")] == [
        ("timestep 0", 0, end), ("hops", 0, 6500), ("all levels: core 0 (hidden)", 6500, 133200), ("barrier", 133200, end),
        ("timestep 1", end, end + 1049300), ("all levels: core 1 (output)", end, end + 49300), ("barrier", end + 49300, end + 1049300)]
    assert [(s.name, s.begin, s.end) for s in file.work] == [("hidden", 6500, 133200), ("output", 6500, 16200),
                                                             ("hidden", end, end + 18000), ("output", end, end + 49300)]
    assert file.work[0].sends == file.work[3].receives == [2] and file.work[3].args["messages_from"] == {"core 0 (hidden)": 2}


def test_tracks_are_cores_and_the_others(run):
    trace, program, report, file = run
    assert len(set(file.tracks)) == len(file.tracks) == program.cores_used + len(file.counters) + 3  # first track, timesteps, input port
    assert len(file.counters) == 2 + min(8, len(report.traffic.links))
    assert set(file.counters) == set(file.units)
    assert {s.track for s in file.work} == {t for t in file.tracks if t.startswith("core ")}
    assert all(file.parent[t] == (file.tracks[0] if i else None) for i, t in enumerate(file.tracks))
    x, y = program.tile_of_core[0]
    assert f"core 0 (c1) tile ({x}, {y})" in file.tracks


def test_slices_nest_and_never_overlap(run):
    trace, _, _, file = run
    by_track = defaultdict(list)
    for s in file.slices:
        assert s.begin <= s.end and (not s.inside if s.track != "timesteps" else len(s.inside) <= 1)
        by_track[s.track, bool(s.inside)].append(s)
    for slices in by_track.values():
        assert all(a.end <= b.begin for a, b in zip(slices, slices[1:]))
    steps = {s.name: s for s in file.steps}
    assert list(steps) == [f"timestep {t}" for t in range(12)]
    for s in file.on("timesteps"):
        if s.inside:
            assert steps[s.inside[0]].begin <= s.begin and s.end <= steps[s.inside[0]].end
    levels = [s for s in file.on("timesteps") if "level" in s.name]
    for s in file.work:  # within the work of a level, begun with it
        assert any(s.begin == level.begin and s.end <= level.end for level in levels), s


def test_timesteps_end_when_the_price_says(run):
    _, _, report, file = run
    seconds = report.latency.per_timestep_s
    assert file.steps[-1].end == round(seconds.sum() / PS) == round(read_about(file)["duration_s"] / PS)
    assert [s.end for s in file.steps] == np.rint(seconds.cumsum() / PS).tolist()
    assert [s.args["duration_s"] for s in file.steps] == seconds.tolist()
    assert [s.begin for s in file.steps[1:]] == [s.end for s in file.steps[:-1]]
    parts = Counter()
    for s in file.on("timesteps"):
        parts[s.name.split(":")[0].split(" ")[0]] += s.args["duration_s"]
    assert parts["hops"] == pytest.approx(report.latency.parts["hops"], rel=1e-9)
    assert parts["barrier"] == pytest.approx(report.latency.parts["barrier"], rel=1e-9)
    assert parts["level"] + parts["all"] == pytest.approx(report.latency.parts["cores"] + report.latency.parts["links"], rel=1e-9)


def read_about(file):
    (about,) = (s for s in file.instants if s.name == "about")
    return about.args


def test_durations_are_the_work_of_the_price(run):
    trace, program, report, file = run
    work_s = np.zeros(program.cores_used)
    for s in file.work:
        assert abs(s.end - s.begin - s.args["duration_s"] / PS) <= 1 + 1e-6  # begin and end are rounded
        if s.name != "neuron access":
            work_s[int(s.track.split()[1])] += s.args["duration_s"]
    neurons = np.bincount(program.core_of_slice, [s.n_neurons for s in program.slices])
    if any(s.name == "neuron access" for s in file.work):  # emulated: each core here has one slice, so it only waits in other levels
        per_core = Counter(int(s.track.split()[1]) for s in file.work if s.name == "neuron access")
        assert per_core == {core: 12 * (trace.network.depth - 1) for core in range(program.cores_used)}
        assert {round(s.args["duration_s"] / 6e-9) for s in file.work if s.name == "neuron access"} == set(neurons.tolist())
    np.testing.assert_allclose(work_s / 12, report.latency.core_work_s, rtol=1e-9)


@pytest.mark.parametrize("name", ["emulated", "native", "pipelined"])
def test_durations_are_counts_times_times(name):
    """A slow twin of the work of a core: what its slice counts, times what one of them takes."""
    settings_, schedule = RUNS[name]
    trace, program, _ = priced(nature_like(np.random.default_rng(0)), FIT.with_settings(settings_), schedule=schedule)
    neurons = np.bincount(program.core_of_slice, [s.n_neurons for s in program.slices])
    times = {"synapse_visits": 3.8, "neuron_updates": 3.7, "events_out": 30, "messages_out": 5.1, "messages_in": 16}
    slices = read(timeline(trace, program)).work
    assert any(s.args.get("messages_in") and s.args["events_out"] for s in slices)
    for s in slices:
        expected = 6 * neurons[int(s.track.split()[1])] + sum(n * s.args.get(key, 0) for key, n in times.items())
        assert s.args["duration_s"] == pytest.approx(expected * 1e-9, rel=1e-9)


def test_counters_are_the_counts_of_the_trace(run):
    trace, program, report, file = run
    for samples in file.counters.values():
        assert [at for at, _ in samples] == [s.begin for s in file.steps] + [file.steps[-1].end] and samples[-1][1] == 0
    values = {name: np.array([v for _, v in samples[:-1]]) for name, samples in file.counters.items()}
    names = list(ns.counters.KERNEL_COLUMNS)
    operations = trace.counts[:, :, names.index("synaptic_ops")].sum(1)
    assert values["synaptic operations"].tolist() == operations.tolist() and operations.any()
    per_timestep = Counter()
    work_s = np.zeros((12, program.cores_used))
    for s in file.work:
        t = next(i for i, step in enumerate(file.steps) if step.begin <= s.begin and s.end <= step.end)
        work_s[t, int(s.track.split()[1])] += s.args["duration_s"]
        per_timestep[t, "updates"] += s.args.get("neuron_updates", 0)
        per_timestep[t, "events"] += s.args.get("events_out", 0)
    np.testing.assert_allclose(values["work of the busiest core"], work_s.max(1) * 1e9, rtol=1e-9)
    senders = [i for i in trace.network.senders if i != INPUT]
    for t in range(12):
        assert per_timestep[t, "updates"] == trace.counts[t, :, names.index("neuron_updates")].sum()
        assert per_timestep[t, "events"] == trace.counts[t, senders, names.index("events_out")].sum()
    links = sorted((flits for _, flits in report.traffic.links.values()), reverse=True)[:8]
    shown = [(name, v) for name, v in values.items() if " link " in name]
    for (name, v), most in zip(shown, links, strict=True):
        flits = v * report.latency.per_timestep_s / 80e-9 / 100 if name.startswith("occupancy") else v
        assert flits.sum() == pytest.approx(report.traffic.links[name.split(" link ")[1]][1]) == pytest.approx(most)
        assert file.units[name] == ("%" if name.startswith("occupancy") else "per timestep") and (not name.startswith("o") or v.max() <= 100)


def ends_of(file):
    """Where each flow begins and ends."""
    sent, received = defaultdict(list), defaultdict(list)
    for s in (*file.slices, *file.instants):
        for number in s.sends:
            sent[number].append(s)
        for number in s.receives:
            received[number].append(s)
    return sent, received


def test_every_flow_begins_once_and_ends_once(run):
    trace, _, _, file = run
    sent, received = ends_of(file)
    assert set(sent) == set(received) == set(range(1, len(sent) + 1)) and len(sent) > 12
    for number in sent:
        (a,), (b,) = sent[number], received[number]
        n_a, n_b = (list(s.args[key].values())[ids.index(number)] for s, key, ids in
                    ((a, "messages_to", a.sends), (b, "messages_from", b.receives)))
        assert n_a == n_b > 0
        here, there = (next(i for i, step in enumerate(file.steps) if step.begin <= s.begin < step.end) for s in (a, b))
        later = trace.schedule == "pipelined" and a.name != "input"
        assert there == here + later and (a.begin < b.begin or a.name == "input")


def test_messages_are_those_of_the_traffic(run):
    trace, _, report, file = run
    received = sum(sum(s.args.get("messages_from", {}).values()) for s in file.work)
    without = sum(s.args["messages_without_flow"] for s in file.steps)
    assert received + without == report.mapping_counts["messages_sent"]  # unicast: each is received once
    for s in file.work:
        assert sum(s.args.get("messages_from", {}).values()) == s.args.get("messages_in", 0)
    inputs = [s for s in file.instants if s.name == "input"]
    assert sum(s.args["messages_out"] for s in inputs) == report.mapping_counts["input_messages"]
    assert sum(s.args["events_out"] for s in inputs) == trace.input_events
    if trace.schedule == "pipelined":  # the reset in timestep 7, and the end, leave what was sent just before unheard
        assert [i for i, s in enumerate(file.steps) if s.args["messages_without_flow"]] == [6, 11]
        assert received == report.mapping_counts["messages_received"]
    else:
        assert without == 0


def test_the_largest_flows_are_kept(run):
    trace, program, report, file = run
    few = read(timeline(trace, program, report, flows_per_timestep=3))
    amounts = lambda f: sorted(n for s in f.work for n in s.args.get("messages_from", {}).values())
    sent, received = ends_of(few)
    assert set(sent) == set(received) and len(sent) <= 36 and min(amounts(few)) >= min(amounts(file))
    assert amounts(few)[-1] == amounts(file)[-1] and max(Counter(s[0].begin for s in sent.values()).values()) <= 3
    assert sum(amounts(few)) + sum(s.args["messages_without_flow"] for s in few.steps) == report.mapping_counts["messages_sent"]
    assert [(s.begin, s.end) for s in few.work] == [(s.begin, s.end) for s in file.work]
    assert not ends_of(read(timeline(trace, program, report, flows_per_timestep=0)))[0]


def test_a_window_is_part_of_the_whole(run):
    trace, program, report, file = run
    part = read(timeline(trace, program, first=5, timesteps=4))
    assert [s.name for s in part.steps] == [f"timestep {t}" for t in range(5, 9)]
    assert part.steps[-1].end == round(report.latency.per_timestep_s[5:9].sum() / PS)
    assert [s.args["after_reset"] for s in part.steps] == [False, False, True, False]
    shift = file.steps[5].begin
    same = [s for s in file.work if file.steps[5].begin <= s.begin and s.end <= file.steps[8].end]
    assert len(part.work) == len(same) > 0
    for a, b in zip(part.work, same, strict=True):
        assert (a.track, a.name) == (b.track, b.name) and abs(a.begin + shift - b.begin) <= 1 and abs(a.end + shift - b.end) <= 1
        assert a.args["duration_s"] == pytest.approx(b.args["duration_s"], rel=1e-9)
        assert a.args.get("synapse_visits") == b.args.get("synapse_visits")
    for name in ("synaptic operations", "work of the busiest core"):
        assert [v for _, v in part.counters[name]][:-1] == pytest.approx([v for _, v in file.counters[name]][5:9], rel=1e-9)
    assert timeline(trace, program) == timeline(trace, program, report)
    assert read(timeline(trace, program, report, first=11, timesteps=200)).steps[0].name == "timestep 11"


def test_a_link_that_is_waited_for():
    trace, program, _ = priced(nature_like(np.random.default_rng(0)), FIT.with_settings(NATIVE | {"noc.flit_time": "2 us"}))
    file = read(timeline(trace, program))
    waits = [s for s in file.on("timesteps") if s.name.startswith("level") and ": link" in s.name]
    assert waits
    for s in waits:
        assert s.args["busiest_link_s"] == s.args["duration_s"] > s.args["slowest_core_s"]
        assert round(s.args["duration_s"] / 2e-6, 6).is_integer()


@given(networks(), st.sampled_from(["fall_through", "pipelined"]), st.integers(2, 40), st.booleans())
@settings(max_examples=15)
def test_any_network(net, schedule, neurons, native):
    chip = FIT.with_settings((NATIVE if native else SMALL) | {"core.neurons": neurons, "core.weight_storage": ["dense", "sparse", "convolution"]})
    trace, program, report = priced(net, chip, 6, schedule=schedule, resets=(4,))
    file = read(timeline(trace, program, report, flows_per_timestep=10**9))
    assert file.steps[-1].end == pytest.approx(report.latency.per_timestep_s.sum() / PS, abs=1)
    sent, received = ends_of(file)
    assert set(sent) == set(received) and all(len(x) == 1 for x in (*sent.values(), *received.values()))
    assert sum(sum(s.args.get("messages_from", {}).values()) for s in file.work) == report.mapping_counts["messages_received"]
    tracks = defaultdict(list)
    for s in file.work:
        tracks[s.track].append(s)
    assert all(a.end <= b.begin for slices in tracks.values() for a, b in zip(slices, slices[1:]))


def test_recurrent_messages_are_heard_in_the_next_timestep():
    rng = np.random.default_rng(0)
    weight = lambda n_in, n_out: rng.integers(1, 13, (n_out, n_in)) / 8
    lif = Dynamics("lif", {"current_decay": 0.5, "current_gain": 1, "decay": 0.75, "gain": 1, "offset": 0, "threshold": 1, "reset": 0,
                           "subtract": 0, "inclusive": 0})
    full = lambda source, n_in, n_out, delay=0: Synapses("full", source, (1, 1, n_in), (1, 1, n_out), weight(n_in, n_out), delay=delay)
    layers = (Layer("hidden", (1, 1, 20), (full(INPUT, 6, 20), full(0, 20, 20, 1)), np.zeros(()), dynamics=lif),
              Layer("out", (1, 1, 5), (full(0, 20, 5),), np.zeros(()), dynamics=lif))
    net = Network("spiking", Input("x", (6,), signal="spike"), layers, (OutputPart(1, np.arange(5)),))
    trace = ns.simulate(net, (rng.random((10, 6)) < 0.5).astype(np.uint8), schedule="fall_through", resets=np.isin(np.arange(10), (0, 5)))
    program = ns.compile(net, FIT.with_settings({"core.neurons": 7}))
    file = read(timeline(trace, program))
    sent, received = ends_of(file)
    step = lambda s: next(i for i, x in enumerate(file.steps) if x.begin <= s.begin < x.end)
    back = [n for n in sent if sent[n][0].name == received[n][0].name == "hidden"]
    assert back and all(step(received[n][0]) == step(sent[n][0]) + 1 for n in back)
    assert all(step(received[n][0]) == step(sent[n][0]) for n in set(sent) - set(back))
    assert not any(step(sent[n][0]) in (4, 9) for n in back)  # the last before the reset and before the end
    assert [t for t, s in enumerate(file.steps) if s.args["messages_without_flow"]] == [4, 9]


def test_a_core_of_two_layers():
    # As test_two_cores_by_hand, both layers on the core of tile (1, 0), natively, one barrier of one tile, 600 ns.
    # level 1  hops 4.1 ns; message 16 + 3 visits 11.4 + 3 accesses 18 + 3 updates 11.1 + 2 events 60 + 2 messages 10.2 = 126.7 ns
    # level 2  no hops; 2 events of its own core 32 (messages on this chip) + 2 visits 7.6 + access 6 + update 3.7 = 49.3 ns
    from neurosim.mapping import axons, route
    from neurosim.mapping.geometry import Reach

    net = two_three_one()
    trace = ns.simulate(net, np.array([[1.0, 0]]), numerics="float64", reference="none")
    chip = FIT.with_settings({"supports.native_schedule": "fall_through"})
    program = ns.compile(net, chip, hypothetical=True, placement=PLACES)
    slices = tuple(replace(s, core=0) for s in program.slices)
    table = axons.build(net, slices, {i: tuple(Reach(s) for s in x.synapses) for i, x in enumerate(net.layers)}, chip.core)
    tiles = program.tile_of_core[:1]
    routes = route.routes(table, np.zeros(2, np.int64), tiles, (0, 0), program.mesh, 1, False)
    file = read(timeline(trace, replace(program, slices=slices, axons=table, routes=routes, tile_of_core=tiles)))
    assert file.tracks[-1] == "core 0 (hidden, output) tile (1, 0)"
    assert [(s.name, s.begin, s.end) for s in file.work] == [("hidden", 4100, 130800), ("output", 130800, 180100)]
    assert [(s.name, s.begin, s.end) for s in file.steps] == [("timestep 0", 0, 780100)]
    assert file.work[1].args["events_from_own_core"] == 2 and not file.work[1].receives  # what stays on a core is no message between cores
    assert file.counters["work of the busiest core"][0][1] == pytest.approx(176.0)


def test_slow_chips_are_drawn_in_nanoseconds():
    trace, program, report = priced(two_three_one(), ns.Chip.load("truenorth"), 3)
    file = read(timeline(trace, program, report))
    assert file.tracks[0].endswith("model time (ns)")  # two levels on a chip that runs pipelined: two ticks of 1 ms per timestep
    assert [s.end for s in file.steps] == [2_000_000, 4_000_000, 6_000_000] and {s.end - s.begin for s in file.work} == {0}
    assert read_about(file)["unit"] == "ns" and read_about(file)["sha256"] == trace.network.sha256
    assert "not silicon" in " ".join(read_about(file)["notes"].values())


def test_refusals(monkeypatch):
    trace, program, report = priced(two_three_one(), FIT, 4)
    machine = ns.Chip.load("horowitz_int8")
    with pytest.raises(PricingError, match="horowitz_int8 has no cores"):
        timeline(trace, ns.compile(trace.network, machine))
    for options in ({"first": 4}, {"first": -1}, {"timesteps": 0}):
        with pytest.raises(PricingError, match="events are recorded for 4 timesteps"):
            timeline(trace, program, report, **options)
    with pytest.raises(PricingError, match="flows per timestep: -1"):
        timeline(trace, program, report, flows_per_timestep=-1)
    seneca = ns.compile(trace.network, ns.Chip.load("seneca"), hypothetical=True)
    assert ns.price(trace, seneca).latency is None
    with pytest.raises(PricingError, match="seneca publishes no times, so a run on it has no timeline"):
        timeline(trace, seneca)
    other = ns.compile(trace.network, FIT.with_settings({"cost.event_out.time": "31 ns"}), hypothetical=True)
    for wrong in (ns.price(trace, other), ns.price(priced(two_three_one(), FIT, 5)[0], program)):
        with pytest.raises(PricingError, match="the report on loihi1_silicon_fit is not the price of this trace"):
            timeline(trace, program, wrong)
    with pytest.raises(PricingError, match="no event record"):
        timeline(ns.simulate(trace.network, np.zeros((2, 2)), record="counts"), program)
    monkeypatch.setitem(sys.modules, "perfetto.trace_builder.proto_builder", None)
    with pytest.raises(LoadError, match=r"timelines need perfetto \(pip install 'neurosim-chip\[timeline\]'\)"):
        timeline(trace, program, report)
