"""Checkpoints and the learning curve: what a stopped training needs to go on."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> np.random.Generator:
    """Seed python and torch, use one thread (small networks are slower on more), and return numpy's generator."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return np.random.default_rng(seed)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a training killed while writing keeps its previous one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({**state, "torch_rng": torch.get_rng_state()}, partial)
    partial.replace(path)


def load(path: Path) -> dict[str, Any] | None:
    """The checkpoint at `path`, or None where there is none; torch's random state is restored.

    It is unpickled: load only what these recipes wrote.
    """
    if not path.exists():
        return None
    state = torch.load(path, weights_only=False)
    torch.set_rng_state(state.pop("torch_rng"))
    return state


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the learning curve as CSV, one row per evaluation."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
