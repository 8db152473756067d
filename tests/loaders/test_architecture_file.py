"""Architecture YAML + weights: equal to the same graph in ONNX; differences in names and shapes are tables."""

import numpy as np
import pytest
from loaders.graphs import check, model, weights
from safetensors.numpy import save_file

from neurosim import dense
from neurosim.errors import LoadError
from neurosim.loaders import load

TEXT = """
input: {name: obs, shape: [2, 6, 6]}
weights: w.safetensors
layers:
  - {name: conv1, type: conv2d, weight: net.0.weight, bias: net.0.bias, stride: 2, padding: 1, activation: relu}
  - {name: conv2, type: conv2d, weight: net.2.weight, padding: 1}
  - {type: add, from: conv1, activation: relu}
  - {type: max_pool, kernel: 2, stride: 1}
  - {type: flatten}
  - {name: fc, type: linear, weight: head.weight, bias: head.bias}
"""


def tensors():
    shapes = {"net.0.weight": (3, 2, 3, 3), "net.0.bias": (3,), "net.2.weight": (3, 3, 3, 3), "head.weight": (4, 12), "head.bias": (4,)}
    return {name: weights(*shape) for name, shape in shapes.items()}


def write(tmp_path, stored, text=TEXT):
    save_file(stored, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **stored)
    (tmp_path / "net.yaml").write_text(text)
    return tmp_path / "net.yaml"


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_equals_the_same_onnx_graph(tmp_path, suffix):
    stored = tensors()
    net = load(write(tmp_path, stored, TEXT.replace("safetensors", suffix)))
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [("Conv", "x net.0.weight net.0.bias", "a", {**pads, "strides": [2, 2]}), ("Relu", "a", "b"),
             ("Conv", "b net.2.weight", "c", pads),
             ("Add", "c b", "d"), ("Relu", "d", "e"), ("MaxPool", "e", "f", {"kernel_shape": [2, 2]}), ("Flatten", "f", "g"),
             ("Gemm", "g head.weight head.bias", "y", {"transB": 1})]
    other = check(tmp_path, model(nodes, stored, shape=(1, 2, 6, 6)))
    x = weights(3, 2, 6, 6)
    np.testing.assert_array_equal(dense.evaluate(net, x)[2], dense.evaluate(other, x)[2])
    assert [layer.name for layer in net.layers] == ["conv1", "conv2", "pool1", "fc"] and net.static_total("dense_macs") > 0


def test_table_of_differences_with_rename_hints(tmp_path):
    stored = {f"module.{k}" if k.startswith("head") else k: v for k, v in tensors().items()}
    with pytest.raises(LoadError) as info:
        load(write(tmp_path, stored))
    text = str(info.value)
    assert "2 weights missing, 2 left over" in text
    assert "missing  head.weight   (rename: 'module.head.weight' [4, 12] is in the weights)" in text


@pytest.mark.parametrize(("old", "new", "match"), [
    ("stride: 2", "strid: 2", r"net.yaml:5:\d+: unknown key 'strid'; did you mean 'stride'"),
    ("type: flatten", "type: flaten", r"net.yaml:9:\d+: unknown type 'flaten'"),
    ("activation: relu}\n  - {name: conv2", "activation: rele}\n  - {name: conv2", "unknown activation 'rele'"),
    ("kernel: 2, ", "", "key 'kernel' is missing"),
    ("name: fc,", "name: fc, name: fd,", r"net.yaml:10:\d+: key 'name' is given twice"),
    ("weights: w", "weights: ../w", "outside the file's folder"),
    ("from: conv1", "from: conv7", "no earlier layer is named 'conv7'"),
    ("shape: [2, 6, 6]", "shape: [2, 8, 8]", r"layer 'fc' \(linear\): weight 'head.weight' has shape \[4, 12\], expected \[out, 27\]"),
    ("shape: [2, 6, 6]", "shape: two", "positive integers"),
])
def test_refusals(tmp_path, old, new, match):
    assert old in TEXT
    with pytest.raises(LoadError, match=match):
        load(write(tmp_path, tensors(), TEXT.replace(old, new)))


def test_damaged_and_dangerous_weights(tmp_path):
    path = write(tmp_path, tensors())
    (tmp_path / "w.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(LoadError, match="truncated or not safetensors"):
        load(path)
    path = write(tmp_path, {**tensors(), "net.0.bias": np.array([0, np.nan, 1.0])})
    with pytest.raises(LoadError, match=r"'net.0.bias': 1 of 3 values are NaN or infinite, the first at \[1\]"):
        load(path)
    path = write(tmp_path, tensors(), TEXT.replace("safetensors", "npz"))
    np.savez(tmp_path / "w.npz", a=np.array([object()]))
    with pytest.raises(LoadError, match="objects"):
        load(path)


@pytest.mark.parametrize("line, message", [
    ("weights: 3", "weights: 3 is not a name"), ("weights: null", "weights: None is not a name"), ("scale: x", "scale: 'x' is not a number"),
    ("layers: [{type: linear, weight: null}]", "weight: None is not a name"), ("layers: [{type: add, from: [a]}]", r"from: \['a'\] is not a name"),
    ("layers: [{type: linear, weight: w, name: [a]}]", r"name: \['a'\] is not a name"), ("input: {name: [1], shape: [2]}", r"name: \[1\] is not a name")])
def test_values_of_the_wrong_kind(tmp_path, line, message):
    key = line.split(":")[0]
    whole = {"input": "input: {name: x, shape: [2]}", "weights": "weights: w.npz", "layers": "layers: [{type: linear, weight: w}]"}
    path = tmp_path / "a.yaml"
    path.write_text("\n".join((whole | {key: line}).values()) + "\n")
    with pytest.raises(LoadError, match=message):
        load(path)
