"""What the benchmark runs: random networks of real shapes, and the inputs that they are fed.

Random weights are rescaled so that each layer's 99th-percentile activation is 1 on the inputs
of the benchmark ("norm"): else activations shrink from layer to layer, and nothing would pass a
threshold in the deep ones.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import neurosim as ns
from neurosim import dense

ROOT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / "cache"
SKIPPED_FRAMES = 200


@dataclass(frozen=True)
class Weights:
    """One layer: kernel of a convolution (out, in, y, x) or weights of full synapses (out, in), bias, stride."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int = 1

    @property
    def is_convolution(self) -> bool:
        """Whether the weights are a kernel."""
        return self.weight.ndim == 4


# -- inputs ----------------------------------------------------------------------------------------------------------


def atari_frames(game: str, n: int) -> np.ndarray:
    """Frame stacks of random play (FIRE included), uint8 (n, 84, 84, 4), after 200, frame-skip 4; made once and kept.

    Raises
    ------
    SimulationError
        Where they are still to be made and ale-py is missing.
    """
    path = CACHE / f"{game.lower()}_{n}.npy"
    if not path.is_file():
        from neurosim.control.environment import make_environment

        env = make_environment(f"ALE/{game}-v5", {"repeat_action_probability": 0.0}, "atari")
        env.action_space.seed(0)
        frames, (observation, _) = [], env.reset(seed=0)
        for t in range(SKIPPED_FRAMES + n):
            if t >= SKIPPED_FRAMES:
                frames.append(np.asarray(observation).transpose(1, 2, 0))
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, _ = env.reset()
        CACHE.mkdir(exist_ok=True)
        np.save(path, np.stack(frames))
    return np.load(path)


def moving_square(n: int) -> np.ndarray:
    """Stand-in for Atari frames in quick runs: a bright square that crosses a dark field, uint8 (n, 84, 84, 4)."""
    picture = np.zeros((n + 3, 84, 84), np.uint8)
    for t in range(n + 3):
        picture[t, 30:36, t % 78: t % 78 + 6] = 200
    return np.ascontiguousarray(np.stack([picture[k: k + n] for k in range(4)], axis=-1))


def changing_bytes(n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Frames of random bytes that differ from the last frame in every byte."""
    rng = np.random.default_rng(0)
    return np.cumsum(rng.integers(1, 256, (n, *shape), dtype=np.uint8), axis=0, dtype=np.uint8)


def random_walk(n: int, size: int = 17) -> np.ndarray:
    """float32 (n, size): a slow random walk, drawn back to 0 so that it keeps its range, as a robot's joints do.

    Equation: x = 0.995 x + normal(0, 0.04) per timestep.
    """
    rng = np.random.default_rng(0)
    x, walk = rng.normal(0, 0.4, size), np.empty((n, size), np.float32)
    for t in range(n):
        x = 0.995 * x + rng.normal(0, 0.04, size)
        walk[t] = x
    return walk


def few_changes(n: int, size: int, fraction: float = 0.02) -> np.ndarray:
    """float32 (n, size) in [-1, 1): at each timestep `fraction` of the values, chosen at random, are drawn anew."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size)
    inputs = np.empty((n, size), np.float32)
    for t in range(n):
        chosen = rng.choice(size, max(1, round(fraction * size)), replace=False)
        x[chosen] = rng.uniform(-1, 1, chosen.size)
        inputs[t] = x
    return inputs


def channels_first(frames: np.ndarray) -> np.ndarray:
    """Byte frames height x width x channel as float32 channel x height x width in [0, 1]."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


# -- networks --------------------------------------------------------------------------------------------------------


def write_onnx(path: Path, layers: list[Weights], input_shape: tuple[int, ...], byte_frames: bool = False) -> Path:
    """Write layers with a ReLU after each but the last.

    With `byte_frames` the input is height x width x channel in 0 .. 255 and is divided by 255
    and transposed in the model; else a convolution takes channel x height x width.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    nodes, constants, x = [], [], "obs"

    def node(operator: str, *operands: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, operands, [f"{operator}_{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    if byte_frames:
        x = node("Transpose", node("Div", x, constant("full_scale", np.array(255))), perm=[0, 3, 1, 2])
    for i, layer in enumerate(layers):
        parameters = constant(f"weight_{i}", layer.weight), constant(f"bias_{i}", layer.bias)
        if layer.is_convolution:
            x = node("Conv", x, *parameters, strides=[layer.stride] * 2)
        else:
            x = node("Flatten", x) if i and layers[i - 1].is_convolution else x
            x = node("Gemm", x, *parameters, transB=1)
        x = node("Relu", x) if i < len(layers) - 1 else x
    nodes[-1].output[0] = "logits"
    shapes = (("obs", [1, *input_shape]), ("logits", [1, layers[-1].bias.size]))
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in shapes]
    graph = helper.make_graph(nodes, "bench", *ends, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def _random_layers(shapes: list[tuple[tuple[int, ...], int]]) -> list[Weights]:
    """Uniform weights of the size that torch initialises with."""
    rng, layers = np.random.default_rng(0), []
    for shape, stride in shapes:
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        layers.append(Weights(rng.uniform(-bound, bound, shape), rng.uniform(-bound, bound, shape[0]), stride))
    return layers


def _rescaled(path: Path, layers: list[Weights], inputs: np.ndarray, byte_frames: bool) -> list[Weights]:
    """Layer by layer: weights and bias by 1 / the 99th percentile of abs(activation). Writes `path` on the way."""
    shape = inputs.shape[1:]
    sample = inputs[:: max(1, len(inputs) // 10)]
    layers = list(layers)
    for i in range(len(layers)):
        write_onnx(path, layers, shape, byte_frames)
        _, activations, _ = dense.evaluate(ns.load(path), sample, np.float32)
        scale = 1 / np.percentile(np.abs(activations[i]), 99)
        layers[i] = replace(layers[i], weight=layers[i].weight * scale, bias=layers[i].bias * scale)
    write_onnx(path, layers, shape, byte_frames)
    return layers


def nature_cnn(path: Path, frames: np.ndarray, actions: int = 6, channels: tuple[int, int, int, int] = (32, 64, 64, 512)) -> list[Weights]:
    """The network of Mnih et al. 2015 on byte frames, random weights, "norm"."""
    a, b, c, hidden = channels
    shapes = [((a, 4, 8, 8), 4), ((b, a, 4, 4), 2), ((c, b, 3, 3), 1), ((hidden, 49 * c), 1), ((actions, hidden), 1)]
    return _rescaled(path, _random_layers(shapes), frames, byte_frames=True)


def mlp(path: Path, inputs: np.ndarray, hidden: int = 256, actions: int = 6) -> list[Weights]:
    """Two hidden layers of ReLUs, random weights, "norm"."""
    sizes = (inputs.shape[1], hidden, hidden, actions)
    return _rescaled(path, _random_layers([((n_out, n_in), 1) for n_in, n_out in zip(sizes, sizes[1:])]), inputs, byte_frames=False)


def pruned_layer(path: Path, size: int, sparsity: float = 0.95) -> Path:
    """One layer of full synapses, size x size, of which a random fraction is zero."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(size, size)).astype(np.float32) * (rng.random((size, size), np.float32) >= sparsity)
    return write_onnx(path, [Weights(weight, np.zeros(size))], (size,))


def shipped_policies() -> dict[str, tuple[Path, np.ndarray]]:
    """Name, model file and recorded observations of the policies in models/."""
    folders = [card.parent for card in sorted((ROOT / "models").glob("*/model.yaml"))]
    return {folder.name: (folder / "policy.onnx", np.load(folder / "golden.npz")["obs"]) for folder in folders}
