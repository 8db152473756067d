"""Brute force: one loop over every synapse, plain Python floats and ints, no code of the kernels.

The twin is written from DESIGN's equations alone: it lists each synapse as (source element,
target neuron, weight or None) by walking outputs (the kernels walk inputs), and every count is
a `+= 1` in the innermost loop. float64 sums run in ascending source order per group, so that
values, and therefore counts, must equal the kernels' exactly.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

INPUT = -1


def list_synapses(s):
    """All synapses of a group as {source element: [(target neuron, weight or None)]}, targets ascending.

    Padding taps are returned as a number: they have no source element.
    """
    height, width, channels = s.grid
    out_h, out_w, out_c = s.target_grid
    per_source, on_padding = defaultdict(list), 0
    groups = s.groups if s.kind in ("full", "convolution") else channels
    in_per_group, out_per_group = channels // groups, out_c // groups
    for y in range(out_h):
        for x in range(out_w):
            for o in range(out_c):
                if getattr(s, "feeds", None) is not None and not s.feeds[o]:
                    continue
                target = (y * out_w + x) * out_c + o
                for k_y in range(s.kernel[0]):
                    for k_x in range(s.kernel[1]):
                        for c in range(in_per_group):
                            channel = (o // out_per_group) * in_per_group + c
                            row = y * s.stride[0] + k_y * s.dilation[0] - s.pads[0]
                            column = x * s.stride[1] + k_x * s.dilation[1] - s.pads[1]
                            if s.kind == "full":
                                weight = float(s.weight[o, channel])
                            elif s.kind == "convolution":
                                weight = float(s.weight[o, c, k_y, k_x])
                            else:
                                weight = None
                            if not (0 <= row < height and 0 <= column < width):
                                on_padding += 1
                                continue
                            cell = (row * width + column) * channels + channel
                            element = cell if s.view is None else int(s.view[cell])
                            if element == -1:
                                on_padding += 1
                            elif element >= 0:
                                per_source[element].append((target, weight))
    return per_source, on_padding


class Naive:
    """A network on the brute-force chip."""

    def __init__(self, network, schedule="fall_through", rule="hold"):
        self.network, self.schedule, self.rule = network, schedule, rule
        self.synapses = [[list_synapses(s) for s in layer.synapses] for layer in network.layers]
        self.reset()

    def reset(self):
        self.first = True
        self.accumulator, self.value, self.ref, self.sent = [], [], {}, {}
        self.passing, self.memory, self.past, self.overflows = [], [], [], 0
        for layer in self.network.layers:
            n = layer.shape[0] * layer.shape[1] * layer.shape[2]
            bias = layer.bias
            ports = PORTS.get(layer.dynamics.kind, 1) if layer.dynamics else 1
            sums, channels = n * ports, layer.shape[2] * ports
            self.accumulator.append([float(bias if bias.ndim == 0 else bias[i] if bias.size == sums else bias[i % channels])
                                     for i in range(sums)])
            self.value.append([0.0] * n)
            self.passing.append([0.0] * sums)
            self.memory.append([[0.0, 0.0] for _ in range(n)])
        for source in range(-1, len(self.network.layers)):
            n = self.network.input.n_elements if source == INPUT else len(self.value[source])
            self.ref[source], self.sent[source] = [0.0] * n, []

    def dense_counts(self, i):
        """(dense, padded, nonzero) MACs of layer i, by counting."""
        dense = padded = nonzero = 0
        for s, (per_source, on_padding) in zip(self.network.layers[i].synapses, self.synapses[i]):
            if s.kind not in ("full", "convolution"):
                continue
            padded += on_padding
            for targets in per_source.values():
                for _, weight in targets:
                    dense += 1
                    padded += 1
                    nonzero += weight != 0
        return dense, padded, nonzero

    def step(self, x):
        """One timestep on an encoded input (flat). Returns (input events, rows of seven counts per layer, outputs)."""
        self.sent[INPUT] = self._send(INPUT, [(e, float(v)) for e, v in enumerate(x)], self.network.input)
        rows = [None] * len(self.network.layers)
        order = list(range(len(rows)))
        for i in order if self.schedule == "fall_through" else order[::-1]:
            rows[i] = self._layer(i)
        self.first = False
        self.past.append(dict(self.sent))
        outputs = [self.value[p.layer][e] for p in self.network.outputs for e in p.elements.reshape(-1)]
        return len(self.sent[INPUT]), rows, outputs

    def _layer(self, i):
        layer = self.network.layers[i]
        touched, row = set(), [0] * 7
        ports = len(self.accumulator[i]) // len(self.value[i])
        every = layer.dynamics is not None
        for s, (per_source, _) in zip(layer.synapses, self.synapses[i]):
            signal = self._signal(s.source)
            every |= signal != "delta"
            lasts = signal == "delta" and not (layer.dynamics and layer.dynamics.kind == "sigma")
            sums = (self.accumulator if lasts else self.passing)[i]
            arrived = self.sent[s.source] if s.delay == 0 else self.past[-s.delay][s.source] if s.delay <= len(self.past) else []
            for element, payload in arrived:
                targets = per_source.get(element, [])
                row[0] += 1 if targets else 0
                for target, weight in targets:
                    touched.add(target // ports)
                    row[1] += 1
                    if weight is None:
                        row[3] += 1
                        if s.kind != "max_pool":
                            sums[target] += payload * s.sign
                    else:
                        row[6 if signal == "spike" else 2] += 1 if weight != 0 else 0
                        sums[target] += payload * weight
        if self.first:
            touched = set(range(len(self.value[i])))
        changed, n_touched = [], len(touched)
        if every:
            touched = set(range(len(self.value[i])))
        at_rest = [self._activation(layer, neuron, self._bias(layer, neuron)) for neuron in touched] if every and not layer.dynamics else []
        row[4] = n_touched if every and not layer.dynamics and not any(at_rest) else len(touched)
        for neuron in sorted(touched):
            self.value[i][neuron] = self._f(layer, i, neuron)
            changed.append((neuron, self.value[i][neuron]))
        self.passing[i] = [0.0] * len(self.passing[i])
        self.sent[i] = []
        if any(s.source == i for other in self.network.layers for s in other.synapses):
            self.sent[i] = self._send(i, changed, layer)
            row[5] = len(self.sent[i])
        return row

    def _signal(self, source):
        """How a source transmits, derived again from what neurons it has."""
        if source == INPUT:
            return self.network.input.signal
        layer = self.network.layers[source]
        if layer.dynamics:
            return {"lif": "spike", "loihi_lif": "spike", "multispike": "graded"}.get(layer.dynamics.kind, "delta")
        return "delta" if all(self._signal(s.source) == "delta" for s in layer.synapses if s.source < source) else "graded"

    def _send(self, source, values, sender):
        sent, ref, threshold, size = [], self.ref[source], sender.threshold, 2**sender.payload_shift
        if self._signal(source) != "delta":
            return [(element, value) for element, value in values if value != 0]
        for element, value in values:
            if self.rule == "quantised" and threshold > 0:
                value = threshold * float(np.rint(value / threshold))
            d = value - ref[element]
            if self.rule == "quantised":
                sends = d != 0
            elif self.rule == "sigma_delta":
                sends = abs(d) >= threshold and d != 0
            else:
                sends = abs(d) > threshold
            payload = d if size == 1 else float(math.floor(d / size))
            if sends and payload != 0:
                sent.append((element, payload))
            if sends or self.rule == "naive":
                ref[element] = ref[element] + payload * size if self.rule == "hold" and size > 1 else value
        return sent

    def _f(self, layer, i, neuron):
        s = layer.synapses[0]
        if s.kind == "max_pool":
            x = max(self.ref[s.source][e] for e, targets in self.synapses[i][0][0].items() for t, _ in targets if t == neuron)
        elif layer.dynamics:
            ports = len(self.accumulator[i]) // len(self.value[i])
            own = range(neuron * ports, neuron * ports + ports)
            x = self._move(layer, neuron, [self.accumulator[i][k] + self.passing[i][k] for k in own], self.memory[i][neuron])
        else:
            x = self.accumulator[i][neuron] + self.passing[i][neuron]
        return self._activation(layer, neuron, x)

    @staticmethod
    def _bias(layer, neuron):
        bias = layer.bias.reshape(-1)
        return float(bias[0] if bias.size == 1 else bias[neuron % bias.size])

    def _move(self, layer, neuron, x, memory):
        """One timestep of a neuron with a state, which is changed in place; returns its value."""
        kind = layer.dynamics.kind
        p = {}
        for name, values in layer.dynamics.parameters.items():
            flat = values.reshape(-1)
            p[name] = float(flat[0] if flat.size == 1 else flat[neuron % flat.size])
        if kind in ("lif", "multispike", "li"):
            memory[0] = p["current_decay"] * memory[0] + p["current_gain"] * x[0]
            memory[1] = p["decay"] * memory[1] + p["gain"] * memory[0] + p["offset"]
            if kind == "li":
                return memory[1]
            if kind == "multispike":
                n = math.floor(max(memory[1], 0.0) / p["threshold"])
                memory[1] -= n * p["threshold"]
                return float(n)
            if memory[1] > p["threshold"] or (p["inclusive"] and memory[1] == p["threshold"]):
                memory[1] = memory[1] - p["threshold"] if p["subtract"] else p["reset"]
                return 1.0
            return 0.0
        if kind == "loihi_lif":
            memory[0] = float(_chopped(int(memory[0]), 4096 - int(p["current_decay"]))) + x[0]
            memory[1] = float(_chopped(int(memory[1]), 4096 - int(p["decay"]))) + memory[0] + p["offset"]
            if memory[1] > p["threshold"]:
                memory[1] = 0.0
                return 1.0
            return 0.0
        if kind == "sigma":
            arrived, bits = int(x[0]), int(p["bits"])
            wrapped = arrived & ((1 << bits) - 1)
            wrapped -= (1 << bits) if wrapped >> (bits - 1) else 0
            self.overflows += wrapped != arrived
            memory[0] += wrapped
            return memory[0] + p["offset"]
        if kind == "rnn":
            return math.tanh(x[0])
        if kind == "lstm":
            memory[0] = _sigmoid(x[1]) * memory[0] + _sigmoid(x[0]) * math.tanh(x[2])
            return _sigmoid(x[3]) * math.tanh(memory[0])
        r, z = _sigmoid(x[0]), _sigmoid(x[1])
        memory[0] = (1 - z) * math.tanh(x[2] + r * x[3]) + z * memory[0]
        return memory[0]

    @staticmethod
    def _activation(layer, neuron, x):
        for step in layer.activation:
            p = [float(q) if q.ndim == 0 else float(q.reshape(-1)[neuron % layer.shape[2] if q.size == layer.shape[2] else neuron])
                 for q in step.parameters]
            x = F[step.op](x, *p)
        return x


PORTS = {"lstm": 4, "gru": 4}


def _chopped(x, keep):
    """Whole part of x * keep / 4096, toward 0."""
    return int(abs(x) * keep / 4096) * (1 if x >= 0 else -1)


def _sigmoid(x):
    e = math.exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


F = {
    "affine": lambda x, scale, offset: x * scale + offset,
    "relu": lambda x: 0.0 if x < 0 else x,
    "leaky_relu": lambda x, alpha: alpha * x if x < 0 else x,
    "elu": lambda x, alpha: alpha * math.expm1(x) if x < 0 else x,
    "clip": lambda x, low, high: min(max(x, low), high),
    "tanh": math.tanh,
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda x, alpha, beta: min(max(alpha * x + beta, 0.0), 1.0),
    "hard_swish": lambda x: x * min(max(x / 6 + 0.5, 0.0), 1.0),
    "swish": lambda x: x * _sigmoid(x),
    "round": lambda x: float(round(x)),
    "requantize": lambda x, scale: float(np.rint(np.float32(x) * np.float32(scale))),
    "shift_right": lambda x, bits: float(math.floor(x / 2**bits)),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}
