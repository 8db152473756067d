"""Neurons with a state of their own: what they do in every timestep, whether or not an event meets them.

A layer without `Dynamics` is ``static``: its value is f of its accumulator. A layer with them is *autonomous*: in every
timestep each neuron takes what its accumulators hold, moves its state and gives a value, as the table of `KINDS` says.
This is the readable numpy form; kernels/neurons.py holds the same equations.

Sources: leaky integrate-and-fire and its relatives in the discrete form of exact or Euler steps (Pedersen et al. 2024, NIR,
Nature Communications 15:8122); Loihi's integer form (Davies et al. 2018, IEEE Micro 38(1), and lava-dl, BSD-3-Clause);
LSTM and GRU as in the ONNX operators of the same names; as delta networks: Neil et al. 2016 (arXiv 1612.05571).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

DELTA, SPIKE, GRADED = "delta", "spike", "graded"
"""How a source transmits. ``delta``: changes of a value that lasts until the next change. ``spike``: a payload of 1 that
counts in its own timestep only. ``graded``: a value that counts in its own timestep only."""


@dataclass(frozen=True)
class NeuronKind:
    """One kind of autonomous neuron.

    Parameters
    ----------
    family : str
        Its name in the `supports.neurons` of a chip.
    signal : str
        How it transmits, if it does: `DELTA`, `SPIKE` or `GRADED`.
    parameters : tuple of str
        Names, in the order of the equation.
    n_states : int
        State variables of a neuron, 0 after a reset.
    ports : int
        Accumulators of a neuron; they stand side by side: neuron k owns k * ports .. k * ports + ports - 1.
    elementwise_ops : int
        Evaluations of functions and products of states that one update takes.
    advance : callable
        ``advance(x, state, *parameters) -> (value, state)``: x (neurons, ports), state (n_states, neurons), parameters
        and value (neurons,).
    integers : bool
        Whether the equation is meant for integers alone.
    clears : bool
        Whether accumulators start afresh in every timestep even where the sources send changes.
    """

    family: str
    signal: str
    parameters: tuple[str, ...]
    n_states: int
    ports: int
    elementwise_ops: int
    advance: Callable[..., tuple[np.ndarray, np.ndarray]]
    integers: bool = False
    clears: bool = False


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _current_and_voltage(x, state, current_decay, current_gain, decay, gain, offset):
    current = current_decay * state[0] + current_gain * x[:, 0]
    return current, decay * state[1] + gain * current + offset


def _li(x, state, current_decay, current_gain, decay, gain, offset):
    current, v = _current_and_voltage(x, state, current_decay, current_gain, decay, gain, offset)
    return v, np.stack([current, v])


def _lif(x, state, current_decay, current_gain, decay, gain, offset, threshold, reset, subtract, inclusive):
    current, v = _current_and_voltage(x, state, current_decay, current_gain, decay, gain, offset)
    fires = (v > threshold) | ((inclusive != 0) & (v == threshold))
    after = np.where(subtract != 0, v - threshold, reset)
    return fires.astype(v.dtype), np.stack([current, np.where(fires, after, v)])


def _multispike(x, state, current_decay, current_gain, decay, gain, offset, threshold):
    current, v = _current_and_voltage(x, state, current_decay, current_gain, decay, gain, offset)
    count = np.floor(np.maximum(v, 0) / threshold)
    return count, np.stack([current, v - count * threshold])


def _toward_zero(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Whole part of x * keep / 4096."""
    return np.sign(x) * ((np.abs(x) * keep) // 4096)


def _loihi_lif(x, state, current_decay, decay, offset, threshold):
    current = _toward_zero(state[0], 4096 - current_decay) + x[:, 0]
    v = _toward_zero(state[1], 4096 - decay) + current + offset
    fires = v > threshold
    return fires.astype(v.dtype), np.stack([current, np.where(fires, 0, v)])


def _wrapped(x: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """x as a two's complement number of so many bits."""
    half = 2.0 ** (np.asarray(bits, np.float64) - 1)
    return np.asarray(np.mod(x + half, 2 * half) - half, x.dtype)


def _sigma(x, state, bits, offset):
    total = state[0] + _wrapped(x[:, 0], bits)
    return total + offset, total[None]


def _rnn(x, state):
    h = np.tanh(x[:, 0])
    return h, h[None][:0]


def _lstm(x, state):
    i, f, g, o = _sigmoid(x[:, 0]), _sigmoid(x[:, 1]), np.tanh(x[:, 2]), _sigmoid(x[:, 3])
    cell = f * state[0] + i * g
    return o * np.tanh(cell), cell[None]


def _gru(x, state):
    r, z = _sigmoid(x[:, 0]), _sigmoid(x[:, 1])
    n = np.tanh(x[:, 2] + r * x[:, 3])
    h = (1 - z) * n + z * state[0]
    return h, h[None]


_LEAK = ("current_decay", "current_gain", "decay", "gain", "offset")

KINDS: dict[str, NeuronKind] = {
    "lif": NeuronKind("lif", SPIKE, (*_LEAK, "threshold", "reset", "subtract", "inclusive"), 2, 1, 1, _lif),
    "multispike": NeuronKind("lif", GRADED, (*_LEAK, "threshold"), 2, 1, 1, _multispike),
    "li": NeuronKind("lif", DELTA, _LEAK, 2, 1, 1, _li),
    "loihi_lif": NeuronKind("lif", SPIKE, ("current_decay", "decay", "offset", "threshold"), 2, 1, 1, _loihi_lif, integers=True),
    "sigma": NeuronKind("sigma_delta", DELTA, ("bits", "offset"), 1, 1, 1, _sigma, integers=True, clears=True),
    "rnn": NeuronKind("rnn", DELTA, (), 0, 1, 1, _rnn),
    "lstm": NeuronKind("lstm", DELTA, (), 1, 4, 8, _lstm),
    "gru": NeuronKind("gru", DELTA, (), 1, 4, 6, _gru),
}
"""Kind -> what its neurons do in a timestep, x being the sums of their accumulators (bias included).

============  =================================================================================================
lif           i = current_decay i + current_gain x;  v = decay v + gain i + offset;  spike where v > threshold
              (or =, if `inclusive`);  then v = v - threshold if `subtract`, else v = reset
multispike    i, v alike;  value = floor(max(v, 0) / threshold) spikes at once;  v = v - value threshold
li            i, v alike;  value = v
loihi_lif     integers, decays in 1/4096, rounded toward 0:  u = u (4096 - current_decay) / 4096 + x;
              v = v (4096 - decay) / 4096 + u + offset;  spike where v > threshold, then v = 0
sigma         integers:  s = s + x as a number of `bits` bits (it wraps around);  value = s + offset
rnn           value = tanh(x)
lstm          ports i, f, g, o:  c = sigmoid(f) c + sigmoid(i) tanh(g);  value = sigmoid(o) tanh(c)
gru           ports r, z, n, m:  h = (1 - sigmoid(z)) tanh(n + sigmoid(r) m) + sigmoid(z) h;  value = h
              (n sums what comes from the inputs, m what comes from the hidden state)
============  =================================================================================================
"""


@dataclass(frozen=True)
class Dynamics:
    """What the neurons of an autonomous layer do.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    parameters : mapping of str to array-like
        float64, one for each name of the kind: (), (channels,) or (neurons,).
    """

    kind: str
    parameters: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of neuron {self.kind!r}")
        if set(self.parameters) != set(self.of.parameters):
            raise ValueError(f"{self.kind} neurons have the parameters {', '.join(self.of.parameters) or '(none)'}")
        values = {name: np.array(self.parameters[name], np.float64) for name in self.of.parameters}
        for value in values.values():
            value.setflags(write=False)
        object.__setattr__(self, "parameters", values)

    @property
    def of(self) -> NeuronKind:
        """What its kind does."""
        return KINDS[self.kind]

    def per_neuron(self, name: str, n_neurons: int, channels: int) -> np.ndarray:
        """A parameter as float64 (neurons,)."""
        values = self.parameters[name].reshape(-1)
        if values.size not in (1, channels, n_neurons):
            raise ValueError(f"parameter {name!r} has {values.size} values for {n_neurons} neurons in {channels} channels")
        return values if values.size == n_neurons else np.resize(values, n_neurons)
