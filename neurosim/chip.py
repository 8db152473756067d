"""The Chip: a described core, network-on-chip and cost table. Read from strict YAML, frozen, SI inside.

Rules:

- Every quantity in a file is text with a unit; inside it is a float in SI units, memory in bits.
- Unknown is not zero: what is not published is ``null`` and stays None.
- A structure figure may carry its own origin: ``neurons: {value: 1024, grade: assumed, source: "..."}``.
- ``includes`` of a cost says which other actions (or ``static``, ``weight_read``) its figure already
  holds; they are never added again. A figure that includes others needs its ``operating_point``.
- All problems of a file are reported at once, each with file, line and column.
- A chip with changed settings is checked wherever it changed, against all rules that read it.

``includes``, ``grade``, ``source`` and ``operating_point`` of a cost may differ for energy and time:
``includes: {energy: [synapse, hop], time: [synapse]}``. An operating point is text, or
``{text: "...", rate: 16 GHz, cores: 74}`` (synaptic operations per second over so many cores).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PrivateAttr

from neurosim import units
from neurosim.chip_file import Source, validated, with_value
from neurosim.chip_rules import Problem, figures
from neurosim.chip_schema import (
    ACTIONS,
    HOP_KINDS,
    STORAGE_KINDS,
    Area,
    Arithmetic,
    Core,
    Cost,
    Count,
    Distinct,
    Figure,
    Frozen,
    Noc,
    Provenance,
    Scaling,
    Signal,
    StaticPower,
    Supports,
    Timing,
)

__all__ = ["ACTIONS", "HOP_KINDS", "STORAGE_KINDS", "Chip", "Core", "Figure"]

FOLDER = Path(__file__).parent / "chips"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


_NOT_RESCALED = {"neurons", "synapse_memory", "state_memory", "axons_in", "axons_out", "index_bits",
                 "weight_bits", "payload_bits", "accumulator_bits"}


class Chip(Frozen):
    """A chip description. `core` is a tuple of core types; `figures` holds origins of single structure figures."""

    name: Annotated[str, Field(min_length=1)]
    kind: Literal["event", "zero_skip", "dense"]
    provenance: Provenance = Provenance()
    signals: Annotated[tuple[Signal, ...], Field(min_length=1), Distinct] = ("graded",)
    supports: Supports = Supports()
    arithmetic: Arithmetic = Arithmetic()
    noc: Noc | None = None
    chips: Count = 1
    core: Annotated[tuple[Core, ...], BeforeValidator(_listed), Field(min_length=1)] = (Core(),)
    timing: Timing = Timing()
    static_power: StaticPower = StaticPower()
    area: Area = Area()
    scaling: dict[str, Scaling] = {}
    cost: Cost = Cost()
    notes: tuple[str, ...] = ()
    figures: dict[str, Provenance] = {}
    settings: dict[str, Any] = {}
    _source: Source = PrivateAttr()

    @classmethod
    def load(cls, name_or_path: str | Path) -> Chip:
        """Read a chip of the library by name, or a file by path (a str with line breaks is YAML text).

        Raises
        ------
        ChipError
            With every problem of the file: file, line, column, what is wrong and what would help.
        """
        known = cls.names() if isinstance(name_or_path, str) else []
        source = Source.read(FOLDER / f"{name_or_path}.yaml" if name_or_path in known else name_or_path, known)
        return cls._built(source, validated(cls, source))

    @classmethod
    def names(cls) -> list[str]:
        """Names of the chips in the library."""
        return sorted(path.stem for path in FOLDER.glob("*.yaml"))

    @classmethod
    def _built(cls, source: Source, chip: Chip, **changes: Any) -> Chip:
        chip = chip.model_copy(update=changes) if changes else chip
        chip._source = source
        return chip

    def with_settings(self, settings: Mapping[str, Any]) -> Chip:
        """Return the chip with figures replaced.

        Parameters
        ----------
        settings : mapping
            Dotted path as in the file (``core.neurons``, ``cost.synapse.energy``) -> value as in
            the file (a quantity is text with a unit). With several core types ``core.neurons``
            sets all of them and ``core.0.neurons`` the first.

        Raises
        ------
        ChipError
            When a path is unknown (close ones are named) or a value is invalid.
        """
        if not settings:
            return self
        settings = {path: value.item() if isinstance(value, np.generic) else value for path, value in settings.items()}
        data, before = self._source.data, self._source
        problems: list[Problem] = []
        for path, value in settings.items():
            data = with_value(data, path, value, problems)
        data, unranged = _without_ranges(data, settings)
        source = Source(data, before.positions, before.label, {**before.settings, **settings}, before)
        new = validated(type(self), source, problems, (before, self))
        data, notes = self._rescaled(new, data, settings)
        if data is not source.data:
            source = Source(data, before.positions, before.label, source.settings, before)
            new = validated(type(self), source, None, (before, self))
        added = [note for note in self.notes if note not in (before.data.get("notes") or ())]
        return self._built(source, new, settings={**self.settings, **settings},
                           notes=tuple(dict.fromkeys((*new.notes, *added, *unranged, *notes))))

    def _rescaled(self, new: Chip, data: dict[str, Any], settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """`data` with the constants scaled that follow a changed figure, and what must be said."""
        notes = []
        for path in settings:
            rules = {target: s for target, s in self.scaling.items() if s.with_ == path}
            if not rules and path.split(".")[-1] in _NOT_RESCALED:
                notes.append(f"constants not rescaled with {path}")
            if not rules and path in ("noc.width", "noc.height", "noc.cores_per_tile", "core.count"):
                notes.append(f"static power, area and barrier of a chip not rescaled with {path}")
            for target, rule in rules.items():
                old, now = self.value(path), new.value(path)
                if old is None or now is None:
                    notes.append(f"{target} not rescaled: {path} was not published")
                    continue
                *action, quantity = target.split(".")
                data = _scaled(data, action, quantity, (now / old) ** rule.exponent)
                notes.append(f"{target} rescaled with {path} ** {rule.exponent:g} ({rule.grade})")
        return data, notes

    def value(self, path: str) -> Any:
        """Value at a dotted path of this chip (the first core type where the path names none)."""
        at: Any = self
        for key in path.split("."):
            if isinstance(at, tuple) and not key.isdecimal():
                at = at[0]
            at = at[int(key)] if isinstance(at, tuple) else at.get(key) if isinstance(at, dict) else getattr(at, key, None)
            if at is None:
                return None
        return at

    def origin(self, path: str) -> Provenance | None:
        """Grade and source of a structure figure; None where it is not in the file, so that a default holds."""
        if self.written(path) is None:
            return None
        if any(path == setting or path.startswith(setting + ".") for setting in self.settings):
            return Provenance(grade="assumed", source="a setting of this run")
        section = path.partition(".")[0]
        given = self.static_power if section == "static_power" else self.area if section == "area" else self.provenance
        return self.figures.get(path) or Provenance(grade=given.grade, source=given.source)

    def written(self, path: str) -> Any:
        """What the file itself says at a dotted path (``20 pJ``); None where it says nothing."""
        given: Any = self._source.data
        for step in path.split("."):
            if isinstance(given, list):
                given = given[int(step)] if step.isdecimal() and int(step) < len(given) else None
            else:
                given = given.get(step) if isinstance(given, dict) else None
        return given["value"] if isinstance(given, dict) and "value" in given else given

    def figure(self, action: str) -> Figure | None:
        """Cost entry of ``neuron_update``, ``synapse.dense``, ``hop.x``; None where there is none."""
        return self.cost.figures[action]

    def energy_j(self, action: str) -> float | None:
        """Joule per action, or None."""
        figure = self.figure(action)
        return None if figure is None else figure.energy

    def time_s(self, action: str) -> float | None:
        """Seconds per action: `time`, or cycles / clock (a synapse is shared by the lanes), or None."""
        figure, core = self.figure(action), self.core[0]
        if figure is None or figure.cycles is None:
            return None if figure is None else figure.time
        lanes = core.lanes or 1 if action.startswith("synapse") else 1
        return figure.cycles / (core.clock * lanes) if core.clock else None

    def included(self, quantity: str) -> dict[str, str]:
        """Actions (or ``static``, ``weight_read``) that another figure already holds -> the action that holds them."""
        return self.cost.held[quantity]

    def barrier_s(self, n_tiles: int) -> float | None:
        """Barrier for so many tiles: a step function, the largest key <= tiles used (else the smallest key)."""
        table = self.timing.barrier
        if not table:
            return None
        return table[max((k for k in table if k <= n_tiles), default=min(table))]

    @property
    def n_cores(self) -> int | None:
        """Cores over all chips, or None where the mesh has no published size."""
        if all(core.count is not None for core in self.core):
            return self.chips * sum(core.count or 0 for core in self.core)
        if self.noc is None:
            return self.chips
        if self.noc.width is None or self.noc.height is None:
            return None
        return self.chips * self.noc.width * self.noc.height * self.noc.cores_per_tile


def _without_ranges(data: dict[str, Any], settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`data` without the ranges of figures that were replaced by settings: a range belongs to the figure that was published."""
    notes = []
    for path in settings:
        section, _, key = path.rpartition(".")
        if key not in ("energy", "per_chip") or any(f"{section}.{end}" in settings for end in ("low", "high")):
            continue
        figure: Any = data
        for step in section.split("."):
            figure = figure.get(step) if isinstance(figure, dict) else None
        if isinstance(figure, dict) and any(figure.get(end) is not None for end in ("low", "high")):
            data = with_value(with_value(data, f"{section}.low", None, []), f"{section}.high", None, [])
            notes.append(f"{path} was set, so the published range of it is left out")
    return data, notes


def _scaled(data: dict[str, Any], action: list[str], quantity: str, factor: float) -> dict[str, Any]:
    """`data` with one cost, and its range, times `factor`; all kinds where `action` names none."""
    keys = {"energy": "J", "low": "J", "high": "J"} if quantity == "energy" else {"time": "s", "cycles": ""}
    for path, figure in figures(data["cost"]):
        if list(path[1:len(action) + 1]) == action:
            for key, unit in keys.items():
                if (value := figure.get(key)) is not None:
                    number = units.parse(value, quantity) if unit else value
                    data = with_value(data, ".".join((*path, key)), f"{number * factor!r} {unit}" if unit else number * factor, [])
    return data
