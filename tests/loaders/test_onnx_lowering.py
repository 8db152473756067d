"""Every lowering rule on a tiny graph: the numbers equal the original graph, and the structure is the promised one."""

import numpy as np
import pytest
from loaders.graphs import check, model, weights

W = weights(5, 4)


def kinds(network):
    return [layer.kind for layer in network.layers]


def ops(layer):
    return [e.op for e in layer.activation]


def test_gemm_alpha_beta_and_transposes(tmp_path):
    c = {"w": W, "b": weights(5), "v": weights(5, 3)}
    net = check(tmp_path, model([("Gemm", "x w b", "h", {"transB": 1, "alpha": 0.5, "beta": 2.0}), ("Gemm", "h v", "y")], c))
    assert kinds(net) == ["full", "full"] and net.static_total("dense_macs") == 20 + 15
    np.testing.assert_array_equal(net.layers[0].synapses[0].weight, 0.5 * W)


def test_matmul_on_either_side_and_over_leading_axes(tmp_path):
    check(tmp_path, model([("MatMul", "x w", "y")], {"w": W.T}))
    net = check(tmp_path, model([("MatMul", "x w", "h"), ("MatMul", "l h", "y")], {"w": W.T, "l": weights(2, 3)}, shape=(1, 3, 4)))
    assert kinds(net) == ["convolution", "convolution"]
    assert net.static_total("dense_macs") == 3 * 4 * 5 + 2 * 3 * 5


def test_affine_is_absorbed_before_f_and_stays_behind_it(tmp_path):
    c = {"w": W, "s": weights(5), "o": weights(5), "v": weights(3, 5)}
    nodes = [("Gemm", "x w", "a", {"transB": 1}), ("Mul", "a s", "b"), ("Add", "b o", "c"), ("Relu", "c", "d"),
             ("Mul", "d s", "e"), ("Sub", "e o", "f"), ("Gemm", "f v", "y", {"transB": 1})]
    net = check(tmp_path, model(nodes, c))
    assert len(net.layers) == 2 and ops(net.layers[0]) == ["relu", "affine"]
    np.testing.assert_array_equal(net.layers[0].synapses[0].weight, W * c["s"][:, None])
    np.testing.assert_array_equal(net.layers[1].synapses[0].weight, c["v"])


def batch_norm(n):
    return {"g": weights(n), "be": weights(n), "m": weights(n), "va": np.abs(weights(n)) + 0.1}


def test_batch_norm_after_conv_is_absorbed(tmp_path):
    c = {"w": weights(3, 2, 3, 2), **batch_norm(3), "v": weights(3, 3, 1, 1)}
    nodes = [("Conv", "x w", "a", {"pads": [1, 0, 2, 1], "strides": [2, 1]}), ("BatchNormalization", "a g be m va", "b"),
             ("Elu", "b", "c"), ("Conv", "c v", "y")]
    net = check(tmp_path, model(nodes, c, shape=(1, 2, 6, 5)), tolerance=1e-7)
    assert kinds(net) == ["convolution"] * 2 and ops(net.layers[0]) == ["elu"]


def test_batch_norm_before_padded_conv_is_never_folded_across_the_padding(tmp_path):
    c = {"w": weights(3, 2, 3, 3), **batch_norm(2), "u": weights(2, 3, 1, 1), "v": weights(3, 2, 3, 3)}
    pads = {"pads": [1, 1, 1, 1]}
    net = check(tmp_path, model([("BatchNormalization", "x g be m va", "a"), ("Conv", "a w", "y", pads)], c, shape=(1, 2, 4, 4)), 1e-6)
    assert [op.op for op in net.input.encoder.ops] == ["Mul", "Add"]
    nodes = [("Conv", "x w", "a", pads), ("Relu", "a", "b"), ("Conv", "b u", "c"), ("Tanh", "c", "d"),
             ("BatchNormalization", "d g be m va", "e"), ("Conv", "e v", "y", pads)]
    net = check(tmp_path, model(nodes, c, shape=(1, 2, 4, 4)), 1e-6)
    assert ops(net.layers[1]) == ["tanh", "affine"]


def test_residual_is_an_identity_group(tmp_path):
    c = {"w": weights(2, 2, 3, 3), "v": weights(2, 2, 3, 3), "f": weights(1, 2, 1, 1)}
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [("Conv", "x w", "a", pads), ("Relu", "a", "b"), ("Conv", "b v", "c", pads), ("Add", "c b", "d"), ("Relu", "d", "e"),
             ("Conv", "e f", "y")]
    net = check(tmp_path, model(nodes, c, shape=(1, 2, 4, 4)))
    assert kinds(net) == ["convolution", "convolution+identity", "convolution"]
    assert net.static_total("dense_macs") == 2 * 2 * 2 * 10 * 10 + 2 * 16


@pytest.mark.parametrize("op", ["Add", "Sub"])
@pytest.mark.parametrize("operands", ["a b", "b a"])
def test_branches_merge_into_one_accumulator(tmp_path, op, operands):
    c = {"w": W, "v": weights(5, 4), "z": weights(5, 5)}
    both = [("Gemm", "x w", "a", {"transB": 1}), ("Gemm", "x v", "b", {"transB": 1})]
    net = check(tmp_path, model([*both, (op, operands, "s"), ("Relu", "s", "r"), ("MatMul", "r z", "y")], c))
    assert kinds(net) == ["full", "full"] and len(net.layers[0].synapses) == 2
    one = [("Gemm", "x w", "a", {"transB": 1}), ("Gemm", "x v", "q", {"transB": 1}), ("Tanh", "q", "b")]
    net = check(tmp_path, model([*one, (op, operands, "y")], c))
    assert kinds(net) == ["full", "full+identity"]


def test_add_of_a_tensor_to_itself_and_of_activations(tmp_path):
    c = {"w": W, "z": weights(5, 5)}
    nodes = [("Gemm", "x w", "a", {"transB": 1}), ("Relu", "a", "r"), ("Tanh", "a", "t"), ("Sub", "r t", "s"), ("Add", "s s", "q"),
             ("MatMul", "q z", "y")]
    net = check(tmp_path, model(nodes, c))
    assert [layer.kind for layer in net.layers][:1] == ["full"] and net.static_total("dense_macs") == 45


def test_concat_reads_each_source_by_its_own_group(tmp_path):
    c = {"w": weights(2, 3, 3, 3), "v": weights(3, 3, 3, 3), "f": weights(2, 5, 2, 2)}
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [("Conv", "x w", "a", pads), ("Relu", "a", "b"), ("Conv", "x v", "c", pads), ("Relu", "c", "d"),
             ("Concat", "b d", "e", {"axis": 1}), ("Conv", "e f", "y")]
    net = check(tmp_path, model(nodes, c, shape=(1, 3, 4, 4)))
    last = net.layers[-1]
    assert [s.weight.shape[1] for s in last.synapses] == [2, 3] and len(last.synapses) == 2
    assert net.static_counts[-1]["dense_macs"] == 2 * 5 * 4 * 9


def test_concat_along_space_leaves_cells_elsewhere(tmp_path):
    c = {"w": weights(2, 2, 1, 1), "v": weights(2, 2, 1, 1), "f": weights(3, 2, 3, 3)}
    nodes = [("Conv", "x w", "a"), ("Conv", "x v", "b"), ("Concat", "a b", "e", {"axis": 3}), ("Conv", "e f", "y", {"pads": [1] * 4})]
    net = check(tmp_path, model(nodes, c, shape=(1, 2, 3, 3)))
    padded = 3 * 2 * 9 * 3 * 6
    assert net.static_counts[-1]["padded_dense_macs"] >= net.static_counts[-1]["dense_macs"] and padded > 0


def test_slices_split_and_pad_are_views(tmp_path):
    c = {"w": weights(4, 2, 1, 1), "v": weights(3, 2, 2, 2), "st": np.array([1]), "en": np.array([3]), "ax": np.array([2]),
         "p": np.array([0, 0, 1, 0, 0, 0, 0, 2]), "half": np.array([2, 2])}
    nodes = [("Conv", "x w", "a"), ("Relu", "a", "b"), ("Split", "b half", "l r", {"axis": 1}), ("Slice", "r st en ax", "s"),
             ("Pad", "s p", "t"), ("Conv", "t v", "y")]
    net = check(tmp_path, model(nodes, c, shape=(1, 2, 4, 4)))
    assert kinds(net) == ["convolution", "convolution"]


def test_flatten_order_and_keras_style_transposes(tmp_path):
    c = {"w": weights(3, 2, 2, 2), "v": weights(3 * 9, 4)}
    nodes = [("Transpose", "x", "t", {"perm": [0, 3, 1, 2]}), ("Conv", "t w", "a"), ("Relu", "a", "b"),
             ("Transpose", "b", "c", {"perm": [0, 2, 3, 1]}), ("Flatten", "c", "d"), ("MatMul", "d v", "y")]
    net = check(tmp_path, model(nodes, c, shape=(1, 4, 4, 2)))
    assert net.layers[0].synapses[0].view is None and net.layers[1].synapses[0].view is None
    nodes = [("Conv", "x w", "a"), ("Flatten", "a", "d"), ("MatMul", "d v", "y")]
    assert check(tmp_path, model(nodes, c, shape=(1, 2, 4, 4))).layers[1].synapses[0].view is not None


@pytest.mark.parametrize("gate", [("Sigmoid", {}, "swish"), ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, "hard_swish")])
def test_swish_is_one_activation(tmp_path, gate):
    op, attributes, name = gate
    nodes = [("Gemm", "x w", "a", {"transB": 1}), (op, "a", "s", attributes), ("Mul", "s a", "b"), ("MatMul", "b z", "y")]
    net = check(tmp_path, model(nodes, {"w": W, "z": weights(5, 2)}), tolerance=1e-6)
    assert ops(net.layers[0]) == [name]
    net = check(tmp_path, model(nodes[:3] + [("Identity", "b", "y")], {"w": W}), tolerance=1e-6)
    assert len(net.layers) == 1 and net.decoder.ops


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 0, 1, 1]}, {"pads": [1, 0, 1, 1], "count_include_pad": 1},
                                        {"ceil_mode": 1}, {"auto_pad": "SAME_UPPER"}])
def test_average_pool_scales_in_f(tmp_path, attributes):
    attributes = {"kernel_shape": [2, 3], "strides": [2, 2], **attributes}
    nodes = [("Conv", "x w", "a"), ("Relu", "a", "b"), ("AveragePool", "b", "y", attributes)]
    net = check(tmp_path, model(nodes, {"w": weights(3, 2, 1, 1)}, shape=(1, 2, 6, 7)))
    assert kinds(net)[-1] == "sum_pool" and ops(net.layers[-1]) == ["affine"]
    assert net.static_total("dense_macs") == 3 * 2 * 42


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 1, 1, 1]}, {"dilations": [2, 1]}, {"ceil_mode": 1}])
def test_max_pool(tmp_path, attributes):
    attributes = {"kernel_shape": [2, 2], "strides": [2, 1], **attributes}
    nodes = [("Conv", "x w", "a"), ("MaxPool", "a", "b", attributes), ("Relu", "b", "c"), ("Conv", "c v", "y")]
    net = check(tmp_path, model(nodes, {"w": weights(3, 2, 1, 1), "v": weights(1, 3, 1, 1)}, shape=(1, 2, 5, 5)))
    assert kinds(net) == ["convolution", "max_pool", "convolution"] and ops(net.layers[1]) == ["relu"]


def test_max_pool_of_a_padded_tensor_sees_zeros(tmp_path):
    nodes = [("Conv", "x w", "a"), ("Pad", "a p", "b"), ("MaxPool", "b", "c", {"kernel_shape": [2, 2]}), ("Conv", "c v", "y")]
    c = {"w": -np.abs(weights(3, 2, 1, 1)), "v": weights(1, 3, 1, 1), "p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    assert "identity" in kinds(check(tmp_path, model(nodes, c, shape=(1, 2, 3, 3))))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(tmp_path, op):
    nodes = [("Conv", "x w", "a"), (op, "a", "b"), ("Flatten", "b", "c"), ("MatMul", "c v", "y")]
    check(tmp_path, model(nodes, {"w": weights(3, 2, 1, 1), "v": weights(3, 2)}, shape=(1, 2, 3, 4)))


@pytest.mark.parametrize("axes", [[2, 3], [1, 2]])
def test_reduce_mean_over_space_is_a_pool(tmp_path, axes):
    nodes = [("Conv", "x w", "a"), ("Relu", "a", "b"), ("ReduceMean", "b", "y", {"axes": axes, "keepdims": 0})]
    net = check(tmp_path, model(nodes, {"w": weights(3, 2, 1, 1)}, shape=(1, 2, 3, 4)))
    assert kinds(net)[-1] == "sum_pool" and not net.decoder.ops


def test_depthwise_grouped_dilated_and_1d(tmp_path):
    c = {"w": weights(4, 1, 3, 2), "v": weights(6, 2, 2, 2), "f": weights(2, 6, 3)}
    nodes = [("Conv", "x w", "a", {"group": 4, "dilations": [2, 1], "auto_pad": "SAME_LOWER"}), ("Relu", "a", "b"),
             ("Conv", "b v", "c", {"group": 2}), ("ReduceMean", "c", "d", {"axes": [3], "keepdims": 0}),
             ("Conv", "d f", "y", {"pads": [1, 0]})]
    check(tmp_path, model(nodes, c, shape=(1, 4, 6, 5)))


def test_encoder_commutes_with_index_maps_and_stays_off_the_network(tmp_path):
    c = {"w": weights(2, 3, 2, 2), "m": weights(3, 1, 1), "k": np.array(255.0)}
    nodes = [("Div", "x k", "a"), ("Transpose", "a", "b", {"perm": [0, 3, 1, 2]}), ("Sub", "b m", "c"), ("Conv", "c w", "y")]
    net = check(tmp_path, model(nodes, c, shape=(1, 4, 4, 3)))
    assert [op.op for op in net.input.encoder.ops] == ["Div", "Sub"] and len(net.layers) == 1


def test_input_with_two_readers_gets_identity_layers(tmp_path):
    nodes = [("Relu", "x", "a"), ("Gemm", "a w", "b", {"transB": 1}), ("Gemm", "x w", "c", {"transB": 1}), ("Add", "b c", "y")]
    net = check(tmp_path, model(nodes, {"w": W}))
    assert kinds(net)[0] == "identity" and not net.input.encoder.ops


def test_decoder_takes_what_follows_the_last_weights(tmp_path):
    c = {"w": W, "b": weights(5), "s": np.array(2.0)}
    nodes = [("MatMul", "x w", "a"), ("Add", "a b", "b1"), ("Tanh", "b1", "t"), ("Mul", "t s", "y")]
    net = check(tmp_path, model(nodes, {**c, "w": W.T}))
    assert [op.op for op in net.decoder.ops] == ["Tanh", "Mul"]
    np.testing.assert_array_equal(net.layers[0].bias, c["b"])


def test_dueling_head_has_two_output_parts(tmp_path):
    c = {"w": W.T, "v": weights(5, 1), "a": weights(5, 3)}
    nodes = [("MatMul", "x w", "h0"), ("Relu", "h0", "h"), ("MatMul", "h v", "V"), ("MatMul", "h a", "A"),
             ("ReduceMean", "A", "M", {"axes": [1]}), ("Sub", "A M", "D"), ("Add", "V D", "y")]
    net = check(tmp_path, model(nodes, c))
    assert len(net.outputs) == 2 and [op.op for op in net.decoder.ops] == ["ReduceMean", "Sub", "Add"]


def test_quantile_mean_softmax_argmax_and_split_tail(tmp_path):
    c = {"w": weights(4, 6), "sh": np.array([1, 3, 2])}
    nodes = [("MatMul", "x w", "a"), ("Reshape", "a sh", "b"), ("ReduceMean", "b", "q", {"axes": [2], "keepdims": 0}),
             ("Softmax", "q", "p", {"axis": 1}), ("Split", "p", "l r m", {"axis": 1}), ("Concat", "r l", "y", {"axis": 1})]
    check(tmp_path, model(nodes, c))
    check(tmp_path, model([("MatMul", "x w", "a"), ("ArgMax", "a", "y", {"axis": 1, "keepdims": 0})], c))
    check(tmp_path, model([("MatMul", "x w", "a"), ("ReduceLogSumExp", "a", "l", {"axes": [1]}), ("Sub", "a l", "y")], c))


def test_output_concat_of_two_heads_and_a_split_read_directly(tmp_path):
    c = {"w": W.T, "v": weights(4, 2)}
    net = check(tmp_path, model([("MatMul", "x w", "a"), ("MatMul", "x v", "b"), ("Concat", "b a", "y", {"axis": 1})], c))
    assert len(net.outputs) == 2
    net = check(tmp_path, model([("MatMul", "x w", "a"), ("Split", "a", "y z", {"axis": 1, "name": "s"})], {"w": weights(4, 6)}))
    assert net.outputs[0].elements.tolist() == [[0, 1, 2]] and not net.decoder.ops


def test_output_choice_prunes_nodes_not_rows(tmp_path):
    c = {"w": W.T, "v": weights(5, 2), "u": weights(5, 1)}
    nodes = [("MatMul", "x w", "h0"), ("Relu", "h0", "h"), ("MatMul", "h u", "value"), ("MatMul", "h v", "actions")]
    m = model(nodes, c, outputs=("value", "actions"))
    net = check(tmp_path, m)
    assert net.output_name == "actions" and any("pruned: value" in note for note in net.notes)
    assert net.static_total("dense_macs") == 30 and check(tmp_path, m, output="value").static_total("dense_macs") == 25


def test_initialisers_that_are_also_inputs_and_symbolic_shapes_fold(tmp_path):
    from onnx import TensorProto, helper

    c = {"w": weights(3, 2, 2, 2), "v": weights(27, 4), "one": np.array([0]), "minus": np.array([-1])}
    nodes = [("Conv", "x w", "a"), ("Shape", "a", "s"), ("Gather", "s one", "n", {"axis": 0}), ("Concat", "n minus", "t", {"axis": 0}),
             ("Reshape", "a t", "b"), ("MatMul", "b v", "y")]
    extra = [helper.make_tensor_value_info("w", TensorProto.DOUBLE, (3, 2, 2, 2))]
    net = check(tmp_path, model(nodes, c, shape=("N", 2, 4, 4), extra_inputs=extra))
    assert net.output_shape == (4,)


def test_clip_of_both_opset_forms(tmp_path):
    c = {"w": W.T, "z": weights(5, 2), "lo": np.array(-0.5), "hi": np.array(0.7)}
    check(tmp_path, model([("MatMul", "x w", "a"), ("Clip", "a lo hi", "b"), ("MatMul", "b z", "y")], c))
    check(tmp_path, model([("MatMul", "x w", "a"), ("Clip", "a", "b", {"min": -0.5, "max": 0.7}), ("MatMul", "b z", "y")],
                          {"w": W.T, "z": c["z"]}, opset=9, elem=1), tolerance=1e-5)


def test_dequantised_weights(tmp_path):
    c = {"q": np.arange(-10, 10, dtype=np.int8).reshape(4, 5), "s": np.linspace(0.1, 0.5, 5), "z": np.arange(5, dtype=np.int8)}
    m = model([("DequantizeLinear", "q s z", "w", {"axis": 1}), ("MatMul", "x w", "y")], c, elem=1, opset=19)
    net = check(tmp_path, m, tolerance=1e-6)
    assert net.static_total("dense_macs") == 20


def test_names_come_from_weights(tmp_path):
    c = {"net.fc1.weight": W, "0.weight": weights(3, 5)}
    net = check(tmp_path, model([("Gemm", "x net.fc1.weight", "a", {"transB": 1}), ("Relu", "a", "b"),
                                 ("Gemm", "b 0.weight", "y", {"transB": 1, "name": ""})], c))
    assert [layer.name for layer in net.layers] == ["net.fc1", "fc1"]
