"""How quantised tensors stand for real ones, and QuantizeLinear and DequantizeLinear as element-wise steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.loaders.drafts import PREVIOUS, HostCall, Step, Unsupported, X
from neurosim.loaders.onnx_graph import Node

BITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-(1 << 15), (1 << 15) - 1), "uint16": (0, (1 << 16) - 1)}


@dataclass(frozen=True)
class Grid:
    """How a tensor is quantised: real = (q - zero) scale, low <= q <= high."""

    scale: np.ndarray
    zero: np.ndarray
    low: int
    high: int

    @property
    def bounds(self) -> tuple[float, float]:
        """Of q - zero."""
        return float(self.low - self.zero), float(self.high - self.zero)


def grid(where: str, scale: np.ndarray | None, zero: np.ndarray | None, one: bool = True) -> Grid:
    """Check scale and zero point of a tensor.

    Raises
    ------
    Unsupported
        Where they are not constant, not positive, not finite, of unlike length, or of a type that is not 8 or 16 bit.
    """
    if scale is None:
        raise Unsupported(f"{where}: its scale is not constant")
    scale = np.asarray(scale, np.float32)
    zero = np.zeros(scale.shape, np.uint8) if zero is None else np.asarray(zero)
    if zero.dtype.name not in BITS and zero.dtype.name != "int32":
        raise Unsupported(f"{where}: quantised to {zero.dtype.name}; {', '.join(BITS)} are supported")
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise Unsupported(f"{where}: its scale {scale.reshape(-1)[:4].tolist()} is not positive and finite")
    if scale.ndim > 1 or scale.shape != zero.shape and zero.size != 1:
        raise Unsupported(f"{where}: {scale.size} scales and {zero.size} zero points")
    if one and scale.size != 1:
        raise Unsupported(f"{where}: values quantised per channel are not supported (weights are)")
    low, high = BITS.get(zero.dtype.name, (-(1 << 31), (1 << 31) - 1))
    whole = zero.astype(np.int64)
    return Grid(scale.reshape(()) if one else scale, whole.reshape(()) if one else whole, low, high)


def quantise_step(node: Node) -> Step:
    """The encoder of a whole-number network."""
    own: Grid = node.attributes["grid"]
    low, high = own.bounds
    return Step(None, (("Quantize", (X, own.scale, np.asarray(low, np.float32), np.asarray(high, np.float32)), {}),))


def real_steps(node: Node, constants: list[np.ndarray | None]) -> Step:
    """QuantizeLinear or DequantizeLinear on real numbers, after their ONNX definition."""
    own = grid(node.where, constants[1], constants[2] if len(constants) > 2 else None)
    scale, zero = own.scale.astype(np.float64), own.zero.astype(np.float64)
    if node.op == "DequantizeLinear":
        return Step((("affine", (scale, -zero * scale)),), (("Sub", (X, zero), {}), ("Mul", (PREVIOUS, scale), {})))
    low, high = own.bounds
    neuron = (("affine", (1 / scale, np.zeros(()))), ("round", ()), ("clip", (np.asarray(low), np.asarray(high))),
              ("affine", (np.ones(()), zero)))
    quantised: HostCall = ("Quantize", (X, own.scale, np.asarray(low, np.float32), np.asarray(high, np.float32)), {})
    return Step(neuron, (quantised, ("Add", (PREVIOUS, zero), {})))
