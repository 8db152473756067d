"""The search space of `tune`: one threshold per sender, and optionally one sparsity per layer with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.transforms import calibrate_thresholds, prune, set_thresholds

BOTTOM, TOP = 1e-4, 1.0
"""Threshold as a fraction of the sender's activation scale: log-uniform between these."""
ZERO_BELOW = 2e-4
"""Fractions below this one are threshold 0: every change is sent."""
LADDER = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Fractions that are tried first, one for all senders: they already give the knee of the curve."""
SPARSE_LADDER = ((0.003, 0.5), (0.01, 0.3), (0.01, 0.7))
"""Fraction and sparsity of all layers together, tried after `LADDER` where sparsity is searched."""
MOST_SPARSE = 0.95
SPREADS = (0.15, 0.4, 1.0)
"""Standard deviations of the logarithm of a threshold between neighbours."""
_SAMPLE_BYTES = 1 << 27


@dataclass(frozen=True)
class Setting:
    """One point of the space.

    Parameters
    ----------
    fractions : dict
        Sender -> fraction of its activation scale, three significant digits.
    thresholds : dict
        Sender -> fraction x scale, six significant digits: what the network gets.
    sparsity : dict
        Layer -> share of its weights set to zero by magnitude; empty where sparsity is not searched.
    """

    fractions: dict[str, float]
    thresholds: dict[str, float]
    sparsity: dict[str, float]

    def apply(self, network: Network) -> Network:
        """The network pruned and with these thresholds."""
        pruned = prune(network, self.sparsity) if any(self.sparsity.values()) else network
        return set_thresholds(pruned, self.thresholds)


@dataclass(frozen=True)
class Space:
    """All settings.

    Parameters
    ----------
    scales : dict
        Sender -> activation scale; senders of scale 0 never send and keep threshold 0.
    prunable : tuple of str
        Layers whose sparsity is searched.
    """

    scales: dict[str, float]
    prunable: tuple[str, ...] = ()

    def distributions(self) -> dict[str, Any]:
        """Optuna's description of the space."""
        from optuna.distributions import FloatDistribution

        thresholds = {f"threshold {name}": FloatDistribution(BOTTOM, TOP, log=True) for name, scale in self.scales.items() if scale}
        return thresholds | {f"sparsity {name}": FloatDistribution(0.0, MOST_SPARSE, step=0.01) for name in self.prunable}

    def setting(self, parameters: dict[str, float]) -> Setting:
        """The setting that Optuna's parameters stand for."""
        fractions = {name: _fraction(parameters.get(f"threshold {name}", 0.0)) for name in self.scales}
        thresholds = {name: float(f"{fraction * self.scales[name]:.6g}") for name, fraction in fractions.items()}
        return Setting(fractions, thresholds, {name: round(parameters[f"sparsity {name}"], 2) for name in self.prunable})

    def ladder(self) -> list[dict[str, float]]:
        """Parameters of the trials that come first."""
        steps = [(fraction, 0.0) for fraction in LADDER] + (list(SPARSE_LADDER) if self.prunable else [])
        return [{key: self._step(key, *step) for key in self.distributions()} for step in steps]

    def neighbour(self, parameters: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
        """Parameters near given ones: some thresholds times exp(N(0, s)), some sparsities plus N(0, s / 5), s one of `SPREADS`."""
        moved = rng.random(len(parameters)) < 0.5
        moved[rng.integers(len(parameters))] = True
        spread = rng.choice(SPREADS)
        return {
            key: self._moved(key, value, rng.normal(0, spread)) if move else value for move, (key, value) in zip(moved, parameters.items())
        }

    def _moved(self, key: str, value: float, by: float) -> float:
        if key.startswith("sparsity "):
            return min(abs(round(value + by / 5, 2)), MOST_SPARSE)
        return float(np.clip(max(value, ZERO_BELOW) * np.exp(by), BOTTOM, TOP))

    def _step(self, key: str, fraction: float, sparsity: float) -> float:
        return sparsity if key.startswith("sparsity ") else max(BOTTOM, fraction)


def _fraction(value: float) -> float:
    return float(f"{value:.3g}") if value >= ZERO_BELOW else 0.0


def prunable_layers(network: Network) -> tuple[str, ...]:
    """Layers with weights."""
    return tuple(layer.name for layer in network.layers if any(s.weighted for s in layer.synapses))


def activation_scales(network: Network, inputs: np.ndarray) -> dict[str, float]:
    """99th percentile of abs(activation) of each sender in a dense run; the maximum where that is 0.

    Parameters
    ----------
    inputs : ndarray, (timesteps, *network.input.shape)
    """
    scales, peaks = (calibrate_thresholds(network, inputs, 1.0, percentile).thresholds for percentile in (99.0, 100.0))
    return {name: scale or peaks[name] for name, scale in scales.items()}


def sample_size(network: Network) -> int:
    """Inputs that a dense run for scales and zero-skip counts may hold in memory at once, at most 1,000."""
    values = network.input.n_elements + sum(layer.n_neurons for layer in network.layers)
    return int(np.clip(_SAMPLE_BYTES // (8 * values), 1, 1_000))


def evenly(inputs: np.ndarray, size: int) -> np.ndarray:
    """At most `size` evenly spaced inputs."""
    return inputs if len(inputs) <= size else inputs[np.linspace(0, len(inputs) - 1, size).astype(np.int64)]


def require_scales(scales: dict[str, float]) -> None:
    """Refuse a network in which nothing ever changes."""
    if not any(scales.values()):
        raise SimulationError("every input and activation is 0 on the recorded inputs: there is nothing to tune")
