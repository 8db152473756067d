"""Quantised ONNX: our own policies quantised by onnxruntime, bit for bit; what only real numbers can do; refusals."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import neurosim as ns
from neurosim import dense
from neurosim.errors import LoadError, SimulationError

ort = pytest.importorskip("onnxruntime")
quantization = pytest.importorskip("onnxruntime.quantization")
MODELS = Path(__file__).parents[2] / "models"


class Reader(quantization.CalibrationDataReader):
    def __init__(self, name, inputs):
        self.rows = iter([{name: x[None]} for x in inputs])

    def get_next(self):
        return next(self.rows, None)


def quantised(model, path, form, per_channel=False):
    """The policy in int8 weights and uint8 values, calibrated on its own recorded observations; and some of them."""
    source = MODELS / model / "policy.onnx"
    inputs = np.load(MODELS / model / "golden.npz")["obs"].astype(np.float32)
    name = ort.InferenceSession(source, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    quantization.quantize_static(source, path, Reader(name, inputs[:50]), quant_format=quantization.QuantFormat[form],
                                 per_channel=per_channel, activation_type=quantization.QuantType.QUInt8,
                                 weight_type=quantization.QuantType.QInt8)
    return name, inputs


def answers(path, name, inputs, optimised):
    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {name: x[None]})[0].reshape(-1) for x in inputs])


@pytest.mark.parametrize(("model", "form", "per_channel"), [
    ("lunarlander_dqn", "QDQ", False), ("lunarlander_dqn", "QDQ", True), ("lunarlander_dqn", "QOperator", False),
    ("hopper_ppo", "QDQ", False), ("cartpole_ppo", "QDQ", True), ("breakout_ppo_small", "QDQ", False),
    ("breakout_ppo_small", "QOperator", True), ("breakout_ppo", "QDQ", True), ("breakout_ppo", "QOperator", False)])
def test_our_policies_equal_onnxruntime_in_every_unit(tmp_path, model, form, per_channel):
    """Whole numbers before the decoder, in fixed and in float64 numerics, at threshold 0: no unit differs, with its integer
    operators (all optimisations) and with its real ones (none)."""
    path = tmp_path / "m.onnx"
    name, inputs = quantised(model, path, form, per_channel)
    network = ns.load(path)
    scale = float(network.decoder.ops[-1].operands[1])
    inputs = inputs[50:80] if model == "breakout_ppo" else inputs[50:250]
    units = [np.rint(answers(path, name, inputs, optimised) / scale) for optimised in (True, False)]
    assert np.array_equal(*units) and len(np.unique(units[0])) > 5
    for numerics in ("fixed", "float64"):
        trace = ns.simulate(network, inputs, numerics=numerics, reference="none")
        assert np.array_equal(trace.outputs.reshape(units[0].shape), units[0])
        counts = trace.totals_by_counter
        assert 0 < counts["effective_macs"] <= counts["dense_macs"]
    assert trace.outputs.dtype == np.float64 and network.layers[0].activation[0].op == "requantize"


def graph(path, nodes, weights, out=(1, 3)):
    g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
                          [numpy_helper.from_array(np.asarray(w), k) for k, w in weights.items()])
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def small(rng, **changes):
    """x -> Q -> DQ -> Gemm(DQ W) -> Relu -> Q -> DQ -> y, and its constants."""
    weights = {"xs": np.float32(0.05), "xz": np.uint8(120), "W": rng.integers(-127, 128, (3, 4)).astype(np.int8), "ws": np.float32(0.01),
               "wz": np.int8(0), "b": rng.integers(-500, 500, 3).astype(np.int32), "bs": np.float32(0.05) * np.float32(0.01),
               "bz": np.int32(0), "ys": np.float32(0.02), "yz": np.uint8(3)} | changes
    nodes = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]), helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xr"]),
             helper.make_node("DequantizeLinear", ["W", "ws", "wz"], ["Wr"], axis=0),
             helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["br"], axis=0),
             helper.make_node("Gemm", ["xr", "Wr", "br"], ["s"], transB=1), helper.make_node("Relu", ["s"], ["r"]),
             helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["yq"]), helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"])]
    return nodes, weights


def test_by_hand(tmp_path):
    """x = (1, -1, 0.3, 0): q - 120 = (20, -20, 6, 0). Sums of 0.0005: W (20, -20, 6, 0) + b; times M = 0.05 * 0.01 / 0.02 = 0.025,
    rounded, clipped to 0 (Relu; zero point 3) .. 252."""
    w = np.array([[100, 0, 50, 7], [-1, 1, 0, 0], [127, -127, 0, 0]], np.int8)
    nodes, weights = small(np.random.default_rng(0), W=w, b=np.array([10, 70, 12000], np.int32))
    network = ns.load(graph(tmp_path / "m.onnx", nodes, weights))
    sums = [100 * 20 + 50 * 6 + 10, -40 + 70, 127 * 40 + 12000]
    expected = [round(sums[0] * 0.025), round(sums[1] * 0.025), 252]  # 57.75 -> 58; 0.75 -> 1; 427 -> 252
    assert expected == [58, 1, 252]
    trace = ns.simulate(network, np.array([[1, -1, 0.3, 0]]), numerics="fixed")
    assert trace.outputs.tolist() == [expected] and trace.outputs.dtype.kind == "i"
    np.testing.assert_allclose(network.decode(trace.outputs[0].astype(float)).ravel(), [1.16, 0.02, 5.04], rtol=1e-6)


def test_branches_of_two_scales_are_real_numbers(tmp_path):
    """An Add between quantised tensors, and real weights behind it: real numbers from there on, and refused for fixed numerics."""
    rng = np.random.default_rng(1)
    nodes, weights = small(rng)
    nodes[-1] = helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["yr"])
    nodes += [helper.make_node("DequantizeLinear", ["V", "ws", "wz"], ["Vr"], axis=0),
              helper.make_node("Gemm", ["yr", "Vr"], ["u"], transB=1), helper.make_node("QuantizeLinear", ["u", "us", "uz"], ["uq"]),
              helper.make_node("DequantizeLinear", ["uq", "us", "uz"], ["ur"]), helper.make_node("Add", ["yr", "ur"], ["a"]),
              helper.make_node("Gemm", ["a", "Z"], ["y"])]
    weights |= {"V": rng.integers(-127, 128, (3, 3)).astype(np.int8), "us": np.float32(0.03), "uz": np.int8(-5),
                "Z": rng.normal(size=(3, 3)).astype(np.float32)}
    path = graph(tmp_path / "m.onnx", nodes, weights)
    network = ns.load(path)
    xs = rng.normal(size=(40, 4)).astype(np.float32)
    expected = answers(path, "x", xs, optimised=False)
    found = dense.evaluate(network, xs)[2].reshape(expected.shape)
    assert np.abs(found - expected).max() < 1e-4
    with pytest.raises(SimulationError, match="fixed numerics need whole numbers"):
        ns.simulate(network, xs, numerics="fixed")


def test_sums_that_are_read_before_they_are_quantised_are_real_numbers(tmp_path):
    """A Tanh between a sum and its QuantizeLinear: every QuantizeLinear is then a step of f after its ONNX definition."""
    rng = np.random.default_rng(3)
    nodes, weights = small(rng)
    nodes[5] = helper.make_node("Tanh", ["s"], ["r"])
    path = graph(tmp_path / "m.onnx", nodes, weights)
    network = ns.load(path)
    assert any("computed as real numbers, not for fixed numerics: node 'r' (Tanh)" in note for note in network.notes)
    xs = rng.normal(size=(40, 4)).astype(np.float32)
    expected = answers(path, "x", xs, optimised=False)
    found = np.array([network.decode(a).reshape(-1) for a in dense.evaluate(network, xs)[2]])
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize(("changes", "message"), [
    ({"xs": np.float32(0.0)}, "its scale .0.0. is not positive and finite"),
    ({"ys": np.float32(-1.0)}, "its scale .-1.0. is not positive and finite"),
    ({"ys": np.float32(np.nan)}, "NaN or infinite"),
    ({"xs": np.full(4, 0.1, np.float32), "xz": np.zeros(4, np.uint8)}, "values quantised per channel are not supported"),
    ({"ws": np.full(2, 0.1, np.float32), "wz": np.zeros(2, np.int8)}, "2 scales along axis 0 of weights|one per output"),
    ({"ws": np.full((2, 2), 0.1, np.float32)}, "scales and 1 zero points|inconsistent|not supported"),
    ({"ws": np.full(3, np.inf, np.float32), "wz": np.zeros(3, np.int8)}, "NaN or infinite"),
])
def test_refused_scales(tmp_path, changes, message):
    nodes, weights = small(np.random.default_rng(2), **changes)
    with pytest.raises(LoadError, match=message):
        ns.load(graph(tmp_path / "m.onnx", nodes, weights))


def test_dynamic_quantisation_is_refused_with_what_helps(tmp_path):
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"]),
             helper.make_node("Gemm", ["r", "W"], ["y"])]
    with pytest.raises(LoadError, match="DynamicQuantizeLinear.*quantise statically"):
        ns.load(graph(tmp_path / "m.onnx", nodes, {"W": np.ones((4, 3), np.float32)}))
