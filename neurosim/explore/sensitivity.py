"""Sensitivity: which constants of a chip file decide a price.

    bar of a constant = price with it at the low end .. price with it at the high end, all others as they are

Energy is linear in every energy figure, so its bars follow from one price. Times and powers are
priced again, all from one count of the traffic. A figure without a published range is varied by
+-50 % and marked so: that half is an assumption, not a range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from neurosim.chip import Chip, Figure
from neurosim.chip_schema import HopFigures, SynapseFigures
from neurosim.mapping import rerouted
from neurosim.mesh import HOP_KINDS
from neurosim.pricing import price, price_variants
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace

SPREAD = 0.5
"""Share by which a figure without a published range is varied, down and up."""

_TIMED = ("synapse", "neuron_access", "neuron_update", "event_out", "message_in", "message_out", "hop")
"""Actions that take part in the time of a timestep."""


@dataclass(frozen=True)
class Bar:
    """What one constant does to the energy or the time.

    Parameters
    ----------
    constant : str
        Dotted path in the chip file.
    moves : str
        ``energy`` (joule per timestep, or per control period where one is given) or ``time``
        (seconds of a mean timestep).
    figure, low, high : float
        The constant and its ends, SI (cycles for ``cycles``).
    base, at_low, at_high : float
        Energy or time with the constant as it is and at its ends.
    assumed : tuple of str
        Ends (``low``, ``high``) that nobody published: 50 % less or more than the figure.
    grade, source : str or None
        Of the constant.
    settings_low, settings_high : mapping
        For `Chip.with_settings`: the chip with the constant at its ends.
    """

    constant: str
    moves: str
    figure: float
    low: float
    high: float
    base: float
    at_low: float
    at_high: float
    assumed: tuple[str, ...]
    grade: str | None
    source: str | None
    settings_low: Mapping[str, Any]
    settings_high: Mapping[str, Any]

    @property
    def swing(self) -> float:
        """Joule or seconds between the ends."""
        return abs(self.at_high - self.at_low)

    @property
    def remark(self) -> str:
        """Which ends are assumed, in words; empty where both are published."""
        if not self.assumed:
            return ""
        share = {"low": f"-{SPREAD:.0%}", "high": f"+{SPREAD:.0%}"}
        if len(self.assumed) == 2:
            return f"no range published; +-{SPREAD:.0%} assumed"
        return f"no {self.assumed[0]} end published; {share[self.assumed[0]]} assumed"

    def to_json(self) -> dict[str, Any]:
        """JSON data of one bar."""
        return {"constant": self.constant, "moves": self.moves, "figure": self.figure, "low": self.low, "high": self.high,
                "base": self.base, "at_low": self.at_low, "at_high": self.at_high, "swing": self.swing,
                "assumed": list(self.assumed), "remark": self.remark, "grade": self.grade, "source": self.source}


@dataclass(frozen=True)
class _Constant:
    """A constant with its ends, and the settings that put another value in its place."""

    path: str
    figure: float
    low: float
    high: float
    assumed: tuple[str, ...]
    grade: str | None
    source: str | None
    setting: Callable[[float], Any]

    def settings(self, value: float) -> dict[str, Any]:
        return {self.path: self.setting(value)}


def tornado(trace: Trace, program_or_chip: Program | Chip, period_s: float | None = None) -> tuple[Bar, ...]:
    """Vary every constant that takes part in a price, one at a time.

    Parameters
    ----------
    trace, program_or_chip, period_s
        As in `neurosim.pricing.price`. With a period, energy is that of one period: static power
        over all of it, busy or not.

    Returns
    -------
    tuple of Bar
        Bars of energy, then bars of time, each with the widest first. A time constant has a bar
        of energy too where static power is drawn for as long as the run takes.

    Raises
    ------
    PricingError
        As `price`.
    """
    chip = program_or_chip.chip if isinstance(program_or_chip, Program) else program_or_chip
    base = price(trace, program_or_chip, period_s=period_s)
    bars = _energy_bars(trace, chip, base)
    constants = [*_powers(chip, base), *_times(chip, base, program_or_chip)]
    chips = [chip.with_settings(c.settings(value)) for c in constants for value in (c.low, c.high)]
    reports = _variants(trace, program_or_chip, chips, period_s)
    for i, c in enumerate(constants):
        low, high = reports[2 * i: 2 * i + 2]
        energies = [energy_of_bars(trace, r) for r in (base, low, high)]
        if c.path.startswith("static_power") or energies[1] != energies[2]:
            bars.append(_bar(c, "energy", *energies))
        if not c.path.startswith("static_power") and base.latency and low.latency and high.latency:
            bars.append(_bar(c, "time", *(r.latency.timestep_s["mean"] for r in (base, low, high) if r.latency)))
    return tuple(sorted(bars, key=lambda bar: (bar.moves, -bar.swing, bar.constant)))


def _variants(trace: Trace, program_or_chip: Program | Chip, chips: list[Chip], period_s: float | None) -> list[Report]:
    """Reports under other cost tables; where hop times differ, the longest paths are chosen anew."""
    own = program_or_chip.chip if isinstance(program_or_chip, Program) else program_or_chip

    def moves(chip: Chip) -> bool:
        return any(chip.time_s(f"hop.{kind}") != own.time_s(f"hop.{kind}") for kind in HOP_KINDS)

    same = [chip for chip in chips if not moves(chip)]
    found = {id(c): r for c, r in zip(same, price_variants(trace, program_or_chip, same, period_s=period_s), strict=True)} if same else {}
    for chip in chips:
        if id(chip) not in found:
            program = rerouted(program_or_chip, chip) if isinstance(program_or_chip, Program) else chip
            found[id(chip)] = price(trace, program, period_s=period_s)
    return [found[id(chip)] for chip in chips]


def _bar(c: _Constant, moves: str, base: float, at_low: float, at_high: float) -> Bar:
    return Bar(c.path, moves, c.figure, c.low, c.high, base, at_low, at_high, c.assumed, c.grade, c.source,
               c.settings(c.low), c.settings(c.high))


def energy_of_bars(trace: Trace, report: Report) -> float:
    """Joule per timestep; with a period, of a mean input and the static energy of the period (0 where not published)."""
    if report.period is None:
        return report.energy.per_timestep_j
    if report.period.total_j is not None:
        return report.period.total_j
    return (report.energy.total_j - report.energy.static_j) / report.n_timesteps * trace.timesteps_per_input


def ends_of(figure: float, low: float | None, high: float | None) -> tuple[float, float, tuple[str, ...]]:
    """Ends of a range, and which of them are assumed because nobody published them."""
    assumed = tuple(name for name, end in (("low", low), ("high", high)) if end is None)
    return (figure * (1 - SPREAD) if low is None else low), (figure * (1 + SPREAD) if high is None else high), assumed


def _energy_bars(trace: Trace, chip: Chip, base: Report) -> list[Bar]:
    """Bars of the energy figures: total + count x (end - figure)."""
    now, per = energy_of_bars(trace, base), timesteps_per_energy(trace, base)
    bars = []
    for path, (figure, count) in energy_figures(chip, base).items():
        value = figure.energy or 0.0
        c = _Constant(path, value, *ends_of(value, figure.low, figure.high), figure.grade.energy, figure.source.energy, _text("J"))
        bars.append(_bar(c, "energy", now, *(now + count * (end - value) / per for end in (c.low, c.high))))
    return bars


def energy_figures(chip: Chip, report: Report) -> dict[str, tuple[Figure, int]]:
    """Energy figures that take part in a price: path in the chip file -> figure, and how often it was paid over the run."""
    found: dict[str, tuple[Figure, int]] = {}
    for action in report.energy.parts:
        figure = None if action == "static" else chip.figure(action)
        if figure is not None:
            path = f"{_path(chip, action)}.energy"
            found[path] = figure, found.get(path, (figure, 0))[1] + report.energy.counts[action]
    return found


def timesteps_per_energy(trace: Trace, report: Report) -> float:
    """What energies of a whole run are divided by for the energy of bars: timesteps, or inputs where there is a control period."""
    return report.n_timesteps / (1 if report.period is None else trace.timesteps_per_input)


def _text(unit: str) -> Callable[[float], str]:
    return lambda value: f"{value!r} {unit}"


def _path(chip: Chip, action: str) -> str:
    """Where the figure of an action stands in the chip file."""
    name, _, kind = action.partition(".")
    entry = getattr(chip.cost, name)
    if not isinstance(entry, SynapseFigures | HopFigures):
        return f"cost.{name}"
    if kind and getattr(entry, kind) is not None:
        return f"cost.{name}.{kind}"
    several = any(getattr(entry, k) is not None for k in type(entry).model_fields if k != "every")
    return f"cost.{name}.every" if several else f"cost.{name}"


def _powers(chip: Chip, base: Report) -> list[_Constant]:
    p = chip.static_power
    if "static" in base.energy.included:
        return []
    ends = {"per_chip": (p.low, p.high), "per_core": (None, None)}
    return [_Constant(f"static_power.{name}", value, *ends_of(value, *ends[name]), p.grade, p.source, _text("W"))
            for name in ends if (value := getattr(p, name)) is not None]


def _times(chip: Chip, base: Report, program_or_chip: Program | Chip) -> list[_Constant]:
    """Constants of time that take part in the price of a run."""
    if base.latency is None:
        return []
    found, held, clocked = {}, chip.included("time"), False
    for action, n in base.energy.counts.items():
        root, figure = action.partition(".")[0], chip.figure(action)
        timed = root in _TIMED if chip.kind == "event" else root == "synapse"
        if not n or not timed or root in held or figure is None or chip.time_s(action) is None:
            continue
        quantity = "time" if figure.cycles is None else "cycles"
        clocked |= quantity == "cycles"
        value = figure.time if figure.cycles is None else figure.cycles
        found[f"{_path(chip, action)}.{quantity}"] = (value or 0.0, figure.grade.time, figure.source.time,
                                                      _text("s") if quantity == "time" else float)
    constants = [_Constant(path, value, *ends_of(value, None, None), grade, source, setting)
                 for path, (value, grade, source, setting) in found.items()]
    if clocked and chip.core[0].clock is not None:
        constants.append(_structure(chip, "core.clock", chip.core[0].clock, _text("Hz")))
    if chip.kind != "event":
        return constants
    if chip.noc is not None and chip.noc.flit_time is not None:
        constants.append(_structure(chip, "noc.flit_time", chip.noc.flit_time, _text("s")))
    tiles = program_or_chip.tiles_used if isinstance(program_or_chip, Program) else 1
    barrier, table = chip.barrier_s(tiles), chip.timing.barrier
    if barrier and table:
        constants.append(_structure(chip, "timing.barrier", barrier,
                                    lambda value: {n: f"{row * value / barrier!r} s" for n, row in table.items()},
                                    chip.timing.barrier_low, chip.timing.barrier_high))
    return constants


def _structure(chip: Chip, path: str, value: float, setting: Callable[[float], Any], low: float | None = None,
               high: float | None = None) -> _Constant:
    origin = chip.figures.get(path) or chip.provenance
    return _Constant(path, value, *ends_of(value, low, high), origin.grade, origin.source, setting)
