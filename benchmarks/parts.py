"""The parts of the benchmark: each measures its own workloads and returns figures with their goals."""

import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pricing as pricing_parts
import roofline
import workloads
from figures import Figure, excess, ratio
from measure import Contender, StepLoop, Stream, alternate, onnxruntime, streams

import neurosim as ns
from neurosim.network import Layer, Network, OutputPart
from neurosim.synapses import INPUT, Synapses

THRESHOLDS = (0.0, 0.01, 0.05, 0.1)
# The goals are the project's own. They go past what a prototype reached on another machine (AVX-512, 2 MiB of
# second-level cache a core), as ratios to onnxruntime in one run; on smaller caches more of them are missed.
GOALS = {"Pong": (4.5, 10, 40, 80), "Breakout": (7, 15, 55, 90)}
GOAL_8_BIT = {"Pong": 13, "Breakout": 17}
GOALS_PRUNED = {0.0: 26, 0.05: 110}
ACTIONS = {"Pong": 6, "Breakout": 4}
MEGABYTE = 1e6


@dataclass(frozen=True)
class Size:
    """How much is run. `quick` takes stand-ins for frames and networks, and says nothing about speed."""

    folder: Path
    quick: bool = False
    rounds: int = 9
    frames: int = 1000
    changing_frames: int = 100
    onnxruntime_frames: int = 100
    timesteps: int = 2000
    layer: int = 4096
    channels: tuple[int, int, int, int] = (32, 64, 64, 512)

    @classmethod
    def small(cls, folder: Path) -> "Size":
        """For tests."""
        return cls(folder, quick=True, rounds=1, frames=12, changing_frames=4, onnxruntime_frames=2, timesteps=30, layer=256,
                   channels=(4, 8, 8, 32))

    def sample(self, inputs: np.ndarray) -> np.ndarray:
        """The inputs that onnxruntime runs: evenly spaced ones."""
        return inputs[:: max(1, len(inputs) // self.onnxruntime_frames)]


Part = Callable[[Size], Iterator[Figure]]


def _named(threshold: float) -> str:
    return f"threshold {threshold:g}"


def _causes(stream: Stream, us: float, times: dict) -> dict[str, float]:
    macs = float(stream.macs().sum())
    return {"kmac_per_timestep": macs / 1e3, "gmac_per_s": macs / us / 1e3} | roofline.fractions(stream, us, times)


@cache
def _game(size: Size, game: str) -> tuple[np.ndarray, Path, list[workloads.Weights]]:
    """Frames, and the network that is rescaled on them."""
    frames = workloads.moving_square(size.frames) if size.quick else workloads.atari_frames(game, size.frames)
    path = size.folder / f"nature_cnn_{game.lower()}.onnx"
    return frames, path, workloads.nature_cnn(path, frames, ACTIONS[game], size.channels)


# -- loops, and Atari against onnxruntime --------------------------------------------------------------------------------


def loops(size: Size) -> Iterator[Figure]:
    """The ceilings: multiply-accumulates per second by loop, kind of weights, and where they lie."""
    speed = roofline.giga_macs(alternate(roofline.loops(), size.rounds))
    for kind in roofline.KINDS:
        for loop, _, level in [name for name in speed if name[1] == kind]:
            yield Figure("loops", f"{level} {kind} {loop}", speed[loop, kind, level], "GMAC/s", names=("", ""))


def pong(size: Size) -> Iterator[Figure]:
    """Nature-CNN on Pong."""
    return _atari(size, "Pong", GOALS_PRUNED)


def breakout(size: Size) -> Iterator[Figure]:
    """Nature-CNN on Breakout."""
    return _atari(size, "Breakout", {})


def _atari(size: Size, game: str, goals_pruned: dict[float, float]) -> Iterator[Figure]:
    """Ours on bytes, on float32 frames, with 8-bit and with pruned weights; onnxruntime on the float32 network of either kind of frames."""
    part, (frames, path, layers) = game.lower(), _game(size, game)
    chw, chw_path = workloads.channels_first(frames), path.with_stem(f"{path.stem}_chw")
    network = ns.load(path)
    first = ns.load(workloads.write_onnx(chw_path, layers, chw.shape[1:]))
    dense = {"byte frames": onnxruntime(path, size.sample(frames)), "float32": onnxruntime(chw_path, size.sample(chw))}
    lines = [  # what ours runs, the dense run that it is compared with, goal per threshold
        ("byte frames", "byte frames", network, frames, dict(zip(THRESHOLDS, GOALS[game]))),
        ("float32 channel-first frames", "float32", first, chw, dict.fromkeys(THRESHOLDS)),
        ("8-bit weights", "byte frames", ns.quantize(network, 8, per_channel=False), frames, {0.0: GOAL_8_BIT[game]}),
        ("98 % pruned", "byte frames", ns.prune(network, 0.98), frames, goals_pruned),
    ]
    ours = {(work, t): s for work, _, net, inputs, goals in lines for t, s in streams(net, inputs, tuple(goals)).items()}
    times = alternate(dense | {key: s.contender() for key, s in ours.items()} | roofline.loops(), size.rounds)
    causes = {key: _causes(s, times[key], times) for key, s in ours.items()}
    for work, reference, _, _, goals in lines:
        for t, goal in goals.items():
            yield ratio(part, f"{work}, {_named(t)}", times[reference], times[work, t], goal, causes=causes[work, t])
    for t in THRESHOLDS[:3]:
        yield from _shares(part, t, times["byte frames", t], causes["byte frames", t])


def _shares(part: str, threshold: float, us: float, causes: dict[str, float]) -> Iterator[Figure]:
    """The fraction of the roofline by the better loop, which counts, and by either."""
    for name, loop, goal in (("roofline", "better loop", 60), ("fused", "plain loop", None), ("add_rows", "own add_rows", None)):
        yield Figure(part, f"of the roofline ({loop}), {_named(threshold)}", 100 * causes[name], "%", goal,
                     names=("MACs at ceiling us", "ours us"), reference=causes[name] * us, ours=us, causes=causes)


def worst(size: Size) -> Iterator[Figure]:
    """Every byte of the input changed at every timestep."""
    frames, path, _ = _game(size, "Pong")
    changing = workloads.changing_bytes(size.changing_frames, frames.shape[1:])
    network = ns.load(path)
    ours = {"float32 weights": Stream(network, changing), "8-bit weights": Stream(ns.quantize(network, 8, per_channel=False), changing)}
    contenders = {name: s.contender() for name, s in ours.items()}
    times = alternate({"dense": onnxruntime(path, size.sample(changing))} | contenders | roofline.loops(), size.rounds)
    for (name, stream), goal in zip(ours.items(), (0.85, 1.4)):
        yield ratio("worst", name, times["dense"], times[name], goal, causes=_causes(stream, times[name], times))


def stages(size: Size) -> Iterator[Figure]:
    """Time of networks cut behind each layer, and what each layer adds.

    A cut network reads its last layer instead of sending from it, so that the comparison with
    what was last sent counts to the layer behind: good for proportions.
    """
    frames, path, _ = _game(size, "Pong")
    thresholds = (0.0, 0.05)
    networks = {t: ns.set_thresholds(ns.load(path), t) for t in thresholds}
    depths = range(len(networks[0.0].layers) + 1)
    ours = {(t, n): Stream(_cut(networks[t], n), frames) for t in thresholds for n in depths}
    times = alternate({key: s.contender() for key, s in ours.items()}, size.rounds)
    for t in thresholds:
        for n in depths:
            name, before = ("input", 0.0) if n == 0 else (networks[t].layers[n - 1].name, times[t, n - 1])
            macs = float(ours[t, n].macs()[-1]) / 1e3 if n else 0.0
            yield Figure("stages", f"{name} ({macs:,.1f} kMAC), {_named(t)}", times[t, n] - before, "us", names=("before it us", "with it us"),
                         reference=before, ours=times[t, n], causes={"kmac_per_timestep": macs})


def _cut(network: Network, n: int) -> Network:
    """The first n layers, of which the last is the output; for none, a neuron that reads one element of the input."""
    if n == 0:
        reader = Synapses("identity", INPUT, (1, 1, 1), (1, 1, 1), view=np.zeros(1, np.int32))
        return replace(network, layers=(Layer("reader", (1, 1, 1), (reader,), np.zeros(())),), outputs=(OutputPart(0, np.zeros((1, 1), np.int64)),))
    return replace(network, layers=network.layers[:n], outputs=(OutputPart(n - 1, np.zeros((1, 1), np.int64)),))


# -- other networks ----------------------------------------------------------------------------------------------------


def mlp(size: Size) -> Iterator[Figure]:
    """MLP 17-256-256-6 in closed loop: a Python call per timestep."""
    inputs, path = workloads.random_walk(size.timesteps), size.folder / "mlp.onnx"
    workloads.mlp(path, inputs)
    network = ns.load(path)
    steps, runs = streams(network, inputs, THRESHOLDS, StepLoop), streams(network, inputs, THRESHOLDS)
    contenders = {("step", t): s.contender() for t, s in steps.items()} | {("run", t): s.contender() for t, s in runs.items()}
    times = alternate({"dense": onnxruntime(path, inputs)} | contenders | roofline.loops(), size.rounds)
    for t, stream in steps.items():
        causes, goal = _causes(stream, times["step", t], times), 10 if t == 0.05 else None
        yield ratio("mlp", f"step, {_named(t)}", times["dense"], times["step", t], goal, causes=causes)
    for t in THRESHOLDS:
        yield Figure("mlp", f"Python per step, {_named(t)}", times["step", t] - times["run", t], "us", 0.5 if t == 0.05 else None, False,
                     names=("run us", "step us"), reference=times["run", t], ours=times["step", t])


def wide(size: Size) -> Iterator[Figure]:
    """One layer of 4096 x 4096 full synapses, 95 % pruned; 2 % of the sources change per timestep."""
    path = workloads.pruned_layer(size.folder / "wide.onnx", size.layer)
    inputs = workloads.few_changes(max(10, size.timesteps // 4), size.layer)
    stream = Stream(ns.load(path), inputs)
    contenders = {"dense": onnxruntime(path, size.sample(inputs)[:20]), "ours": stream.contender()}
    times = alternate(contenders | roofline.loops(), size.rounds)
    yield ratio("wide", f"{size.layer} x {size.layer}, 95 % pruned", times["dense"], times["ours"], 200, causes=_causes(stream, times["ours"], times))


def policies(size: Size) -> Iterator[Figure]:
    """The policies in models/ on their recorded observations: one compiled call, and a Python call per timestep."""
    for name, (path, observations) in list(workloads.shipped_policies().items())[: 1 if size.quick else None]:
        inputs, network = observations[: size.timesteps], ns.load(path)
        runs, steps = streams(network, inputs, THRESHOLDS), streams(network, inputs, THRESHOLDS, StepLoop)
        ours = {(t, how): s for t in THRESHOLDS for how, s in (("run", runs[t]), ("step", steps[t]))}
        contenders = {"dense": onnxruntime(path, inputs)} | {key: s.contender() for key, s in ours.items()}
        times = alternate(contenders | roofline.loops(), size.rounds)
        for (t, how), stream in ours.items():
            yield ratio("policies", f"{name}, {_named(t)}, {how}", times["dense"], times[t, how], causes=_causes(stream, times[t, how], times))


# -- options of a run ----------------------------------------------------------------------------------------------------


def record(size: Size) -> Iterator[Figure]:
    """The full event record against none."""
    return _against(size, "record", "full event record", {"record": "none"}, {"record": "events"}, ("no record us", "recorded us"), 1.10)


def float64(size: Size) -> Iterator[Figure]:
    """float64 against float32."""
    return _against(size, "float64", "float64", {"numerics": "float32"}, {"numerics": "float64"}, ("float32 us", "float64 us"), 2.5)


def _against(size: Size, part: str, work: str, plain: dict, other: dict, names: tuple[str, str], goal: float) -> Iterator[Figure]:
    """One option of the simulator against another, Nature-CNN on Pong."""
    frames, path, _ = _game(size, "Pong")
    network, thresholds = ns.load(path), (0.0, 0.05)
    ours = {(name, t): s for name, options in (("plain", plain), ("other", other)) for t, s in streams(network, frames, thresholds, **options).items()}
    times = alternate({key: s.contender() for key, s in ours.items()} | roofline.loops(), size.rounds)
    for t in thresholds:
        causes = _causes(ours["other", t], times["other", t], times)
        yield excess(part, f"{work}, {_named(t)}", times["plain", t], times["other", t], goal, names=names, causes=causes)


def memory(size: Size) -> Iterator[Figure]:
    """Bytes of all tables of a simulator against those of float32 weights and state.

    The peak is that of all that Python and numpy allocate while a simulator is made and runs (tracemalloc).
    """
    walk, path = workloads.random_walk(20), size.folder / "mlp_memory.onnx"
    workloads.mlp(path, walk)
    yield from _memory("MLP 17-256-256-6", path, walk)
    frames, path, _ = _game(size, "Pong")
    yield from _memory("Nature-CNN", path, frames[:20])


def _memory(name: str, path: Path, inputs: np.ndarray) -> Iterator[Figure]:
    network, names = ns.load(path), ("weights + state MB", "tables MB")
    Stream(network, inputs)  # what is compiled or cached once is no part of the growth
    tracemalloc.start()
    stream = Stream(network, inputs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tables, needed = stream.simulator.memory_bytes, _needed_bytes(network, inputs.itemsize)
    yield excess("memory", f"{name}, tables", needed / MEGABYTE, tables / MEGABYTE, 2.5, names=names)
    yield Figure("memory", f"{name}, peak that is allocated", peak / MEGABYTE, "MB", names=names)


def _needed_bytes(network: Network, input_width: int) -> int:
    """Weights, and state: accumulators, refs and payloads of what sends, values that are read, the previous input."""
    sent = sum(network.size_of(s) for s in network.senders)
    read = sum(network.layers[i].n_neurons for i in network.output_layers)
    numbers = network.static_total("weights") + network.static_total("neurons") + 2 * sent + read
    return 4 * numbers + input_width * network.input.n_elements


# -- processes -----------------------------------------------------------------------------------------------------------


def threads(size: Size) -> Iterator[Figure]:
    """Two threads, a simulator each, against one. This is wall time, by `time.perf_counter_ns`."""
    frames, path, _ = _game(size, "Pong")
    for threshold in (0.0, 0.05):
        both = [Stream(ns.set_thresholds(ns.load(path), threshold), frames) for _ in range(2)]
        cores: dict[int, list[float]] = {1: [], 2: []}
        with ThreadPoolExecutor(2) as pool:
            contenders = {n: Contender(partial(_together, pool, both[:n], cores[n]), n * len(frames)) for n in cores}
            times = alternate(contenders, 3 * size.rounds, time.perf_counter_ns)
        causes = {"cores_one": float(np.median(cores[1])), "cores_two": float(np.median(cores[2]))}
        names = ("one wall us", "two wall us")
        yield ratio("threads", f"2 threads, {_named(threshold)}", times[1], times[2], 1.8, names=names, causes=causes)


def _together(pool: ThreadPoolExecutor, streams: list[Stream], cores: list[float]) -> None:
    """Run each stream on a thread; wait for all; note how many cores' time the system gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    for future in [pool.submit(stream.run) for stream in streams]:
        future.result()
    cores.append((time.process_time() - cpu) / (time.perf_counter() - wall))


def warm(size: Size) -> Iterator[Figure]:
    """Wall seconds of `python -m neurosim run` on a small policy, kernels compiled."""
    folder = workloads.ROOT / "models" / "acrobot_ppo"
    command = [sys.executable, "-m", "neurosim", "run", str(folder), "--inputs", f"{folder / 'golden.npz'}:obs", "--json"]

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run(**extra: str) -> tuple[float, float]:
        start, before = time.perf_counter(), os.times()
        subprocess.run(command, cwd=workloads.ROOT, env=environment | extra, check=True, capture_output=True)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return time.perf_counter() - start, cpu

    wall, cpu = np.median([run() for _ in range(1 if size.quick else 6)][-5:], axis=0)  # the first may have to compile
    yield Figure("warm", "neurosim run models/acrobot_ppo", float(wall), "s", 1.5, False, names=("", "wall s"), ours=float(wall),
                 causes={"cpu_s": float(cpu)})
    if not size.quick:
        cold, _ = run(NUMBA_CACHE_DIR=str(size.folder / "cold"))
        yield Figure("warm", "the same, its kernels compiled", cold, "s", names=("", "wall s"), ours=cold)


def pricing(size: Size) -> Iterator[Figure]:
    """One recorded run on many configurations."""
    return pricing_parts.pricing(size.folder, size.quick, size.rounds, size.frames, size.channels)


PARTS: dict[str, tuple[str, Part]] = {
    "loops": ("Loops: multiply-accumulates per second of one core", loops),
    "pong": ("Nature-CNN on Pong, {frames} frames (8-bit and pruned: onnxruntime runs the unquantised, unpruned float32 network)", pong),
    "breakout": ("Nature-CNN on Breakout, {frames} frames (8-bit: onnxruntime runs the unquantised float32 network)", breakout),
    "worst": ("Every input changed at every timestep (8-bit: onnxruntime runs the unquantised float32 network)", worst),
    "stages": ("Nature-CNN on Pong, what each layer adds (networks cut behind each layer)", stages),
    "mlp": ("MLP 17-256-256-6 in closed loop, a Python call per timestep", mlp),
    "wide": ("One layer of full synapses, 2 % of the sources change per timestep", wide),
    "policies": ("Policies in models/ (run: one compiled call; step: a Python call per timestep; onnxruntime: a call per input)", policies),
    "record": ("Full event record, Nature-CNN on Pong", record),
    "float64": ("float64 against float32, Nature-CNN on Pong", float64),
    "memory": ("Memory", memory),
    "pricing": ("Pricing one run of {frames} timesteps on many configurations (thread time; WALL time where it says so)", pricing),
    "threads": ("Many streams, Nature-CNN on Pong (WALL time per timestep)", threads),
    "warm": ("Start of a process (WALL time)", warm),
}
"""Title and function of each part, in the order in which they run."""
