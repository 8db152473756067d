"""Spiking networks on Loihi 1 with the coefficients fitted to silicon: counts and energies of SANA-FE, an independent simulator.

Where the two define things differently, the networks avoid it:

- SANA-FE counts an update where input, bias or potential is not 0, here every neuron with a state is updated in every timestep: every
  neuron has a bias that is not 0.
- Inputs enter through the mesh here, and are neurons without cost there: there is no input, the biases drive the network.
- Spikes of the last layer are read here and sent there: it never fires (threshold 1,000).
- Spikes of the last timestep arrive in the next one here, in the same one there: their synapses are added.
- Zero weights are left out here where that is smaller: there are none.
Source: Boyle et al., IEEE TCAD 44(8), 2025; the same figures stand in neurosim/chips/loihi1_silicon_fit.yaml.
"""

import numpy as np
import pytest

import neurosim as ns
from neurosim.network import INPUT, Input, Layer, Network, OutputPart
from neurosim.neurons import Dynamics
from neurosim.synapses import Synapses

sanafe = pytest.importorskip("sanafe")
TIMESTEPS = 60


SYNAPSE_J = 35.5e-12
"""A visit of a densely stored synapse."""
LAST = 1000.0
"""Threshold of the last layer."""


def _no_zeros(rng, shape):
    w = rng.integers(-4, 9, shape) / 8
    return np.where(w == 0, 0.125, w)


def chain():
    """2 - 3 - 1."""
    return [2, 3, 1], [(0, 1, [[1, 2], [0.5, -1], [2, 1]]), (1, 2, [[1, 1, -0.5]])], [[0.625, 0.375], [0.125, 0.25, -0.125], [0.0625]]


def fully_connected():
    """20 - 10 - 5, random weights and biases."""
    rng = np.random.default_rng(0)
    weights = [(0, 1, _no_zeros(rng, (10, 20))), (1, 2, _no_zeros(rng, (5, 10)))]
    return [20, 10, 5], weights, [rng.integers(1, 7, 20) / 8, rng.integers(1, 3, 10) / 16, -rng.integers(1, 3, 5) / 16]


def ring():
    """Eight neurons in a ring that inhibit their second neighbour, and a layer that reads them."""
    w = 1.25 * np.roll(np.eye(8), 1, axis=0) - 0.5 * np.roll(np.eye(8), 2, axis=0)
    w[w == 0] = -1 / 64
    rng = np.random.default_rng(1)
    return [8, 4], [(0, 0, w), (0, 1, rng.integers(1, 9, (4, 8)) / 8)], [
        np.array([0.75, *[0.125] * 7]), np.full(4, 0.0625)]


def ours(sizes, edges, biases):
    """The layers, each fed by an input that never comes, so that every layer has a source."""
    layers = []
    for i, n in enumerate(sizes):
        groups = [Synapses("full", s, (1, 1, sizes[s]), (1, 1, n), np.asarray(w, float), delay=1) for s, d, w in edges if d == i]
        if not any(s.source < i for s in groups):
            groups.append(Synapses("full", INPUT, (1, 1, 1), (1, 1, n), np.ones((n, 1))))
        dynamics = Dynamics("lif", {"current_decay": 0, "current_gain": 1, "decay": 0.5, "gain": 1, "offset": np.asarray(biases[i], float),
                                    "threshold": LAST if i == len(sizes) - 1 else 1, "reset": 0, "subtract": 0, "inclusive": 0})
        layers.append(Layer(f"l{i}", (1, 1, n), tuple(groups), np.zeros(()), dynamics=dynamics))
    outputs = (OutputPart(len(sizes) - 1, np.arange(sizes[-1])),)
    network = Network("sanafe", Input("x", (1,), signal="spike"), tuple(layers), outputs)
    trace = ns.simulate(network, np.zeros((TIMESTEPS, 1)), schedule="pipelined", numerics="float64")
    return trace, ns.compile(network, ns.Chip.load("loihi1_silicon_fit"))


def theirs(sizes, edges, biases, cores):
    """The same network in SANA-FE on the same cores."""
    architecture, network, groups = sanafe.load_loihi(), sanafe.Network(), []
    for i, n in enumerate(sizes):
        groups.append(network.create_neuron_group(
            f"l{i}", n, model_attributes={"threshold": LAST if i == len(sizes) - 1 else 1.0, "leak_decay": 0.5}, soma_hw_name="loihi_lif",
            default_synapse_hw_name="loihi_dense_synapse", default_dendrite_hw_name="loihi_dendrites"))
        for k in range(n):
            groups[i].neurons[k].set_attributes(model_attributes={"bias": float(biases[i][k])})
    for source, target, weights in edges:
        for k, row in enumerate(np.asarray(weights, float)):
            for j, w in enumerate(row):
                groups[source].neurons[j].connect_to_neuron(groups[target].neurons[k], {"weight": float(w)})
    for i, group in enumerate(groups):
        tile, core = divmod(int(cores[i]), 4)
        group.map_to_core(architecture.tiles[tile].cores[core])
    chip = sanafe.SpikingChip(architecture)
    chip.load(network)
    return chip.sim(TIMESTEPS)


@pytest.mark.parametrize("make", [chain, fully_connected, ring])
def test_counts_and_energies(make):
    """Spikes, synaptic operations, messages and updates equal; energies of synapses, neurons and network equal to rounding."""
    sizes, edges, biases = make()
    trace, program = ours(sizes, edges, biases)
    report = ns.price(trace, program)
    cores = [int(program.core_of_slice[i]) for i in range(len(sizes))]
    result = theirs(sizes, edges, biases, cores)
    fired, counts = int(trace.totals[:, 5].sum()), report.mapping_counts
    parts = report.energy.parts
    synapses = sum(v for k, v in parts.items() if k.startswith("synapse"))
    soma = parts["neuron_access"] + parts["neuron_update"] + parts["event_out"]
    network = parts["message_out"] + parts.get("message_in", 0) + sum(v for k, v in parts.items() if k.startswith("hop"))
    late = sum(s.fan_out(layer_size)[trace.events_of(TIMESTEPS - 1, trace.network.senders.index(s.source))].sum()
               for layer in trace.network.layers for s in layer.synapses if s.source != INPUT
               for layer_size in [trace.network.size_of(s.source)])
    assert result["spikes"] == counts["synapse_visits"] + late == counts["synapse_visits.dense"] + late
    synapses += late * SYNAPSE_J
    readers = [sum(s.source == i for layer in trace.network.layers for s in layer.synapses) for i in range(len(sizes))]
    assert result["packets_sent"] == int(trace.totals[:, 5] @ readers)  # one message to each core that reads, the own one too
    assert result["neurons_updated"] == trace.totals_by_counter["neuron_updates"] == TIMESTEPS * sum(sizes)
    assert result["neurons_fired"] == fired > 20
    assert result["energy"]["synapse"] == pytest.approx(synapses, rel=1e-9)
    assert result["energy"]["soma"] == pytest.approx(soma, rel=1e-9)
    assert result["energy"]["network"] == pytest.approx(network, rel=1e-9)
