"""Controls: cheap policies and disturbances that any saving is held against, and the frame stack taken apart."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import neurosim as ns
from neurosim.control import ConstantPolicy, DeltaPolicy, ExactPolicy, HoldPolicy, Job, NoisyCamera
from neurosim.network import Network
from neurosim.synapses import INPUT
from significant.tally import Player
from significant.tasks import Protocol, Row, Task, delta_row, exact_row

HOLDS = (2, 4, 8)
SIGMAS = (1.0, 4.0)
SILENT = 1e30
"""A threshold that no change exceeds."""
CHOOSING_SEED, CHOOSING_EPISODES = 30_000, 2
"""The constant action is chosen on seeds of its own."""


def control_rows(task: Task, player: Player, protocol: Protocol, frames: int | None) -> list[Row]:
    """Held actions, a constant action, noise on the camera, one layer silenced, a small dense network."""
    rows = [_held(task, hold) for hold in HOLDS]
    rows.append(_constant(task, player, protocol, frames))
    if task.is_atari:
        rows += [_noisy(task, sigma) for sigma in SIGMAS]
    rows.append(_silenced(task))
    if task.small is not None:
        row = exact_row("small", "a small dense network", task.small, task)
        rows.append(Row(row.key, row.title, row.job, row.identity, row.network, macs=float(task.small.static_total("dense_macs"))))
    return rows


def _held(task: Task, hold: int) -> Row:
    title = f"dense, asked every {hold} decisions, its action held"
    policy = partial(HoldPolicy, partial(ExactPolicy, task.dense, action=task.card.action), hold)
    identity = {"policy": "hold", "hold": hold, "network": task.dense.sha256, "action": task.card.action}
    return Row(f"hold{hold}", title, Job(title, policy), identity, task.dense, macs=task.dense.static_total("dense_macs") / hold)


def _constant(task: Task, player: Player, protocol: Protocol, frames: int | None) -> Row:
    """The single action of highest return over a few seeds of their own; for continuous actions the middle of each range."""
    spec = task.spec(protocol, frames)
    env = spec.make()
    space = env.action_space
    env.close()
    if hasattr(space, "low"):
        return _always((space.low + space.high) / 2, "the middle of each action range, for ever")
    rows = [_always(int(space.start) + i, f"action {int(space.start) + i}, for ever") for i in range(int(space.n))]
    means = [np.mean(player.play(row, spec, CHOOSING_EPISODES, CHOOSING_SEED).returns) for row in rows]
    best = rows[int(np.argmax(means))]
    return Row("constant", f"{best.title} (the best of {len(rows)} on other seeds)", best.job, best.identity, macs=0.0)


def _always(chosen: Any, title: str) -> Row:
    identity = {"policy": "constant", "action": np.asarray(chosen).tolist()}
    return Row("constant", title, Job(title, partial(ConstantPolicy, chosen=chosen)), identity, macs=0.0)


def _noisy(task: Task, sigma: float) -> Row:
    title = f"event-driven, camera noise of {sigma:g} grey levels"
    inner = partial(DeltaPolicy, task.best, action=task.card.action, record="none")
    identity = {
        "policy": "noisy",
        "sigma": sigma,
        "network": task.best.sha256,
        "thresholds": task.best.thresholds,
        "action": task.card.action,
    }
    return Row(f"noise{sigma:g}", title, Job(title, partial(NoisyCamera, inner, sigma)), identity, task.best)


def _silenced(task: Task) -> Row:
    """The last hidden layer never sends: a saving that means nothing, and must show in the return."""
    name = list(task.best.thresholds)[-1]
    network = ns.set_thresholds(task.best, task.best.thresholds | {name: SILENT})
    return delta_row("silenced", f"event-driven, layer {name} silenced by its threshold", network, task)


def rotating_planes(network: Network, stacks: np.ndarray, starts: np.ndarray) -> dict[str, float]:
    """Input events and first-layer MACs of a stack whose planes shift, and of one whose oldest plane is overwritten in place.

    Shifting: every plane becomes the one after it, so a change costs an event in each of n planes.
    Rotating: plane t mod n is overwritten, the others stand. But the weights of the n planes move
    round by one each decision, so a sum over them is right for one decision only: n sums, one for
    each rotation, must be kept, and each event meets the weights of all planes.

    Parameters
    ----------
    network : Network
        Threshold 0; an input of n planes, (n, height, width).
    stacks : ndarray, uint8, (decisions, n, height, width)
        Consecutive ones.
    starts : ndarray, bool, (decisions,)
        True where an episode starts: those decisions, and the n - 1 after them, are left out.

    Returns
    -------
    dict
        Means per decision: ``shifting_events``, ``shifting_macs``, ``rotating_events``, ``rotating_macs``,
        and ``one_sum_macs``, what rotating would cost if its events met only the weights of the newest plane
        (then the sums are wrong).
    """
    n = stacks.shape[1]
    fan_out = _input_fan_out(network, stacks.shape[1:])
    age = np.arange(len(stacks)) - np.maximum.accumulate(np.where(starts, np.arange(len(stacks)), 0))
    at = np.flatnonzero(age >= n)
    shifted = (stacks[at] != stacks[at - 1]).reshape(at.size, -1)
    newest = (stacks[at, -1] != stacks[at - n, -1]).reshape(at.size, -1)
    by_plane = fan_out.reshape(n, -1)
    return {
        "decisions": int(at.size),
        "shifting_events": float(shifted.sum(1).mean()),
        "shifting_macs": float((shifted @ fan_out).mean()),
        "rotating_events": float(newest.sum(1).mean()),
        "rotating_macs": float((newest @ by_plane.sum(0)).mean()),
        "one_sum_macs": float((newest @ by_plane[-1]).mean()),
    }


def _input_fan_out(network: Network, shape: tuple[int, ...]) -> np.ndarray:
    """Synapses of non-zero weight that each input element meets, int64 (elements,)."""
    size = int(np.prod(shape))
    groups = [s for layer in network.layers for s in layer.synapses if s.weighted and s.source == INPUT]
    return np.sum([s.nonzero_fan_out(size) for s in groups], axis=0)
