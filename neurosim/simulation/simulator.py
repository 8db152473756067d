"""The Simulator: the manual level. One network, its state on the simulated chip, one timestep at a time."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from neurosim.errors import SimulationError
from neurosim.kernels import layout as at
from neurosim.kernels import step as kernel
from neurosim.kernels.encode import BAD_SHAPE, BUFFER_FULL, NOT_FINITE, UNPREPARED
from neurosim.network import Network
from neurosim.simulation.lower import lower
from neurosim.simulation.record import Recorder

_ANSWERS, _ANSWERS_BYTES = 256, 1 << 16
"""Answers of single timesteps that are allocated at a time, at most, and their bytes."""

_ndarray, _step = np.ndarray, kernel.step


class Simulator:
    """Runs a network as delta events and keeps its state between timesteps.

    Parameters
    ----------
    network : Network
        With thresholds set (`neurosim.set_thresholds`).
    numerics : {"float32", "float64", "fixed"}
        ``fixed`` computes in whole numbers; answers are raw integers. This and the next two are by default the network's own.
    schedule : {"fall_through", "pipelined"}
    rule : {"hold", "sigma_delta", "quantised", "naive"}
        Delta rule; the equations stand in kernels/update.py.
    record : {"none", "counts", "events"}
        What `recorder` keeps of each timestep.

    Attributes
    ----------
    storage : tuple
        Of each layer, how the weights of its groups of synapses lie in memory.
    memory_bytes : int
        Of all tables: weights and state.

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

    def __init__(self, network: Network, *, numerics: str | None = None, schedule: str | None = None,
                 rule: str | None = None, record: str = "none") -> None:
        numerics, schedule = numerics or network.default("numerics"), schedule or network.default("schedule")
        rule = rule or network.default("rule")
        self.network, self.numerics, self.schedule, self.rule = network, numerics, schedule, rule
        self._tables = lower(network, numerics, schedule, rule)
        self._plan, self._host_encoder = self._tables.plan, self._tables.host_encoder
        self.recorder = Recorder(network, self._plan, record)
        self._dtype = self._tables.dtype
        self._shape = network.input.shape
        self.storage = self._tables.storage
        self._ready: np.dtype | None = None
        self._new_answers()
        self.reset()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Simulator reaches its tables by address and cannot be copied or pickled; make a new one of its network")

    def reset(self) -> None:
        """Clear the state: accumulators to their bias, sent values to 0. The next timestep evaluates every neuron."""
        kernel.clear(self._plan)

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
            Answer before the decoder; the caller's own.

        Raises
        ------
        SimulationError
            When the shape differs or a value is not finite.
        """
        if type(x) is not _ndarray or x.dtype is not self._ready:
            x = self._made_ready(x)
        row = _step(self._plan, x)
        if row < 0:
            row = self._again(x, row)
        return self._answers[row]

    def _new_answers(self) -> None:
        """A block of fresh rows for the kernel to write answers into; each is handed out once."""
        size = int(self._plan[at.ANSWER_BYTES])
        n = max(1, min(_ANSWERS, _ANSWERS_BYTES // size))
        self._answers = np.empty((n, *self.network.output_shape), self._dtype)
        self._plan[at.ANSWER], self._plan[at.ANSWERS_LEFT] = self._answers.ctypes.data + (n - 1) * size, n

    def _made_ready(self, x: object) -> np.ndarray:
        """An input as the kernels read it. Where nothing was to be done but to prepare a kernel, the next one goes straight."""
        given = np.asarray(x)
        self._check_shape(given)
        plain = self._plain(given[None]).reshape(self._shape)
        self._tables.prepare(plain.dtype)
        self._ready = given.dtype if given.dtype is plain.dtype and self._reads(given.dtype) else None
        return plain

    def _check_shape(self, x: np.ndarray) -> None:
        if x.shape != self._shape:
            raise SimulationError(f"input {self.network.input.name!r} has shape {x.shape}, the network takes {self._shape}")

    def _again(self, x: np.ndarray, row: int) -> int:
        """Do what a timestep lacked until it runs; return the row of its answer."""
        while row < 0:
            status = -row
            if status == BAD_SHAPE:
                self._check_shape(x)
            if status == NOT_FINITE:
                raise SimulationError(f"input {self.network.input.name!r} holds NaN or infinity")
            if status == UNPREPARED:
                x = np.require(x, requirements=["C", "A"])
            if status == BUFFER_FULL:
                self.recorder.flush()
                if self._plan[at.ANSWERS_LEFT] == 0:
                    self._new_answers()
            row = _step(self._plan, x)
        return row

    def _reads(self, dtype: np.dtype) -> bool:
        """Whether the kernels read inputs of this type as they come, encoder included."""
        if self._host_encoder is not None:
            return self._tables.takes_bytes and dtype == np.uint8
        if self._dtype.kind == "i":
            return dtype == np.uint8
        return dtype.name in at.RAW_TYPES and dtype.isnative

    def _plain(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs (inputs, *shape) as the kernels read them: of one of their types, in C order; encoded where they cannot."""
        if inputs.dtype.kind not in "buif":
            raise SimulationError(f"inputs are of type {inputs.dtype}; real numbers are needed")
        if self._dtype.kind == "i" and not self._reads(inputs.dtype):
            return self._whole(inputs)
        if self._host_encoder is None or self._reads(inputs.dtype):
            return np.require(np.asarray(inputs), inputs.dtype if self._reads(inputs.dtype) else self._dtype, ["C", "A"])
        with np.errstate(over="ignore"):
            real = np.array(inputs, self._dtype)
        if not len(real):
            return real
        with np.errstate(all="ignore"):  # what is not finite afterwards is refused
            encoded = self._host_encoder(real).astype(self._dtype)
        encoded[~np.isfinite(real).reshape(len(real), -1).all(axis=1)] = np.nan  # what the encoder might hide is still refused
        return np.ascontiguousarray(encoded).reshape(inputs.shape)

    def _whole(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs of an integer run, encoded on the host where the kernels cannot: whole numbers in float64, which holds them exactly."""
        real = np.ascontiguousarray(inputs, np.float64)
        if self._host_encoder is not None and len(real):
            with np.errstate(all="ignore"):  # what is not finite afterwards is refused
                encoded = self._host_encoder(real)
            encoded[~np.isfinite(real).reshape(len(real), -1).all(axis=1)] = np.nan
            real = np.ascontiguousarray(encoded, np.float64).reshape(inputs.shape)
        if np.any((real != np.rint(real)) & np.isfinite(real)):
            raise SimulationError(f"input {self.network.input.name!r} holds values that are not whole numbers; fixed numerics need "
                                  "integers (before the first synapses): quantise the inputs, or use float32 or float64")
        return real

    def overflows(self) -> np.ndarray:
        """Sums of each layer that did not fit the bits of their accumulators since construction: int64 (layers,)."""
        first, n = int(self._plan[at.LAYERS]), len(self.network.layers)
        return self._plan[first: first + n * at.LAYER_ROW].reshape(n, at.LAYER_ROW)[:, at.L_OVERFLOWS].copy()

    def run(self, inputs: np.ndarray, resets: np.ndarray | None = None, timesteps_per_input: int = 1,
            every: bool = False, keep_outputs: bool = True, number: int = 0) -> np.ndarray:
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
        number : int
            Of the first input in its stream, for messages.

        Returns
        -------
        ndarray, (inputs or timesteps, *network.output_shape)
        """
        inputs = np.asarray(inputs)
        if inputs.shape[1:] != self._shape:
            raise SimulationError(f"inputs have shape {inputs.shape[1:]} per timestep, input "
                                  f"{self.network.input.name!r} takes {self._shape}")
        if timesteps_per_input < 1:
            raise SimulationError(f"timesteps per input is {timesteps_per_input}; at least 1 is needed")
        n = len(inputs)
        if resets is not None and np.shape(resets) != (n,):
            raise SimulationError(f"resets have shape {np.shape(resets)}, one value per input is needed: ({n},)")
        if self._plan[at.ANSWERS_LEFT] == 0:
            self._new_answers()
        plain = self._plain(inputs)
        self._tables.prepare(plain.dtype)
        per_timestep = np.zeros(n * timesteps_per_input, np.bool_)
        if resets is not None:
            per_timestep[::timesteps_per_input] = resets
        rows = 0 if not keep_outputs else n * timesteps_per_input if every else n
        answers = np.empty((rows, *self.network.output_shape), self._dtype)
        input_bytes, kind = plain.nbytes // max(n, 1), at.RAW_TYPES.index(plain.dtype.name)
        t = 0
        while t < per_timestep.size:
            t, status = kernel.run(self._plan, plain.ctypes.data, input_bytes, kind, per_timestep, timesteps_per_input, t,
                                   answers.ctypes.data if rows else 0, every)
            if status == NOT_FINITE:
                bad = number + t // timesteps_per_input
                raise SimulationError(f"input {self.network.input.name!r} holds NaN or infinity at index {bad}")
            if status == BUFFER_FULL:
                self.recorder.flush()
        return answers

    @property
    def memory_bytes(self) -> int:
        """Bytes of all tables."""
        return self._tables.memory.n_bytes

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
