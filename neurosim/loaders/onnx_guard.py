"""Reads an ONNX file as untrusted input: size, bytes, external data, versions, names, values.

Rules: nothing outside the model's folder is read, through no link; nothing is allocated by a
declared size before the size is checked; every weight is finite; the graph is a straight
sequence of nodes in the default operator set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.loaders.onnx_external import inline_external_data
from neurosim.loaders.refuse import read_bytes

if TYPE_CHECKING:
    import onnx

MIN_OPSET, MAX_OPSET = 7, 28
MAX_NODES = 100_000
MAX_ELEMENTS = 1 << 28
DEFAULT_DOMAINS = ("", "ai.onnx")
_FLOATS = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
_OTHER = ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "BOOL")


def read_model(path: Path) -> tuple[onnx.ModelProto, list[str]]:
    """Read and check an ONNX file; external data is inlined.

    Returns
    -------
    model : onnx.ModelProto
        Self-contained.
    notes : list of str
        Conversions of weights.

    Raises
    ------
    LoadError
        On every violation; the message names the tensor or node.
    """
    import onnx

    data = read_bytes(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # protobuf raises DecodeError of a private module
        raise LoadError(f"{path}: truncated or not ONNX ({len(data):,} bytes); export or download it again") from None
    if not model.HasField("graph") or not model.graph.node or not model.graph.output:
        raise LoadError(f"{path}: truncated or not ONNX ({len(data):,} bytes): no nodes or no outputs in it")
    _check_versions(path, model)
    _check_structure(path, model.graph)
    tensors = list(_tensors(path, model.graph))
    inline_external_data(path, [t for _, t in tensors], MAX_ELEMENTS)
    notes = _check_tensors(path, tensors)
    return model, notes


def _check_versions(path: Path, model: onnx.ModelProto) -> None:
    """The default operator set must be in range; other imports are accepted while no node uses them."""
    versions = [o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS]
    if not versions or not MIN_OPSET <= versions[0] <= MAX_OPSET:
        found = versions[0] if versions else "none"
        raise LoadError(f"{path}: opset {found} is outside {MIN_OPSET}..{MAX_OPSET}; export again with opset_version=17")


def _check_structure(path: Path, graph: onnx.GraphProto) -> None:
    if len(graph.node) > MAX_NODES:
        raise LoadError(f"{path}: {len(graph.node):,} nodes > limit {MAX_NODES:,}")
    if graph.sparse_initializer:
        raise LoadError(f"{path}: sparse initialisers are not read; store '{graph.sparse_initializer[0].values.name}' dense")
    makers: dict[str, str] = {}
    for node in graph.node:
        for output in filter(None, node.output):
            if output in makers:
                raise LoadError(f"{path}: tensor '{output}' is made twice, by {makers[output]} and {node_name(node)}")
            makers[output] = node_name(node)
    given = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    for name in given & makers.keys():
        raise LoadError(f"{path}: tensor '{name}' is an input or initialiser and is also made by {makers[name]}")
    names = [t.name for t in graph.initializer]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise LoadError(f"{path}: initialiser '{twice}' is stored twice")
    _check_order(path, graph, given, makers)


def _check_order(path: Path, graph: onnx.GraphProto, given: set[str], makers: dict[str, str]) -> None:
    seen = set(given)
    for node in graph.node:
        for name in filter(None, node.input):
            if name in seen:
                continue
            if name in makers:
                raise LoadError(f"{path}: tensor '{name}' is read by {node_name(node)} before {makers[name]} makes it "
                                "(a cycle, or nodes out of order)")
            raise LoadError(f"{path}: tensor '{name}' is read by {node_name(node)} but nothing makes it")
        seen.update(node.output)
    for output in graph.output:
        if output.name not in seen:
            raise LoadError(f"{path}: output '{output.name}' is made by no node")


def _tensors(path: Path, graph: onnx.GraphProto) -> Any:
    """(where it stands, TensorProto) of initialisers and of tensor attributes."""
    for tensor in graph.initializer:
        yield f"initialiser '{tensor.name}'", tensor
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield f"constant of {node_name(node)}", attribute.t
            if attribute.tensors or attribute.HasField("sparse_tensor"):
                raise LoadError(f"{path}: {node_name(node)}: attribute '{attribute.name}' holds a kind of tensor that is not read")


def _check_tensors(path: Path, tensors: list[tuple[str, onnx.TensorProto]]) -> list[str]:
    """Sizes before allocation, then values; returns notes on converted types."""
    import onnx

    problems: list[str] = []
    converted: dict[str, int] = {}
    for where, tensor in tensors:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if kind not in _FLOATS + _OTHER:
            if kind != "STRING":
                problems.append(f"{where}: element type {kind} is not supported; float32, float64, float16, bfloat16 and integers are")
            continue
        n = n_elements(tensor)
        if n is None or n > MAX_ELEMENTS:
            problems.append(f"{where}: declares {list(tensor.dims)} = {n if n is None else f'{n:,}'} elements > limit {MAX_ELEMENTS:,}")
            continue
        stored = _stored_elements(tensor)
        if stored != n:
            problems.append(f"{where}: declares {list(tensor.dims)} = {n:,} elements but stores {stored:,}")
            continue
        if kind in _FLOATS:
            problem = _not_finite(to_numpy(tensor))
            if problem:
                problems.append(f"{where}: {problem}; train or export again, non-finite weights are not loaded")
        if kind in _FLOATS[1:]:
            converted[kind] = converted.get(kind, 0) + 1
    if problems:
        raise LoadError(f"{path}: " + "\n  ".join(problems))
    return [f"{n} tensors stored as {kind.lower()} are read exactly" for kind, n in converted.items()]


def n_elements(tensor: onnx.TensorProto) -> int | None:
    """Declared element count; None where a dimension is negative."""
    total = 1
    for dim in tensor.dims:
        if dim < 0:
            return None
        total *= dim
    return total


def item_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of one element in `raw_data`."""
    import onnx

    return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)


def _stored_elements(tensor: onnx.TensorProto) -> int:
    import onnx

    if tensor.HasField("raw_data"):
        size = item_bytes(tensor)
        return len(tensor.raw_data) // size if len(tensor.raw_data) % size == 0 else -1
    return len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))


def _not_finite(values: np.ndarray) -> str | None:
    """Infinite single values are bounds of a Clip and are allowed; NaN never is."""
    values = np.asarray(values, np.float64)
    bad = np.isnan(values) if values.size <= 1 else ~np.isfinite(values)
    if not bad.any():
        return None
    first = [int(i) for i in np.unravel_index(int(np.flatnonzero(bad.ravel())[0]), values.shape)]
    return f"{int(bad.sum()):,} of {values.size:,} values are NaN or infinite, the first at {first}"


def to_numpy(tensor: onnx.TensorProto) -> np.ndarray:
    """Array of a tensor whose data is inline; never touches the file system."""
    import onnx

    array = onnx.numpy_helper.to_array(tensor, base_dir="/nonexistent")
    return array if array.dtype.kind in "fiubSUO" else array.astype(np.float32)


def node_name(node: onnx.NodeProto) -> str:
    """How messages call a node: ``node 'fc1' (Gemm)``; the first output's name where it has none."""
    return f"node '{node.name or (node.output[0] if node.output else '?')}' ({node.op_type})"
