"""Quantised ONNX graphs as networks of whole numbers.

A quantised tensor holds q; here it holds q - zero point, so that 0 means 0, padding is exact and nothing is sent for a zero point.
Convolutions and matrix products between quantised tensors become one node ``QLinear``::

    y = clip(round(M sum (w - zero) (x - zero) + M bias)),   M = scale_x scale_w / scale_y in float32, round half to even

which is what integer runtimes compute. Both forms are read: operators (QLinearConv, QLinearMatMul, QGemm) and
DequantizeLinear - operator - QuantizeLinear. The first QuantizeLinear is the encoder, the last DequantizeLinear the decoder.

Where a graph does between quantised tensors what whole numbers cannot do exactly (sums of tensors of different scales, averages),
nothing is replaced: QuantizeLinear and DequantizeLinear are then steps of f on real numbers, after their ONNX definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.loaders.builder import Builder, Tensor
from neurosim.loaders.drafts import Step, Unsupported, X
from neurosim.loaders.grids import Grid, grid
from neurosim.loaders.onnx_graph import Graph, Node
from neurosim.loaders.onnx_index import INDEX_MAPS
from neurosim.loaders.onnx_linear import convolution

OPERATORS = ("QLinearConv", "QLinearMatMul", "QGemm")
@dataclass(frozen=True)
class Sum:
    """A convolution or matrix product of a quantised tensor, not yet quantised itself."""

    node: Node
    x: str
    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None
    rectified: bool = False


class NotWhole(Exception):
    """What cannot be done in whole numbers; the text says which node and why."""


def fuse_quantised(graph: Graph) -> None:
    """Put the whole-number nodes in place, or leave the graph as it is and say why; see the head of this module."""
    if not any(node.op in ("QuantizeLinear", *OPERATORS) for node in graph.nodes):
        return
    try:
        fusion = _Fusion(graph)
        fusion.run()
    except NotWhole as reason:
        graph.problems += [f"{node.where}: it has no meaning in real numbers, and whole numbers cannot do this graph: {reason}"
                           for node in graph.nodes if node.op in OPERATORS]
        graph.notes.append(f"quantised values are computed as real numbers, not for fixed numerics: {reason}")
        return
    except Unsupported as error:
        graph.problems.append(str(error))
        return
    graph.nodes = fusion.made
    graph.constants = graph.constants | fusion.constants
    graph.notes.append("quantised: sums of quantised tensors are sums of whole numbers")


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.grids: dict[str, Grid] = {}
        self.values: dict[str, Any] = {}
        """What a real tensor is: ("whole", name of the quantised tensor), ("weights", q, grid, axis) or a `Sum`."""

    def run(self) -> None:
        for node in self.graph.nodes:
            self._node(node)
        if self.graph.output in self.grids:
            raise NotWhole("the output is a quantised tensor without DequantizeLinear")
        self._real(self.graph.output)

    def _constants(self, node: Node) -> list[np.ndarray | None]:
        found = [self.graph.constants.get(name) if name else None for name in node.inputs]
        return [*found, *[None] * (9 - len(found))]

    def _node(self, node: Node) -> None:
        kinds = [self.values.get(name) for name in node.inputs]
        if node.op == "DequantizeLinear":
            self._dequantise(node)
        elif node.op == "QuantizeLinear":
            self._quantise(node)
        elif node.op in OPERATORS:
            self._operator(node)
        elif node.op in ("Conv", "Gemm", "MatMul") and isinstance(kinds[0], tuple) and kinds[0][0] == "whole":
            self.values[node.outputs[0]] = self._sum(node, kinds)
        elif any(isinstance(k, Sum) for k in kinds):
            self._after_sum(node, kinds)
        elif isinstance(kinds[0], tuple) and kinds[0][0] == "whole" and (node.op in INDEX_MAPS or node.op in ("MaxPool", "Relu")) \
                and node.op not in ("Concat", "Cast"):
            self._moved(node, kinds[0][1])
        else:
            for name in node.inputs:
                self._real(name)
            if node.inputs[0] in self.grids:
                self._moved_whole(node)
            self.made.append(node)

    def _moved_whole(self, node: Node) -> None:
        """Index maps and MaxPool on quantised tensors themselves."""
        if node.op in ("Pad", "Concat", "Cast") or node.op not in INDEX_MAPS and node.op != "MaxPool":
            raise NotWhole(f"{node.where}: it reads a quantised tensor")
        for output in node.outputs:
            self.grids[output] = self.grids[node.inputs[0]]

    def _real(self, name: str) -> None:
        """Make a real tensor real where an ordinary node reads it."""
        value = self.values.get(name)
        if isinstance(value, Sum):
            raise NotWhole(f"{value.node.where}: its result is read before it is quantised")
        if isinstance(value, tuple) and value[0] == "whole":
            scale = f"{name} scale"
            self.constants[scale] = self.grids[value[1]].scale
            self.made.append(Node(name, "Mul", [value[1], scale], [name]))
            self.values[name] = None
        elif isinstance(value, tuple):
            _, q, own, axis = value
            shape = [-1 if a == axis % max(q.ndim, 1) and own.scale.size > 1 else 1 for a in range(q.ndim)]
            zero = np.broadcast_to(own.zero, own.scale.shape).reshape(shape)
            self.constants[name] = ((q - zero).astype(np.float32) * own.scale.reshape(shape)).astype(np.float32)
            self.values[name] = None

    def _dequantise(self, node: Node) -> None:
        c = self._constants(node)
        if c[0] is not None:
            made = grid(node.where, c[1], c[0].dtype.type(0) if c[2] is None else c[2], one=False)
            self.values[node.outputs[0]] = ("weights", c[0].astype(np.int64), made, int(node.attributes.get("axis", 1)))
            return
        name = node.inputs[0]
        if name not in self.grids:
            raise NotWhole(f"{node.where}: its input is not quantised here")
        own, given = grid(node.where, c[1], c[2]), self.grids[name]
        if (own.scale, own.zero) != (given.scale, given.zero):
            raise NotWhole(f"{node.where}: another scale or zero point than that of its input")
        self.values[node.outputs[0]] = ("whole", name)

    def _quantise(self, node: Node) -> None:
        c, x = self._constants(node), self.values.get(node.inputs[0])
        own, out = grid(node.where, c[1], c[2]), node.outputs[0]
        self.grids[out] = own
        if isinstance(x, Sum):
            self.made.append(self._linear(x, own, out, node.name))
        elif isinstance(x, tuple) and x[0] == "whole":
            given = self.grids[x[1]]
            if (own.scale, own.zero) != (given.scale, given.zero):
                raise NotWhole(f"{node.where}: quantised again to another scale")
            self.made.append(Node(node.name, "Identity", [x[1]], [out]))
        elif self._from_input(node.inputs[0]):
            self.made.append(Node(node.name, "Quantize", [node.inputs[0]], [out], {"grid": own}))
        else:
            raise NotWhole(f"{node.where}: what it quantises is not made of quantised tensors alone")

    def _from_input(self, name: str) -> bool:
        """Whether a tensor follows from the input without synapses."""
        maker = {o: n for n in self.made for o in n.outputs}
        while name != self.graph.input_name:
            node = maker.get(name)
            live = [i for i in node.inputs if i and i not in self.graph.constants and i not in self.constants] if node else []
            if node is None or len(live) != 1 or node.op in ("Conv", "Gemm", "MatMul", "QLinear"):
                return False
            name = live[0]
        return True

    def _sum(self, node: Node, kinds: list[Any]) -> Sum:
        x = kinds[0][1]
        if not isinstance(kinds[1], tuple) or kinds[1][0] != "weights":
            raise NotWhole(f"{node.where}: its weights are not quantised")
        if node.op == "Gemm" and (node.attributes.get("alpha", 1.0) != 1 or node.attributes.get("beta", 1.0) != 1
                                  or node.attributes.get("transA", 0)):
            raise NotWhole(f"{node.where}: alpha, beta or transA")
        _, q, own, axis = kinds[1]
        outputs = 0 if node.op == "Conv" or node.attributes.get("transB", 0) else 1
        weight = _weights(node.where, q, own, axis, outputs)
        scale = self.grids[x].scale * own.scale
        return Sum(node, x, weight, scale, self._bias(node, kinds, scale, weight.shape[outputs]))

    def _bias(self, node: Node, kinds: list[Any], scale: np.ndarray, n: int) -> np.ndarray | None:
        if len(node.inputs) < 3 or not node.inputs[2]:
            return None
        constant, kind = self.graph.constants.get(node.inputs[2]), kinds[2]
        if isinstance(kind, tuple) and kind[0] == "weights" and np.all(kind[2].zero == 0):
            if not np.allclose(kind[2].scale, scale, rtol=1e-6, atol=0):
                raise NotWhole(f"{node.where}: its bias has another scale than its sums")
            return np.broadcast_to(kind[1], (n,))
        if constant is None:
            raise NotWhole(f"{node.where}: its bias is not constant")
        whole = np.asarray(constant, np.float64) / scale
        if np.any(np.abs(whole - np.rint(whole)) > 1e-3):
            raise NotWhole(f"{node.where}: its bias is no whole multiple of the scale of its sums")
        return np.broadcast_to(np.rint(whole).reshape(-1), (n,))

    def _after_sum(self, node: Node, kinds: list[Any]) -> None:
        """Relu, or the bias of a MatMul; nothing else stands between a sum and its QuantizeLinear."""
        total = next(k for k in kinds if isinstance(k, Sum))
        if node.op == "Relu":
            self.values[node.outputs[0]] = Sum(total.node, total.x, total.weight, total.scale, total.bias, True)
            return
        other = [i for i, k in zip(node.inputs, kinds) if k is not total]
        if node.op == "Add" and total.bias is None and len(other) == 1 and total.node.op == "MatMul":
            added = Node(node.name, "Gemm", [*total.node.inputs, other[0]], node.outputs)
            bias = self._bias(added, [None, None, self.values.get(other[0])], total.scale, total.weight.shape[1])
            self.values[node.outputs[0]] = Sum(total.node, total.x, total.weight, total.scale, bias)
            return
        raise NotWhole(f"{node.where}: it stands between a sum and its QuantizeLinear")

    def _moved(self, node: Node, x: str) -> None:
        """Index maps, MaxPool and Relu on the whole numbers themselves."""
        outputs = [f"{o} whole" for o in node.outputs]
        for o, whole in zip(node.outputs, outputs):
            self.grids[whole], self.values[o] = self.grids[x], ("whole", whole)
        if node.op == "Pad":
            raise NotWhole(f"{node.where}: padding between quantised tensors")
        self.made.append(Node(node.name, node.op, [x, *node.inputs[1:]], outputs, node.attributes))

    def _linear(self, total: Sum, own: Grid, output: str, name: str) -> Node:
        low, high = own.bounds
        multiplier = (total.scale / own.scale).astype(np.float32)
        attributes = {**total.node.attributes, "base": total.node.op, "weight": total.weight, "bias": total.bias, "multiplier": multiplier,
                      "low": max(low, 0.0) if total.rectified else low, "high": high}
        return Node(total.node.name or name, "QLinear", [total.x], [output], attributes)

    def _operator(self, node: Node) -> None:
        """QLinearConv, QLinearMatMul, QGemm."""
        c = self._constants(node)
        x = node.inputs[0]
        if x not in self.grids or c[3] is None or x in self.graph.constants:
            raise NotWhole(f"{node.where}: its input is not quantised here, or its weights are not constant")
        given = grid(node.where, c[1], c[2])
        if (given.scale, given.zero) != (self.grids[x].scale, self.grids[x].zero):
            raise NotWhole(f"{node.where}: another scale or zero point than that of its input")
        weights = grid(node.where, c[4], c[5], one=False)
        base = "Conv" if node.op == "QLinearConv" else "Gemm" if node.op == "QGemm" else "MatMul"
        if node.op == "QGemm" and (node.attributes.get("alpha", 1.0) != 1 or node.attributes.get("transA", 0)):
            raise NotWhole(f"{node.where}: alpha or transA")
        outputs = 0 if base == "Conv" or node.attributes.get("transB", 0) else 1
        weight = _weights(node.where, c[3].astype(np.int64), weights, outputs, outputs)
        b, ys, yz = (c[8], c[6], c[7]) if node.op == "QLinearConv" else (c[6], c[7], c[8]) if node.op == "QGemm" else (None, c[6], c[7])
        bias = None if b is None else np.broadcast_to(np.asarray(b, np.float64).reshape(-1), (weight.shape[outputs],))
        if ys is None:
            raise NotWhole(f"{node.where}: its result is not quantised")
        own = grid(node.where, ys, yz)
        self.grids[node.outputs[0]] = own
        plain = Node(node.name, base, [x], node.outputs, node.attributes)
        self.made.append(self._linear(Sum(plain, x, weight, given.scale * weights.scale, bias), own, node.outputs[0], node.name))


def _weights(where: str, q: np.ndarray, own: Grid, axis: int, outputs: int) -> np.ndarray:
    """q - zero of weights, float64; scales per output alone."""
    if own.scale.size > 1:
        if axis % q.ndim != outputs or own.scale.size != q.shape[outputs]:
            raise Unsupported(f"{where}: {own.scale.size} scales along axis {axis} of weights {q.shape}; one per output is supported")
        shape = [1] * q.ndim
        shape[outputs] = -1
        return (q - np.broadcast_to(own.zero, own.scale.shape).reshape(shape)).astype(np.float64)
    return (q - own.zero.reshape(-1)[0]).astype(np.float64)


def quantised_sum(builder: Builder, node: Node, x: Tensor, label: str) -> Tensor:
    """A `QLinear` node: synapses of whole numbers, and a requantising f."""
    a = node.attributes
    bias = np.zeros(1) if a["bias"] is None else np.asarray(a["bias"], np.float64)
    if a["base"] == "Conv":
        y = convolution(builder, node, x, [None, a["weight"], bias if bias.size > 1 else np.zeros(a["weight"].shape[0])], label)
        shape = (1, -1, *[1] * (len(y.shape) - 2))
    else:
        weight = a["weight"] if a.get("transB", 0) else a["weight"].T
        y, shape = builder.full(x, weight, bias, label), (1, -1)
    multiplier = np.asarray(a["multiplier"], np.float64)
    per_channel = multiplier.reshape(shape) if multiplier.size > 1 else multiplier.reshape(())
    low, high = np.asarray(a["low"]), np.asarray(a["high"])
    neuron = (("requantize", (np.broadcast_to(per_channel, y.shape),)), ("clip", (low, high)))
    return builder.elementwise(y, Step(neuron, (("Mul", (X, per_channel), {}),)), label)
