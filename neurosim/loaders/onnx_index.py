"""Index maps: operators that only move elements, as numpy on an array of element numbers.

Each map takes the node, the live array and the constant operands, and returns one array per
output. It is applied to element numbers, so it costs no neurons, and is exact by construction.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurosim.loaders.drafts import Unsupported
from neurosim.loaders.onnx_graph import Node

Operands = list[np.ndarray | None]


def _integers(node: Node, operands: Operands, i: int, attribute: str) -> list[int] | None:
    """Integers from attribute (older opsets) or constant operand i (newer); None where neither is given."""
    if attribute in node.attributes:
        return [int(v) for v in np.ravel(node.attributes[attribute])]
    operand = operands[i] if i < len(operands) else None
    if operand is not None:
        return [int(v) for v in np.ravel(operand)]
    if i < len(node.inputs) and node.inputs[i]:
        raise Unsupported(f"its operand '{node.inputs[i]}' is not constant; export with static shapes, or pass input_shape")
    return None


def _reshape(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    shape = _integers(node, operands, 1, "shape") or []
    if not node.attributes.get("allowzero", 0):
        shape = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(shape)]
    try:
        return [x.reshape(shape)]
    except ValueError:
        raise Unsupported(f"{x.shape} ({x.size:,} elements) cannot be reshaped to {tuple(shape)}; "
                          "if the batch is written into the shape, export with batch 1") from None


def _flatten(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    axis = node.attributes.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return [x.reshape(int(np.prod(x.shape[:axis])), -1)]


def _transpose(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    return [x.transpose(node.attributes.get("perm"))]


def _squeeze(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    axes = _integers(node, operands, 1, "axes")
    return [np.squeeze(x) if axes is None else np.squeeze(x, tuple(axes))]


def _unsqueeze(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    return [np.expand_dims(x, tuple(_integers(node, operands, 1, "axes") or ()))]


def _slice(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    starts, ends = _integers(node, operands, 1, "starts") or [], _integers(node, operands, 2, "ends") or []
    axes = _integers(node, operands, 3, "axes") or list(range(len(starts)))
    steps = _integers(node, operands, 4, "steps") or [1] * len(starts)
    index: list[slice] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        n = x.shape[axis]
        start, end = (v + n if v < 0 else v for v in (start, end))
        if step > 0:
            index[axis] = slice(max(0, start), max(0, end), step)
        else:
            index[axis] = slice(min(n - 1, start), end if end >= 0 else None, step)
    return [x[tuple(index)]]


def _split(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    axis = node.attributes.get("axis", 0)
    sizes = _integers(node, operands, 1, "split")
    if sizes is None:
        n_parts = node.attributes.get("num_outputs", len(node.outputs))
        size = -(-x.shape[axis] // n_parts)
        sizes = [size] * (n_parts - 1) + [x.shape[axis] - size * (n_parts - 1)]
    if sum(sizes) != x.shape[axis]:
        raise Unsupported(f"parts {sizes} do not add up to the {x.shape[axis]} elements of axis {axis}")
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _pad(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    mode = node.attributes.get("mode", "constant")
    pads = _integers(node, operands, 1, "pads") or []
    axes = _integers(node, operands, 3, "axes") or list(range(x.ndim))
    value = node.attributes.get("value", operands[2] if len(operands) > 2 and operands[2] is not None else 0.0)
    if mode == "constant" and np.any(np.asarray(value) != 0):
        raise Unsupported(f"pads with {float(np.ravel(value)[0]):g}; only zeros can be padded")
    amounts = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        amounts[axis] = (pads[i], pads[i + len(axes)])
    cut = tuple(slice(max(0, -low), n - max(0, -high)) for (low, high), n in zip(amounts, x.shape))
    grow = [(max(0, low), max(0, high)) for low, high in amounts]
    if mode == "constant":
        return [np.pad(x[cut], grow, constant_values=-1)]
    return [np.pad(x[cut], grow, mode=mode)]


def _gather(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    if len(operands) < 2 or operands[1] is None:
        raise Unsupported("its indices are not constant; a live index is not supported")
    return [np.take(x, operands[1].astype(np.int64), node.attributes.get("axis", 0))]


def _expand(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    shape = _integers(node, operands, 1, "shape") or []
    return [np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))]


def _depth_to_space(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    n, c, h, w = x.shape
    b = node.attributes["blocksize"]
    if node.attributes.get("mode", "DCR") == "DCR":
        y = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return [y.reshape(n, c // b**2, h * b, w * b)]


def _space_to_depth(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    n, c, h, w = x.shape
    b = node.attributes["blocksize"]
    order = (0, 3, 5, 1, 2, 4) if node.attributes.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return [x.reshape(n, c, h // b, b, w // b, b).transpose(order).reshape(n, c * b * b, h // b, w // b)]


def _unchanged(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    if node.op == "Dropout" and len(operands) > 2 and operands[2] is not None and np.any(operands[2]):
        raise Unsupported("Dropout in training mode; export after model.eval()")
    if len([o for o in node.outputs if o]) > 1:
        raise Unsupported("its mask output is used; export after model.eval()")
    return [x]


INDEX_MAPS: dict[str, Callable[[Node, np.ndarray, Operands], list[np.ndarray]]] = {
    "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
    "Slice": _slice, "Split": _split, "Pad": _pad, "Gather": _gather, "Expand": _expand,
    "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Identity": _unchanged, "Dropout": _unchanged,
}
"""Operator -> (node, live array, operands) -> arrays. Concat, which has several live operands, is in `onnx_lower`."""


def apply_index_map(node: Node, x: np.ndarray, operands: Operands) -> list[np.ndarray]:
    """Apply a map; numpy's complaints about axes and shapes become `Unsupported`."""
    try:
        return INDEX_MAPS[node.op](node, x, operands)
    except (ValueError, IndexError, TypeError, KeyError) as error:
        if isinstance(error, Unsupported):
            raise
        raise Unsupported(f"shapes do not agree: input {x.shape}: {error}") from None
