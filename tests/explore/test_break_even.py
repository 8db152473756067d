"""Break-even of an event chip and a dense machine: by hand, and equal prices at that activity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import full, layer, network, networks, slow_stream, two_three_one

from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.explore.break_even import break_even, silent_timestep_s
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate


def near(expected):
    """Equal but for rounding: joules and seconds are small, so nothing absolute is forgiven."""
    return pytest.approx(expected, rel=1e-9, abs=0)


PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
PJ, NS = 1e-12, 1e-9
NATIVE = Chip.load("loihi1_silicon_fit").with_settings({"supports.native_schedule": "fall_through"})


def dense(energy_pj, includes="[synapse, weight_read]", static="", ends=""):
    power = f"static_power: {{per_chip: {static}}}\n" if static else ""
    time = ", time: 1 ns" if static else ""
    return Chip.load(f"name: rival\nkind: dense\n{power}cost:\n  synapse: {{energy: {energy_pj!r} pJ{ends}{time}, includes: {{energy: {includes}}}, "
                     "operating_point: by hand}\n")


def one_timestep(chip=NATIVE, x=((1.0, 0),)):
    trace = simulate(two_three_one(), np.array(x), numerics="float64", reference="all")
    return trace, compile(trace.network, chip, placement=PLACES, hypothetical=True)


def test_by_hand():
    # t1 of the worked example, natively fall-through: 840.7 pJ, of which 4 accesses x 51.2 = 204.8 happen in any case;
    # 4 of 9 MACs, 1 + 2 of 2 + 3 values. A dense machine at 60 pJ: 540 = 204.8 + 635.9 x a / (4 / 9)
    trace, program = one_timestep()
    found = break_even(trace, program, dense(60))
    c, at = found.without_static, (540 - 204.8) / 635.9 * 4 / 9
    assert (found.activity, found.source_activity) == near((4 / 9, 3 / 5))
    assert (c.fixed_j, c.slope_j, c.dense_j) == near((204.8 * PJ, 635.9 * 9 / 4 * PJ, 540 * PJ))
    assert c.verdict == "below" and c.activity == near(at) and c.source_activity == near(at * 9 / 4 * 3 / 5)
    assert not c.wins and found.with_static is None and c.low == c.high == c.activity
    assert "is cheaper below 23.4% of the dense MACs (31.6% of the source values sent)" in str(found)
    assert "with static power: not known apart, loihi1_silicon_fit publishes none" in str(found)


@pytest.mark.parametrize(("energy_pj", "verdict", "wins"), [
    (20, "never", False),      # 180 < 204.8
    (100, "below", True),      # 900 > 840.7
    (182, "always", True),     # 1,638 > 204.8 + 635.9 x 9 / 4 = 1,635.6
])
def test_verdicts(energy_pj, verdict, wins):
    trace, program = one_timestep()
    found = break_even(trace, program, dense(energy_pj))
    c = found.without_static
    assert (c.verdict, c.wins) == (verdict, wins) and (c.activity is None) == (verdict != "below")
    assert {"never": "is never cheaper", "below": "is cheaper below", "always": "is always cheaper"}[verdict] in str(found)
    assert ("loihi1_silicon_fit" if wins else "rival") + " is cheaper" in str(found)


def test_ranges_of_both():
    # synapse 5 x 17.75 .. 5 x 53.25 in the slope; dense 50 .. 70 pJ
    chip = NATIVE.with_settings({"cost.synapse.dense.low": "17.75 pJ", "cost.synapse.dense.high": "53.25 pJ"})
    trace, program = one_timestep(chip)
    c = break_even(trace, program, dense(60, ends=", low: 50 pJ, high: 70 pJ")).without_static
    assert c.low == near((450 - 204.8) / (635.9 + 88.75) * 4 / 9)
    assert c.high == near((630 - 204.8) / (635.9 - 88.75) * 4 / 9)


def test_static_power_of_both():
    # a silent timestep takes 3 x 6 + 1 x 6 ns of accesses and a barrier of two tiles, 1 us: 1,024 ns; t1 takes 126.7 + 4.1 + 49.3 + 6.5
    # + 1,000 = 1,186.6 ns. At 1 mW: fixed 204.8 + 1,024, variable 635.9 + 162.6. Rival: 540 + 9 ns x 100 mW = 1,440 pJ
    trace, program = one_timestep(NATIVE.with_settings({"static_power.per_chip": "1 mW"}))
    assert silent_timestep_s(trace, program) == near(1024 * NS)
    found = break_even(trace, program, dense(60, static="100 mW"))
    c = found.with_static
    assert (c.fixed_j, c.dense_j) == near((1228.8 * PJ, 1440 * PJ))
    assert c.activity == near((1440 - 1228.8) / 798.5 * 4 / 9)
    # over a control period of 10 us both draw all the time: 10,000 pJ against 1 uJ
    c = break_even(trace, program, dense(60, static="100 mW"), period_s=1e-5).with_static
    assert (c.fixed_j, c.slope_j, c.dense_j) == near((10204.8 * PJ, 635.9 * 9 / 4 * PJ, 1000540 * PJ)) and c.verdict == "always"


@given(networks(), st.sampled_from(["fall_through", "pipelined"]), st.booleans(), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=15)
def test_prices_are_equal_at_the_break_even(net, schedule, static, n_silent, seed):
    """The run, diluted with timesteps in which nothing changes, has the break-even activity of a rival that costs as much as it does."""
    chip = Chip.load("loihi1_silicon_fit").with_settings({"core.neurons": 20, "noc.width": 5, "noc.height": 40, "noc.flit_time": "3 ns",
                                                          **({"static_power.per_core": "1 mW"} if static else {})})
    x = slow_stream(net.input.shape, 4, np.random.default_rng(seed))
    quiet = np.repeat(x[-1:], 3, axis=0)  # pipelined runs need some timesteps to come to rest
    whole = simulate(net, np.concatenate([x, quiet]), numerics="float64", schedule=schedule, reference="none")
    diluted = simulate(net, np.concatenate([x, quiet, np.repeat(x[-1:], n_silent, axis=0)]), numerics="float64", schedule=schedule,
                       reference="none")
    program = compile(net, chip, hypothetical=True)
    if whole.event_start[-1] == 0 or whole.event_start[-1] != diluted.event_start[-1] or not whole.totals_by_counter["effective_macs"]:
        return
    target = price(diluted, program).energy
    per_mac = target.per_timestep_j / net.static_total("dense_macs") / PJ
    found = break_even(whole, program, dense(per_mac))
    c = found.with_static if static else found.without_static
    assert c.verdict == "below"
    assert c.activity == near(found.activity * whole.n_timesteps / diluted.n_timesteps)
    assert c.activity == near(break_even(diluted, program, dense(per_mac)).activity)
    assert c.source_activity == near(break_even(diluted, program, dense(per_mac)).source_activity)


def test_memory_models():
    trace, program = one_timestep()
    same, bare = break_even(trace, program, Chip.load("horowitz_int8_sram")), break_even(trace, program, Chip.load("horowitz_int8"))
    assert same.same_memory_model and not bare.same_memory_model
    assert any(note.startswith("memory models differ: the figure of horowitz_int8 holds no fetch") for note in bare.notes)
    assert any("is taken to hold the fetch of the weight" in note for note in same.notes)
    assert str(bare).startswith("break-even of loihi1_silicon_fit and horowitz_int8 (memory models differ)") and bare.without_static.dense_j > 0
    listed = NATIVE.with_settings({"cost.synapse.dense.includes": ["synapse", "weight_read"], "cost.synapse.sparse": None,
                                   "cost.synapse.convolution": None, "core.weight_storage": ["dense"],
                                   "cost.synapse.dense.operating_point": "by hand"})
    assert not any("taken to" in note for note in break_even(*one_timestep(listed), Chip.load("horowitz_int8_sram")).notes)


def test_ratio_of_two_published_figures():
    """GrAI One, 20 pJ for everything, against Eyeriss, 11.9 pJ: 11.9 / 20 of the MACs, the 1.68 times fewer operations of the literature."""
    rng = np.random.default_rng(0)
    net = network([layer("a", full(-1, 30, 20, rng=rng, dyadic=False, zeros=0)), layer("b", full(0, 20, 2, rng=rng, dyadic=False, zeros=0), ())], (30,))
    trace = simulate(net, slow_stream((30,), 20, rng), numerics="float64", reference="none")
    weights = [s.weight for x in net.layers for s in x.synapses]
    assert all((w != 0).all() for w in weights)
    found = break_even(trace, compile(net, "grai_one"), Chip.load("eyeriss").with_settings({"cost.synapse.energy": "11.9 pJ"}))
    assert found.without_static.activity == near(11.9 / 20) and found.same_memory_model


def test_what_is_not_priced_moves_the_break_even():
    trace, program = one_timestep(Chip.load("loihi2"))
    notes = break_even(trace, program, Chip.load("horowitz_int8_sram")).notes
    assert any(n.startswith("not priced on loihi2: ") and n.endswith("lower") for n in notes)
    assert any(n.startswith("not priced on horowitz_int8_sram: ") and n.endswith("higher") for n in notes)
    assert any("static power of horowitz_int8_sram is not priced" in n for n in notes)
    assert not any("is inside the synapse figure" in n and n.startswith("static") for n in notes)
    both = break_even(trace, program, dense(60, "[synapse, weight_read, static]")).notes
    assert any(n.startswith("static power is inside the synapse figure of rival") for n in both)
    assert any("access to idle neurons is inside the synapse figure of loihi2" in n for n in notes)


def test_a_run_that_sends_nothing():
    # the first timestep updates all neurons, but an input of zeros sends nothing: 204.8 + 4 x 21.6 pJ
    trace, program = one_timestep(x=((0.0, 0),))
    c = break_even(trace, program, dense(60)).without_static
    assert c.verdict == "unknown" and c.activity is None and c.slope_j is None and c.wins
    assert break_even(trace, program, dense(20)).without_static.verdict == "never"
    assert "not known: the run sent nothing" in str(break_even(trace, program, dense(60)))


def test_zero_skip_rival_and_refusals():
    trace, program = one_timestep()
    # zero-skip: 4 MACs x 0.23 pJ
    assert break_even(trace, program, "horowitz_int8_zero_skip").without_static.dense_j == near(4 * 0.23 * PJ)
    blind = simulate(two_three_one(), np.array([[1.0, 0]]), numerics="float64", reference="none")
    with pytest.raises(PricingError, match="horowitz_int8_zero_skip: energy of synapse is not priced.*reference 'all'"):
        break_even(blind, program, "horowitz_int8_zero_skip")
    with pytest.raises(PricingError, match="loihi2 is an event chip: break-even compares with a dense"):
        break_even(trace, program, "loihi2")
    with pytest.raises(PricingError, match="horowitz_int8 is a dense machine: break-even needs a program for an event chip"):
        break_even(trace, compile(trace.network, "horowitz_int8"), "horowitz_int8_sram")
    unpriced = compile(trace.network, NATIVE.with_settings({"cost.synapse": None}), hypothetical=True)
    with pytest.raises(PricingError, match="energy of synapse.dense is not priced, so there is no break-even"):
        break_even(trace, unpriced, "horowitz_int8_sram")


def test_json():
    trace, program = one_timestep()
    document = break_even(trace, program, dense(60)).to_json()
    assert document["without_static"]["verdict"] == "below" and document["with_static"] is None and document["same_memory_model"] is True
