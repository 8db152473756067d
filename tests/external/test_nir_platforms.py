"""NIR files of others: the traces that eight platforms made of one neuron, and a spiking network at its accuracy."""

import numpy as np
import pytest
from external.test_reference_models import FOLDER, pytestmark  # noqa: F401

import neurosim as ns
from neurosim.loaders.nir import load_nir

pytest.importorskip("h5py")

# style, file, timesteps by which the platform reports a spike later, unit of its voltage, tolerance of voltages before the first spike
PLATFORMS = [
    ("norse", "norse", 0, 1.0, 5e-8),
    ("lava", "lava_cpu_float", 1, 1.0, 5e-8),   # reports what the neuron did in the timestep before
    ("lava", "lava_cpu_fixed", 1, 16_000.0, 25 / 16_000),  # whole voltages: less than 1 lost per timestep, of which 0.96 stays: 25 in all
    ("snntorch", "snntorch", 0, 25.0, 2e-7),    # voltages in units of dt / tau
    ("nengo", "nengo", 0, 10.0, 1e-7),          # exact steps, voltages in units of the threshold
    ("rockpool", "rockpool", 0, 1.0, 5e-8),     # exact decay, Euler gain, the threshold is taken off
    ("sinabs", "sinabs", 0, 1.0, 5e-8),
    ("spyx", "spyx", 1, 1.0, 5e-8),             # spikes a timestep later, from the voltage before
]


def with_voltage(network):
    """The neuron, and a leaky integrator with the same parameters that never spikes, as a second output."""
    from dataclasses import replace

    from neurosim.network import OutputPart
    from neurosim.neurons import Dynamics

    layer = network.layers[0]
    leak = {k: v for k, v in layer.dynamics.parameters.items() if k in ("current_decay", "current_gain", "decay", "gain", "offset")}
    twin = replace(layer, name="voltage", dynamics=Dynamics("li", leak))
    return replace(network, layers=(layer, twin), outputs=(OutputPart(0, np.arange(1)), OutputPart(1, np.arange(1))))


@pytest.mark.parametrize(("style", "name", "lag", "unit", "tolerance"), PLATFORMS, ids=lambda v: v if isinstance(v, str) else "")
def test_one_neuron_as_each_platform_runs_it(style, name, lag, unit, tolerance):
    """All spikes in the same timesteps; the voltage equal until the first of them."""
    rows = np.loadtxt(FOLDER / "nir_lif" / f"lif_{name}.csv", delimiter=",")
    network = with_voltage(load_nir(FOLDER / "nir_lif" / "lif_norse.nir", style=style))
    outputs = ns.simulate(network, (rows[:, :1] != 0).astype(np.float64), numerics="float64").outputs
    spikes = np.flatnonzero(outputs[:, 0])
    assert (spikes + lag).tolist() == np.flatnonzero(rows[:, 2]).tolist() and spikes.size == 4
    first = spikes[0]
    voltage_lag = 0 if style == "spyx" else lag
    np.testing.assert_allclose(rows[voltage_lag: first + voltage_lag, 1] / unit, outputs[:first, 1], rtol=0, atol=tolerance)


def test_a_spiking_network_at_its_accuracy():
    """N-MNIST-like events, neurons that send several spikes at once: spike counts as recorded, accuracy 0.88."""
    stream = np.load(FOLDER / "nir_cnn_sinabs" / "stream.npz")
    events = np.unpackbits(stream["events_packed"], axis=-1)[..., :34].reshape(-1, 2, 34, 34)
    network = load_nir(FOLDER / "nir_cnn_sinabs" / "cnn_sinabs.nir", style="sinabs")
    assert network.static_total("dense_macs") == 838_688 and network.static_total("padded_dense_macs") == 903_680
    resets = np.arange(len(events)) % 100 == 0
    trace = ns.simulate(network, events, resets=resets, reference="none", record="none")
    counts = trace.outputs.reshape(150, 100, 10).sum(axis=1)
    assert np.array_equal(counts.argmax(axis=1), stream["ref_spike_counts"].argmax(axis=1))
    assert (counts.argmax(axis=1) == stream["labels"]).mean() == pytest.approx(0.88)
    assert np.abs(counts - stream["ref_spike_counts"]).max() <= 1  # float32 sums in another order: a spike more or less near the threshold
