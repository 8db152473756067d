"""Recurrent cells from ONNX: operators and cells that an exporter took apart, against onnxruntime or onnx.reference; refusals."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import neurosim as ns
from neurosim import dense
from neurosim.errors import LoadError

N_IN, N = 5, 7
BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}


def saved(path, nodes, weights, inputs, outputs):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in inputs.items()],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(w, np.int64 if np.asarray(w).dtype.kind == "i" else np.float32), k) for k, w in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def operator_model(path, op, rng, states=True, **attributes):
    """x (1, 1, n_in) -> op -> Y_h -> Gemm; states h (and c) in and out."""
    b = BLOCKS[op]
    weights = {"W": rng.normal(size=(1, b * N, N_IN)), "R": rng.normal(size=(1, b * N, N)), "B": rng.normal(size=(1, 2 * b * N)),
               "V": rng.normal(size=(3, N)), "flat": np.array([1, N])}
    attributes = {"hidden_size": N, **({"linear_before_reset": 1} if op == "GRU" else {}), **attributes}
    held = ["h_in", "c_in"][: 2 if op == "LSTM" else 1] if states else []
    given = ["h_out", "c_out"][: len(held)]
    cell = helper.make_node(op, ["x", "W", "R", "B", "", *held], ["", "h_out", *given[1:]], **attributes)
    nodes = [cell, helper.make_node("Reshape", ["h_out", "flat"], ["h"]), helper.make_node("Gemm", ["h", "V"], ["logits"], transB=1)]
    return saved(path, nodes, weights, {"x": [1, 1, N_IN], **{h: [1, 1, N] for h in held}},
                 {"logits": [1, 3], **{h: [1, 1, N] for h in given}})


def played(path, xs, states, outputs, resets):
    """The original graph, its state fed back and cleared at resets."""
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    shapes = {i.name: i.shape for i in session.get_inputs()}
    answers = []
    for x, reset in zip(xs, resets):
        if reset:
            held = {s: np.zeros(shapes[s], np.float32) for s in states}
        out = session.run(["logits", *outputs], {"x": x[None].astype(np.float32), **held})
        held = dict(zip(states, out[1:]))
        answers.append(out[0].reshape(-1))
    return np.array(answers)


@pytest.mark.parametrize("op", BLOCKS)
def test_operators_equal_onnxruntime_over_time_and_resets(tmp_path, op):
    rng = np.random.default_rng(len(op))
    path = operator_model(tmp_path / "m.onnx", op, rng)
    network = ns.load(path)
    xs, resets = rng.normal(size=(30, 1, N_IN)), np.isin(np.arange(30), (0, 11, 12))
    states = ["h_in", "c_in"][: 2 if op == "LSTM" else 1]
    expected = played(path, xs, states, [s.replace("_in", "_out") for s in states], resets)
    trace = ns.simulate(network, xs, resets=resets, numerics="float64")
    assert np.abs(trace.outputs.reshape(expected.shape) - expected).max() < 2e-5
    assert trace.reference.max_abs_error < 1e-12
    blocks = BLOCKS[op]
    assert network.layers[0].neuron == op.lower() and network.static_counts[0]["dense_macs"] == blocks * N * (N_IN + N)
    assert trace.totals_by_counter["neuron_updates"] == 30 * (N + 3)


def test_default_activations_may_be_written_out(tmp_path):
    path = operator_model(tmp_path / "m.onnx", "LSTM", np.random.default_rng(0), activations=["Sigmoid", "Tanh", "Tanh"])
    assert ns.load(path).layers[0].neuron == "lstm"


def test_thresholds_on_input_and_hidden_values_take_events_away(tmp_path):
    rng = np.random.default_rng(3)
    network = ns.load(operator_model(tmp_path / "m.onnx", "GRU", rng))
    xs = np.cumsum(rng.normal(size=(60, 1, N_IN)) * 0.05, axis=0)
    macs = []
    for t in (0.0, 0.05, 0.2):
        trace = ns.simulate(ns.set_thresholds(network, t), xs, numerics="float64")
        macs.append(trace.totals_by_counter["effective_macs"])
    assert set(network.thresholds) == {"input", network.layers[0].name} and macs[0] > macs[1] > macs[2] > 0


def linear(name, x, w, b):
    return helper.make_node("Gemm", [x, w, b], [name], transB=1)


def gru_nodes(variant):
    """What torch's exporters make of GRUCell; `variant` 1 writes the blend as (1 - z) n + z h."""
    nodes = [linear("i", "x", "W", "bw"), linear("g", "h_in", "R", "br"),
             helper.make_node("Split", ["i"], ["ir", "iz", "in"], axis=1, num_outputs=3),
             helper.make_node("Split", ["g"], ["hr", "hz", "hn"], axis=1, num_outputs=3),
             helper.make_node("Add", ["ir", "hr"], ["r0"]), helper.make_node("Sigmoid", ["r0"], ["r"]),
             helper.make_node("Add", ["hz", "iz"], ["z0"]), helper.make_node("Sigmoid", ["z0"], ["z"]),
             helper.make_node("Mul", ["r", "hn"], ["rn"]), helper.make_node("Add", ["in", "rn"], ["n0"]), helper.make_node("Tanh", ["n0"], ["n"])]
    if variant:
        return [*nodes, helper.make_node("Sub", ["one", "z"], ["y"]), helper.make_node("Mul", ["y", "n"], ["a"]),
                helper.make_node("Mul", ["z", "h_in"], ["b"]), helper.make_node("Add", ["a", "b"], ["h_out"])]
    return [*nodes, helper.make_node("Sub", ["h_in", "n"], ["d"]), helper.make_node("Mul", ["d", "z"], ["a"]),
            helper.make_node("Add", ["n", "a"], ["h_out"])]


def lstm_nodes(_variant):
    return [linear("i0", "x", "W", "bw"), linear("g0", "h_in", "R", "br"), helper.make_node("Add", ["i0", "g0"], ["s"]),
            helper.make_node("Split", ["s"], ["i", "f", "g", "o"], axis=1, num_outputs=4),
            *[helper.make_node("Sigmoid", [k], [k + "s"]) for k in "ifo"], helper.make_node("Tanh", ["g"], ["gt"]),
            helper.make_node("Mul", ["fs", "c_in"], ["a"]), helper.make_node("Mul", ["is", "gt"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c_out"]), helper.make_node("Tanh", ["c_out"], ["ct"]),
            helper.make_node("Mul", ["os", "ct"], ["h_out"])]


def rnn_nodes(_variant):
    return [linear("i", "x", "W", "bw"), linear("g", "h_in", "R", "br"), helper.make_node("Add", ["i", "g"], ["s"]),
            helper.make_node("Tanh", ["s"], ["h_out"])]


MADE = {"GRU": gru_nodes, "LSTM": lstm_nodes, "RNN": rnn_nodes}


def taken_apart(path, op, rng, variant=0, change=lambda nodes: nodes):
    b = BLOCKS[op]
    weights = {"W": rng.normal(size=(b * N, N_IN)), "R": rng.normal(size=(b * N, N)), "bw": rng.normal(size=b * N),
               "br": rng.normal(size=b * N), "V": rng.normal(size=(3, N)), "one": np.ones(1)}
    held = ["h_in", "c_in"][: 2 if op == "LSTM" else 1]
    nodes = [*change(MADE[op](variant)), helper.make_node("Gemm", ["h_out", "V"], ["logits"], transB=1)]
    return saved(path, nodes, weights, {"x": [1, N_IN], **{h: [1, N] for h in held}},
                 {"logits": [1, 3], **{h.replace("_in", "_out"): [1, N] for h in held}})


@pytest.mark.parametrize(("op", "variant"), [("GRU", 0), ("GRU", 1), ("LSTM", 0), ("RNN", 0)])
def test_cells_taken_apart_equal_onnxruntime(tmp_path, op, variant):
    rng = np.random.default_rng(7)
    path = taken_apart(tmp_path / "m.onnx", op, rng, variant)
    network = ns.load(path)
    xs, resets = rng.normal(size=(25, N_IN)), np.isin(np.arange(25), (0, 9))
    states = ["h_in", "c_in"][: 2 if op == "LSTM" else 1]
    expected = played(path, xs, states, [s.replace("_in", "_out") for s in states], resets)
    assert [layer.neuron for layer in network.layers] == [op.lower(), "static"]
    assert np.abs(dense.evaluate(network, xs, resets=resets)[2].reshape(expected.shape) - expected).max() < 2e-5
    assert np.abs(ns.simulate(network, xs, resets=resets).outputs.reshape(expected.shape) - expected).max() < 1e-4
    assert network.static_counts[0]["dense_macs"] == BLOCKS[op] * N * (N_IN + N)


@pytest.mark.parametrize(("op", "attributes", "message"), [
    ("GRU", {"linear_before_reset": 0}, "linear_before_reset 0 multiplies the hidden values by a gate before the weights"),
    ("LSTM", {"direction": "reverse"}, "a policy cannot see later inputs"),
    ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}, "activations .*Relu.* are not supported"),
    ("LSTM", {"clip": 1.0}, "clip and input_forget are not supported"),
    ("RNN", {"activations": ["Relu"]}, "activations .*Relu.* are not supported"),
    ("LSTM", {"input_forget": 1}, "clip and input_forget are not supported"),
])
def test_refused_variants_of_operators(tmp_path, op, attributes, message):
    path = operator_model(tmp_path / "m.onnx", op, np.random.default_rng(0), **attributes)
    with pytest.raises(LoadError, match=message):
        ns.load(path)


def test_a_cell_without_a_state_input_is_refused(tmp_path):
    path = operator_model(tmp_path / "m.onnx", "LSTM", np.random.default_rng(0), states=False)
    with pytest.raises(LoadError, match="the model forgets between calls; export with the state as inputs and outputs"):
        ns.load(path)


def test_a_second_observation_is_no_state(tmp_path):
    """h_in joined with the observation: no cell reads it."""
    path = saved(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "goal"], ["s"]), linear("logits", "s", "W", "b"),
                                       helper.make_node("Relu", ["logits"], ["other"])],
                 {"W": np.ones((3, N_IN)), "b": np.zeros(3)}, {"x": [1, N_IN], "goal": [1, N_IN]}, {"logits": [1, 3], "other": [1, 3]})
    with pytest.raises(LoadError, match="'goal' is read by node .*which is no recurrent cell that is known"):
        ns.load(path)


def test_what_is_nearly_a_cell_is_refused(tmp_path):
    """A GRU whose candidate is rectified instead of squashed."""
    def change(nodes):
        return [helper.make_node("Relu", n.input, n.output) if n.op_type == "Tanh" else n for n in nodes]
    with pytest.raises(LoadError, match="input 'h_in' is read by"):
        ns.load(taken_apart(tmp_path / "m.onnx", "GRU", np.random.default_rng(0), change=change))


def test_one_element_of_a_state_that_nothing_reads(tmp_path):
    """The state is longer than the cell."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Slice", ["h_long", "from", "to", "axis"], ["h_in"]), *rnn_nodes(0),
             helper.make_node("Gemm", ["h_out", "V"], ["logits"], transB=1), helper.make_node("Concat", ["h_out", "h_out"], ["h_next"], axis=1)]
    weights = {"W": rng.normal(size=(N, N_IN)), "R": rng.normal(size=(N, N)), "bw": np.zeros(N), "br": np.zeros(N),
               "V": rng.normal(size=(3, N)), "from": np.array([0]), "to": np.array([N]), "axis": np.array([1])}
    path = saved(tmp_path / "m.onnx", nodes, weights, {"x": [1, N_IN], "h_long": [1, 2 * N]}, {"logits": [1, 3], "h_next": [1, 2 * N]})
    with pytest.raises(LoadError, match="input 'h_long': only 7 of its elements are the state of a recurrent cell"):
        ns.load(path)
