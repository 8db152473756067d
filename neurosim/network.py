"""The Network: layers of neurons joined by synapses, with encoder, decoder and thresholds. Frozen data.

A layer's neurons hold an accumulator (bias + sum of its synapses), an activation function f
and a threshold; the value after f is the activation, and that is what is compared and sent.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd

import numpy as np

from neurosim.activation import Elementwise, apply
from neurosim.host import HostProgram
from neurosim.neurons import DELTA, GRADED, Dynamics
from neurosim.synapses import INPUT, Synapses


@dataclass(frozen=True)
class Layer:
    """A population of neurons.

    Parameters
    ----------
    name : str
        Unique; thresholds and reports use it.
    shape : (int, int, int)
        Height, width, channels; neurons are ordered height x width x channel.
    synapses : tuple of Synapses
        Everything that feeds the accumulators.
    bias : ndarray
        float64, (), (channels,) or (accumulators,): what the accumulator starts at.
    activation : tuple of Elementwise
        f, applied in order; empty is the identity. Behind dynamics it takes their value.
    threshold : float
        A neuron sends when its activation differs from the last sent value by more than this.
    dynamics : Dynamics or None
        What the neurons do in every timestep. None: static, the activation is f of the accumulator.
    payload_shift : int
        Of integer runs: a change d is sent as d >> payload_shift.
    """

    name: str
    shape: tuple[int, int, int]
    synapses: tuple[Synapses, ...]
    bias: np.ndarray
    activation: tuple[Elementwise, ...] = ()
    threshold: float = 0.0
    dynamics: Dynamics | None = None
    payload_shift: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", np.asarray(self.bias, np.float64))
        self.bias.setflags(write=False)
        if self.bias.ndim and self.bias.shape not in ((self.accumulator_grid[2],), (self.n_accumulators,)):
            raise ValueError(f"layer {self.name!r}: bias has shape {self.bias.shape}")
        if any(s.target_grid != self.accumulator_grid for s in self.synapses):
            raise ValueError(f"layer {self.name!r}: synapses feed another shape")
        if self.dynamics is not None and self.is_max_pool:
            raise ValueError(f"layer {self.name!r}: neurons with a state do not take maxima")
        if self.is_max_pool and len(self.synapses) != 1:
            raise ValueError(f"layer {self.name!r}: max pooling takes one group of synapses")

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return int(np.prod(self.shape))

    @property
    def neuron(self) -> str:
        """Family of its neurons, as chips name them: ``static``, ``lif``, ``gru``."""
        return "static" if self.dynamics is None else self.dynamics.of.family

    @property
    def ports(self) -> int:
        """Accumulators of one neuron."""
        return 1 if self.dynamics is None else self.dynamics.of.ports

    @property
    def accumulator_grid(self) -> tuple[int, int, int]:
        """Height, width, channels of the accumulators; those of a neuron stand side by side."""
        height, width, channels = self.shape
        return height, width, channels * self.ports

    @property
    def n_accumulators(self) -> int:
        """Accumulators of the layer."""
        return self.n_neurons * self.ports

    @property
    def is_max_pool(self) -> bool:
        """Whether the layer takes the maximum of held values instead of a sum."""
        return any(s.kind == "max_pool" for s in self.synapses)

    @property
    def kind(self) -> str:
        """Kinds of its synapses, for tables: ``convolution``, ``full+identity``."""
        return "+".join(dict.fromkeys(s.kind for s in self.synapses))

    @property
    def unit(self) -> int:
        """Neighbouring neurons that are always touched together: all channels of a position under an ordinary
        convolution, the whole layer under full synapses, one neuron under pooling and depthwise synapses."""
        return gcd(*(s.channels_out for s in self.synapses))

    def bias_per_accumulator(self) -> np.ndarray:
        """Bias as float64 (accumulators,)."""
        if self.bias.size == self.n_accumulators:
            return self.bias.reshape(-1)
        return np.broadcast_to(self.bias, self.accumulator_grid).reshape(-1)


@dataclass(frozen=True)
class Input:
    """What the network is fed with.

    Parameters
    ----------
    name : str
    shape : tuple of int
        In the model's own layout, without batch; elements are numbered in C order.
    encoder : HostProgram
        Element-wise operators before the first synapses; sees (timesteps, *shape).
    threshold : float
        In units of the encoder's output.
    signal : str
        ``delta``, ``spike`` or ``graded`` (see `neurosim.neurons`); the latter two send every value that is not 0,
        in every timestep.
    payload_shift : int
        As that of a layer.
    """

    name: str
    shape: tuple[int, ...]
    encoder: HostProgram = HostProgram()
    threshold: float = 0.0
    signal: str = DELTA
    payload_shift: int = 0

    @property
    def n_elements(self) -> int:
        """Elements of one input."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class OutputPart:
    """An array that is read directly from a layer: `elements` (int64, any shape, with batch axis 1) of `layer`."""

    layer: int
    elements: np.ndarray


@dataclass(frozen=True, repr=False)
class Network:
    """Layers in topological order, what feeds them, and what is read.

    Parameters
    ----------
    name : str
    input : Input
    layers : tuple of Layer
        Synapses read the input or a layer that stands earlier, or any layer after a delay.
    outputs : tuple of OutputPart
        Read directly, never thresholded.
    decoder : HostProgram
        Takes the outputs (each in its own shape with batch axis 1).
    output_name : str
        The chosen output of the model file.
    notes : tuple of str
        What the loader did: outputs pruned, operators absorbed, self-check.
    defaults : tuple of (str, str)
        How its file means it to be run where the user does not say: numerics, schedule, rule.
    """

    name: str
    input: Input
    layers: tuple[Layer, ...]
    outputs: tuple[OutputPart, ...]
    decoder: HostProgram = HostProgram()
    output_name: str = "output"
    notes: tuple[str, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if not self.layers or len(set(names)) != len(names) or "input" in names:
            raise ValueError("a network has at least one layer, and layer names are unique and not 'input'")
        for i, layer in enumerate(self.layers):
            for s in layer.synapses:
                if not INPUT <= s.source < (len(self.layers) if s.delay else i):
                    raise ValueError(f"layer {layer.name!r} reads a layer that does not stand before it")

    def __repr__(self) -> str:
        return (f"Network({self.name!r}: {self.input.shape} -> {self.output_shape}, {len(self.layers)} layers, "
                f"{self.static_total('neurons'):,} neurons, {self.static_total('dense_macs'):,} dense MACs)")

    def default(self, option: str) -> str:
        """Value of ``numerics``, ``schedule`` or ``rule`` where the user says nothing."""
        return dict(self.defaults).get(option, {"numerics": "float32", "schedule": "fall_through", "rule": "hold"}[option])

    def size_of(self, source: int) -> int:
        """Elements of a source (`INPUT` or a layer index)."""
        return self.input.n_elements if source == INPUT else self.layers[source].n_neurons

    @cached_property
    def senders(self) -> tuple[int, ...]:
        """Sources that transmit: `INPUT` and every layer that another layer reads, in order."""
        read = {s.source for layer in self.layers for s in layer.synapses}
        return (INPUT, *sorted(read - {INPUT}))

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """How each layer transmits: as its dynamics say; a static layer passes on whether its sources' values last.

        Raises ValueError where a static layer adds values that last and values that do not.
        """
        found = {INPUT: self.input.signal}
        found |= {i: layer.dynamics.of.signal for i, layer in enumerate(self.layers) if layer.dynamics is not None}
        for _ in self.layers:  # a delayed source may stand behind its reader
            for i, layer in enumerate(self.layers):
                if layer.dynamics is None:
                    lasting = {found[s.source] == DELTA for s in layer.synapses if s.source in found}
                    if len(lasting) > 1:
                        raise ValueError(f"layer {layer.name!r} adds changes of lasting values and spikes; only neurons with a state can")
                    if lasting:
                        found[i] = DELTA if lasting.pop() else GRADED
            if len(found) > len(self.layers):
                break
        return tuple(found.get(i, DELTA) for i in range(len(self.layers)))

    def signal_of(self, source: int) -> str:
        """How a source (`INPUT` or a layer index) transmits."""
        return self.input.signal if source == INPUT else self.signals[source]

    @cached_property
    def autonomous(self) -> tuple[bool, ...]:
        """Layers whose neurons are all evaluated in every timestep: those with a state, and static ones behind values that do not
        last whose f of the bias is not 0."""
        found = []
        for layer in self.layers:
            passing = any(self.signal_of(s.source) != DELTA for s in layer.synapses)
            rest = apply(layer.activation, layer.bias_per_accumulator().reshape(1, *layer.accumulator_grid)) if passing else np.zeros(1)
            found.append(layer.dynamics is not None or bool(np.any(rest != 0)))
        return tuple(found)

    @cached_property
    def is_memoryless(self) -> bool:
        """Whether an answer depends on one input alone: no neurons with a state, no delays."""
        return all(layer.dynamics is None and not any(s.delay for s in layer.synapses) for layer in self.layers)

    @cached_property
    def output_layers(self) -> frozenset[int]:
        """Layers whose values are read by the host."""
        return frozenset(part.layer for part in self.outputs)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Longest-path depth of each layer; a layer that reads only the input has depth 1."""
        level: list[int] = []
        for layer in self.layers:
            level.append(1 + max((level[s.source] for s in layer.synapses if INPUT < s.source < len(level)), default=0))
        return tuple(level)

    @property
    def depth(self) -> int:
        """Levels of the network: timesteps that a pipelined answer takes."""
        return max(self.levels)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one answer before the decoder, without batch; several outputs are flattened and joined."""
        if len(self.outputs) == 1:
            shape = self.outputs[0].elements.shape
            return tuple(shape[1:]) if len(shape) > 1 and shape[0] == 1 else tuple(shape)
        return (sum(part.elements.size for part in self.outputs),)

    def decode(self, answer: np.ndarray) -> np.ndarray:
        """Run the decoder on one answer of `output_shape`."""
        parts, at, flat = [], 0, answer.reshape(-1)
        for part in self.outputs:
            parts.append(flat[at: at + part.elements.size].reshape(part.elements.shape))
            at += part.elements.size
        return self.decoder(*parts)

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """Threshold of the input and of every layer that sends; spikes and values that do not last have none."""
        named = {"input": self.input.threshold} if self.input.signal == DELTA else {}
        named.update({self.layers[s].name: self.layers[s].threshold for s in self.senders if s != INPUT and self.signals[s] == DELTA})
        return named

    @cached_property
    def static_counts(self) -> tuple[dict[str, int], ...]:
        """Per layer, per timestep: neurons, synapses, weights, nonzero_weights and the three dense MAC counts."""
        rows = []
        for layer in self.layers:
            row = dict.fromkeys(("synapses", "weights", "nonzero_weights", "dense_macs", "padded_dense_macs", "nonzero_macs"), 0)
            row["neurons"] = layer.n_neurons
            for s in layer.synapses:
                n_source = self.size_of(s.source)
                n_synapses = s.n_synapses(n_source)
                row["synapses"] += n_synapses
                if s.weight is not None:
                    row["weights"] += s.n_weights
                    row["nonzero_weights"] += int(np.count_nonzero(s.weight))
                    row["dense_macs"] += n_synapses
                    row["padded_dense_macs"] += s.n_padded_synapses()
                    row["nonzero_macs"] += int(s.nonzero_fan_out(n_source).sum())
            rows.append(row)
        return tuple(rows)

    @cached_property
    def n_neurons(self) -> int:
        """Neurons of all layers."""
        return sum(layer.n_neurons for layer in self.layers)

    def static_total(self, key: str) -> int:
        """Sum of one static count over layers."""
        return sum(row[key] for row in self.static_counts)

    @cached_property
    def sha256(self) -> str:
        """Hash of structure, weights, encoder and decoder; thresholds, names and notes are left out."""
        from neurosim.network_arrays import to_arrays

        bare = replace(self, name="", notes=(), defaults=(), input=replace(self.input, threshold=0.0),
                       layers=tuple(replace(layer, threshold=0.0) for layer in self.layers))
        structure, arrays = to_arrays(bare)
        digest = hashlib.sha256(json.dumps(structure, sort_keys=True).encode())
        for key in sorted(arrays):
            a = np.asarray(arrays[key])
            digest.update(f"{key}{a.dtype.str}{a.shape}".encode() + a.tobytes())
        return digest.hexdigest()
