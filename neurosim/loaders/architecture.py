"""Architecture file (YAML) + weights (safetensors, or npz without pickles) -> Network.

::

    input: {name: obs, shape: [4, 84, 84]}     # channels first, without batch
    scale: 0.00392156862745098                 # optional: the input is multiplied by this on the host
    weights: weights.safetensors               # beside this file; safetensors or npz
    layers:
      - {name: conv1, type: conv2d, weight: net.0.weight, bias: net.0.bias, stride: 4, activation: relu}
      - {type: flatten}
      - {name: fc1, type: linear, weight: net.7.weight, bias: net.7.bias, activation: relu}

=============  =======================================================================
type           keys (besides `name` and `activation`)
=============  =======================================================================
linear         weight (out, in), bias
conv1d conv2d  weight (out, in / groups, k..), bias, stride, padding, dilation, groups
batch_norm     weight, bias, mean, variance, epsilon
max_pool       kernel, stride, padding
avg_pool       kernel, stride, padding
global_avg_pool
flatten
activation     (only `activation`)
add            from: name of an earlier layer (a residual branch)
=============  =======================================================================

Activations: relu, tanh, sigmoid, elu, leaky_relu, swish, hard_swish, hard_sigmoid, softplus,
relu6. Weight names and shapes must match the file exactly: differences are listed at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.loaders.builder import Builder, Tensor
from neurosim.loaders.drafts import Step, Unsupported
from neurosim.loaders.onnx_elementwise import STEPS
from neurosim.loaders.onnx_graph import Node
from neurosim.loaders.refuse import check_magic
from neurosim.loaders.windows import Window
from neurosim.network import Network
from neurosim.strict_yaml import Positions, StrictYamlError, position_of, read_file

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "Elu", "leaky_relu": "LeakyRelu", "swish": "Swish",
               "hard_swish": "HardSwish", "hard_sigmoid": "HardSigmoid", "softplus": "Softplus", "relu6": "Clip"}
_CONV = {"weight", "bias", "stride", "padding", "dilation", "groups"}
TYPES: dict[str, set[str]] = {
    "linear": {"weight", "bias"}, "conv1d": _CONV, "conv2d": _CONV,
    "batch_norm": {"weight", "bias", "mean", "variance", "epsilon"},
    "max_pool": {"kernel", "stride", "padding"}, "avg_pool": {"kernel", "stride", "padding"},
    "global_avg_pool": set(), "flatten": set(), "activation": set(), "add": {"from"}}
_TENSOR_KEYS = ("weight", "bias", "mean", "variance")
_REQUIRED = {"linear": {"weight"}, "conv1d": {"weight"}, "conv2d": {"weight"}, "batch_norm": {"mean", "variance"},
             "max_pool": {"kernel"}, "avg_pool": {"kernel"}, "add": {"from"}, "activation": {"activation"}}
MAX_ELEMENTS = 1 << 28


def load_architecture(path: Path, weights: Path | None = None) -> Network:
    """Load an architecture file and its weights.

    Raises
    ------
    LoadError
        With file, line and column of unknown, missing or duplicate keys, or with a table of the
        weights that are missing, left over or differently shaped.
    """
    try:
        data, positions = read_file(path)
    except StrictYamlError as error:
        raise LoadError(str(error)) from None
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from None
    _check_schema(path, data, positions)
    tensors = read_weights(weights or _beside(path, data["weights"]))
    _check_names(path, data["layers"], tensors)
    try:
        return _build(path, data, positions, tensors)
    except Unsupported as error:
        raise LoadError(f"{path}: {error}") from None


def _beside(path: Path, name: str) -> Path:
    side = path.parent / name
    if Path(name).is_absolute() or not side.resolve().is_relative_to(path.parent.resolve()):
        raise LoadError(f"{path}: weights '{name}' lie outside the file's folder; refused")
    return side


def _check_schema(path: Path, data: Any, positions: Positions) -> None:
    problems: list[str] = []

    def problem(at: tuple[Any, ...], text: str) -> None:
        line, column = position_of(positions, at)
        problems.append(f"{path}:{line}:{column}: {text}")

    def keys(at: tuple[Any, ...], given: Any, allowed: set[str], required: set[str]) -> bool:
        if not isinstance(given, dict):
            problem(at, f"a mapping with {', '.join(sorted(required))} is due here")
            return False
        for key in given.keys() - allowed:
            near = difflib.get_close_matches(str(key), allowed, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(allowed))}"
            problem((*at, key), f"unknown key {key!r}; {hint}")
        for key in sorted(required - given.keys()):
            problem(at, f"key {key!r} is missing")
        return True

    if keys((), data, {"name", "input", "scale", "weights", "layers"}, {"input", "weights", "layers"}):
        for at, text in _wrong_types(data):
            problem(at, text)
        if keys(("input",), data.get("input"), {"name", "shape"}, {"shape"}):
            shape = data["input"].get("shape")
            if not isinstance(shape, list) or not shape or not all(isinstance(n, int) and n > 0 for n in shape):
                problem(("input", "shape"), "shape is a list of positive integers without batch, for example [4, 84, 84]")
        layers = data.get("layers") if isinstance(data.get("layers"), list) else []
        if not layers:
            problem(("layers",), "layers is a list of at least one layer")
        for i, layer in enumerate(layers):
            given = layer.get("type") if isinstance(layer, dict) else None
            kind = given if isinstance(given, str) else ""
            allowed = {"type", "name", "activation"} | TYPES.get(kind, set().union(*TYPES.values()))
            if keys(("layers", i), layer, allowed, {"type"} | _REQUIRED.get(kind, set())):
                if "type" in layer and kind not in TYPES:
                    problem(("layers", i, "type"), f"unknown type {given!r}; known: {', '.join(TYPES)}")
                if layer.get("activation") not in (None, *ACTIVATIONS):
                    problem(("layers", i, "activation"), f"unknown activation {layer['activation']!r}; known: {', '.join(ACTIVATIONS)}")
    if problems:
        raise LoadError("\n".join(problems))


_TEXTS = {"name", "weights", "weight", "bias", "from", "mean", "variance"}
_NUMBERS = {"scale", "epsilon"}


def _wrong_types(data: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Positions and complaints of entries that are not of the kind that their key takes."""
    layers = data["layers"] if isinstance(data.get("layers"), list) else []
    places = [((), data), (("input",), data.get("input")), *((("layers", i), layer) for i, layer in enumerate(layers))]
    for at, mapping in places:
        for key, value in mapping.items() if isinstance(mapping, dict) else ():
            if key in _TEXTS and not isinstance(value, str):
                yield (*at, key), f"{key}: {value!r} is not a name"
            if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
                yield (*at, key), f"{key}: {value!r} is not a number"


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Named arrays of a safetensors or npz file; floats as float64, values exactly as stored.

    Raises
    ------
    LoadError
        When the file is missing, damaged, too large, holds objects, or a weight is not finite.
    """
    if path.suffix == ".npz":
        tensors = _read_npz(path)
    else:
        check_magic(path)
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load_file
        except ImportError:
            raise LoadError(f"{path}: reading it needs the package safetensors; pip install safetensors") from None
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError, KeyError, AttributeError, TypeError) as error:
            raise LoadError(f"{path}: truncated or not safetensors ({path.stat().st_size:,} bytes): {error}") from None
    for name, tensor in tensors.items():
        bad = ~np.isfinite(np.asarray(tensor, np.float64))
        if bad.any():
            first = [int(i) for i in np.argwhere(bad)[0]]
            raise LoadError(f"{path}: '{name}': {int(bad.sum()):,} of {tensor.size:,} values are NaN or infinite, the first at {first}")
    return {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(i.file_size for i in archive.infolist())
        if size > 8 * MAX_ELEMENTS:
            raise LoadError(f"{path}: unpacks to {size:,} bytes > limit {8 * MAX_ELEMENTS:,}")
        with np.load(path, allow_pickle=False) as arrays:
            tensors = {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, MemoryError) as error:
        raise LoadError(f"{path}: missing, damaged, or holds objects (pickles are never read): {error}") from None
    if any(t.dtype.kind not in "fiub" for t in tensors.values()):
        raise LoadError(f"{path}: holds arrays that are not numbers")
    return tensors


def _check_names(path: Path, layers: list[dict[str, Any]], tensors: dict[str, np.ndarray]) -> None:
    """One table of the names that are missing or left over, with hints for renaming."""
    asked = {layer[k] for layer in layers for k in _TENSOR_KEYS if isinstance(layer.get(k), str)}
    missing, extra = sorted(asked - tensors.keys()), sorted(tensors.keys() - asked)
    if not missing and not extra:
        return
    rows = []
    for name in missing:
        near = [e for e in extra if e.endswith("." + name) or name.endswith("." + e)] or difflib.get_close_matches(name, extra, 1)
        rows.append(f"  missing  {name}" + (f"   (rename: '{near[0]}' {list(tensors[near[0]].shape)} is in the weights)" if near else ""))
    rows += [f"  extra    {name} {list(tensors[name].shape)}" for name in extra]
    raise LoadError(f"{path}: {len(missing)} weights missing, {len(extra)} left over:\n" + "\n".join(rows))


def _build(path: Path, data: dict[str, Any], positions: Positions, tensors: dict[str, np.ndarray]) -> Network:
    builder = Builder(data["input"].get("name", "input"), tuple(data["input"]["shape"]))
    x = builder.input_tensor()
    if "scale" in data:
        x = builder.elementwise(x, _step("Mul", {}, [None, np.asarray(float(data["scale"]))], x.shape))
    named: dict[str, Tensor] = {}
    branches = {layer["from"] for layer in data["layers"] if "from" in layer}
    problems = []
    for i, layer in enumerate(data["layers"]):
        line, column = position_of(positions, ("layers", i))
        try:
            x = _LAYERS[layer["type"]](builder, x, layer, tensors, named)
            if layer.get("activation"):
                x = _activate(builder, x, layer["activation"])
        except Unsupported as error:
            problems.append(f"{path}:{line}:{column}: layer {layer.get('name', i)!r} ({layer['type']}): {error}")
            break
        if layer.get("name"):
            named[layer["name"]] = x
            if layer["name"] in branches:
                builder.share(x)
    if problems:
        raise LoadError("\n".join(problems))
    (draft, elements), *more = builder.read(x)
    if more:
        raise Unsupported("the last layer joins several sources; end with a linear layer")
    return builder.finish([(draft, elements.reshape(x.shape))], name=str(data.get("name", path.stem)),
                          notes=(f"architecture {path.name}, {len(tensors)} weights",))


def _step(op: str, attributes: dict[str, Any], constants: list[Any], shape: tuple[int, ...]) -> Step:
    return STEPS[op](Node("", op, [], [], attributes), constants, shape)


def _activate(builder: Builder, x: Tensor, name: str) -> Tensor:
    bounds = {"min": 0.0, "max": 6.0} if name == "relu6" else {}
    return builder.elementwise(x, _step(ACTIVATIONS[name], bounds, [None], x.shape))


def _pair(layer: dict[str, Any], key: str, default: int, rank: int) -> tuple[int, int]:
    """An integer or a list as (y, x); 1-D lies along x."""
    value = layer.get(key, default)
    values = [value] * rank if isinstance(value, int) else value
    if not isinstance(values, list) or len(values) != rank or not all(isinstance(v, int) for v in values):
        raise Unsupported(f"{key} is an integer or a list of {rank}")
    fill = 0 if key == "padding" else 1
    return (fill, values[0]) if rank == 1 else (values[0], values[1])


def _window(layer: dict[str, Any], kernel: tuple[int, int], rank: int, stride: tuple[int, int] | None = None) -> Window:
    pads = _pair(layer, "padding", 0, rank)
    stride = stride if stride and "stride" not in layer else _pair(layer, "stride", 1, rank)
    return Window(kernel, stride, _pair(layer, "dilation", 1, rank), pads, pads)


def _bias(layer: dict[str, Any], tensors: dict[str, np.ndarray], n_out: int) -> np.ndarray:
    bias = tensors[layer["bias"]] if layer.get("bias") else np.zeros(n_out)
    if bias.shape != (n_out,):
        raise Unsupported(f"bias '{layer['bias']}' has shape {list(bias.shape)}, expected [{n_out}]")
    return bias


def _linear(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    weight = tensors[layer["weight"]]
    if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        raise Unsupported(f"weight '{layer['weight']}' has shape {list(weight.shape)}, expected [out, {x.shape[-1]}] for input "
                          f"{list(x.shape[1:])}")
    return builder.full(x, weight, _bias(layer, tensors, weight.shape[0]), str(layer.get("name", "")))


def _convolution(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    weight, rank = tensors[layer["weight"]], int(layer["type"][4])
    if weight.ndim != rank + 2 or len(x.shape) != rank + 2:
        raise Unsupported(f"weight '{layer['weight']}' has shape {list(weight.shape)} and the input {list(x.shape[1:])}; "
                          f"{layer['type']} takes weights of rank {rank + 2}")
    kernel = weight.shape[2:] if rank == 2 else (1, weight.shape[2])
    return builder.convolution(x, weight, _bias(layer, tensors, weight.shape[0]), _window(layer, kernel, rank),
                               layer.get("groups", 1), str(layer.get("name", "")))


def _batch_norm(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    n = x.shape[1]
    parameters = [tensors[layer[k]] if layer.get(k) else np.full(n, fill) for k, fill in
                  (("weight", 1.0), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0))]
    return builder.elementwise(x, _step("BatchNormalization", {"epsilon": layer.get("epsilon", 1e-5)}, [None, *parameters], x.shape))


def _pool(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    rank = len(x.shape) - 2
    if rank not in (1, 2):
        raise Unsupported(f"its input has shape {list(x.shape[1:])}; pools take (channels, length) or (channels, height, width)")
    kernel = _pair(layer, "kernel", 1, rank)
    maximum = layer["type"] == "max_pool"
    return builder.pool(x, _window(layer, kernel, rank, kernel), maximum, not maximum, True, str(layer.get("name", "")))


def _global_pool(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    return builder.reduce(x, tuple(range(2, len(x.shape))), True, "mean", str(layer.get("name", "")))


def _flatten(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    return Tensor(x.index.reshape(1, -1))


def _unchanged(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    return x


def _add(builder: Builder, x: Tensor, layer: dict[str, Any], tensors: dict[str, np.ndarray], named: dict[str, Tensor]) -> Tensor:
    if layer["from"] not in named:
        raise Unsupported(f"no earlier layer is named {layer['from']!r}; named so far: {', '.join(named) or 'none'}")
    return builder.add(x, named[layer["from"]], 1, str(layer.get("name", "")))


_LAYERS: dict[str, Callable[..., Tensor]] = {
    "linear": _linear, "conv1d": _convolution, "conv2d": _convolution, "batch_norm": _batch_norm, "max_pool": _pool,
    "avg_pool": _pool, "global_avg_pool": _global_pool, "flatten": _flatten, "activation": _unchanged, "add": _add}
