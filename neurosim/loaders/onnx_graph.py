"""From a checked ONNX model to a straight list of live nodes with constants folded and shapes known.

Order: choose the output, prune what it does not need, fix the batch to 1, evaluate what is
constant. Choosing an output prunes nodes, never rows of a weight.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.loaders.onnx_fold import fold
from neurosim.loaders.onnx_guard import DEFAULT_DOMAINS, to_numpy
from neurosim.loaders.operators import OPERATORS, advice

if TYPE_CHECKING:
    import onnx

PREFERRED_OUTPUTS = ("logits", "q_values")
_STATE_NAME = re.compile(r"(h|c|hx|cx|state|states|hidden|cell|lstm_states?|[hc]_?0)(_?in)?(_?[hc0-9])?", re.IGNORECASE)
"""Names of inputs that are taken for a state where the observation does not stand first."""


@dataclass
class Node:
    """One operator; attributes are Python and numpy values."""

    name: str
    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"node '{self.name or self.outputs[0]}' ({self.op})"


@dataclass
class Graph:
    """Live nodes in topological order. `input_shape` is without batch, `shapes` with it."""

    path: Path
    opset: int
    nodes: list[Node]
    constants: dict[str, np.ndarray]
    input_name: str
    input_shape: tuple[int, ...]
    batch: bool
    output: str
    shapes: dict[str, tuple[int, ...]]
    problems: list[str]
    notes: list[str]
    states: dict[str, str] = field(default_factory=dict)
    """State input -> the output from which it is fed back."""

    def readers(self) -> dict[str, int]:
        """How often each tensor is read; being the output counts as once."""
        count: dict[str, int] = {self.output: 1}
        for node in self.nodes:
            for name in filter(None, node.inputs):
                count[name] = count.get(name, 0) + 1
        return count


def read_graph(path: Path, model: onnx.ModelProto, output: str | None, input_shape: tuple[int, ...] | None) -> Graph:
    """Prune to the chosen output, fold constants, infer shapes.

    `Graph.problems` holds what is known to be refused; with problems the graph is not folded.

    Raises
    ------
    LoadError
        On an unknown output, an input shape that is not known, or a fold beyond its size limit.
    """
    import onnx

    chosen = choose_output(path, [o.name for o in model.graph.output], output)
    others = [o.name for o in model.graph.output if o.name != chosen]
    live = onnx.ModelProto()
    live.CopyFrom(model)
    pruned = _prune(live.graph, chosen)
    notes = [f"output '{chosen}'" + (f"; pruned: {', '.join(others)} ({pruned} nodes)" if others else "")]
    inputs = sorted(_live_inputs(live.graph), key=lambda i: _STATE_NAME.fullmatch(i.name) is not None)
    del live.graph.input[:]
    live.graph.input.extend(inputs)
    if not inputs:
        raise LoadError(f"{path}: output '{chosen}' depends on no input")
    shape, batch = _input_shape(path, live.graph, inputs[0], input_shape)
    states = _states(inputs[1:], others)
    problems = _unsupported(live.graph) + ([] if states else _state_inputs(inputs))
    _fix_shapes(live.graph, inputs[0], (1, *shape) if batch else shape)
    for state in inputs[1:]:
        _fix_shapes(live.graph, state, state_shape(state))
    if states:
        notes = [f"output '{chosen}'; state: " + ", ".join(f"'{i}' from '{o}'" for i, o in states.items())]
    if not problems:
        live = fold(path, live)
        _prune(live.graph, chosen)
    nodes, constants = _nodes(live.graph)
    opset = next(o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS)
    return Graph(path, opset, nodes, constants, inputs[0].name, shape, batch, chosen,
                 {**_shapes(live, problems), **{k: a.shape for k, a in constants.items()}}, problems, notes, states)


def choose_output(path: Path, names: list[str], wanted: str | None) -> str:
    """The wanted output, else the one named action*, logits or q_values, else the first."""
    if wanted is not None:
        if wanted not in names:
            raise LoadError(f"{path}: no output '{wanted}'; it has {', '.join(names)}")
        return wanted
    for name in names:
        if name.lower().startswith("action"):
            return name
    return next((n for n in PREFERRED_OUTPUTS if n in names), names[0])


def _prune(graph: onnx.GraphProto, output: str) -> int:
    """Drop, in place, nodes and initialisers that `output` does not need; returns how many nodes."""
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if any(o in needed for o in node.output if o):
            kept.append(node)
            needed.update(filter(None, node.input))
    pruned = len(graph.node) - len(kept)
    for container, keep in ((graph.node, kept[::-1]),
                            (graph.initializer, [t for t in graph.initializer if t.name in needed]),
                            (graph.input, [i for i in graph.input if i.name in needed]),
                            (graph.output, [o for o in graph.output if o.name == output])):
        keep = list(keep)
        del container[:]
        container.extend(keep)
    return pruned


def _live_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are not initialisers (IR version 3 lists those too)."""
    stored = {t.name for t in graph.initializer}
    return [i for i in graph.input if i.name not in stored]


def state_shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Shape of a state input, open axes being batches of 1."""
    return tuple(d.dim_value if d.HasField("dim_value") else 1 for d in info.type.tensor_type.shape.dim)


def _states(extras: list[onnx.ValueInfoProto], outputs: list[str]) -> dict[str, str]:
    """State input -> the output that feeds it back: in the order of both, where there are equally many; else none."""
    return {i.name: o for i, o in zip(extras, outputs)} if extras and len(extras) == len(outputs) else {}


def _state_inputs(inputs: list[onnx.ValueInfoProto]) -> list[str]:
    return [f"input '{extra.name}' besides '{inputs[0].name}': a recurrent state needs an output that feeds it "
            "back, and a second observation is not supported; export the state as an output too, or one concatenated observation"
            for extra in inputs[1:]]


def _unsupported(graph: onnx.GraphProto) -> list[str]:
    """Every node whose operator is unknown, of a custom domain, or refused with a recipe."""
    from neurosim.loaders.onnx_guard import node_name

    problems = []
    for node in graph.node:
        if node.domain not in DEFAULT_DOMAINS and (node.domain, node.op_type) != ("com.microsoft", "QGemm"):
            problems.append(f"{node_name(node)}: custom domain '{node.domain}' is not supported; export with standard operators only")
        elif node.op_type not in OPERATORS:
            problems.append(f"{node_name(node)}: operator not supported; {advice(node.op_type)}")
    return problems


def _input_shape(path: Path, graph: onnx.GraphProto, info: onnx.ValueInfoProto,
                 given: tuple[int, ...] | None) -> tuple[tuple[int, ...], bool]:
    """(shape without batch, whether there is a batch axis). A leading axis of size 1 or symbolic is the batch."""
    import onnx

    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or tensor.elem_type == onnx.TensorProto.STRING:
        raise LoadError(f"{path}: input '{info.name}' is not a numeric tensor")
    known = tensor.HasField("shape")
    dims = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim]
    declared = "[" + ", ".join(map(str, dims)) + "]" if known else "no shape"
    if given is not None:
        given = tuple(int(n) for n in given)
        if known and len(given) not in (len(dims), len(dims) - 1):
            raise LoadError(f"{path}: input_shape {given} does not go with input '{info.name}' {declared}")
        batch = not known or len(given) == len(dims) - 1
        fixed = dims[1:] if batch else dims
        if any(isinstance(d, int) and d != n for d, n in zip(fixed, given)):
            raise LoadError(f"{path}: input_shape {given} does not go with input '{info.name}' {declared}")
        return _checked(path, info.name, given), batch
    sizes = [d for d in dims if isinstance(d, int)]
    if known and len(dims) == 1 == len(sizes):
        return _checked(path, info.name, tuple(sizes)), False
    inner = [d for d in dims[1:] if isinstance(d, int)]
    if len(dims) < 2 or len(inner) < len(dims) - 1:
        raise LoadError(f"{path}: input '{info.name}' {declared} leaves its shape open; pass input_shape without batch"
                        f"{_guess(graph, info.name)}")
    if isinstance(dims[0], int) and dims[0] != 1:
        raise LoadError(f"{path}: input '{info.name}' {declared} has its batch fixed to {dims[0]}; export with batch 1 or a "
                        f"symbolic batch, or pass input_shape={tuple(dims)} if the first axis is no batch")
    return _checked(path, info.name, tuple(inner)), True


def _checked(path: Path, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if min(shape) < 1 or np.prod([float(n) for n in shape]) > 1 << 28:
        raise LoadError(f"{path}: input '{name}': shape {shape} is empty or has more than {1 << 28:,} elements")
    return shape


def _guess(graph: onnx.GraphProto, name: str) -> str:
    """A shape read off the first weight, for the message."""
    weights = {t.name: list(t.dims) for t in graph.initializer}
    for node in graph.node:
        if name in node.input and len(node.input) > 1 and node.input[1] in weights:
            dims = weights[node.input[1]]
            if node.op_type == "Conv":
                return f", for example ({dims[1]}, {', '.join(['84'] * (len(dims) - 2))}): the first weight takes {dims[1]} channels"
            if node.op_type == "MatMul":
                return f", for example ({dims[0]},)"
            if node.op_type == "Gemm":
                trans = any(a.name == "transB" and a.i for a in node.attribute)
                return f", for example ({dims[1 if trans else 0]},)"
    return ""


def _fix_shapes(graph: onnx.GraphProto, info: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    """Write the fixed input shape in place, and forget inferred shapes that may carry a symbolic batch."""
    import onnx

    del graph.value_info[:]
    for i in graph.input:
        if i.name == info.name:
            i.CopyFrom(onnx.helper.make_tensor_value_info(i.name, i.type.tensor_type.elem_type, shape))
    for o in graph.output:
        o.type.tensor_type.ClearField("shape")


def _shapes(model: onnx.ModelProto, problems: list[str]) -> dict[str, tuple[int, ...]]:
    """Static shapes that ONNX infers; empty where it refuses (the lowering then finds the node)."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:
        return {}
    found = {}
    for value in (*inferred.value_info, *inferred.output, *inferred.input):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims)
    return found


def _nodes(graph: onnx.GraphProto) -> tuple[list[Node], dict[str, np.ndarray]]:
    constants = {t.name: to_numpy(t) for t in graph.initializer}
    nodes = []
    for proto in graph.node:
        node = Node(proto.name, proto.op_type, list(proto.input), list(proto.output),
                    {a.name: _attribute(a) for a in proto.attribute})
        if node.op == "Constant":
            constants[node.outputs[0]] = np.asarray(next(iter(node.attributes.values())))
        else:
            nodes.append(node)
    return nodes, constants


def _attribute(attribute: onnx.AttributeProto) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return to_numpy(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [v.decode("utf-8", "replace") for v in value]
    return value
