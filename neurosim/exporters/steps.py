"""The parts of an actor: each states its equation once as numpy (`value`) and once as ONNX nodes (`emit`).

The two are written apart so that one can check the other (`model_folder`). A vector is (elements,) in
`value` and (1, elements) in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from neurosim.exporters.graph import GraphWriter

States = dict[str, np.ndarray]


class Step(Protocol):
    """One part of an actor."""

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """Its output in float64; recurrent steps read ``*_in`` of `states` and set ``*_out``."""

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Add its nodes to `graph`; returns the name of their output."""


@dataclass(frozen=True, slots=True)
class Normalise:
    """clip((x - mean) * scale, -limit, limit), element by element (VecNormalize with scale = 1 / sqrt(variance + epsilon))."""

    mean: np.ndarray
    scale: np.ndarray
    limit: float

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        return np.clip((x - self.mean) * self.scale, -self.limit, self.limit)

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Sub, Mul, Clip."""
        centred = graph.node("Sub", [x, graph.constant("obs_mean", self.mean[None])])
        scaled = graph.node("Mul", [centred, graph.constant("obs_scale", self.scale[None])])
        return graph.node("Clip", [scaled, graph.constant("obs_low", -self.limit), graph.constant("obs_high", self.limit)])


@dataclass(frozen=True, slots=True)
class Bytes:
    """x / 255: the policies' own scaling of images."""

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        return x / 255.0

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Div."""
        return graph.node("Div", [x, graph.constant("bytes", 255.0)])


@dataclass(frozen=True, slots=True)
class ChannelsFirst:
    """(height, width, channels) -> (channels, height, width)."""

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        return np.moveaxis(x, -1, 0)

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Transpose."""
        return graph.node("Transpose", [x], perm=[0, 3, 1, 2])


@dataclass(frozen=True, slots=True)
class Flatten:
    """All axes into one, last axis fastest."""

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        return x.ravel()

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Flatten."""
        return graph.node("Flatten", [x], axis=1)


@dataclass(frozen=True, slots=True)
class Full:
    """y = W x + b; W (outputs, inputs), b (outputs,) or None."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        y = self.weight.astype(np.float64) @ x
        return y if self.bias is None else y + self.bias

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Gemm."""
        bias = [] if self.bias is None else [graph.constant(f"{self.name}.bias", self.bias)]
        return graph.node("Gemm", [x, graph.constant(f"{self.name}.weight", self.weight), *bias], transB=1)


@dataclass(frozen=True, slots=True)
class Convolution:
    """y[o, i, j] = sum over c, k, l of W[o, c, k, l] x[c, stride i + k, stride j + l] + b[o], without padding."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    stride: int

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        height, width = self.weight.shape[2:]
        windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(1, 2))[:, :: self.stride, :: self.stride]
        y = np.einsum("cijkl,ockl->oij", windows, self.weight.astype(np.float64), optimize=True)
        return y if self.bias is None else y + self.bias[:, None, None]

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Conv."""
        bias = [] if self.bias is None else [graph.constant(f"{self.name}.bias", self.bias)]
        weight = graph.constant(f"{self.name}.weight", self.weight)
        return graph.node("Conv", [x, weight, *bias], kernel_shape=list(self.weight.shape[2:]), strides=[self.stride] * 2)


@dataclass(frozen=True, slots=True)
class Activation:
    """f(x), element by element; `kind` is a name of `ACTIVATIONS`."""

    kind: str

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        with np.errstate(over="ignore"):
            return ACTIVATIONS[self.kind][0](x)

    def emit(self, graph: GraphWriter, x: str) -> str:
        """One node; two for silu."""
        _, op, attributes = ACTIVATIONS[self.kind]
        if self.kind == "silu":
            return graph.node("Mul", [x, graph.node("Sigmoid", [x])])
        if self.kind == "relu6":
            return graph.node("Clip", [x, graph.constant("relu6_low", 0.0), graph.constant("relu6_high", 6.0)])
        return graph.node(op, [x], **attributes) if op else x


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


ACTIVATIONS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "tanh": (np.tanh, "Tanh", {}),
    "relu": (lambda x: np.maximum(x, 0.0), "Relu", {}),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), "Elu", {"alpha": 1.0}),
    "leakyrelu": (lambda x: np.where(x > 0, x, 0.01 * x), "LeakyRelu", {"alpha": 0.01}),
    "sigmoid": (_sigmoid, "Sigmoid", {}),
    "silu": (lambda x: x * _sigmoid(x), "Mul", {}),
    "softplus": (lambda x: np.logaddexp(0.0, x), "Softplus", {}),
    "hardswish": (lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0), "HardSwish", {}),
    "relu6": (lambda x: np.clip(x, 0.0, 6.0), "Clip", {}),
    "identity": (lambda x: x, "", {}),
}
"""Lower-case name of a torch class with its default parameters -> numpy, ONNX operator, attributes."""


@dataclass(frozen=True, slots=True)
class Clip:
    """clip(x, -limit, limit)."""

    limit: float

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        return np.clip(x, -self.limit, self.limit)

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Clip."""
        return graph.node("Clip", [x, graph.constant("mean_low", -self.limit), graph.constant("mean_high", self.limit)])


@dataclass(frozen=True, slots=True)
class Unscale:
    """From -1..1 to the bounds of the actions: x (high - low) / 2 + (high + low) / 2."""

    low: np.ndarray
    high: np.ndarray

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        return self.low + 0.5 * (x + 1.0) * (self.high - self.low)

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Mul and Add; neither where it would change nothing."""
        scale, offset = (self.high - self.low) / 2, (self.high + self.low) / 2
        if (scale != 1).any():
            x = graph.node("Mul", [x, graph.constant("action_scale", scale[None])])
        return graph.node("Add", [x, graph.constant("action_offset", offset[None])]) if offset.any() else x


@dataclass(frozen=True, slots=True)
class QuantileMean:
    """Mean over quantiles: (quantiles * actions,) -> (actions,)."""

    n_quantiles: int
    n_actions: int

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        return x.reshape(self.n_quantiles, self.n_actions).mean(axis=0)

    def emit(self, graph: GraphWriter, x: str) -> str:
        """Reshape and ReduceMean."""
        shape = graph.constant("quantile_shape", np.array([1, self.n_quantiles, self.n_actions]), np.int64)
        table = graph.node("Reshape", [x, shape])
        return graph.node("ReduceMean", [table, graph.constant("quantile_axis", np.array([1]), np.int64)], keepdims=0)


@dataclass(frozen=True, slots=True)
class Lstm:
    """One LSTM cell, one timestep. Rows of W (4 n, inputs), R (4 n, n), b (4 n,) are input, forget, cell, output gate.

    i, f, o = sigmoid, g = tanh of W x + R h + b;  c' = f c + i g;  h' = o tanh(c').
    State h, c: inputs ``h_in``, ``c_in``, outputs ``h_out``, ``c_out`` (1, 1, n), each with `suffix`.

    Source: documentation of ``torch.nn.LSTM``; ONNX operator LSTM (order of gates there: i, o, f, c).
    """

    name: str
    suffix: str
    w: np.ndarray
    r: np.ndarray
    b_input: np.ndarray
    b_state: np.ndarray

    @property
    def n(self) -> int:
        """Cells."""
        return self.r.shape[1]

    def value(self, x: np.ndarray, states: States) -> np.ndarray:
        """See the class."""
        h, c = (states[f"{s}_in{self.suffix}"].ravel().astype(np.float64) for s in "hc")
        sums = self.w.astype(np.float64) @ x + self.r.astype(np.float64) @ h + self.b_input + self.b_state
        i, f, g, o = np.split(sums, 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        states[f"h_out{self.suffix}"], states[f"c_out{self.suffix}"] = h.reshape(1, 1, -1), c.reshape(1, 1, -1)
        return h

    def emit(self, graph: GraphWriter, x: str) -> str:
        """LSTM over a sequence of one, between Unsqueeze and Squeeze."""
        order = np.array([0, 3, 1, 2])

        def gates(a: np.ndarray) -> np.ndarray:
            return a.reshape(4, self.n, -1)[order].reshape(a.shape)

        axis = graph.constant("sequence_axis", np.array([0]), np.int64)
        bias = np.concatenate([gates(self.b_input), gates(self.b_state)])
        parameters = [
            graph.constant(f"{self.name}.weight_W", gates(self.w)[None]),
            graph.constant(f"{self.name}.weight_R", gates(self.r)[None]),
            graph.constant(f"{self.name}.bias", bias[None]),
        ]
        h, c = (graph.state(f"{s}_in{self.suffix}", f"{s}_out{self.suffix}", self.n) for s in "hc")
        sequence = graph.node("Unsqueeze", [x, axis])
        outputs = ["", f"h_out{self.suffix}", f"c_out{self.suffix}"]
        graph.node("LSTM", [sequence, *parameters, "", h, c], outputs, hidden_size=self.n)
        return graph.node("Squeeze", [outputs[1], axis])


def zero_states(steps: Sequence[Step]) -> States:
    """States of all recurrent steps as they are when an episode starts."""
    cells = [step for step in steps if isinstance(step, Lstm)]
    return {f"{s}_in{cell.suffix}": np.zeros((1, 1, cell.n)) for cell in cells for s in "hc"}
