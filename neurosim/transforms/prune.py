"""Magnitude pruning: set the smallest weights to zero. Topology and shapes stay; counts follow the zeros."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.synapses import Synapses


def prune(network: Network, sparsity: float | Mapping[str, float], scope: str = "layer") -> Network:
    """Remove the smallest weights by magnitude.

    Parameters
    ----------
    sparsity : float or mapping of layer name to float
        Fraction of weights to set to zero, in [0, 1). A mapping prunes the named layers only.
    scope : {"layer", "global"}
        ``layer``: the fraction holds in each layer; ``global``: over all weights of the
        network together (95 % of a DQN's weights sit in its first dense layer, 83 % of its
        MACs in the convolutions: the two differ).

    Returns
    -------
    Network
        Ties are broken by position, so that exactly round(sparsity x weights) are zeroed.

    Raises
    ------
    SimulationError
        For a sparsity outside [0, 1), an unknown layer name or scope.
    """
    if scope not in ("layer", "global"):
        raise SimulationError(f"pruning scope {scope!r} is unknown; choose layer or global")
    if isinstance(sparsity, Mapping):
        names = [layer.name for layer in network.layers if any(s.weighted for s in layer.synapses)]
        unknown = [name for name in sparsity if name not in names]
        if unknown or scope == "global":
            raise SimulationError(
                f"cannot prune {', '.join(unknown) or 'by layer under a global scope'}; layers with weights: {', '.join(names)}"
            )
        wanted = dict(sparsity)
    else:
        wanted = {layer.name: sparsity for layer in network.layers}
    for name, value in wanted.items():
        if not 0 <= value < 1:
            raise SimulationError(f"sparsity of {name} is {value}; it must lie in [0, 1)")
    if scope == "global":
        return _prune_together(network, float(sparsity))  # type: ignore[arg-type]
    return replace(
        network,
        layers=tuple(
            replace(layer, synapses=tuple(_with_weight(s, partial(_cut, fraction=wanted.get(layer.name, 0.0))) for s in layer.synapses))
            for layer in network.layers
        ),
    )


def _with_weight(s: Synapses, change: Callable[[np.ndarray], np.ndarray]) -> Synapses:
    return s if s.weight is None else replace(s, weight=change(s.weight))


def _cut(weight: np.ndarray, fraction: float) -> np.ndarray:
    pruned = weight.copy()
    n = round(fraction * weight.size)
    pruned.reshape(-1)[np.argsort(np.abs(weight), axis=None, kind="stable")[:n]] = 0.0
    return pruned


def _prune_together(network: Network, fraction: float) -> Network:
    weights = [s.weight for layer in network.layers for s in layer.synapses if s.weight is not None]
    joined = _cut(np.concatenate([w.reshape(-1) for w in weights]), fraction)
    pieces = iter(np.split(joined, np.cumsum([w.size for w in weights])[:-1]))
    return replace(
        network,
        layers=tuple(
            replace(layer, synapses=tuple(_with_weight(s, lambda w: next(pieces).reshape(w.shape).copy()) for s in layer.synapses))
            for layer in network.layers
        ),
    )
