"""The chip library: every number against a table typed from the publications, published cross-checks, and what is shown."""

import json

import numpy as np
import pytest
from networks import TWO_THREE_ONE_INPUTS, full, layer, network, two_three_one
from typer.testing import CliRunner

from neurosim import units
from neurosim.chip import ACTIONS, Chip
from neurosim.chip_rules import figures
from neurosim.chip_schema import HopFigures, OperatingPoints, SynapseFigures
from neurosim.cli import app
from neurosim.errors import DoesNotFit
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate
from neurosim.synapses import INPUT, Synapses
from neurosim.view.chip_library import parameters, summary

ALL = sorted(Chip.names())
RNG = np.random.default_rng(0)

# Typed from the publications (their tables and sentences), not from the files.
TABLE = """
# Davies et al., IEEE Micro 38(1), 2018, Table 2; Frady et al., NICE 2020; 8 x 4 tiles are assumed
loihi1  arithmetic.weight_bits 9 | arithmetic.payload_bits 1 | arithmetic.accumulator_bits 24
loihi1  noc.width 8 | noc.height 4 | noc.cores_per_tile 4 | noc.flit_bits 32 | noc.events_per_message 1 | chips 1
loihi1  core.neurons 1024 | core.synapse_memory 128 KiB | core.axons_in 4096 | core.axons_out 4096
loihi1  timing.barrier.1 113 ns | timing.barrier.32 465 ns | area.per_chip 60 mm2
loihi1  static_power.per_chip 104.4 mW | static_power.low 29 mW | static_power.high 104.4 mW
loihi1  cost.synapse.energy 23.6 pJ | cost.synapse.low 23.6 pJ | cost.synapse.time 3.5 ns
loihi1  cost.neuron_access.energy 52 pJ | cost.neuron_access.time 5.3 ns | cost.neuron_update.energy 29 pJ | cost.neuron_update.time 3.1 ns
loihi1  cost.hop.local.energy 1.7 pJ | cost.hop.local.time 2.1 ns | cost.hop.x.energy 3.0 pJ | cost.hop.x.time 4.1 ns
loihi1  cost.hop.y.energy 4.0 pJ | cost.hop.y.time 6.5 ns | cost.state_reset.energy 45.3 pJ
# Boyle et al., IEEE TCAD 44(8), 2025, in the file of SANA-FE
loihi1_silicon_fit  arithmetic.weight_bits 9 | arithmetic.payload_bits 1 | arithmetic.accumulator_bits 24
loihi1_silicon_fit  noc.width 8 | noc.height 4 | noc.cores_per_tile 4 | noc.flit_bits 32 | noc.events_per_message 1 | chips 1
loihi1_silicon_fit  core.neurons 1024 | core.synapse_memory 128 KiB | core.axons_in 4096 | core.axons_out 4096 | area.per_chip 60 mm2
loihi1_silicon_fit  timing.barrier.1 0.6 us | timing.barrier.2 1.0 us | timing.barrier.4 1.4 us | timing.barrier.29 1.8 us
loihi1_silicon_fit  cost.synapse.dense.energy 35.5 pJ | cost.synapse.dense.time 3.8 ns | cost.synapse.sparse.energy 33.6 pJ
loihi1_silicon_fit  cost.synapse.sparse.time 4.7 ns | cost.synapse.convolution.energy 24.0 pJ | cost.synapse.convolution.time 3.1 ns
loihi1_silicon_fit  cost.neuron_access.energy 51.2 pJ | cost.neuron_access.time 6.0 ns | cost.neuron_update.energy 21.6 pJ
loihi1_silicon_fit  cost.neuron_update.time 3.7 ns | cost.event_out.energy 69.3 pJ | cost.event_out.time 30.0 ns
loihi1_silicon_fit  cost.message_out.energy 111.0 pJ | cost.message_out.time 5.1 ns | cost.message_in.energy 0 pJ | cost.message_in.time 16.0 ns
loihi1_silicon_fit  cost.hop.x.energy 3.0 pJ | cost.hop.x.time 4.1 ns | cost.hop.y.energy 4.2 pJ | cost.hop.y.time 6.5 ns
# Timcheck et al., arXiv 2601.10035; Lava notebooks; 16.03 G = 6,542.6 timesteps/s x 2.45 M operations
loihi2  arithmetic.weight_bits 8 | arithmetic.payload_bits 16 | arithmetic.accumulator_bits 24
loihi2  noc.width 8 | noc.height 4 | noc.cores_per_tile 4 | chips 1 | core.neurons 8192 | core.synapse_memory 128 KiB
loihi2  timing.barrier 10 us | timing.barrier_low 200 ns | static_power.per_chip 232 mW | area.per_chip 31 mm2
loihi2  cost.synapse.energy 28 pJ | cost.synapse.low 26 pJ | cost.synapse.high 30 pJ | cost.synapse.time 0.66 ns
loihi2  cost.synapse.operating_point.energy.rate 16.03 GHz | cost.synapse.operating_point.energy.cores 74
loihi2  cost.neuron_access.time 0 ns | cost.neuron_update.time 8 ns
# Linley newsletter, 29 Oct 2019; Tang et al. 2023, Table 3; 14 x 14 is assumed; 98 G = 196 x 500 M
grai_one  arithmetic.payload_bits 16 | noc.width 14 | noc.height 14 | noc.cores_per_tile 1 | chips 1 | core.neurons 1024 | core.lanes 1
grai_one  core.clock 500 MHz | static_power.per_chip 35 mW | area.per_chip 20.2 mm2 | area.per_core 0.06 mm2
grai_one  cost.synapse.energy 20 pJ | cost.synapse.low 16.3 pJ | cost.synapse.cycles 1
grai_one  cost.synapse.operating_point.rate 98 GHz | cost.synapse.operating_point.cores 196
# Tang et al., Front. Neurosci. 17:1187252, 2023, abstract; defaults of SENSIM
seneca  noc.flit_bits 32 | noc.events_per_message 2 | chips 1 | core.synapse_memory 2 Mbit | core.clock 200 MHz | area.per_core 0.47 mm2
seneca  cost.synapse.energy 2.8 pJ
# Merolla et al. 2014; Akopyan et al. 2015; 8 KiB = 256 x 256 bit; 13 = 26 x 128 / 256; 2.684 G = 1,048,576 x 20 x 128; 4.3 cm2
truenorth  arithmetic.weight_bits 1 | arithmetic.payload_bits 1 | arithmetic.accumulator_bits 20
truenorth  noc.width 64 | noc.height 64 | noc.cores_per_tile 1 | noc.flit_bits 32 | noc.events_per_message 1 | chips 1
truenorth  core.neurons 256 | core.synapse_memory 8 KiB | core.axons_in 256 | core.axons_out 256 | core.max_destinations 1
truenorth  timing.barrier 1 ms | area.per_chip 430 mm2 | cost.synapse.energy 26 pJ | cost.synapse.low 13 pJ
truenorth  cost.synapse.operating_point.rate 2.684 GHz | cost.synapse.operating_point.cores 4096
# Pei et al. 2019 and IEEE Circuits and Systems Magazine Q2 2022; 5,050 clocks of 300 MHz; 3.8 x 3.8 mm2; 1 / (649.4 GSOPS/W)
tianjic  arithmetic.weight_bits 8 | chips 1 | core.count 156 | core.neurons 256 | core.axons_in 256 | core.clock 300 MHz
tianjic  timing.barrier 16.83 us | area.per_chip 14.44 mm2 | cost.synapse.energy 1.54 pJ
# datasheet 0.03, August 2021; flit and tile from reviews
spinnaker2  noc.cores_per_tile 4 | noc.flit_bits 192 | chips 1 | core.count 152 | core.synapse_memory 128 KiB | core.clock 300 MHz
# documentation of SynSense; Richter et al. 2024: kernel 16,16,16,32,32,64,64,16,16 Ki words, state 64 Ki (0-2), 32 Ki (3-4), 16 Ki (5-8); 1 / 30 M
speck  arithmetic.weight_bits 8 | arithmetic.payload_bits 1 | arithmetic.accumulator_bits 16 | chips 1
speck  noc.width 1 | noc.height 1 | noc.cores_per_tile 9 | static_power.per_chip 0.42 mW | cost.synapse.time 33.3 ns
speck  core.0.count 3 | core.0.neurons 65536 | core.0.synapse_memory 16 KiB | core.0.max_destinations 2
speck  core.1.count 2 | core.1.neurons 32768 | core.1.synapse_memory 32 KiB | core.1.max_destinations 2
speck  core.2.count 2 | core.2.neurons 16384 | core.2.synapse_memory 64 KiB | core.2.max_destinations 2
speck  core.3.count 2 | core.3.neurons 16384 | core.3.synapse_memory 16 KiB | core.3.max_destinations 2
# Frenkel et al. 2019 and the project's documentation; 160.8 = 27.3 + 1.78 x 75
odin  arithmetic.weight_bits 3 | arithmetic.payload_bits 1 | arithmetic.accumulator_bits 8 | chips 1 | core.neurons 256 | core.axons_in 256
odin  core.synapse_memory 32 KiB | core.state_memory 4 KiB | core.clock 75 MHz | static_power.per_chip 160.8 uW | area.per_core 0.086 mm2
odin  cost.synapse.energy 8.43 pJ | cost.synapse.cycles 2
# Chen et al. 2017; 278 mW / (35 x 666 M), 236 mW / (0.7 x 15.3 G), 1 / (35 x 666 M)
eyeriss  arithmetic.weight_bits 16 | arithmetic.payload_bits 16 | core.clock 200 MHz | area.per_chip 16 mm2
eyeriss  cost.synapse.energy 11.9 pJ | cost.synapse.low 11.9 pJ | cost.synapse.high 22.0 pJ | cost.synapse.time 42.9 ps
# Horowitz, ISSCC 2014: 0.2 + 0.03 (0.1); 1.1 + 0.4; 3.7 + 0.9; + 20 x 8/64, + 20 x 32/64
horowitz_int8            arithmetic.weight_bits 8 | arithmetic.payload_bits 8 | arithmetic.accumulator_bits 32 | cost.synapse.energy 0.23 pJ | cost.synapse.high 0.30 pJ
horowitz_int8_zero_skip  arithmetic.weight_bits 8 | arithmetic.payload_bits 8 | arithmetic.accumulator_bits 32 | cost.synapse.energy 0.23 pJ | cost.synapse.high 0.30 pJ
horowitz_int8_sram       arithmetic.weight_bits 8 | arithmetic.payload_bits 8 | arithmetic.accumulator_bits 32 | cost.synapse.energy 2.73 pJ
horowitz_fp16            arithmetic.weight_bits 16 | arithmetic.payload_bits 16 | arithmetic.accumulator_bits 16 | cost.synapse.energy 1.5 pJ
horowitz_fp32            arithmetic.weight_bits 32 | arithmetic.payload_bits 32 | arithmetic.accumulator_bits 32 | cost.synapse.energy 4.6 pJ
horowitz_fp32_sram       arithmetic.weight_bits 32 | arithmetic.payload_bits 32 | arithmetic.accumulator_bits 32 | cost.synapse.energy 14.6 pJ
"""
TYPED = {(line.split()[0], entry.split()[0]): entry.split(maxsplit=1)[1].strip()
         for line in TABLE.strip().splitlines() if not line.startswith("#") for entry in line.split(maxsplit=1)[1].split(" | ")}


def built(chip, path):
    """The figure that a chip holds at a path of its file."""
    at = chip
    for step in path.split("."):
        if isinstance(at, SynapseFigures | HopFigures) and not hasattr(at, step):
            at = at.every
        if isinstance(at, OperatingPoints) and not hasattr(at, step):
            at = at.energy
        if isinstance(at, tuple) and not step.isdecimal():
            at = at[0]
        at = at[int(step)] if isinstance(at, tuple | dict) else getattr(at, step)
    return at[1] if path == "timing.barrier" else at


def in_si(text):
    for dimension in ("energy", "time", "power", "frequency", "memory", "area"):
        try:
            return units.parse(text, dimension)
        except ValueError:
            continue
    return int(text)


@pytest.mark.parametrize(("name", "path"), sorted(TYPED), ids=lambda x: x)
def test_every_number_is_as_published(name, path):
    assert built(Chip.load(name), path) == pytest.approx(in_si(TYPED[name, path]), rel=1e-12)


def numbers(node, path=()):
    """Paths of all numbers and quantities that stand in a file; sentences are left out."""
    if isinstance(node, dict) and "value" in node:
        yield from numbers(node["value"], path)
    elif isinstance(node, dict | list):
        for key, entry in node.items() if isinstance(node, dict) else enumerate(node):
            if key not in ("name", "source", "text", "process", "notes", "note"):
                yield from numbers(entry, (*path, str(key)))
    elif "operating_point" in path and path[-1] not in ("rate", "cores"):
        return
    elif isinstance(node, int | float) and not isinstance(node, bool) or isinstance(node, str) and any(c.isdecimal() for c in node):
        yield ".".join(path)


@pytest.mark.parametrize("name", ALL)
def test_no_number_stands_in_a_file_that_the_table_lacks(name):
    assert set(numbers(Chip.load(name)._source.data)) == {path for chip, path in TYPED if chip == name}


# ---------------------------------------------------------------------------------------------------------------- provenance


def test_the_library():
    assert set(ALL) == {"eyeriss", "grai_one", "horowitz_fp16", "horowitz_fp32", "horowitz_fp32_sram", "horowitz_int8", "horowitz_int8_sram",
                        "horowitz_int8_zero_skip", "loihi1", "loihi1_silicon_fit", "loihi2", "odin", "seneca", "speck", "spinnaker2",
                        "tianjic", "truenorth"}
    chips = {name: Chip.load(name) for name in ALL}
    assert {n for n, c in chips.items() if c.signals == ("spike",)} == {"loihi1", "loihi1_silicon_fit", "odin", "speck", "truenorth"}
    assert {n for n, c in chips.items() if summary(c)["use"] == "structure only"} == {"speck", "spinnaker2"}
    assert {n for n, c in chips.items() if c.core[0].weight_storage == ("crossbar",)} == {"odin", "truenorth"}
    assert any("10 pJ" in note and "no energy is entered" in note for note in chips["spinnaker2"].notes)
    assert [summary(chips[n])["static"] for n in ("truenorth", "tianjic", "eyeriss")] == ["inside"] * 3
    # mesh and tile of GrAI One were recalled only: they are entered as assumed, since a mesh must have a size
    assert all(chips["grai_one"].figures[f"noc.{k}"].grade == "assumed" for k in ("width", "height", "cores_per_tile"))


@pytest.mark.parametrize("name", ALL)
def test_everything_known_has_grade_and_source(name):
    for parameter, value, _, grade, source, _ in parameters(Chip.load(name)):
        if "not published" in value or "inside" in value or "from the mesh" in value or value.startswith(("none", "1: no mesh")):
            assert not grade and not source, parameter
        else:
            assert source and (grade or source == "default of the file format"), parameter


def mostly_assumed(chip):
    """Whether more than half of the prices of a chip are guesses."""
    grades = [getattr(f.grade, q) for _, f in _priced(chip) for q in ("energy", "time") if _gives(f, q)]
    return 2 * grades.count("assumed") > len(grades)


def _priced(chip):
    for path, _ in figures(chip._source.data.get("cost")):
        yield path, chip.figure(".".join(path[1:]))


def _gives(figure, quantity):
    return figure.energy is not None if quantity == "energy" else figure.time is not None or figure.cycles is not None


@pytest.mark.parametrize("name", ALL)
def test_no_chip_of_the_library_is_mostly_assumed(name):
    assert not mostly_assumed(Chip.load(name))


def test_mostly_assumed_is_noticed():
    assert mostly_assumed(Chip.load("name: a\nkind: event\ncost: {synapse: {energy: 1 pJ, grade: assumed, source: guess}}\n"))


@pytest.mark.parametrize("name", ALL)
def test_a_zero_is_entered_only_with_a_reason(name):
    zeros = {(".".join(path[1:]), q) for path, f in _priced(Chip.load(name)) for q in ("energy", "time") if getattr(f, q) == 0}
    assert zeros == {"loihi1_silicon_fit": {("message_in", "energy")}, "loihi2": {("neuron_access", "time")}}.get(name, set())


# -------------------------------------------------------------------------------------------------------------- cross-checks


def mlp(*sizes):
    layers = [layer(f"l{i}", full(i - 1, a, b, rng=RNG, zeros=0)) for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))]
    return network(layers, (sizes[0],))


def run(net, n=4):
    return simulate(net, RNG.integers(0, 3, (n, *net.input.shape)).astype(float), numerics="float64", reference="none")


def test_odin_power_at_full_rate():
    """27.3 + 133.5 + 316.1 = 476.9 uW at 37.5 M operations per second: 12.72 pJ per operation, the 12.7 pJ of the paper's title."""
    odin = Chip.load("odin")
    rate = 1 / odin.time_s("synapse.crossbar")
    assert rate == pytest.approx(37.5e6)
    watt = odin.static_power.per_chip + odin.energy_j("synapse.crossbar") * rate
    assert watt == pytest.approx(476.9e-6, rel=1e-3) and watt / rate == pytest.approx(12.72e-12, rel=1e-3)
    # the same from a run: the core is never idle, a layer of 10 neurons walks all 256 columns for every event
    net = mlp(200, 10)
    trace = run(net)
    report = price(trace, compile(net, odin, hypothetical=True))
    visits = report.energy.counts["synapse.crossbar"]
    assert visits == 256 * report.energy.counts["host_in"] > 0
    assert report.energy.total_j / visits == pytest.approx(12.72e-12, rel=1e-3)
    assert {"neuron_update", "message_in"} <= set(report.energy.included)


def test_odin_holds_one_layer():
    """Each layer takes a core of its own, and ODIN has one: a network of two layers needs two chips."""
    odin, net = Chip.load("odin"), mlp(200, 100, 10)
    with pytest.raises(DoesNotFit, match="2 cores > 1 on 1 chip"):
        compile(net, odin, hypothetical=True)
    with pytest.raises(DoesNotFit, match=r"graded events \(of input.*\) > spike signals on odin"):
        compile(net, odin)
    assert compile(net, odin.with_settings({"chips": 2}), hypothetical=True).cores_used == 2
    with pytest.raises(DoesNotFit, match="300 axons in > 256 on a core"):
        compile(mlp(300, 10), odin, hypothetical=True)


def test_truenorth_power_at_its_operating_point():
    """26 pJ x 1,048,576 neurons x 20 Hz x 128 synapses = 26 pJ x 2.684e9/s = 69.8 mW (72 mW measured)."""
    chip = Chip.load("truenorth")
    operations = 1_048_576 * 20 * 128
    point = chip.figure("synapse.crossbar").operating_point.energy
    assert point.rate == pytest.approx(operations, rel=1e-3) and chip.n_cores * chip.core[0].neurons == 1_048_576
    assert chip.energy_j("synapse.crossbar") * operations == pytest.approx(69.8e-3, rel=1e-3)


def test_truenorth_low_end_counts_active_synapses():
    """Rows with 128 of 256 active synapses: 256 walked cells at 13 pJ are 128 active ones at 26 pJ."""
    weight = np.zeros((256, 256))
    for source in range(256):
        weight[RNG.permutation(256)[:128], source] = 1
    net = network([layer("a", Synapses("full", INPUT, (1, 1, 256), (1, 1, 256), weight))], (256,))
    trace = run(net)
    report = price(trace, compile(net, Chip.load("truenorth"), hypothetical=True))
    assert report.energy.counts["synapse.crossbar"] == 256 * report.energy.counts["host_in"]
    active = trace.totals_by_counter["effective_macs"]
    assert active == 128 * report.energy.counts["host_in"] > 0
    assert report.energy.low_j == pytest.approx(active * 26e-12) and report.energy.total_j == pytest.approx(2 * active * 26e-12)


def test_truenorth_maps_what_its_crossbars_hold():
    chip, net = Chip.load("truenorth"), mlp(64, 32, 10)
    program = compile(net, chip, hypothetical=True)
    report = price(run(net), program)
    assert program.cores_used == 2
    # two layers are two ticks; nothing else has a time, and static power is inside
    np.testing.assert_allclose(report.latency.per_timestep_s, 2e-3)
    assert "static" in report.energy.included and "static" not in report.energy.parts
    with pytest.raises(DoesNotFit, match="257 axons in > 256 on a core"):
        compile(mlp(257, 10), chip, hypothetical=True)
    # 300 targets take two cores, and a neuron reaches one
    with pytest.raises(DoesNotFit, match="2 target cores of one neuron > 1"):
        compile(mlp(64, 100, 300), chip, hypothetical=True)


def test_speck_has_nine_cores_of_four_kinds():
    chip = Chip.load("speck")
    assert chip.n_cores == 9 and sum(core.count * core.neurons for core in chip.core) == 327_680
    # 16 + 16 + 16 + 32 + 32 + 64 + 64 + 16 + 16 = 272 Ki words of 8 bit
    assert sum(core.count * core.synapse_memory for core in chip.core) == 272 * 8192
    assert compile(mlp(64, 32, 10), chip, hypothetical=True).cores_used == 2
    # ten layers take a core each
    with pytest.raises(DoesNotFit, match="10 cores > 9|left of core type"):
        compile(mlp(*[8] * 11), chip, hypothetical=True)


def test_structure_only_is_never_priced_as_zero():
    net = mlp(20, 10)
    for name in ("speck", "spinnaker2"):
        report = price(run(net), compile(net, Chip.load(name), hypothetical=True))
        assert not report.energy.complete and any(a.startswith("synapse") for a in report.energy.not_priced)
        assert not any(a.startswith("synapse") for a in report.energy.parts)


def test_tianjic_and_eyeriss_hold_their_static_power():
    net = mlp(20, 10)
    trace = run(net)
    report = price(trace, compile(net, Chip.load("tianjic")))
    assert report.energy.included["static"] == "synapse"
    assert report.energy.total_j == pytest.approx(1.54e-12 * report.energy.counts["synapse.dense"])
    assert 1 / 649.4e9 == pytest.approx(1.54e-12, rel=1e-3) and 5050 / 300e6 == pytest.approx(16.83e-6, rel=1e-3)
    report = price(trace, Chip.load("eyeriss"))
    assert report.energy.total_j == pytest.approx(11.9e-12 * trace.totals_by_counter["dense_macs"])
    assert report.energy.high_j == pytest.approx(22.0e-12 * trace.totals_by_counter["dense_macs"])
    assert report.latency.per_timestep_s.sum() == pytest.approx(42.9e-12 * trace.totals_by_counter["dense_macs"])
    figure = Chip.load("eyeriss").figure("synapse")
    assert (figure.energy, figure.high, figure.time) == pytest.approx(
        (0.278 / (35 * 666e6), 0.236 / (0.7 * 15.3e9), 1 / (35 * 666e6)), rel=3e-3)


@pytest.mark.parametrize(("name", "pj"), [("horowitz_fp16", 1.1 + 0.4), ("horowitz_fp32_sram", 3.7 + 0.9 + 20 * 32 / 64),
                                          ("horowitz_int8_sram", 0.2 + 0.03 + 20 * 8 / 64), ("horowitz_int8", 0.2 + 0.03)])
def test_horowitz_sums(name, pj):
    assert Chip.load(name).energy_j("synapse") == pytest.approx(pj * 1e-12)


def test_grai_one_low_end():
    """5 visits at the low end are 5 x 16.3 = 81.5 pJ; 81.6 in circulation is 5 x 1.6 W / (196 x 500 MHz), unrounded."""
    trace = simulate(two_three_one(), TWO_THREE_ONE_INPUTS[:1], numerics="float64", reference="none")
    report = price(trace, compile(trace.network, Chip.load("grai_one")))
    assert report.energy.counts["synapse.dense"] == 5
    assert report.energy.low_j - report.energy.static_j == pytest.approx(81.5e-12)
    assert 5 * 1.6 / (196 * 500e6) == pytest.approx(81.6e-12, rel=1e-3)


# ---------------------------------------------------------------------------------------------------------------------- shown


def shown(*arguments):
    result = CliRunner().invoke(app, ["chips", *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_list_says_what_is_known():
    text = shown()
    rows = {line.split()[0]: line for line in text.splitlines() if line.split() and line.split()[0] in ALL}
    assert set(rows) == set(ALL)
    assert "structure only" in rows["speck"] and "structure only" in rows["spinnaker2"] and "priced" in rows["loihi1"]
    # synapse, access, update, hop (x, y, local) and reset of 11; without reset of 7; state memory and link time are not published
    assert rows["loihi1"].split() == "loihi1 priced spike 128 23.6 pJ simulated 5/11 4/7 104 mW 113 ns .. 465 ns 10/12".split()
    assert all(share in rows["loihi1_silicon_fit"] for share in (" 6/11 ", " 6/7 ")) and "inside" in rows["truenorth"]
    assert "0/11" in rows["spinnaker2"] and "0/7" in rows["spinnaker2"] and "3/3" in rows["horowitz_int8"]


def test_document_lists_what_is_missing():
    by_name = {c["name"]: c for c in json.loads(shown("--json"))["chips"]}
    fit = by_name["loihi1_silicon_fit"]
    assert fit["energy_partly_published"] == ["hop"] and "state_reset" in fit["energy_not_published"]
    assert by_name["loihi1"]["structure_not_published"] == ["core.state_memory", "noc.flit_time"]
    assert by_name["loihi1"]["structure"] == {"known": 10, "of": 12} and by_name["odin"]["structure"]["of"] == 9
    assert set(by_name["spinnaker2"]["energy_not_published"]) == set(ACTIONS)


def test_one_chip_shows_every_parameter():
    document = json.loads(shown("truenorth", "--json"))
    rows = {r["parameter"]: r for r in document["parameters"]}
    for parameter in ("noc.flit_time", "core.max_destinations", "core.axon_source", "area.per_chip", "timing.overlap", "core.state_memory"):
        assert parameter in rows
    assert rows["noc.flit_time"]["value"] == "not published" and rows["core.axon_source"]["value"].startswith("not published")
    assert rows["area.per_chip"]["value"] == "430 mm2" and rows["core.max_destinations"]["value"] == "1"
    energy = rows["synapse energy"]
    assert (energy["value"], energy["range"], energy["grade"]) == ("26 pJ", "from 13 pJ", "measured")
    assert "Merolla" in energy["source"] and "0.775 V" in energy["operating_point"] and "4,096 cores" in energy["operating_point"]
    assert rows["synapse time"]["value"] == "not published" and rows["static_power.per_chip"]["value"] == "inside synapse"
    text = shown("odin")
    assert "2 cycles = 26.7 ns" in text and "0.086 mm2" in text and "none: one core per chip" in text and "160.8 uW" in text
    assert "core.3.neurons" in shown("speck")


def test_scaling_rules_and_settings_are_shown():
    chip = Chip.load("loihi2").with_settings({"core.neurons": 64})
    row = next(r for r in parameters(chip) if r[0] == "core.neurons")
    assert row[1] == "64" and row[4] == "a setting of this run"
    text = "name: a\nkind: event\ncore: {synapse_memory: 1 KiB}\nscaling: {synapse.energy: {with: core.synapse_memory, exponent: 0.5}}\ncost: {synapse: {energy: 1 pJ}}\n"
    assert ("scaling.synapse.energy", "~ core.synapse_memory ** 0.5") in [r[:2] for r in parameters(Chip.load(text))]
