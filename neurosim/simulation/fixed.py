"""Integer runs (``fixed``): what a network needs for them, and how wide its accumulators must be.

All arithmetic is exact: nothing is rounded but by steps of f that say so (`requantize`, `shift_right`), nothing saturates but by
`clip`, and what wraps around is counted (`sigma`, `Simulator.overflows`). So a bound on every accumulator is proved before the run::

    |accumulator| <= |bias| + max over neurons of sum |w| x (largest |value| of the source)

It holds between two events too: of each source element either the old or the new value has been added. Values are bounded by a last
`clip`, by the encoder's quantisation, or because they are spikes; where nothing bounds them, the 64 bits of the host do.
"""

from __future__ import annotations

import numpy as np

from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.neurons import SPIKE
from neurosim.synapses import INPUT, Synapses

INTEGER_STEPS = ("relu", "clip", "requantize", "shift_right")
"""Steps of f that give whole numbers for whole numbers."""

REAL_NEURONS = ("rnn", "lstm", "gru")


def check(network: Network) -> np.dtype:
    """The integer type in which a network runs: int32 where its accumulators are proved to fit, else int64.

    Raises
    ------
    SimulationError
        For weights, biases, thresholds or parameters that are not whole, steps of f and neurons that are not for integers, and
        accumulators that may exceed 64 bits; all at once.
    """
    problems = [text for i in range(len(network.layers)) for text in _problems(network, i)]
    if network.input.threshold != np.rint(network.input.threshold):
        problems.append(f"input: threshold {network.input.threshold:g} is not whole")
    bounds = accumulator_bounds(network)
    problems += [f"layer {layer.name!r}: accumulators of up to {bound:.3g} > 64 bits" for layer, bound in zip(network.layers, bounds)
                 if bound is not None and bound >= 2.0**63]
    if problems:
        raise SimulationError("fixed numerics need whole numbers:\n  " + "\n  ".join(problems) + "\nload a quantised model (ONNX with "
                              "QuantizeLinear, lava-dl), or run in float32 or float64")
    known = [bound for bound in bounds if bound is not None]
    return np.dtype(np.int32 if len(known) == len(bounds) and max(known) < 2**31 else np.int64)


def _problems(network: Network, i: int) -> list[str]:
    layer = network.layers[i]
    arrays = {"threshold": np.asarray(layer.threshold), "bias": layer.bias}
    arrays |= {f"weights of synapses {g}": s.weight for g, s in enumerate(layer.synapses) if s.weight is not None}
    arrays |= dict(layer.dynamics.parameters) if layer.dynamics else {}
    found = [f"layer {layer.name!r}: {name}: {_example(a)} is not whole" for name, a in arrays.items() if np.any(a != np.rint(a))]
    found += [f"layer {layer.name!r}: {step.op} is not for integers ({', '.join(INTEGER_STEPS)} are)"
              for step in layer.activation if step.op not in INTEGER_STEPS]
    if layer.dynamics is not None and layer.dynamics.kind in REAL_NEURONS:
        found.append(f"layer {layer.name!r}: {layer.dynamics.kind} neurons are not for integers")
    return found


def _example(values: np.ndarray) -> str:
    odd = np.asarray(values)[np.asarray(values) != np.rint(values)]
    return f"{odd.reshape(-1)[0]:g}"


def accumulator_bounds(network: Network) -> list[float | None]:
    """Largest absolute value that the accumulators of each layer can hold; None where nothing bounds a source."""
    found = []
    for layer in network.layers:
        total: float | None = float(np.abs(layer.bias).max(initial=0.0))
        for s in layer.synapses:
            reach = _largest(network, s.source)
            total = None if total is None or reach is None else total + _largest_sum(s) * reach
        found.append(total)
    return found


def _largest(network: Network, source: int) -> float | None:
    """Largest absolute value that a source can hold."""
    if network.signal_of(source) == SPIKE:
        return 1.0
    if source == INPUT:
        ops = network.input.encoder.ops
        if ops and ops[-1].op == "Quantize":
            return max(abs(float(np.asarray(v))) for v in ops[-1].operands[2:] if not isinstance(v, int))
        return None
    f = network.layers[source].activation
    if f and f[-1].op == "clip":
        return max(float(np.abs(p).max()) for p in f[-1].parameters)
    return None


def _largest_sum(s: Synapses) -> float:
    """Largest sum of |w| over the synapses of one target."""
    if s.weight is None:
        return float(s.kernel[0] * s.kernel[1])
    return float(np.abs(s.weight).reshape(len(s.weight), -1).sum(axis=1).max(initial=0.0))
