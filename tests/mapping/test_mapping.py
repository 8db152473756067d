"""Mapping: partition, placement, routes, refusals; the independent checker (see test_checker.py) accepts what is compiled."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import list_synapses
from networks import conv, full, layer, nature_like, network, networks, pool, two_three_one

from neurosim.chip import Chip
from neurosim.errors import DoesNotFit, MappingError
from neurosim.mapping import Cuts, check, compile
from neurosim.mapping.geometry import Reach
from neurosim.program import MESSAGE

CHIP = Chip.load("loihi2").with_settings({"noc.width": 6, "noc.height": 60})


def small(neurons, **more):
    return CHIP.with_settings({"core.neurons": neurons, **more})


@given(networks(), st.integers(1, 40), st.sampled_from(["row_major", "snake", "greedy"]), st.booleans(),
       st.sampled_from([["dense"], ["sparse"], ["dense", "sparse", "convolution"], ["crossbar"]]))
@settings(max_examples=60)
def test_checker_accepts_every_compiled_program(net, neurons, placement, multicast, storage):
    chip = small(neurons, **{"noc.multicast": multicast, "core.weight_storage": storage, "core.synapse_memory": None})
    program = compile(net, chip, placement=placement, verify=False)
    check(program, net)
    assert all(use.used <= use.limit for use in program.utilization() if use.limit is not None and use.used is not None)


@given(networks(), st.integers(1, 40))
@settings(max_examples=25)
def test_axons_equal_brute_force(net, neurons):
    """Synapses per (source, slice, group) against a walk over every synapse."""
    program = compile(net, small(neurons, **{"core.weight_storage": ["dense"]}), verify=False)
    axons = program.axons
    source = np.repeat(np.arange(axons.start.size - 1), np.diff(axons.start))
    found = {(s, i, g): (n, z) for s, i, g, n, z in zip(
        source.tolist(), axons.slice.tolist(), axons.group.tolist(), axons.n_synapses.tolist(), axons.n_nonzero.tolist(), strict=True)}
    expected = defaultdict(lambda: [0, 0])
    for k, this in enumerate(net.layers):
        of_neuron = program.slice_of_neuron(k, this.shape)
        for g, synapses in enumerate(this.synapses):
            base = axons.source_offset[net.senders.index(synapses.source)]
            for element, targets in list_synapses(synapses)[0].items():
                for target, weight in targets:
                    entry = expected[base + element, int(of_neuron[target]), g]
                    entry[0] += 1
                    entry[1] += weight is None or weight != 0
    assert found == {k: tuple(v) for k, v in expected.items()}


@given(networks(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=25)
def test_demand_of_a_box_equals_its_axons(net, n_y, n_x, n_c):
    """The vectorised counts that the partition searches with, against the axons of each box."""
    from neurosim.mapping.geometry import box_sums, edges, running_sum
    for this in net.layers:
        cuts = tuple(edges(size, min(n, size)) for size, n in zip(this.shape, (n_y, n_x, n_c), strict=True))
        for reach in map(Reach, this.synapses):
            sources, all_, nonzero = (reach.n_sources(cuts), box_sums(running_sum(reach.fan_in), cuts),
                                      box_sums(running_sum(reach.nonzero_fan_in), cuts))
            for at in np.ndindex(sources.shape):
                box = tuple((int(cut[k]), int(cut[k + 1])) for cut, k in zip(cuts, at, strict=True))
                source, n_synapses, n_nonzero = reach.axons(box, False)
                assert (source.size, n_synapses.sum(), n_nonzero.sum()) == (sources[at], all_[at], nonzero[at])


def test_partition_is_the_fewest_boxes_by_hand():
    rng = np.random.default_rng(0)
    c1 = conv(-1, (6, 6, 1), 4, (3, 3), rng=rng)          # 4 x 4 x 4 = 64 neurons
    net = network([layer("c1", c1), layer("f", full(0, 64, 5, rng=rng), ())], (6, 6, 1))
    program = compile(net, small(20))
    # 64 / 20 -> at least 4 pieces of 16; along channels each piece reads all 36 pixels, in quarters of
    # the plane 16 each (4 x 4 pixels): fewest axons wins
    pieces = [s for s in program.slices if s.layer == 0]
    assert len(pieces) == 4 and {s.channels for s in pieces} == {(0, 4)} and {s.n_neurons for s in pieces} == {16}
    assert len([s for s in program.slices if s.layer == 1]) == 1 and program.cores_used == 5
    use = {(u.core, u.resource): (u.used, u.limit) for u in program.utilization()}
    assert use[0, "neurons"] == (16, 20) and use[0, "axons_in"] == (16, None) and use[0, "axons_out"] == (16, None)
    assert use[0, "synapse_memory"] == (4 * 9 * 8, 128 * 8192)           # shared kernel: 4 channels x 9 taps x 8 bit


def test_cheaper_storage_is_chosen():
    rng = np.random.default_rng(0)
    for zeros, kind in ((0.0, "dense"), (0.95, "sparse")):
        net = network([layer("f", full(-1, 64, 32, rng=rng, zeros=zeros), ())], (64,))
        assert compile(net, CHIP).slices[0].storage == (kind,)
    pooled = network([layer("p", pool("sum_pool", -1, (4, 4, 2), (2, 2), (2, 2)), ())], (4, 4, 2))
    assert compile(pooled, CHIP).slices[0].storage == ("convolution",)


def test_unconnected_sources_of_sparse_layers_send_nothing():
    weight = np.array([[0.0, 1, 0, 0], [0, 2, 3, 0]])
    from neurosim.synapses import Synapses
    net = network([layer("f", Synapses("full", -1, (1, 1, 4), (1, 1, 2), weight), ())], (4,))
    program = compile(net, CHIP.with_settings({"core.weight_storage": ["sparse"]}))
    assert np.diff(program.axons.start).tolist() == [0, 1, 1, 0]
    assert program.axons.n_visits.tolist() == [2, 1]
    dense = compile(net, CHIP.with_settings({"core.weight_storage": ["dense"]}))
    assert np.diff(dense.axons.start).tolist() == [1, 1, 1, 1]


def test_crossbar_walks_the_whole_row():
    program = compile(two_three_one(), CHIP.with_settings({"core.weight_storage": ["crossbar"], "core.neurons": 256}))
    assert set(program.axons.n_visits.tolist()) == {256}


@given(networks(), st.integers(1, 20))
@settings(max_examples=20)
def test_hops_equal_brute_force(net, neurons):
    """Unicast links of every fan are Manhattan distances; a multicast tree never has more."""
    one = compile(net, small(neurons))
    many = compile(net, small(neurons, **{"noc.multicast": True}))
    for f in range(one.axons.n_fans):
        sender = one.axons.fan_slice[f]
        start = np.array(one.port) if sender < 0 else one.tile_of_core[one.slices[sender].core]
        cores = one.axons.fan_core[one.axons.fan_start[f]: one.axons.fan_start[f + 1]]
        distance = np.abs(one.tile_of_core[cores] - start)
        assert one.routes.hops[f, :2].tolist() == distance.sum(0).tolist()
        assert one.routes.longest[f, :2].sum() == distance.sum(1).max(initial=0)
        assert one.routes.n_messages[f] == cores.size
    if [s.n_neurons for s in one.slices] == [s.n_neurons for s in many.slices]:
        assert (many.routes.hops[:, :3].sum(1) <= one.routes.hops[:, :3].sum(1)).all()


def test_hops_between_chips():
    chip = small(1, **{"noc.width": 1, "noc.height": 1, "noc.cores_per_tile": 2, "chips": 2})
    program = compile(two_three_one(), chip.with_settings({"chips": 3}))
    assert program.mesh == (3, 1) and program.chips_used == 2
    assert program.routes.hops[:, 2].sum() > 0 and program.routes.hops[:, 0].sum() == 0


def test_greedy_needs_no_more_hops_than_a_line():
    net = nature_like(np.random.default_rng(0))
    chip = small(12, **{"noc.cores_per_tile": 1})
    total = {p: int(compile(net, chip, placement=p).routes.hops[:, :2].sum()) for p in ("row_major", "greedy")}
    assert total["greedy"] <= total["row_major"]


def test_unpublished_mesh_is_chosen_near_square_and_said():
    program = compile(nature_like(np.random.default_rng(0)), small(12, **{"noc.width": None, "noc.height": None}))
    width, height = program.mesh
    assert width * height * 4 >= program.cores_used > (width * height - width) * 4 and abs(width - height) <= 1
    assert any("mesh not published" in note for note in program.notes)


# refusals: one per message


def _refusal(net, chip, **options):
    with pytest.raises(DoesNotFit) as error:
        compile(net, chip, **options)
    return str(error.value).splitlines()[1:]


def test_all_violations_are_listed():
    rng = np.random.default_rng(0)
    net = network([layer("fc1", full(-1, 3136, 8, rng=rng, zeros=0.0)), layer("fc2", full(0, 8, 600, rng=rng), ())], (3136,))
    chip = CHIP.with_settings({"core.axons_in": 1024, "core.synapse_memory": "2 KiB", "noc.width": 1, "noc.height": 1})
    lines = _refusal(net, chip)
    assert lines == [
        "  layer 'fc1': 3,136 axons in > 1,024 on a core; prune, or raise core.axons_in",
        "  layer 'fc1': 3.062 KiB synapse memory > 2 KiB on a core; prune or quantise, or raise core.synapse_memory"]


def test_too_many_cores():
    net = nature_like(np.random.default_rng(0))
    lines = _refusal(net, small(1, **{"noc.width": 2, "noc.height": 2}))
    # 64 + 96 + 10 + 3 neurons, one per core; 2 x 2 tiles of 4 cores
    # 44 tiles: 7 x 7; or 11 chips of 16
    assert lines == ["  network 'test': 173 cores > 16 on 1 chip; the smallest mesh that holds them is noc.width 9 x noc.height 5 (now 2 x 2), "
                     "or take chips 11, or raise core.neurons and its memories"]


def test_axons_out():
    rng = np.random.default_rng(0)
    net = network([layer("a", full(-1, 2, 2, rng=rng)), layer("b", full(0, 2, 9, rng=rng, zeros=0.0), ())], (2,))
    assert _refusal(net, small(3, **{"core.axons_out": 2})) == [
        "  layer 'a': 3 axons out > 2 on a core; raise core.axons_out, or use larger cores for the layers that read it"]
    assert compile(net, small(3, **{"core.axons_out": 2, "noc.multicast": True})).cores_used == 4
    assert _refusal(net, small(3, **{"core.max_destinations": 2})) == [
        "  layer 'a': 3 target cores of one neuron > 2; raise core.max_destinations, or use larger cores for the layers that read it"]


def test_state_memory_and_storage():
    net = two_three_one()
    assert _refusal(net, CHIP.with_settings({"core.state_memory": "39 bit"}))[0] == (
        "  layer 'output': 0.004883 KiB state memory > 0.004761 KiB on a core; raise core.state_memory")
    assert "no storage kind of ['convolution'] can hold it on a core" in _refusal(
        net, CHIP.with_settings({"core.weight_storage": ["convolution"]}))[0]


def test_core_types_have_counts():
    types = [{"count": 2, "neurons": 2, "weight_storage": ["dense"]}, {"count": 1, "neurons": 1, "weight_storage": ["dense"]}]
    chip = CHIP.with_settings({"core": types})
    assert chip.n_cores == 3
    assert [s.n_neurons for s in compile(two_three_one(), chip).slices] == [1, 2, 1]
    assert "cores > " in _refusal(nature_like(np.random.default_rng(0)), chip)[0]


def test_signals():
    lines = _refusal(two_three_one(), Chip.load("loihi1"))
    assert lines[0] == ("  network 'test': graded events (of input, hidden) > spike signals on loihi1; take a chip with graded signals, or add --hypothetical (hypothetical=True)")
    assert "neurons static are not among lif of loihi1" in lines[1]
    program = compile(two_three_one(), Chip.load("loihi1"), hypothetical=True)
    assert program.hypothetical and any(note.startswith("hypothetical") for note in program.notes)


@pytest.mark.parametrize(("placement", "text"), [
    ("diagonal", "unknown placement 'diagonal'"),
    ({"hidden": (0, 0)}, "no tile for layer 'output', slice 0"),
    ({"hidden": (0, 0), "output": (0, 0), "fc": (0, 0)}, "names 'fc', which is no layer or slice"),
    ({"hidden": (9, 0), "output": (0, 0)}, r"tile \(9, 0\) lies outside the mesh of 6 x 60"),
    ({"hidden": (0, 0), "output": (0, 0)}, r"2 cores on tile \(0, 0\) > 1 cores per tile"),
])
def test_placements_that_are_refused(placement, text):
    with pytest.raises(MappingError, match=text):
        compile(two_three_one(), CHIP.with_settings({"noc.cores_per_tile": 1}), placement=placement)


def test_cuts_are_reused():
    net, known = nature_like(np.random.default_rng(0)), Cuts()
    first = compile(net, small(30), cuts=known)
    again = compile(net, small(30, **{"noc.width": 8, "cost.synapse.energy": "27 pJ"}), cuts=known)
    assert len(known.slices) == 1 and again.axons is first.axons and again.mesh != first.mesh
    compile(net, small(20), cuts=known)
    assert len(known.slices) == 2


def test_dense_machine_needs_no_mapping():
    program = compile(two_three_one(), Chip.load("horowitz_int8"))
    assert not program.is_mapped and program.cores_used == 1
    check(program, two_three_one())


def test_deliveries_are_messages_once_per_core():
    program = compile(nature_like(np.random.default_rng(0)), small(30))
    a = program.axons
    source = np.repeat(np.arange(a.start.size - 1), np.diff(a.start))
    n_pairs = len({(s, c) for s, c in zip(source.tolist(), program.core_of_slice[a.slice].tolist(), strict=True)})
    assert (a.delivery == MESSAGE).sum() == n_pairs
