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

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from neurosim import units
from neurosim.chip_file import Problem, Source, canonical, set_path, validated
from neurosim.errors import ChipError

ACTIONS = ("synapse", "neuron_access", "neuron_update", "event_out", "message_in", "message_out", "hop",
           "state_reset", "input_compare", "host_in", "host_out")
"""What costs energy and time; `synapse` and `hop` may be given per kind."""

STORAGE_KINDS = ("dense", "sparse", "convolution", "crossbar")
"""How a core stores synapses: all, the non-zero ones, one shared kernel, or whole rows of the core."""

HOP_KINDS = ("x", "y", "local", "chip")
"""Links crossed in x, in y and between chips; `local` is a message that stays in its tile."""

FOLDER = Path(__file__).parent / "chips"


def _quantity(dimension: str) -> BeforeValidator:
    return BeforeValidator(lambda value: units.parse(value, dimension))


Energy = Annotated[float, _quantity("energy")]
Time = Annotated[float, _quantity("time")]
Power = Annotated[float, _quantity("power")]
Frequency = Annotated[float, _quantity("frequency")]
Memory = Annotated[float, _quantity("memory")]
Count = Annotated[int, Field(strict=True, ge=1)]
Index = Annotated[int, Field(strict=True, ge=0)]
Flag = Annotated[bool, Field(strict=True)]
Grade = Literal["measured", "fitted", "simulated", "derived", "vendor_claim", "assumed"]
Action = Literal["synapse", "neuron_access", "neuron_update", "event_out", "message_in", "message_out", "hop",
                 "state_reset", "input_compare", "host_in", "host_out"]
Includable = Literal["synapse", "neuron_access", "neuron_update", "event_out", "message_in", "message_out", "hop",
                     "state_reset", "input_compare", "host_in", "host_out", "static", "weight_read"]
Storage = Literal["dense", "sparse", "convolution", "crossbar"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Provenance(_Frozen):
    """Where figures come from."""

    grade: Grade = "assumed"
    source: str | None = None


class Supports(_Frozen):
    """Neuron kinds and the schedule that the chip runs natively."""

    neurons: tuple[str, ...] = ()
    native_schedule: Literal["fall_through", "pipelined"] = "fall_through"


class Arithmetic(_Frozen):
    """Word widths in bits; weights are counted at `weight_bits`."""

    weight_bits: Count | None = None
    payload_bits: Count | None = None
    accumulator_bits: Count | None = None


class Noc(_Frozen):
    """Mesh of tiles. `local_messages`: a delivery to the sending core pays message_out and message_in."""

    topology: Literal["mesh"] = "mesh"
    width: Count | None = None
    height: Count | None = None
    cores_per_tile: Count = 1
    routing: Literal["xy"] = "xy"
    multicast: Flag | None = None
    flit_bits: Count | None = None
    flit_time: Time | None = None
    events_per_message: Count = 1
    input_port: tuple[Index, Index] | None = None
    local_messages: Flag = False


class Core(_Frozen):
    """Limits of one core; None is not published and not checked. `count` cores of this type per chip."""

    count: Count | None = None
    neurons: Count | None = None
    synapse_memory: Memory | None = None
    state_memory: Memory | None = None
    axons_in: Count | None = None
    axons_out: Count | None = None
    max_destinations: Count | None = None
    weight_storage: tuple[Storage, ...] = ("dense",)
    index_bits: Count | None = None
    kernel_sharing: Flag = False
    lanes: Count | None = None
    clock: Frequency | None = None


def _barrier(value: Any) -> Any:
    return value if value is None or isinstance(value, Mapping) else {1: value}


class Timing(_Frozen):
    """`barrier` per tiles used (largest key <= tiles used); of each `overlap` group the largest action counts."""

    barrier: Annotated[dict[Count, Time] | None, BeforeValidator(_barrier)] = None
    overlap: tuple[tuple[Action, ...], ...] | None = None


class StaticPower(_Frozen):
    """Watt per chip and per core; `low` and `high` are a range of `per_chip`; gated: unused parts draw nothing."""

    per_chip: Power | None = None
    per_core: Power | None = None
    low: Power | None = None
    high: Power | None = None
    gated: Flag = False
    grade: Grade = "assumed"
    source: str | None = None


class Scaling(_Frozen):
    """A constant follows a structure figure: constant ~ figure ** exponent."""

    with_: str = Field(alias="with")
    exponent: Annotated[float, Field(strict=True)]
    grade: Grade = "assumed"


class OperatingPoint(_Frozen):
    """Under which load a figure was taken."""

    text: str | None = None
    rate: Frequency | None = None
    cores: Count | None = None


def _per_quantity(value: Any) -> Any:
    if isinstance(value, Mapping) and value and set(value) <= {"energy", "time"}:
        return value
    return {"energy": value, "time": value}


def _point(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


_Point = Annotated[OperatingPoint | None, BeforeValidator(_point)]


class Includes(_Frozen):
    """What the energy and the time figure already hold; None is the action itself."""

    energy: tuple[Includable, ...] | None = None
    time: tuple[Includable, ...] | None = None


class Grades(_Frozen):
    """Grade of the energy and the time figure."""

    energy: Grade | None = None
    time: Grade | None = None


class Sources(_Frozen):
    """Source of the energy and the time figure."""

    energy: str | None = None
    time: str | None = None


class OperatingPoints(_Frozen):
    """Operating point of the energy and the time figure."""

    energy: _Point = None
    time: _Point = None


class Figure(_Frozen):
    """Cost of one action: joule (with a range), and seconds or cycles."""

    energy: Energy | None = None
    low: Energy | None = None
    high: Energy | None = None
    time: Time | None = None
    cycles: Annotated[float, Field(ge=0)] | None = None
    includes: Annotated[Includes, BeforeValidator(_per_quantity)] = Includes()
    grade: Annotated[Grades, BeforeValidator(_per_quantity)] = Grades()
    source: Annotated[Sources, BeforeValidator(_per_quantity)] = Sources()
    operating_point: Annotated[OperatingPoints, BeforeValidator(_per_quantity)] = OperatingPoints()
    note: str | None = None


def _by_kind(kinds: tuple[str, ...]) -> BeforeValidator:
    def split(value: Any) -> Any:
        if value is None:
            return {}
        return value if isinstance(value, Mapping) and set(value) & set(kinds) else {"every": value}
    return BeforeValidator(split)


class SynapseFigures(_Frozen):
    """Cost of a synapse visit, per storage kind or for every kind."""

    every: Figure | None = None
    dense: Figure | None = None
    sparse: Figure | None = None
    convolution: Figure | None = None
    crossbar: Figure | None = None


class HopFigures(_Frozen):
    """Cost of a hop, per kind of link or for every kind."""

    every: Figure | None = None
    x: Figure | None = None
    y: Figure | None = None
    local: Figure | None = None
    chip: Figure | None = None


class Cost(_Frozen):
    """The cost table; a missing action is not priced."""

    synapse: Annotated[SynapseFigures, _by_kind(STORAGE_KINDS)] = SynapseFigures()
    neuron_access: Figure | None = None
    neuron_update: Figure | None = None
    event_out: Figure | None = None
    message_in: Figure | None = None
    message_out: Figure | None = None
    hop: Annotated[HopFigures, _by_kind(HOP_KINDS)] = HopFigures()
    state_reset: Figure | None = None
    input_compare: Figure | None = None
    host_in: Figure | None = None
    host_out: Figure | None = None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


_NOT_RESCALED = {"neurons", "synapse_memory", "state_memory", "axons_in", "axons_out", "index_bits",
                 "weight_bits", "payload_bits", "accumulator_bits"}


class Chip(_Frozen):
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
    entry = cost
    for key in action:
        entry = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(entry, dict):
        raise ChipError(f"scaling: cost.{'.'.join(action)} is not given")
    kinds = set(entry) & {*STORAGE_KINDS, *HOP_KINDS}
    for figure in [entry[k] for k in kinds if entry[k]] if kinds else [entry]:
        for key in (quantity, "low", "high") if quantity == "energy" else (quantity,):
            if figure.get(key) is not None:
                figure[key] = f"{units.parse(figure[key], quantity) * factor!r} {'J' if quantity == 'energy' else 's'}"
