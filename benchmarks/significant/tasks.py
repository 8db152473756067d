"""Tasks: pairs of model folders (dense `X`, sparse `X_sparse`), their environments, and the goals they are held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import neurosim as ns
from neurosim.control import DeltaPolicy, EnvironmentSpec, ExactPolicy, Job, RandomPolicy
from neurosim.control.episodes import Agreement
from neurosim.errors import LoadError
from neurosim.model_card import ModelCard, read_card
from neurosim.network import Network

FLOOR = 0.95
"""Score whose lower 95 % bound a reduction is claimed at."""
CLAIM_SEED, TRAINING_SEED = 100_000, 1_000_000
"""Seeds between these are the benchmark's own: thresholds and policies are chosen on smaller ones, training starts at the larger."""
DEFAULT_FRACTION = 0.01
"""Thresholds of a folder without any: this fraction of each layer's activation scale on the folder's recorded inputs."""


@dataclass(frozen=True)
class Goal:
    """Fewer MACs than dense, and than the zero-skip machine running the same pruned network; by this many times."""

    vs_dense: float
    vs_zero_skip: float | None = None


GOALS = {f"ALE/{game}-v5": Goal(100, 10) for game in ("Pong", "Breakout", "SpaceInvaders", "Freeway", "Enduro")} | {
    f"ALE/{game}-v5": Goal(20) for game in ("Robotank", "BattleZone")
}
OTHER_GOAL = Goal(10)
FAR_GOAL, FAR_GAMES = 300.0, 2
"""Past the paper: so many times fewer on at least so many games."""

PAPER_SPARSITY = {"ALE/Breakout-v5": 0.79, "ALE/SpaceInvaders-v5": 0.74}
PERIODS = {"ALE": 4 / 60}
"""Seconds between decisions where the environment's `render_fps` does not say it: four frames of 60 per second."""


@dataclass(frozen=True)
class Protocol:
    """How games are started and disturbed."""

    key: str
    title: str
    kwargs: dict[str, Any]


STICKY = Protocol("sticky", "sticky actions (probability 0.25), no-op starts, full games", {})
PAPER = Protocol(
    "paper", "no sticky actions, no-op starts, full games; intervals over distinct games only", {"repeat_action_probability": 0.0}
)
PLAIN = Protocol("plain", "the environment's own random starts", {})


@dataclass(frozen=True)
class Task:
    """One environment with its policies.

    Parameters
    ----------
    dense, delta : Network
        The trained network at threshold 0, and with thresholds.
    pruned, both : Network or None
        The same of the sparse folder.
    small : Network or None
        A dense network of about as many MACs as `both` costs.
    """

    name: str
    folder: Path
    card: ModelCard
    dense: Network
    delta: Network
    pruned: Network | None
    both: Network | None
    small: Network | None

    @property
    def env_id(self) -> str:
        return self.card.env.id

    @property
    def is_atari(self) -> bool:
        return self.env_id.startswith("ALE/")

    @property
    def goal(self) -> Goal:
        return GOALS.get(self.env_id, OTHER_GOAL)

    @property
    def best(self) -> Network:
        """The network that the claim is about."""
        return self.both or self.delta

    def spec(self, protocol: Protocol, frames: int | None = None) -> EnvironmentSpec:
        """Its environment under a protocol; games cut after so many frames (Atari)."""
        kwargs = self.card.env.kwargs | protocol.kwargs
        if frames and self.is_atari:
            kwargs |= {"max_num_frames_per_episode": frames}
        return EnvironmentSpec(self.env_id, kwargs, self.card.env.preprocess)

    def period_s(self) -> float | None:
        """Seconds between two decisions, where the environment says."""
        if self.is_atari:
            return PERIODS["ALE"]
        env = self.spec(PLAIN).make()
        fps = env.metadata.get("render_fps")
        env.close()
        return 1.0 / fps if fps else None


def find(roots: list[Path], wanted: list[str] | None) -> list[Task]:
    """Tasks in folders of model folders: those with a sparse partner, or those named.

    Raises
    ------
    LoadError
        When there are none, or not all that are named.
    """
    folders = {path.parent.name: path.parent for root in roots for path in sorted(root.glob("*/model.yaml"))}
    names = [name for name in folders if f"{name}_sparse" in folders] if wanted is None else wanted
    if not names:
        raise LoadError(f"no pair X, X_sparse in {', '.join(map(str, roots))}; name folders with --tasks")
    missing = [name for name in names if name not in folders]
    if missing:
        raise LoadError(
            f"no model folder {', '.join(missing)} in {', '.join(map(str, roots))}; there are: {', '.join(sorted(folders)) or 'none'}"
        )
    order = {env_id: i for i, env_id in enumerate(GOALS)}
    tasks = [_task(folders, name) for name in names]
    return sorted(tasks, key=lambda t: (order.get(t.env_id, len(order)), t.name))


def _task(folders: dict[str, Path], name: str) -> Task:
    folder, sparse, small = (folders.get(name + suffix) for suffix in ("", "_sparse", "_small"))
    card = read_card(folder / "model.yaml")
    if card.env is None or card.action is None:
        raise LoadError(f"{folder}: model.yaml names no environment and action")
    dense = ns.set_thresholds(ns.load(folder), 0.0)
    pruned = ns.set_thresholds(ns.load(sparse), 0.0) if sparse else None
    both = _with_thresholds(pruned, read_card(sparse / "model.yaml"), folder) if sparse else None
    return Task(name, folder, card, dense, _with_thresholds(dense, card, folder), pruned, both, ns.load(small) if small else None)


def _with_thresholds(network: Network, card: ModelCard, folder: Path) -> Network:
    if card.thresholds is not None:
        return ns.set_thresholds(network, card.thresholds)
    return ns.calibrate_thresholds(network, screens(folder)[:500], DEFAULT_FRACTION)


def screens(folder: Path) -> np.ndarray:
    """Consecutive recorded observations of the dense policy, (timesteps, *input shape)."""
    return np.load(folder / "golden.npz")["obs"]


@dataclass(frozen=True)
class Row:
    """One policy whose return and operations are measured.

    Parameters
    ----------
    identity : dict
        Everything that its results depend on, as JSON data.
    network : Network or None
        Whose static counts (dense, non-zero MACs) hold.
    macs : float or None
        MACs per decision of a policy whose operations no simulator counts.
    """

    key: str
    title: str
    job: Job
    identity: dict[str, Any]
    network: Network | None = None
    macs: float | None = None


def delta_row(key: str, title: str, network: Network, task: Task) -> Row:
    """An event-driven policy, its decisions sampled for zero-skip counts and agreement with the dense one."""
    policy = partial(DeltaPolicy, network, action=task.card.action, numerics="float32", record="none")
    return _counted(key, title, policy, network, task, "events, float32")


def exact_row(key: str, title: str, network: Network, task: Task) -> Row:
    """Conventional inference; what it would cost as events at threshold 0 is counted on the way."""
    policy = partial(ExactPolicy, network, action=task.card.action)
    return _counted(key, title, policy, ns.set_thresholds(network, 0.0), task, "exact")


def _counted(key: str, title: str, policy: partial, network: Network, task: Task, kind: str) -> Row:
    every = sampled_every(network)
    agreement = partial(Agreement, network, task.dense, action=task.card.action, every=every)
    identity = {"policy": kind, "network": network.sha256, "thresholds": network.thresholds, "baseline": task.dense.sha256,
                "action": task.card.action, "every": every}  # fmt: skip
    return Row(key, title, Job(title, policy, agreement, network), identity, network)


def sampled_every(network: Network) -> int:
    """Decisions per one that is also evaluated densely."""
    return 128 if network.static_total("dense_macs") > 1_000_000 else 8


def random_row() -> Row:
    """Uniformly random actions."""
    return Row("random", "random", Job("random", RandomPolicy), {"policy": "random"})


def main_rows(task: Task) -> list[Row]:
    """Dense, delta only, pruned only, both, random."""
    rows = [exact_row("dense", "dense", task.dense, task), delta_row("delta", "delta only", task.delta, task)]
    if task.pruned is not None and task.both is not None:
        rows += [exact_row("pruned", "pruned only", task.pruned, task), delta_row("both", "both", task.both, task)]
    return [*rows, random_row()]


MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def curve_rows(task: Task) -> list[Row]:
    """The claim's network with multiples of its thresholds."""
    scaled = [(m, ns.set_thresholds(task.best, {name: m * value for name, value in task.best.thresholds.items()})) for m in MULTIPLES]
    return [delta_row(f"x{m:g}", f"thresholds x {m:g}", network, task) for m, network in scaled]


def paper_rows(task: Task) -> list[Row]:
    """One global threshold of 0.001, on pixels / 255 and on raw pixels; with one-shot magnitude pruning of the dense network, and of ours."""
    sparsity = PAPER_SPARSITY.get(task.env_id)
    networks = [("no pruning", task.dense)]
    if sparsity is not None:
        networks += [(f"one-shot {sparsity:g} {scope}", ns.prune(task.dense, sparsity, scope)) for scope in ("global", "layer")]
    if task.pruned is not None:
        networks.append(("our pruned network", task.pruned))
    units = (("0.001, pixels / 255", 0.001), ("0.001, raw pixels", 0.001 / 255))
    rows = []
    for i, (what, network) in enumerate(networks):
        for j, (unit, threshold) in enumerate(units):
            rows.append(delta_row(f"paper{i}{j}", f"threshold {unit}; {what}", ns.set_thresholds(network, threshold), task))
    return rows


def renamed(row: Row, key: str, title: str) -> Row:
    """The same policy under another heading; its cached results hold."""
    return replace(row, key=key, title=title)
