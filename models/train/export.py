"""From a trained actor to a model folder: policy.onnx, model.yaml, golden.npz, curve.csv.

Everything that is published is measured on the exported file with onnxruntime, never on the torch module.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import scipy.stats
import torch
import yaml
from checkpoint import write_curve
from play import EVALUATION_SEED, GOLDEN_SEED, Policy, episode_returns, make, preprocess_of, random_returns, transitions
from torch import nn

from neurosim.loaders import load

OPSET = 18
EPISODES = 100
GOLDEN_STEPS = 500
WEIGHTS = "policy.onnx"


@dataclass(frozen=True)
class Card:
    """What model.yaml says about a model and no measurement can tell."""

    name: str
    description: str
    env_id: str
    action: str
    output: str
    recipe: str
    episodes: int = EPISODES
    baseline: str | None = None
    thresholds: list[float] | None = None


@dataclass(frozen=True)
class Expected:
    """Returns over `episodes` episodes from EVALUATION_SEED; ci95 is a percentile bootstrap interval of the mean."""

    episodes: int
    seed: int
    mean_return: float
    ci95: list[float]
    random_mean_return: float


def write_onnx(actor: nn.Module, shape: tuple[int, ...], output: str, path: Path) -> None:
    """Export `actor` as one float32 file: input `obs` (1, *shape), output `output` (1, n_out).

    The exporter's notes on its own stack are removed: the file holds the graph and nothing of the machine that made it.
    """
    program = torch.onnx.export(
        actor.eval(), (torch.zeros(1, *shape),), input_names=["obs"], output_names=[output],
        opset_version=OPSET, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer):  # fmt: skip
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def onnx_policy(path: Path) -> Policy:
    """The policy of an ONNX file, run by onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda obs: session.run(None, {"obs": obs})[0]


def evaluate(env_id: str, policy: Policy, action: str, episodes: int) -> Expected:
    """Play `episodes` episodes, and the same ones with random actions."""
    returns = episode_returns(env_id, policy, action, episodes, EVALUATION_SEED)
    interval = scipy.stats.bootstrap(
        (returns,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Expected(
        episodes=episodes,
        seed=EVALUATION_SEED,
        mean_return=round(float(returns.mean()), 4),
        ci95=[round(float(interval.low), 4), round(float(interval.high), 4)],
        random_mean_return=round(float(random_returns(env_id, episodes, EVALUATION_SEED).mean()), 4),
    )


def record_golden(env_id: str, policy: Policy, action: str) -> dict[str, np.ndarray]:
    """GOLDEN_STEPS consecutive env_steps of the policy's own play, episodes from GOLDEN_SEED, GOLDEN_SEED + 1, ...

    obs: raw observations (T, *shape), float32, or uint8 where the environment gives bytes.
    ref: the policy's outputs, float32 (T, n_out). episode_start: bool (T,).
    """
    env = make(env_id)
    obs, ref, start = [], [], []
    seed = GOLDEN_SEED
    while len(obs) < GOLDEN_STEPS:
        for i, (batch, output, _) in enumerate(transitions(env, policy, action, seed)):
            obs.append(batch[0])
            ref.append(output[0])
            start.append(i == 0)
        seed += 1
    dtype = np.uint8 if env.observation_space.dtype == np.uint8 else np.float32
    env.close()
    return {
        "obs": np.array(obs[:GOLDEN_STEPS], dtype=dtype),
        "ref": np.array(ref[:GOLDEN_STEPS], dtype=np.float32),
        "episode_start": np.array(start[:GOLDEN_STEPS]),
    }


def hidden_activity(actor: nn.Module, obs: np.ndarray) -> list[str]:
    """One line per hidden layer: units never active on `obs` (T, *shape), mean share active, largest activation."""
    lines: list[str] = []

    def describe(_module: nn.Module, _inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        dead = int((out.max(dim=0).values <= 0).sum())
        active = float((out > 0).float().mean())
        lines.append(f"{out[0].numel()} units, {dead} never active, {active:.1%} active on average, max {out.max():.3g}")

    hooks = [m.register_forward_hook(describe) for m in actor.modules() if isinstance(m, nn.ReLU)]
    with torch.no_grad():
        actor(torch.from_numpy(obs).float())
    for hook in hooks:
        hook.remove()
    return lines


def ship(actor: nn.Module, card: Card, curve: list[dict[str, float]], out: Path) -> Expected:
    """Write the model folder `out` in one move, replacing an older one, and return the measured returns."""
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    weights = partial / WEIGHTS
    write_onnx(actor, make(card.env_id).observation_space.shape, card.output, weights)
    policy = onnx_policy(weights)
    golden = record_golden(card.env_id, policy, card.action)
    np.savez_compressed(partial / "golden.npz", **golden)
    write_curve(partial / "curve.csv", curve)
    expected = evaluate(card.env_id, policy, card.action, card.episodes)
    (partial / "model.yaml").write_text(yaml.safe_dump(describe_model(card, expected, weights), sort_keys=False, width=120))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    print(f"{card.name}: {expected}")
    for i, line in enumerate(hidden_activity(actor, golden["obs"])):
        print(f"  hidden layer {i}: {line}")
    return expected


def describe_model(card: Card, expected: Expected, weights: Path) -> dict[str, object]:
    """The contents of model.yaml."""
    return {
        "name": card.name,
        "description": card.description,
        "weights": WEIGHTS,
        "env": {"id": card.env_id, "kwargs": {}, "preprocess": preprocess_of(card.env_id)},
        "action": card.action,
        "output": card.output,
        "thresholds": card.thresholds and dict(zip(load(weights).thresholds, card.thresholds, strict=True)),
        "baseline": card.baseline,
        "licence": "MIT",
        "recipe": card.recipe,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "expected": asdict(expected),
    }
