"""Sweeps, comparisons and fronts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import nature_like, slow_stream, two_three_one

from neurosim.chip import Chip
from neurosim.errors import ChipError, PricingError
from neurosim.explore import compare, front, sweep
from neurosim.explore.pareto import grouped_front
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate
from neurosim.transforms import quantize

NET = nature_like(np.random.default_rng(0))
TRACE = simulate(NET, slow_stream(NET.input.shape, 6, np.random.default_rng(1)), numerics="float64", reference="all")


def test_sweep_is_a_product():
    found = sweep("loihi2", {"core.neurons": [64, 256], "noc.width": [4, 8]})
    assert [tuple(s.values()) for s, _ in found] == [(64, 4), (64, 8), (256, 4), (256, 8)]
    assert [(c.core[0].neurons, c.noc.width) for _, c in found] == [(64, 4), (64, 8), (256, 4), (256, 8)]
    assert len(sweep("loihi2", {})) == 1


def test_sweep_refusals():
    with pytest.raises(ChipError, match="setting 'core.neuron': unknown key 'neuron'; did you mean 'neurons'"):
        sweep("loihi2", {"core.neuron": [1, 2]})
    with pytest.raises(ChipError, match="give a list of values"):
        sweep("loihi2", {"core.neurons": 64})


def test_rows_equal_price_and_misfits_say_why():
    chips = sweep("loihi2", {"core.neurons": [1, 16, 256]})
    table = compare(TRACE, ["horowitz_int8", "loihi1", *chips])
    assert [row.fits for row in table.rows] == [True, False, False, True, True]
    assert "graded events" in table.rows[1].why_not and "173 cores > 128" in table.rows[2].why_not
    for (_, chip), row in zip(chips[1:], table.rows[3:], strict=True):
        report = price(TRACE, compile(NET, chip))
        assert row.energy_j == report.energy.per_timestep_j and row.latency_s == report.latency.timestep_s["mean"]
    assert table.rows[0].latency_s is None and table.rows[0].report.cores_used == 1


def test_json_document():
    document = compare(TRACE, ["horowitz_int8", *sweep("loihi2", {"core.neurons": [1, 16]}), "loihi1"], hypothetical=True).to_json()
    assert document["schema"] == "neurosim.compare/1"
    keys = {"chip", "set", "fits", "why_not", "complete", "cores_used", "energy_j", "latency_s", "hops"}
    assert all(keys <= set(row) for row in document["rows"])
    assert document["rows"][2]["set"] == {"core.neurons": 16} and document["rows"][1]["energy_j"] is None
    assert document["rows"][3]["hypothetical"] and any("hypothetical" in note for note in document["notes"])
    import json
    assert json.loads(json.dumps(document)) == document


def test_only_rows_of_equal_coverage_are_ranked():
    table = compare(TRACE, ["horowitz_int8", "horowitz_fp32", "horowitz_int8_sram", *sweep("loihi2", {"core.neurons": [16, 256]})])
    # arithmetic only: int8 beats fp32 and int8 with memory; loihi2 rows stand in their own group
    assert 0 in table.pareto and 1 not in table.pareto and 2 not in table.pareto
    assert set(table.pareto) & {3, 4}
    assert any("coverage groups" in note for note in table.notes)
    assert "* horowitz_int8" in str(table)


def test_settings_of_a_chip_are_shown():
    chip = Chip.load("loihi2").with_settings({"core.neurons": 16})
    assert compare(TRACE, [chip]).rows[0].settings == {"core.neurons": 16}


def test_no_row_fits():
    assert not compare(TRACE, ["loihi1"]).fits
    trace = simulate(two_three_one(), np.ones((1, 2)), reference="none")
    assert compare(trace, ["loihi1"], hypothetical=True).fits


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_front_equals_its_definition(points):
    expected = [i for i, p in enumerate(points)
                if not any(all(b <= a for a, b in zip(p, q, strict=True)) and q != p for q in points)]
    assert front(points) == expected


def test_front_of_groups():
    points = [(1, None), (2, None), (3, 5), (4, 4), (5, 5), (0, 0)]
    assert grouped_front(points, ["a", "a", "b", "b", "b", None]) == [0, 2, 3]


def test_many_rows_equal_few():
    """From `FAMILY` rows on, rows are priced together; they say the same as one by one."""
    rows = sweep("loihi2", {"core.neurons": [16, 32, 64, 256], "noc.width": [8, 16], "static_power.per_chip": ["100 mW", "232 mW"]})
    many = compare(TRACE, rows)
    for i, row in enumerate(rows):
        one = compare(TRACE, [row]).rows[0].to_json()
        ours = many.rows[i].to_json()
        for document in (one, ours):
            document.pop("critical")  # cores of equal work: which is named is open
        assert ours.keys() == one.keys()
        assert {k: v for k, v in ours.items() if not isinstance(v, float)} == {k: v for k, v in one.items() if not isinstance(v, float)}
        assert [v for v in ours.values() if isinstance(v, float)] == pytest.approx([v for v in one.values() if isinstance(v, float)], rel=1e-9)


def test_constants_that_do_not_follow_are_said():
    table = compare(TRACE, sweep("loihi2", {"core.neurons": [16, 256]}))
    assert "constants not rescaled with core.neurons" in table.notes
    assert all("constants not rescaled with core.neurons" in " ".join(row.report.notes) for row in table.rows)


def test_objectives_span_the_front():
    rows = sweep("loihi2", {"core.neurons": [16, 32, 64, 256]})
    table = compare(TRACE, rows, objectives=["cores_used"])
    fewest = min(row.report.cores_used for row in table.rows)
    assert [table.rows[i].report.cores_used for i in table.pareto] == [fewest] and table.to_json()["objectives"] == ["cores_used"]
    delay = table.rows[0].objective("energy_delay_js")
    assert delay == table.rows[0].energy_j * table.rows[0].latency_s and table.rows[0].objective("answer_s") is not None
    with pytest.raises(PricingError, match="objective 'speed': choose from energy_j"):
        compare(TRACE, rows, objectives=["speed"])


def test_a_control_period_is_in_every_row():
    rows = sweep("loihi2", {"core.neurons": [16, 32, 64, 256]})
    for many in (rows, rows * 3):
        table = compare(TRACE, many, period_s=1e-3, objectives=["period_energy_j", "missed_share"])
        for row in table.to_json()["rows"]:
            assert row["period_s"] == 1e-3 and row["period_energy_j"] > 0.232 * 1e-3 and row["missed_share"] == 0
    assert compare(TRACE, rows).to_json()["rows"][0]["period_energy_j"] is None


def test_total_memory_is_held_when_the_mesh_is_swept():
    base = Chip.load("loihi2")
    rows = sweep(base, {"noc.width": [4, 8, 16]}, hold="memory")
    for settings, chip in rows:
        assert chip.n_cores * chip.core[0].neurons == 128 * 8192
        assert chip.n_cores * chip.core[0].synapse_memory == base.n_cores * base.core[0].synapse_memory
        assert set(settings) == {"noc.width", "core.neurons", "core.synapse_memory"}


def test_total_memory_is_held_when_a_core_is_swept():
    base = Chip.load("loihi2")
    rows = sweep(base, {"core.neurons": [2048, 8192, 32768]}, hold="memory")
    assert [(c.noc.width, c.noc.height, c.n_cores) for _, c in rows] == [(16, 8, 512), (8, 4, 128), (4, 2, 32)]
    assert all(c.n_cores * c.core[0].synapse_memory == base.n_cores * base.core[0].synapse_memory for _, c in rows)
    with pytest.raises(ChipError, match="the total memory cannot be held: it would take 349,525 cores"):
        sweep(base, {"core.neurons": [3]}, hold="memory")
    with pytest.raises(ChipError, match="'memory' is all that can be held"):
        sweep(base, {"core.neurons": [64]}, hold="cores")
    with pytest.raises(ChipError, match="size of the mesh"):
        sweep("seneca", {"core.neurons": [64]}, hold="memory")


def test_a_change_of_arithmetic_runs_again_once_per_width():
    rows = sweep("loihi2", {"arithmetic.weight_bits": [2, 8], "core.neurons": [16, 256]})
    with pytest.raises(PricingError, match="give the MODEL and --inputs"):
        compare(TRACE, rows)
    asked = []

    def again(chip):
        asked.append(chip.arithmetic.weight_bits)
        return simulate(quantize(NET, asked[-1]), slow_stream(NET.input.shape, 6, np.random.default_rng(1)), numerics="float64",
                        reference="none")

    table = compare(TRACE, rows, simulate_again=again)
    assert asked == [2, 8] and any("weights of 2 bit, same largest output" in note and "weights of 8 bit" in note for note in table.notes)
    assert table.rows[0].fidelity["max_abs_error"] > table.rows[2].fidelity["max_abs_error"] > 0
    visits = [row.report.mapping_counts["synapse_visits"] for row in table.rows]
    assert visits[0] == visits[1] and visits[2] == visits[3] and visits[0] != visits[2]
    assert any("memory and fit only" in note for note in compare(TRACE, sweep("loihi2", {"arithmetic.payload_bits": [8, 16]})).notes)


def test_numbers_are_listed_in_runs():
    from neurosim.explore.compare import _listed
    assert _listed([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


@pytest.mark.parametrize("n", [3, 60])
def test_table_of_few_and_of_many_rows(n):
    from rich.console import Console

    from neurosim.view.compare import compare_table

    rows = [({"noc.width": 8 + k}, Chip.load("loihi2").with_settings({"noc.width": 8 + k})) for k in range(n)]
    console = Console(width=200, record=True, file=open("/dev/null", "w"))
    console.print(compare_table(compare(TRACE, [*rows, "loihi1", "truenorth"])))
    text = console.export_text()
    assert "loihi1 does not fit" in text and ("62 configurations, 60 fit" in text) == (n == 60)


def test_held_memory_refuses_what_it_cannot_hold():
    for settings_ in ({"core.neurons": [2048], "core.synapse_memory": ["128 KiB"]}, {"core.neurons": [2048], "noc.height": [8]},
                      {"core.neurons": [None]}, {"core": [{"neurons": 512}]}):
        with pytest.raises(ChipError, match="total memory"):
            sweep("loihi2", settings_, hold="memory")
    with pytest.raises(ChipError, match="core.count is given"):
        sweep("tianjic", {"core.neurons": [64]}, hold="memory")


def test_weight_bits_count_as_swept_however_they_were_set():
    for chips in (sweep("loihi2", {"arithmetic": [{"weight_bits": 2}]}),
                  sweep(Chip.load("loihi2").with_settings({"arithmetic.weight_bits": 4}), {"noc.width": [8, 9]})):
        with pytest.raises(PricingError, match="give the MODEL and --inputs"):
            compare(TRACE, chips)


def test_rows_over_different_timesteps_are_not_ranked_together():
    part = simulate(NET, slow_stream(NET.input.shape, 6, np.random.default_rng(1)), numerics="float64", reference="all", record_limit=3)
    table = compare(part, ["grai_one", "horowitz_int8"])
    assert any("priced over 3 and 6 timesteps" in note for note in table.notes)
