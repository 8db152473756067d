"""Energy per decision on event-driven chips, from the events of one game's beginning."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import neurosim as ns
from neurosim.control import DeltaPolicy
from neurosim.control.environment import make_environment
from neurosim.errors import DoesNotFit, NeurosimError
from neurosim.network import Network
from neurosim.program import Program
from neurosim.simulation.run import trace_of
from neurosim.trace import Trace
from significant.tasks import STICKY, Task

CHIPS = ("loihi2", "grai_one")
DECISIONS = 1_000


def digests() -> dict[str, str]:
    """Of the chip files: prices change with them."""
    folder = Path(ns.__file__).parent / "chips"
    return {name: hashlib.sha256((folder / f"{name}.yaml").read_bytes()).hexdigest() for name in CHIPS}


def energies(task: Task, network: Network, seed: int) -> dict[str, Any]:
    """Energy per decision of the event-driven policy on each chip, over the first decisions from one seed on."""
    trace = record(task, network, seed, DECISIONS)
    return {
        "decisions": trace.n_timesteps,
        "period_s": task.period_s(),
        "chips": {name: _on(name, trace, task.period_s()) for name in CHIPS},
    }


def record(task: Task, network: Network, seed: int, decisions: int) -> Trace:
    """The events of so many decisions, in as many episodes as that takes."""
    spec = task.spec(STICKY)
    env = make_environment(spec.id, spec.kwargs, spec.preprocess)
    policy = DeltaPolicy(network, env.action_space, task.card.action, record="events")
    first = np.zeros(decisions, np.bool_)
    ended = True
    for t in range(decisions):
        if ended:
            observation, _ = env.reset(seed=seed)
            policy.reset(seed)
            first[t], seed = True, seed + 1
        observation, _, terminated, truncated, _ = env.step(policy.act(observation))
        ended = terminated or truncated
    env.close()
    return trace_of(policy.simulator, first)


def _on(name: str, trace: Trace, period_s: float | None) -> dict[str, Any]:
    try:
        program, hypothetical = _compiled(trace.network, ns.Chip.load(name))
        report = ns.price(trace, program, period_s=period_s)
    except NeurosimError as error:
        return {"why_not": str(error)}
    n, cost, period = report.n_timesteps, report.energy, report.period
    return {
        "hypothetical": hypothetical,
        "cores": report.cores_used,
        "energy_j": cost.per_timestep_j,
        "static_j": cost.static_j / n,
        "low_j": cost.low_j / n,
        "high_j": cost.high_j / n,
        "complete": cost.complete,
        "not_priced": list(cost.not_priced),
        "time_s": report.latency.timestep_s["mean"] if report.latency else None,
        "period_j": period.total_j if period else None,
        "period_static_j": period.static_j if period else None,
    }


def _compiled(network: Network, chip: ns.Chip) -> tuple[Program, bool]:
    """Laid out on the chip as it is; where that does not hold the network, on as many cores as it takes."""
    try:
        return ns.compile(network, chip), False
    except DoesNotFit:
        return ns.compile(network, chip, hypothetical=True), True
