"""Thresholds: how much a value must change before it is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurosim import dense
from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.synapses import INPUT


def set_thresholds(network: Network, thresholds: float | Mapping[str, float]) -> Network:
    """Return the network with other thresholds.

    Parameters
    ----------
    thresholds : float or mapping
        One number for the input and every layer that sends; or exactly one entry per sender,
        by name (``input`` and the layer names of `Network.thresholds`).

    Raises
    ------
    SimulationError
        For a negative or NaN threshold, and for missing or unknown names (all at once).
    """
    known = list(network.thresholds)
    if isinstance(thresholds, Mapping):
        passing = [str(name) for name in thresholds if name not in known and name in _senders(network)]
        if passing:
            raise SimulationError(f"no threshold for {', '.join(passing)}: spikes, and values that do not last, are all sent; "
                                  f"thresholds are for {', '.join(known) or 'none of its senders'}")
        unknown = [str(name) for name in thresholds if name not in known]
        missing = [name for name in known if name not in thresholds]
        if unknown or missing:
            problems = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(missing)}"] * bool(missing)
            raise SimulationError(f"thresholds do not match the network: {'; '.join(problems)}. Give each of: {', '.join(known)}")
        values = {name: _checked(name, thresholds[name]) for name in known}
    else:
        value = _checked("the network", thresholds)
        if value > 0 and not known:
            raise SimulationError(f"threshold {value:g}: network {network.name!r} sends spikes and values that do not last, and all of "
                                  "them: it has no thresholds")
        values = dict.fromkeys(known, value)
    layers = tuple(replace(layer, threshold=values.get(layer.name, 0.0)) for layer in network.layers)
    return replace(network, input=replace(network.input, threshold=values.get("input", 0.0)), layers=layers)


def _senders(network: Network) -> set[str]:
    """Names of all that transmit, thresholds or not."""
    return {"input" if s == INPUT else network.layers[s].name for s in network.senders}


def calibrate_thresholds(network: Network, inputs: np.ndarray, fraction: float, percentile: float = 99.0,
                         resets: np.ndarray | None = None) -> Network:
    """Set each threshold to a fraction of the sender's activation scale on given inputs.

    Equation: threshold = fraction x (percentile of abs(activation) over elements and timesteps),
    from a dense float64 run.

    Parameters
    ----------
    inputs : ndarray, (timesteps, *network.input.shape)
    fraction : float
        0 or more.
    percentile : float
        In (0, 100].
    resets : ndarray, bool, (timesteps,), optional
        Where the state of a network that remembers is cleared.

    Raises
    ------
    SimulationError
        For a negative or NaN fraction, a percentile out of range, or inputs of another shape.
    """
    fraction = _checked("fraction", fraction)
    if not 0 < percentile <= 100:
        raise SimulationError(f"percentile {percentile} is outside (0, 100]")
    if inputs.shape[1:] != network.input.shape or len(inputs) == 0:
        raise SimulationError(
            f"calibration inputs have shape {inputs.shape}, expected (timesteps, {', '.join(map(str, network.input.shape))})"
        )
    encoded, activations, _ = dense.evaluate(network, inputs, resets=resets)
    scale = {"input": np.percentile(np.abs(encoded), percentile)}
    for layer, values in zip(network.layers, activations):
        scale[layer.name] = np.percentile(np.abs(values), percentile)
    return set_thresholds(network, {name: fraction * float(scale[name]) for name in network.thresholds})


def _checked(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise SimulationError(f"threshold of {name}: {value!r} is not a number")
    if math.isnan(value) or value < 0 or math.isinf(value):
        raise SimulationError(f"threshold of {name} is {value}; it must be a finite number of 0 or more")
    return float(value)
