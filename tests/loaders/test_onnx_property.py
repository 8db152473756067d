"""Random small convolutional graphs with asymmetric everything equal onnxruntime, or `onnx.reference` without it."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from loaders.graphs import check, model


@st.composite
def graphs(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(4, 8)), draw(st.integers(4, 8))
    shape, nodes, constants, last = (1, channels, height, width), [], {}, "x"
    size = [height, width]

    def put(op, inputs, **attributes):
        nonlocal last
        nodes.append((op, f"{last} {inputs}".strip(), f"t{len(nodes)}", attributes))
        last = f"t{len(nodes) - 1}"

    def constant(*dims, positive=False):
        name = f"c{len(constants)}"
        values = rng.standard_normal(dims)
        constants[name] = np.abs(values) + 0.1 if positive else values
        return name

    for _ in range(draw(st.integers(1, 3))):
        n_out = draw(st.integers(1, 3))
        pads = [draw(st.integers(0, 2)) for _ in range(4)]
        kernel = [draw(st.integers(1, min(3, size[a] + pads[a] + pads[a + 2]))) for a in (0, 1)]
        strides = [draw(st.integers(1, 2)) for _ in (0, 1)]
        size = [(size[a] + pads[a] + pads[a + 2] - kernel[a]) // strides[a] + 1 for a in (0, 1)]
        put("Conv", f"{constant(n_out, channels, *kernel)} {constant(n_out)}", pads=pads, strides=strides)
        channels = n_out
        middle = draw(st.sampled_from(["", "BatchNormalization", "Mul", "Skip", "Pool", "Transpose"]))
        if middle == "BatchNormalization":
            put(middle, " ".join([constant(n_out), constant(n_out), constant(n_out), constant(n_out, positive=True)]))
        elif middle == "Mul":
            put("Mul", constant(n_out, 1, 1))
        elif middle == "Skip":
            before = last
            put(draw(st.sampled_from(["Relu", "Tanh"])), "")
            put(draw(st.sampled_from(["Add", "Sub"])), before)
        elif middle == "Pool":
            kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
            put(kind, "", kernel_shape=[2, 1], pads=[1, 0, 0, 0])
        elif middle == "Transpose":
            put("Transpose", "", perm=[0, 1, 3, 2])
            size.reverse()
        put(draw(st.sampled_from(["Relu", "Tanh", "Elu", "Sigmoid", "Identity"])), "")
    put("GlobalAveragePool", "")
    put("Flatten", "")
    put("MatMul", constant(channels, 3))
    nodes.append(("Softmax" if draw(st.booleans()) else "Identity", last, "y"))
    return model(nodes, constants, shape=shape)



@given(graphs())
def test_random_graphs(m):
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), m, tolerance=1e-6, n=1)
