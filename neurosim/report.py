"""The Report: energy and time of one run on one chip. Frozen data, made by `neurosim.pricing`.

Energy is in joule over the priced timesteps unless the name says ``per_timestep``; time in seconds.
What a chip does not publish is in ``not_priced`` and the totals are then lower bounds ("at least").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurosim.units import show

Spread = dict[str, float]
"""``mean``, ``p99`` and ``max`` of a time."""

NOT_MODELLED = ("queues and back-pressure", "voltage and temperature", "the host beyond events in and values out")
"""What no price holds, on any chip."""

GAINS = {"balanced": "the work of each level were spread evenly over its cores", "links": "links took no time",
         "hops": "hops took no time", "barrier": "there were no barrier"}
"""What-ifs of `Latency.gains`, in words."""


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
    parts_range : dict
        Action -> (low, high) of its part, joule; a missing end of a range is the figure itself.
    no_range : tuple of str
        Parts whose figure has no published range: they are taken as exact in `low_j` and `high_j`.
    by_layer : dict
        Layer (or ``input``) -> action -> joule. Static energy belongs to no layer; all else is here.
        Messages and their hops belong to the sender.
    by_core_j : ndarray, float64, (cores,)
        The same per core, without what happens at the border of the chip; empty without mapping.
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
    parts_range: dict[str, tuple[float, float]] = field(default_factory=dict)
    no_range: tuple[str, ...] = ()
    by_layer: dict[str, dict[str, float]] = field(default_factory=dict)
    by_core_j: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self.by_core_j.setflags(write=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data of the ``energy`` key."""
        return {"per_timestep_j": self.per_timestep_j, "total_j": self.total_j, "low_j": self.low_j, "high_j": self.high_j,
                "static_j": self.static_j, "parts": dict(self.parts), "not_priced": list(self.not_priced),
                "included": dict(self.included), "complete": self.complete,
                "parts_range": {action: list(ends) for action, ends in self.parts_range.items()}, "no_range": list(self.no_range),
                "by_layer": {name: dict(parts) for name, parts in self.by_layer.items()}, "by_core_j": self.by_core_j.tolist()}


@dataclass(frozen=True)
class Place:
    """What everything else waits for: a core or a link in one level, the hops, or the barrier.

    Parameters
    ----------
    kind : str
        ``core``, ``link``, ``hops`` or ``barrier``.
    at : int or str
        Index of the core, or the link; empty for hops and barrier.
    layer : str
        Layer with most work there.
    level : int or None
        Level of the network, from 1; None where all levels work at once, and for hops and barrier.
    time_s : float
        Seconds over the run in which it was waited for.
    share : float
        The same, of the whole time.
    timesteps_share : float or None
        Share of timesteps in which it was the slowest of its level; None for hops and barrier.
    fixed_timestep_s : float
        Mean duration of a timestep if it were fixed: a core does no more than the next slowest of its
        level, links, hops or barrier take no time.
    alone : bool
        The only core of its level: fixed is then a core that takes no time.
    """

    kind: str
    at: int | str
    layer: str
    level: int | None
    time_s: float
    share: float
    timesteps_share: float | None
    fixed_timestep_s: float
    alone: bool = False

    @property
    def name(self) -> str:
        """``core 7 (conv2)``."""
        return " ".join(str(p) for p in (self.kind, self.at, self.layer and f"({self.layer})") if p != "")

    def to_json(self) -> dict[str, Any]:
        """JSON data of one entry of ``latency.places``."""
        where = {self.kind: self.at} if self.kind in ("core", "link") else {}
        return {"kind": self.kind, **where, "layer": self.layer, "level": self.level, "time_s": self.time_s, "share": self.share,
                "timesteps_share": self.timesteps_share, "fixed_timestep_s": self.fixed_timestep_s, "alone": self.alone}


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
    critical_share : ndarray, float64, (cores,)
        Share of the whole time in which each core was waited for.
    places : tuple of Place
        What was waited for longest, longest first (the ten longest).
    gains : dict
        Name in `GAINS` -> mean duration of a timestep if that were so; None where its time is not
        published or is inside another figure.
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
    critical_share: np.ndarray = field(default_factory=lambda: np.zeros(0))
    places: tuple[Place, ...] = ()
    gains: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for array in (self.per_timestep_s, self.core_work_s, self.critical_share):
            array.setflags(write=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data of the ``latency`` key."""
        unknown = {action.partition(".")[0] for action in self.not_priced}
        parts = {name: None if not s and name in ("links", "hops", "barrier") and name.rstrip("s") in unknown else s
                 for name, s in self.parts.items()}
        return {"timestep_s": self.timestep_s, "answer_s": self.answer_s, "throughput_hz": self.throughput_hz,
                "critical": self.critical, "parts": parts, "not_priced": list(self.not_priced), "complete": self.complete,
                "critical_share": {str(core): float(self.critical_share[core]) for core in np.flatnonzero(self.critical_share)},
                "places": [place.to_json() for place in self.places], "gains": dict(self.gains)}

    def why(self) -> tuple[str, ...]:
        """Why a timestep takes so long, in words: what is waited for longest, the slowest core or link, the best of `gains`."""
        mean, said, lines = self.timestep_s["mean"], set(), []
        slowest = next((p for p in self.places if p.kind in ("core", "link")), None)
        for place in dict.fromkeys(p for p in (*self.places[:1], slowest) if p is not None):
            level = "" if place.level is None else f" of level {place.level}"
            if place.timesteps_share is None:
                said.add(place.kind)
                lines.append(f"{place.kind}: {place.share:.0%} of the time; if {GAINS[place.kind]}, {faster(place.fixed_timestep_s, mean)}")
                continue
            what = "if no link were slower than the cores" if place.kind == "link" else (
                "alone there, if its work took no time" if place.alone else "if it did no more than the next one")
            lines.append(f"{place.name} sets the time{level} in {place.timesteps_share:.0%} of the timesteps, {place.share:.0%} of all "
                         f"time; {what}, {faster(place.fixed_timestep_s, mean)}")
        known = {name: s for name, s in self.gains.items() if name not in said and s is not None and s < mean * (1 - 1e-9)}
        if known:
            best = min(known, key=lambda name: known[name])
            lines.append(f"if {GAINS[best]}, {faster(known[best], mean)}")
        return tuple(lines)


def faster(then_s: float, now_s: float) -> str:
    """``a timestep would take 12.1 us instead of 15.3 us (1.26x)``."""
    times = f" ({now_s / then_s:.3g}x)" if then_s > 0 else ""
    return f"a timestep would take {show(then_s, 's')} instead of {show(now_s, 's')}{times}"


@dataclass(frozen=True)
class Area:
    """Silicon of what a run uses.

    Parameters
    ----------
    area_m2 : float
    of : str
        What it is the area of: ``1 chip``, ``12 cores in use``.
    process, grade, source : str or None
        Node, and where the figure is from.
    """

    area_m2: float
    of: str
    process: str | None
    grade: str | None
    source: str | None

    def to_json(self) -> dict[str, Any]:
        """JSON data of the ``area`` key."""
        return {"area_m2": self.area_m2, "of": self.of, "process": self.process, "grade": self.grade, "source": self.source}

    def __str__(self) -> str:
        process = f", {self.process}" if self.process else ""
        return f"area {show(self.area_m2, 'm2')} ({self.of}{process})"


@dataclass(frozen=True)
class Period:
    """A control period: an answer is due every `period_s`.

    Parameters
    ----------
    static_j : float
        Static energy from one input to the next: of the whole period, busy or not, and longer where the timesteps of an input take longer.
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
class Traffic:
    """What every core and every link did over the priced timesteps.

    Parameters
    ----------
    cores : dict
        Counter -> ndarray, int64, (cores,): ``synapse_visits``, ``weight_reads``, ``neuron_accesses``,
        ``neuron_updates``, ``events_out``, ``messages_out``, ``messages_in``, ``messages_local``.
    links : dict
        ``(1, 2) +x``, the tile that a link leaves and its direction -> (events, flits); links that nothing crossed are left out.
    """

    cores: dict[str, np.ndarray]
    links: dict[str, tuple[int, int]]

    def __post_init__(self) -> None:
        for counts in self.cores.values():
            counts.setflags(write=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data of the ``traffic`` key."""
        return {"cores": {name: counts.tolist() for name, counts in self.cores.items()},
                "links": {name: {"events": events, "flits": flits} for name, (events, flits) in self.links.items()}}


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
        What must be said about this price, the weightiest first.
    area : Area or None
        None where the chip publishes none.
    traffic : Traffic or None
        None for machines without mapping, and where many mappings were priced together.
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
    area: Area | None = None
    traffic: Traffic | None = None

    def __post_init__(self) -> None:
        self.burst.setflags(write=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data: the keys that ``run --json`` adds for a chip."""
        period = self.period and {k: getattr(self.period, k) for k in ("period_s", "static_j", "total_j", "missed_share")}
        return {"chip": self.chip, "energy": self.energy.to_json(),
                "latency": None if self.latency is None else self.latency.to_json(), "cores_used": self.cores_used,
                "mapping_counts": dict(self.mapping_counts), "burst": int(self.burst.max(initial=0)), "period": period,
                "coverage": list(self.coverage), "hypothetical": self.hypothetical, "notes": list(self.notes),
                "not_modelled": list(NOT_MODELLED), "area": self.area and self.area.to_json(),
                "traffic": self.traffic and self.traffic.to_json()}

    def deadline(self) -> str:
        """What can be said about the deadline of the control period, in words."""
        if self.period is None or self.period.missed_share is None:
            return "the deadline cannot be judged: time is not priced"
        whole = bool(self.latency and self.latency.complete)
        if not self.period.missed_share:
            return "no deadline missed" + ("" if whole else ", as far as time is priced")
        least = "" if whole else "at least "
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
        if self.area is not None:
            lines.append(f"  {self.area}")
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
        lines += [f"    {line}" for line in t.why()]
        if t.not_priced:
            lines.append(f"    time not priced: {', '.join(t.not_priced)}")
        if self.period is not None:
            lines.append(f"  period {show(self.period.period_s, 's')}: static {show(self.period.static_j, 'J')}, "
                         f"in all {show(self.period.total_j, 'J')}; {self.deadline()}")
        return lines
