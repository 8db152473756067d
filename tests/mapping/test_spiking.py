"""Networks of spiking neurons on chips: which chips they fit, recurrent messages, and what gated cells are told."""

import numpy as np
import pytest

import neurosim as ns
from neurosim.errors import DoesNotFit
from neurosim.loaders.builder_neurons import NeuronBuilder
from neurosim.network import INPUT, Input, Layer, Network, OutputPart
from neurosim.neurons import Dynamics
from neurosim.synapses import Synapses

LIF = Dynamics("lif", {"current_decay": 0.5, "current_gain": 1, "decay": 0.75, "gain": 1, "offset": 0, "threshold": 1, "reset": 0,
                       "subtract": 0, "inclusive": 0})


def full(source, n_in, n_out, rng, delay=0):
    return Synapses("full", source, (1, 1, n_in), (1, 1, n_out), rng.integers(-8, 13, (n_out, n_in)) / 8, delay=delay)


def spiking(rng, signal="spike"):
    """6 inputs, 20 recurrent neurons, 5 outputs."""
    layers = (Layer("hidden", (1, 1, 20), (full(INPUT, 6, 20, rng), full(0, 20, 20, rng, 1)), np.zeros(()), dynamics=LIF),
              Layer("out", (1, 1, 5), (full(0, 20, 5, rng),), np.zeros(()), dynamics=LIF))
    return Network("spiking", Input("x", (6,), signal=signal), layers, (OutputPart(1, np.arange(5)),))


def test_a_neuron_of_truenorth_reaches_one_core():
    rng = np.random.default_rng(0)
    network = spiking(rng)
    with pytest.raises(DoesNotFit, match="layer 'hidden': 2 target cores of one neuron, its own among them > 1"):
        ns.compile(network, ns.Chip.load("truenorth"))
    layers = (Layer("hidden", (1, 1, 20), (full(INPUT, 6, 20, rng),), np.zeros(()), dynamics=LIF), network.layers[1])
    forward = Network("forward", network.input, layers, network.outputs)
    assert not ns.compile(forward, ns.Chip.load("truenorth")).hypothetical


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_spikes_fit_chips_for_spikes_and_every_message_is_priced(chip):
    rng = np.random.default_rng(0)
    network = spiking(rng)
    trace = ns.simulate(network, (rng.random((50, 6)) < 0.5).astype(np.uint8))
    program = ns.compile(network, ns.Chip.load(chip))
    assert not program.hypothetical
    report = ns.price(trace, program)
    counts, n_hidden = report.mapping_counts, int(trace.totals[0, 5])
    assert n_hidden > 0 and trace.totals_by_counter["effective_macs"] == 0
    assert counts["synapse_visits"] >= trace.totals_by_counter["effective_acs"]
    expected = {True: 0, False: 0}  # spikes of the hidden layer go to itself and to the output, each on a core of its own
    for layer in network.layers:
        for s in layer.synapses:
            for t in range(50):
                sent = trace.events_of(t, network.senders.index(s.source))
                expected[False] += sent.size
                expected[True] += int(np.any(s.weight[:, sent] != 0, axis=0).sum())  # sparse storage has no axon for a column of zeros
    updates = counts["state_reads"] - counts["synapse_visits"]
    assert updates == trace.totals_by_counter["neuron_updates"] == 50 * 25
    assert program.cores_used == 2 and counts["messages_sent"] + counts["messages_local"] in expected.values()


def test_a_graded_input_is_named_on_a_chip_for_spikes():
    network = spiking(np.random.default_rng(0), "graded")
    with pytest.raises(DoesNotFit, match=r"graded events \(of input\) > spike signals on loihi1"):
        ns.compile(network, ns.Chip.load("loihi1"))


def test_gated_cells_are_not_mapped_but_priced_on_machines_without_cores():
    rng = np.random.default_rng(0)
    builder = NeuronBuilder("x", (3,))
    hidden = builder.cell("gru", [(builder.input_tensor(), rng.normal(size=(5, 4, 3)))], rng.normal(size=(5, 4, 5)), np.zeros((5, 4)), "gru")
    network = builder.finish(builder.read(builder.full(hidden, rng.normal(size=(2, 5)))))
    with pytest.raises(DoesNotFit, match="gated cells .LSTM, GRU. are counted but not cut onto cores"):
        ns.compile(network, ns.Chip.load("loihi2"), hypothetical=True)
    trace = ns.simulate(network, rng.normal(size=(9, 3)))
    assert ns.price(trace, ns.compile(network, ns.Chip.load("horowitz_int8"), hypothetical=True)).energy.per_timestep_j > 0
