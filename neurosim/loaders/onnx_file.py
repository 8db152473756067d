"""ONNX file -> Network: guard, prune, fold, lower, self-check (each in its own module)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from neurosim.errors import LoadError
from neurosim.network import Network


def load_onnx(path: Path, output: str | None = None, input_shape: tuple[int, ...] | None = None,
              check: bool = True) -> Network:
    """Load an ONNX model.

    Parameters
    ----------
    path : Path
    output : str, optional
        Name of the output to keep; default: action*, logits, q_values, else the first.
    input_shape : tuple of int, optional
        Without batch; needed where the file leaves dimensions open. With as many axes as the
        file declares, it says that the first axis is no batch.
    check : bool
        Compare with the original graph afterwards.

    Raises
    ------
    LoadError
        With everything that is refused.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise LoadError(f"{path}: reading ONNX needs the package onnx; pip install onnx onnxscript") from None
    from neurosim.loaders.onnx_graph import read_graph
    from neurosim.loaders.onnx_guard import read_model
    from neurosim.loaders.onnx_lower import lower
    from neurosim.loaders.onnx_verify import verify

    model, notes = read_model(path)
    graph = read_graph(path, model, output, input_shape)
    graph.notes += notes
    network = lower(graph, path.stem)
    if check:
        network = replace(network, notes=(*network.notes, verify(path, model, network, graph.batch, graph.states)))
    return network
