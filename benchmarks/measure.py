"""Medians of thread CPU time over rounds in which everything that is compared takes turns.

The machine may be shared, so nothing is timed on its own: in each round every contender runs
once, and what is reported is the median over the rounds. Time is that of the calling thread on
a processor (`time.thread_time_ns`); waiting does not count.
"""

import gc
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import neurosim as ns
from neurosim.counters import KERNEL_COLUMNS
from neurosim.network import Network

EFFECTIVE_MACS = KERNEL_COLUMNS.index("effective_macs")


@dataclass(frozen=True)
class Contender:
    """A call, and how many units (timesteps, frames, MACs) it does; `prepare` is called before the clock starts."""

    call: Callable[[], object]
    n: int
    prepare: Callable[[], object] | None = None


def alternate(contenders: Mapping[Hashable, Contender], rounds: int, clock: Callable[[], int] = time.thread_time_ns) -> dict:
    """Run the contenders in turn, `rounds` times; the median microseconds per unit of each."""
    times: dict[Hashable, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, contender in contenders.items():
                if contender.prepare is not None:
                    contender.prepare()
                start = clock()
                contender.call()
                times[name].append((clock() - start) / 1e3 / contender.n)
    finally:
        gc.enable()
    return {name: float(np.median(values)) for name, values in times.items()}


class Stream:
    """A simulator, and inputs that it runs again and again in one compiled call.

    It runs them once when it is made: what is timed later is compiled, and is a stream under way.

    Parameters
    ----------
    network : Network
        With thresholds set.
    inputs : ndarray (timesteps, *network.input.shape)
    options
        Of `neurosim.Simulator`.
    """

    def __init__(self, network: Network, inputs: np.ndarray, **options: str) -> None:
        self.simulator, self.inputs = ns.Simulator(network, **options), inputs
        self.run()
        self._before = self._counted()

    def run(self) -> None:
        """All timesteps; what was recorded is taken out of the kernels' buffers."""
        self.simulator.run(self.inputs, keep_outputs=False)
        self.simulator.recorder.flush()

    def contender(self) -> Contender:
        """The whole stream, in timesteps."""
        return Contender(self.run, len(self.inputs))

    def macs(self) -> np.ndarray:
        """Effective MACs per timestep of each layer, in the timesteps since the first pass."""
        n, counts = (now - before for now, before in zip(self._counted(), self._before))
        return counts / max(n, 1)

    def _counted(self) -> tuple[int, np.ndarray]:
        return self.simulator.n_timesteps, self.simulator.totals()[1][:, EFFECTIVE_MACS]


class StepLoop(Stream):
    """The same in closed loop: one Python call of `Simulator.step` per timestep."""

    def run(self) -> None:
        """All timesteps, one after the other."""
        step = self.simulator.step
        for x in self.inputs:
            step(x)


def streams(network: Network, inputs: np.ndarray, thresholds: tuple[float, ...], kind: type[Stream] = Stream, **options: str) -> dict:
    """One stream per threshold."""
    return {threshold: kind(ns.set_thresholds(network, threshold), inputs, **options) for threshold in thresholds}


def onnxruntime(path: Path, inputs: np.ndarray) -> Contender:
    """onnxruntime on one thread: `session.run` for one input after the other.

    The inputs are float32 before the clock starts, and have all been run once, so that the
    weights lie in the caches as they do for a stream under way.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed, output = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    calls = [{feed: x[None].astype(np.float32)} for x in inputs]

    def run() -> None:
        for call in calls:
            session.run(output, call)

    return Contender(run, len(calls), prepare=run)
