"""Numeric self-check: the loaded network against the original graph, on a few inputs.

The judge is onnxruntime where it can be imported, else `onnx.reference`; both see the graph
before any folding. A difference above float32 rounding is an error: better none than a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from neurosim import dense
from neurosim.errors import LoadError
from neurosim.loaders.onnx_graph import state_shape
from neurosim.network import Network

if TYPE_CHECKING:
    import onnx

TOLERANCE = 2e-4
"""Largest accepted difference, in units of the largest absolute output (float32 rounding grows with depth)."""

HALF_TOLERANCE = 2e-2
"""The same where the original graph computes in float16 or bfloat16."""


def verify(path: Path, model: onnx.ModelProto, network: Network, batch: bool, states: dict[str, str] | None = None) -> str:
    """Compare and return a note for `Network.notes`. A network with a state sees the inputs one after the other.

    Raises
    ------
    LoadError
        When an output differs by more than `TOLERANCE` of the largest absolute output.
    """
    info = next(i for i in model.graph.input if i.name == network.input.name)
    inputs = _inputs(info.type.tensor_type.elem_type, network.input.shape)
    judge, name = _judge(model, network, states or {})
    stream = dense.Stream(network)
    if judge is None:
        return f"self-check not possible ({name})"
    worst, tolerance = 0.0, HALF_TOLERANCE if _half(model) else TOLERANCE
    for x in inputs:
        try:
            expected = np.asarray(judge(x[None] if batch else x))
        except Exception as error:
            return f"self-check not possible ({str(error).splitlines()[0][:200]})"
        _, _, answer = stream.run(x[None].astype(np.float64))
        found = np.asarray(network.decode(answer[0]))
        worst = max(worst, _difference(path, network, name, expected, found, tolerance))
    return f"self-check against {name} on {len(inputs)} inputs: largest difference {worst:.1e} of the largest output"


def _difference(path: Path, network: Network, name: str, expected: np.ndarray, found: np.ndarray,
                tolerance: float) -> float:
    """Largest difference relative to the largest absolute output; equal for integers."""
    if expected.shape != found.shape:
        raise LoadError(f"{path}: self-check failed: output '{network.output_name}' has shape {found.shape} here and "
                        f"{expected.shape} in {name}; please report this model")
    finite = np.isfinite(expected)
    if not finite.all() or not expected.size:
        return 0.0
    scale = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(found - expected).max()) / scale
    if difference > (0 if expected.dtype.kind in "iub" else tolerance):
        raise LoadError(f"{path}: self-check failed: output '{network.output_name}' differs from {name} by {difference:.2g} of "
                        f"its largest value > {tolerance:g}; please report this model")
    return difference


def _half(model: onnx.ModelProto) -> bool:
    """Whether any weight, input or cast is in float16 or bfloat16, or values are quantised (a tie may round by one unit)."""
    import onnx

    halves = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    casts = (a.i for n in model.graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to")
    if any(n.op_type in ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm") for n in model.graph.node):
        return True
    return any(t in halves for t in (*(w.data_type for w in model.graph.initializer), *casts))


def _inputs(elem_type: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Three inputs of the declared type: normal, uniform in 0..1, zeros; integers in 0..255 (or the type's range)."""
    import onnx

    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    rng = np.random.default_rng(0)
    if kind.kind in "iu":
        top = min(255, np.iinfo(kind).max)
        return [rng.integers(0, top + 1, shape).astype(kind), np.zeros(shape, kind)]
    values = (rng.standard_normal(shape), rng.random(shape), np.zeros(shape))
    if kind.kind != "f":
        return [(v > 0.5).astype(kind) for v in values]
    return [v.astype(kind) for v in values]


def _judge(model: onnx.ModelProto, network: Network, states: dict[str, str]) -> tuple[Callable[[np.ndarray], np.ndarray] | None, str]:
    """The original graph as a function of the input, and who evaluates it. Its state is 0 at first, then what it gave before."""
    feed, outputs = network.input.name, [network.output_name, *states.values()]
    held = {i.name: np.zeros(state_shape(i), np.float32) for i in model.graph.input if i.name in states}

    def once(evaluate: Callable[..., Any], x: np.ndarray) -> np.ndarray:
        answers = evaluate(outputs, {feed: x, **held})
        held.update(zip(states, answers[1:]))
        return cast(np.ndarray, answers[0])

    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # its fusions round weights
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return (lambda x: once(session.run, x)), "onnxruntime"
    except Exception:  # not installed, or it does not know this opset or operator
        pass
    try:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return (lambda x: once(evaluator.run, x)), "onnx.reference"
    except Exception as error:
        return None, str(error).splitlines()[0][:200]
