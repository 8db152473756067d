"""A small dense policy distilled from a large one: the control that every sparse policy is held against.

Convolutions without overlap (stride = kernel), one hidden layer of 32, ReLU: the network of most filters that stays within a given
number of dense MACs. It plays, the teacher answers, as in `sparsify.py`.

    python models/train/distil_small.py --teacher models/breakout_ppo --macs 40000 --out models/breakout_ppo_small
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import checkpoint
import torch
from export import Card, ship
from games import games_of
from network import Actor, Scale, read_actor
from play import TRAINING_SEED
from sparsify import Buffer, Config, Student, divergence, gather
from torch import nn

from neurosim.model_card import read_card

SCREEN, PLANES, HIDDEN = 84, 4, 32


def widest(macs: int, n_actions: int) -> Actor:
    """The most filters, and of equal ones the finest grid, within a number of MACs.

    Raises
    ------
    SystemExit
        When not even one filter on the coarsest grid fits.
    """
    fits = []
    for kernel in (6, 7, 12, 14, 21, 28):
        n = (SCREEN // kernel) ** 2
        filters = (macs - HIDDEN * n_actions) // (n * (kernel**2 * PLANES + HIDDEN))
        if filters >= 1:
            fits.append((min(filters, 32), -kernel))
    if not fits:
        raise SystemExit(f"no network of these shapes runs in {macs:,} MACs; at least about {SCREEN**2 * PLANES + 2 * HIDDEN:,} are needed")
    filters, kernel = max(fits)
    kernel = -kernel
    n = (SCREEN // kernel) ** 2
    return Actor(Scale(), [nn.Conv2d(PLANES, filters, kernel, kernel), nn.Linear(n * filters, HIDDEN), nn.Linear(HIDDEN, n_actions)])


def train(teacher: Path, macs: int, minutes: float, seed: int) -> tuple[Actor, list[dict[str, float]]]:
    """Distil; return the student and its curve."""
    config = Config(minutes=minutes, learning_rate=1e-3)
    rng = checkpoint.seed_everything(seed)
    games = games_of(read_card(teacher / "model.yaml").env.id, config.n_envs, config.sticky, TRAINING_SEED + 600_000 + 1_000 * seed)
    guide = read_actor(teacher / "policy.onnx")
    actor = widest(macs, guide.layers[-1].out_features)
    student, buffer = Student(actor, [0.0] * len(actor.layers)), Buffer(config.buffer)
    optimizer = torch.optim.Adam(actor.parameters(), lr=config.learning_rate)
    began, noted, curve, updates = time.monotonic(), 0.0, [], 0
    while (wall_s := time.monotonic() - began) < 60 * minutes:
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - wall_s / (60 * minutes))
        gather(student, guide, games, buffer, config)
        for _ in range(4 * config.updates):
            obs, answer = buffer.sample(rng, config.windows, config.window)
            kl = divergence(answer, actor(obs.flatten(0, 1).float()).unflatten(0, answer.shape[:2]), games.discrete, config.sharpness)
            optimizer.zero_grad()
            kl.backward()
            optimizer.step()
        updates += 4 * config.updates
        if not curve or wall_s - noted > config.checkpoint_s:
            noted = wall_s
            row = {"updates": updates, "wall_s": round(wall_s, 1), "training_return": round(games.mean_return, 2)}
            curve.append(row | {"kl": round(kl.item(), 4)})
            print(curve[-1], flush=True)
    return actor, curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="model folder of the large policy")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--macs", type=int, required=True, help="dense MACs per decision that it may take")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=30, help="over which the published return is measured")
    args = parser.parse_args()
    actor, curve = train(args.teacher, args.macs, args.minutes, args.seed)
    card = read_card(args.teacher / "model.yaml")
    ship(
        actor,
        Card(
            name=args.out.name,
            description=f"A small dense network distilled from {args.teacher.name}: the control of a sparse one",
            env_id=card.env.id,
            action=card.action or "argmax",
            output=card.output or "logits",
            recipe=f"python models/train/distil_small.py --teacher models/{args.teacher.name} --macs {args.macs} --minutes {args.minutes} "
            f"--seed {args.seed} --out models/{args.out.name}",
            episodes=args.episodes,
            baseline=f"../{args.teacher.name}",
        ),
        curve,
        args.out,
    )


if __name__ == "__main__":
    main()
