"""ONNX graph -> Network: nodes in order onto the builder's primitives, the tail onto the decoder.

Each tensor is a constant (ndarray), a `Tensor` of element numbers, or a `HostValue` of the
decoder. A node that is refused does not stop the pass: what depends on it is skipped, and all
refusals are reported at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.loaders.builder import Tensor
from neurosim.loaders.builder_neurons import NeuronBuilder
from neurosim.loaders.drafts import PREVIOUS, Unsupported, X
from neurosim.loaders.host_tape import HostTape, HostValue
from neurosim.loaders.naming import label_of
from neurosim.loaders.onnx_elementwise import STEPS, step_of
from neurosim.loaders.onnx_fold import dequantize
from neurosim.loaders.onnx_graph import Graph, Node
from neurosim.loaders.onnx_index import INDEX_MAPS, apply_index_map
from neurosim.loaders.onnx_linear import convolution, gemm, matrix_product, pool
from neurosim.loaders.onnx_quantised import fuse_quantised, quantised_sum
from neurosim.loaders.onnx_recurrent import fuse_cells
from neurosim.loaders.onnx_roles import REDUCTIONS, Roles, fuse_swish, reduced_axes
from neurosim.network import Network

_REFUSED = object()


def lower(graph: Graph, name: str) -> Network:
    """Lower a graph.

    Raises
    ------
    LoadError
        Listing every node that is refused, why, and what would help.
    """
    if not graph.problems:
        fuse_quantised(graph)
        fuse_cells(graph)
    fuse_swish(graph)
    roles = Roles(graph)
    problems = list(graph.problems)
    if problems:
        problems += [f"{n.where}: product of two activations (a gate); only x * Sigmoid(x) and x * HardSigmoid(x) are supported"
                     for n in roles.products()]
        raise LoadError(_listing(graph, problems))
    try:
        return _Lowering(graph, roles).run(name)
    except Unsupported as error:
        raise LoadError(f"{graph.path}: output '{graph.output}': {error}") from None


def _listing(graph: Graph, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{graph.path}: {problems[0]}"
    return f"{graph.path}: {len(problems)} problems:\n  " + "\n  ".join(problems)


class _Lowering:
    """State of one pass over the nodes."""

    def __init__(self, graph: Graph, roles: Roles) -> None:
        self.graph, self.roles = graph, roles
        self.builder = NeuronBuilder(graph.input_name, graph.input_shape, graph.batch)
        self.tape = HostTape(self.builder)
        self.values: dict[str, Any] = dict(graph.constants)
        self.readers = graph.readers()

    def run(self, name: str) -> Network:
        problems: list[str] = []
        self._set(self.graph.input_name, self.builder.input_tensor())
        for node in self.graph.nodes:
            operands = [self.values.get(i) if i else None for i in node.inputs]
            outputs: list[Any] = [_REFUSED] * len(node.outputs)
            if not any(o is _REFUSED for o in operands):
                try:
                    outputs = self._node(node, operands)
                except Unsupported as error:
                    problems.append(f"{node.where}: {error}")
            for output, value in zip(node.outputs, outputs):
                self._set(output, value)
        if problems:
            raise LoadError(_listing(self.graph, problems))
        return self._finish(name)

    def _set(self, name: str, value: Any) -> None:
        self.values[name] = value
        if isinstance(value, Tensor) and self.readers.get(name, 0) > 1:
            self.builder.share(value)

    def _finish(self, name: str) -> Network:
        output = self.values[self.graph.output]
        if isinstance(output, np.ndarray):
            raise Unsupported("it is constant")
        if isinstance(output, Tensor):
            self.tape.argument(output)
        if not self.tape.parts:
            raise Unsupported("no synapses stand before it")
        encoder = [op.op for op in self.builder.encoder]
        program = self.tape.program()
        notes = [*self.graph.notes]
        if encoder:
            notes.append("encoder on the host: " + " -> ".join(encoder))
        if program.ops:
            notes.append("decoder on the host: " + program.describe())
        return self.builder.finish(self.tape.parts, program, name, self.graph.output, tuple(notes))

    def _node(self, node: Node, operands: list[Any]) -> list[Any]:
        """Values of the node's outputs."""
        live = [o for o in operands if isinstance(o, Tensor | HostValue)]
        constants = [o if isinstance(o, np.ndarray) else None for o in operands]
        if not live:
            return self._constant(node, constants)
        if node.op == "Cast":
            return [self._cast(node, live[0])]
        if node.op in INDEX_MAPS:
            return self._index_map(node, live, operands, constants)
        if node.op == "Concat":
            return [self._concat(node, operands)]
        if any(isinstance(o, HostValue) for o in live) or self._is_host(node, live, constants):
            return [self._host(node, operands, constants)]
        made = self._neurons(node, [o for o in live if isinstance(o, Tensor)], operands, constants)
        if node.op != "Cell":
            return [made]
        shape = node.attributes["shape"]  # an operator's second output lacks the axis of directions
        return [Tensor(made.index.reshape(s)) for s in (shape, shape[1:])][: len(node.outputs)]

    def _cell(self, node: Node, live: list[Tensor]) -> Tensor:
        """The hidden values of a recurrent cell."""
        if len(live) != len(node.inputs):
            raise Unsupported("a recurrent cell reads what is constant, or what only the host can evaluate")
        a = node.attributes
        return self.builder.cell(a["kind"], list(zip(live, a["weights"])), a["recurrent"], a["bias"], a["kind"])

    @staticmethod
    def _constant(node: Node, constants: list[Any]) -> list[Any]:
        """What folding leaves: dequantised weights, and index maps on them."""
        if node.op == "DequantizeLinear":
            return [dequantize(node.attributes, constants)]
        if node.op in INDEX_MAPS and node.op != "Pad":
            return apply_index_map(node, constants[0], constants)
        raise Unsupported("its operands are constant but it could not be evaluated while loading")

    def _is_host(self, node: Node, live: list[Any], constants: list[Any]) -> bool:
        """Whether a node on live tensors belongs to the decoder; a bias right after weights does not."""
        name = node.outputs[0]
        roles = self.roles
        if name in roles.strong or name in roles.residual or name in roles.before_synapses:
            return False
        if node.op == "Add" and len(live) == 1 and live[0].shape == np.broadcast_shapes(
                live[0].shape, *(c.shape for c in constants if c is not None)):
            draft = self.builder.pending(live[0])
            return draft is None or not draft.weighted
        return True

    # ---- neurons ------------------------------------------------------------------------

    def _neurons(self, node: Node, live: list[Tensor], operands: list[Any], constants: list[Any]) -> Tensor:
        label = label_of(next((i for i, c in zip(node.inputs, constants) if c is not None and c.ndim > 1), ""), node.name)
        builder, x = self.builder, live[0]
        if node.op == "Conv":
            if not isinstance(operands[0], Tensor):
                raise Unsupported("a convolution of a constant with a live weight is not supported")
            return convolution(builder, node, x, constants, label)
        if node.op == "Gemm":
            return gemm(builder, node, operands, label)
        if node.op == "MatMul":
            return matrix_product(builder, node, operands, label)
        if node.op == "Cell":
            return self._cell(node, live)
        if node.op == "QLinear":
            return quantised_sum(builder, node, x, label)
        if node.op.endswith("Pool"):
            return pool(builder, node, x, label)
        if node.op in REDUCTIONS:
            axes = reduced_axes(node, self.graph, len(x.shape))
            if not axes:
                return x
            return builder.reduce(x, axes, bool(node.attributes.get("keepdims", 1)), node.op[6:].lower(), label)
        if len(live) > 1:
            return self._branches(node, live, constants, label)
        step = step_of(node, constants, x.shape)
        if step is None:
            raise Unsupported("it stands before weights, where neurons cannot evaluate it; it is possible after the last weights")
        return builder.elementwise(x, step, label)

    def _branches(self, node: Node, live: list[Tensor], constants: list[Any], label: str) -> Tensor:
        if node.op in ("Mul", "Div"):
            raise Unsupported("product of two activations (a gate); only x * Sigmoid(x) and x * HardSigmoid(x) are supported")
        if node.op not in ("Add", "Sub", "Sum"):
            raise Unsupported("it joins two live values; only Add and Sub of branches are supported")
        total = live[0]
        for branch in live[1:]:
            total = self.builder.add(total, branch, -1 if node.op == "Sub" else 1, label)
        for c in constants:
            if c is not None:
                total = self.builder.elementwise(total, STEPS["Add"](Node("", "Add", [], []), [None, c], total.shape), label)
        return total

    # ---- index maps ---------------------------------------------------------------------

    def _index_map(self, node: Node, live: list[Any], operands: list[Any], constants: list[Any]) -> list[Any]:
        x = operands[0]
        if not isinstance(x, Tensor | HostValue) or len(live) > 1:
            raise Unsupported("only its first operand may be live")
        if isinstance(x, HostValue):
            return self._host_index_map(node, x, constants)
        outputs = [Tensor(np.ascontiguousarray(y)) for y in apply_index_map(node, x.index, constants)]
        if sum(self.readers.get(o, 0) > 0 for o in node.outputs) > 1:
            self.builder.share(x)
        return outputs

    def _host_index_map(self, node: Node, x: HostValue, constants: list[Any]) -> list[HostValue]:
        order = np.arange(x.sample.size).reshape(x.shape)
        outputs = []
        for y in apply_index_map(node, order, constants):
            if (y < 0).any():
                raise Unsupported("padding in the decoder is not supported")
            if y.shape == x.shape and np.array_equal(y, order):
                outputs.append(x)
            elif y.size == order.size and np.array_equal(y.ravel(), order.ravel()):
                outputs.append(self.tape.reshape(x, y.shape))
            elif node.op == "Transpose":
                outputs.append(self.tape.emit("Transpose", [x], {"perm": node.attributes.get("perm")}))
            else:
                outputs.append(self.tape.emit("Gather", [self.tape.reshape(x, (x.sample.size,)), np.ascontiguousarray(y)], {"axis": 0}))
        return outputs

    def _concat(self, node: Node, operands: list[Any]) -> Any:
        axis = node.attributes.get("axis", 1)
        constant = any(isinstance(o, np.ndarray) and np.any(o != 0) for o in operands)
        tail = node.outputs[0] not in self.roles.before_synapses
        if any(isinstance(o, HostValue) for o in operands) or (constant and tail):
            return self.tape.emit("Concat", [self._hosted(o) for o in operands], {"axis": axis})
        if constant:
            raise Unsupported("it joins live values with non-zero constants; fold the constants into the next bias")
        index = [o.index if isinstance(o, Tensor) else np.full(o.shape, -1, np.int64) for o in operands]
        try:
            return Tensor(np.concatenate(index, axis))
        except ValueError as error:
            raise Unsupported(f"shapes do not agree: {', '.join(str(i.shape) for i in index)} ({error})") from None

    # ---- host ---------------------------------------------------------------------------

    def _hosted(self, operand: Any) -> Any:
        return self.tape.argument(operand) if isinstance(operand, Tensor) else operand

    def _cast(self, node: Node, x: Any) -> Any:
        import onnx

        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"]))
        if kind.name in ("float16", "float32", "float64"):
            return x
        if kind.kind not in "iub":
            raise Unsupported(f"casts live values to {kind.name}, which rounds them; export in float32")
        if node.outputs[0] in self.roles.before_synapses:
            raise Unsupported(f"casts live values to {kind.name} before weights; only floating types are supported there")
        return self.tape.emit("Cast", [self._hosted(x)], {"to": kind.name})

    def _host(self, node: Node, operands: list[Any], constants: list[Any]) -> HostValue:
        hosted = [self._hosted(o) for o in operands]
        live = [o for o in hosted if isinstance(o, HostValue)]
        if node.outputs[0] in self.roles.strong or node.op in ("Conv", "Gemm", "MatMul") or node.op.endswith("Pool"):
            raise Unsupported("it follows an operator that only the host can evaluate, so it cannot be neurons")
        if node.op in STEPS and len(live) == 1 and node.op not in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum"):
            return self._host_step(node, live[0], constants)
        if node.op == "Sum":
            total = hosted[0]
            for other in hosted[1:]:
                total = self.tape.emit("Add", [total, other])
            return total
        return self.tape.emit(node.op, *self._host_call(node, hosted, live[0].shape))

    def _host_step(self, node: Node, x: HostValue, constants: list[Any]) -> HostValue:
        y = x
        for op, operands, attributes in STEPS[node.op](node, constants, x.shape).host:
            named = {X: x, PREVIOUS: y}
            y = self.tape.emit(op, [named[o] if isinstance(o, str) else o for o in operands], attributes)
        return y

    def _host_call(self, node: Node, hosted: list[Any], shape: tuple[int, ...]) -> tuple[list[Any], dict[str, Any]]:
        """Operands and attributes of a decoder operator in the form of `HOST_OPS`."""
        attributes, rank = node.attributes, len(shape)
        if node.op in ("Softmax", "LogSoftmax"):
            axis = attributes.get("axis", -1 if self.graph.opset >= 13 else 1) % rank
            if self.graph.opset < 13 and axis != rank - 1 and np.prod(shape[axis + 1:]) != 1:
                raise Unsupported(f"before opset 13 it works on the axes from {axis} joined; export with opset 13 or later")
            return hosted[:1], {"axis": axis}
        if node.op == "ArgMax":
            if attributes.get("select_last_index", 0):
                raise Unsupported("select_last_index is not supported")
            return hosted[:1], {"axis": attributes.get("axis", 0) % rank, "keepdims": attributes.get("keepdims", 1)}
        if node.op.startswith("Reduce"):
            axes = reduced_axes(node, self.graph, rank)
            if not axes:
                raise Unsupported("it reduces over no axes")
            return hosted[:1], {"axes": list(axes), "keepdims": attributes.get("keepdims", 1)}
        if node.op == "GatherElements":
            if not isinstance(hosted[1], np.ndarray):
                raise Unsupported("its indices are not constant")
            axis = attributes.get("axis", 0) % rank
            return [hosted[0], hosted[1] % shape[axis]], {"axis": axis}
        return hosted, {}
