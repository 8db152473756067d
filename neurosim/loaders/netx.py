"""lava-dl network (netx HDF5, ``.net``) -> Network in whole numbers, with Loihi's fixed-point meaning.

Blocks: input, dense, conv, pool, flatten. Neurons: sigma-delta (``SDNN``) and current-based leaky integrate-and-fire (``LOIHI``,
``CUBA``). Arrays are (channels, y, x), as in the file's `shape`. What Loihi computes, and how it stands here:

==============  ====================================================================================================
sigma-delta     values are scaled by 2^12; a change d with abs(d) >= vThMant 2^12 is sent as d / 2^6 rounded down;
                incoming sums wrap around at 24 bits before they are added up (kind ``sigma``)
LIF             u = u (4096 - iDecay) / 4096 + 64 2^wgtExp w s, v = v (4096 - vDecay) / 4096 + u + 64 bias, rounded
                toward 0; spike where v > 64 vThMant, then v = 0 (kind ``loihi_lif``)
==============  ====================================================================================================

Loihi lets every block wait a timestep for the one before; that is the schedule ``pipelined``, one timestep earlier for the first
block, which takes the input in the timestep it comes: to be in step with Loihi, feed one input of zeros first.
Sources: lava-dl (BSD-3-Clause), its published files and outputs; the recipe was found by reproducing these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.host import HostOp
from neurosim.loaders.builder import Tensor
from neurosim.loaders.builder_neurons import NeuronBuilder
from neurosim.loaders.drafts import Unsupported
from neurosim.loaders.hdf5_file import Tree, read_hdf5
from neurosim.loaders.windows import Window
from neurosim.network import Network
from neurosim.neurons import DELTA, GRADED, SPIKE, Dynamics

SPIKE_BITS, STATE_BITS, SUM_BITS = 6, 6, 24
"""Payloads and states carry so many binary places; sums of a timestep have so many bits."""
WEIGHT_SCALE = 64
SPIKING = ("LOIHI", "CUBA")
BLOCKS = ("input", "dense", "conv", "pool", "flatten")


def load_netx(path: Path) -> Network:
    """Load a file.

    Returns
    -------
    Network
        With the file's own thresholds; its defaults are ``fixed`` numerics, and the rule ``sigma_delta`` for sigma-delta neurons.

    Raises
    ------
    LoadError
        With every block that is refused.
    """
    blocks = _blocks(path, read_hdf5(path))
    try:
        return _Lowering(path, blocks).run()
    except (Unsupported, ValueError) as error:
        raise LoadError(f"{path}: {error}") from None


def _blocks(path: Path, tree: Tree) -> list[Tree]:
    """The blocks in order."""
    members = tree.get("layer")
    if not isinstance(members, dict) or not members:
        raise LoadError(f"{path}: no lava-dl network: 'layer' is missing or empty")
    names = sorted(members, key=lambda name: (len(name), name))
    if names != [str(i) for i in range(len(names))]:
        raise LoadError(f"{path}: layers are named {', '.join(names[:8])}; 0, 1, 2, ... are expected")
    problems, blocks = [], []
    for name in names:
        block = members[name]
        kind = _text(block.get("type")) if isinstance(block, dict) else None
        if kind not in BLOCKS:
            problems.append(f"layer {name}: type {kind!r} is not supported; {', '.join(BLOCKS)} are")
        blocks.append({**block, "type": kind, "name": name} if isinstance(block, dict) else {})
    if problems:
        raise LoadError(f"{path}: " + "\n  ".join(problems))
    return blocks


def _text(value: Any) -> str | None:
    """A text that may be an array of one, of bytes or str."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None


class _Lowering:
    def __init__(self, path: Path, blocks: list[Tree]) -> None:
        self.path, self.blocks = path, blocks
        kinds = {self._neuron(b)["type"] for b in blocks if "neuron" in b}
        unknown = kinds - {"SDNN", *SPIKING}
        if unknown or not kinds or len(kinds & {"SDNN"}) == len(kinds & set(SPIKING)):
            raise Unsupported(f"neurons of type {', '.join(sorted(map(str, kinds))) or '(none)'}; SDNN, or LOIHI and CUBA, are supported")
        self.sigma_delta = kinds == {"SDNN"}
        self.thresholds: dict[int, float] = {}

    def run(self) -> Network:
        first = self.blocks[0]
        shape = self._shape(first)
        self.builder = NeuronBuilder("input", shape)
        x = self.builder.input_tensor()
        threshold = 0.0
        if first["type"] == "input":
            x, threshold = self._input(first, x)
        elif self.sigma_delta:
            raise Unsupported("a network of sigma-delta neurons begins with an input block")
        for block in self.blocks[first["type"] == "input":]:
            x = self._block(block, x)
        parts = self.builder.read(x)
        parts = [(parts[0][0], parts[0][1].reshape(x.shape))]
        shift = SPIKE_BITS if self.sigma_delta else 0
        defaults = (("numerics", "fixed"), *([("rule", "sigma_delta")] if self.sigma_delta else []))
        signal = DELTA if self.sigma_delta else GRADED if first["type"] == "input" else SPIKE
        return self.builder.finish(parts, None, self.path.stem, "output", (f"lava-dl, {len(self.blocks)} blocks",), signal,
                                   thresholds=self.thresholds | {-1: threshold}, payload_shift=shift, defaults=defaults)

    # ---- fields -------------------------------------------------------------------------

    def _where(self, block: Tree) -> str:
        return f"layer {block['name']} ({block['type']})"

    def _neuron(self, block: Tree) -> Tree:
        neuron = block.get("neuron")
        if not isinstance(neuron, dict):
            raise Unsupported(f"{self._where(block)} has no neuron")
        return {**neuron, "type": _text(neuron.get("type"))}

    def _integers(self, block: Tree, fields: Tree, name: str, default: int | None = None) -> np.ndarray:
        """A field of whole numbers, int64."""
        value = fields.get(name, default)
        if value is None:
            raise Unsupported(f"{self._where(block)} has no {name}")
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or not np.all(np.isfinite(array)) or np.any(array != np.rint(array)):
            raise Unsupported(f"{self._where(block)}: {name} holds values that are not whole numbers")
        if array.size and np.abs(array.astype(np.float64)).max() > 1 << 24:
            raise Unsupported(f"{self._where(block)}: {name} goes beyond 24 bits")
        return array.astype(np.int64)

    def _one(self, block: Tree, fields: Tree, name: str, default: int | None = None, low: int = 0) -> int:
        array = self._integers(block, fields, name, default).reshape(-1)
        if array.size != 1 or array[0] < low:
            raise Unsupported(f"{self._where(block)}: {name} is {array.tolist()[:8]}; one number of {low} or more is expected")
        return int(array[0])

    def _pair(self, block: Tree, name: str, low: int, default: int | None = None) -> tuple[int, int]:
        array = self._integers(block, block, name, default).reshape(-1)
        if array.size not in (1, 2) or array.min() < low:
            raise Unsupported(f"{self._where(block)}: {name} is {array.tolist()[:8]}; two numbers of {low} or more are expected")
        return int(array[0]), int(array[-1])

    def _shape(self, block: Tree) -> tuple[int, ...]:
        """Shape of a block's input (of an input block: its own)."""
        name = "shape" if block["type"] == "input" else "inFeatures"
        shape = tuple(int(n) for n in self._integers(block, block, name).reshape(-1))
        if not shape or min(shape) < 1 or len(shape) not in (1, 3) or np.prod([float(n) for n in shape]) > 1 << 26:
            raise Unsupported(f"{self._where(block)}: {name} {shape}; (n,) or (channels, y, x) of sensible sizes is expected")
        return shape

    # ---- blocks -------------------------------------------------------------------------

    def _input(self, block: Tree, x: Tensor) -> tuple[Tensor, float]:
        """The encoder of an input block, for LIF its neurons too; and the threshold of the input."""
        neuron = self._neuron(block)
        weight = self._one(block, block, "weight", 1, low=-(1 << 24))
        bias = self._one(block, block, "bias", 0, low=-(1 << 24))
        scale = 1 << (SPIKE_BITS + STATE_BITS) if self.sigma_delta else WEIGHT_SCALE
        self.builder.encoder.append(HostOp("Mul", (0, np.asarray(float(weight * scale))), {}))
        if bias:
            self.builder.encoder.append(HostOp("Add", (len(self.builder.encoder), np.asarray(float(bias * scale))), {}))
        self.builder.input_sealed = True
        if self.sigma_delta:
            return x, float(self._one(block, neuron, "vThMant") * scale)
        return self.builder.neurons(x, self._lif(block, neuron, None), "input"), 0.0

    def _block(self, block: Tree, x: Tensor) -> Tensor:
        if block["type"] == "flatten":
            return Tensor(x.index.reshape(1, -1))
        neuron = self._neuron(block)
        scale = 1 if self.sigma_delta else WEIGHT_SCALE << self._one(block, neuron, "wgtExp", 0)
        weight = self._integers(block, block, "weight").astype(np.float64) * scale
        if block["type"] == "dense":
            y = self._dense(block, x, weight)
        else:
            y = self._convolution(block, x, weight)
        bias = self._integers(block, block, "bias").reshape(-1) if "bias" in block else None
        if bias is not None and bias.size not in (1, y.shape[1]):
            raise Unsupported(f"{self._where(block)}: {bias.size} biases for {y.shape[1]} channels")
        if not self.sigma_delta:
            return self.builder.neurons(y, self._lif(block, neuron, bias), block["name"])
        return self._sigma(block, neuron, y, bias)

    def _dense(self, block: Tree, x: Tensor, weight: np.ndarray) -> Tensor:
        weight = weight.reshape(weight.shape[:2]) if weight.ndim > 2 and weight.size == np.prod(weight.shape[:2]) else weight
        if weight.ndim != 2 or weight.shape[1] != x.index.size:
            raise Unsupported(f"{self._where(block)}: weight of shape {weight.shape} on {x.index.size} values")
        return self.builder.full(Tensor(x.index.reshape(1, -1)), weight, label=block["name"])

    def _convolution(self, block: Tree, x: Tensor, weight: np.ndarray) -> Tensor:
        if len(x.shape) != 4:
            raise Unsupported(f"{self._where(block)}: its input has shape {x.shape[1:]}; (channels, y, x) is expected")
        kernel, stride = self._pair(block, "kernelSize", 1), self._pair(block, "stride", 1, 1)
        dilation, pads = self._pair(block, "dilation", 1, 1), self._pair(block, "padding", 0, 0)
        groups = self._one(block, block, "groups", 1, low=1)
        if block["type"] == "pool":
            groups = x.shape[1]
            weight = np.broadcast_to(weight.reshape(-1)[:1, None, None, None], (groups, 1, *kernel)).copy()
        elif weight.ndim == 5 and weight.shape[4] == 1:
            weight = weight[..., 0]
        if weight.ndim != 4 or weight.shape[2:] != kernel or weight.shape[1] * groups != x.shape[1]:
            raise Unsupported(f"{self._where(block)}: weight of shape {weight.shape} for kernel {kernel} on {x.shape[1]} channels")
        return self.builder.convolution(x, weight, 0.0, Window(kernel, stride, dilation, pads, pads), groups, block["name"])

    def _lif(self, block: Tree, neuron: Tree, bias: np.ndarray | None) -> Dynamics:
        if self._one(block, neuron, "refDelay", 1) != 1:
            raise Unsupported(f"{self._where(block)}: refDelay other than 1 is not supported")
        decays = [self._one(block, neuron, name) for name in ("iDecay", "vDecay")]
        if max(decays) > 4096:
            raise Unsupported(f"{self._where(block)}: decays {decays} exceed 4096")
        if np.any(np.asarray(neuron.get("gradedSpike", False))):
            raise Unsupported(f"{self._where(block)}: graded spikes of LIF neurons are not supported")
        offset = np.zeros(()) if bias is None else bias.astype(np.float64) * WEIGHT_SCALE
        return Dynamics("loihi_lif", {"current_decay": np.asarray(decays[0]), "decay": np.asarray(decays[1]), "offset": _compact(offset),
                                      "threshold": np.asarray(self._one(block, neuron, "vThMant") * WEIGHT_SCALE)})

    def _sigma(self, block: Tree, neuron: Tree, y: Tensor, bias: np.ndarray | None) -> Tensor:
        scale = 1 << (SPIKE_BITS + STATE_BITS)
        offset = np.zeros(()) if bias is None else bias.astype(np.float64) * scale
        reads_sigma = bool(np.any(np.asarray(neuron.get("sigma_output", False))))
        if reads_sigma and bias is not None:
            raise Unsupported(f"{self._where(block)}: a sigma output with a bias is not supported")
        activation = _text(neuron.get("activation")) or "relu"
        if activation not in ("relu", "none"):
            raise Unsupported(f"{self._where(block)}: activation {activation!r} is not supported; relu is")
        made = self.builder.neurons(y, Dynamics("sigma", {"bits": np.asarray(SUM_BITS), "offset": _compact(offset)}), block["name"])
        draft = self.builder.sources(made.index)[0]
        if not reads_sigma and activation == "relu":
            self.builder.drafts[draft].activation.append(("relu", ()))
        self.thresholds[draft] = float(self._one(block, neuron, "vThMant") * scale)
        return made


def _compact(values: np.ndarray) -> np.ndarray:
    return values if values.size > 1 else values.reshape(())
