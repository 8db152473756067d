"""The Chip: a described core, network-on-chip and cost table. Read from strict YAML, frozen, SI inside.

Rules:

- Every quantity in a file is text with a unit; inside it is a float in SI units, memory in bits.
- Unknown is not zero: what is not published is ``null`` and stays None.
- A structure figure may carry its own origin: ``neurons: {value: 1024, grade: assumed, source: "..."}``.
- ``includes`` of a cost says which other actions (or ``static``, ``weight_read``) its figure already
  holds; they are never added again. A figure that includes others needs its ``operating_point``.
- All problems of a file are reported at once, each with file, line and column.

``includes``, ``grade``, ``source`` and ``operating_point`` of a cost may differ for energy and time:
``includes: {energy: [synapse, hop], time: [synapse]}``. An operating point is text, or
``{text: "...", rate: 16 GHz, cores: 74}`` (synaptic operations per second over so many cores).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from neurosim import units
from neurosim.chip_file import Problem, Source, canonical, set_path, validated
from neurosim.chip_schema import (
    ACTIONS,
    HOP_KINDS,
    STORAGE_KINDS,
    Arithmetic,
    Core,
    Cost,
    Count,
    Figure,
    Frozen,
    HopFigures,
    Noc,
    Provenance,
    Scaling,
    StaticPower,
    Supports,
    SynapseFigures,
    Timing,
)
from neurosim.errors import ChipError

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
    signals: tuple[Literal["spike", "graded"], ...] = ("graded",)
    supports: Supports = Supports()
    arithmetic: Arithmetic = Arithmetic()
    noc: Noc | None = None
    chips: Count = 1
    core: Annotated[tuple[Core, ...], BeforeValidator(_listed), Field(min_length=1)] = (Core(),)
    timing: Timing = Timing()
    static_power: StaticPower = StaticPower()
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
        path = FOLDER / f"{name_or_path}.yaml"
        if isinstance(name_or_path, str) and "\n" not in name_or_path and path.is_file():
            return cls._checked(Source.read(path))
        known = cls.names() if isinstance(name_or_path, str) else []
        return cls._checked(Source.read(name_or_path, known))

    @classmethod
    def names(cls) -> list[str]:
        """Names of the chips in the library."""
        return sorted(path.stem for path in FOLDER.glob("*.yaml"))

    @classmethod
    def _checked(cls, source: Source) -> Chip:
        chip = validated(cls, source)
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
        data = copy.deepcopy(self._source.data)
        problems: list[Problem] = []
        for path, value in settings.items():
            set_path(data, path, value, problems)
        source = Source(data, self._source.positions, self._source.label, {**self._source.settings, **settings})
        new = validated(type(self), source, problems)
        notes = self._rescaled(new, data, settings)
        new = self._checked(source)
        return _with(new, settings={**self.settings, **settings}, notes=(*new.notes, *_added(self, notes)))

    def _rescaled(self, new: Chip, data: dict[str, Any], settings: Mapping[str, Any]) -> list[str]:
        """Scale constants in `data` that follow a changed figure; return what must be said."""
        notes = []
        for path in settings:
            rules = {target: s for target, s in self.scaling.items() if s.with_ == path}
            if not rules and path.split(".")[-1] in _NOT_RESCALED:
                notes.append(f"constants not rescaled with {path}")
            for target, rule in rules.items():
                old, now = self.value(path), new.value(path)
                if old is None or now is None:
                    notes.append(f"{target} not rescaled: {path} was not published")
                    continue
                *action, quantity = target.split(".")
                _scale(data["cost"], action, quantity, (now / old) ** rule.exponent)
                notes.append(f"{target} rescaled with {path} ** {rule.exponent:g} ({rule.grade})")
        return notes

    def value(self, path: str) -> Any:
        """Value at a dotted path of this chip (the first core type where the path names none)."""
        at: Any = self
        for key in path.split("."):
            if isinstance(at, tuple) and not key.isdigit():
                at = at[0]
            at = at[int(key)] if isinstance(at, tuple) else at.get(key) if isinstance(at, dict) else getattr(at, key, None)
            if at is None:
                return None
        return at

    def figure(self, action: str) -> Figure | None:
        """Cost entry of ``neuron_update``, ``synapse.dense``, ``hop.x``; None where there is none."""
        name, _, kind = action.partition(".")
        entry = getattr(self.cost, name)
        if isinstance(entry, SynapseFigures | HopFigures):
            return (getattr(entry, kind) if kind else None) or entry.every
        return entry

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
        held: dict[str, str] = {}
        for action in ACTIONS:
            entry = getattr(self.cost, action)
            figures = [getattr(entry, k) for k in type(entry).model_fields] if isinstance(
                entry, SynapseFigures | HopFigures) else [entry]
            for figure in figures:
                given = figure and (figure.energy if quantity == "energy" else (figure.time, figure.cycles) != (None, None))
                if figure and given not in (None, False):
                    held |= {name: action for name in getattr(figure.includes, quantity) or () if name != action}
        return held

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


def _with(chip: Chip, **changes: Any) -> Chip:
    new = chip.model_copy(update=changes)
    new._source = chip._source
    return new


def _added(chip: Chip, notes: list[str]) -> list[str]:
    earlier = [note for note in chip.notes if note not in canonical(chip._source.data).get("notes", ())]
    return [*earlier, *(note for note in notes if note not in earlier)]


def _scale(cost: dict[str, Any], action: list[str], quantity: str, factor: float) -> None:
    entry: Any = cost
    for key in action:
        entry = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(entry, dict):
        raise ChipError(f"scaling: cost.{'.'.join(action)} is not given")
    kinds = set(entry) & {*STORAGE_KINDS, *HOP_KINDS}
    for figure in [entry[k] for k in kinds if entry[k]] if kinds else [entry]:
        for key in (quantity, "low", "high") if quantity == "energy" else (quantity,):
            if figure.get(key) is not None:
                figure[key] = f"{units.parse(figure[key], quantity) * factor!r} {'J' if quantity == 'energy' else 's'}"
