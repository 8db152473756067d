"""One test per message: what is refused says what, where, and what would help."""

import os

import numpy as np
import pytest
from loaders.graphs import model, save, weights
from onnx import TensorProto, helper

from neurosim.errors import LoadError
from neurosim.loaders import load

W = weights(4, 3)
PLAIN = [("MatMul", "x w", "y")]


def refused(tmp_path, m, match, **options):
    with pytest.raises(LoadError, match=match):
        load(save(tmp_path, m), **options)


@pytest.mark.parametrize(("name", "content", "match"), [
    ("m.onnx", b"", r"file is empty \(0 bytes\)"),
    ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
    ("m.onnx", b"\x08\x07\x12garbage\xff\xff\xff", r"truncated or not ONNX \(\d+ bytes\)"),
    ("m.pt", b"\x80\x04\x95garbage", "a pickle.*safetensors"),
    ("m.h5", b"\x89HDF\r\n\x1a\nxxxx", "damaged HDF5"),
    ("m.tflite", b"\x1c\x00\x00\x00TFL3", "TFLite.*tf2onnx"),
    ("w.safetensors", b"\x10" * 20, "weights without an architecture"),
    ("m.yaml", b"name: x\n", "neither an architecture file"),
    ("m.yaml", b"name: x\nweights: ../m.onnx\n", "same folder"),
    ("m.yaml", b"name: x\nname: y\n", r"m\.yaml:2:1: key 'name' is given twice"),
])
def test_files_that_are_something_else(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match=match):
        load(tmp_path / name)


@pytest.mark.parametrize(("members", "match"), [
    (["data", "policy.pth", "pytorch_variables.pth"], "Stable-Baselines3 agent.*neurosim export sb3 m.zip -o FOLDER"),
    (["archive/data.pkl", "archive/data/0"], "archive of torch.save.*export to ONNX: torch.onnx.export.*safetensors.*YAML"),
    (["archive/code/x.py", "archive/constants.pkl"], "TorchScript.*torch.jit.load"),
    (["model.weights.h5", "config.json"], "Keras archive"),
    (["w.npy"], "npz archive of weights"),
])
def test_zip_archives(tmp_path, members, match):
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for member in members:
            archive.writestr(member, b"x")
    with pytest.raises(LoadError, match=match):
        load(tmp_path / "m.zip")


def test_missing_truncated_and_folder(tmp_path):
    with pytest.raises(LoadError, match="No such file"):
        load(tmp_path / "nothing.onnx")
    with pytest.raises(LoadError, match="no model.yaml, and 0 ONNX files"):
        load(tmp_path)
    path = save(tmp_path, model(PLAIN, {"w": W}))
    (tmp_path / "model.yaml").write_text("name: a\nweights: m.onnx\nthresholds: 0.1\n")
    assert load(tmp_path).static_total("dense_macs") == 12
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(LoadError, match="truncated or not ONNX"):
        load(path)


# ---- external data ------------------------------------------------------------------------

def external(tmp_path, location="m.data", offset=None, length=None, name="w"):
    m = model(PLAIN, {"w": W})
    tensor = m.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return m, data


def test_external_data_is_read_beside_the_model(tmp_path):
    m, data = external(tmp_path, offset=8)
    (tmp_path / "m.data").write_bytes(b"\0" * 8 + data)
    assert load(save(tmp_path, m)).static_total("dense_macs") == 12


@pytest.mark.parametrize(("options", "match"), [
    ({"location": "../m.data"}, "outside the model's folder"),
    ({"location": "/etc/passwd"}, "outside the model's folder"),
    ({"location": "gone.data"}, "lie in 'gone.data', which is missing beside it; copy both files"),
    ({"offset": 9000}, r"9,000 \+ 96 bytes in 'm.data', which has 96"),
    ({"length": 88}, "declares .* = 96 bytes but stores 88"),
    ({"offset": "x"}, "not a number"),
])
def test_external_data_refusals(tmp_path, options, match):
    m, data = external(tmp_path, **options)
    (tmp_path / "m.data").write_bytes(data)
    refused(tmp_path, m, match)


def test_external_data_through_links(tmp_path):
    (tmp_path / "real.data").write_bytes(external(tmp_path)[1])
    os.symlink(tmp_path / "real.data", tmp_path / "m.data")
    refused(tmp_path, external(tmp_path)[0], "symbolic link")
    (tmp_path / "m.data").unlink()
    os.link(tmp_path / "real.data", tmp_path / "m.data")
    refused(tmp_path, external(tmp_path)[0], "hard link")
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "m.data").write_bytes(external(tmp_path)[1])
    os.symlink(tmp_path / "outer", tmp_path / "inner")
    refused(tmp_path, external(tmp_path, location="inner/m.data")[0], "symbolic link")


def test_external_tensors_may_not_overlap(tmp_path):
    m, data = external(tmp_path, offset=0)
    second = m.graph.initializer.add()
    second.CopyFrom(m.graph.initializer[0])
    second.name = "v"
    next(e for e in second.external_data if e.key == "offset").value = "8"
    (tmp_path / "m.data").write_bytes(data + data)
    refused(tmp_path, m, "overlaps")


# ---- contents -------------------------------------------------------------------------------

@pytest.mark.parametrize("opset", [1, 6, 99])
def test_opset(tmp_path, opset):
    refused(tmp_path, model(PLAIN, {"w": W}, opset=opset), rf"opset {opset} is outside 7\.\.")


def test_unused_domains_are_accepted(tmp_path):
    assert load(save(tmp_path, model(PLAIN, {"w": W}, domains=("ai.onnx.ml",)))).layers


def test_declared_sizes(tmp_path):
    m = model(PLAIN, {"w": W})
    m.graph.initializer[0].dims[0] = 5
    refused(tmp_path, m, r"'w'.*declares \[5, 3\] = 15 elements but stores 12")
    m.graph.initializer[0].dims[0] = 10**12
    refused(tmp_path, m, "elements > limit")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_weights(tmp_path, value):
    w = W.copy()
    w[2, 1] = value
    refused(tmp_path, model(PLAIN, {"w": w}), r"'w': 1 of 12 values are NaN or infinite, the first at \[2, 1\]")


def test_all_unsupported_nodes_at_once(tmp_path):
    nodes = [("Selu", "x", "a"), ("LayerNormalisation", "a", "b"), ("MatMul", "b w", "c"), ("Erf", "c", "d"), ("Bernouli", "d", "y")]
    with pytest.raises(LoadError) as info:
        load(save(tmp_path, model(nodes, {"w": W})))
    text = str(info.value)
    assert "4 problems" in text and all(f"'n{i}'" in text for i in (0, 1, 3, 4)) and "use Elu" in text


def test_custom_domain(tmp_path):
    m = model([("MatMul", "x w", "h"), ("Fancy", "h", "y")], {"w": W}, domains=("com.acme",))
    m.graph.node[1].domain = "com.acme"
    refused(tmp_path, m, "node 'n1'.*custom domain 'com.acme'")


def test_keras_weights_are_told_apart_from_what_is_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.h5", "w") as f:
        f["model_weights/dense/kernel"] = np.ones((2, 2))
    refused_file = tmp_path / "m.h5"
    with pytest.raises(LoadError, match="neither NIR .'node'. nor a lava-dl network .'layer'.; from Keras: model.export"):
        load(refused_file)


def test_control_flow_and_recurrent_cells(tmp_path):
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [],
                             [helper.make_tensor_value_info("z", TensorProto.DOUBLE, None)])
    refused(tmp_path, model([("If", "c", "y", {"then_branch": body, "else_branch": body}), ], {"c": np.array(True)}),
            "depends on no input")
    m = model([("MatMul", "x w", "h"), ("If", "c", "b", {"then_branch": body, "else_branch": body}), ("Add", "h b", "y")],
              {"c": np.array(True), "w": W})
    refused(tmp_path, m, "If.*condition fixed")
    m = model([("GRU", "x w r", "a y", {"hidden_size": 2})], {"w": weights(1, 6, 4), "r": weights(1, 6, 2)}, shape=(1, 1, 4))
    refused(tmp_path, m, "GRU.*linear_before_reset 0")


def test_cycle_and_dangling(tmp_path):
    refused(tmp_path, model([("Add", "x b", "a"), ("Relu", "a", "b"), ("MatMul", "b w", "y")], {"w": W}),
            r"tensor 'b' is read by node 'n0' \(Add\) before node 'n1' \(Relu\) makes it")
    refused(tmp_path, model([("MatMul", "q w", "y")], {"w": W}), r"tensor 'q' is read by node 'n0' \(MatMul\) but nothing makes it")


def test_duplicate_names(tmp_path):
    refused(tmp_path, model([("Relu", "x", "y"), ("MatMul", "x w", "y")], {"w": W}), "tensor 'y' is made twice, by node 'n0'")
    refused(tmp_path, model([("MatMul", "x w", "w")], {"w": W}, outputs=("w",)), "'w' is an input or initialiser and is also made")


def test_shapes_that_do_not_agree(tmp_path):
    refused(tmp_path, model([("Gemm", "x w", "y")], {"w": weights(5, 3)}), r"node 'n0' \(Gemm\).*\(1, 4\).*\(3, 5\)")
    refused(tmp_path, model([("Conv", "x w", "y")], {"w": weights(2, 5, 1, 1)}, shape=(1, 3, 4, 4)),
            r"'n0'.*3 channels.*\(2, 5, 1, 1\)")
    refused(tmp_path, model([("Conv", "x w", "y")], {"w": weights(2, 3, 9, 9)}, shape=(1, 3, 4, 4)), "window of 9 does not fit")


def test_input_shapes(tmp_path):
    open_shape = model([("Conv", "x w", "a"), ("Flatten", "a", "y")], {"w": weights(2, 3, 2, 2)}, shape=("N", 3, "H", "W"))
    refused(tmp_path, open_shape, r"pass input_shape without batch, for example \(3, 84, 84\)")
    assert load(save(tmp_path, open_shape), input_shape=(3, 5, 5)).input.shape == (3, 5, 5)
    refused(tmp_path, open_shape, "does not go with", input_shape=(4, 5, 5))
    refused(tmp_path, model(PLAIN, {"w": W}, shape=(32, 4)), "batch fixed to 32; export with batch 1")
    assert load(save(tmp_path, model(PLAIN, {"w": W}, shape=(2, 4))), input_shape=(2, 4)).input.shape == (2, 4)


def test_fold_bomb(tmp_path):
    nodes = [("Expand", "one s", "big"), ("ReduceSum", "big", "r", {"keepdims": 0}), ("MatMul", "x w", "h"), ("Add", "h r", "y")]
    refused(tmp_path, model(nodes, {"one": np.array([1.0]), "s": np.array([10**6, 10**6]), "w": W}),
            "would make a constant of 1,000,000,000,000 elements > limit")
    nodes = [("ConstantOfShape", "s", "big"), *nodes[1:]]
    refused(tmp_path, model(nodes, {"s": np.array([10**6, 10**6]), "w": W}), "would make a constant")


def test_too_many_nodes(tmp_path, monkeypatch):
    monkeypatch.setattr("neurosim.loaders.onnx_guard.MAX_NODES", 3)
    refused(tmp_path, model([("Relu", "x", "a"), ("Relu", "a", "b"), ("Relu", "b", "c"), ("MatMul", "c w", "y")], {"w": W}),
            "4 nodes > limit 3")


def test_batch_norm_in_training_or_impossible(tmp_path):
    c = {"w": W, "g": np.ones(3), "b": np.zeros(3), "m": np.zeros(3), "v": np.array([1.0, -2.0, 1.0])}
    nodes = [("MatMul", "x w", "h"), ("BatchNormalization", "h g b m v", "y")]
    refused(tmp_path, model(nodes, c), "negative variance -2 at channel 1")
    nodes = [("MatMul", "x w", "h"), ("BatchNormalization", "h g b m v", "y m1 v1", {"training_mode": 1})]
    refused(tmp_path, model(nodes, {**c, "v": np.ones(3)}), "training mode; export after model.eval")


def test_second_input_and_gates(tmp_path):
    extra = [helper.make_tensor_value_info("h_in", TensorProto.DOUBLE, (1, 3))]
    refused(tmp_path, model([("MatMul", "x w", "h"), ("Add", "h h_in", "y")], {"w": W}, extra_inputs=extra), "input 'h_in' besides 'x'")
    nodes = [("MatMul", "x w", "a"), ("Sigmoid", "a", "g"), ("MatMul", "x w", "b"), ("Tanh", "b", "t"),
             ("Mul", "g t", "p", {"name": "gate"}), ("MatMul", "p v", "y")]
    refused(tmp_path, model(nodes, {"w": W, "v": weights(3, 2)}), r"node 'gate' \(Mul\): product of two activations")
    refused(tmp_path, model([("MatMul", "x w", "a"), ("Transpose", "a", "b"), ("MatMul", "b a", "y")], {"w": W}), "both operands are live")


@pytest.mark.parametrize(("nodes", "match"), [
    ([("Relu", "x", "y")], "no synapses"),
    ([("MatMul", "x w", "a"), ("Concat", "a x", "y", {"axis": 1})], "shows the input itself"),
    ([("MatMul", "x w", "a"), ("Softmax", "a", "b", {"axis": 1}), ("MatMul", "b v", "y")], "Softmax.*before weights"),
    ([("MatMul", "x w", "a"), ("Exp", "a", "b"), ("MatMul", "b v", "y")], "a neuron cannot evaluate it"),
    ([("MatMul", "x w", "a"), ("Gather", "a two", "b", {"axis": 1}), ("MatMul", "b u", "y")], "reads an element twice"),
    ([("MatMul", "x w", "a"), ("Reshape", "a five", "y")], "cannot be reshaped"),
    ([("MatMul", "x w", "a"), ("Pad", "a pads one", "b"), ("MatMul", "b u", "y")], "only zeros can be padded"),
])
def test_what_cannot_be_neurons(tmp_path, nodes, match):
    c = {"w": W, "v": weights(3, 2), "two": np.array([1, 1]), "u": weights(2, 2), "five": np.array([5, 5]),
         "pads": np.array([0, 0, 0, 1]), "one": np.array(1.0)}
    refused(tmp_path, model(nodes, c), match)


def test_unknown_output(tmp_path):
    refused(tmp_path, model(PLAIN, {"w": W}), "no output 'z'; it has y", output="z")


def test_a_failed_self_check_is_an_error(tmp_path, monkeypatch):
    from neurosim.loaders import onnx_verify

    monkeypatch.setattr(onnx_verify, "_judge", lambda m, n, states: ((lambda x: np.ones((1, 3))), "the judge"))
    refused(tmp_path, model(PLAIN, {"w": W}), "self-check failed: output 'y' differs from the judge by")
