"""docs/chip_file.md: its example loads, maps and is priced; its error messages are real; it leaves no key out."""

import re
from pathlib import Path

import pytest
from networks import TWO_THREE_ONE_INPUTS, two_three_one

from neurosim.chip import ACTIONS, HOP_KINDS, STORAGE_KINDS, Chip
from neurosim.chip_schema import Area, Arithmetic, Core, Figure, Noc, StaticPower, Supports, Timing
from neurosim.errors import ChipError, DoesNotFit
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate

PAGE = (Path(__file__).parents[1] / "docs" / "chip_file.md").read_text(encoding="utf-8")


def block(language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0]


def test_example_loads_maps_and_is_priced():
    chip, net = Chip.load(block("yaml")), two_three_one()
    report = price(simulate(net, TWO_THREE_ONE_INPUTS, numerics="float64"), compile(net, chip))
    assert report.energy.total_j > 0 and report.latency.complete
    assert set(report.energy.not_priced) == {"state_reset", "input_compare", "host_in", "host_out"}
    assert report.energy.included == {"message_out": "event_out"}
    assert report.energy.low_j < report.energy.total_j < report.energy.high_j
    # all 3 + 3 synapses fit, 2 cores are used: one per layer
    assert report.cores_used == 2 and "figures invented" in chip.provenance.source
    assert [chip.barrier_s(n) for n in (3, 4)] == pytest.approx([100e-9, 250e-9])


def test_memory_is_checked_only_with_a_weight_width():
    net, text = two_three_one(), block("yaml").replace("synapse_memory: 128 KiB", "synapse_memory: 8 bit")
    with pytest.raises(DoesNotFit, match="synapse memory"):
        compile(net, Chip.load(text))
    unknown = compile(net, Chip.load(text.replace("weight_bits: 8", "weight_bits: null")))
    assert any("not checked: core.synapse_memory" in note for note in unknown.notes)


def test_error_messages_are_real(tmp_path, monkeypatch):
    text = block("yaml")
    for old, new in (("  axons_in:", "  axon_in:"), ("128 KiB", "131072"),
                     ('    operating_point: {energy: "one target core per event"}\n', "")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    monkeypatch.chdir(tmp_path)
    Path("my_chip.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ChipError) as error:
        Chip.load("my_chip.yaml")
    assert str(error.value).splitlines() == block("text").splitlines()


def test_every_key_is_explained():
    keys = [k for k in Chip.model_fields if k not in ("figures", "settings")]
    keys += [k for part in (Core, Noc, Arithmetic, Timing, Supports, StaticPower, Area, Figure) for k in part.model_fields]
    missing = [k for k in (*keys, *ACTIONS, *STORAGE_KINDS, *HOP_KINDS) if f"`{k}`" not in PAGE]
    assert not missing
