"""The networks that the recipes train: small ReLU multilayer perceptrons, optionally behind a frozen normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn


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
