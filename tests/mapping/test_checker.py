"""The independent checker: it accepts what the mapper makes and names every kind of damage."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, full, identity, layer, nature_like, network, networks, pool, two_three_one

import neurosim.mapping
from neurosim.chip import Chip
from neurosim.errors import MappingError
from neurosim.mapping import check, compile
from neurosim.program import LOCAL, MESSAGE, NO_DELIVERY

CHIP = Chip.load("""
name: small
kind: event
signals: [graded]
arithmetic: {weight_bits: 8, payload_bits: 16, accumulator_bits: 24}
noc: {width: 6, height: 30, cores_per_tile: 2, multicast: false, input_port: [1, 0]}
core: {neurons: 30, synapse_memory: 64 KiB, state_memory: 4 KiB, axons_in: 4096, axons_out: 4096, max_destinations: 64,
       weight_storage: [dense, sparse, convolution], kernel_sharing: true}
cost: {hop: {x: {time: 4 ns}, y: {time: 7 ns}, chip: {time: 50 ns}}}
""")


def residual():
    """Convolution, residual sum, max pooling, a pruned full layer: two groups on one slice, zero weights, a view."""
    rng = np.random.default_rng(3)
    c = conv(-1, (8, 8, 2), 4, (3, 3), pads=(1, 1), rng=rng)
    d = conv(0, (8, 8, 4), 4, (3, 3), pads=(1, 1), groups=2, rng=rng)
    view = np.arange(64).reshape(4, 4, 4).transpose(2, 0, 1).reshape(-1).astype(np.int32)
    return network([layer("c", c), layer("d", (d, identity(0, (8, 8, 4)))), layer("p", pool("max_pool", 1, (8, 8, 4), (2, 2), (2, 2)), ()),
                    layer("f", full(2, 64, 20, rng=rng, view=view, zeros=0.9), ())], (8, 8, 2))


NETWORKS = {"nature": nature_like(np.random.default_rng(0)), "residual": residual()}
CHIPS = {"unicast": CHIP, "multicast": CHIP.with_settings({"noc.multicast": True}),
         "chips": CHIP.with_settings({"chips": 3, "noc.width": 2, "noc.height": 5}),
         "crossbar": CHIP.with_settings({"core.weight_storage": ["crossbar"]}),
         "unlimited": CHIP.with_settings({f"core.{key}": None for key in (
             "synapse_memory", "state_memory", "axons_in", "axons_out", "max_destinations")})}


@pytest.fixture(scope="module")
def programs():
    """Good programs and their networks, by name."""
    return {f"{n}-{c}": (compile(NETWORKS[n], CHIPS[c], placement="greedy", verify=False), NETWORKS[n]) for n in NETWORKS for c in CHIPS}


def changed(array, at, value):
    """The array with one entry replaced (or added to, where `value` is a function)."""
    new = array.copy()
    new[at] = value(new[at]) if callable(value) else value
    return new


def axons(program, **columns):
    return replace(program, axons=replace(program.axons, **columns))


def routes(program, **columns):
    return replace(program, routes=replace(program.routes, **columns))


def use(program, resource, **changes):
    at = next(i for i, row in enumerate(program.usage) if row.resource == resource and row.used)
    return replace(program, usage=(*program.usage[:at], replace(program.usage[at], **changes), *program.usage[at + 1:]))


def one_slice(program, i, **changes):
    return replace(program, slices=(*program.slices[:i], replace(program.slices[i], **changes), *program.slices[i + 1:]))


def chip(program, **settings_):
    return replace(program, chip=program.chip.with_settings({k.replace("__", "."): v for k, v in settings_.items()}))


def fan_with(program, least):
    """A fan whose messages cross at least so many links, and the position of its first link."""
    start = program.routes.link_start
    fan = int(np.flatnonzero(np.diff(start) >= least)[0])
    return fan, int(start[fan])


def without_links(program, fan, at):
    """The program with links at positions `at` taken out of the route of a fan."""
    start = program.routes.link_start.copy()
    start[fan + 1:] -= len(at)
    return routes(program, link=np.delete(program.routes.link, at), link_start=start)


def with_links(program, fan, links):
    start = program.routes.link_start.copy()
    start[fan + 1:] += len(links)
    return routes(program, link=np.insert(program.routes.link, program.routes.link_start[fan], links), link_start=start)


def cut_box(program):
    """Slice 0 loses its last row, column or channel."""
    s = program.slices[0]
    name = next(name for name in ("rows", "columns", "channels") if getattr(s, name)[1] - getattr(s, name)[0] > 1)
    first, last = getattr(s, name)
    return one_slice(program, 0, **{name: (first, last - 1)})


def overlapping(program):
    """Slice 0 takes the box of another slice of its layer as well."""
    other = next(s for s in program.slices[1:] if s.layer == program.slices[0].layer)
    boxes = {name: (min(getattr(s, name)[0] for s in (program.slices[0], other)), max(getattr(s, name)[1] for s in (program.slices[0], other)))
             for name in ("rows", "columns", "channels")}
    return one_slice(program, 0, **boxes)


def missing_axon(program):
    start = program.axons.start.copy()
    source = int(np.searchsorted(start, 0, side="right")) - 1
    start[source + 1:] -= 1
    columns = ("slice", "group", "n_synapses", "n_nonzero", "n_visits", "storage", "weighted", "delivery")
    return axons(program, start=start, **{c: getattr(program.axons, c)[1:] for c in columns})


def fan_core(program, needless):
    """A fan with one target core less, or one too many."""
    a, n_cores = program.axons, len(program.tile_of_core)
    fan = int(a.fan_of_source[np.flatnonzero(np.diff(a.start) > 0)[0]])
    first, last = a.fan_start[fan], a.fan_start[fan + 1]
    start = a.fan_start.copy()
    start[fan + 1:] += 1 if needless else -1
    if not needless:
        return axons(program, fan_start=start, fan_core=np.delete(a.fan_core, first))
    cores = a.fan_core[first:last].tolist()
    new = next(c for c in range(n_cores) if c not in cores)
    return axons(program, fan_start=start, fan_core=np.concatenate([a.fan_core[:first], sorted([*cores, new]), a.fan_core[last:]]))


def other_fan(program):
    """Fans of two slices of one layer are exchanged."""
    a = program.axons
    slices = np.unique(a.fan_slice[a.fan_slice >= 0])
    one, other = next((i, j) for i in slices for j in slices if i < j and program.slices[i].layer == program.slices[j].layer)
    return axons(program, fan_slice=np.where(a.fan_slice == one, other, np.where(a.fan_slice == other, one, a.fan_slice)))


def short(program):
    """The last link of a route is taken away (unicast lists a link once per message; a tree ends there as well)."""
    fan, _ = fan_with(program, 2)
    start, end = program.routes.link_start[fan], program.routes.link_start[fan + 1]
    link, width = program.routes.link[start:end], program.mesh[0]
    entered = link // 4 + np.array([1, -1, width, -width])[link % 4]
    leaf = int(np.flatnonzero(~np.isin(entered, link // 4))[0])
    return without_links(program, fan, [start + leaf])


def off_mesh(program):
    fan, at = fan_with(program, 1)
    return with_links(program, fan, [(program.mesh[0] - 1) * 4])


def back_and_forth(program):
    """A route that leaves a tile and comes back: every target is reached, with two links more."""
    fan, at = fan_with(program, 1)
    link, width = int(program.routes.link[at]), program.mesh[0]
    step = (1, -1, width, -width)[link % 4]
    back = (link // 4 + step) * 4 + (link % 4 ^ 1)
    return with_links(program, fan, [back, link])


def y_first(program):
    """One unicast path (or tree) with a corner is laid along y first: as long, but not as routed."""
    start, width = program.routes.link_start, program.mesh[0]
    for fan in range(program.axons.n_fans):
        link = program.routes.link[start[fan]: start[fan + 1]].astype(int)
        sender = program.axons.fan_slice[fan]
        x, y = program.port if sender < 0 else program.tile_of_core[program.slices[sender].core]
        corner = [i for i in range(len(link) - 1) if link[i] % 4 == 0 and link[i] // 4 == y * width + x and link[i + 1] % 4 == 2]
        if corner:
            i = corner[0]
            return routes(program, link=changed(changed(program.routes.link, start[fan] + i, (y * width + x) * 4 + 2),
                                                start[fan] + i + 1, ((y + 1) * width + x) * 4))
    return None


def swapped_tiles(program):
    """Two cores on different tiles change places: routes lead to where they were."""
    tile = program.tile_of_core
    other = int(np.flatnonzero((tile != tile[0]).any(1))[0])
    return replace(program, tile_of_core=changed(changed(tile, 0, tile[other]), other, tile[0]))


def crowded(program):
    tile = program.tile_of_core
    seats = program.chip.noc.cores_per_tile
    return replace(program, tile_of_core=changed(tile, slice(0, seats + 1), tile[0]))


def several_destinations(program):
    most = int(np.diff(program.axons.fan_start)[program.axons.fan_slice >= 0].max())
    return chip(program, core__max_destinations=most - 1) if most > 1 else None


def shared_kernel(program):
    return chip(program, core__kernel_sharing=False) if any("convolution" in s.storage for s in program.slices) else None


def convolution_of_full(program):
    """The last layer holds full synapses."""
    return one_slice(program, len(program.slices) - 1, storage=("convolution",))


def storage_of(program):
    """Another kind, in slices and table alike: visits and memory no longer agree."""
    at = next((i for i, s in enumerate(program.slices) if s.storage[0] == "convolution"), None)
    if at is None:
        return None
    mine = (program.axons.slice == at) & (program.axons.group == 0)
    new = one_slice(program, at, storage=("sparse", *program.slices[at].storage[1:]))
    return axons(new, storage=np.where(mine, 1, program.axons.storage).astype(np.int8))


def a_limit(name, unit=""):
    """The chip gives one less than the fullest core holds."""
    def damage(program):
        held = max(row.used for row in program.usage if row.resource == name)
        return chip(program, **{f"core__{name}": f"{held - 1} bit" if unit else held - 1})
    return damage


def longest(program):
    fan, _ = fan_with(program, 1)
    return routes(program, longest=changed(program.routes.longest, (fan, 0), lambda n: n + 1))


def shorter_longest(program):
    """The hops of a message of the fan, but not of the longest."""
    start = program.axons.fan_start
    for fan in range(program.axons.n_fans):
        sender = program.axons.fan_slice[fan]
        at = np.array(program.port) if sender < 0 else program.tile_of_core[program.slices[sender].core]
        cores = program.axons.fan_core[start[fan]: start[fan + 1]]
        apart = np.abs(program.tile_of_core[cores] - at)
        if program.chip.chips == 1 and apart.sum() and (apart.sum(1) == 0).any():
            return routes(program, longest=changed(program.routes.longest, fan, [0, 0, 0, 1]))
    return None


def local_flags(old, new):
    def damage(program):
        at = np.flatnonzero(program.axons.delivery == old)
        return axons(program, delivery=changed(program.axons.delivery, at[0], new)) if at.size else None
    return damage


def late_message(program):
    """The second axon of a core counts the message instead of the first."""
    delivery = program.axons.delivery
    at = np.flatnonzero(delivery == NO_DELIVERY)
    if not at.size:
        return None
    return axons(program, delivery=changed(changed(delivery, at[0], MESSAGE), at[0] - 1, NO_DELIVERY))


def first_full(program):
    """First axon of an unweighted group, if any."""
    at = np.flatnonzero(program.axons.weighted == 0)
    return axons(program, weighted=changed(program.axons.weighted, at[0], 1)) if at.size else None


DAMAGES = {
    "neuron on no core": (cut_box, r"neurons stand on no core"),
    "neuron on two cores": (overlapping, r"neurons stand on several cores"),
    "slice outside its layer": (lambda p: one_slice(p, 0, channels=(0, 99)), r"is empty or leaves the layer"),
    "empty slice": (lambda p: one_slice(p, 0, rows=(1, 1)), r"is empty or leaves the layer"),
    "slice of an unknown layer": (lambda p: one_slice(p, 0, layer=9), r"slice 0: layer 9 of a network with 4 layers"),
    "slice on an unknown core": (lambda p: one_slice(p, 0, core=999), r"slice 0: core 999 of \d+ cores"),
    "core without a slice": (lambda p: replace(p, tile_of_core=np.concatenate([p.tile_of_core, p.tile_of_core[-1:]])), r"holds no slice"),
    "storage of too few groups": (lambda p: one_slice(p, 0, storage=()), r"storage \(\) for 1 groups"),
    "other layers": (lambda p: replace(p, layer_names=("a", "b", "c", "d")), r"layers \['a', 'b', 'c', 'd'\] in the program"),
    "delivery missing": (lambda p: fan_core(p, False), r"misses core \d+"),
    "needless delivery": (lambda p: fan_core(p, True), r"is sent needlessly to core \d+"),
    "axon missing": (missing_axon, r"sources have synapses there; source element 0 has no axon"),
    "axon at another slice": (lambda p: axons(p, slice=np.roll(p.axons.slice, 1)), r"sources have synapses there|not sorted"),
    "axon at an unknown slice": (lambda p: axons(p, slice=changed(p.axons.slice, -1, 500)), r"an axon leads to slice 500"),
    "axon in an unknown group": (lambda p: axons(p, group=changed(p.axons.group, 0, 7)), r"group of synapses that its layer does not have"),
    "wrong n_synapses": (lambda p: axons(p, n_synapses=changed(p.axons.n_synapses, 3, lambda n: n + 1)), r"n_synapses of source element"),
    "wrong n_nonzero": (lambda p: axons(p, n_nonzero=changed(p.axons.n_nonzero, 3, lambda n: n + 1)), r"n_nonzero of source element"),
    "equal sums, wrong axons": (lambda p: axons(p, n_synapses=p.axons.n_synapses + changed(
        changed(np.zeros_like(p.axons.n_synapses), 0, 1), 1, -1)), r"n_synapses of source element"),
    "wrong n_visits": (lambda p: axons(p, n_visits=changed(p.axons.n_visits, 5, lambda n: n - 1)), r"n_visits of source element"),
    "wrong storage index": (lambda p: axons(p, storage=changed(p.axons.storage, 0, lambda k: (k + 1) % 4)), r"storage of source element"),
    "visits of another storage": (storage_of, r"n_visits of source element"),
    "weighted flag off": (lambda p: axons(p, weighted=changed(p.axons.weighted, 0, 0)), r"weighted of source element \d+ is 0"),
    "weighted flag on": (first_full, r"weighted of source element \d+ is 1"),
    "local instead of a message": (local_flags(MESSAGE, LOCAL), r"counts a local delivery at core \d+, expected a message"),
    "message not counted": (local_flags(MESSAGE, NO_DELIVERY), r"counts no delivery at core \d+, expected a message"),
    "message counted twice": (local_flags(NO_DELIVERY, MESSAGE), r"counts a message at core \d+, expected no delivery"),
    "message with a later axon": (late_message, r"counts no delivery at core \d+, expected a message"),
    "fan of another slice": (other_fan, r"elements send from a slice where they do not stand"),
    "fan of the port": (lambda p: axons(p, fan_slice=np.full_like(p.axons.fan_slice, -1)), r"send from a slice where they do not stand"),
    "fan of an unknown slice": (lambda p: axons(p, fan_slice=changed(p.axons.fan_slice, 0, 400)), r"slice of a fan 400 of"),
    "source of an unknown fan": (lambda p: axons(p, fan_of_source=changed(p.axons.fan_of_source, 0, 10**6)), r"fan 1000000 of"),
    "sources numbered otherwise": (lambda p: axons(p, source_offset=p.axons.source_offset + 1), r"sources are numbered"),
    "axon table too short": (lambda p: axons(p, delivery=p.axons.delivery[1:]), r"the axon table does not hold together"),
    "fans do not hold together": (lambda p: axons(p, fan_start=p.axons.fan_start[::-1].copy()), r"the fans do not hold together"),
    "core twice in a fan": (lambda p: axons(p, fan_core=np.full_like(p.axons.fan_core, 0)), r"cores do not ascend, or core 0 stands twice"),
    "route that stops short": (short, r"route (stops short at|does not reach) tile"),
    "route off the mesh": (off_mesh, r"leaves the mesh of"),
    "detour": (back_and_forth, r"leads back towards the sender: a detour|enters tile"),
    "y before x": (y_first, r"turns from y to x: a detour"),
    "needless link": (lambda p: with_links(p, 0, [(p.port[1] * p.mesh[0] + p.port[0]) * 4 + 2]),
                      r"stops short at tile|needlessly ends at tile|leaves more often|does not reach|enters tile"),
    "cores change places": (swapped_tiles, r"does not reach tile|stops short|detour|longest message|hops in x"),
    "hops that disagree with links": (lambda p: routes(p, hops=changed(p.routes.hops, (0, 0), lambda n: n + 1)), r"hops in x, in y"),
    "chip hops counted as x": (lambda p: routes(p, hops=p.routes.hops[:, [2, 1, 0, 3]]), r"hops in x, in y"),
    "hops within the tile": (lambda p: routes(p, hops=changed(p.routes.hops, (0, 3), lambda n: n + 1)), r"within the tile"),
    "wrong n_messages": (lambda p: routes(p, n_messages=p.routes.n_messages + 1), r"messages, for \d+ other target cores"),
    "wrong n_local": (lambda p: routes(p, n_local=p.routes.n_local + 1), r"1 local deliveries, expected 0"),
    "longest with more hops": (longest, r"the longest message takes hops"),
    "longest of a shorter message": (shorter_longest, r"the longest message takes hops"),
    "routes do not hold together": (lambda p: routes(p, n_local=p.routes.n_local[1:]), r"the routes do not hold together"),
    "tile overfull": (crowded, r"[34] cores > 2 cores per tile"),
    "core outside the mesh": (lambda p: replace(p, tile_of_core=changed(p.tile_of_core, 0, p.mesh)), r"core 0 stands on tile .* outside the mesh"),
    "port outside the mesh": (lambda p: replace(p, port=(0, 77)), r"input port \(0, 77\) lies outside the mesh"),
    "mesh of another size": (lambda p: replace(p, mesh=(p.mesh[0] + 1, p.mesh[1])), r"a mesh of \d+ x \d+ tiles, but"),
    "chip count": (lambda p: chip(p, chips=7), r"but 7 chips of \d x \d+ tiles give"),
    "neurons over the limit": (a_limit("neurons"), r"neurons > |n_visits"),
    "synapse memory over the limit": (a_limit("synapse_memory", "bit"), r"bit synapse memory > [\d,]+ bit"),
    "state memory over the limit": (a_limit("state_memory", "bit"), r"bit state memory > [\d,]+ bit"),
    "axons in over the limit": (a_limit("axons_in"), r"axons in > "),
    "axons out over the limit": (a_limit("axons_out"), r"axons out > "),
    "max_destinations exceeded": (several_destinations, r"target cores of one neuron > "),
    "storage that the core lacks": (lambda p: chip(p, core__weight_storage=["convolution"]), r"storage is not among convolution of the core"),
    "no kernel sharing": (shared_kernel, r"convolution storage on a core without kernel sharing"),
    "convolution storage of full synapses": (convolution_of_full, r"convolution storage of full synapses|storage of source element"),
    "wrong network hash": (lambda p: replace(p, network_sha256="0"), r"compiled for another network"),
    "no slices at all": (lambda p: replace(p, slices=()), r"the program holds no slices"),
    "use of neurons": (lambda p: use(p, "neurons", used=1000), r"the utilisation row says 1000 neurons, \d+ are held"),
    "use of synapse memory": (lambda p: use(p, "synapse_memory", used=8), r"the utilisation row says 8 synapse_memory"),
    "use of state memory": (lambda p: use(p, "state_memory", used=8), r"the utilisation row says 8 state_memory"),
    "use of axons": (lambda p: use(p, "axons_in", used=0), r"the utilisation row says 0 axons_in"),
    "use of axons out": (lambda p: use(p, "axons_out", used=0), r"the utilisation row says 0 axons_out"),
    "limit in a row": (lambda p: use(p, "neurons", limit=7), r"the utilisation row says a limit of 7 neurons, the chip gives 30"),
    "layers in a row": (lambda p: use(p, "neurons", layers=("z",)), r"the utilisation row names layers \['z'\]"),
    "row missing": (lambda p: replace(p, usage=p.usage[1:]), r"core 0: utilisation rows of"),
    "row of an unknown core": (lambda p: use(p, "neurons", core=800), r"a utilisation row of core 800"),
}


def test_good_programs_are_accepted(programs):
    for program, net in programs.values():
        check(program, net)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(programs, name):
    """On every program that holds something of the kind, of which there is at least one."""
    damage, text = DAMAGES[name]
    n_damaged = 0
    for variant, (program, net) in programs.items():
        damaged = damage(program)
        if damaged is not None:
            n_damaged += 1
            with pytest.raises(MappingError) as error:
                check(damaged, net)
            assert re.search(text, str(error.value)), (variant, str(error.value))
    assert n_damaged


@given(networks(), st.integers(1, 40), st.sampled_from(["n_synapses", "n_nonzero", "n_visits", "storage", "weighted", "delivery", "group"]),
       st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=40)
def test_any_changed_entry_of_the_axon_table_is_found(net, neurons, column, at, by):
    program = compile(net, CHIP.with_settings({"core.neurons": neurons, "noc.width": 12, "noc.height": 60}), verify=False)
    values = getattr(program.axons, column)
    with pytest.raises(MappingError):
        check(axons(program, **{column: changed(values, at % values.size, lambda n: n + by)}), net)


@given(networks(), st.integers(1, 40), st.booleans(), st.integers(1, 3), st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=40)
def test_any_changed_link_is_found(net, neurons, multicast, n_chips, at, by):
    program = compile(net, CHIP.with_settings({"core.neurons": neurons, "noc.multicast": multicast, "chips": n_chips, "noc.width": 12,
                                               "noc.height": 60, "noc.cores_per_tile": 1}), verify=False)
    check(program, net)
    if program.routes.link.size:
        with pytest.raises(MappingError, match="fan "):
            check(routes(program, link=changed(program.routes.link, at % program.routes.link.size, lambda n: n // 4 * 4 + (n + by) % 4)), net)


def test_several_types_of_cores_are_counted():
    """2-3-1 on two types: three neurons fit only on the larger one, of which there is one, then none too few."""
    types = [{"count": 1, "neurons": 3, "weight_storage": ["dense"]}, {"count": 4, "neurons": 1, "weight_storage": ["dense"]}]
    program = compile(two_three_one(), CHIP.with_settings({"core": types}), verify=False)
    check(program, two_three_one())
    types[0]["count"], types[0]["neurons"] = 1, 2
    short_of = replace(program, chip=CHIP.with_settings({"core": types}))
    with pytest.raises(MappingError, match=r"3 neurons > 2|neurons > 1"):
        check(short_of, two_three_one())


def test_a_type_of_core_is_not_used_more_often_than_there_are():
    rng = np.random.default_rng(0)
    net = network([layer("a", full(-1, 4, 4, rng=rng)), layer("b", full(0, 4, 4, rng=rng), ())], (4,))
    types = [{"count": 2, "neurons": 4, "weight_storage": ["dense"]}, {"count": 4, "neurons": 1, "weight_storage": ["dense"]}]
    program = compile(net, CHIP.with_settings({"core": types}), verify=False)
    check(program, net)
    types[0]["count"] = 1
    with pytest.raises(MappingError, match="2 cores fit only on core type 0, of which there are 1 on 1 chip"):
        check(replace(program, chip=CHIP.with_settings({"core": types})), net)


def test_long_lists_of_problems_are_cut():
    program = compile(NETWORKS["nature"], CHIP, verify=False)
    with pytest.raises(MappingError) as error:
        check(replace(program, usage=tuple(replace(row, used=-1) for row in program.usage)), NETWORKS["nature"])
    assert len(str(error.value).splitlines()) == 21 and str(error.value).endswith("problems more")


def test_the_checker_imports_nothing_of_the_mapper():
    folder = Path(neurosim.mapping.__file__).parent
    files = sorted(folder.glob("check*.py"))
    assert len(files) >= 1
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if (
                isinstance(node, ast.ImportFrom)) else []
            for module in modules:
                assert not module.startswith("neurosim.mapping") or module.startswith("neurosim.mapping.check_"), (path, module)
                assert not module.startswith("neurosim.kernels")
