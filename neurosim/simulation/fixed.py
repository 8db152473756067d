"""Integer runs (``fixed``): what a network needs for them, and how wide its accumulators must be."""

from __future__ import annotations

import numpy as np

from neurosim.errors import SimulationError
from neurosim.network import Network

INTEGER_STEPS = {"relu", "clip", "requantize", "shift_right"}
"""Steps of f that give whole numbers for whole numbers."""


def check(network: Network) -> np.dtype:
    """The integer type in which a network runs.

    Raises
    ------
    SimulationError
        For weights, biases, thresholds or parameters that are not whole, and for steps of f that are not for integers.
    """
    problems = []
    for layer in network.layers:
        arrays = {"threshold": np.asarray(layer.threshold), "bias": layer.bias}
        arrays |= {f"weights of synapses {i}": s.weight for i, s in enumerate(layer.synapses) if s.weight is not None}
        arrays |= dict(layer.dynamics.parameters) if layer.dynamics else {}
        problems += [f"layer {layer.name!r}: {name} not whole" for name, a in arrays.items() if np.any(a != np.rint(a))]
        problems += [f"layer {layer.name!r}: {step.op} is not for integers" for step in layer.activation if step.op not in INTEGER_STEPS]
        if layer.dynamics is not None and layer.dynamics.kind in ("rnn", "lstm", "gru"):
            problems.append(f"layer {layer.name!r}: {layer.dynamics.kind} neurons are not for integers")
    if problems:
        raise SimulationError("fixed numerics need whole numbers:\n  " + "\n  ".join(problems))
    return np.dtype(np.int64)
