"""Runs the ONNX backend node tests of every operator that `neurosim.loaders.operators` claims.

A node test is one operator with data. All inputs but the first are frozen to initialisers, and
the node is put (a) between 1 x 1 convolutions, so that neurons evaluate it, (b) after one, so that
the decoder may, (c) before one, so that the encoder may. A test passes when at least one of
these loads and none gives a wrong value. `PYTHONPATH=. python tests/loaders/backend_nodes.py` prints the support
table; with ``--exclusions`` the list of what does not pass.
"""

import functools
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from neurosim import dense
from neurosim.errors import LoadError
from neurosim.loaders.onnx_file import load_onnx
from neurosim.loaders.operators import OPERATORS, operator_table

PLACES = ("neuron", "decoder", "encoder")
RECORDED_WITH = "1.23.2"
"""Version of the onnx package whose suite the list and the README's table were recorded with."""

EXCLUSIONS = Path(__file__).with_name("backend_exclusions.txt")


def cases():
    """(test name, operator, model, inputs, outputs) of single-node tests of claimed operators."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for test in tests:
        nodes = test.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in OPERATORS and nodes[0].domain == "":
            inputs, outputs = ([_array(v) for v in values] for values in test.data_sets[0])
            yield test, nodes[0].op_type, inputs, outputs


def _array(value):
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def run(test, op, inputs, outputs):
    """None when the test passes, else the reason."""
    expected = np.asarray(outputs[0])
    if OPERATORS[op].kind == "constant":
        places, live = ("constant",), np.zeros((1, max(1, expected.size)))
    else:
        places, live = PLACES, inputs[0] if inputs else None
    if OPERATORS[op].kind == "index map" and op != "Cast" and isinstance(live, np.ndarray) and live.dtype.kind in "iu":
        live = live.astype(np.float32)
    if live is None or not isinstance(live, np.ndarray) or live.dtype.name not in ("float16", "float32", "float64", "bfloat16"):
        return "first input is not a floating tensor"
    if live.size == 0 or expected.size == 0:
        return "a tensor without elements"
    if any(not isinstance(i, np.ndarray) for i in inputs):
        return "an input is not a tensor"
    reasons = []
    for place in places:
        try:
            found = _evaluate(_wrapped(test.model, inputs, expected, place), live)
        except LoadError as error:
            reasons.append(str(error).split(": ", 1)[1].replace("\n", " "))
            continue
        wanted = expected.astype(np.float64).ravel()
        close = np.allclose(found, wanted, rtol=max(test.rtol, 1e-3), atol=max(test.atol, 1e-5), equal_nan=True)
        if not close:
            return f"WRONG VALUE as {place}"
        reasons.append(None)
    return None if None in reasons else reasons[1 if OPERATORS[op].kind == "host" else 0]


def _evaluate(model, live):
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "m.onnx"
        path.write_bytes(model.SerializeToString())
        network = load_onnx(path, check=False)
        answer = dense.evaluate(network, live.astype(np.float64).reshape(1, *network.input.shape))[2]
        return np.asarray(network.decode(answer[0]), np.float64).ravel()


def _wrapped(model, inputs, expected, place):
    graph, node = model.graph, type(model.graph.node[0])()
    node.CopyFrom(model.graph.node[0])
    node.name = "tested"
    constant = place == "constant"
    names = [i.name for i in graph.input]
    frozen = {n: v for n, v in zip(names, inputs)} if constant else {n: v for n, v in zip(names[1:], inputs[1:])}
    n_in, n_out = (expected.size, expected.size) if constant else (inputs[0].size, expected.size)
    frozen.update(one=np.ones((1, 1, 1), np.float32), flat_in=np.array([1, 1, n_in]), flat_out=np.array([1, 1, n_out]))
    nodes = [helper.make_node("Reshape", ["x_", "flat_in"], ["x3"])]
    made = node.output[0]
    source = "x3"
    if place != "encoder":
        nodes.append(helper.make_node("Conv", ["x3", "one"], ["x4"], name="before"))
        source = "x4"
    if constant:
        nodes += [node, helper.make_node("Cast", [made], ["cast"], to=1), helper.make_node("Reshape", ["cast", "flat_out"], ["c3"]),
                  helper.make_node("Add", [source, "c3"], ["y_"])]
    else:
        frozen["shape_in"] = np.array(inputs[0].shape, np.int64)
        nodes += [helper.make_node("Reshape", [source, "shape_in"], [names[0]]), node,
                  helper.make_node("Reshape", [made, "flat_out"], ["y3"]),
                  helper.make_node("Conv", ["y3", "one"], ["y_"], name="after") if place != "decoder"
                  else helper.make_node("Identity", ["y3"], ["y_"])]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in frozen.items()]
    wrapped = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x_", TensorProto.FLOAT, (1, n_in))],
                                [helper.make_tensor_value_info("y_", TensorProto.FLOAT, None)], stored)
    return helper.make_model(wrapped, opset_imports=[o for o in model.opset_import if o.domain == ""], ir_version=model.ir_version)


@functools.cache
def results():
    """(operator -> (passed, total), test name -> reason) over all cases."""
    table, failed = {}, {}
    for test, op, inputs, outputs in cases():
        reason = run(test, op, inputs, outputs)
        passed, total = table.get(op, (0, 0))
        table[op] = (passed + (reason is None), total + 1)
        if reason is not None:
            failed[test.name] = reason
    return table, failed


def listed():
    """Test name -> reason of `backend_exclusions.txt`."""
    lines = [line for line in EXCLUSIONS.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


if __name__ == "__main__":
    table, failed = results()
    if "--exclusions" in sys.argv:
        print("\n".join(f"{name}: {reason}" for name, reason in sorted(failed.items())))
    else:
        print("\n".join(operator_table(table)))
