"""The validation page is what the validation run says, and the run still says the same."""

import json
import math
from importlib import import_module
from pathlib import Path

import pytest
from test_documents import ROOT, generator

FIGURES = ROOT / "docs" / "figures" / "validation.json"
DOCUMENT = json.loads(FIGURES.read_text())
RUN = "run: python benchmarks/validation.py --json docs/figures/validation.json && python docs/generate.py"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


def rows(part):
    return {r["what"]: r for r in DOCUMENT["rows"] if r["part"] == part}


def test_page_is_current():
    assert (ROOT / "docs" / "validation.md").read_text() == generator().validation_page(), "run: python docs/generate.py"


@pytest.mark.parametrize("part", DOCUMENT["parts"])
def test_figures_are_current(part):
    found = {row.what: row.to_json() for row in import_module("validation").rows_of([part])}
    recorded = rows(part)
    assert list(found) == list(recorded), RUN
    for what, row in found.items():
        assert row["ours"] == pytest.approx(recorded[what]["ours"], rel=1e-6), f"{what}; {RUN}"
        assert (row["target"], row["band"], row["independence"]) == tuple(recorded[what][k] for k in ("target", "band", "independence")), RUN


def test_every_part_is_recorded():
    parts = import_module("validation_parts")
    assert list(DOCUMENT["parts"].items()) == [(name, title) for name, (title, _) in parts.PARTS.items()] and DOCUMENT["missing"] == list(parts.MISSING)


def test_headline_counts_independent_rows_once():
    """Counted again from the rows, without the code that made the headline."""
    limits = [("within 10 %", 1.1), ("within 25 %", 1.25), ("within a factor 2", 2.0), ("outside a factor 2", math.inf)]
    total = dict.fromkeys((name for name, _ in limits), 0)
    for row in DOCUMENT["rows"]:
        if row["independence"] == "independent" and row["target"] is not None:
            factor = math.exp(abs(math.log(row["ours"] / row["target"])))
            total[next(name for name, limit in limits if factor <= limit * (1 + 1e-12))] += 1
    assert {name: sum(line[name] for line in DOCUMENT["headline"].values()) for name in total} == total
    whole = DOCUMENT["headline"]["measured or deployed on silicon"]
    assert sum(whole.values()) == 3 and sum(DOCUMENT["headline"]["one cost table against another"].values()) == 4


@pytest.mark.parametrize(("ratio", "expected"), [
    (1, "equal"), (1.1, "within 10 %"), (0.92, "within 10 %"), (1.11, "within 25 %"), (0.8, "within 25 %"), (0.79, "within a factor 2"),
    (2, "within a factor 2"), (0.49, "outside a factor 2"), (2.1, "outside a factor 2"), (0, "outside a factor 2"), (None, "no target")])
def test_bands(ratio, expected):
    assert import_module("validation_rows").band(ratio) == expected


def test_a_row_says_how_much_it_proves():
    with pytest.raises(ValueError, match="independence 'sure' is not one of independent, same source, circular, arithmetic"):
        import_module("validation_rows").Row("a", "J", 1.0, "source", 1.0, "sure", "why")
    assert all(r["source"] and r["why"] and r["verdict"].startswith(r["band"]) for r in DOCUMENT["rows"])


def test_sums_are_sums_of_their_layers():
    for part, target in (("pilotnet_cores", 61), ("yolo_cores", 574)):
        layers = [r for r in rows(part).values() if r["detail"]]
        total = rows(part)["all layers"]
        assert total["target"] == target == sum(r["target"] for r in layers) and total["ours"] == sum(r["ours"] for r in layers)
    parts = import_module("validation_parts")
    assert sum(parts.YOLO_MACS) == 1_034_829_824


def test_yolo_kp_has_the_published_macs_layer_by_layer():
    networks, parts = import_module("validation_networks"), import_module("validation_parts")
    network = networks.chain("yolo_kp", *networks.YOLO_KP)
    assert [layer.synapses[0].n_padded_synapses() for layer in network.layers] == list(parts.YOLO_MACS)


def test_figures_by_hand():
    # 3,146 events x 48 synapses x 0.66 ns + 3,072 x 4 ns + 10 us; 1,062 x 48 x 0.66 ns + 3,072 x 8 ns + 10 us
    lif, sdnn = (r["ours"] for r in rows("loihi2_time").values())
    assert lif == pytest.approx(121_953.28e-9) and sdnn == pytest.approx(68_220.16e-9)
    points = list(rows("operating_points").values())
    # 26 pJ x 1,048,576 x 20 x 128;  8.43 pJ + 160.8 uW x 2 / 75 MHz;  28 pJ x 2.45e6 x 16
    assert [r["ours"] for r in points[:3]] == pytest.approx([69.79321856e-3, 12.718e-12, 1.0976e-3])
