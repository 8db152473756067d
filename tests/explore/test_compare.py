"""Sweeps, comparisons and fronts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import nature_like, slow_stream, two_three_one

from neurosim.chip import Chip
from neurosim.errors import ChipError
from neurosim.explore import compare, front, sweep
from neurosim.explore.pareto import grouped_front
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate

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
