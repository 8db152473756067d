"""Microseconds per timestep against onnxruntime, on the same networks and inputs, in one run.

    make bench            (or: python benchmarks/bench.py --json benchmarks/results.json)

One thread, batch 1, medians of thread CPU time; compilation is timed apart. A ratio above 1
means that the event-driven run takes less time than the dense one. onnxruntime answers one
frame per call; ours runs the stream in one compiled call, and step by step from Python in the
column `step`. The Nature-CNN has random weights rescaled so that each layer's 99th-percentile
activation is 1, and plays back Pong frames (1,000 after 200, frame-skip 4, random actions).
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

import neurosim as ns
from neurosim import dense
from neurosim.kernels import is_compiled
from neurosim.network import Network
from neurosim.simulation.lower import lower

THRESHOLDS = (0.0, 0.01, 0.05, 0.1)
ROOT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / "cache"


def thread_time_us(call, n: int, repeats: int = 7) -> float:
    """Median thread CPU time of `call()`, divided by n."""
    times = []
    for _ in range(repeats):
        start = time.thread_time_ns()
        call()
        times.append((time.thread_time_ns() - start) / 1e3 / n)
    return float(np.median(times))


def atari_frames(game: str = "Pong", n: int = 1000, skip: int = 200) -> np.ndarray:
    """Frame stacks of random play, uint8 (n, 84, 84, 4), made once and cached."""
    path = CACHE / f"{game.lower()}_{n}.npy"
    if not path.is_file():
        from neurosim.control.environment import make_environment

        env = make_environment(f"ALE/{game}-v5", {"repeat_action_probability": 0.0}, "atari")
        env.action_space.seed(0)
        frames, (observation, _) = [], env.reset(seed=0)
        for t in range(skip + n):
            if t >= skip:
                frames.append(np.asarray(observation).transpose(1, 2, 0))
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, _ = env.reset()
        CACHE.mkdir(exist_ok=True)
        np.save(path, np.stack(frames))
    return np.load(path)


def onnx_graph(path: Path, layers: list, input_shape: tuple, byte_frames: bool) -> None:
    """Write a chain of ('conv', weight, bias, stride) / ('full', weight, bias) with ReLUs between as ONNX (frames HWC in)."""
    from onnx import TensorProto, helper, numpy_helper, save

    nodes, weights, x = [], [], "obs"
    if byte_frames:
        weights.append(numpy_helper.from_array(np.array(255, np.float32), "full_scale"))
        nodes += [
            helper.make_node("Div", [x, "full_scale"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["chw"], perm=[0, 3, 1, 2]),
        ]
        x = "chw"
    for i, (kind, weight, bias, *stride) in enumerate(layers):
        weights += [numpy_helper.from_array(weight.astype(np.float32), f"w{i}"), numpy_helper.from_array(bias.astype(np.float32), f"b{i}")]
        if kind == "full" and i and layers[i - 1][0] == "conv":
            nodes.append(helper.make_node("Flatten", [x], [f"flat{i}"]))
            x = f"flat{i}"
        op, attributes = ("Conv", {"strides": [stride[0]] * 2}) if kind == "conv" else ("Gemm", {"transB": 1})
        last = i == len(layers) - 1
        nodes.append(helper.make_node(op, [x, f"w{i}", f"b{i}"], ["logits" if last else f"y{i}"], **attributes))
        x = f"y{i}"
        if not last:
            nodes.append(helper.make_node("Relu", [x], [f"a{i}"]))
            x = f"a{i}"
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, *input_shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, layers[-1][1].shape[0]])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def nature_cnn(path: Path, frames: np.ndarray, actions: int = 6) -> None:
    """Random Nature-CNN, each layer rescaled to a 99th-percentile activation of 1 on the frames."""
    rng = np.random.default_rng(0)
    shapes = [
        ("conv", (32, 4, 8, 8), 4),
        ("conv", (64, 32, 4, 4), 2),
        ("conv", (64, 64, 3, 3), 1),
        ("full", (512, 3136)),
        ("full", (actions, 512)),
    ]
    layers = [
        (kind, rng.uniform(-1, 1, shape) / np.sqrt(np.prod(shape[1:])), rng.uniform(-1, 1, shape[0]) / np.sqrt(np.prod(shape[1:])), *stride)
        for kind, shape, *stride in shapes
    ]
    for i in range(len(layers)):
        onnx_graph(path, layers, (84, 84, 4), byte_frames=True)
        _, activations, _ = dense.evaluate(ns.load(path), frames[::100], np.float32)
        scale = 1 / np.percentile(np.abs(activations[i]), 99)
        kind, weight, bias, *stride = layers[i]
        layers[i] = (kind, weight * scale, bias * scale, *stride)
    onnx_graph(path, layers, (84, 84, 4), byte_frames=True)


def measure(name: str, path: Path, inputs: np.ndarray) -> list[dict]:
    """One row per threshold: ours and onnxruntime on the same file and inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    calls = [{feed: x[None].astype(np.float32)} for x in inputs[:200]]
    ort_us = thread_time_us(lambda: [session.run([output], c) for c in calls], len(calls))
    network = ns.load(path)
    return [_row(name, ns.set_thresholds(network, threshold), inputs, threshold, ort_us) for threshold in THRESHOLDS]


def _row(name: str, network: Network, inputs: np.ndarray, threshold: float, ort_us: float) -> dict:
    simulator = ns.Simulator(network)
    simulator.run(inputs[:2])
    simulator.step(inputs[0])
    run_us = thread_time_us(lambda: simulator.run(inputs, keep_outputs=False), len(inputs))
    sliced = list(inputs)
    step_us = thread_time_us(lambda: [simulator.step(x) for x in sliced], len(inputs), repeats=3)
    recording = ns.Simulator(network, record="events")
    recording.run(inputs[:2])
    record_us = thread_time_us(lambda: recording.run(inputs, keep_outputs=False), len(inputs), repeats=3)
    trace = ns.simulate(network, inputs, record="none", reference="none", keep_outputs=False)
    counts = trace.totals_by_counter
    return {
        "network": name,
        "threshold": threshold,
        "onnxruntime_us": ort_us,
        "run_us": run_us,
        "step_us": step_us,
        "recorded_us": record_us,
        "ratio": ort_us / run_us,
        "synaptic_ops_per_timestep": counts["synaptic_ops"] / trace.n_timesteps,
        "giga_synops_per_s": counts["synaptic_ops"] / trace.n_timesteps / run_us / 1e3,
        "dense_macs_per_timestep": counts["dense_macs"] / trace.n_timesteps,
    }


def compile_seconds() -> dict:
    """Time of the first run in this process: compiled now, or loaded from the cache of an earlier one."""
    from tempfile import TemporaryDirectory

    was_compiled, start = is_compiled(), time.perf_counter()
    with TemporaryDirectory() as folder:
        onnx_graph(Path(folder, "tiny.onnx"), [("full", np.ones((1, 2)), np.zeros(1))], (2,), byte_frames=False)
        network = ns.load(Path(folder, "tiny.onnx"))
        loaded = time.perf_counter()
        lower(network, "float32", "fall_through", "hold")
        ns.Simulator(network).run(np.zeros((2, 2), np.float32))
    return {"from_cache": was_compiled, "load_model_s": loaded - start, "first_run_s": time.perf_counter() - loaded}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=CACHE / "results.json")
    arguments = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    first = compile_seconds()
    print(f"first run: {first['first_run_s']:.2f} s ({'kernels from the cache' if first['from_cache'] else 'kernels compiled'})\n")
    print(
        f"{'network':<24}{'threshold':>10}{'onnxruntime':>13}{'run':>10}{'ratio':>9}{'step':>10}{'recorded':>10}{'SynOps/timestep':>17}{'GSynOps/s':>11}"
    )
    rows = []
    frames = atari_frames()
    nature_cnn(CACHE / "nature_cnn.onnx", frames)
    golden = {card.parent.name: card.parent for card in sorted((ROOT / "models").glob("*/model.yaml"))}
    workloads = [("nature_cnn on Pong", CACHE / "nature_cnn.onnx", frames)]
    workloads += [(name, folder / "policy.onnx", np.load(folder / "golden.npz")["obs"]) for name, folder in golden.items()]
    for name, path, inputs in workloads:
        for row in measure(name, path, inputs):
            rows.append(row)
            print(
                f"{row['network']:<24}{row['threshold']:>10g}{row['onnxruntime_us']:>10.2f} us{row['run_us']:>7.2f} us{row['ratio']:>8.1f}x"
                f"{row['step_us']:>7.2f} us{row['recorded_us']:>7.2f} us{row['synaptic_ops_per_timestep']:>17,.0f}{row['giga_synops_per_s']:>11.2f}",
                flush=True,
            )
    document = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "first_run": first,
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\nwritten to {arguments.json}")


if __name__ == "__main__":
    main()
