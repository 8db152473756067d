"""Weight quantisation: round weights to a grid of 2^bits - 1 symmetric levels. Values stay floats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.synapses import Synapses


def quantize(network: Network, bits: int, per_channel: bool = True) -> Network:
    """Round every weight to the nearest multiple of its scale.

    Equation: q = clip(round(w / s), -(2^(bits-1) - 1), 2^(bits-1) - 1) x s,
    s = max abs(w) / (2^(bits-1) - 1), over an output channel or a group of synapses, rounded up
    to 25 - bits significant bits: every multiple is then a float32 value, and no run rounds it.

    Parameters
    ----------
    bits : int
        2 to 16.
    per_channel : bool
        One scale per output channel, else one per group of synapses.

    Raises
    ------
    SimulationError
        For a number of bits outside 2 to 16.
    """
    if not 2 <= bits <= 16:
        raise SimulationError(f"weights of {bits} bits are not supported; choose 2 to 16")
    return replace(
        network,
        layers=tuple(replace(layer, synapses=tuple(_rounded(s, bits, per_channel) for s in layer.synapses)) for layer in network.layers),
    )


def _rounded(s: Synapses, bits: int, per_channel: bool) -> Synapses:
    if s.weight is None:
        return s
    top = 2 ** (bits - 1) - 1
    flat = s.weight.reshape(s.weight.shape[0], -1)
    peak = np.abs(flat).max(axis=1, keepdims=True) if per_channel else np.abs(flat).max()
    mantissa, exponent = np.frexp(np.where(peak > 0, peak, 1.0) / top)
    kept = 25 - bits
    scale = np.ldexp(np.ceil(np.ldexp(mantissa, kept)), exponent - kept)
    return replace(s, weight=(np.clip(np.round(flat / scale), -top, top) * scale).reshape(s.weight.shape))
