"""A sparse policy from a trained one: pruning and temporal sparsity by distillation on the student's own play.

The student starts as a copy of the teacher and plays the game; the teacher says what it would have done (Ross et al. 2011,
arXiv 1011.0686; policy distillation: Rusu et al. 2016, arXiv 1511.06295). Every training window of consecutive decisions is run
with the delta rule itself: an element sends its value when that differs from the last sent one by more than the threshold of
its layer, and the next layer sees the last sent values (0 before the first). Gradients pass the rule straight through (Bengio et al. 2013,
arXiv 1308.3432). The loss is

    KL(teacher || student) + strength x log(effective MACs / dense MACs)

where `strength` rises while the divergence is below `kl` and falls while it is above, and the MACs are those of the window,
differentiable in two smooth stand-ins: d / (d + threshold) for "this element sends" (d its distance from the last sent value)
and |w| / (|w| + scale) for "this weight is not zero".
The smallest weights of each layer are set to zero on the way, their share rising along the cubic schedule of Zhu and Gupta 2017
(arXiv 1710.01878).

    python models/train/sparsify.py --teacher models/pong_ppo --out models/pong_ppo_sparse

Learning rate, pruning and end follow the wall clock: another machine, or another load, gives other weights.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import checkpoint
import numba
import numpy as np
import torch
from export import Card, ship
from games import Games, games_of
from network import Actor, read_actor
from play import TRAINING_SEED
from torch import nn
from torch.nn import functional as F

from neurosim.loaders import load
from neurosim.model_card import read_card


@dataclass(frozen=True)
class Config:
    """Hyperparameters. `sparsity` and `threshold` hold one value per weighted layer and per sender, input first.

    A threshold is a fraction of the 99th percentile of its sender's values in the teacher; that of the input is absolute.
    """

    minutes: float = 15.0
    sparsity: tuple[float, ...] = (0.8, 0.9, 0.9, 0.97, 0.5)
    threshold: tuple[float, ...] = (0.03, 0.15, 0.15, 0.15, 0.15)
    kl: float = 0.1
    strongest: float = 1.0
    reaction: float = 0.02
    sharpness: float = 2.0
    n_envs: int = 16
    steps: int = 24
    window: int = 8
    windows: int = 16
    updates: int = 16
    buffer: int = 1_500
    learning_rate: float = 3e-4
    pruning_ends: float = 0.6
    sticky: float = 0.25
    bfloat16: bool = True
    checkpoint_s: float = 60.0


class Student:
    """The layers of an actor, the masks of their weights and the thresholds of their senders."""

    def __init__(self, actor: Actor, thresholds: list[float]) -> None:
        self.actor = actor
        self.layers = list(actor.layers)
        self.masks = [layer.weight.detach() != 0 for layer in self.layers]
        self.scales = [layer.weight.detach().abs().mean().item() * 0.3 for layer in self.layers]
        self.thresholds = thresholds
        self.dense_macs = 0.0
        self.sent: list[torch.Tensor] = []

    def prune(self, fractions: list[float]) -> None:
        """Set the smallest weights of each layer to zero, so that the given fractions are; once zero, always zero."""
        for layer, mask, fraction in zip(self.layers, self.masks, fractions, strict=True):
            n = round(fraction * mask.numel())
            magnitude = layer.weight.detach().abs().masked_fill(~mask, -1.0).reshape(-1)
            keep = mask.reshape(-1).clone()
            keep[magnitude.topk(n, largest=False).indices] = False
            mask.copy_(keep.view_as(magnitude).reshape(mask.shape))
        self.clear_pruned()

    @torch.no_grad()
    def clear_pruned(self) -> None:
        for layer, mask in zip(self.layers, self.masks, strict=True):
            layer.weight.mul_(mask)

    def play(self, obs: torch.Tensor, began: np.ndarray) -> torch.Tensor:
        """Answers to one observation of each game (n_envs, *shape) by the delta rule; what was sent is forgotten where a game began."""
        going_on = torch.from_numpy(~began)
        x = self.actor.encoder(obs.float())
        sent = self.sent or [torch.zeros(())] * len(self.layers)
        self.sent = []
        for i, (layer, last, threshold) in enumerate(zip(self.layers, sent, self.thresholds, strict=True)):
            x = x.flatten(1) if isinstance(layer, nn.Linear) else x
            last = torch.where(going_on.view(-1, *[1] * (x.ndim - 1)), last, 0.0)
            x = torch.where((x.float() - last).abs() > threshold, x.float(), last)
            self.sent.append(x)
            x = layer(x)
            x = self.actor.activation(x) if i < len(self.layers) - 1 else x
        return x

    def __call__(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Run windows (T, n, *shape) with the delta rule.

        Returns outputs (T, n, n_out), the smooth MACs and the true MACs of each layer (means per decision, without the first of a
        window).
        """
        n_steps, n = windows.shape[:2]
        x = self.actor.encoder(windows.flatten(0, 1).float())
        smooth, true = torch.zeros(()), []
        for i, (layer, scale, threshold) in enumerate(zip(self.layers, self.scales, self.thresholds, strict=True)):
            x = x.flatten(1) if isinstance(layer, nn.Linear) else x
            x, sends = Hold.apply(x, n_steps, threshold)
            share = sends / ((n_steps - 1) * n)
            weight = layer.weight
            smooth = smooth + (share * fan_out(layer, weight.abs() / (weight.abs() + scale), x.shape[1:])).sum()
            true.append((share * fan_out(layer, (weight.detach() != 0).float(), x.shape[1:])).sum().detach())
            x = layer(x)
            x = self.actor.activation(x) if i < len(self.layers) - 1 else x
        return x.unflatten(0, (n_steps, n)), smooth, torch.stack(true)


class Hold(torch.autograd.Function):
    """The delta rule over windows: (T x n, *shape) -> last sent values, and how often each element sends, the first decisions left out.

    Exact in value. Backward, the last sent values are the values themselves, and "sends" is d / (d + threshold) with
    d = |x_t - last sent|, whose last sent value follows x_(t - 1).
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, n_steps: int, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
        values = rows_of(x.detach()).float().numpy()
        held, sends = np.empty_like(values), np.zeros(values.shape[1], np.float32)
        send_changes(values, n_steps, np.float32(threshold), held, sends)
        ctx.saved = values, held, n_steps, threshold, x.shape
        return shaped(torch.from_numpy(held), x.shape).to(x.dtype), shaped(torch.from_numpy(sends[None]), x.shape)[0]

    @staticmethod
    def backward(ctx, held_gradient: torch.Tensor, sends_gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        values, held, n_steps, threshold, shape = ctx.saved
        gradient = rows_of(held_gradient.float()).clone().numpy()
        pull_changes(values, held, n_steps, np.float32(threshold), rows_of(sends_gradient[None].float()).numpy()[0], gradient)
        return shaped(torch.from_numpy(gradient), shape).to(held_gradient.dtype), None, None


def rows_of(x: torch.Tensor) -> torch.Tensor:
    """(n, channels, height, width) -> (n, elements), channels innermost; (n, elements) as it is."""
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).reshape(len(x), -1)


def shaped(rows: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The inverse of `rows_of`."""
    if len(shape) == 2:
        return rows
    n_channels, height, width = shape[1:]
    return rows.view(len(rows), height, width, n_channels).permute(0, 3, 1, 2)


@numba.njit(cache=True, fastmath=True)
def send_changes(values: np.ndarray, n_steps: int, threshold: float, held: np.ndarray, sends: np.ndarray) -> None:
    """Fill `held` and add to `sends`; rows are ordered (step, window)."""
    n = len(values) // n_steps
    for row in range(n):
        for i in range(values.shape[1]):
            held[row, i] = values[row, i] if np.abs(values[row, i]) > threshold else np.float32(0)
    for row in range(n, len(values)):
        for i in range(values.shape[1]):
            last = held[row - n, i]
            moved = np.abs(values[row, i] - last) > threshold
            held[row, i] = values[row, i] if moved else last
            sends[i] += np.float32(moved)


@numba.njit(cache=True, fastmath=True)
def pull_changes(values: np.ndarray, held: np.ndarray, n_steps: int, threshold: float, pull: np.ndarray, gradient: np.ndarray) -> None:
    """Add the gradient of the smooth sends, weighted by `pull` (elements,), to `gradient`."""
    n = len(values) // n_steps
    for row in range(n, len(values)):
        for i in range(values.shape[1]):
            d = values[row, i] - held[row - n, i]
            size = np.abs(d) + threshold
            if size > 0:
                g = pull[i] * threshold / (size * size) * np.sign(d)
                gradient[row, i] += g
                gradient[row - n, i] -= g


def fan_out(layer: nn.Module, count: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sum of `count` (shape of the layer's weights) over the synapses of each element of an input of the given shape."""
    if isinstance(layer, nn.Linear):
        return count.sum(0).view(shape)
    taps = count.sum(0).unsqueeze(1)
    n_channels, height, width = shape
    out = [(size - kernel) // stride + 1 for size, kernel, stride in zip((height, width), layer.kernel_size, layer.stride)]
    met = F.conv_transpose2d(torch.ones(1, n_channels, *out), taps, stride=layer.stride, groups=n_channels)[0]
    return F.pad(met, (0, width - met.shape[2], 0, height - met.shape[1]))


class Buffer:
    """The last `length` decisions of all games: observations, the teacher's answers, and where a game began."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.obs: list[torch.Tensor] = []
        self.answers: list[torch.Tensor] = []
        self.began: list[np.ndarray] = []

    def add(self, obs: torch.Tensor, answer: torch.Tensor, began: np.ndarray) -> None:
        self.obs.append(obs)
        self.answers.append(answer)
        self.began.append(began)
        if len(self.obs) > self.length:
            del self.obs[0], self.answers[0], self.began[0]

    def sample(self, rng: np.random.Generator, n: int, window: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows without a reset inside: observations (window, n, ...) and answers (window, n, n_out)."""
        pairs: list[tuple[int, int]] = []
        while len(pairs) < n:
            t = int(rng.integers(len(self.obs) - window + 1))
            e = int(rng.integers(len(self.began[0])))
            if not any(self.began[u][e] for u in range(t + 1, t + window)):
                pairs.append((t, e))
        obs = [torch.stack([self.obs[t + k][e] for t, e in pairs]) for k in range(window)]
        answers = [torch.stack([self.answers[t + k][e] for t, e in pairs]) for k in range(window)]
        return torch.stack(obs), torch.stack(answers)


@torch.no_grad()
def gather(student: Student, teacher: Actor, games: Games, buffer: Buffer, config: Config) -> None:
    """Let the student play `steps` decisions in each game, by delta events, and the teacher answer on the same screens."""
    for _ in range(config.steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            answer, own = teacher(games.obs.float()), student.play(games.obs, games.began)
        buffer.add(games.obs, answer.float(), games.began.copy())
        games.step(own.float())


def divergence(answer: torch.Tensor, own: torch.Tensor, discrete: bool, sharpness: float) -> torch.Tensor:
    """Mean KL of the answers: of softmax(sharpness x logits), or of normal distributions of standard deviation 1 / sharpness.

    Continuous actions end at -1 and 1; where both answers lie beyond the same end, they are the same action.
    """
    if discrete:
        log_p, log_q = ((sharpness * logits).log_softmax(-1) for logits in (answer, own))
        return (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    same = (own.abs() > 1) & (answer.abs() > 1) & (own * answer > 0)
    return 0.5 * (sharpness * (own - answer)).square().masked_fill(same, 0.0).sum(-1).mean()


def improve(
    student: Student,
    optimizer: torch.optim.Optimizer,
    windows: tuple[torch.Tensor, torch.Tensor],
    strength: float,
    discrete: bool,
    config: Config,
) -> dict[str, Any]:
    """One gradient step; return KL, agreement of the most probable actions, and true MACs per decision, in all and by layer."""
    obs, answer = windows
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        own, smooth, true = student(obs)
    own = own.float()
    kl = divergence(answer, own, discrete, config.sharpness)
    loss = kl + strength * (smooth.float() / student.dense_macs + 1e-6).log()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(student.actor.parameters(), 1.0)
    optimizer.step()
    student.clear_pruned()
    agreement = (own.argmax(-1) == answer.argmax(-1)).float().mean().item() if discrete else float("nan")
    return {"kl": kl.item(), "agreement": agreement, "macs": true.sum().item(), "macs_by_layer": true.numpy()}


@torch.no_grad()
def senders(actor: Actor, obs: torch.Tensor, fractions: tuple[float, ...]) -> list[float]:
    """Thresholds from fractions of the 99th percentile of each sender's values on given observations."""
    thresholds = [fractions[0]]
    x = actor.encoder(obs.float())
    for layer, fraction in zip(list(actor.layers)[:-1], fractions[1:], strict=True):
        x = actor.activation(layer(x.flatten(1) if isinstance(layer, nn.Linear) else x))
        thresholds.append(fraction * float(np.percentile(x.abs().numpy(), 99) or x.abs().max()))
    return thresholds


def train(
    teacher: Path, start: Path, config: Config, seed: int, work: Path, pause: float = np.inf
) -> tuple[Student, list[dict[str, float]], bool]:
    """Distil from the weights of `start`, or go on from the checkpoint in `work`; return student, curve and whether it is finished."""
    rng = checkpoint.seed_everything(seed)
    torch.set_flush_denormal(True)
    games = games_of(read_card(teacher / "model.yaml").env.id, config.n_envs, config.sticky, TRAINING_SEED + 500_000 + 1_000 * seed)
    guide, actor = read_actor(teacher / "policy.onnx"), read_actor(start / "policy.onnx")
    if len(config.sparsity) != len(actor.layers) or len(config.threshold) != len(actor.layers):
        raise SystemExit(f"{teacher} has {len(actor.layers)} layers with weights; give as many values of --sparsity and of --threshold")
    student = Student(actor, [0.0] * len(actor.layers))
    buffer = Buffer(config.buffer)
    for _ in range(4):
        gather(student, guide, games, buffer, config)
    student.thresholds = senders(guide, torch.cat(buffer.obs[-64:]), config.threshold)
    student.dense_macs = load(teacher / "policy.onnx").static_total("dense_macs")
    optimizer = torch.optim.Adam(actor.parameters(), lr=config.learning_rate)
    state: dict = {"wall_s": 0.0, "updates": 0, "strength": 1e-3, "curve": [], "belongs": ""}
    belongs = f"{config} teacher {sha256(teacher)} start {sha256(start)}"
    saved = checkpoint.load(work / "last.pt")
    if saved and saved["belongs"] != belongs:
        raise SystemExit(f"the checkpoint in {work} was made with other options or from other models; choose another --work")
    if saved:
        actor.load_state_dict(saved.pop("actor"))
        optimizer.load_state_dict(saved.pop("optimizer"))
        student.masks, student.thresholds = saved.pop("masks"), saved.pop("thresholds")
        state = saved
    state["belongs"] = belongs
    called = noted = time.monotonic()
    began = called - state["wall_s"]
    recent: list[dict[str, Any]] = []
    while state["wall_s"] < 60 * config.minutes and time.monotonic() - called < 60 * pause:
        done = state["wall_s"] / (60 * config.minutes)
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - done)
        gather(student, guide, games, buffer, config)
        for _ in range(config.updates):
            windows = buffer.sample(rng, config.windows, config.window)
            recent.append(improve(student, optimizer, windows, state["strength"], games.discrete, config))
            excess = min(2.0, recent[-1]["kl"] / config.kl) - 1
            state["strength"] = min(config.strongest, max(1e-5, state["strength"] * np.exp(-config.reaction * excess)))
        left = (1 - min(1.0, done / config.pruning_ends)) ** 3
        student.prune([s * (1 - left) for s in config.sparsity])
        state["updates"] += config.updates
        state["wall_s"] = time.monotonic() - began
        if time.monotonic() - noted > config.checkpoint_s:
            noted = time.monotonic()
            note(student, recent, games, state, work, optimizer)
            recent = []
    if recent:
        note(student, recent, games, state, work, optimizer)
    return student, state["curve"], state["wall_s"] >= 60 * config.minutes


def sha256(folder: Path) -> str:
    """Digest of a model folder's weights."""
    return hashlib.sha256((folder / "policy.onnx").read_bytes()).hexdigest()


def note(student: Student, recent: list[dict[str, Any]], games: Games, state: dict, work: Path, optimizer: torch.optim.Optimizer) -> None:
    """Add a row to the curve and write the checkpoint."""
    zeros = [round(1 - mask.float().mean().item(), 4) for mask in student.masks]
    means = {key: round(float(np.mean([row[key] for row in recent])), 5) for key in ("kl", "agreement", "macs")}
    by_layer = np.mean([row["macs_by_layer"] for row in recent], axis=0).round().astype(int)
    row = {"updates": state["updates"], "wall_s": round(state["wall_s"], 1), "training_return": round(games.mean_return, 2)}
    row |= {"strength": round(float(state["strength"]), 5), **means}
    state["curve"].append(row)
    print(row, by_layer, zeros, flush=True)
    saved = {"actor": student.actor.state_dict(), "optimizer": optimizer.state_dict(), "masks": student.masks}
    checkpoint.save(work / "last.pt", {**state, **saved, "thresholds": student.thresholds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="model folder of the dense policy")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--start", type=Path, help="model folder of an earlier student to go on from (default: the teacher)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=Config.minutes, help="length; the learning rate falls to 0 over it")
    parser.add_argument("--sparsity", type=float, nargs="+", default=Config.sparsity, help="one per layer")
    parser.add_argument("--threshold", type=float, nargs="+", default=Config.threshold, help="input (absolute), then one per hidden layer")
    parser.add_argument("--kl", type=float, default=Config.kl, help="divergence from the teacher that is accepted for fewer MACs")
    parser.add_argument("--sharpness", type=float, default=Config.sharpness, help="factor on the logits in the divergence")
    parser.add_argument("--episodes", type=int, default=30, help="over which the published return is measured")
    parser.add_argument("--pause", type=float, default=np.inf, help="stop with a checkpoint after so many minutes")
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: in the system's temporary folder)")
    args = parser.parse_args()
    given = {f.name: getattr(args, f.name) for f in fields(Config) if f.name in args}
    config = Config(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
    work = args.work or Path(tempfile.gettempdir()) / "neurosim-train" / f"{args.out.name}-{args.seed}"
    student, curve, finished = train(args.teacher, args.start or args.teacher, config, args.seed, work, args.pause)
    if finished:
        write(student, curve, args)
    else:
        print(f"stopped; the same command goes on from {work / 'last.pt'}")


def write(student: Student, curve: list[dict[str, float]], args: argparse.Namespace) -> None:
    """Write the model folder, and into its card the thresholds and the dense policy that it stands beside."""
    card = read_card(args.teacher / "model.yaml")
    words = [f"--{f.name} {' '.join(map(str, np.atleast_1d(getattr(args, f.name))))}" for f in fields(Config)
             if f.name in args and getattr(args, f.name) != f.default]  # fmt: skip
    where = [f"--teacher models/{args.teacher.name}"] + [f"--start {args.start}"] * bool(args.start)
    ship(
        student.actor,
        Card(
            name=args.out.name,
            description=f"{args.teacher.name}, pruned and made temporally sparse by distillation",
            env_id=card.env.id,
            action=card.action or "argmax",
            output=card.output or "logits",
            recipe=" ".join(["python models/train/sparsify.py", *where, f"--seed {args.seed}", *words, f"--out models/{args.out.name}"]),
            episodes=args.episodes,
            baseline=f"../{args.teacher.name}",
            thresholds=student.thresholds,
        ),
        curve,
        args.out,
    )


if __name__ == "__main__":
    main()
