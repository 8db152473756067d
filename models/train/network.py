"""The networks that the recipes train: small ReLU multilayer perceptrons, optionally behind a frozen normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as F


def mlp(sizes: Sequence[int], head_gain: float = 1.0) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them, orthogonal weights, zero biases.

    Source: orthogonal initialisation, Saxe et al. 2014 (arXiv 1312.6120); gain sqrt(2) for ReLU layers.
    """
    layers: list[nn.Module] = []
    n_linear = len(sizes) - 1
    for i, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        is_head = i == n_linear - 1
        linear = nn.Linear(n_in, n_out)
        nn.init.orthogonal_(linear.weight, head_gain if is_head else float(np.sqrt(2.0)))
        nn.init.zeros_(linear.bias)
        layers += [linear] if is_head else [linear, nn.ReLU()]
    return nn.Sequential(*layers)


def shape_of(network: nn.Module) -> str:
    """The layer sizes, input first: `4-64-64-2`."""
    linears = [m for m in network.modules() if isinstance(m, nn.Linear)]
    return "-".join(str(n) for n in (linears[0].in_features, *(m.out_features for m in linears)))


class Normalised(nn.Module):
    """`layers(clip((obs - mean) * inv_std, -limit, limit))`: three element-wise nodes, then the trained layers.

    mean, inv_std: float64 arrays (n_obs,), rounded to float32 here.
    """

    def __init__(self, layers: nn.Module, mean: np.ndarray, inv_std: np.ndarray, limit: float) -> None:
        super().__init__()
        self.layers = layers
        self.limit = limit
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("inv_std", torch.as_tensor(inv_std, dtype=torch.float32))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.clamp((obs - self.mean) * self.inv_std, -self.limit, self.limit))


class Actor(nn.Module):
    """Encoder, then weighted layers with ReLU between them: what every policy of these recipes is."""

    activation = staticmethod(F.relu)

    def __init__(self, encoder: nn.Module, layers: list[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = nn.ModuleList(layers)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        x = self.encoder(obs)
        for i, layer in enumerate(self.layers):
            x = layer(x.flatten(1) if isinstance(layer, nn.Linear) else x)
            x = self.activation(x) if i < len(self.layers) - 1 else x
        return x


class Scale(nn.Module):
    """Bytes to 0..1."""

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return obs / 255


def read_actor(path: Path) -> Actor:
    """An exported policy as a torch module again; only what these recipes export is understood."""
    graph = onnx.load(path).graph
    value = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
    layers: list[nn.Module] = []
    encoder: nn.Module = nn.Identity()
    moments: list[torch.Tensor] = []
    for node in graph.node:
        if node.op_type == "Div":
            encoder = Scale()
        elif node.op_type in ("Sub", "Mul"):
            moments.append(value[node.input[1]])
        elif node.op_type == "Clip":
            encoder = Normalised(nn.Identity(), *moments, float(value[node.input[2]]))
        elif node.op_type in ("Conv", "Gemm"):
            weight, bias = value[node.input[1]], value[node.input[2]]
            stride = next((tuple(a.ints) for a in node.attribute if a.name == "strides"), None)
            layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], stride) if stride else nn.Linear(*weight.shape[::-1])
            layer.load_state_dict({"weight": weight, "bias": bias})
            layers.append(layer)
        elif node.op_type not in ("Relu", "Flatten", "Reshape"):
            raise ValueError(f"{path}: operator {node.op_type} is in no policy of these recipes")
    return Actor(encoder, layers).to(memory_format=torch.channels_last)
