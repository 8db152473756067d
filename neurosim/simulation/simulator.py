"""The Simulator: the manual level. One network, its state on the simulated chip, one timestep at a time."""

from __future__ import annotations

import numpy as np

from neurosim.errors import SimulationError
from neurosim.kernels import layout as at
from neurosim.kernels import step as kernel
from neurosim.network import Network
from neurosim.simulation.lower import NUMERICS, lower
from neurosim.simulation.record import Recorder

_BYTES = np.dtype(np.uint8)


class Simulator:
    """Runs a network as delta events and keeps its state between timesteps.

    Parameters
    ----------
    network : Network
        With thresholds set (`neurosim.set_thresholds`).
    numerics : {"float32", "float64"}
    schedule : {"fall_through", "pipelined"}
    rule : {"hold", "sigma_delta", "quantised", "naive"}
        Delta rule; the equations stand in kernels/neuron.py.
    record : {"none", "counts", "events"}
        What `recorder` keeps of each timestep.

    Raises
    ------
    SimulationError
        For an option or a network that cannot be simulated.

    Examples
    --------
    >>> simulator = Simulator(network)
    >>> for observation in observations:
    ...     q_values = simulator.step(observation)
    """

    def __init__(self, network: Network, *, numerics: str = "float32", schedule: str = "fall_through",
                 rule: str = "hold", record: str = "none") -> None:
        self.network, self.numerics, self.schedule, self.rule = network, numerics, schedule, rule
        self._tables = lower(network, numerics, schedule, rule)
        self._plan, self._reals = self._tables.plan, self._tables.reals
        self.recorder = Recorder(network, self._plan, record)
        self._takes_bytes = self._tables.takes_bytes
        self._dtype = NUMERICS[numerics]
        self._shape = network.input.shape
        self._encoder = network.input.encoder if network.input.encoder.ops else None
        self._plain = np.dtype(self._dtype) if self._encoder is None else None
        self._x = np.zeros(self._shape, self._dtype)
        self._x_flat = self._x.reshape(-1)
        start = int(self._plan[at.ANSWER])
        self._answer = self._reals[start: start + int(self._plan[at.N_ANSWER])].reshape(network.output_shape)
        self.reset()

    def reset(self) -> None:
        """Clear the state: accumulators to their bias, sent values to 0. The next timestep evaluates every neuron."""
        kernel.reset(self._plan, self._reals)

    def step(self, x: np.ndarray) -> np.ndarray:
        """Run one timestep.

        Parameters
        ----------
        x : ndarray, any real dtype, `network.input.shape`
            Before the encoder, in the model's own layout. Bytes take a faster path when the
            encoder treats all elements alike.

        Returns
        -------
        ndarray, `network.output_shape`
            Answer before the decoder; a copy.

        Raises
        ------
        SimulationError
            When the shape differs or a value is not finite.
        """
        if type(x) is not np.ndarray:
            x = np.asarray(x)
        if x.shape != self._shape:
            raise SimulationError(f"input {self.network.input.name!r} has shape {x.shape}, the network takes {self._shape}")
        flat = self._flat(x)
        status = kernel.step(self._plan, self._reals, flat)
        if status:
            self._again(status, flat)
        return self._answer.copy()

    def _flat(self, x: np.ndarray) -> np.ndarray:
        """What the kernel takes: bytes as they are, or encoded reals; always writeable and contiguous, so that one
        compiled version serves."""
        if x.dtype is _BYTES and self._takes_bytes:
            plain = True
        else:
            self._takes_bytes = False  # the byte path knows only what it saw itself
            plain = x.dtype is self._plain
        if plain:
            x = x if x.flags.carray else np.array(x, order="C")
            return x if x.ndim == 1 else x.reshape(-1)
        with np.errstate(over="ignore"):
            self._x[...] = x
        if self._encoder is not None and np.isfinite(self._x).all():
            self._x[...] = self._encoder(self._x[None]).reshape(self._shape)
        return self._x_flat

    def _again(self, status: int, flat: np.ndarray) -> None:
        if status == kernel.BUFFER_FULL:
            self.recorder.flush()
            status = kernel.step(self._plan, self._reals, flat)
        if status == kernel.NOT_FINITE:
            raise SimulationError(f"input {self.network.input.name!r} holds NaN or infinity")

    def run(self, inputs: np.ndarray, resets: np.ndarray | None = None, timesteps_per_input: int = 1,
            every: bool = False, keep_outputs: bool = True) -> np.ndarray:
        """Run many timesteps in compiled code, continuing from the present state.

        Parameters
        ----------
        inputs : ndarray, (inputs, *network.input.shape)
        resets : ndarray, bool, (inputs,), optional
            State is cleared before these inputs.
        timesteps_per_input : int
            Timesteps for which each input is held.
        every : bool
            Return the answer of every timestep instead of the last of each input.
        keep_outputs : bool
            False returns an empty array.

        Returns
        -------
        ndarray, (inputs or timesteps, *network.output_shape)
        """
        if inputs.shape[1:] != self._shape:
            raise SimulationError(f"inputs have shape {inputs.shape[1:]} per timestep, input "
                                  f"{self.network.input.name!r} takes {self._shape}")
        if timesteps_per_input < 1:
            raise SimulationError(f"timesteps per input is {timesteps_per_input}; at least 1 is needed")
        n = len(inputs)
        prepared = self._prepare(inputs)
        per_timestep = np.zeros(n * timesteps_per_input, np.bool_)
        if resets is not None:
            per_timestep[::timesteps_per_input] = resets
        rows = 0 if not keep_outputs else n * timesteps_per_input if every else n
        answers = np.empty((rows, self._answer.size), self._dtype)
        at_timestep = 0
        while at_timestep < per_timestep.size:
            done = kernel.run(self._plan, self._reals, prepared, per_timestep, timesteps_per_input, at_timestep, answers, every)
            if done < per_timestep.size and not self.recorder.flush() and done == at_timestep:
                raise SimulationError(f"input {self.network.input.name!r} holds NaN or infinity at index {done // timesteps_per_input}")
            at_timestep = done
        return answers.reshape(rows, *self.network.output_shape)

    def _prepare(self, inputs: np.ndarray) -> np.ndarray:
        if self._takes_bytes and inputs.dtype == np.uint8:
            plain = type(inputs) is np.ndarray and inputs.flags.carray
            return (inputs if plain else np.array(inputs, order="C")).reshape(len(inputs), -1)
        self._takes_bytes = False
        with np.errstate(over="ignore"):
            encoded = np.array(inputs, self._dtype)
        if self._encoder is not None:
            finite = np.isfinite(encoded).reshape(len(encoded), -1).all(axis=1)
            encoded = self._encoder(encoded)
            encoded[~finite] = np.nan  # what the encoder might hide is still refused
        return np.ascontiguousarray(encoded, self._dtype).reshape(len(inputs), -1)

    @property
    def n_timesteps(self) -> int:
        """Timesteps run since construction."""
        return int(self._plan[at.TIMESTEPS])

    def totals(self, first_only: bool = False) -> tuple[int, np.ndarray]:
        """Input events, and int64 (layers, columns of `counters.KERNEL_COLUMNS`), summed since construction.

        With `first_only`, over the timesteps that followed a reset.
        """
        n_layers = len(self.network.layers)
        start = int(self._plan[at.FIRST_TOTALS if first_only else at.TOTALS])
        rows = self._plan[start + 1: start + 1 + n_layers * at.N_COLUMNS].reshape(n_layers, at.N_COLUMNS)
        return int(self._plan[start]), rows.copy()
