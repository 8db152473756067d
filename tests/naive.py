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
        for layer in self.network.layers:
            n = layer.shape[0] * layer.shape[1] * layer.shape[2]
            bias = layer.bias
            self.accumulator.append([float(bias if bias.ndim == 0 else bias[i] if bias.size == n else bias[i % layer.shape[2]])
                                     for i in range(n)])
            self.value.append([0.0] * n)
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
        """One timestep on an encoded input (flat). Returns (input events, rows of six counts per layer, outputs)."""
        self.sent[INPUT] = self._send(INPUT, [(e, float(v)) for e, v in enumerate(x)], self.network.input.threshold)
        rows = [None] * len(self.network.layers)
        order = list(range(len(rows)))
        for i in order if self.schedule == "fall_through" else order[::-1]:
            rows[i] = self._layer(i)
        self.first = False
        outputs = [self.value[p.layer][e] for p in self.network.outputs for e in p.elements.reshape(-1)]
        return len(self.sent[INPUT]), rows, outputs

    def _layer(self, i):
        layer = self.network.layers[i]
        touched, row = set(), [0] * 6
        for s, (per_source, _) in zip(layer.synapses, self.synapses[i]):
            for element, payload in self.sent[s.source]:
                targets = per_source.get(element, [])
                row[0] += 1 if targets else 0
                for target, weight in targets:
                    touched.add(target)
                    row[1] += 1
                    if weight is None:
                        row[3] += 1
                        if s.kind != "max_pool":
                            self.accumulator[i][target] += payload * s.sign
                    else:
                        row[2] += 1 if weight != 0 else 0
                        self.accumulator[i][target] += payload * weight
        if self.first:
            touched = set(range(len(self.value[i])))
        changed = []
        for neuron in sorted(touched):
            self.value[i][neuron] = self._f(layer, i, neuron)
            row[4] += 1
            changed.append((neuron, self.value[i][neuron]))
        self.sent[i] = []
        if any(s.source == i for other in self.network.layers for s in other.synapses):
            self.sent[i] = self._send(i, changed, layer.threshold)
            row[5] = len(self.sent[i])
        return row

    def _send(self, source, values, threshold):
        sent, ref = [], self.ref[source]
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
            if sends:
                sent.append((element, d))
            if sends or self.rule == "naive":
                ref[element] = value
        return sent

    def _f(self, layer, i, neuron):
        s = layer.synapses[0]
        if s.kind == "max_pool":
            x = max(self.ref[s.source][e] for e, targets in self.synapses[i][0][0].items() for t, _ in targets if t == neuron)
        else:
            x = self.accumulator[i][neuron]
        for step in layer.activation:
            p = [float(q) if q.ndim == 0 else float(q.reshape(-1)[neuron % layer.shape[2] if q.size == layer.shape[2] else neuron])
                 for q in step.parameters]
            x = F[step.op](x, *p)
        return x


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
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}
