"""Network -> NIR file, for what NIR can express: linear layers, convolutions, sum pools, and LIF, IF, CubaLIF, LI neurons.

The differential equations are recovered from the discrete ones for a step of `dt`: tau = dt / (1 - decay), the Euler step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.network import INPUT, Layer, Network
from neurosim.synapses import Synapses


def export_nir(network: Network, path: str | Path, dt: float = 1e-4) -> Path:
    """Write a NIR file that `neurosim.load(path, dt=dt)` reads back as the same run.

    Raises
    ------
    LoadError
        With every layer that NIR cannot express, and where the file cannot be written.
    """
    try:
        import h5py
    except ImportError:
        raise LoadError("writing NIR needs h5py (pip install 'neurosim-chip[hdf5]')") from None
    if not 0 < dt < float("inf"):
        raise LoadError(f"dt is {dt}; seconds per timestep are positive")
    graph = _Graph(network, dt)
    graph.build()
    if graph.problems:
        raise LoadError(f"{network.name}: NIR cannot express it:\n  " + "\n  ".join(graph.problems))
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with h5py.File(partial, "w") as file:
            file["version"] = "1.0"
            root = file.create_group("node")
            root["type"] = "NIRGraph"
            root["edges"] = np.array(graph.edges, dtype=h5py.string_dtype())
            nodes = root.create_group("nodes")
            for name, fields in graph.nodes.items():
                group = nodes.create_group(name)
                for key, value in fields.items():
                    group[key] = value
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LoadError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


class _Graph:
    def __init__(self, network: Network, dt: float) -> None:
        self.network, self.dt = network, dt
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: list[tuple[str, str]] = []
        self.problems: list[str] = []

    def build(self) -> None:
        network = self.network
        if network.input.encoder.ops:
            self.problems.append(f"encoder on the host ({network.input.encoder.describe()}): apply it before the network")
        self.nodes["input"] = {"type": "Input", "shape": np.array(network.input.shape)}
        for i, layer in enumerate(network.layers):
            self._layer(i, layer)
        part = network.outputs[0]
        layer = network.layers[part.layer]
        whole = len(network.outputs) == 1 and np.array_equal(np.sort(part.elements.reshape(-1)), np.arange(layer.n_neurons))
        if not whole:
            self.problems.append("an output that is not one whole layer")
        self.nodes["output"] = {"type": "Output", "shape": np.array(self._shape(layer))}
        self.edges.append((layer.name, "output"))

    @staticmethod
    def _shape(layer: Layer) -> tuple[int, ...]:
        height, width, channels = layer.shape
        return (channels,) if (height, width) == (1, 1) else (channels, height, width)

    def _layer(self, i: int, layer: Layer) -> None:
        if layer.activation:
            self.problems.append(f"layer {layer.name!r}: activation {', '.join(step.op for step in layer.activation)}")
        if layer.payload_shift or layer.dynamics is not None and layer.dynamics.kind not in ("lif", "li"):
            self.problems.append(f"layer {layer.name!r}: {layer.dynamics.kind if layer.dynamics else 'shifted'} neurons")
            return
        if layer.dynamics is None and len(layer.synapses) > 1:
            self.problems.append(f"layer {layer.name!r}: a sum of several branches that no neuron adds up")
            return
        bias = layer.bias_per_accumulator()
        for g, s in enumerate(layer.synapses):
            own = layer.name if layer.dynamics is None else f"{layer.name}_in{g}"
            self._synapses(i, layer, s, own, bias if g == 0 else np.zeros_like(bias))
            if layer.dynamics is not None:
                self.edges.append((own, layer.name))
        if layer.dynamics is not None:
            self.nodes[layer.name] = self._neurons(layer)

    def _synapses(self, i: int, layer: Layer, s: Synapses, name: str, bias: np.ndarray) -> None:
        network, where = self.network, f"layer {layer.name!r}"
        if s.delay > (1 if s.source >= i else 0) or s.delay == 0 and s.source >= i:
            self.problems.append(f"{where}: synapses with a delay of {s.delay} timesteps")
        source = "input" if s.source == INPUT else network.layers[s.source].name
        grid = (network.input.shape if s.source == INPUT else self._shape(network.layers[s.source]))
        if s.kind == "full":
            if s.view is not None or len(grid) > 1:
                order = self._flattened(s, grid)
                if order is None:
                    self.problems.append(f"{where}: reads its source in another order than row by row")
                    return
                self.nodes[f"{name}_flat"] = {"type": "Flatten", "start_dim": 0, "end_dim": -1}
                self.edges.append((source, f"{name}_flat"))
                source = f"{name}_flat"
            self.nodes[name] = {"type": "Affine", "weight": s.weight, "bias": bias}
        elif s.view is not None and not self._is_image(s, grid):
            self.problems.append(f"{where}: {s.kind} synapses on a part, or another order, of their source")
            return
        elif s.kind == "convolution":
            per_channel = bias.reshape(layer.shape)
            if np.any(per_channel != per_channel[0, 0]):
                self.problems.append(f"{where}: a bias for each neuron of a convolution")
            self.nodes[name] = {"type": "Conv2d", "weight": s.weight, "bias": per_channel[0, 0], "stride": np.array(s.stride),
                                "padding": np.array(s.pads), "dilation": np.array(s.dilation), "groups": s.groups,
                                "input_shape": np.array(s.grid[:2])}
        elif s.kind == "sum_pool" and not np.any(bias):
            self.nodes[name] = {"type": "SumPool2d", "kernel_size": np.array(s.kernel), "stride": np.array(s.stride),
                                "padding": np.array(s.pads)}
        elif s.kind == "identity" and layer.n_neurons == int(np.prod(grid)):
            self.nodes[name] = {"type": "Scale", "scale": np.full(grid, float(s.sign))}
            if np.any(bias):
                self.problems.append(f"{where}: a bias behind identity synapses")
        else:
            self.problems.append(f"{where}: {s.kind} synapses")
            return
        self.edges.append((source, name))

    def _is_image(self, s: Synapses, grid: tuple[int, ...]) -> bool:
        """Whether a view only says that the input stands channel by channel."""
        if len(grid) != 3 or s.view is None:
            return False
        c, h, w = grid
        return bool(np.array_equal(s.view, np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).reshape(-1)))

    def _flattened(self, s: Synapses, grid: tuple[int, ...]) -> bool | None:
        """Whether the source is read as NIR's Flatten gives it: channels, then rows, then columns."""
        if len(grid) == 1:
            return True if s.view is None else None
        c, h, w = grid
        stored = np.arange(c * h * w) if s.source == INPUT else np.arange(c * h * w).reshape(h, w, c).transpose(2, 0, 1).reshape(-1)
        view = np.arange(s.n_cells) if s.view is None else s.view
        return True if np.array_equal(view, stored) else None

    def _neurons(self, layer: Layer) -> dict[str, Any]:
        assert layer.dynamics is not None
        shape, p = self._shape(layer), {}
        for name in layer.dynamics.parameters:
            values = layer.dynamics.per_neuron(name, layer.n_neurons, layer.shape[2]).reshape(layer.shape)
            p[name] = values.transpose(2, 0, 1).reshape(shape) if len(shape) == 3 else values.reshape(shape)
        leaks, current = 1 - p["decay"], 1 - p["current_decay"]
        spiking = layer.dynamics.kind == "lif"
        if spiking and (np.any(p["subtract"]) or np.any(p["inclusive"])):
            self.problems.append(f"layer {layer.name!r}: neurons that take the threshold off, or spike at it")
        fields = {"v_threshold": p["threshold"], "v_reset": p["reset"]} if spiking else {}
        plain = np.all(current == 1) and np.all(p["current_gain"] == 1)
        if plain and np.all(leaks == 0) and not np.any(p["offset"]):
            return {"type": "IF" if spiking else "I", "r": p["gain"], **fields}
        if np.any(leaks <= 0) or np.any(leaks > 1) or np.any(current <= 0) or np.any(current > 1):
            self.problems.append(f"layer {layer.name!r}: neurons that do not leak beside an offset or a current")
            return {}
        fields |= {"r": p["gain"] / leaks, "v_leak": p["offset"] / leaks}
        if plain:
            return {"type": "LIF" if spiking else "LI", "tau": self.dt / leaks, **fields}
        return {"type": "CubaLIF" if spiking else "CubaLI", "tau_mem": self.dt / leaks, "tau_syn": self.dt / current,
                "w_in": p["current_gain"] / current, **fields}
