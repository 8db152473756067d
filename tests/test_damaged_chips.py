"""Damaged chip files: one clear message with file, line and column, exit 2, and never a traceback."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from neurosim.chip import Chip
from neurosim.chip_file import Source, validated
from neurosim.cli import app
from neurosim.errors import ChipError

BASE = """\
name: example
kind: event
provenance: {grade: measured, source: "a paper"}
signals: [spike, graded]
supports: {neurons: [static], native_schedule: pipelined}
arithmetic: {weight_bits: 8}
noc: {width: 4, height: 2, cores_per_tile: 2, input_port: [0, 0]}
chips: 2
core:
  count: 16
  neurons: {value: 1024, grade: measured, source: "a paper"}
  synapse_memory: 128 KiB
  weight_storage: [dense, sparse]
  lanes: 4
  clock: 500 MHz
timing:
  barrier: {1: 0.6 us, 4: 1.4 us}
  overlap: [[message_in, synapse], [neuron_update, event_out]]
static_power: {per_chip: 35 mW, per_core: 1 mW}
area: {per_chip: 20.2 mm2}
scaling:
  synapse.energy: {with: core.synapse_memory, exponent: 0.5}
cost:
  synapse: {energy: 20 pJ, low: 10 pJ, high: 30 pJ, cycles: 2, includes: [synapse, message_in], operating_point: "full speed"}
  neuron_update: {energy: 3 pJ, time: 4 ns}
  hop: {x: {energy: 1 pJ}, y: {energy: 2 pJ}}
"""

# (what is damaged, old text, new text, line, column, message)
DAMAGE = [
    # keys
    ("unknown-key", "signals:", "signls:", 4, 1, "unknown key 'signls'; did you mean 'signals'?"),
    ("unknown-key-in-core", "  lanes: 4", "  lane: 4", 14, 3, "unknown key 'lane'; did you mean 'lanes'?"),
    ("duplicate-key", "chips: 2", "chips: 2\nchips: 3", 9, 1, "key 'chips' is given twice (first on line 8)"),
    ("duplicate-key-inside", "{energy: 3 pJ,", "{energy: 3 pJ, energy: 4 pJ,", 25, 33, "key 'energy' is given twice (first on line 25)"),
    ("missing-name", "name: example\n", "", 1, 1, "key 'name' is missing"),
    ("null-name", "name: example", "name:", 1, 1, "key 'name' is missing"),
    ("empty-name", "name: example", "name: ''", 1, 1, "name: a text that is not empty is due"),
    ("number-for-name", "name: example", "name: 5", 1, 1, "name: text is due (got 5)"),
    ("number-as-key", "chips: 2", "5: 2", 8, 1, "unknown key 5: a key is text"),
    ("null-as-key", "  lanes: 4", "  ~: 4", 14, 3, "unknown key None: a key is text"),
    ("reserved-key", "chips: 2", "figures: 2", 8, 1, "unknown key 'figures'"),
    ("field-of-the-model", "  hop: {x:", "  hop: {every: {energy: 1 pJ}, x:", 26, 9, "unknown key 'every'; known: x, y, local, chip"),
    # words
    ("unknown-kind", "kind: event", "kind: evnt", 2, 1, "kind: unknown value 'evnt'; did you mean 'event'?"),
    ("unknown-grade", "grade: measured, source: \"a paper\"}\nsignals", "grade: meassured, source: \"a paper\"}\nsignals", 3, 14,
     "grade: unknown value 'meassured'; did you mean 'measured'?"),
    ("unknown-action", "  hop:", "  hopp:", 26, 3, "unknown key 'hopp'; did you mean 'hop'?"),
    ("unknown-hop", "{x: {energy: 1 pJ}", "{z: {energy: 1 pJ}", 26, 9, "unknown key 'z'; known: x, y, local, chip"),
    ("unknown-storage", "[dense, sparse]", "[dense, sparce]", 13, 27, "weight_storage: unknown value 'sparce'; did you mean 'sparse'?"),
    ("unknown-axon-source", "  lanes: 4", "  axon_source: structure", 14, 3, "axon_source: unknown value 'structure'; did you mean 'structural'?"),
    ("unknown-schedule", "schedule: pipelined", "schedule: pipeline", 5, 31, "native_schedule: unknown value 'pipeline'; did you mean 'pipelined'?"),
    ("overlap-of-unknown-action", "[message_in, synapse]", "[message_in, synapses]", 18, 26, "overlap: unknown value 'synapses'; did you mean 'synapse'?"),
    ("includes-unknown", "includes: [synapse, message_in]", "includes: [synapse, mesage_in]", 24, 84,
     "includes: unknown value 'mesage_in'; did you mean 'message_in'?"),
    ("no-signals", "[spike, graded]", "[]", 4, 1, "signals: at least one entry is due (got [])"),
    ("duplicate-signals", "[spike, graded]", "[spike, spike]", 4, 1, "signals: 'spike' is given twice"),
    ("duplicate-storage", "[dense, sparse]", "[dense, dense]", 13, 3, "weight_storage: 'dense' is given twice"),
    ("no-storage", "[dense, sparse]", "[]", 13, 3, "weight_storage: at least one entry is due (got [])"),
    # types
    ("text-for-list", "[spike, graded]", "spike", 4, 1, "signals: a list is due (got 'spike')"),
    ("list-for-scalar", "chips: 2", "chips: [2]", 8, 1, "chips: [2] where a whole number is due"),
    ("text-for-number", "chips: 2", "chips: two", 8, 1, "chips: 'two' where a whole number is due"),
    ("fraction-for-count", "lanes: 4", "lanes: 4.5", 14, 3, "lanes: 4.5 where a whole number is due"),
    ("true-for-count", "lanes: 4", "lanes: true", 14, 3, "lanes: True where a whole number is due"),
    ("text-for-mapping", "  neuron_update: {energy: 3 pJ, time: 4 ns}", "  neuron_update: 3 pJ", 25, 3, "neuron_update: a mapping is due (got '3 pJ')"),
    ("yes-for-true", "per_core: 1 mW", "gated: yes", 19, 33, "gated: true or false is due (got 'yes')"),
    ("text-for-cycles", "cycles: 2", "cycles: '2'", 24, 53, "cycles: a number is due (got '2')"),
    ("port-of-one", "[0, 0]", "[0]", 7, 47, "input_port: two whole numbers [x, y] are due (got [0])"),
    ("provenance-as-text", "{grade: measured, source: \"a paper\"}\nsignals", "a paper\nsignals", 3, 1, "provenance: a mapping is due (got 'a paper')"),
    ("core-as-number", BASE[BASE.index("core:\n"):BASE.index("timing:")], "core: 5\n", 9, 1, None),
    # quantities
    ("unit-slip", "energy: 3 pJ", "energy: 3 ns", 25, 19, "energy: '3 ns': 'ns' is not a unit of energy; write for example '23.6 pJ'"),
    ("unit-slip-area", "20.2 mm2", "20.2 mm", 20, 8, "per_chip: '20.2 mm': 'mm' is not a unit of area; write for example '20.2 mm2'"),
    ("bare-number", "energy: 3 pJ", "energy: 3", 25, 19, "energy: 3 has no unit; write for example '23.6 pJ'"),
    ("bare-number-in-barrier", "4: 1.4 us", "4: 1.4", 17, 24, "barrier: 1.4 has no unit; write for example '3.5 ns'"),
    ("negative", "energy: 3 pJ", "energy: -3 pJ", 25, 19, "energy: '-3 pJ' is negative"),
    ("negative-per-core", "per_core: 1 mW", "per_core: -1 mW", 19, 33, "per_core: '-1 mW' is negative"),
    ("nan", "energy: 3 pJ", "energy: .nan", 25, 27, ".nan is not a finite number"),
    ("nan-with-unit", "energy: 3 pJ", "energy: nan pJ", 25, 19, "energy: 'nan pJ' is not a number with a unit; write for example '23.6 pJ'"),
    ("infinite", "energy: 3 pJ", "energy: 1e999 pJ", 25, 19, "energy: '1e999 pJ' is not a finite quantity"),
    ("infinite-in-si", "128 KiB", "1e308 GiB", 12, 3, "synapse_memory: '1e308 GiB' is not a finite quantity"),
    ("nothing-left", "energy: 3 pJ", "energy: 1e-330 pJ", 25, 19, "energy: '1e-330 pJ' is too small to be told from 0"),
    ("no-clock", "500 MHz", "0 Hz", 15, 3, "clock: '0 Hz' where more than 0 is due; null where it is not known"),
    ("no-memory", "128 KiB", "0 B", 12, 3, "synapse_memory: '0 B' where more than 0 is due; null where it is not known"),
    ("no-rate", '"full speed"', "{text: full speed, rate: 0 Hz}", 24, 133, "rate: '0 Hz' where more than 0 is due; null where it is not known"),
    ("infinite-cycles", "cycles: 2", "cycles: .inf", 24, 61, ".inf is not a finite number"),
    ("negative-cycles", "cycles: 2", "cycles: -2", 24, 53, "cycles: -2 where a number of 0 or more is due"),
    ("exponent-nan", "exponent: 0.5", "exponent: .nan", 22, 57, ".nan is not a finite number"),
    ("exponent-text", "exponent: 0.5", "exponent: nan", 22, 47, "exponent: a number is due (got 'nan')"),
    ("exponent-huge", "exponent: 0.5", "exponent: 400", 22, 47, "exponent: 400 where a number of 10 or less is due"),
    ("no-cores", "count: 16", "count: 0", 10, 3, "count: 0 where a whole number of 1 or more is due"),
    ("no-mesh", "width: 4", "width: 0", 7, 7, "width: 0 where a whole number of 1 or more is due"),
    ("huge-mesh", "width: 4", "width: 4096", 7, 7, "width: 4096 where a whole number of 1024 or less is due"),
    ("huge-count", "lanes: 4", "lanes: 99999999999", 14, 3, "lanes: 99999999999 where a whole number of 2147483647 or less is due"),
    ("barrier-of-no-tiles", "{1: 0.6 us", "{0: 0.6 us", 17, 13, "barrier: 0 where a whole number of 1 or more is due"),
    ("barrier-of-text", "{1: 0.6 us", "{one: 0.6 us", 17, 13, "barrier: 'one' where a whole number is due"),
    ("barrier-of-nothing", "{1: 0.6 us, 4: 1.4 us}", "{}", 17, 3, "barrier: at least one entry is due (got {})"),
    # rules over several keys
    ("time-and-cycles", "time: 4 ns", "time: 4 ns, cycles: 2", 25, 45, "time and cycles are both given; keep one"),
    ("time-beside-lanes", "cycles: 2", "time: 2 ns", 24, 53, "time beside core.lanes: lanes divide cycles only; give cycles, or drop lanes"),
    ("cycles-without-clock", "  clock: 500 MHz\n", "", 23, 53, "cycles without core.clock; give the clock, or a time"),
    ("low-above-energy", "low: 10 pJ", "low: 25 pJ", 24, 13, "energy 20 pJ lies outside its range 25 pJ to 30 pJ"),
    ("energy-above-high", "high: 30 pJ", "high: 3 pJ", 24, 13, "energy 20 pJ lies outside its range 10 pJ to 3 pJ"),
    ("range-without-energy", "{energy: 3 pJ,", "{low: 3 pJ,", 25, 19, "a range without an energy"),
    ("power-above-high", "per_core: 1 mW", "high: 1 mW", 19, 16, "per_chip 35 mW lies outside its range up to 1 mW"),
    ("power-range-alone", "per_chip: 35 mW,", "low: 35 mW,", 19, 16, "a range without a per_chip"),
    ("no-operating-point", ', operating_point: "full speed"', "", 24, 64, "a figure that includes message_in needs its operating_point"),
    ("includes-each-other", "  neuron_update: {energy: 3 pJ, time: 4 ns}\n  hop: {x: {energy: 1 pJ}, y: {energy: 2 pJ}}",
     "  neuron_update: {energy: 3 pJ, includes: [hop], operating_point: a}\n  hop: {energy: 1 pJ, includes: [neuron_update], operating_point: a}",
     26, 23, "hop and neuron_update include each other's energy, so neither would be counted"),
    ("includes-leave-a-gap", "  neuron_update: {energy: 3 pJ, time: 4 ns}",
     "  neuron_update: {energy: 3 pJ, includes: [hop], operating_point: a}\n  event_out: {energy: 1 pJ, includes: [neuron_update], operating_point: a}",
     26, 29, "includes neuron_update, whose own energy holds hop: include that too, or it is counted nowhere"),
    ("kinds-include-differently", "x: {energy: 1 pJ}", "x: {energy: 1 pJ, includes: [event_out], operating_point: a}", 26, 71,
     "y and x do not include the same energy (event_out); what one kind of hop includes is left out for all kinds"),
    ("in-two-overlap-groups", "[neuron_update, event_out]", "[neuron_update, synapse]", 18, 36, "synapse stands in two groups of overlap"),
    ("width-alone", "height: 2, ", "", 7, 7, "noc.width and noc.height are given together or not at all"),
    ("mesh-too-small", "count: 16", "count: 17", 7, 7, "4 x 2 tiles hold 16 cores < 17 of core.count; raise noc.width, noc.height or noc.cores_per_tile"),
    ("port-outside", "[0, 0]", "[8, 0]", 7, 47, "tile [8, 0] lies outside the mesh of 8 x 2 tiles"),
    ("too-many-tiles", "chips: 2", "chips: 1000000", 7, 7, "1,000,000 x 4 x 2 tiles > limit 1,048,576"),
    ("scaling-of-nothing", "  synapse.energy:", "  event_out.energy:", 22, 3, "event_out.energy: cost.event_out.energy is not given, so nothing can follow"),
    ("scaling-of-no-quantity", "  synapse.energy:", "  synapse:", 22, 3, "synapse: write <action>.energy or <action>.time, such as synapse.energy"),
    ("scaling-with-nothing", "with: core.synapse_memory", "with: core.synapse_memry", 22, 20,
     "with: unknown figure 'core.synapse_memry'; did you mean 'core.synapse_memory'?"),
    # YAML
    ("tab", "  lanes:", "\tlanes:", 14, 1, "a tab character; indent with spaces"),
    ("unclosed", "[spike, graded]", "[spike, graded", 5, 9, "expected ',' or ']', but got ':'; while parsing a flow sequence"),
    ("second-document", "chips: 2", "---\nchips: 2", 8, 1, "a second document starts here; one is allowed"),
    ("tag", "chips: 2", "chips: !!python/name:os.system 2", 8, 8, "tag 'tag:yaml.org,2002:python/name:os.system' is not allowed"),
    ("alias-of-itself", "chips: 2", "notes: &a [*a]", 8, 12, "alias *a names no finished value, or stands for a key"),
    ("control-character", "a paper\"}\nsignals", "a \x00 paper\"}\nsignals", 3, 42, "not YAML text: special characters are not allowed"),
]


def refused(path):
    """The message of ``neurosim chips PATH``, which must be a refusal without a traceback."""
    result = CliRunner().invoke(app, ["chips", str(path)])
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr and "internal" not in result.stderr
    return result.stderr.removeprefix("error: ").rstrip("\n")


def test_the_undamaged_file_is_accepted(tmp_path):
    (tmp_path / "chip.yaml").write_text(BASE)
    assert CliRunner().invoke(app, ["chips", str(tmp_path / "chip.yaml")]).exit_code == 0


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_damage_is_named_with_its_place(tmp_path, old, new, line, column, message):
    assert BASE.count(old) == 1
    path = tmp_path / "chip.yaml"
    path.write_text(BASE.replace(old, new))
    text = refused(path)
    if message is None:
        # the other problems follow from the first
        assert text.startswith(f"{path}:{line}:{column}: core: a mapping or a list of them is due (got 5)\n")
    else:
        assert text == f"{path}:{line}:{column}: {message}"


def test_ids_are_told_apart():
    assert len({d[0] for d in DAMAGE}) == len(DAMAGE) > 30


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join(['*' + chr(ord(c) - 1)] * 8)}]\n" for c in "bcdefghij")

WHOLE = [
    ("empty", b"", "1:1: a chip file is a mapping with name, kind, core, cost, ...; there is nothing in it"),
    ("comments-only", b"# nothing\n", "1:1: a chip file is a mapping with name, kind, core, cost, ...; there is nothing in it"),
    ("a-list", b"\n- a\n- b\n", "2:1: a chip file is a mapping with name, kind, core, cost, ...; there is a list in its place"),
    ("a-word", b"  hello\n", "1:3: a chip file is a mapping with name, kind, core, cost, ...; there is 'hello' in its place"),
    ("alias-bomb", BOMB.encode(), "4:36: more than 5,000 values"),
    ("many-aliases", b"a: &a 1\n" + b"".join(b"k%d: *a\n" % i for i in range(70)), "66:6: more than 64 aliases"),
    ("deep-flow", b"a:\n " + b"[" * 5000, "2:41: nested deeper than 40"),
    ("deep-block", b"".join(b" " * i + b"a:\n" for i in range(500)), "41:41: nested deeper than 40"),
    ("binary", b"name: x\nkind: \xff\xfe\x00\x01", "2:7: not UTF-8 text (byte 14)"),
    ("utf-16", BASE.encode("utf-16"), "1:1: not UTF-8 text (byte 0)"),
    ("huge", b"# " + b"x" * (1 << 20), "1:1: 1,048,578 bytes > limit 262,144"),
    ("many-values", b"notes:\n" + b"- x\n" * 6000, "4999:3: more than 5,000 values"),
    ("long-integer", b"name: x\nkind: event\nchips: " + b"9" * 5000, "3:8: integer of 5,000 digits"),
]


@pytest.mark.parametrize(("content", "message"), [w[1:] for w in WHOLE], ids=[w[0] for w in WHOLE])
def test_whole_files_that_are_refused(tmp_path, content, message):
    path = tmp_path / "chip.yaml"
    path.write_bytes(content)
    assert refused(path) == f"{path}:{message}"


def test_paths_that_are_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "gone.yaml", tmp_path / "gone" / "chip.yaml", "", "loihi"):
        assert refused(path).startswith(f"no chip and no file {str(path)[:190]!r}")
    assert "did you mean loihi" in refused("loihi")
    (tmp_path / "chip.yaml").write_text(BASE)
    assert refused(tmp_path / "chip.yaml" / "x").startswith("no chip and no file")
    assert refused("x" * 5000).startswith("cannot read 'xxx") and refused("x" * 5000).endswith("File name too long")
    with pytest.raises(ChipError, match="no chip and no file"):
        Chip.load("null\0byte.yaml")


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    path = tmp_path / "chip.yaml"
    path.write_text(BASE)

    def locked(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", locked)
    assert refused(path) == f"cannot read '{path}': Permission denied"


def test_many_problems_are_shown_as_far_as_they_help(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text(BASE + "".join(f"k{i}: 1\n" for i in range(2000)))
    lines = refused(path).splitlines()
    assert len(lines) == 51 and lines[0].startswith(f"{path}:27:1: unknown key 'k0'") and lines[-1] == "... and 1,950 more problems"


def test_a_long_value_does_not_fill_the_screen(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text(BASE.replace("kind: event", f"kind: {'e' * 100_000}").replace("energy: 3 pJ", f"energy: {'9' * 100_000}!"))
    assert all(len(line) < 300 + len(str(path)) for line in refused(path).splitlines())


def test_several_core_types_need_their_counts(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text("name: a\nkind: event\ncore:\n  - {neurons: 5}\n  - {neurons: 6, count: 2}\n")
    assert refused(path) == f"{path}:4:5: count is missing; each of several core types needs its count per chip"


@pytest.mark.parametrize(("settings", "message"), [
    ({"cost.neuron_update.energy": "3 ns"}, "setting 'cost.neuron_update.energy': energy: '3 ns': 'ns' is not a unit of energy; write for example '23.6 pJ'"),
    ({"scaling": {"synapse.energy": {"with": "core.neurons", "exponent": float("nan")}}}, "setting 'scaling': exponent: a finite number is due (got nan)"),
    ({"cost.synapse.cycles": float("nan")}, "setting 'cost.synapse.cycles': cycles: a finite number is due (got nan)"),
    ({"cost.synapse.cycles": float("inf")}, "setting 'cost.synapse.cycles': cycles: a finite number is due (got inf)"),
    ({"core.count": 17}, "4 x 2 tiles hold 16 cores < 17 of core.count"),
    ({"noc.width": 1}, "setting 'noc.width': 1 x 2 tiles hold 4 cores < 16 of core.count; raise noc.width, noc.height or noc.cores_per_tile"),
    ({"cost.synapse.includes": ["synapse", "hop"], "cost.hop.x.includes": ["synapse"], "cost.hop.x.operating_point": "a"}, "include each other"),
    ({"core..neurons": 4}, "setting 'core..neurons': unknown key ''"),
    ({"": 4}, "unknown key ''"),
    ({"core.\u00b2": 4}, "unknown key '\u00b2'"),
    ({"core.99999999999999999999": 4}, "unknown key '99999999999999999999'"),
    ({"signals.7": "spike"}, "signals.7: there are 2 entries, numbered from 0"),
    ({"core.lanes.x.y": 4}, "core.lanes.x.y: 'lanes' holds a single value"),
])
def test_settings_that_damage_a_chip(settings, message):
    with pytest.raises(ChipError) as error:
        Chip.load(BASE).with_settings(settings)
    assert message in str(error.value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-10**25, 10**25) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["3 pJ", "-1 ns", "synapse", "every", "value", "4 KiB", "0 Hz", "inf", "\u00b2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "grade", "energy", "time", "x", "1"]) | st.integers(0, 3), inner, max_size=3),
    max_leaves=6)


def places(node, path=()):
    yield path
    for key, entry in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(entry, (*path, key))


TREE = Chip.load(BASE)._source.data
PLACES = [path for path in places(TREE) if path]


@given(st.sampled_from(PLACES), JUNK)
@settings(max_examples=300)
def test_junk_anywhere_is_refused_or_accepted_but_never_a_crash(place, junk):
    data = copy.deepcopy(TREE)
    at = data
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = junk
    try:
        chip = validated(Chip, Source(data, {}, "junk"))
    except ChipError as error:
        assert str(error)
        return
    assert isinstance(chip, Chip)
    for action in ("synapse.dense", "hop.x", "neuron_update"):
        chip.energy_j(action), chip.time_s(action), chip.included("energy"), chip.included("time")
