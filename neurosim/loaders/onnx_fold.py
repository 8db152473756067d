"""Constant folding by onnxscript's optimizer, with sizes checked *before* anything is evaluated.

Its own limits look at the result, which for ``Expand`` to 1e12 elements is too late; here every
foldable operator states how many elements it will make first.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.loaders.drafts import Unsupported
from neurosim.loaders.operators import OPERATORS

if TYPE_CHECKING:
    import onnx

MAX_FOLDED = 1 << 26
MAX_ROUNDS = 4
_NEVER = ("DequantizeLinear", "QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "Conv",
          "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "LSTM",
          "GRU", "RNN")


def fold(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with constant nodes evaluated; the model itself when there are none.

    Raises
    ------
    LoadError
        When a constant would have more than `MAX_FOLDED` elements.
    """
    if not _has_work(model.graph):
        return model
    from onnxscript import ir, optimizer

    too_large: list[str] = []

    def should_fold(node: Any) -> bool | None:
        if node.op_type not in OPERATORS or node.op_type in _NEVER:
            return False
        values = [None if v is None else v.const_value for v in node.inputs]
        if any(v is None and c is not None for v, c in zip(values, node.inputs)):
            return None
        size = _size(node, values)
        if size > MAX_FOLDED:
            too_large.append(f"node '{node.name or node.outputs[0].name}' ({node.op_type}) would make a constant of "
                             f"{size:,} elements > limit {MAX_FOLDED:,}")
            return False
        return True

    graph = ir.serde.deserialize_model(model)
    for _ in range(MAX_ROUNDS):
        try:
            result = optimizer.fold_constants_ir(graph, onnx_shape_inference=True, input_size_limit=MAX_FOLDED,
                                                 output_size_limit=MAX_FOLDED, should_fold=should_fold)
        except Exception as error:  # an inconsistent graph: the lowering names the node
            raise LoadError(f"{path}: constants cannot be evaluated: {str(error).splitlines()[0]}") from None
        if too_large:
            raise LoadError(f"{path}: " + "\n  ".join(dict.fromkeys(too_large)))
        if not result.modified:
            break
    optimizer.remove_unused_nodes(graph)
    return ir.serde.serialize_model(graph)


def dequantize(attributes: dict[str, Any], operands: list[Any]) -> np.ndarray:
    """(q - zero point) * scale of constant weights, in float32 as runtimes do; per tensor or along `axis`.

    Raises
    ------
    Unsupported
        On blocked quantisation.
    """
    q, scale, zero = [*operands, None][:3]
    if attributes.get("block_size", 0) or np.ndim(scale) > 1:
        raise Unsupported("blocked quantisation is not supported; quantise per tensor or per channel")
    shape = [1] * q.ndim
    if np.ndim(scale) == 1 and np.size(scale) > 1:
        shape[attributes.get("axis", 1)] = -1
    scale, zero = (np.asarray(v).reshape(shape) if np.ndim(v) else v for v in (scale, 0 if zero is None else zero))
    return (q.astype(np.int64) - np.asarray(zero).astype(np.int64)).astype(np.float32) * np.asarray(scale, np.float32)


def _has_work(graph: onnx.GraphProto) -> bool:
    """Whether any node (plain constants apart) reads only constants, or asks for a shape."""
    constant = {t.name for t in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Shape", "Size"):
            return True
        if all(name in constant for name in node.input if name):
            if node.op_type not in ("Constant", "DequantizeLinear"):
                return True
            constant.update(node.output)
    return False


def _size(node: Any, values: list[Any]) -> int:
    """Elements that the node will make from its constant operands."""
    def integers(i: int) -> list[int]:
        return [int(v) for v in np.ravel(values[i].numpy())]

    shapes = [tuple(v.shape) for v in values if v is not None]
    if node.op_type == "ConstantOfShape":
        return math.prod(integers(0))
    if node.op_type == "Expand":
        return math.prod(max(a, b) for a, b in _aligned(shapes[0], tuple(integers(1))))
    if node.op_type == "Tile":
        return math.prod(shapes[0]) * math.prod(integers(1))
    if node.op_type == "Range":
        start, limit, delta = (float(v.numpy()) for v in values)
        return max(0, math.ceil((limit - start) / delta)) if delta else MAX_FOLDED + 1
    if node.op_type == "Pad":
        amounts = integers(1) if len(values) > 1 else [0]
        return math.prod(n + max(0, *amounts) * 2 for n in shapes[0])
    if node.op_type == "Gather":
        return math.prod(shapes[1]) * math.prod(shapes[0])
    if node.op_type in ("MatMul", "Gemm"):
        return math.prod(shapes[0][:-1]) * math.prod(shapes[1]) if shapes[0] and shapes[1] else 1
    largest: tuple[int, ...] = (1,)
    for shape in shapes:
        largest = tuple(max(a, b) for a, b in _aligned(largest, shape))
    return math.prod(largest)


def _aligned(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of dimensions as broadcasting aligns them."""
    n = max(len(a), len(b))
    return list(zip((1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b))
