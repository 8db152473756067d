"""NIR files: small graphs against the equations, cycles, subgraphs, what exporters leave behind, and refusals."""

import numpy as np
import pytest

import neurosim as ns
from neurosim.errors import LoadError
from neurosim.loaders.nir import load_nir

h5py = pytest.importorskip("h5py")


def write(path, nodes, edges, **root):
    """A NIR file: nodes name -> fields (a nested {"nodes", "edges"} is a subgraph)."""
    def put(group, nodes, edges):
        group["type"] = "NIRGraph"
        group["edges"] = np.array(edges, dtype=h5py.string_dtype())
        members = group.create_group("nodes")
        for name, fields in nodes.items():
            inner = members.create_group(name)
            if "nodes" in fields:
                put(inner, fields["nodes"], fields["edges"])
                continue
            for key, value in fields.items():
                inner[key] = value
    with h5py.File(path, "w") as file:
        file["version"] = "1.0"
        put(file.create_group("node"), nodes, edges)
        for key, value in root.items():
            file[key] = value
    return path


def io(n_in, n_out):
    shape = {"type": "Input", "shape": np.atleast_1d(n_in)}
    return {"input": shape, "output": {"type": "Output", "shape": np.atleast_1d(n_out)}}


def affine(rng, n_out, n_in):
    return {"type": "Affine", "weight": rng.normal(size=(n_out, n_in)), "bias": rng.normal(size=n_out) / 4}


def lif(n, tau=2e-3, threshold=0.3, reset=0.0):
    return {"type": "LIF", "tau": np.full(n, tau), "r": np.full(n, 2.0), "v_leak": np.full(n, 0.05), "v_threshold": np.full(n, threshold),
            "v_reset": np.full(n, reset)}


CHAIN = [("input", "fc"), ("fc", "lif"), ("lif", "output")]


def chain(rng, n_in=3, n=4, neurons=None):
    return {**io(n_in, n), "fc": affine(rng, n, n_in), "lif": neurons or lif(n)}


def test_lif_by_its_equation(tmp_path):
    """v += dt / tau (v_leak - v + r x); a spike where v > v_threshold, then v = v_reset."""
    rng = np.random.default_rng(0)
    nodes = chain(rng, neurons=lif(4, reset=-0.1))
    network = load_nir(write(tmp_path / "m.nir", nodes, CHAIN), dt=5e-4)
    xs = rng.normal(size=(40, 3))
    v, expected = np.zeros(4), []
    for x in xs:
        current = nodes["fc"]["weight"] @ x + nodes["fc"]["bias"]
        v = v + 0.25 * (0.05 - v + 2.0 * current)
        expected.append(v > 0.3)
        v = np.where(v > 0.3, -0.1, v)
    trace = ns.simulate(network, xs, numerics="float64")
    assert np.array_equal(trace.outputs, np.array(expected, float)) and 5 < trace.outputs.sum() < 150
    assert network.signals == ("spike",) and network.thresholds == {} and "0.0005 s per timestep" in network.notes[0]


def test_current_based_lif_and_leaky_readout(tmp_path):
    rng = np.random.default_rng(1)
    cuba = {"type": "CubaLIF", "tau_syn": np.full(4, 1e-3), "tau_mem": np.full(4, 2e-3), "r": np.full(4, 1.5), "v_leak": np.zeros(4),
            "v_threshold": np.full(4, 0.2), "w_in": np.full(4, 3.0)}
    li = {"type": "LI", "tau": np.full(2, 1e-3), "r": np.full(2, 1.0), "v_leak": np.zeros(2)}
    nodes = {**io(3, 2), "fc": affine(rng, 4, 3), "cuba": cuba, "out": affine(rng, 2, 4), "li": li}
    edges = [("input", "fc"), ("fc", "cuba"), ("cuba", "out"), ("out", "li"), ("li", "output")]
    network = load_nir(write(tmp_path / "m.nir", nodes, edges), dt=2e-4)
    xs, i, v, u, expected, n_spikes = rng.normal(size=(60, 3)), np.zeros(4), np.zeros(4), np.zeros(2), [], 0
    for x in xs:
        i = i + 0.2 * (-i + 3.0 * (nodes["fc"]["weight"] @ x + nodes["fc"]["bias"]))
        v = v + 0.1 * (-v + 1.5 * i)
        s = (v > 0.2).astype(float)
        v = np.where(s > 0, 0.0, v)
        n_spikes += s.sum()
        u = u + 0.2 * (-u + nodes["out"]["weight"] @ s + nodes["out"]["bias"])
        expected.append(u.copy())
    trace = ns.simulate(network, xs, numerics="float64")
    np.testing.assert_allclose(trace.outputs, expected, rtol=0, atol=1e-12)
    counts = trace.totals_by_counter
    assert n_spikes > 10 and counts["effective_acs"] == 2 * n_spikes and counts["effective_macs"] == 60 * 12


def test_a_cycle_is_closed_with_one_timestep(tmp_path):
    rng = np.random.default_rng(2)
    nodes = {**chain(rng), "back": affine(rng, 4, 4)}
    network = load_nir(write(tmp_path / "m.nir", nodes, [*CHAIN, ("lif", "back"), ("back", "lif")]), dt=5e-4)
    assert [s.delay for s in network.layers[0].synapses] == [0, 1]
    xs, v, s, expected = rng.normal(size=(50, 3)), np.zeros(4), np.zeros(4), []
    for x in xs:
        current = nodes["fc"]["weight"] @ x + nodes["fc"]["bias"] + nodes["back"]["weight"] @ s + nodes["back"]["bias"]
        v = v + 0.25 * (0.05 - v + 2.0 * current)
        s = (v > 0.3).astype(float)
        v = np.where(s > 0, 0.0, v)
        expected.append(s)
    assert np.array_equal(ns.simulate(network, xs, numerics="float64").outputs, expected)


def test_subgraphs_batch_axes_and_convolutions(tmp_path):
    """A subgraph in the place of a node, an input with a batch axis, pooling between spikes, flattening from axis 1."""
    rng = np.random.default_rng(3)
    neurons = {"type": "IF", "r": np.ones((2, 4, 4)), "v_threshold": np.full((2, 4, 4), 0.8)}
    block = {"nodes": {**io((1, 6, 6), (2, 4, 4)), "conv": {
        "type": "Conv2d", "input_shape": np.array([6, 6]), "weight": rng.normal(size=(2, 1, 3, 3)), "bias": np.zeros(2),
        "stride": np.array([1, 1]), "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "groups": 1}, "if": neurons},
        "edges": [("input", "conv"), ("conv", "if"), ("if", "output")]}
    nodes = {**io((1, 1, 6, 6), 3), "block": block,
             "pool": {"type": "SumPool2d", "kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])},
             "flat": {"type": "Flatten", "start_dim": 1, "end_dim": -1}, "fc": {"type": "Linear", "weight": rng.normal(size=(3, 8))}}
    edges = [("input", "block"), ("block", "pool"), ("pool", "flat"), ("flat", "fc"), ("fc", "output")]
    network = load_nir(write(tmp_path / "m.nir", nodes, edges))
    assert network.input.shape == (1, 6, 6) and network.signals == ("spike", "graded", "graded")
    xs, v, expected = rng.random((10, 1, 6, 6)), np.zeros((2, 4, 4)), []
    for x in xs:
        for y in range(4):
            for z in range(4):
                v[:, y, z] += np.einsum("ocab,cab->o", block["nodes"]["conv"]["weight"], x[:, y: y + 3, z: z + 3])
        s = v > 0.8
        v[s] = 0.0
        expected.append(nodes["fc"]["weight"] @ s.reshape(2, 2, 2, 2, 2).sum(axis=(2, 4)).reshape(-1))
    trace = ns.simulate(network, xs, numerics="float64")
    np.testing.assert_allclose(trace.outputs, expected, rtol=0, atol=1e-12)
    assert trace.reference.max_abs_error < 1e-12


def test_delays_of_whole_timesteps(tmp_path):
    rng = np.random.default_rng(4)
    nodes = {**chain(rng), "late": {"type": "Delay", "delay": np.full(4, 3e-3)}, "out": {"type": "Linear", "weight": np.eye(4)}}
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "late"), ("late", "out"), ("out", "output")]
    path = write(tmp_path / "m.nir", nodes, edges)
    plain = ns.simulate(load_nir(write(tmp_path / "p.nir", chain(np.random.default_rng(4)), CHAIN), dt=1e-3), np.ones((9, 3))).outputs
    late = ns.simulate(load_nir(path, dt=1e-3), np.ones((9, 3))).outputs
    assert plain.any() and np.array_equal(late[3:], plain[:6]) and not late[:3].any()
    with pytest.raises(LoadError, match="one whole number of timesteps"):
        load_nir(path, dt=7e-4)


def test_static_networks_send_changes(tmp_path):
    rng = np.random.default_rng(5)
    nodes = {**io(3, 2), "a": affine(rng, 4, 3), "s": {"type": "Scale", "scale": np.full(4, 2.0)}, "b": affine(rng, 2, 4)}
    network = load_nir(write(tmp_path / "m.nir", nodes, [("input", "a"), ("a", "s"), ("s", "b"), ("b", "output")]))
    assert network.input.signal == "delta" and network.is_memoryless
    x = rng.normal(size=3)
    hidden = 2 * (nodes["a"]["weight"] @ x + nodes["a"]["bias"])
    found = ns.simulate(network, np.stack([x, x]), numerics="float64")
    np.testing.assert_allclose(found.outputs[1], nodes["b"]["weight"] @ hidden + nodes["b"]["bias"], atol=1e-12)
    assert found.counts[1, :, :2].sum() == 0


def changed(nodes, name, **fields):
    return {**nodes, name: {k: v for k, v in {**nodes[name], **fields}.items() if v is not None}}


RNG = np.random.default_rng(6)
GOOD = chain(RNG)
BAD = {
    "an unknown type": (changed(GOOD, "lif", type="Izhikevich"), CHAIN, "type Izhikevich is not supported"),
    "an edge to nowhere": (GOOD, [*CHAIN, ("lif", "ghost")], "edge 'lif' -> 'ghost': no node 'ghost'"),
    "an edge from nowhere": (GOOD, [*CHAIN, ("ghost", "lif")], "no node 'ghost'"),
    "no output": ({k: v for k, v in GOOD.items() if k != "output"}, CHAIN[:2], "1 inputs and 0 outputs"),
    "two inputs": ({**GOOD, "more": GOOD["input"]}, CHAIN, "2 inputs and 1 outputs"),
    "a NaN": (changed(GOOD, "lif", tau=np.array([1e-3, np.nan, 1e-3, 1e-3])), CHAIN, "'lif' .LIF.: tau holds NaN"),
    "an infinite weight": (changed(GOOD, "fc", weight=np.full((4, 3), np.inf)), CHAIN, "weight holds NaN or infinity"),
    "a negative time constant": (changed(GOOD, "lif", tau=np.full(4, -1e-3)), CHAIN, "tau is not positive"),
    "a missing parameter": (changed(GOOD, "lif", v_threshold=None), CHAIN, "'lif' .LIF. has no v_threshold"),
    "text for a number": (changed(GOOD, "lif", r="one"), CHAIN, "r is not a number"),
    "unlike shapes": (changed(GOOD, "lif", r=np.ones(5)), CHAIN, "its parameters have different shapes"),
    "a weight that does not fit": (changed(GOOD, "fc", weight=np.ones((4, 2))), CHAIN, "shapes do not agree"),
    "neurons that do not fit": (changed(GOOD, "lif", **{k: v for k, v in lif(7).items() if k != "type"}), CHAIN, "feeds .* into neurons"),
    "a bias that does not fit": (changed(GOOD, "fc", bias=np.ones(3)), CHAIN, "its bias has 3 values for 4 outputs"),
    "a cycle without neurons": ({**GOOD, "loop": affine(RNG, 4, 4)}, [("input", "fc"), ("fc", "lif"), ("lif", "output"), ("loop", "loop"),
                                                                     ("loop", "lif")], "feeds itself and no neuron stands in the cycle"),
    "neurons that nothing feeds": (GOOD, [("input", "fc"), ("lif", "output")], "nothing feeds it"),
    "a huge input": ({**GOOD, **io(1 << 40, 4)}, CHAIN, "of a sensible size"),
    "an input of many large axes": ({**GOOD, **io((1 << 20, 1 << 20, 1 << 20), 4)}, CHAIN, "of sensible sizes"),
    "a negative input": ({**GOOD, **io(-3, 4)}, CHAIN, "of sensible sizes"),
    "edges that are not pairs": (GOOD, [("input", "fc", "lif")], "its edges are not pairs of names"),
    "half a delay": ({**GOOD, "d": {"type": "Delay", "delay": np.array([1e-4, 2e-4, 1e-4, 1e-4])}},
                     [("input", "fc"), ("fc", "lif"), ("lif", "d"), ("d", "output")], "the same for all, is supported"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(tmp_path, case):
    nodes, edges, message = BAD[case]
    with pytest.raises(LoadError, match=message):
        load_nir(write(tmp_path / "m.nir", nodes, edges))


def test_refusals_of_options(tmp_path):
    path = write(tmp_path / "m.nir", GOOD, CHAIN)
    for options, message in (({"style": "brian"}, "style 'brian' is unknown"), ({"dt": 0.0}, "dt is 0.0"), ({"dt": float("nan")}, "dt is nan"),
                             ({"input_signal": "loud"}, "input signal 'loud' is unknown")):
        with pytest.raises(LoadError, match=message):
            load_nir(path, **options)


def test_thresholds_on_spikes_are_refused_by_name(tmp_path):
    from neurosim.errors import SimulationError

    network = load_nir(write(tmp_path / "m.nir", {**GOOD, "out": affine(RNG, 2, 4)}, [*CHAIN[:2], ("lif", "out"), ("out", "output")]))
    with pytest.raises(SimulationError, match="no threshold for lif: spikes, and values that do not last, are all sent"):
        ns.set_thresholds(network, {"lif": 0.1})
    with pytest.raises(SimulationError, match="it has no thresholds"):
        ns.set_thresholds(network, 0.1)
    assert ns.set_thresholds(network, 0.0).thresholds == {}
