"""Cuts by measured work, axons by weights, reuse of cuts, and what is said when a network does not fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, full, layer, nature_like, network, networks, slow_stream

from neurosim.chip import Chip
from neurosim.errors import DoesNotFit, MappingError
from neurosim.mapping import Cuts, compile
from neurosim.mapping.balance import activity_of, profile_of
from neurosim.mapping.cut import reaches_of
from neurosim.pricing import price
from neurosim.simulation import simulate
from neurosim.synapses import INPUT

FIT = Chip.load("loihi1_silicon_fit").with_settings({"noc.width": 16, "noc.height": 16})


def lively_corner(net, n=30):
    """A stream in which only one corner changes."""
    rng = np.random.default_rng(0)
    x = np.zeros((n, *net.input.shape))
    x[:, :3, :3] = rng.integers(-8, 9, (n, 3, 3, net.input.shape[2])) / 8.0
    return simulate(net, x, numerics="float64", reference="none")


def one_layer():
    return network([layer("a", conv(INPUT, (16, 16, 2), 4, (3, 3), pads=(1, 1), rng=np.random.default_rng(0), zeros=0))], (16, 16, 2))


def test_balanced_cuts_take_as_many_cores_and_are_faster():
    net = one_layer()
    trace = lively_corner(net)
    # no axon limits: cuts across the picture are cheapest in axons, and one corner does all the work
    chip = FIT.with_settings({"core.neurons": 512, "core.axons_in": None, "core.axons_out": None})
    equal, balanced = (compile(net, chip, trace, balance=b, hypothetical=True) for b in (False, True))
    assert equal.cores_used == balanced.cores_used == 2
    slow, fast = (price(trace, p) for p in (equal, balanced))
    assert fast.latency.timestep_s["mean"] < slow.latency.timestep_s["mean"]
    busiest = [report.latency.core_work_s.max() / report.latency.core_work_s.mean() for report in (slow, fast)]
    assert busiest[1] < 1.1 < busiest[0]
    assert fast.energy.counts["synapse.convolution"] == slow.energy.counts["synapse.convolution"]


@given(networks(), st.integers(3, 40), st.integers(0, 1000))
@settings(max_examples=40)
def test_measured_work_adds_up_to_what_was_counted(net, core_neurons, seed):
    """Synapses met per neuron, summed over a layer, are the layer's synaptic operations; those with a weight its effective MACs."""
    trace = simulate(net, slow_stream(net.input.shape, 6, np.random.default_rng(seed)), numerics="float64", reference="none")
    chip = FIT.with_settings({"cost.synapse": None})  # no time: synapses alone are the work
    activity, reaches = activity_of(trace), reaches_of(net)
    rows = trace.layer_counts()
    for i, at in enumerate(net.layers):
        profile = profile_of(activity, chip, i, reaches[i])
        assert all(met.shape == at.shape for met in (*profile.met, *profile.nonzero_met))
        assert sum(met.sum() for met in profile.met) == rows[i]["synaptic_ops"]
        weighted = [met.sum() for met, s in zip(profile.nonzero_met, at.synapses, strict=True) if s.weighted]
        assert sum(weighted) == rows[i]["effective_macs"]
        assert profile.updates * at.n_neurons == pytest.approx(rows[i]["neuron_updates"])


@given(networks(), st.integers(3, 40), st.booleans())
@settings(max_examples=25)
def test_balanced_mappings_are_whole(net, core_neurons, pipelined):
    """The independent checker accepts them, and they take no more cores."""
    trace = simulate(net, slow_stream(net.input.shape, 5, np.random.default_rng(0)), numerics="float64", reference="none",
                     schedule="pipelined" if pipelined else "fall_through")
    chip = FIT.with_settings({"core.neurons": core_neurons, "core.axons_in": None, "core.axons_out": None})
    balanced = compile(net, chip, trace, balance=True, hypothetical=True)
    assert balanced.cores_used <= compile(net, chip, hypothetical=True).cores_used


def test_balance_needs_a_profile():
    net = one_layer()
    with pytest.raises(MappingError, match="balance needs a trace"):
        compile(net, FIT, balance=True, hypothetical=True)


def test_axon_source_says_who_gets_an_event():
    """Of three sources the second has no weight at all, the third none into the second neuron."""
    weights = np.array([[1.0, 0, 2], [3, 0, 0]])
    synapses = full(INPUT, 3, 2, rng=np.random.default_rng(0))
    net = network([layer("a", type(synapses)("full", INPUT, (1, 1, 3), (1, 1, 2), weights))], (3,))
    trace = simulate(net, np.ones((1, 3)), numerics="float64", reference="none")

    def arrivals(source, storage):
        chip = FIT.with_settings({"core.neurons": 1, "core.axon_source": source, "core.weight_storage": [storage]})
        report = price(trace, compile(net, chip, hypothetical=True))
        return report.mapping_counts["messages_received"], report.mapping_counts["synapse_visits"]

    assert arrivals("structural", "dense") == (6, 6) and arrivals("structural", "sparse") == (6, 3)
    assert arrivals("nonzero", "dense") == (3, 3) and arrivals("nonzero", "sparse") == (3, 3)
    assert arrivals(None, "dense") == (6, 6) and arrivals(None, "sparse") == (3, 3)


def test_cuts_are_reused_where_nothing_changes_them():
    net = nature_like(np.random.default_rng(0))
    known = Cuts()
    chip = FIT.with_settings({"core.neurons": 30})
    first = compile(net, chip, hypothetical=True, cuts=known)
    other = chip.with_settings({"noc.width": 8, "cost.neuron_update.energy": "27 pJ"})
    again = compile(net, other, hypothetical=True, cuts=known)
    assert len(known.slices) == 1 and again.axons is first.axons and again.mesh != first.mesh
    compile(net, FIT.with_settings({"core.neurons": 20}), hypothetical=True, cuts=known)
    assert len(known.slices) == 2


def test_too_many_cores_names_the_smallest_mesh_and_every_violation():
    net = nature_like(np.random.default_rng(0))
    chip = Chip.load("loihi1_silicon_fit").with_settings({"core.neurons": 4, "noc.width": 2, "noc.height": 2})
    with pytest.raises(DoesNotFit, match=r"44 cores > 16 .*smallest mesh that holds them is noc.width 4 x noc.height 3 \(now 2 x 2\), "
                                         r"or take chips 3"):
        compile(net, chip, hypothetical=True)
    tight = chip.with_settings({"core.axons_in": 20})
    with pytest.raises(DoesNotFit) as error:
        compile(net, tight, hypothetical=False)
    text = str(error.value)
    assert "graded events" in text and "axons in > 20" in text and "neurons static" in text


def test_profiles_of_other_networks_are_refused():
    net = nature_like(np.random.default_rng(0))
    other = simulate(one_layer(), np.zeros((2, 16, 16, 2)), reference="none")
    for options in ({"balance": True}, {"placement": "greedy"}):
        with pytest.raises(MappingError, match="profile is of another network"):
            compile(net, FIT, other, hypothetical=True, **options)


def test_a_layer_without_any_weight_maps_on_sparse_storage():
    net = network([layer("a", full(INPUT, 6, 4, rng=np.random.default_rng(0), zeros=1.0))], (6,))
    chip = FIT.with_settings({"core.weight_storage": ["sparse"]})
    report = price(simulate(net, np.ones((2, 6)), reference="none"), compile(net, chip, hypothetical=True))
    assert report.mapping_counts["messages_sent"] == 0 and report.mapping_counts["synapse_visits"] == 0


def test_large_layers_are_cut_in_few_trials():
    """Far from the lower bound the pieces are doubled, then the gap is halved; the result fits and one piece less of it does not."""
    net = network([layer("a", full(INPUT, 300, 600, rng=np.random.default_rng(0), zeros=0, dyadic=False))], (300,))
    chip = FIT.with_settings({"core.weight_storage": ["dense"], "core.synapse_memory": "2 KiB", "core.neurons": 600, "core.axons_out": None})
    # 2 KiB hold 1,820 weights of 9 bits: 6 neurons of 300, so 100 pieces
    assert compile(net, chip, hypothetical=True).cores_used == 100


def test_core_types_keep_their_own_rows_and_widths():
    net = network([layer("a", full(INPUT, 20, 60, rng=np.random.default_rng(0))), layer("b", full(0, 60, 8, rng=np.random.default_rng(1)))], (20,))
    text = """
name: two-types
kind: event
core:
  - {count: 8, neurons: 8, weight_storage: [crossbar], index_bits: 4}
  - {count: 4, neurons: 30, weight_storage: [crossbar], index_bits: 8}
arithmetic: {weight_bits: 8}
noc: {width: 4, height: 3}
cost: {synapse: {energy: 1 pJ, time: 1 ns}}
"""
    program = compile(net, Chip.load(text))
    trace = simulate(net, np.ones((1, 20)), numerics="float64", reference="none")
    rows = {s.core_type: (8, 30)[s.core_type] for s in program.slices}
    assert set(rows) == {0, 1}
    walked = [(trace.events_of(0, 0).size if s.layer == 0 else trace.events_of(0, 1).size) * rows[s.core_type] for s in program.slices]
    assert price(trace, program).mapping_counts["synapse_visits"] == sum(walked)
