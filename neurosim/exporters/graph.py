"""Steps -> ONNX model: one input, one output, states of recurrent cells as further inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.version import __version__

if TYPE_CHECKING:
    import onnx

    from neurosim.exporters.sb3_actor import Actor

OPSET, IR_VERSION = 18, 8


class GraphWriter:
    """Collects nodes, constants and states of one graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.states: list[tuple[str, str, int]] = []
        self._n_of_op: dict[str, int] = {}

    def constant(self, name: str, value: np.ndarray | float, dtype: type = np.float32) -> str:
        """A named constant (float32 unless said otherwise); the same name again is the same constant."""
        import onnx

        if name not in self.constants:
            self.constants[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(value, dtype).reshape(np.shape(value)), name)
        return name

    def node(self, op: str, inputs: list[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node; returns its first output, named after the operator where no name is given."""
        import onnx

        self._n_of_op[op] = n = self._n_of_op.get(op, 0) + 1
        outputs = outputs or (f"{op.lower()}_{n}",)
        self.nodes.append(onnx.helper.make_node(op, inputs, list(outputs), **attributes))
        return outputs[0]

    def state(self, name: str, following: str, n: int) -> str:
        """Declare a state of `n` elements: the input `name`, and its next value, the output `following`."""
        self.states.append((name, following, n))
        return name


def onnx_model(actor: Actor) -> onnx.ModelProto:
    """The actor as an ONNX model (opset 18): input ``obs`` (1, *shape), output `actor.output` (1, elements).

    Raises
    ------
    onnx.checker.ValidationError
        Never for an actor whose shapes fit.
    """
    import onnx

    graph, x = GraphWriter(), "obs"
    for step in actor.steps:
        x = step.emit(graph, x)
    for node in graph.nodes:
        node.output[:] = [actor.output if o == x else o for o in node.output]
        node.input[:] = [actor.output if i == x else i for i in node.input]

    def tensor(name: str, shape: Sequence[int]) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "actor",
            [tensor("obs", (1, *actor.input_shape)), *(tensor(name, (1, 1, n)) for name, _, n in graph.states)],
            [tensor(actor.output, (1, actor.n_outputs)), *(tensor(name, (1, 1, n)) for _, name, n in graph.states)],
            list(graph.constants.values()),
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="neurosim",
        producer_version=__version__,
    )
    onnx.checker.check_model(model, full_check=True)
    return model
