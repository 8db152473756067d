"""simulate: Network, inputs -> Trace."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import numpy as np

from neurosim import dense
from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.neurons import DELTA
from neurosim.simulation.parallel import map_threads
from neurosim.simulation.simulator import Simulator
from neurosim.trace import Reference, Trace
from neurosim.version import __version__

READOUTS = ("last", "mean", "sum", "count")
SAMPLED = 1_000
"""Inputs that the dense reference compares by default when there are more."""

Progress = Callable[[int, int], None]


def simulate(
    network: Network,
    inputs: np.ndarray,
    *,
    numerics: str | None = None,
    schedule: str | None = None,
    rule: str | None = None,
    timesteps_per_input: int = 1,
    readout: str = "last",
    resets: np.ndarray | None = None,
    record: str = "events",
    record_limit: int | None = None,
    keep_outputs: bool = True,
    reference: str | int = "auto",
    workers: int = 1,
    progress: Progress | None = None,
) -> Trace:
    """Run a network as delta events over a stream of inputs.

    Parameters
    ----------
    network : Network
        With thresholds set.
    inputs : ndarray, any real dtype, (inputs, *network.input.shape)
        In the model's own layout, before the encoder. May be memory-mapped; read in chunks.
    numerics : {"float32", "float64", "fixed"}, optional
        ``fixed``: whole numbers, exact; see `neurosim.simulation.fixed`. This and the next two are by default the network's
        own: float32, fall_through, hold, unless its file means something else.
    schedule : {"fall_through", "pipelined"}
    rule : {"hold", "sigma_delta", "quantised", "naive"}
    timesteps_per_input : int
        Timesteps for which each input is held.
    readout : {"last", "mean", "sum", "count"}
        How the timesteps of one input become one answer; ``count`` is the sum, of spikes only.
    resets : ndarray, bool, (inputs,), optional
        State is cleared before these inputs (starts of episodes). The first is always one.
    record : {"events", "counts", "none"}
        What the trace keeps per timestep. With ``none`` memory stays constant (give
        `keep_outputs` False too).
    record_limit : int, optional
        Record events of the first so many timesteps only.
    reference : {"auto", "all", "none"} or int
        Inputs that are also run densely in float64, for `zero_skip_macs` and fidelity:
        all of them, none, or so many evenly spaced; ``auto`` is all up to 1,000, else 1,000. Of networks that
        remember (neurons with a state, delays) the first so many.
    workers : int
        Threads among which the stream is shared out at its resets. The trace is the same for
        any number (a stream without resets runs on one).
    progress : callable(done, total), optional
        Told about inputs done.

    Returns
    -------
    Trace

    Raises
    ------
    SimulationError
        For inputs of another shape, not finite, not real, or none at all, for resets of
        another length, and for unknown options.
    """
    schedule = schedule or network.default("schedule")
    inputs, resets = _checked(network, inputs, resets, timesteps_per_input, readout)
    sampled = _sample(reference, len(inputs), network.is_memoryless)
    digest = hashlib.sha256(f"{inputs.dtype.str}{inputs.shape}".encode())
    report = _Progress(progress, len(inputs))

    def stream(part: slice) -> tuple[Simulator, list[np.ndarray]]:
        simulator = Simulator(network, numerics=numerics, schedule=schedule, rule=rule, record=record)
        outputs = []
        for chunk in _chunks(network, part, timesteps_per_input, record_limit):
            if record_limit is not None and chunk.start * timesteps_per_input >= record_limit:
                simulator.recorder.stop_events()
            if len(parts) == 1:
                digest.update(np.ascontiguousarray(inputs[chunk]).data)
            answers = simulator.run(inputs[chunk], resets[chunk], timesteps_per_input, every=readout != "last",
                                    keep_outputs=keep_outputs or sampled.size > 0, number=chunk.start)
            answers = _read_out(answers, readout, timesteps_per_input)
            if not np.isfinite(answers).all():
                raise SimulationError("the network's outputs became infinite or NaN; check the weights and the scale of the inputs")
            outputs.append(answers)
            report.add(chunk.stop - chunk.start)
        return simulator, outputs

    parts = _parts(resets, workers)
    streams = map_threads(stream, parts, workers)
    if len(parts) > 1:
        for chunk in _chunks(network, slice(0, len(inputs)), 1, None):
            digest.update(np.ascontiguousarray(inputs[chunk]).data)
    outputs = [answers for _, part in streams for answers in part]
    answers = np.concatenate(outputs)
    compared = _compare(network, inputs, resets, sampled, answers, schedule, timesteps_per_input, readout) if sampled.size else None
    first = np.zeros(len(inputs) * timesteps_per_input, np.bool_)
    first[::timesteps_per_input] = resets
    return trace_of(
        [simulator for simulator, _ in streams],
        first,
        answers if keep_outputs else None,
        compared,
        readout,
        timesteps_per_input,
        {"neurosim": __version__, "inputs_sha256": digest.hexdigest()},
    )


def _checked(network: Network, inputs: np.ndarray, resets: np.ndarray | None, held: int, readout: str) -> tuple[np.ndarray, np.ndarray]:
    shape = network.input.shape
    inputs = inputs if isinstance(inputs, np.ndarray) else np.asarray(inputs)
    if inputs.dtype.kind not in "buif":
        raise SimulationError(f"inputs are of type {inputs.dtype}; real numbers are needed")
    if inputs.shape[1:] != shape:
        raise SimulationError(
            f"inputs have shape {inputs.shape}: expected (timesteps, {', '.join(map(str, shape))}) for input {network.input.name!r}"
        )
    if len(inputs) == 0:
        raise SimulationError("inputs hold zero timesteps")
    if held < 1:
        raise SimulationError(f"timesteps per input is {held}; at least 1 is needed")
    if readout not in READOUTS:
        raise SimulationError(f"readout {readout!r} is unknown; choose one of {', '.join(READOUTS)}")
    if readout == "count" and any(network.signals[part.layer] == DELTA for part in network.outputs):
        raise SimulationError("readout 'count' needs spiking neurons at the output; take last, mean or sum")
    starts = np.zeros(len(inputs), np.bool_)
    if resets is not None:
        resets = np.asarray(resets)
        if resets.shape != (len(inputs),):
            raise SimulationError(f"resets have shape {resets.shape}, one value per input is needed: ({len(inputs)},)")
        starts |= resets.astype(np.bool_)
    starts[0] = True
    return inputs, starts


def _sample(reference: str | int, n: int, memoryless: bool) -> np.ndarray:
    if reference == "none":
        return np.zeros(0, np.int64)
    if reference in ("auto", "all"):
        size = n if reference == "all" or n <= SAMPLED else SAMPLED
    elif isinstance(reference, int) and reference > 0:
        size = min(reference, n)
    else:
        raise SimulationError(f"reference {reference!r} is neither 'all', 'none' nor a positive number of timesteps")
    if not memoryless:
        return np.arange(size)
    return ((np.arange(size) + 0.5) * n / size).astype(np.int64)  # centres of equal bins: the reset weighs no more than others


def _parts(resets: np.ndarray, workers: int) -> list[slice]:
    """The stream cut at resets into at most `workers` parts, as equal as the episodes allow."""
    if workers < 1:
        raise SimulationError(f"{workers} workers; at least 1 is needed")
    starts = np.append(np.flatnonzero(resets), resets.size)
    wanted = np.arange(workers + 1) * resets.size / workers
    edges = np.unique(starts[np.abs(starts[:, None] - wanted).argmin(axis=0)])
    return [slice(int(a), int(b)) for a, b in zip(edges, edges[1:])]


class _Progress:
    """Adds up what threads have done and tells the caller."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done, self._lock = progress, total, 0, threading.Lock()

    def add(self, n: int) -> None:
        with self._lock:
            self._done += n
            if self._progress is not None:
                self._progress(self._done, self._total)


def _chunks(network: Network, part: slice, held: int, record_limit: int | None) -> list[slice]:
    """Slices of a part of the inputs, of at most 32 MiB each; a recording limit opens a new one."""
    size = max(1, min(4096, (1 << 25) // (8 * network.input.n_elements)))
    edges = set(range(part.start, part.stop, size)) | {part.stop}
    if record_limit is not None and part.start < -(-record_limit // held) < part.stop:
        edges.add(-(-record_limit // held))
    ordered = sorted(edges)
    return [slice(a, b) for a, b in zip(ordered, ordered[1:])]


def _read_out(answers: np.ndarray, readout: str, held: int) -> np.ndarray:
    if readout == "last":
        return answers
    per_input = answers.reshape(-1, held, *answers.shape[1:])
    return per_input.mean(axis=1) if readout == "mean" else per_input.sum(axis=1)


def _compare(
    network: Network, inputs: np.ndarray, resets: np.ndarray, sampled: np.ndarray, answers: np.ndarray, schedule: str, held: int,
    readout: str,
) -> Reference:
    """Run the sampled inputs densely in float64 and compare; pipelined answers are taken `delay` inputs later."""
    delay = 0 if schedule == "fall_through" else max(0, -(-(network.depth - held) // held))
    episode = np.cumsum(resets)
    skip = np.zeros((sampled.size, len(network.layers)), np.int64)
    worst, total, n_values, agreed, n_compared = 0.0, 0.0, 0, 0, 0
    remembering = None if network.is_memoryless else dense.Stream(network)
    for part in dense.chunks(network, sampled.size * (1 if remembering is None else held)):
        if remembering is not None:
            part = slice(part.start // held, part.stop // held)
        chosen = sampled[part]
        if not chosen.size:
            continue
        if remembering is None:
            encoded, values, expected = dense.evaluate(network, inputs[chosen])
            skip[part] = dense.zero_skip_macs(network, encoded, values)
        else:
            expected, skip[part] = _remembered(remembering, inputs[chosen], resets[chosen], held, readout)
        later = chosen + delay
        answered = (later < len(inputs)) & (episode[np.minimum(later, len(inputs) - 1)] == episode[chosen])
        if not answered.any():
            continue
        got = answers[later[answered]].astype(np.float64).reshape(int(answered.sum()), -1)
        want = expected[answered].reshape(got.shape)
        error = np.abs(got - want)
        worst, total, n_values = max(worst, float(error.max())), total + float(error.sum()), n_values + error.size
        agreed += int((got.argmax(axis=1) == want.argmax(axis=1)).sum())
        n_compared += len(got)
    nothing = float("nan")
    return Reference(
        sampled,
        skip,
        worst if n_values else nothing,
        total / n_values if n_values else nothing,
        agreed / n_compared if n_compared else nothing,
        sampled.size == len(inputs),
    )


def _remembered(stream: dense.Stream, inputs: np.ndarray, resets: np.ndarray, held: int, readout: str) -> tuple[np.ndarray, np.ndarray]:
    """Answers and zero-skip MACs per input of a dense run that goes on."""
    starts = np.zeros(len(inputs) * held, np.bool_)
    starts[::held] = resets
    before = stream.past
    encoded, values, answers = stream.run(np.repeat(inputs, held, axis=0), starts)
    skip = dense.zero_skip_macs(stream.network, encoded, values, starts, before)
    answers = answers[held - 1:: held] if readout == "last" else _read_out(answers, readout, held)
    return answers, skip.reshape(len(inputs), held, -1).sum(axis=1)


def trace_of(
    simulators: Simulator | list[Simulator],
    first: np.ndarray,
    outputs: np.ndarray | None = None,
    reference: Reference | None = None,
    readout: str = "last",
    timesteps_per_input: int = 1,
    manifest: dict | None = None,
) -> Trace:
    """The Trace of what a simulator, or several one after the other, have run so far.

    Parameters
    ----------
    first : ndarray, bool, (timesteps,)
        Timesteps before which they were reset.
    """
    simulators = simulators if isinstance(simulators, list) else [simulators]
    simulator = simulators[0]
    input_events, totals = _added([s.totals() for s in simulators])
    first_input_events, first_totals = _added([s.totals(first_only=True) for s in simulators])
    input_counts, counts, event_start, event_element = _joined([s.recorder.arrays() for s in simulators])
    has_counts = simulator.recorder.mode != "none"
    return Trace(
        network=simulator.network,
        n_timesteps=sum(s.n_timesteps for s in simulators),
        numerics=simulator.numerics,
        schedule=simulator.schedule,
        rule=simulator.rule,
        readout=readout,
        timesteps_per_input=timesteps_per_input,
        first=first,
        totals=totals,
        first_totals=first_totals,
        input_events=input_events,
        first_input_events=first_input_events,
        counts=counts if has_counts else None,
        input_counts=input_counts if has_counts else None,
        n_recorded=sum(s.recorder.n_recorded for s in simulators),
        event_start=event_start,
        event_element=event_element,
        outputs=outputs,
        reference=reference,
        manifest=manifest or {"neurosim": __version__},
        overflows=np.sum([s.overflows() for s in simulators], axis=0) if simulator.numerics == "fixed" else None,
    )


def _added(totals: list[tuple[int, np.ndarray]]) -> tuple[int, np.ndarray]:
    return sum(n for n, _ in totals), np.sum([rows for _, rows in totals], axis=0)


def _joined(records: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Records of parts of a stream, one after the other."""
    if len(records) == 1:
        return records[0]
    offsets = np.cumsum([0] + [start[-1] for _, _, start, _ in records[:-1]])
    starts = [start[bool(i):] + offset for i, ((_, _, start, _), offset) in enumerate(zip(records, offsets))]
    return (*(np.concatenate([record[i] for record in records]) for i in (0, 1)), np.concatenate(starts),
            np.concatenate([element for *_, element in records]))
