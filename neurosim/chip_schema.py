"""The parts of a chip file: one frozen pydantic model per section. `neurosim.chip` puts them together.

Every quantity is read from text with a unit and held in SI units (memory in bits); None is not
published. A key that is not listed here is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from neurosim import units

ACTIONS = ("synapse", "neuron_access", "neuron_update", "event_out", "message_in", "message_out", "hop",
           "state_reset", "input_compare", "host_in", "host_out")
"""What costs energy and time; `synapse` and `hop` may be given per kind."""

STORAGE_KINDS = ("dense", "sparse", "convolution", "crossbar")
"""How a core stores synapses: all, the non-zero ones, one shared kernel, or whole rows of the core."""

HOP_KINDS = ("x", "y", "local", "chip")
"""Links crossed in x, in y and between chips; `local` is a message that stays in its tile."""


def _quantity(dimension: str) -> BeforeValidator:
    return BeforeValidator(lambda value: units.parse(value, dimension))


def _positive(dimension: str) -> BeforeValidator:
    def parse(value: Any) -> float:
        if (number := units.parse(value, dimension)) == 0:
            raise ValueError(f"{value!r} where more than 0 is due; null where it is not known")
        return number
    return BeforeValidator(parse)


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{units.clipped(value)} is given twice")
        seen.add(value)
    return values


Energy = Annotated[float, _quantity("energy")]
Time = Annotated[float, _quantity("time")]
Power = Annotated[float, _quantity("power")]
Frequency = Annotated[float, _positive("frequency")]
Memory = Annotated[float, _positive("memory")]
SquareMetres = Annotated[float, _positive("area")]
Distinct = AfterValidator(_distinct)
Count = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Index = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Flag = Annotated[bool, Field(strict=True)]
Grade = Literal["measured", "fitted", "simulated", "derived", "vendor_claim", "assumed"]
Action = Literal["synapse", "neuron_access", "neuron_update", "event_out", "message_in", "message_out", "hop",
                 "state_reset", "input_compare", "host_in", "host_out"]
Includable = Literal["synapse", "neuron_access", "neuron_update", "event_out", "message_in", "message_out", "hop",
                     "state_reset", "input_compare", "host_in", "host_out", "static", "weight_read"]
Storage = Literal["dense", "sparse", "convolution", "crossbar"]
Signal = Literal["spike", "graded"]


class Frozen(BaseModel):
    """Base of all sections: no unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Provenance(Frozen):
    """Where figures come from."""

    grade: Grade = "assumed"
    source: str | None = None


class Supports(Frozen):
    """Neuron kinds and the schedule that the chip runs natively."""

    neurons: Annotated[tuple[str, ...], Distinct] = ()
    native_schedule: Literal["fall_through", "pipelined"] = "fall_through"


class Arithmetic(Frozen):
    """Word widths in bits; weights are counted at `weight_bits`."""

    weight_bits: Count | None = None
    payload_bits: Count | None = None
    accumulator_bits: Count | None = None


MAX_SIDE = 1024
"""Tiles along one side of the mesh of a chip."""

Side = Annotated[int, Field(strict=True, ge=1, le=MAX_SIDE)]


class Noc(Frozen):
    """Mesh of tiles. `local_messages`: a delivery to the sending core pays message_out and message_in."""

    topology: Literal["mesh"] = "mesh"
    width: Side | None = None
    height: Side | None = None
    cores_per_tile: Count = 1
    routing: Literal["xy"] = "xy"
    multicast: Flag | None = None
    flit_bits: Count | None = None
    flit_time: Time | None = None
    events_per_message: Count = 1
    input_port: tuple[Index, Index] | None = None
    local_messages: Flag = False


class Core(Frozen):
    """Limits of one core; None is not published and not checked. `count` cores of this type per chip.

    `axon_source` says when a source element has an axon on a core: ``structural`` (a synapse exists in
    the connection pattern, whatever its weight), ``nonzero`` (at least one non-zero weight enters the
    core), None (where the storage holds a synapse: zero weights of full synapses take no place in
    sparse storage).
    """

    count: Count | None = None
    neurons: Count | None = None
    synapse_memory: Memory | None = None
    state_memory: Memory | None = None
    axons_in: Count | None = None
    axons_out: Count | None = None
    max_destinations: Count | None = None
    axon_source: Literal["structural", "nonzero"] | None = None
    weight_storage: Annotated[tuple[Storage, ...], Field(min_length=1), Distinct] = ("dense",)
    index_bits: Count | None = None
    kernel_sharing: Flag = False
    lanes: Count | None = None
    clock: Frequency | None = None


def _barrier(value: Any) -> Any:
    return value if value is None or isinstance(value, Mapping) else {1: value}


class Timing(Frozen):
    """`barrier` per tiles used (largest key <= tiles used) and its range; of each `overlap` group the largest action counts."""

    barrier: Annotated[Annotated[dict[Count, Time], Field(min_length=1)] | None, BeforeValidator(_barrier)] = None
    barrier_low: Time | None = None
    barrier_high: Time | None = None
    overlap: tuple[Annotated[tuple[Action, ...], Distinct], ...] | None = None


class StaticPower(Frozen):
    """Watt per chip and per core; `low` and `high` are a range of `per_chip`; gated: unused parts draw nothing."""

    per_chip: Power | None = None
    per_core: Power | None = None
    low: Power | None = None
    high: Power | None = None
    gated: Flag = False
    grade: Grade = "assumed"
    source: str | None = None


class Area(Frozen):
    """Silicon area in square metres of a whole chip and of one core, and the process."""

    per_chip: SquareMetres | None = None
    per_core: SquareMetres | None = None
    process: str | None = None
    grade: Grade = "assumed"
    source: str | None = None


class Scaling(Frozen):
    """A constant follows a structure figure: constant ~ figure ** exponent."""

    with_: str = Field(alias="with")
    exponent: Annotated[float, Field(strict=True, ge=-10, le=10, allow_inf_nan=False)]
    grade: Grade = "assumed"


class OperatingPoint(Frozen):
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


class Includes(Frozen):
    """What the energy and the time figure already hold; None is the action itself."""

    energy: Annotated[tuple[Includable, ...], Distinct] | None = None
    time: Annotated[tuple[Includable, ...], Distinct] | None = None


class Grades(Frozen):
    """Grade of the energy and the time figure."""

    energy: Grade | None = None
    time: Grade | None = None


class Sources(Frozen):
    """Source of the energy and the time figure."""

    energy: str | None = None
    time: str | None = None


class OperatingPoints(Frozen):
    """Operating point of the energy and the time figure."""

    energy: _Point = None
    time: _Point = None


class Figure(Frozen):
    """Cost of one action: joule (with a range), and seconds or cycles."""

    energy: Energy | None = None
    low: Energy | None = None
    high: Energy | None = None
    time: Time | None = None
    cycles: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    includes: Annotated[Includes, BeforeValidator(_per_quantity)] = Includes()
    grade: Annotated[Grades, BeforeValidator(_per_quantity)] = Grades()
    source: Annotated[Sources, BeforeValidator(_per_quantity)] = Sources()
    operating_point: Annotated[OperatingPoints, BeforeValidator(_per_quantity)] = OperatingPoints()
    note: str | None = None


EVERY = "(every kind)"
"""Key under which one figure for every kind is held; a file cannot give it beside kinds."""


def by_kind(kinds: tuple[str, ...]) -> BeforeValidator:
    """Accept one figure for every kind, or one per kind."""
    def split(value: Any) -> Any:
        if value is None or isinstance(value, BaseModel):
            return value or {}
        return value if isinstance(value, Mapping) and set(value) & set(kinds) else {EVERY: value}
    return BeforeValidator(split)


class SynapseFigures(Frozen):
    """Cost of a synapse visit, per storage kind or for every kind."""

    every: Annotated[Figure | None, Field(alias=EVERY)] = None
    dense: Figure | None = None
    sparse: Figure | None = None
    convolution: Figure | None = None
    crossbar: Figure | None = None


class HopFigures(Frozen):
    """Cost of a hop, per kind of link or for every kind."""

    every: Annotated[Figure | None, Field(alias=EVERY)] = None
    x: Figure | None = None
    y: Figure | None = None
    local: Figure | None = None
    chip: Figure | None = None


class Cost(Frozen):
    """The cost table; a missing action is not priced."""

    synapse: Annotated[SynapseFigures, by_kind(STORAGE_KINDS)] = SynapseFigures()
    neuron_access: Figure | None = None
    neuron_update: Figure | None = None
    event_out: Figure | None = None
    message_in: Figure | None = None
    message_out: Figure | None = None
    hop: Annotated[HopFigures, by_kind(HOP_KINDS)] = HopFigures()
    state_reset: Figure | None = None
    input_compare: Figure | None = None
    host_in: Figure | None = None
    host_out: Figure | None = None

    @cached_property
    def figures(self) -> dict[str, Figure | None]:
        """Figure of every action and kind: ``synapse.dense``, ``hop.x``, ``neuron_update``."""
        found: dict[str, Figure | None] = {}
        for action in ACTIONS:
            entry = getattr(self, action)
            if isinstance(entry, SynapseFigures | HopFigures):
                found[action] = entry.every
                kinds = STORAGE_KINDS if action == "synapse" else HOP_KINDS
                found |= {f"{action}.{kind}": getattr(entry, kind) or entry.every for kind in kinds}
            else:
                found[action] = entry
        return found

    @cached_property
    def unknown(self) -> dict[str, frozenset[str]]:
        """Per quantity: actions and kinds that have no figure and are inside no other's."""
        known = {"energy": {n for n, f in self.figures.items() if f is not None and f.energy is not None},
                 "time": {n for n, f in self.figures.items() if f is not None and (f.time, f.cycles) != (None, None)}}
        return {q: frozenset(n for n in self.figures if n not in known[q] and n.partition(".")[0] not in self.held[q]) for q in known}

    @cached_property
    def held(self) -> dict[str, dict[str, str]]:
        """Per quantity: actions (or ``static``, ``weight_read``) that another figure already holds -> the action that holds them."""
        found: dict[str, dict[str, str]] = {"energy": {}, "time": {}}
        for name, figure in self.figures.items():
            action = name.partition(".")[0]
            if figure is not None and figure.energy is not None:
                found["energy"] |= {held: action for held in figure.includes.energy or () if held != action}
            if figure is not None and (figure.time, figure.cycles) != (None, None):
                found["time"] |= {held: action for held in figure.includes.time or () if held != action}
        return found
