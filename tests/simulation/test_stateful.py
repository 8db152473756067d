"""Neurons with a state, spikes, recurrence and delays: by hand, and against two twins that share no code with the kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Naive

import neurosim as ns
from neurosim import dense
from neurosim.activation import Elementwise
from neurosim.errors import SimulationError
from neurosim.network import INPUT, Input, Layer, Network, OutputPart
from neurosim.neurons import KINDS, Dynamics
from neurosim.simulation import Simulator, lower, simulate
from neurosim.simulation.reference import run_reference
from neurosim.synapses import Synapses
from neurosim.trace_file import load_trace

LEAK = {"current_decay": 0, "current_gain": 1, "decay": 1, "gain": 1, "offset": 0}


def full(source, weight, delay=0):
    weight = np.asarray(weight, float)
    return Synapses("full", source, (1, 1, weight.shape[1]), (1, 1, weight.shape[0]), weight, delay=delay)


def one(kind, **parameters):
    """One neuron behind one input with weight 1; its value is the output."""
    layer = Layer("n", (1, 1, 1), (full(INPUT, np.ones((KINDS[kind].ports, 1))),), np.zeros(()), dynamics=Dynamics(kind, parameters))
    return Network("one", Input("x", (1,), signal="graded"), (layer,), (OutputPart(0, np.arange(1)),))


def values(network, xs, **options):
    return simulate(network, np.asarray(xs, float)[:, None], numerics=options.pop("numerics", "float64"), **options).outputs.ravel().tolist()


# ---- by hand ----------------------------------------------------------------------------


def test_lif_reset_subtract_and_equality():
    """v: 0.5, 1.0, 1.5. Above 1 at the third; subtract leaves 0.5, so 1.0, 1.5 follow; with equality at the second, and then every second."""
    base = {**LEAK, "threshold": 1, "reset": -0.5, "subtract": 0, "inclusive": 0}
    assert values(one("lif", **base), [0.5] * 8) == [0, 0, 1, 0, 0, 0, 1, 0]  # after the reset -0.5: 0, 0.5, 1.0, 1.5
    assert values(one("lif", **base | {"subtract": 1}), [0.5] * 7) == [0, 0, 1, 0, 1, 0, 1]  # 0.5 left: 1.0, 1.5
    assert values(one("lif", **base | {"reset": 0, "inclusive": 1}), [0.5] * 6) == [0, 1, 0, 1, 0, 1]


def test_current_and_voltage_leaks():
    """i = i/2 + x: 1, 0.5, 0.25; v = v/2 + i: 1, 1, 0.75, then 0.5."""
    network = one("li", **{**LEAK, "current_decay": 0.5, "decay": 0.5})
    assert values(network, [1, 0, 0, 0]) == [1, 1, 0.75, 0.5]


def test_multispike():
    """v: 2.5 -> 2 spikes, 0.5 left; + 0.6 = 1.1 -> 1; - 3 -> none, and the voltage stays negative."""
    assert values(one("multispike", **LEAK, threshold=1), [2.5, 0.6, -3, 2.875, 1]) == [2, 1, 0, 0, 0]


def test_loihi_rounds_toward_zero():
    """u = trunc(u / 2) + x, v = u - 5 with decay 4096: x = -7: u = -7, then trunc(-3.5) = -3, trunc(-1.5) = -1, 0; spikes never.
    x = 9 -> u = 9, 4, 2: v = 4 + 9..., spikes above 8."""
    network = one("loihi_lif", current_decay=2048, decay=4096, offset=5, threshold=8)
    # v = u + 5: -2, 2, 4, 5 | 14 spike, 9 spike, 7, 6
    assert values(network, [-7, 0, 0, 0, 9, 0, 0, 0], numerics="fixed") == [0, 0, 0, 0, 1, 1, 0, 0]
    assert values(network, [-7, 0, 0, 0, 9, 0, 0, 0]) == [0, 0, 0, 0, 1, 1, 0, 0]


def test_sigma_wraps_around_and_counts_it():
    """4 bits hold -8..7: 9 is -7, 7 is 7, -9 is 7; sums -7, 0, 7; offset 2."""
    network = one("sigma", bits=4, offset=2)
    for numerics in ("fixed", "float64"):
        simulator = Simulator(network, numerics=numerics)
        assert [int(simulator.step(np.array([x]))[0]) for x in (9.0, 7.0, -9.0)] == [-5, 2, 9]
        assert simulator.overflows().tolist() == [2]


def test_gates_by_their_formulas():
    """All ports see x = 1: LSTM c = s t, h = s tanh(c), then c = s c + s t; GRU h = (1 - s) tanh(1 + s)."""
    s, t = 1 / (1 + np.exp(-1)), np.tanh(1)
    c1 = s * t
    c2 = s * c1 + s * t
    np.testing.assert_allclose(values(one("lstm"), [1, 1]), [s * np.tanh(c1), s * np.tanh(c2)], rtol=1e-14)
    h1 = (1 - s) * np.tanh(1 + s)
    np.testing.assert_allclose(values(one("gru"), [1, 1]), [h1, (1 - s) * np.tanh(1 + s) + s * h1], rtol=1e-14)
    np.testing.assert_allclose(values(one("rnn"), [0.5]), [np.tanh(0.5)], rtol=1e-14)


SPIKE_ON_INPUT = Dynamics("lif", {**LEAK, "decay": 0, "threshold": 0.5, "reset": 0, "subtract": 0, "inclusive": 0})


@pytest.mark.parametrize(("delay", "schedule", "expected"), [
    (0, "fall_through", [1, 0, 0, 0, 0, 0]), (1, "fall_through", [0, 1, 0, 0, 0, 0]), (3, "fall_through", [0, 0, 0, 1, 0, 0]),
    (0, "pipelined", [0, 1, 0, 0, 0, 0]), (1, "pipelined", [0, 1, 0, 0, 0, 0]), (3, "pipelined", [0, 0, 0, 1, 0, 0])])
def test_delays(delay, schedule, expected):
    """A spike at timestep 0 arrives `delay` timesteps later (pipelined: at least one)."""
    layers = (Layer("a", (1, 1, 1), (full(INPUT, [[1]]),), np.zeros(()), dynamics=SPIKE_ON_INPUT),
              Layer("b", (1, 1, 1), (full(0, [[1]], delay),), np.zeros(()), dynamics=SPIKE_ON_INPUT))
    network = Network("d", Input("x", (1,), signal="spike"), layers, (OutputPart(1, np.arange(1)),))
    trace = simulate(network, np.array([[1.0], [0], [0], [0], [0], [0]]), schedule=schedule, numerics="float64")
    assert trace.outputs.ravel().tolist() == expected
    assert trace.totals_by_counter["effective_acs"] == 2 and trace.totals_by_counter["effective_macs"] == 0
    assert trace.totals_by_counter["neuron_updates"] == 12


def test_lasting_values_and_spikes_into_one_neuron():
    """x = 1 lasts (one event), recurrent spikes do not. v = x + 2 s(t-1) with decay 0: 1 (no spike at threshold 1.5) ... with x = 2:
    2 -> spike; then 2 + 2 = 4 -> spike; x = 0: 0 + 2 = 2 -> spike, then 2 again (its own spike), for ever."""
    dynamics = Dynamics("lif", {**LEAK, "decay": 0, "threshold": 1.5, "reset": 0, "subtract": 0, "inclusive": 0})
    layer = Layer("n", (1, 1, 1), (full(INPUT, [[1]]), full(0, [[2]], 1)), np.zeros(()), dynamics=dynamics)
    network = Network("m", Input("x", (1,)), (layer,), (OutputPart(0, np.arange(1)),))
    trace = simulate(network, np.array([[1.0], [1], [2], [2], [0], [0]]), numerics="float64")
    assert trace.outputs.ravel().tolist() == [0, 0, 1, 1, 1, 1]
    counts = trace.totals_by_counter
    assert (trace.input_events, counts["effective_macs"], counts["effective_acs"]) == (3, 3, 3)  # x: 1, 2, 0; spikes of timesteps 2, 3, 4


def test_static_layers_behind_spikes():
    """A pool of two spiking neurons: evaluated where a spike meets it; with a bias, in every timestep."""
    spikes = np.array([[1.0, 0], [0, 0], [1, 1], [0, 0]])
    for bias, updates, outputs in ((0.0, 1 + 1, [3, 0, 6, 0]), (0.5, 4, [4.5, 1.5, 7.5, 1.5])):
        # first timestep: all evaluated. Later: without a bias only timestep 2 touches the pool
        layers = (Layer("a", (1, 1, 2), (full(INPUT, np.eye(2)),), np.zeros(()), dynamics=SPIKE_ON_INPUT),
                  Layer("pool", (1, 1, 1), (Synapses("sum_pool", 0, (1, 2, 1), (1, 1, 1), kernel=(1, 2)),), np.asarray(bias)),
                  Layer("out", (1, 1, 1), (full(1, [[3]]),), np.zeros(())))
        network = Network("p", Input("x", (2,), signal="spike"), layers, (OutputPart(2, np.arange(1)),))
        trace = simulate(network, spikes, numerics="float64")
        assert network.signals == ("spike", "graded", "graded") and trace.outputs.ravel().tolist() == outputs
        assert trace.counts[:, 1, 4].sum() == updates and trace.layer_counts()[2]["effective_macs"] == sum(o > 0 for o in outputs)


def test_a_payload_shift_loses_low_bits_as_its_rule_says():
    """d >> 2. hold: ref moves by what was sent, so the rest is sent later; sigma_delta: ref is the value, the rest is lost."""
    layers = (Layer("a", (1, 1, 1), (full(INPUT, [[1]]),), np.zeros(()), payload_shift=2), Layer("b", (1, 1, 1), (full(0, [[1]]),), np.zeros(())))
    network = Network("s", Input("x", (1,)), layers, (OutputPart(1, np.arange(1)),))
    xs = np.array([[7.0], [8], [8], [1]])
    hold = simulate(network, xs, numerics="fixed", rule="hold").outputs.ravel().tolist()
    assert hold == [1, 2, 2, 0]          # 7 >> 2 = 1 (ref 4), 8 - 4 >> 2 = 1 (ref 8), then -7 >> 2 = -2
    drift = simulate(network, xs, numerics="fixed", rule="sigma_delta").outputs.ravel().tolist()
    assert drift == [1, 1, 1, -1]        # 1, then 1 >> 2 = 0, then -7 >> 2 = -2


def test_refusals():
    network = one("lif", **{**LEAK, "threshold": 1, "reset": 0, "subtract": 0, "inclusive": 0})
    with pytest.raises(SimulationError, match="spikes, and values that do not last, are all sent"):
        ns.set_thresholds(network, {"input": 0.1})
    pool = Layer("pool", (1, 1, 1), (Synapses("max_pool", 0, (1, 1, 1), (1, 1, 1)),), np.zeros(()))
    mixed = Network("m", network.input, (*network.layers, pool), (OutputPart(1, np.arange(1)),))
    with pytest.raises(SimulationError, match="max pooling over spikes"):
        Simulator(mixed)
    with pytest.raises(SimulationError, match="holds values that are not whole numbers"):
        Simulator(network, numerics="fixed").step(np.array([0.5]))
    with pytest.raises(SimulationError, match="fixed numerics need whole numbers"):
        Simulator(one("li", **{**LEAK, "decay": 0.5}), numerics="fixed")
    with pytest.raises(ValueError, match="adds changes of lasting values and spikes"):
        _ = Network("n", Input("x", (1,)), (network.layers[0], Layer("b", (1, 1, 1), (full(0, [[1]]), full(INPUT, [[1]])), np.zeros(()))),
                    (OutputPart(1, np.arange(1)),)).signals


# ---- random networks against the twins --------------------------------------------------


def dyadic(rng, shape, zeros=0.3):
    return np.where(rng.random(shape) < zeros, 0.0, rng.integers(-8, 9, shape) / 4)


def random_dynamics(rng, n, whole):
    if whole:
        kind = rng.choice(["loihi_lif", "sigma"])
        if kind == "sigma":
            return Dynamics("sigma", {"bits": rng.integers(4, 9), "offset": rng.integers(-3, 4, n)})
        return Dynamics("loihi_lif", {"current_decay": rng.integers(0, 4097), "decay": rng.integers(0, 4097, n),
                                      "offset": rng.integers(-2, 3), "threshold": rng.integers(1, 9)})
    leak = {"current_decay": rng.choice([0, 0.5]), "current_gain": 1, "decay": rng.choice([0, 0.5, 1], n), "gain": 1,
            "offset": rng.choice([0, 0.25])}
    kind = rng.choice(["lif", "multispike", "li"])
    if kind == "lif":
        return Dynamics("lif", leak | {"threshold": 1, "reset": -0.25, "subtract": rng.integers(0, 2), "inclusive": rng.integers(0, 2)})
    return Dynamics(str(kind), leak | ({"threshold": 1} if kind == "multispike" else {}))


def random_network(seed, whole=False):
    """A 4 x 3 x 2 input, a convolution, full layers, feedback and delays; neurons with a state and static ones."""
    rng = np.random.default_rng(seed)
    scale = 4 if whole else 1
    layers, shapes = [], {INPUT: (4, 3, 2)}
    for i in range(3):
        shape = (2, 3, 3) if i == 0 else (1, 1, int(rng.integers(2, 6)))
        if i == 0:
            groups = [Synapses("convolution", INPUT, (4, 3, 2), shape, dyadic(rng, (3, 2, 3, 3)) * scale, pads=(0, 1), kernel=(3, 3),
                               delay=int(rng.integers(0, 2)))]
        else:
            n_source = int(np.prod(shapes[i - 1]))
            groups = [full(i - 1, dyadic(rng, (shape[2], n_source)) * scale, int(rng.choice([0, 0, 2])))]
            if rng.random() < 0.6:
                groups.append(full(i, dyadic(rng, (shape[2], shape[2])) * scale, int(rng.integers(1, 4))))
        static = rng.random() < 0.3 and all(s.source < i for s in groups)
        bias = rng.integers(-1, 2, shape[2]) * (1.0 if whole else 0.5)
        f = (Elementwise("relu"),) if rng.random() < 0.4 else ()
        shift = int(rng.integers(0, 2)) if whole else 0
        layers.append(Layer(f"l{i}", shape, tuple(groups), bias if rng.random() < 0.7 else np.zeros(()), f,
                            dynamics=None if static else random_dynamics(rng, int(np.prod(shape)), whole), payload_shift=shift))
        shapes[i] = shape
    if layers[1].dynamics is not None and rng.random() < 0.5 and layers[0].dynamics is not None:
        n = layers[1].shape[2]
        back = Synapses("convolution", 1, (1, 1, n), (2, 3, 3), dyadic(rng, (3, n, 2, 3)) * scale, kernel=(2, 3), pads=(1, 2), delay=1)
        layers[0] = Layer(**{**{f: getattr(layers[0], f) for f in layers[0].__dataclass_fields__}, "synapses": (*layers[0].synapses, back)})
    signal = str(rng.choice(["delta", "spike", "graded"]))
    return Network("random", Input("x", (4, 3, 2), signal=signal), tuple(layers), (OutputPart(2, np.arange(shapes[2][2])),))


def with_threshold(network, threshold):
    """The network with a threshold where any sender has one."""
    return ns.set_thresholds(network, threshold) if network.thresholds else network


def stream(seed, network, whole):
    rng = np.random.default_rng(seed + 1)
    xs = rng.integers(-4, 5, (9, *network.input.shape)) / (1 if whole else 4)
    if network.input.signal == "spike":
        xs = (rng.random((9, *network.input.shape)) < 0.4).astype(float)
    xs[3:5] = xs[2]
    return xs, np.isin(np.arange(9), (0, 6))


def brute_force(network, xs, resets, schedule, rule):
    naive, outputs, counts, sent = Naive(network, schedule, rule), [], [], []
    for x, reset in zip(xs, resets):
        if reset:
            overflows = naive.overflows
            naive.reset()
            naive.overflows = overflows
        _, rows, out = naive.step(x.reshape(-1))
        outputs.append(out)
        counts.append(rows)
        sent.append([[e for e, _ in naive.sent[s]] for s in network.senders])
    return np.array(outputs), np.array(counts), sent, naive.overflows


@given(seed=st.integers(0, 2**31), schedule=st.sampled_from(["fall_through", "pipelined"]), threshold=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=60)
def test_real_numbers_equal_the_loop_over_synapses_and_the_numpy_twin(seed, schedule, threshold):
    network = with_threshold(random_network(seed), threshold)
    xs, resets = stream(seed, network, False)
    outputs, counts, sent, _ = brute_force(network, xs, resets, schedule, "hold")
    trace = simulate(network, xs, numerics="float64", schedule=schedule, resets=resets)
    assert np.array_equal(trace.outputs.reshape(outputs.shape), outputs) and np.array_equal(trace.counts, counts)
    assert [[trace.events_of(t, j).tolist() for j in range(len(network.senders))] for t in range(9)] == sent
    twin = run_reference(network, xs, schedule=schedule, resets=resets)
    assert np.array_equal(twin.outputs.reshape(outputs.shape), outputs) and np.array_equal(twin.counts, counts)
    single = simulate(network, xs, numerics="float32", schedule=schedule, resets=resets)  # dyadic: exact in float32 too
    assert np.array_equal(single.counts, counts)


@given(seed=st.integers(0, 2**31), schedule=st.sampled_from(["fall_through", "pipelined"]), rule=st.sampled_from(["hold", "sigma_delta"]),
       dtype=st.sampled_from(["int32", "int64"]))
@settings(max_examples=40)
def test_whole_numbers_equal_the_loop_over_synapses(seed, schedule, rule, dtype):
    network = with_threshold(random_network(seed, whole=True), 1.0)
    xs, resets = stream(seed, network, True)
    outputs, counts, sent, overflows = brute_force(network, xs, resets, schedule, rule)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower.fixed, "check", lambda _network: np.dtype(dtype))
        trace = simulate(network, xs, numerics="fixed", schedule=schedule, rule=rule, resets=resets)
    assert np.array_equal(trace.outputs.reshape(outputs.shape), outputs) and np.array_equal(trace.counts, counts)
    assert [[trace.events_of(t, j).tolist() for j in range(len(network.senders))] for t in range(9)] == sent
    assert trace.overflows.sum() == overflows


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_the_dense_run_is_the_same_function_at_threshold_zero(seed):
    """Values, and zero-skip MACs against the events of spiking sources (each event a value that is not 0)."""
    network = random_network(seed)
    xs, resets = stream(seed, network, False)
    trace = simulate(network, xs, numerics="float64", resets=resets)
    encoded, found, outputs = dense.evaluate(network, xs, resets=resets)
    np.testing.assert_allclose(outputs, trace.outputs, rtol=0, atol=1e-12 * max(1, np.abs(outputs).max()))
    skip = dense.zero_skip_macs(network, encoded, found, resets)
    for i, layer in enumerate(network.layers):
        if all(network.signal_of(s.source) != "delta" for s in layer.synapses):
            row = trace.layer_counts()[i]
            assert skip[:, i].sum() == row["effective_macs"] + row["effective_acs"] == row["zero_skip_macs"]


def test_the_dense_run_goes_on_over_chunks_and_held_inputs(monkeypatch):
    """Answers and zero-skip counts do not depend on how the reference is cut; a held input answers as its readout says."""
    network = random_network(21)
    xs, resets = stream(21, network, False)
    whole = simulate(network, xs, numerics="float64", resets=resets, timesteps_per_input=3, readout="mean")
    plain = simulate(network, np.repeat(xs, 3, axis=0), numerics="float64", resets=np.repeat(resets, 3) & (np.arange(27) % 3 == 0))
    np.testing.assert_allclose(whole.outputs, plain.outputs.reshape(9, 3, -1).mean(axis=1), rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(dense, "chunks", lambda _n, n, *_: (slice(a, min(a + 5, n)) for a in range(0, n, 5)))
    cut = simulate(network, xs, numerics="float64", resets=resets, timesteps_per_input=3, readout="mean")
    assert np.array_equal(cut.reference.zero_skip_macs, whole.reference.zero_skip_macs)
    assert cut.reference.max_abs_error == whole.reference.max_abs_error <= 1e-12 * np.abs(whole.outputs).max()
    assert whole.totals_by_counter["zero_skip_macs"] == plain.totals_by_counter["zero_skip_macs"]


def test_traces_keep_everything(tmp_path):
    network = with_threshold(random_network(5, whole=True), 1.0)
    xs, resets = stream(5, network, True)
    trace = simulate(network, xs, numerics="fixed", resets=resets)
    trace.save(tmp_path / "t.trace")
    again = load_trace(tmp_path / "t.trace")
    assert again.network.sha256 == network.sha256 and again.totals_by_counter == trace.totals_by_counter
    assert np.array_equal(again.overflows, trace.overflows) and [layer.neuron for layer in again.network.layers] == [
        layer.neuron for layer in network.layers]
    assert [s.delay for layer in again.network.layers for s in layer.synapses] == [s.delay for layer in network.layers for s in layer.synapses]


def test_counting_spikes_as_a_readout():
    network = one("lif", **{**LEAK, "threshold": 1, "reset": 0, "subtract": 0, "inclusive": 0})
    trace = simulate(network, np.array([[0.5], [1.5]]), numerics="float64", timesteps_per_input=6, readout="count")
    assert trace.outputs.ravel().tolist() == [2, 6]  # 0.5 a timestep: spikes at 1.5, every third; then 1.5 in every one


@pytest.mark.parametrize("target", [{"NEUROSIM_PLAIN": "1"}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}], ids=["plain", "generic"])
def test_on_other_processors(target, tmp_path):
    """The same comparisons with plain loops, and compiled for a processor without any extension: a process of its own."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    env = {**os.environ, **target, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "real_numbers or whole_numbers"],
                          env=env, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout[-2000:]


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_sums_of_changes_are_the_sums_of_values(seed):
    """A sigma-delta network at threshold 0, its sums within their bits and its payloads shifted without a rest: the dense run."""
    rng = np.random.default_rng(seed)
    sigma = Dynamics("sigma", {"bits": 24, "offset": rng.integers(-3, 4, 5) * 16})
    layers = (Layer("a", (1, 1, 5), (full(INPUT, rng.integers(-4, 5, (5, 4)) * 4),), np.zeros(()), (Elementwise("relu"),), dynamics=sigma,
                    payload_shift=2),
              Layer("b", (1, 1, 3), (full(0, rng.integers(-4, 5, (3, 5))),), np.zeros(()),
                    dynamics=Dynamics("sigma", {"bits": 24, "offset": 0})))
    network = Network("s", Input("x", (4,), payload_shift=2), layers, (OutputPart(1, np.arange(3)),))
    xs = rng.integers(-9, 10, (8, 4)) * 4.0
    trace = simulate(network, xs, numerics="fixed", rule="sigma_delta", resets=np.isin(np.arange(8), (0, 5)))
    assert trace.reference.max_abs_error == 0 and trace.outputs.any()
