"""Recurrent cells in an ONNX graph: operators LSTM, GRU and RNN, and cells that an exporter took apart.

Each is replaced by one node ``Cell`` that reads the inputs and gives the hidden values; the tensors that held the state
become state of the network, cleared by a reset. Equations and gate orders: the ONNX operators of the same names, and
torch.nn.LSTMCell, GRUCell, RNNCell. What comes close to a cell but is not one is left alone, and refused by name afterwards.

A tensor is traced back to a *linear form*: rows of weights for each tensor that it is made of. ::

    z = Sigmoid(split(W x + b)[1] + split(U h + c)[1])   ->   {x: W[n:2n], h: U[n:2n]}, b[n:2n] + c[n:2n]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.loaders.drafts import Unsupported
from neurosim.loaders.onnx_graph import Graph, Node
from neurosim.loaders.onnx_index import INDEX_MAPS, apply_index_map

CELLS = ("LSTM", "GRU", "RNN")
PORTS = {"rnn": 1, "lstm": 4, "gru": 4}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Blocks of ONNX weights (i o f c; z r h) in the order of ours (i f g o; r z n)."""


@dataclass(frozen=True)
class Linear:
    """Values of a shape as sums: `terms` tensor name -> weight (values, elements of that tensor); `bias` (values,)."""

    terms: dict[str, np.ndarray]
    bias: np.ndarray
    shape: tuple[int, ...]

    def rows(self, index: np.ndarray) -> Linear:
        """The values at `index` (any shape)."""
        flat = index.reshape(-1)
        return Linear({name: w[flat] for name, w in self.terms.items()}, self.bias[flat], index.shape)

    def plus(self, other: Linear) -> Linear:
        """The sum of two."""
        terms = dict(self.terms)
        for name, w in other.terms.items():
            terms[name] = terms[name] + w if name in terms else w
        return Linear(terms, self.bias + other.bias, self.shape)

    def but(self, name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Terms without one tensor, and that tensor's weight."""
        return {k: w for k, w in self.terms.items() if k != name}, self.terms[name]


def fuse_cells(graph: Graph) -> None:
    """Replace recurrent cells by `Cell` nodes, in place; adds to `graph.problems` what is left of the state inputs."""
    _Fusion(graph).run()


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.maker = {o: n for n in graph.nodes for o in n.outputs}
        self.of_state: dict[str, set[int]] = {name: set() for name in graph.states}

    def run(self) -> None:
        graph = self.graph
        for node in [n for n in graph.nodes if n.op in CELLS]:
            try:
                self._put(node, self._operator(node))
            except Unsupported as error:
                graph.problems.append(f"{node.where}: {error}")
        recognisers = {"Add": self._gru_cell, "Mul": self._lstm_cell, "Tanh": self._rnn_cell}
        for op, recognise in recognisers.items() if graph.states else ():  # the gates of an LSTM look like an RNN: it comes last
            for node in [n for n in graph.nodes if n.op == op]:
                cell = recognise(node.outputs[0])
                if cell is not None:
                    self._put(node, cell)
        self._prune()
        self._check_states()

    def _put(self, node: Node, cell: Node) -> None:
        self.graph.nodes = [cell if n is node else n for n in self.graph.nodes]
        for output in cell.outputs:
            self.maker[output] = cell

    def _prune(self) -> None:
        """Drop nodes that nothing reads any more."""
        needed, kept = {self.graph.output}, []
        for node in reversed(self.graph.nodes):
            if any(o in needed for o in node.outputs if o):
                kept.append(node)
                needed.update(filter(None, node.inputs))
        self.graph.nodes = kept[::-1]

    def _check_states(self) -> None:
        """Every element of every state input belongs to one cell, and nothing else reads it."""
        if self.graph.problems:
            return  # what is wrong with a cell explains why its state is left over
        for name, used in self.of_state.items():
            readers = [n.where for n in self.graph.nodes if name in n.inputs]
            if readers:
                self.graph.problems.append(
                    f"input '{name}' is read by {readers[0]}, which is no recurrent cell that is known (LSTM, GRU, RNN, or what torch "
                    "makes of LSTMCell, GRUCell, RNNCell); a second observation is not supported: concatenate the observations")
            elif len(used) != int(np.prod(self.graph.shapes.get(name, (0,)))):
                self.graph.problems.append(f"input '{name}': only {len(used)} of its elements are the state of a recurrent cell")

    # ---- tracing ------------------------------------------------------------------------

    def _shape(self, name: str) -> tuple[int, ...] | None:
        return self.graph.shapes.get(name)

    def _constants(self, node: Node) -> list[np.ndarray | None]:
        return [self.graph.constants.get(i) if i else None for i in node.inputs]

    def _state(self, name: str) -> tuple[str, np.ndarray] | None:
        """(state input, its elements) that a tensor shows, through index maps; None where it is no state."""
        if name in self.graph.states:
            shape = self._shape(name)
            return None if shape is None else (name, np.arange(int(np.prod(shape))).reshape(shape))
        node = self.maker.get(name)
        if node is None or node.op not in INDEX_MAPS or node.op in ("Pad", "Concat"):
            return None
        found = self._state(node.inputs[0])
        if found is None:
            return None
        return found[0], apply_index_map(node, found[1], self._constants(node))[node.outputs.index(name)]

    def _own(self, name: str) -> np.ndarray | None:
        """Elements of a state that no cell has yet, which are then taken; None where the tensor is no such state."""
        found = self._state(name)
        if found is None:
            return None
        state, elements = found[0], found[1].reshape(-1)
        if self.of_state[state] & set(elements.tolist()) or len(set(elements.tolist())) != elements.size:
            return None
        self.of_state[state] |= set(elements.tolist())
        return elements

    def _linear(self, name: str) -> Linear | None:
        """The tensor as sums of others, or None where it is not made by weights."""
        node = self.maker.get(name)
        if node is None:
            return None
        constants = self._constants(node)
        if node.op in ("Gemm", "MatMul") and constants[0] is None and constants[1] is not None:
            return self._product(node, constants)
        if node.op == "Add":
            known = [c for c in constants if c is not None]
            parts = [self._linear(i) for i, c in zip(node.inputs, constants) if c is None]
            if any(p is None for p in parts) or not parts:
                return None
            total = parts[0]
            for part in parts[1:]:
                assert total is not None and part is not None
                if part.bias.size != total.bias.size:
                    return None
                total = total.plus(part)
            for c in known:
                assert total is not None
                try:
                    bias = np.broadcast_to(c, total.shape).reshape(-1)
                except ValueError:
                    return None
                total = Linear(total.terms, total.bias + bias, total.shape)
            return total
        if node.op in INDEX_MAPS and node.op not in ("Pad", "Concat", "Cast"):
            whole = self._linear(node.inputs[0])
            if whole is None:
                return None
            order = np.arange(whole.bias.size).reshape(whole.shape)
            return whole.rows(apply_index_map(node, order, constants)[node.outputs.index(name)])
        return None

    def _product(self, node: Node, constants: list[np.ndarray | None]) -> Linear | None:
        weight = np.asarray(constants[1], np.float64)
        alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
        if weight.ndim != 2 or node.attributes.get("transA", 0):
            return None
        rows = weight if node.attributes.get("transB", 0) else weight.T
        bias = np.zeros(len(rows))
        if node.op == "Gemm":
            rows = rows * alpha
            if len(constants) > 2 and node.inputs[2]:
                if constants[2] is None:
                    return None
                bias = bias + beta * np.broadcast_to(constants[2], (1, len(rows))).reshape(-1)
        shape = self._shape(node.outputs[0]) or (1, len(rows))
        if int(np.prod(shape)) != len(rows):
            return None
        return Linear({node.inputs[0]: rows}, bias, shape)

    def _operands(self, name: str, op: str, n: int = 2) -> list[str] | None:
        """Live operands of a node of one kind."""
        node = self.maker.get(name)
        return list(node.inputs) if node is not None and node.op == op and len(node.inputs) == n else None

    # ---- cells that were taken apart ----------------------------------------------------

    def _is_one(self, name: str) -> bool:
        c = self.graph.constants.get(name)
        return c is not None and bool(np.all(c == 1))

    def _gru_parts(self, name: str) -> tuple[str, str, str] | None:
        """(h, z, n) of h' = (h - n) z + n or (1 - z) n + z h."""
        added = self._operands(name, "Add")
        for a, b in (added, added[::-1]) if added else ():
            first, second = self._operands(a, "Mul"), self._operands(b, "Mul")
            for d, z in (first, first[::-1]) if first else ():
                difference = self._operands(d, "Sub")
                if difference and difference[1] == b and self._state(difference[0]):
                    return difference[0], z, b
                if difference and second and self._is_one(difference[0]):
                    zz = difference[1]
                    h = second[1] if second[0] == zz else second[0] if second[1] == zz else None
                    if h is not None and self._state(h):
                        return h, zz, z
        return None

    def _gru_cell(self, name: str) -> Node | None:
        parts = self._gru_parts(name)
        if parts is None:
            return None
        h, z, n = parts
        gate, new = self._operands(z, "Sigmoid", 1), self._operands(n, "Tanh", 1)
        added = self._operands(new[0], "Add") if new else None
        if gate is None or added is None:
            return None
        for p, q in (added, added[::-1]):
            product = self._operands(q, "Mul")
            for r, hn in (product, product[::-1]) if product else ():
                reset = self._operands(r, "Sigmoid", 1)
                forms = [self._linear(t) for t in (reset[0], gate[0], p, hn)] if reset else [None]
                if all(f is not None for f in forms):
                    return self._cell("gru", name, h, [f for f in forms if f is not None])
        return None

    def _lstm_cell(self, name: str) -> Node | None:
        out = self._operands(name, "Mul")
        for o, squashed in (out, out[::-1]) if out else ():
            gate, inner = self._operands(o, "Sigmoid", 1), self._operands(squashed, "Tanh", 1)
            added = self._operands(inner[0], "Add") if inner else None
            if gate is None or added is None:
                continue
            for kept, fresh in (added, added[::-1]):
                found = self._lstm_sum(kept, fresh)
                if found is None:
                    continue
                c, f, i, g = found
                forms = [self._linear(t) for t in (i, f, g, gate[0])]
                if any(form is None for form in forms):
                    continue
                hidden = {t for form in forms if form is not None for t in form.terms if self._state(t)}
                if len(hidden) == 1 and self._own(c) is not None:
                    return self._cell("lstm", name, hidden.pop(), [form for form in forms if form is not None])
        return None

    def _lstm_sum(self, kept: str, fresh: str) -> tuple[str, str, str, str] | None:
        """(c, f, i, g) of sigmoid(f) c + sigmoid(i) tanh(g)."""
        left, right = self._operands(kept, "Mul"), self._operands(fresh, "Mul")
        for f, c in (left, left[::-1]) if left else ():
            for i, g in (right, right[::-1]) if right else ():
                forget, entry, new = self._operands(f, "Sigmoid", 1), self._operands(i, "Sigmoid", 1), self._operands(g, "Tanh", 1)
                if forget and entry and new and self._state(c):
                    return c, forget[0], entry[0], new[0]
        return None

    def _rnn_cell(self, name: str) -> Node | None:
        inner = self._operands(name, "Tanh", 1)
        form = self._linear(inner[0]) if inner else None
        hidden = [t for t in form.terms if self._state(t)] if form else []
        return self._cell("rnn", name, hidden[0], [form]) if form and len(hidden) == 1 else None

    def _cell(self, kind: str, name: str, h: str, forms: list[Linear]) -> Node | None:
        """The node of a cell from the linear forms of its ports; None where they do not make one."""
        n = forms[0].bias.size
        shape = self._shape(name)
        if any(f.bias.size != n for f in forms) or shape is None or int(np.prod(shape)) != n:
            return None
        if kind == "gru" and (h in forms[2].terms or set(forms[3].terms) != {h}):
            return None
        elements = self._own(h)
        if elements is None or elements.size != n:
            return None
        names = list(dict.fromkeys(t for f in forms for t in f.terms if t != h))
        weights, recurrent = {t: np.zeros((n, len(forms), 0)) for t in names}, np.zeros((n, len(forms), n))
        for t in names:
            width = next(f.terms[t].shape[1] for f in forms if t in f.terms)
            weights[t] = np.stack([f.terms.get(t, np.zeros((n, width))) for f in forms], axis=1)
        for port, f in enumerate(forms):
            if h in f.terms:
                recurrent[:, port] = f.terms[h]
        bias = np.stack([f.bias for f in forms], axis=1)
        attributes = {"kind": kind, "weights": [weights[t] for t in names], "recurrent": recurrent, "bias": bias, "shape": shape}
        return Node(self.maker[name].name, "Cell", names, [name], attributes)

    # ---- operators ----------------------------------------------------------------------

    def _operator(self, node: Node) -> Node:
        """The node of an LSTM, GRU or RNN operator of one timestep."""
        kind, attributes = node.op, node.attributes
        self._check_operator(node)
        constants = [*self._constants(node), *[None] * 8]
        names = [*node.inputs, *[""] * 8]
        if constants[1] is None or constants[2] is None or names[3] and constants[3] is None:
            raise Unsupported("its weights are not constant")
        n = int(attributes["hidden_size"]) if "hidden_size" in attributes else constants[2].shape[-1]
        blocks = len(_ORDER[kind])
        w, u = (np.asarray(c, np.float64) for c in (constants[1], constants[2]))
        b = np.zeros((1, 2 * blocks * n)) if constants[3] is None else np.asarray(constants[3], np.float64)
        if w.shape[:2] != (1, blocks * n) or u.shape != (1, blocks * n, n) or b.shape != (1, 2 * blocks * n):
            raise Unsupported(f"its weights have the shapes {w.shape}, {u.shape}, {b.shape}; expected (1, {blocks * n}, inputs), "
                              f"(1, {blocks * n}, {n}), (1, {2 * blocks * n})")
        for i, what in ((5, "h"), (6, "c"))[: 2 if kind == "LSTM" else 1]:
            elements = self._own(names[i]) if names[i] else None
            if elements is None or elements.size != n:
                raise Unsupported(f"its initial {what} is no input of the model, so the model forgets between calls; export with the state "
                                  "as inputs and outputs, one timestep per call")
        w, u = (a.reshape(blocks, n, -1)[list(_ORDER[kind])].transpose(1, 0, 2) for a in (w[0], u[0]))
        bw, bu = (a.reshape(blocks, n)[list(_ORDER[kind])].T for a in (b[0, : blocks * n], b[0, blocks * n:]))
        bias = bw + bu
        if kind == "GRU":  # the new value's sums over inputs and over the hidden state are kept apart
            zero_w, zero_u = np.zeros_like(w[:, :1]), np.zeros_like(u[:, :1])
            w, u = np.concatenate([w, zero_w], axis=1), np.concatenate([u[:, :2], zero_u, u[:, 2:]], axis=1)
            bias = np.stack([bias[:, 0], bias[:, 1], bw[:, 2], bu[:, 2]], axis=1)
        outputs = [o for o in node.outputs[:2]]
        return Node(node.name, "Cell", [names[0]], outputs, {
            "kind": kind.lower(), "weights": [w], "recurrent": u, "bias": bias, "shape": (1, 1, 1, n)})

    def _check_operator(self, node: Node) -> None:
        kind, attributes = node.op, node.attributes
        x = self._shape(node.inputs[0])
        if attributes.get("direction", "forward") != "forward":
            raise Unsupported(f"direction {attributes['direction']!r}: a policy cannot see later inputs; export a forward cell")
        if attributes.get("layout", 0):
            raise Unsupported("layout 1 (batch first) is not supported; export with layout 0")
        if list(attributes.get("activations", _DEFAULTS[kind])) != _DEFAULTS[kind]:
            raise Unsupported(f"activations {attributes['activations']} are not supported; {', '.join(_DEFAULTS[kind])} are")
        if "clip" in attributes or attributes.get("input_forget", 0):
            raise Unsupported("clip and input_forget are not supported; export without them")
        if kind == "GRU" and not attributes.get("linear_before_reset", 0):
            raise Unsupported("linear_before_reset 0 multiplies the hidden values by a gate before the weights, which needs a second "
                              "exchange in a timestep; torch's GRU (linear_before_reset 1) is supported")
        if len(node.inputs) > 4 and node.inputs[4]:
            raise Unsupported("sequence_lens is not supported; export one timestep per call")
        if len(node.inputs) > 7 and node.inputs[7]:
            raise Unsupported("peepholes are not supported")
        if x is None or len(x) != 3 or x[:2] != (1, 1):
            raise Unsupported(f"its input has shape {x}; export one timestep of one stream: (1, 1, features)")
        if len(node.outputs) > 2 and node.outputs[2] and any(node.outputs[2] in n.inputs for n in self.graph.nodes):
            raise Unsupported("its cell state is read by another node; only the hidden values are sent")
