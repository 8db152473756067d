"""Records the decoder: host operators over output parts, with a dummy value for every result so that shapes are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.host import HOST_OPS, HostOp, HostProgram
from neurosim.loaders.builder import PAD, Builder, Tensor
from neurosim.loaders.drafts import Unsupported


@dataclass(frozen=True)
class HostValue:
    """A value of the decoder: ``("part", i)`` or ``("op", i)``, and zeros of its shape and kind."""

    key: tuple[str, int]
    sample: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.sample.shape


class HostTape:
    """A decoder under construction."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.parts: list[tuple[int, np.ndarray]] = []
        self._ops: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._arguments: dict[bytes, HostValue] = {}

    def argument(self, x: Tensor) -> HostValue:
        """The tensor as an argument; several sources become several parts that are joined again."""
        key = repr(x.shape).encode() + x.index.tobytes()
        if key not in self._arguments:
            self._arguments[key] = self._argument(x)
        return self._arguments[key]

    def _argument(self, x: Tensor) -> HostValue:
        sources = self.builder.read(x)
        padded = bool((x.index == PAD).any())
        if len(sources) == 1 and not padded:
            draft, elements = sources[0]
            return self._part(draft, elements.reshape(x.shape))
        parts = [self._part(draft, elements.reshape(1, -1)) for draft, elements in sources]
        owners = self.builder.owners(x.index).ravel()
        order = np.concatenate([np.flatnonzero(owners == draft) for draft, _ in sources])
        operands: list[Any] = list(parts)
        if padded:
            order = np.concatenate([order, np.flatnonzero(owners == PAD - 1)])
            operands.append(np.zeros((1, int((x.index == PAD).sum()))))
        joined = self.emit("Concat", operands, {"axis": 1})
        if not np.array_equal(order, np.arange(order.size)):
            joined = self.emit("Gather", [joined, np.argsort(order)], {"axis": 1})
        return self.reshape(joined, x.shape)

    def _part(self, draft: int, elements: np.ndarray) -> HostValue:
        self.parts.append((draft, elements))
        return HostValue(("part", len(self.parts) - 1), np.zeros(elements.shape))

    def emit(self, op: str, operands: list[Any], attributes: Mapping[str, Any] | None = None) -> HostValue:
        """Append one operator over host values and constants.

        Raises
        ------
        Unsupported
            When the host has no such operator, or the shapes do not agree.
        """
        attributes = dict(attributes or {})
        if op not in HOST_OPS:
            raise Unsupported("the decoder has no such operator")
        samples = [o.sample if isinstance(o, HostValue) else np.asarray(o) for o in operands]
        try:
            with np.errstate(all="ignore"):
                sample = np.asarray(HOST_OPS[op](*samples, **attributes))
        except (ValueError, IndexError) as error:
            raise Unsupported(f"shapes do not agree: {', '.join(str(s.shape) for s in samples)} ({error})") from None
        self._ops.append((op, tuple(operands), attributes))
        return HostValue(("op", len(self._ops) - 1), np.zeros_like(sample))

    def reshape(self, x: HostValue, shape: tuple[int, ...]) -> HostValue:
        """Reshape, or nothing where the shape is right already."""
        return x if x.shape == tuple(shape) else self.emit("Reshape", [x], {"shape": [int(n) for n in shape]})

    def program(self) -> HostProgram:
        """The recorded operators with values numbered: parts first, then one per operator."""
        def number(operand: Any) -> int | np.ndarray:
            if isinstance(operand, HostValue):
                kind, i = operand.key
                return i if kind == "part" else len(self.parts) + i
            return np.asarray(operand)

        ops = tuple(HostOp(op, tuple(number(o) for o in operands), attributes) for op, operands, attributes in self._ops)
        return HostProgram(ops, len(self.parts))
