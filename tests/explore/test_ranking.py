"""Whether two prices change places inside the ranges of their constants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import two_three_one

from neurosim.chip import Chip
from neurosim.explore import compare
from neurosim.explore.ranking import flips, ranking
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate

TRACE = simulate(two_three_one(), np.array([[1.0, 0]]), numerics="float64", reference="all")


def machine(name, energy, low=None, high=None):
    ends = "".join(f", {key}: {value} pJ" for key, value in (("low", low), ("high", high)) if value is not None)
    return Chip.load(f"name: {name}\nkind: dense\ncost:\n  synapse: {{energy: {energy} pJ{ends}}}\n")


@pytest.mark.parametrize(("a", "b", "verdict", "words"), [
    # nine MACs: 8.1 .. 9.9 pJ against 18 .. 27 pJ
    ((1, 0.9, 1.1), (2.5, 2, 3), "first", "a cheaper in every case (a 8.1 pJ .. 9.9 pJ, b 18 pJ .. 27 pJ"),
    ((2.5, 2, 3), (1, 0.9, 1.1), "second", "b cheaper in every case"),
    ((1, 0.9, 2.1), (2.5, 2, 3), "flips", "flips inside the ranges: either of a and b can be cheaper"),
    ((1, 0.9, 2), (2.5, 2, 3), "flips", "flips"),  # they touch
    ((1, None, None), (1, None, None), "equal", "equal (a 9 pJ, b 9 pJ"),
])
def test_intervals(a, b, verdict, words):
    found = ranking(price(TRACE, machine("a", *a)), price(TRACE, machine("b", *b)))
    assert found.verdict == verdict and found.text.startswith(words)
    assert found.to_json() == {"verdict": verdict, "text": found.text}


def test_figures_without_a_range_and_what_is_left_out_are_said():
    found = ranking(price(TRACE, machine("a", 1)), price(TRACE, machine("b", 2, 1.5)))
    assert found.verdict == "first" and "taken as exact, no range published: a: synapse)" in found.text
    assert "of what both price; both leave out neuron_update, input_compare, host_in, host_out, static" in found.text


def test_different_coverage_is_not_ranked():
    ours = price(TRACE, compile(TRACE.network, Chip.load("loihi2")))
    found = ranking(ours, price(TRACE, machine("b", 2)))
    assert found.verdict == "not ranked" and found.text.startswith("not ranked: different coverage; only loihi2 leaves out ")
    assert "only b leaves out energy:neuron_update" in found.text


def test_different_runs_are_not_ranked():
    other = simulate(two_three_one(), np.array([[1.0, 0], [1, 1]]), numerics="float64", reference="all")
    found = ranking(price(TRACE, machine("a", 1)), price(other, machine("a", 2)))
    assert found.verdict == "not ranked" and "1 timesteps" in found.text and "2 timesteps" in found.text


@given(*(st.tuples(st.floats(0.1, 10), st.floats(0.1, 1), st.floats(1, 3), st.floats(0, 1)) for _ in "ab"))
def test_a_verdict_holds_for_any_choice_inside_the_ranges(a, b):
    chips = [machine(name, f"{e:.6f}", f"{e * low:.6f}", f"{e * high:.6f}") for name, (e, low, high, _) in (("a", a), ("b", b))]
    found = ranking(*(price(TRACE, chip) for chip in chips)).verdict
    chosen = []
    for chip, (*_, where) in zip(chips, (a, b), strict=True):
        f = chip.figure("synapse")
        joule = f.low + where * (f.high - f.low)
        chosen.append(price(TRACE, chip.with_settings({"cost.synapse.energy": f"{min(max(joule, f.low), f.high)!r} J"})).energy.per_timestep_j)
    if found == "first":
        assert chosen[0] < chosen[1]
    if found == "second":
        assert chosen[1] < chosen[0]


def test_flips_of_the_two_cheapest_of_each_group():
    rows = compare(TRACE, [machine("dear", 9), machine("a", 2.5, 2, 3), Chip.load("loihi1"), Chip.load("loihi2"), machine("b", 2.6, 1, 4)]).rows
    (found,) = flips(rows)  # loihi1 does not fit, loihi2 stands alone in its group
    assert found.rows == (1, 4) and found.ranking.verdict == "flips" and "either of row 1 (a) and row 4 (b)" in found.ranking.text
    assert found.to_json() == {"coverage": list(rows[0].report.coverage), "rows": [1, 4], **found.ranking.to_json()}
    assert flips(rows[:1]) == () and flips([]) == ()
    swept = compare(TRACE, [({"core.neurons": n}, Chip.load("loihi2").with_settings({"core.neurons": n})) for n in (2, 3)])
    assert "row 0 (loihi2, core.neurons=2)" in flips(swept.rows)[0].ranking.text
