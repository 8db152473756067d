"""The Report: energy and time of one run on one chip. Frozen data, made by `neurosim.pricing`.

Energy is in joule over the priced timesteps unless the name says ``per_timestep``; time in seconds.
What a chip does not publish is in ``not_priced`` and the totals are then lower bounds ("at least").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.units import show

Spread = dict[str, float]
"""``mean``, ``p99`` and ``max`` of a time."""


@dataclass(frozen=True)
class Energy:
    """Energy over the priced timesteps.

    Parameters
    ----------
    total_j, per_timestep_j : float
        Sum of `parts`; its mean per timestep.
    low_j, high_j : float
        The same with all figures at the low or high end of their ranges.
    static_j : float
        Static power x computed time; part of the total.
    parts : dict
        Action (``synapse.dense``, ``hop.x``, ``static``) -> joule.
    counts : dict
        Action -> how often it happened, priced or not.
    not_priced : tuple of str
        Actions that happened and have no published energy.
    included : dict
        Actions that another figure already holds -> that figure's action.
    complete : bool
    """

    total_j: float
    per_timestep_j: float
    low_j: float
    high_j: float
    static_j: float
    parts: dict[str, float]
    counts: dict[str, int]
    not_priced: tuple[str, ...]
    included: dict[str, str]
    complete: bool

    def to_json(self) -> dict[str, Any]:
        """JSON data of the ``energy`` key."""
        return {"per_timestep_j": self.per_timestep_j, "total_j": self.total_j, "low_j": self.low_j, "high_j": self.high_j,
                "static_j": self.static_j, "parts": dict(self.parts), "not_priced": list(self.not_priced),
                "included": dict(self.included), "complete": self.complete}


@dataclass(frozen=True)
class Latency:
    """Time of the priced timesteps.

    Parameters
    ----------
    timestep_s, answer_s : Spread
        Duration of a timestep; from an input to its answer.
    throughput_hz : float
        Inputs answered per second.
    critical : dict
        ``kind`` (core or link), ``core`` or ``link``, ``layer``, ``share`` of the whole time.
    parts : dict
        Seconds over the run spent waiting for ``cores``, ``links``, ``hops``, ``barrier``.
    not_priced : tuple of str
        Actions that happened and have no published time.
    per_timestep_s : ndarray, float64, (timesteps,)
    core_work_s : ndarray, float64, (cores,)
        Mean work per timestep of each core.
    complete : bool
    """

    timestep_s: Spread
    answer_s: Spread
    throughput_hz: float
    critical: dict[str, Any]
    parts: dict[str, float]
    not_priced: tuple[str, ...]
    per_timestep_s: np.ndarray
    core_work_s: np.ndarray
    complete: bool

    def __post_init__(self) -> None:
        self.per_timestep_s.setflags(write=False)
        self.core_work_s.setflags(write=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data of the ``latency`` key."""
        return {"timestep_s": self.timestep_s, "answer_s": self.answer_s, "throughput_hz": self.throughput_hz,
                "critical": self.critical, "parts": self.parts, "not_priced": list(self.not_priced), "complete": self.complete}


@dataclass(frozen=True)
class Period:
    """A control period: an answer is due every `period_s`.

    Parameters
    ----------
    static_j : float
        Static energy of one period (of the whole period, busy or not).
    total_j : float
        Dynamic energy of a mean input + static energy of one period.
    missed_share : float
        Share of inputs whose answer takes longer than the period.
    """

    period_s: float
    static_j: float | None
    total_j: float | None
    missed_share: float | None


@dataclass(frozen=True)
class Report:
    """What a run costs on a described chip (a model, not silicon).

    Parameters
    ----------
    chip, network_name : str
    n_timesteps : int
        Timesteps priced.
    energy : Energy
    latency : Latency or None
        None where the chip publishes no time at all.
    cores_used : int
    mapping_counts : dict
        Mapping-bound counters; empty for machines without mapping.
    burst : ndarray, int64, (cores,)
        Most events that arrive at each core in one timestep.
    coverage : tuple of str
        What the chip's table does not price, whether it happened or not: reports are ranked only
        against reports of equal coverage.
    period : Period or None
    hypothetical : bool
    notes : tuple of str
    """

    chip: str
    network_name: str
    n_timesteps: int
    energy: Energy
    latency: Latency | None
    cores_used: int
    mapping_counts: dict[str, int]
    burst: np.ndarray
    coverage: tuple[str, ...] = ()
    period: Period | None = None
    hypothetical: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.burst.setflags(write=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data: the keys that ``run --json`` adds for a chip."""
        period = self.period and {k: getattr(self.period, k) for k in ("period_s", "static_j", "total_j", "missed_share")}
        return {"chip": self.chip, "energy": self.energy.to_json(),
                "latency": None if self.latency is None else self.latency.to_json(), "cores_used": self.cores_used,
                "mapping_counts": dict(self.mapping_counts), "burst": int(self.burst.max(initial=0)), "period": period,
                "hypothetical": self.hypothetical, "notes": list(self.notes)}

    def deadline(self) -> str:
        """What can be said about the deadline of the control period, in words."""
        if self.period is None or self.period.missed_share is None:
            return "the deadline cannot be judged: time is not priced"
        least = "" if self.latency and self.latency.complete else "at least "
        return f"deadline missed by {least}{self.period.missed_share:.1%} of the answers"

    def __str__(self) -> str:
        e, lines = self.energy, [f"{self.network_name} on {self.chip}: {self.n_timesteps:,} timesteps, {self.cores_used} cores"]
        least = "" if e.complete else ">= "
        lines.append(f"  energy per timestep {least}{show(e.per_timestep_j, 'J')}, in all {least}{show(e.total_j, 'J')}"
                     f" ({show(e.low_j, 'J')} to {show(e.high_j, 'J')})")
        lines += [f"    {action:<20} {e.counts.get(action, 0):>14,} {show(j, 'J'):>10}" if action != "static" else
                  f"    {action:<20} {'':>14} {show(j, 'J'):>10}" for action, j in e.parts.items()]
        if e.not_priced:
            lines.append(f"    not priced: {', '.join(e.not_priced)}")
        lines += self._time_lines()
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def _time_lines(self) -> list[str]:
        t = self.latency
        if t is None:
            return ["  time not priced"]
        least = "" if t.complete else ">= "
        where = f"{t.critical['kind']} {t.critical[t.critical['kind']]} ({t.critical['layer']})"
        lines = [f"  timestep mean {least}{show(t.timestep_s['mean'], 's')}, p99 {show(t.timestep_s['p99'], 's')}, "
                 f"max {show(t.timestep_s['max'], 's')}; answer mean {least}{show(t.answer_s['mean'], 's')}",
                 f"    critical: {where}, {t.critical['share']:.0%} of the time; "
                 f"barrier {t.parts['barrier'] / max(sum(t.parts.values()), 1e-300):.0%}"]
        if t.not_priced:
            lines.append(f"    time not priced: {', '.join(t.not_priced)}")
        if self.period is not None:
            lines.append(f"  period {show(self.period.period_s, 's')}: static {show(self.period.static_j, 'J')}, "
                         f"in all {show(self.period.total_j, 'J')}; {self.deadline()}")
        return lines
