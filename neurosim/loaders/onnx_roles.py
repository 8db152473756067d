"""Which nodes are neurons and which run on the host.

- *strong*: convolutions, matrix products, pools. A reduction is strong over two or more spatial
  axes of a rank-4 tensor, or anywhere before another strong node.
- *residual*: the sum or difference of two branches of equal shape that are both still neurons.
- *neuron*: element-wise before some strong or residual node.
- *host*: everything else after the last synapses (the decoder). What a host node feeds is host.

Index maps have no role: they follow the value that they show.
"""

from __future__ import annotations

from neurosim.loaders.onnx_graph import Graph, Node
from neurosim.loaders.operators import OPERATORS

STRONG = ("Conv", "Gemm", "MatMul", "Cell", "QLinear", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceSum")
BINARY = ("Add", "Sub", "Mul", "Div", "Sum", "Pow", "Min", "Max", "PRelu")


def fuse_swish(graph: Graph) -> None:
    """Replace x * Sigmoid(x) and x * HardSigmoid(x), where nobody else reads the gate, by one node, in place."""
    readers = graph.readers()
    maker = {o: n for n in graph.nodes for o in n.outputs}
    fused: dict[int, Node] = {}
    gates: set[int] = set()
    for node in graph.nodes:
        if node.op != "Mul":
            continue
        for x, gate_name in (node.inputs, node.inputs[::-1]):
            gate = maker.get(gate_name)
            if gate is None or gate.inputs[:1] != [x] or readers[gate_name] != 1:
                continue
            if gate.op == "Sigmoid" or (gate.op == "HardSigmoid" and abs(gate.attributes.get("alpha", 0.2) - 1 / 6) < 1e-6
                                        and gate.attributes.get("beta", 0.5) == 0.5):
                op = "Swish" if gate.op == "Sigmoid" else "HardSwish"
                fused[id(node)] = Node(node.name, op, [x], node.outputs)
                gates.add(id(gate))
                break
    graph.nodes = [fused.get(id(n), n) for n in graph.nodes if id(n) not in gates]


def reduced_axes(node: Node, graph: Graph, rank: int) -> tuple[int, ...]:
    """Axes of a reduction, not negative; all of them where none is given."""
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1] in graph.constants:
        axes = [int(a) for a in graph.constants[node.inputs[1]].ravel()]
    if not axes:
        return () if node.attributes.get("noop_with_empty_axes") else tuple(range(rank))
    return tuple(sorted(int(a) % rank for a in axes))


class Roles:
    """The role of every node of a graph, by output name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in filter(None, node.inputs):
                self.readers.setdefault(name, []).append(node)
        self._find_data()
        self.before_strong = self._before({n.outputs[0] for n in graph.nodes if self._strong_alone(n)})
        self.strong = {n.outputs[0] for n in graph.nodes if self._strong_alone(n)
                       or (n.op in REDUCTIONS and n.outputs[0] in self.before_strong)}
        self._find_host_and_residual()
        self.before_synapses = self._before(self.strong | self.residual)

    def _find_data(self) -> None:
        """Tensors that depend on the input (or on a refused second one); the others are constants."""
        made = {o for n in self.graph.nodes for o in n.outputs}
        read = {i for n in self.graph.nodes for i in n.inputs if i}
        self.data = {self.graph.input_name} | (read - made - self.graph.constants.keys())
        for node in self.graph.nodes:
            if any(i in self.data for i in node.inputs):
                self.data.update(node.outputs)

    def data_inputs(self, node: Node) -> list[str]:
        """Operands that depend on the input."""
        return [i for i in node.inputs if i in self.data]

    def _strong_alone(self, node: Node) -> bool:
        if node.op in STRONG:
            return True
        shape = self.graph.shapes.get(node.inputs[0]) if node.op in REDUCTIONS else None
        if shape is None or len(shape) != 4:
            return False
        axes = reduced_axes(node, self.graph, 4)
        return len(axes) == 2 and 0 not in axes

    def _before(self, targets: set[str]) -> set[str]:
        """First outputs of nodes from which some target can be reached over one or more edges."""
        found: set[str] = set()
        for node in reversed(self.graph.nodes):
            for output in node.outputs:
                if any(r.outputs[0] in targets or r.outputs[0] in found for r in self.readers.get(output, ())):
                    found.add(node.outputs[0])
        return found

    def _find_host_and_residual(self) -> None:
        self.residual: set[str] = set()
        self.tainted: set[str] = set()
        for node in self.graph.nodes:
            name, operands = node.outputs[0], self.data_inputs(node)
            if name in self.strong or not operands:
                continue
            if any(o in self.tainted for o in operands) or (name not in self.before_strong and self._only_host(node, operands)):
                self.tainted.update(node.outputs)
            elif node.op in ("Add", "Sub", "Sum") and len(operands) > 1:
                self.residual.add(name)

    def _only_host(self, node: Node, operands: list[str]) -> bool:
        """Whether a node after the last strong one can only be evaluated by the host."""
        if node.op in ("Add", "Sub", "Sum") and len(operands) > 1:
            shapes = [self.graph.shapes.get(o) for o in operands]
            return None in shapes or len(set(shapes)) > 1 or len(operands) != len(node.inputs)
        treatment = OPERATORS.get(node.op)
        if treatment is None or treatment.kind == "host" or node.op in REDUCTIONS:
            return True
        return node.op in BINARY and len(operands) > 1

    def products(self) -> list[Node]:
        """Products of two live values before weights: gates, which a neuron cannot do."""
        return [n for n in self.graph.nodes if n.op in ("Mul", "Div") and len(self.data_inputs(n)) > 1
                and n.outputs[0] in self.before_strong]
