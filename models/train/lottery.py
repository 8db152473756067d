"""Lottery tickets: train, prune the smallest weights of each layer, rewind the others to their initial values, train again.

Source: Frankle and Carbin 2019 (arXiv 1803.03635), iterative pruning with resetting; here with the policies of `ppo.py`.
After k rounds a share (1 - fraction)^k of the actor's weights is left (the head is pruned like the other layers).

    python models/train/lottery.py --env CartPole-v1 --rounds 7 --out models/cartpole_ppo_ticket
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import checkpoint
import numpy as np
import torch
from export import Card, ship
from network import Normalised, shape_of
from play import SELECTION_SEED, episode_returns, torch_policy
from ppo import CONFIGS, CONTINUOUS, Agent, train
from torch import nn
from torch.nn.utils import prune

EPISODES = 50


def linears(actor: nn.Module) -> list[nn.Linear]:
    """The layers with weights, in order."""
    return [m for m in actor.modules() if isinstance(m, nn.Linear)]


def keep_only(masks: list[torch.Tensor], agent: Agent) -> None:
    """Hold the masked weights of the actor at zero while it learns."""
    for layer, mask in zip(linears(agent.actor), masks, strict=True):
        prune.custom_from_mask(layer, "weight", mask)


def shrink(masks: list[torch.Tensor], actor: nn.Module, fraction: float) -> list[torch.Tensor]:
    """Masks without the smallest `fraction` of the weights that are left in each layer."""
    out = []
    for layer, mask in zip(linears(actor), masks, strict=True):
        left = layer.weight.detach().abs().masked_fill(mask == 0, -1.0)
        kept = left.flatten().topk(round(float(mask.sum()) * (1 - fraction))).indices
        out.append(torch.zeros(mask.numel()).index_fill(0, kept, 1.0).view_as(mask))
    return out


def bake(actor: Normalised) -> Normalised:
    """The same policy with plain weights, zeros where they were masked."""
    for layer in linears(actor):
        if prune.is_pruned(layer):
            prune.remove(layer, "weight")
    return actor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=CONFIGS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="model folder to write: the ticket of the last round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fraction", type=float, default=0.2, help="of the weights left that each round prunes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: in the system's temporary folder)")
    args = parser.parse_args()
    work = args.work or Path(tempfile.gettempdir()) / "neurosim-train" / f"{args.out.name}-{args.seed}"
    rule = "clip" if args.env in CONTINUOUS else "argmax"
    masks: list[torch.Tensor] = []
    rows = []
    for number in range(args.rounds + 1):
        prepare = partial(keep_only, masks) if masks else lambda agent: None
        actor, _ = train(args.env, CONFIGS[args.env], args.seed, work / f"{args.fraction:g}-round{number}", prepare)
        actor = bake(actor)
        masks = masks or [torch.ones_like(layer.weight) for layer in linears(actor)]
        left = float(sum(m.sum() for m in masks) / sum(m.numel() for m in masks))
        returns = episode_returns(args.env, torch_policy(actor), rule, EPISODES, SELECTION_SEED)
        rows.append({"round": number, "sparsity": round(1 - left, 4), "selection_return": round(float(np.mean(returns)), 2)})
        print(rows[-1], flush=True)
        checkpoint.write_curve(work / "rounds.csv", rows)
        masks = shrink(masks, actor, args.fraction) if number < args.rounds else masks
    card = Card(
        name=args.out.name,
        description=f"PPO policy for {args.env}, lottery ticket of round {args.rounds} ({rows[-1]['sparsity']:.0%} of the weights pruned): "
        f"{shape_of(actor)} ReLU network behind a frozen observation normalisation",
        env_id=args.env,
        action=rule,
        output="action_mean" if args.env in CONTINUOUS else "logits",
        recipe=f"python models/train/lottery.py --env {args.env} --rounds {args.rounds} --fraction {args.fraction} --seed {args.seed} "
        f"--out models/{args.out.name}",
    )
    ship(actor, card, rows, args.out)


if __name__ == "__main__":
    main()
