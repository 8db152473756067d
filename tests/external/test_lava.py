"""lava-dl networks against their published outputs, bit for bit, and against the accuracy of the manifest."""

from dataclasses import replace

import numpy as np
import pytest
from external.test_reference_models import FOLDER, pytestmark  # noqa: F401

import neurosim as ns
from neurosim.network import INPUT, Input, Layer, Network, OutputPart
from neurosim.neurons import Dynamics
from neurosim.synapses import Synapses

pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def pilotnet():
    folder = FOLDER / "lava_pilotnet_sdnn"
    frame = np.load(folder / "input.npy")[..., 0].transpose(2, 1, 0)  # (x, y, c) -> (c, y, x)
    # Loihi's first block waits a timestep for the input: one frame of zeros first
    return ns.load(folder / "network.net"), np.concatenate([np.zeros_like(frame)[None], np.repeat(frame[None], 19, axis=0)])


def test_pilotnet_in_whole_numbers(pilotnet):
    """Outputs of all nine timesteps, and the messages of each layer, as lava-dl computed them on one static frame."""
    network, frames = pilotnet
    trace = ns.simulate(network, frames, schedule="pipelined", reference="none")
    assert (trace.numerics, trace.rule) == ("fixed", "sigma_delta")
    assert trace.outputs.ravel()[:9].tolist() == np.load(FOLDER / "lava_pilotnet_sdnn" / "output.npy").ravel().tolist()
    assert [trace.input_events, *trace.totals[:, 5].tolist()] == [9656, 5600, 13171, 17879, 9334, 253, 227, 54, 0]
    assert trace.totals_by_counter["events"] == 56_174 and not trace.overflows.any()
    assert network.static_total("dense_macs") == 5_071_110 and network.static_total("padded_dense_macs") == 5_375_238


@pytest.mark.parametrize(("i", "name"), [(0, "sigma1"), (1, "sigma2")])
def test_pilotnet_inner_sums_at_all_timesteps(pilotnet, i, name):
    """A copy of the layer without bias and ReLU shows what its neurons have added up."""
    network, frames = pilotnet
    layer = network.layers[i]
    bare = replace(layer, name="bare", activation=(), dynamics=replace(
        layer.dynamics, parameters={**layer.dynamics.parameters, "offset": np.zeros(())}))
    network = replace(network, layers=(*network.layers, bare), outputs=(OutputPart(len(network.layers), np.arange(bare.n_neurons)),))
    found = ns.simulate(network, frames, schedule="pipelined", reference="none").outputs.reshape(20, *bare.shape)
    expected = np.load(FOLDER / "lava_pilotnet_sdnn" / "gt_sigma.npz")[name].transpose(3, 1, 0, 2)  # (x, y, c, t)
    assert np.array_equal(found, expected)


def test_pilotnet_in_one_sweep_sends_less_than_the_activations(pilotnet):
    network, frames = pilotnet
    trace = ns.simulate(network, frames[1:], schedule="fall_through", reference="none")
    assert trace.totals_by_counter["events"] <= 43_117


def test_mnist_at_its_accuracy():
    """Pixels as currents of integrate-and-fire encoders, 20 timesteps, argmax of output spikes: 95.4 % on 500 images."""
    folder = FOLDER / "lava_mnist_mlp"
    data = np.load(folder / "stream.npz")
    images = data["images_u8"].reshape(500, 784) / 255.0
    spikes, v = np.zeros((500, 20, 784), np.uint8), np.zeros((500, 784))
    for t in range(20):
        v += images
        spikes[:, t] = v >= 1
        v[v >= 1] = 0
    resets = np.arange(500 * 20) % 20 == 0
    trace = ns.simulate(ns.load(folder / "network.net"), spikes.reshape(-1, 784), resets=resets, reference="none", record="none")
    counts = trace.outputs.reshape(500, 20, 10).sum(axis=1)
    assert (counts.argmax(axis=1) == data["labels"]).mean() == 0.954
    assert trace.totals_by_counter["effective_macs"] == 0 and trace.totals_by_counter["effective_acs"] > 0
    per_image = [trace.input_events / 500, *(trace.totals[:2, 5] / 500), counts.sum() / 500]
    np.testing.assert_allclose(per_image, [1217, 489, 453, 21], rtol=0, atol=0.6)


def tinynet(first, last):
    """Blocks first .. last of the spiking test network, fed with spikes (y, x, channels)."""
    network = ns.load(FOLDER / "lava_tinynet" / "tiny.net")
    layers = [replace(layer, synapses=tuple(replace(s, source=i - 1) for s in layer.synapses))
              for i, layer in enumerate(network.layers[first: last + 1])]
    shape, n = layers[0].synapses[0].grid, layers[-1].n_neurons
    return Network("part", Input("x", shape, signal="spike"), tuple(layers), (OutputPart(len(layers) - 1, np.arange(n)),),
                   defaults=network.defaults)


def test_tinynet_spikes_of_each_block():
    """Each convolution of the spiking network, fed with the published spikes of the one before: all spikes of all timesteps. Loihi's
    blocks wait a timestep, so that nothing, bias included, happens in timestep 0."""
    truth = np.load(FOLDER / "lava_tinynet" / "gt_lif.npz")
    spikes = {k: truth[k][0].transpose(3, 1, 2, 0) for k in ("input", "layer1", "output")}  # (c, y, x, t) -> (t, y, x, c)
    for first, before, after in ((1, "input", "layer1"), (2, "layer1", "output")):
        found = ns.simulate(tinynet(first, first), spikes[before][1:], reference="none")
        assert found.numerics == "fixed"
        assert np.array_equal(found.outputs.reshape(15, -1), spikes[after][1:].reshape(15, -1)) and found.outputs.sum() > 50
    both = ns.simulate(tinynet(1, 2), spikes["input"][1:], schedule="fall_through", reference="none")
    assert np.array_equal(both.outputs.reshape(15, -1), spikes["output"][1:].reshape(15, -1))


def test_tinynet_sigma_delta_block():
    """Messages of the sigma-delta block at timestep 0: a bias of 20 or more (the threshold), as 2^6 times itself."""
    block = np.load(FOLDER / "lava_tinynet" / "gt_sdnn.npz")
    biases = block["layer1_bias"].astype(int)
    first = np.where(np.abs(biases) >= 20, np.maximum(biases, 0) * 64, 0)
    assert np.array_equal(block["layer1"][..., 0], np.broadcast_to(first, block["layer1"].shape[:3]))


def test_tinynet_dense_block():
    """The sigma of the published dense block, fed one event per message of the block before (flattened y, x, channels)."""
    block = np.load(FOLDER / "lava_tinynet" / "gt_sdnn.npz")
    weights, messages = block["layer2_weight"].astype(float), block["layer1"].transpose(3, 0, 1, 2).reshape(16, -1)
    sigma = Dynamics("sigma", {"bits": 24, "offset": 0})
    layer = Layer("dense", (1, 1, 100), (Synapses("full", INPUT, (1, 1, 864), (1, 1, 100), weights),), np.zeros(()), dynamics=sigma)
    network = Network("block", Input("x", (864,), signal="spike"), (layer,), (OutputPart(0, np.arange(100)),))
    found = ns.simulate(network, (messages != 0).astype(np.uint8), numerics="fixed", reference="none").outputs
    assert np.array_equal(found[:15].T, block["layer2"][:, 1:]) and not block["layer2"][:, 0].any()  # a block waits a timestep
