"""What a run waits for, and what remedies gain: by hand, against a slow twin, and as properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import nature_like, networks, slow_stream, two_three_one

from neurosim.chip import Chip
from neurosim.kernels import traffic as kernel
from neurosim.mapping import compile
from neurosim.pricing import price, traffic
from neurosim.pricing.energy import emulated
from neurosim.simulation import simulate
from neurosim.transforms import set_thresholds


def near(expected):
    """Equal but for rounding: joules and seconds are small, so nothing absolute is forgiven."""
    return pytest.approx(expected, rel=1e-9, abs=0)


FIT = Chip.load("loihi1_silicon_fit")
PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
NS = 1e-9


def latency_of(net, x, chip, *, schedule="fall_through", **options):
    trace = simulate(net, np.array(x), numerics="float64", schedule=schedule, reference="none")
    return price(trace, compile(net, chip, hypothetical=True, **options)).latency


def test_places_of_one_timestep():
    # the worked example: core 0 works 126.7 ns in level 1 (core 1 idles 6), core 1 49.3 ns in level 2 (core 0 idles 18),
    # hops 4.1 + 6.5, two barriers of 1,000: 2,186.6 ns
    latency = latency_of(two_three_one(), [[1.0, 0]], FIT, placement=PLACES)
    assert [(p.name, p.level) for p in latency.places] == [("barrier", None), ("core 0 (hidden)", 1), ("core 1 (output)", 2), ("hops", None)]
    np.testing.assert_allclose([p.time_s for p in latency.places], np.array([2000, 126.7, 49.3, 10.6]) * NS)
    # fixed: no barrier; core 0 does 6; core 1 does 18; no hops
    expected = np.array([186.6, 2186.6 - (126.7 - 6), 2186.6 - (49.3 - 18), 2176.0]) * NS
    np.testing.assert_allclose([p.fixed_timestep_s for p in latency.places], expected)
    assert [p.timesteps_share for p in latency.places] == [None, 1, 1, None] and not any(p.alone for p in latency.places)
    np.testing.assert_allclose(latency.critical_share, [126.7 / 2186.6, 49.3 / 2186.6])
    # one core per level is balanced as it is; a link is crossed, and its time is not published
    assert latency.gains == {"balanced": near(2186.6 * NS), "links": None, "hops": near(2176.0 * NS),
                             "barrier": near(186.6 * NS)}


def test_next_slowest_core_and_balance():
    # a neuron per core, four cores on one tile, natively fall-through; with a hidden threshold of 1.5 only h2 = 2 is sent:
    # h0, h1: message 16 + visit 3.8 + access 6 + update 3.7 = 29.5; h2: 29.5 + event 30 + message 5.1 = 64.6 ns
    # output: 16 + 3.8 + 6 + 3.7 = 29.5 ns; barrier of one tile 600 ns
    chip = FIT.with_settings({"core.neurons": 1, "core.weight_storage": ["dense"], "supports.native_schedule": "fall_through"})
    net = set_thresholds(two_three_one(), {"input": 0, "hidden": 1.5})
    latency = latency_of(net, [[1.0, 0]], chip)
    assert latency.timestep_s["mean"] == near((64.6 + 29.5 + 600) * NS)
    slowest = latency.places[1]
    assert (slowest.name, slowest.level, slowest.timesteps_share) == ("core 2 (hidden)", 1, 1)
    assert slowest.fixed_timestep_s == near((29.5 + 29.5 + 600) * NS)
    # balanced: (29.5 + 29.5 + 64.6) / 3 = 41.2
    assert latency.gains["balanced"] == near((41.2 + 29.5 + 600) * NS)
    output = latency.places[2]
    assert output.alone and output.fixed_timestep_s == near((64.6 + 600) * NS)
    assert latency.gains["links"] == latency.timestep_s["mean"] and latency.gains["hops"] is None  # one tile: no link; hop.local is null
    assert "core 2 (hidden) sets the time of level 1 in 100% of the timesteps, 9% of all time; if it did no more than the next one, " \
           "a timestep would take 659 ns instead of 694 ns (1.05x)" in latency.why()
    assert any("if there were no barrier, a timestep would take 94.1 ns" in line for line in latency.why())


def test_equal_cores_gain_nothing_and_shares_count_timesteps():
    # threshold 0: h0 and h2 send in t1 (64.6 each), all three in t2; in t3 each core only accesses its neuron (6 ns)
    chip = FIT.with_settings({"core.neurons": 1, "core.weight_storage": ["dense"], "supports.native_schedule": "fall_through",
                              "timing.barrier": "0 ns"})
    latency = latency_of(two_three_one(), [[1.0, 0], [1, 1], [1, 1]], chip)
    # output: t1 2 x 16 + 2 x 3.8 + 9.7 = 49.3, t2 3 x 16 + 3 x 3.8 + 9.7 = 69.1, t3 6
    np.testing.assert_allclose(latency.per_timestep_s, np.array([64.6 + 49.3, 64.6 + 69.1, 12]) * NS)
    first = next(p for p in latency.places if p.name == "core 0 (hidden)")
    assert first.time_s == near((2 * 64.6 + 6) * NS) and first.timesteps_share == 1
    assert first.fixed_timestep_s == near(latency.timestep_s["mean"])


def test_links_that_are_waited_for():
    # flits of 1 us: one on (0, 0) +x in level 1, one (of two events) on (1, 0) +y in level 2; barrier 2 x 1 us
    chip = FIT.with_settings({"noc.flit_time": "1 us", "noc.events_per_message": 2})
    latency = latency_of(two_three_one(), [[1.0, 0]], chip, placement=PLACES)
    whole = (1000 + 4.1 + 1000 + 6.5 + 2000) * NS
    links = [p for p in latency.places if p.kind == "link"]
    assert [(p.at, p.level) for p in links] == [("(0, 0) +x", 1), ("(1, 0) +y", 2)]
    np.testing.assert_allclose([p.fixed_timestep_s for p in links], [whole - (1000 - 126.7) * NS, whole - (1000 - 49.3) * NS])
    assert latency.gains["links"] == near((126.7 + 4.1 + 49.3 + 6.5 + 2000) * NS)
    assert latency.gains["balanced"] == near(whole) and latency.parts["links"] == near(2000 * NS)
    assert latency.places[0].name == "barrier" and "if no link were slower than the cores" in latency.why()[1]


def naive(trace, program, remedy, *, links=True, hops=True, barrier=True):
    """Mean timestep by loops over timesteps, levels and cores; `remedy` changes {core: work} of a level."""
    chip, network, slow = program.chip, trace.network, emulated(trace, program.chip)
    one_level = trace.schedule == "pipelined"
    depth = 1 if one_level else network.depth
    names = {kernel.MESSAGES_IN: "message_in", kernel.UPDATES: "neuron_update", kernel.EVENTS_OUT: "event_out",
             kernel.MESSAGES_OUT: "message_out"} | {kernel.VISITS + k: f"synapse.{kind}" for k, kind in
                                                    enumerate(("dense", "sparse", "convolution", "crossbar"))}
    access, total = chip.time_s("neuron_access"), 0.0
    idle = {c: access * sum(s.n_neurons for s in program.slices if s.core == c) for c in range(program.cores_used)}
    for block in traffic.blocks(trace, program):
        for t in range(len(block.counts)):
            for level in range(depth):
                work = dict(idle) if slow else {}
                for i, s in enumerate(program.slices):
                    if one_level or network.levels[s.layer] - 1 == level:
                        own = 0.0 if slow else s.n_neurons * access
                        counts = block.counts[t, i].copy()
                        if chip.noc.local_messages:
                            counts[kernel.MESSAGES_IN] += counts[kernel.LOCAL_IN]
                            counts[kernel.MESSAGES_OUT] += counts[kernel.LOCAL_OUT]
                        own += sum(int(counts[k]) * chip.time_s(name) for k, name in names.items() if counts[k])
                        work[s.core] = work.get(s.core, 0.0) + own
                load, longest = {}, 0.0
                for f in np.flatnonzero(block.fans[t]):
                    sender = program.axons.fan_slice[f]
                    at = 0 if one_level or sender < 0 else min(network.levels[program.slices[sender].layer], depth - 1)
                    if at == level:
                        for x in program.routes.link[program.routes.link_start[f]: program.routes.link_start[f + 1]]:
                            load[x] = load.get(x, 0) + int(block.fans[t, f])
                        x, y, c, local = program.routes.longest[f]
                        longest = max(longest, sum(n * (chip.time_s(f"hop.{k}") or 0) for n, k in ((x, "x"), (y, "y"), (c, "chip"),
                                                                                                     (local, "local"))))
                busiest = max(load.values(), default=0) * (chip.noc.flit_time or 0)
                mine = {s.core for s in program.slices if one_level or network.levels[s.layer] - 1 == level}
                total += max(max(remedy(level, work, mine).values()), busiest if links else 0) + (longest if hops else 0)
            total += (chip.barrier_s(program.tiles_used) or 0.0) * (network.depth if slow else 1) * barrier
    return total / trace.n_recorded


def balanced(level, work, mine):
    mean = sum(work[c] for c in mine) / len(mine)
    return {c: mean if c in mine else w for c, w in work.items()}


def same(level, work, mine):
    return work


@given(networks(), st.sampled_from(["fall_through", "pipelined"]), st.sampled_from(["fall_through", "pipelined"]),
       st.integers(3, 40), st.sampled_from(["0 ns", "5 ns", "100 ns"]), st.integers(0, 1000))
@settings(max_examples=12)
def test_remedies_equal_a_slow_twin(net, schedule, native, core_neurons, flit_time, seed):
    """Every figure of a place and of a gain is what loops over timesteps, levels and cores find."""
    chip = FIT.with_settings({"core.neurons": core_neurons, "noc.width": 5, "noc.height": 40, "noc.flit_time": flit_time,
                              "supports.native_schedule": native, "noc.cores_per_tile": 2})
    trace = simulate(net, slow_stream(net.input.shape, 4, np.random.default_rng(seed)), numerics="float64", schedule=schedule,
                     reference="none")
    program = compile(net, chip, hypothetical=True)
    latency = price(trace, program).latency
    mean = latency.timestep_s["mean"]
    assert mean == near(naive(trace, program, same))
    gains = {"balanced": naive(trace, program, balanced), "links": naive(trace, program, same, links=False),
             "barrier": naive(trace, program, same, barrier=False)}
    assert {name: latency.gains[name] for name in gains} == near(gains)
    assert latency.gains["hops"] is None or latency.gains["hops"] == near(naive(trace, program, same, hops=False))
    for place in latency.places[:4]:
        assert 0 <= place.fixed_timestep_s <= mean * (1 + 1e-12) and 0 < place.share <= 1
        assert mean - place.fixed_timestep_s <= place.share * mean * (1 + 1e-9)  # a remedy gains no more than what was waited for
        if place.kind == "core":
            def lowered(level, work, mine, place=place):
                if place.level is not None and level != place.level - 1:
                    return work
                others = max((w for c, w in work.items() if c != place.at), default=0.0)
                return work | {place.at: min(work[place.at], others)}
            assert place.fixed_timestep_s == near(naive(trace, program, lowered))
    assert sum(latency.parts.values()) == near(latency.per_timestep_s.sum())
    assert latency.critical_share.sum() == near(latency.parts["cores"] / latency.per_timestep_s.sum())
    for name, seconds in latency.gains.items():
        assert seconds is None or 0 <= seconds <= mean * (1 + 1e-12), name


def test_blocks_do_not_change_places(monkeypatch):
    net = nature_like(np.random.default_rng(1))
    trace = simulate(net, slow_stream(net.input.shape, 8, np.random.default_rng(0)), numerics="float64", reference="none")
    program = compile(net, FIT.with_settings({"core.neurons": 7, "noc.flit_time": "2 ns"}), hypothetical=True)
    whole = price(trace, program).latency
    monkeypatch.setattr(traffic, "CHUNK", 1)
    parts = price(trace, program).latency
    assert [(p.name, p.level) for p in parts.places] == [(p.name, p.level) for p in whole.places] and len(whole.places) > 6
    np.testing.assert_allclose([p.fixed_timestep_s for p in parts.places], [p.fixed_timestep_s for p in whole.places])
    assert parts.gains == near(whole.gains)


def test_times_inside_another_figure_have_no_gain_of_their_own():
    latency = latency_of(two_three_one(), [[1.0, 0]], Chip.load("grai_one"), placement=PLACES)
    assert latency.gains["hops"] is None and latency.gains["links"] is None and latency.gains["barrier"] == latency.timestep_s["mean"]


def test_nothing_is_waited_for_where_nothing_happens():
    # grai_one: 3 + 2 and 3 + 3 visits of 2 ns; in t3 nothing at all
    latency = latency_of(two_three_one(), [[1.0, 0], [1, 1], [1, 1]], Chip.load("grai_one"), placement=PLACES)
    assert [(p.name, p.time_s, p.timesteps_share) for p in latency.places] == [
        ("core 0 (hidden)", near(12 * NS), near(2 / 3)), ("core 1 (output)", near(10 * NS), near(2 / 3))]


def test_json_of_a_latency():
    document = latency_of(two_three_one(), [[1.0, 0]], FIT, placement=PLACES).to_json()
    assert document["places"][1]["core"] == 0 and document["places"][1]["layer"] == "hidden" and "core" not in document["places"][0]
    assert set(document["gains"]) == {"balanced", "links", "hops", "barrier"}
    assert document["critical_share"] == {"0": near(126.7 / 2186.6), "1": near(49.3 / 2186.6)}
    assert document["critical"]["core"] == 0
