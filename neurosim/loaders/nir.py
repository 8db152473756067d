"""NIR file -> Network. Neurons with a state become populations; what stands between them feeds their accumulators.

Differential equations are taken in steps of `dt`, as a `Style` says; IF and I count in timesteps (their charge per timestep is r x).
A cycle is closed with a delay of one timestep: on the synapses from a layer to one that stands no further from the input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurosim.errors import LoadError
from neurosim.loaders.builder import Tensor
from neurosim.loaders.builder_neurons import NeuronBuilder
from neurosim.loaders.drafts import Step, Unsupported
from neurosim.loaders.nir_graph import NEURONS, NirGraph, NirNode, read_graph
from neurosim.loaders.windows import Window
from neurosim.network import Network
from neurosim.neurons import DELTA, GRADED, SPIKE, Dynamics
from neurosim.synapses import INPUT

DT = 1e-4
"""Seconds per timestep, where nothing else is said."""


@dataclass(frozen=True)
class Style:
    """How a platform takes a timestep.

    Parameters
    ----------
    decay : {"euler", "exact"}
        1 - dt / tau, or exp(-dt / tau).
    gain : {"euler", "exact"}
        dt / tau, or 1 - exp(-dt / tau).
    subtract : bool
        After a spike take the threshold off the voltage; else reset it.
    many : bool
        Neurons of type IF send as many spikes at once as their voltage holds thresholds.
    """

    decay: str = "euler"
    gain: str = "euler"
    subtract: bool = False
    many: bool = False


STYLES = {
    "nir": Style(), "norse": Style(), "lava": Style(), "snntorch": Style(), "nengo": Style("exact", "exact"),
    "rockpool": Style("exact", "euler", subtract=True), "sinabs": Style("exact", "euler", subtract=True, many=True),
    "spyx": Style(subtract=True),
}
"""Steps that reproduce what these platforms do with a leaky neuron (read off the traces published with NIR); `nir` is its definition."""


def load_nir(path: Path, dt: float | None = None, style: str = "nir", input_signal: str | None = None) -> Network:
    """Load a NIR file.

    Parameters
    ----------
    path : Path
    dt : float, optional
        Seconds per timestep; default `DT`.
    style : str
        A key of `STYLES`.
    input_signal : {"delta", "spike", "graded"}, optional
        How the input transmits. Default: ``graded`` (every value that is not 0, in every timestep) for networks of neurons with a
        state, else ``delta``.

    Raises
    ------
    LoadError
        With what is refused, where, and what would help.
    """
    if style not in STYLES:
        raise LoadError(f"NIR style {style!r} is unknown; choose one of {', '.join(STYLES)}")
    if dt is not None and not 0 < dt < float("inf"):
        raise LoadError(f"dt is {dt}; seconds per timestep are positive")
    if input_signal not in (None, DELTA, SPIKE, GRADED):
        raise LoadError(f"input signal {input_signal!r} is unknown; choose delta, spike or graded")
    graph = read_graph(path)
    try:
        return _Lowering(path, graph, dt or DT, STYLES[style]).run(input_signal, dt is None, style)
    except (Unsupported, ValueError) as error:
        raise LoadError(f"{path}: {error}") from None


class _Lowering:
    def __init__(self, path: Path, graph: NirGraph, dt: float, style: Style) -> None:
        self.path, self.graph, self.dt, self.style = path, graph, dt, style
        self.spiking = any(node.type in NEURONS for node in graph.nodes.values())
        self.builder = NeuronBuilder("input", self._input_shape())
        self.values: dict[str, Tensor] = {}
        self.open: set[str] = set()
        self.rank = self._ranks()

    def run(self, input_signal: str | None, default_dt: bool, style: str) -> Network:
        """Build all that the output needs."""
        found = self._value(self.graph.output)
        todo = True
        fed: set[str] = set()
        while todo:  # feeding a population may ask for further ones
            waiting = [n for n in self.values if n not in fed and self.graph.nodes[n].type in NEURONS]
            for name in waiting:
                fed.add(name)
                self._feed(name)
            todo = bool(waiting)
        _close_cycles(self.builder, {self._draft(n): self.rank[n] for n in fed})
        notes = [f"NIR, style {style}, {self.dt:g} s per timestep" + (" (the default)" if default_dt else "")] if self.spiking else ["NIR"]
        delayed = sum(s.delay > 0 for draft in self.builder.drafts for s in draft.groups)
        notes += [f"{delayed} groups of synapses with a delay"] * bool(delayed)
        parts = self.builder.read(found)
        if len(parts) != 1:
            raise Unsupported("the output joins several layers")
        shape = found.shape
        parts = [(parts[0][0], parts[0][1].reshape(shape))]
        signal = input_signal or (GRADED if self.spiking else DELTA)
        return self.builder.finish(parts, None, self.path.stem, "output", tuple(notes), signal)

    def _input_shape(self) -> tuple[int, ...]:
        node = self.graph.nodes[self.graph.input]
        name = next((k for k in ("shape", "input_type", "input") if k in node.fields), "shape")
        shape = node.integers(self.path, name)
        if len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]  # a batch axis that an exporter left
        if not shape or min(shape) < 1 or len(shape) > 3 or np.prod([float(n) for n in shape]) > 1 << 28:
            raise LoadError(f"{self.path}: input of shape {shape}: 1 to 3 axes of sensible sizes (channels, height, width) are supported")
        return shape

    def _ranks(self) -> dict[str, int]:
        """Edges from the input to each node, the fewest."""
        after: dict[str, list[str]] = {name: [] for name in self.graph.nodes}
        for name, sources in self.graph.before.items():
            for source in sources:
                after[source].append(name)
        rank, queue = {self.graph.input: 0}, [self.graph.input]
        for name in queue:
            for following in after[name]:
                if following not in rank:
                    rank[following] = rank[name] + 1
                    queue.append(following)
        return {name: rank.get(name, len(self.graph.nodes)) for name in self.graph.nodes}

    def _draft(self, name: str) -> int:
        return self.builder.sources(self.values[name].index)[0]

    # ---- values -------------------------------------------------------------------------

    def _value(self, name: str) -> Tensor:
        """What a node gives. Populations are made where they are first read, and fed afterwards."""
        if name in self.values:
            return self.values[name]
        if name in self.open:
            raise Unsupported(f"node '{name}' feeds itself and no neuron stands in the cycle")
        self.open.add(name)
        node = self.graph.nodes[name]
        try:
            if node.type == "Input" and name == self.graph.input:
                made = self.builder.input_tensor()
            elif node.type in NEURONS:
                made = self._population(node)
            else:
                made = self._between(node, self._sum(node))
        except Unsupported as error:
            if str(error).startswith("node "):
                raise
            raise Unsupported(f"node '{name}' ({node.type}): {error}") from None
        self.open.discard(name)
        readers = sum(name in sources for sources in self.graph.before.values())
        if readers > 1:
            self.builder.share(made)
        self.values[name] = made
        return made

    def _sum(self, node: NirNode) -> Tensor:
        sources = self.graph.before[node.name]
        if not sources:
            raise Unsupported("nothing feeds it")
        total = self._value(sources[0])
        for source in sources[1:]:
            total = self.builder.add(total, self._value(source), label=node.name)
        return total

    def _between(self, node: NirNode, x: Tensor) -> Tensor:
        if node.type in ("Input", "Output"):
            return x
        if node.type in ("Affine", "Linear"):
            return self._linear(node, x)
        if node.type == "Scale":
            scale = _as(node.array(self.path, "scale"), x.shape)
            step = Step((("affine", (scale, np.zeros(x.shape))),), (("Mul", ("x", scale), {}),))
            return self.builder.elementwise(x, step, node.name)
        if node.type in ("Conv1d", "Conv2d"):
            return self._convolution(node, x)
        if node.type in ("SumPool2d", "AvgPool2d"):
            kernel, stride = self._pair(node, "kernel_size"), self._pair(node, "stride")
            pads = self._pair(node, "padding", 0)
            return self.builder.pool(x, Window(kernel, stride, (1, 1), pads, pads), mean=node.type == "AvgPool2d", label=node.name)
        if node.type == "Flatten":
            return self._flat(node, x)
        return self._delayed(node, x)

    def _linear(self, node: NirNode, x: Tensor) -> Tensor:
        weight = node.array(self.path, "weight")
        if weight.ndim != 2:
            raise Unsupported(f"its weight has shape {weight.shape}; (outputs, inputs) is expected")
        if len(x.shape) > 2 and x.index.size == weight.shape[1]:
            x = Tensor(x.index.reshape(1, -1))
        bias: np.ndarray | float = 0.0
        if node.type == "Affine":
            bias = node.array(self.path, "bias").reshape(-1)
            if bias.size not in (1, len(weight)):
                raise Unsupported(f"its bias has {bias.size} values for {len(weight)} outputs")
        return self.builder.full(x, weight, bias, node.name)

    def _convolution(self, node: NirNode, x: Tensor) -> Tensor:
        weight, n = node.array(self.path, "weight"), 1 if node.type == "Conv1d" else 2
        if weight.ndim != n + 2 or len(x.shape) != n + 2:
            raise Unsupported(f"weight {weight.shape} on an input of shape {x.shape[1:]}")
        groups = node.integers(self.path, "groups", 1)[0]
        if groups < 1:
            raise Unsupported(f"groups is {groups}")
        stride, dilation = (self._sizes(node, k, n, 1) for k in ("stride", "dilation"))
        kernel = weight.shape[2:]
        pads = self._pads(node, n, kernel, stride, dilation)
        bias = node.array(self.path, "bias", 0.0).reshape(-1)
        if n == 1:
            kernel, stride, dilation, pads = (1, *kernel), (1, *stride), (1, *dilation), ((0, 0), *pads)
        low, high = (pads[0][0], pads[1][0]), (pads[0][1], pads[1][1])
        window = Window((kernel[0], kernel[1]), (stride[0], stride[1]), (dilation[0], dilation[1]), low, high)
        return self.builder.convolution(x, weight, bias if bias.size > 1 else float(bias[0]), window, groups, node.name)

    def _pads(self, node: NirNode, n: int, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
              ) -> tuple[tuple[int, int], ...]:
        padding = node.fields.get("padding", 0)
        if isinstance(padding, str):
            if padding == "valid":
                return ((0, 0),) * n
            if padding == "same" and set(stride) == {1}:
                total = [(k - 1) * d for k, d in zip(kernel, dilation)]
                return tuple((t // 2, t - t // 2) for t in total)
            raise Unsupported(f"padding {padding!r} with stride {stride}; give numbers")
        return tuple((p, p) for p in self._sizes(node, "padding", n, 0))

    def _sizes(self, node: NirNode, name: str, n: int, default: int) -> tuple[int, ...]:
        values = node.integers(self.path, name, default)
        values = values * n if len(values) == 1 else values
        if len(values) != n or min(values) < (0 if name == "padding" else 1):
            raise Unsupported(f"{name} is {values}; {n} sizes are expected")
        return values

    def _pair(self, node: NirNode, name: str, default: int = 1) -> tuple[int, int]:
        a, b = self._sizes(node, name, 2, default) if name in node.fields or name != "kernel_size" else (0, 0)
        if a == 0 and name == "kernel_size":
            raise Unsupported("it has no kernel_size")
        return a, b

    def _flat(self, node: NirNode, x: Tensor) -> Tensor:
        """All axes but the batch joined. `start_dim` 0 and 1 both mean that: exporters count the batch axis, or do not."""
        start, end = node.integers(self.path, "start_dim", 1)[0], node.integers(self.path, "end_dim", -1)[0]
        rank = len(x.shape) - 1
        if start not in (0, 1) or end not in (-1, rank, rank - 1):
            raise Unsupported(f"joins only the axes {start} to {end}; all of them is supported")
        return Tensor(x.index.reshape(1, -1))

    def _delayed(self, node: NirNode, x: Tensor) -> Tensor:
        steps = node.array(self.path, "delay") / self.dt
        n = float(np.rint(steps.flat[0]))
        if np.any(np.abs(steps - n) > 1e-6 * max(1.0, n)) or n < 0 or n > 10_000:
            raise Unsupported(f"delays of {steps.min():g} to {steps.max():g} timesteps of {self.dt:g} s; one whole number of timesteps, "
                              "the same for all, is supported (another --dt may make it whole)")
        y = self.builder.identity(x, node.name)
        draft = self.builder.drafts[self.builder.sources(y.index)[0]]
        draft.groups = [replace(s, delay=s.delay + int(n)) for s in draft.groups]
        draft.sealed = True
        return y

    # ---- neurons ------------------------------------------------------------------------

    def _population(self, node: NirNode) -> Tensor:
        shape = self._neuron_shape(node)
        parameters = {name: _ordered(node.array(self.path, name, default), shape) for name, default in _FIELDS[node.type].items()}
        return self.builder.population(shape, self._dynamics(node, parameters), node.name)

    def _neuron_shape(self, node: NirNode) -> tuple[int, ...]:
        """Of its parameters, or where those are single numbers, of what feeds it."""
        shapes = {node.array(self.path, name, default).shape for name, default in _FIELDS[node.type].items()}
        shapes = {s[1:] if len(s) in (2, 4) and s[0] == 1 else s for s in shapes} - {(), (1,)}
        if len(shapes) > 1:
            raise Unsupported(f"its parameters have different shapes: {', '.join(map(str, sorted(shapes)))}")
        shape = shapes.pop() if shapes else None
        if shape is None:
            before = [s for s in self.graph.before[node.name] if self.rank[s] < self.rank[node.name]]
            if not before:
                raise Unsupported("its size is not known: its parameters are single numbers, and nothing before it tells")
            shape = self._value(before[0]).shape[1:]
        if len(shape) not in (1, 3):
            raise Unsupported(f"neurons of shape {shape}; (n,) and (channels, height, width) are supported")
        return shape

    def _dynamics(self, node: NirNode, p: dict[str, np.ndarray]) -> Dynamics:
        for name in ("tau", "tau_mem", "tau_syn"):
            if name in p and np.any(p[name] <= 0):
                raise Unsupported(f"{name} is not positive")
        if node.type == "IF" and self.style.many and np.any(p["v_threshold"] <= 0):
            raise Unsupported("v_threshold is not positive")
        zero, one = np.zeros(()), np.ones(())
        leak = {"current_decay": zero, "current_gain": one, "decay": one, "gain": one, "offset": zero}
        if node.type in ("IF", "I"):
            leak["gain"] = p["r"]
        elif node.type == "Threshold":
            leak["decay"] = zero
        else:
            decay, gain = self._step(p["tau_mem"] if "tau_mem" in p else p["tau"])
            leak |= {"decay": decay, "gain": gain * p["r"], "offset": gain * p["v_leak"]}
        if "tau_syn" in p:
            decay, gain = self._step(p["tau_syn"])
            leak |= {"current_decay": decay, "current_gain": gain * p["w_in"]}
        if node.type in ("LI", "I", "CubaLI"):
            return Dynamics("li", leak)
        if node.type == "IF" and self.style.many:
            return Dynamics("multispike", leak | {"threshold": p["v_threshold"]})
        if node.type == "Threshold":
            return Dynamics("lif", leak | {"threshold": p["threshold"], "reset": zero, "subtract": zero, "inclusive": zero})
        return Dynamics("lif", leak | {"threshold": p["v_threshold"], "reset": p["v_reset"],
                                       "subtract": np.asarray(float(self.style.subtract)), "inclusive": zero})

    def _step(self, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(decay, gain) of a timestep."""
        euler, exact = self.dt / tau, -np.expm1(-self.dt / tau)
        return 1 - (euler if self.style.decay == "euler" else exact), euler if self.style.gain == "euler" else exact

    def _feed(self, name: str) -> None:
        neurons = self.values[name]
        try:
            for source in self.graph.before[name]:
                x = self._value(source)
                if x.shape != neurons.shape and x.index.size == neurons.index.size:
                    x = Tensor(x.index.reshape(neurons.shape))
                self.builder.join(neurons, x)
            if not self.graph.before[name]:
                raise Unsupported("nothing feeds it")
        except Unsupported as error:
            if str(error).startswith("node "):
                raise
            raise Unsupported(f"node '{name}' ({self.graph.nodes[name].type}): {error}") from None


_FIELDS: dict[str, dict[str, float | None]] = {
    "Threshold": {"threshold": None}, "IF": {"r": None, "v_threshold": None, "v_reset": 0.0},
    "LIF": {"tau": None, "r": None, "v_leak": None, "v_threshold": None, "v_reset": 0.0},
    "CubaLIF": {"tau_syn": None, "tau_mem": None, "r": None, "v_leak": None, "v_threshold": None, "v_reset": 0.0, "w_in": 1.0},
    "LI": {"tau": None, "r": None, "v_leak": None}, "I": {"r": None},
    "CubaLI": {"tau_syn": None, "tau_mem": None, "r": None, "v_leak": None, "w_in": 1.0},
}
"""Parameters of each type of neuron, and their defaults."""


def _as(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(values, shape).astype(np.float64)
    except ValueError:
        raise Unsupported(f"an array of shape {values.shape} on values of shape {shape[1:]}") from None


def _ordered(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter in the order of neurons (height, width, channels), flat; one number where all are equal."""
    if values.size and np.all(values == values.flat[0]):
        return np.asarray(values.flat[0])
    spread = _as(values, (1, *shape))[0]
    return (spread if len(shape) == 1 else spread.transpose(1, 2, 0)).reshape(-1)


def _close_cycles(builder: NeuronBuilder, rank: dict[int, int]) -> None:
    """Give the synapses that close a cycle a delay of one timestep."""
    drafts = builder.drafts
    feeds: dict[int, set[int]] = {i: {s.source for s in draft.groups if s.source != INPUT} for i, draft in enumerate(drafts)}
    reach: dict[int, set[int]] = {}
    for start in feeds:
        found: set[int] = set()
        stack = list(feeds[start])
        while stack:
            d = stack.pop()
            if d not in found:
                found.add(d)
                stack += feeds[d]
        reach[start] = found
    order = {i: (rank.get(i, min((rank[d] for d in reach[i] if d in rank), default=0)), i) for i in feeds}
    for i, draft in enumerate(drafts):
        draft.groups = [replace(s, delay=1) if s.source != INPUT and not s.delay and i in reach[s.source] and order[s.source] >= order[i]
                        else s for s in draft.groups]
