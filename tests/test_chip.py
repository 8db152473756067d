"""Chip files: the library, every refusal with its line and column, settings."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurosim import units
from neurosim.chip import ACTIONS, Chip
from neurosim.chip_file import Source, validated
from neurosim.errors import ChipError
from neurosim.explore import sweep

GOOD = """\
name: example
kind: event
signals: [spike, graded]
supports: {neurons: [static], native_schedule: pipelined}
arithmetic: {weight_bits: 8, payload_bits: 16, accumulator_bits: 24}
noc: {topology: mesh, width: 4, height: 2, cores_per_tile: 2, routing: xy, multicast: false, flit_bits: 32, input_port: [0, 0]}
chips: 2
core:
  neurons: {value: 1024, grade: measured, source: "a paper"}
  synapse_memory: 128 KiB
  axons_in: 4096
  weight_storage: [dense, sparse]
  lanes: 4
  clock: 500 MHz
timing: {barrier: {1: 0.6 us, 4: 1.4 us}, overlap: [[message_in, synapse], [neuron_update, event_out]]}
static_power: {per_chip: 35 mW}
scaling: {synapse.energy: {with: core.synapse_memory, exponent: 0.5, grade: assumed}}
cost:
  synapse: {energy: 20 pJ, low: 10 pJ, high: 30 pJ, cycles: 2, includes: [synapse, message_in], operating_point: "full speed"}
  neuron_update: {energy: 3 pJ, time: 4 ns}
  hop: {x: {energy: 1 pJ}, y: {energy: 2 pJ}}
"""


def test_values_are_si():
    chip = Chip.load(GOOD)
    assert chip.core[0].synapse_memory == 128 * 8192 and chip.core[0].clock == 5e8
    assert chip.energy_j("synapse.sparse") == pytest.approx(20e-12)
    assert chip.time_s("synapse.dense") == pytest.approx(2 / (5e8 * 4))
    assert chip.energy_j("hop.y") == pytest.approx(2e-12) and chip.energy_j("hop.local") is None
    assert chip.time_s("neuron_update") == pytest.approx(4e-9) and chip.energy_j("neuron_access") is None
    assert chip.included("energy") == {"message_in": "synapse"} == chip.included("time")
    assert [chip.barrier_s(n) for n in (1, 3, 4, 99)] == pytest.approx([0.6e-6, 0.6e-6, 1.4e-6, 1.4e-6])
    assert chip.n_cores == 2 * 4 * 2 * 2
    assert chip.figures["core.neurons"].source == "a paper" and chip.value("core.neurons") == 1024


def test_library_gives_source_and_grade_for_every_number():
    assert {"loihi1", "loihi1_silicon_fit", "loihi2", "grai_one", "horowitz_int8"} <= set(Chip.names())
    for name in Chip.names():
        chip = Chip.load(name)
        assert chip.name == name and chip.provenance.source
        for action in ACTIONS:
            for kind in ("", ".dense", ".sparse", ".x", ".y", ".local"):
                try:
                    figure = chip.figure(action + kind)
                except KeyError:
                    continue
                for quantity in ("energy", "time"):
                    fields = ("energy",) if quantity == "energy" else ("time", "cycles")
                    if figure and any(getattr(figure, field) is not None for field in fields):
                        assert getattr(figure.source, quantity) and getattr(figure.grade, quantity), (name, action, quantity)
        if chip.static_power.per_chip is not None:
            assert chip.static_power.source


def test_published_figures():
    """Figures of Davies et al. 2018 Table 2 and of the fit, as entered."""
    loihi, fit = Chip.load("loihi1"), Chip.load("loihi1_silicon_fit")
    assert loihi.energy_j("synapse.dense") == pytest.approx(23.6e-12)
    assert loihi.energy_j("neuron_access") + loihi.energy_j("neuron_update") == pytest.approx(81e-12)
    assert fit.energy_j("neuron_access") + fit.energy_j("neuron_update") == pytest.approx(72.8e-12)
    assert [fit.barrier_s(n) for n in (1, 2, 3, 4, 28, 29, 32)] == pytest.approx([6e-7, 1e-6, 1e-6, 1.4e-6, 1.4e-6, 1.8e-6, 1.8e-6])
    assert loihi.n_cores == 128 and loihi.static_power.per_chip == pytest.approx(3.34 / 32, rel=1e-3)
    # 0.447 W dynamic / (6,542.6 timesteps/s x 2.3 .. 2.6 M operations)
    low, high = 0.447 / (6542.6 * 2.6e6), 0.447 / (6542.6 * 2.3e6)
    figure = Chip.load("loihi2").figure("synapse.dense")
    assert figure.low == pytest.approx(low, rel=0.02) and figure.high == pytest.approx(high, rel=0.02)
    # 1.6 W / (196 cores x 500 MHz) = 16.3 pJ
    assert Chip.load("grai_one").figure("synapse.dense").low == pytest.approx(1.6 / (196 * 500e6), rel=2e-3)


REFUSALS = [
    ("signals: [spike, graded]", "signls: [spike]", 3, 1, "unknown key 'signls'; did you mean 'signals'?"),
    ("  axons_in: 4096", "  axon_in: 4096", 11, 3, "unknown key 'axon_in'; did you mean 'axons_in'?"),
    ("  axons_in: 4096", "  neurons: 4096", 11, 3, "key 'neurons' is given twice (first on line 9)"),
    ("  axons_in: 4096", "  axons_in: 4.5", 11, 3, "axons_in: "),
    ("  axons_in: 4096", "  axons_in: -1", 11, 3, "axons_in: -1 where a whole number of 1 or more is due"),
    ("128 KiB", "131072", 10, 3, "synapse_memory: 131072 has no unit; write for example '128 KiB'"),
    ("128 KiB", "-3 KiB", 10, 3, "synapse_memory: '-3 KiB' is negative"),
    ("128 KiB", "3 ns", 10, 3, "'ns' is not a unit of memory"),
    ("kind: event", "kind: evnt", 2, 1, "kind: unknown value 'evnt'; did you mean 'event'?"),
    ("name: example\n", "", 1, 1, "key 'name' is missing"),
    ("cycles: 2", "cycles: 2, time: 1 ns", 19, 53, "time and cycles are both given; keep one"),
    ("cycles: 2", "time: 1 ns", 19, 53, "time beside core.lanes"),
    ("  clock: 500 MHz\n", "", 18, 53, "cycles without core.clock; give the clock, or a time"),
    ("low: 10 pJ", "low: 25 pJ", 19, 13, "energy 20 pJ lies outside its range 25 pJ to 30 pJ"),
    ("energy: 20 pJ, ", "", 19, 13, "a range without an energy"),
    (', operating_point: "full speed"', "", 19, 64, "a figure that includes message_in needs its operating_point"),
    ("includes: [synapse, message_in]", "includes: [synapse, mesage_in]", 19, 84,
     "includes: unknown value 'mesage_in'; did you mean 'message_in'?"),
    ("  hop:", "  hopp:", 21, 3, "unknown key 'hopp'; did you mean 'hop'?"),
    ("{x: {energy: 1 pJ}", "{x: {energy: 1}", 21, 13, "energy: 1 has no unit"),
    ("{x: {energy: 1 pJ}", "{z: {energy: 1 pJ}", 21, 9, "unknown key 'z'"),
    ("[[message_in, synapse]", "[[message_in, synapses]", 15, 66, "unknown value 'synapses'; did you mean 'synapse'?"),
    ("4: 1.4 us", "4: 1.4", 15, 31, "1.4 has no unit"),
    ("per_chip: 35 mW", "per_chip: 35", 16, 16, "per_chip: 35 has no unit"),
    ("width: 4, ", "", 6, 1, "noc.width and noc.height are given together or not at all"),
    ("grade: measured, source", "grade: meassured, source", 9, 26, "unknown value 'meassured'; did you mean 'measured'?"),
    ("multicast: false", "multicast: nope", 6, 76, "multicast: "),
    ("chips: 2", "chips: two", 7, 1, "chips: "),
    ("exponent: 0.5", "exponent: a", 17, 55, "exponent: "),
    ("name: example", "- a", 1, 1, ""),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "text"), REFUSALS, ids=[f"{i}" for i in range(len(REFUSALS))])
def test_refusals_name_the_place(old, new, line, column, text):
    assert old in GOOD
    with pytest.raises(ChipError) as error:
        Chip.load(GOOD.replace(old, new, 1))
    found = [m for m in str(error.value).splitlines() if text in m]
    assert found, str(error.value)
    if text:
        assert found[0].startswith(f"<text>:{line}:{column}: "), str(error.value)


def test_all_problems_at_once(tmp_path):
    text = GOOD
    for old, new in (("128 KiB", "5"), ("event", "evnt"), ("energy: 3 pJ", "enrgy: 3 pJ"), ("per_chip: 35 mW", "per_chip: 1 J")):
        text = text.replace(old, new, 1)
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ChipError) as error:
        Chip.load(path)
    lines = str(error.value).splitlines()
    assert len(lines) == 4 and all(line.startswith(f"{path}:") for line in lines)
    assert [int(line.split(":")[1]) for line in lines] == [2, 10, 16, 20]


def test_unknown_chip_names_close_ones():
    with pytest.raises(ChipError, match="no chip and no file 'loihi'; did you mean .*loihi1"):
        Chip.load("loihi")
    with pytest.raises(ChipError, match="chips of the library: .*grai_one"):
        Chip.load("xyz")
    with pytest.raises(ChipError, match="a chip file is a mapping"):
        Chip.load("- 1\n- 2\n")


def test_settings():
    chip = Chip.load(GOOD)
    new = chip.with_settings({"core.neurons": 256, "noc.width": 8, "cost.hop.x.energy": "7 pJ"})
    assert (new.core[0].neurons, new.noc.width, new.energy_j("hop.x")) == (256, 8, pytest.approx(7e-12))
    assert new.settings == {"core.neurons": 256, "noc.width": 8, "cost.hop.x.energy": "7 pJ"}
    assert chip.core[0].neurons == 1024 and "constants not rescaled with core.neurons" in new.notes
    again = new.with_settings({"core.neurons": 128})
    assert again.core[0].neurons == 128 and again.noc.width == 8 and again.notes.count("constants not rescaled with core.neurons") == 1


def test_scaling_follows_a_setting():
    # 20 pJ x (32 / 128) ** 0.5 = 10 pJ, and its range
    figure = Chip.load(GOOD).with_settings({"core.synapse_memory": "32 KiB"}).figure("synapse.dense")
    assert (figure.energy, figure.low, figure.high) == pytest.approx((10e-12, 5e-12, 15e-12))


def test_scaling_of_time_and_cycles_and_of_single_kinds():
    text = GOOD.replace("scaling: {synapse.energy: {with: core.synapse_memory, exponent: 0.5, grade: assumed}}",
                        "scaling: {synapse.time: {with: core.neurons, exponent: -1}, hop.x.energy: {with: noc.width, exponent: 2}}")
    chip = Chip.load(text).with_settings({"core.neurons": 512, "noc.width": 8})
    # 1,024 neurons became 512: twice the 2 cycles; 4 tiles became 8: four times 1 pJ, and y stays
    assert chip.figure("synapse.dense").cycles == 4 and chip.energy_j("hop.x") == pytest.approx(4e-12)
    assert chip.energy_j("hop.y") == pytest.approx(2e-12)
    assert "hop.x.energy rescaled with noc.width ** 2 (assumed)" in chip.notes


@pytest.mark.parametrize("settings", [
    {"core.neurons": 64}, {"noc.width": 4, "noc.height": 2}, {"core.synapse_memory": "8 KiB"}, {"cost.synapse.energy": "5 pJ"},
    {"cost.synapse": {"energy": "5 pJ", "time": "1 ns"}}, {"cost.hop": None}, {"static_power.per_chip": "1 W"}, {"arithmetic.weight_bits": 2},
    {"core": {"neurons": {"value": 5, "grade": "measured", "source": "x"}}}, {"timing.barrier": {1: "1 us", 9: "2 us"}}, {"timing": None},
    {"area.per_chip": "3 mm2"}, {"signals": ["graded"]}, {"name": "other"}, {"noc.multicast": True}, {"notes": ["x"]}, {"chips": 3},
    {"cost": None}, {"provenance.grade": "measured"}, {"core.neurons.value": 7}, {"cost.neuron_update.energy": "2 pJ", "core.lanes": None}])
@pytest.mark.parametrize("name", ["example", "loihi2", "loihi1_silicon_fit", "speck", "odin", "horowitz_int8"])
def test_a_changed_chip_equals_one_that_is_read_anew(name, settings):
    """What a changed chip takes over from the old one, and what it leaves unchecked, makes no difference."""
    chip = Chip.load(GOOD if name == "example" else name)
    before = copy.deepcopy(chip._source.data)
    try:
        new, refused = chip.with_settings(settings), None
    except ChipError as error:
        new, refused = None, str(error)
    assert chip._source.data == before
    data = new._source.data if new else _with(before, settings)
    try:
        fresh = validated(Chip, Source(data, chip._source.positions, chip._source.label, settings))
    except ChipError as error:
        assert str(error) == refused
        return
    assert refused is None
    assert new.model_dump(exclude={"settings", "notes"}) == fresh.model_dump(exclude={"settings", "notes"})
    assert new.notes[:len(fresh.notes)] == fresh.notes and new.settings == settings


def _with(data, settings):
    """Settings written into a tree, the simple way."""
    for path, value in settings.items():
        *steps, last = path.split(".")
        for node in _entries(data, steps):
            node[last] = value
    return data


def _entries(node, steps):
    if isinstance(node, list):
        return [found for entry in node for found in _entries(entry, steps)]
    if not steps:
        return [node]
    if node.get(steps[0]) is None:
        node[steps[0]] = {}
    return _entries(node[steps[0]], steps[1:])


def test_settings_are_copied_and_accept_numbers_of_numpy():
    storage = ["dense"]
    chip = Chip.load(GOOD).with_settings({"core.weight_storage": storage, "core.neurons": np.int64(32)})
    storage.append("nonsense")
    assert chip.with_settings({"core.neurons": 8}).core[0].weight_storage == ("dense",)
    assert type(chip.settings["core.neurons"]) is int and chip.core[0].neurons == 32
    found = sweep(Chip.load(GOOD), {"core.neurons": list(np.arange(1, 1001))})
    assert len(found) == 1000 and [c.core[0].neurons for _, c in found] == list(range(1, 1001))


def test_origin_of_a_figure():
    chip = Chip.load("loihi2")
    assert chip.origin("noc.width").grade == "vendor_claim" and "32 routers" in chip.origin("noc.width").source
    assert chip.origin("supports.native_schedule").source == "Intel technology brief, 2021"
    assert chip.origin("static_power.per_chip").grade == "measured" and chip.origin("area.process").grade == "vendor_claim"
    assert chip.origin("noc.events_per_message") is None and chip.origin("core.axons_in") is None and chip.origin("cores.x") is None
    assert chip.with_settings({"core.neurons": 9}).origin("core.neurons").source == "a setting of this run"
    assert chip.written("core.synapse_memory") == "128 KiB" and chip.written("cost.synapse.energy") == "28 pJ"


@pytest.mark.parametrize("value", [None, "structural", "nonzero"])
def test_axon_source(value):
    text = GOOD if value is None else GOOD.replace("  lanes: 4", f"  lanes: 4\n  axon_source: {value}")
    assert Chip.load(text).core[0].axon_source == value


def test_areas_are_square_metres():
    chip = Chip.load(GOOD + 'area: {per_chip: {value: 20.2 mm2, grade: measured, source: x}, per_core: 0.06 mm2, process: "28 nm", grade: derived}\n')
    assert (chip.area.per_chip, chip.area.per_core) == pytest.approx((20.2e-6, 0.06e-6)) and chip.area.process == "28 nm"
    assert chip.origin("area.per_chip").grade == "measured" and chip.origin("area.per_core").grade == "derived"


@pytest.mark.parametrize(("settings", "text"), [
    ({"core.neuron": 3}, "setting 'core.neuron': unknown key 'neuron'; did you mean 'neurons'?"),
    ({"cor.neurons": 3}, "setting 'cor.neurons': unknown key 'cor'; did you mean 'core'?"),
    ({"core.neurons": "many"}, "setting 'core.neurons': neurons: "),
    ({"core.synapse_memory": 3}, "setting 'core.synapse_memory': synapse_memory: 3 has no unit"),
    ({"name.x": 3}, "'name' holds a single value"),
    ({"noc.widht": 3}, "setting 'noc.widht': unknown key 'widht'; did you mean 'width'?"),
])
def test_settings_that_are_refused(settings, text):
    with pytest.raises(ChipError) as error:
        Chip.load(GOOD).with_settings(settings)
    assert text in str(error.value)


def test_core_types():
    chip = Chip.load("name: two\nkind: event\ncore:\n  - {count: 3, neurons: 8}\n  - {count: 1, neurons: 64}\n")
    assert chip.n_cores == 4 and [c.neurons for c in chip.core] == [8, 64]
    assert [c.neurons for c in chip.with_settings({"core.neurons": 5}).core] == [5, 5]
    assert [c.neurons for c in chip.with_settings({"core.1.neurons": 5}).core] == [8, 5]
    with pytest.raises(ChipError, match="there are 2 entries"):
        chip.with_settings({"core.7.neurons": 5})


@given(st.floats(1e-3, 1e3), st.sampled_from(["pJ", "nJ", "fJ"]))
def test_settings_parse_like_units(value, unit):
    chip = Chip.load(GOOD).with_settings({"cost.neuron_update.energy": f"{value:f} {unit}"})
    assert chip.energy_j("neuron_update") == units.parse(f"{value:f} {unit}", "energy")


def test_a_figure_that_is_set_loses_the_published_range():
    chip = Chip.load("loihi2").with_settings({"cost.synapse.energy": "5 pJ"})
    figure = chip.figure("synapse.dense")
    assert (figure.energy, figure.low, figure.high) == (5e-12, None, None)
    assert any("published range of it is left out" in note for note in chip.notes)
    chip = Chip.load("loihi2").with_settings({"cost.synapse.energy": "5 pJ", "cost.synapse.low": "4 pJ", "cost.synapse.high": "9 pJ"})
    assert (chip.figure("synapse").low, chip.figure("synapse").high) == (4e-12, 9e-12)
