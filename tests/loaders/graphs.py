"""Tiny ONNX graphs for tests, and the comparison of a loaded network with the original graph."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from neurosim import dense
from neurosim.loaders import load

RNG = np.random.default_rng(7)


def weights(*shape):
    return RNG.standard_normal(shape)


def model(nodes, constants=None, shape=(1, 4), outputs=("y",), opset=17, elem=TensorProto.DOUBLE, extra_inputs=(), domains=()):
    """A model with input ``x``; float constants take the input's type, nodes are (op, inputs, output(s), attributes)."""
    kind = helper.tensor_dtype_to_np_dtype(elem)
    protos = []
    for i, (op, inputs, made, *attributes) in enumerate(nodes):
        attributes = dict(attributes[0]) if attributes else {}
        protos.append(helper.make_node(op, inputs.split(), made.split(), name=attributes.pop("name", f"n{i}"), **attributes))
    stored = []
    for name, value in (constants or {}).items():
        value = np.asarray(value)
        stored.append(numpy_helper.from_array(value.astype(kind) if value.dtype.kind == "f" else value, name))
    inputs = [helper.make_tensor_value_info("x", elem, shape), *extra_inputs]
    made = [helper.make_tensor_value_info(o, elem, None) for o in outputs]
    graph = helper.make_graph(protos, "g", inputs, made, stored)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def save(tmp_path, m, name="m.onnx"):
    path = tmp_path / name
    path.write_bytes(m.SerializeToString())
    return path


def check(tmp_path, m, tolerance=1e-9, n=3, **options):
    """Load, compare with `onnx.reference` on the original graph, return the network."""
    network = load(save(tmp_path, m), **options)
    shape = [d.dim_value or 1 for d in m.graph.input[0].type.tensor_type.shape.dim]
    kind = helper.tensor_dtype_to_np_dtype(m.graph.input[0].type.tensor_type.elem_type)
    judge = ReferenceEvaluator(m)
    for _ in range(n):
        x = RNG.standard_normal(shape).astype(kind)
        expected = judge.run([network.output_name], {"x": x})[0]
        _, _, answer = dense.evaluate(network, x.reshape(1, *network.input.shape))
        found = network.decode(answer[0])
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))
    return network


def small(path):
    """The model without its tensors, for messages."""
    return onnx.load(path, load_external_data=False)
