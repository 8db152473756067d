"""Linear ONNX operators and pools on the builder's primitives."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurosim.loaders.builder import Builder, Tensor
from neurosim.loaders.drafts import Unsupported
from neurosim.loaders.onnx_graph import Node
from neurosim.loaders.windows import Window, same_pads

Operands = list[np.ndarray | None]


def convolution(builder: Builder, node: Node, x: Tensor, operands: Operands, label: str) -> Tensor:
    """Conv, 1-D and 2-D; weight (and bias) constant."""
    weight = operands[1]
    if weight is None:
        raise Unsupported("its weight is not constant")
    bias = operands[2] if len(operands) > 2 and operands[2] is not None else 0.0
    if weight.ndim not in (3, 4) or weight.ndim != len(x.shape):
        raise Unsupported(f"input {x.shape} with weight {weight.shape}: only 1-D and 2-D convolutions are supported")
    window = window_of(node, x, weight.shape[2:])
    return builder.convolution(x, weight, bias, window, node.attributes.get("group", 1), label)


def matrix_product(builder: Builder, node: Node, values: list[Any], label: str) -> Tensor:
    """MatMul with one constant operand, on either side."""
    left, right = values
    if isinstance(right, np.ndarray):
        weight = _matrix(right)
        y = builder.full(left, weight.T, 0.0, label)
        return Tensor(y.index.reshape(left.shape[:-1])) if right.ndim == 1 else y
    if isinstance(left, np.ndarray):
        weight = _matrix(left[None] if left.ndim == 1 else left)
        x = right.index[:, None] if len(right.shape) == 1 else right.index
        y = builder.full(Tensor(x.swapaxes(-1, -2)), weight, 0.0, label).index.swapaxes(-1, -2)
        y = y[..., 0] if len(right.shape) == 1 else y
        return Tensor(y[..., 0, :] if left.ndim == 1 and y.ndim > 1 else y)
    raise Unsupported("both operands are live: a product of two activations (attention) is not supported")


def _matrix(weight: np.ndarray) -> np.ndarray:
    if weight.ndim == 1:
        return weight[:, None]
    if weight.ndim > 2 and np.prod(weight.shape[:-2]) != 1:
        raise Unsupported(f"its constant operand {weight.shape} is a stack of matrices; one matrix is supported")
    return weight.reshape(weight.shape[-2:])


def gemm(builder: Builder, node: Node, values: list[Any], label: str) -> Tensor:
    """alpha * A' * B' + beta * C with A or B constant and C constant or left out."""
    a, b = values[:2]
    c = values[2] if len(values) > 2 and values[2] is not None else np.zeros(())
    alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    if not isinstance(c, np.ndarray):
        raise Unsupported("its C is live; write the addition as an Add")
    if isinstance(a, Tensor) and isinstance(b, np.ndarray):
        x = a.index.T if node.attributes.get("transA") else a.index
        weight = b if node.attributes.get("transB") else b.T
        bias = c
        swap = False
    elif isinstance(a, np.ndarray) and isinstance(b, Tensor):
        x = b.index if node.attributes.get("transB") else b.index.T
        weight = a.T if node.attributes.get("transA") else a
        bias = c.T if c.ndim == 2 else c.reshape(-1, 1) if c.ndim == 1 else c
        swap = True
    else:
        raise Unsupported("both operands are live: a product of two activations is not supported")
    if x.ndim != 2:
        raise Unsupported(f"its input has shape {x.shape}, not a matrix")
    weight = weight.astype(np.float64) * alpha
    shape = (x.shape[0], weight.shape[0])
    bias = np.broadcast_to(np.asarray(bias, np.float64) * beta, shape)
    y = builder.full(Tensor(x), weight, bias[None], label)
    return Tensor(y.index.T) if swap else y


def pool(builder: Builder, node: Node, x: Tensor, label: str) -> Tensor:
    """MaxPool, AveragePool and their global forms."""
    if len([o for o in node.outputs if o]) > 1:
        raise Unsupported("its indices output is used")
    spatial = x.shape[2:]
    maximum = "Max" in node.op
    if node.op.startswith("Global"):
        if len(spatial) not in (1, 2):
            raise Unsupported(f"its input has shape {x.shape}; only 1-D and 2-D pools are supported")
        return builder.pool(x, Window(_pair(spatial, 1), (1, 1)), maximum, not maximum, label=label)
    window = window_of(node, x, tuple(node.attributes.get("kernel_shape", ())))
    return builder.pool(x, window, maximum, not maximum, bool(node.attributes.get("count_include_pad", 0)), label)


def window_of(node: Node, x: Tensor, kernel: tuple[int, ...]) -> Window:
    """Window from a node's attributes: strides, dilations, pads or auto_pad, ceil_mode."""
    n = len(kernel)
    if n not in (1, 2) or len(x.shape) != n + 2:
        raise Unsupported(f"input {x.shape} with kernel {tuple(kernel)}: only 1-D and 2-D windows are supported")
    declared = node.attributes.get("kernel_shape", kernel)
    if tuple(declared) != tuple(kernel):
        raise Unsupported(f"kernel_shape {tuple(declared)} differs from the weight's {tuple(kernel)}")
    strides = tuple(node.attributes.get("strides", (1,) * n))
    dilations = tuple(node.attributes.get("dilations", (1,) * n))
    auto = node.attributes.get("auto_pad", "NOTSET")
    pads = tuple(node.attributes.get("pads", (0,) * 2 * n))
    begin, end = pads[:n], pads[n:]
    if auto == "VALID":
        begin = end = (0,) * n
    elif auto.startswith("SAME"):
        pairs = [same_pads(x.shape[2 + i], (kernel[i] - 1) * dilations[i] + 1, strides[i], auto == "SAME_UPPER") for i in range(n)]
        begin, end = (tuple(p[k] for p in pairs) for k in (0, 1))
    return Window(_pair(kernel, 1), _pair(strides, 1), _pair(dilations, 1), _pair(begin, 0), _pair(end, 0),
                  bool(node.attributes.get("ceil_mode", 0)))


def _pair(values: tuple[int, ...], fill: int) -> tuple[int, int]:
    """1-D windows lie along x."""
    values = tuple(int(v) for v in values)
    return (fill, values[0]) if len(values) == 1 else (values[0], values[1])
