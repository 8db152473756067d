"""The chip library for people: what each chip publishes, with grade and source, and what it does not."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from neurosim.chip import ACTIONS, Chip, Figure
from neurosim.units import show
from neurosim.view.tables import table

_STRUCTURE = (
    "arithmetic.weight_bits",
    "arithmetic.payload_bits",
    "arithmetic.accumulator_bits",
    "noc.width",
    "noc.height",
    "noc.cores_per_tile",
    "noc.multicast",
    "noc.flit_bits",
    "noc.input_port",
    "chips",
    "core.count",
    "core.neurons",
    "core.synapse_memory",
    "core.state_memory",
    "core.axons_in",
    "core.axons_out",
    "core.max_destinations",
    "core.weight_storage",
    "core.index_bits",
    "core.kernel_sharing",
    "core.lanes",
    "core.clock",
    "timing.barrier",
)


def all_chips_document() -> dict[str, Any]:
    """The document of ``chips --json``."""
    return {"schema": "neurosim.chips/1", "chips": [_summary(Chip.load(name)) for name in Chip.names()]}


def all_chips_table() -> RenderableType:
    """One row per chip."""
    rows = table("chips of the library", "name", "kind", "signals", "cores", "energy of a synapse", "grade", "energy not published for")
    for name in Chip.names():
        s = _summary(Chip.load(name))
        rows.add_row(
            name,
            s["kind"],
            ", ".join(s["signals"]),
            "-" if s["cores"] is None else f"{s['cores']:,}",
            show(s["synapse_energy_j"], "J"),
            s["synapse_grade"] or "-",
            ", ".join(s["energy_not_published"]) or "-",
        )
    return Group(rows, Text("  neurosim chips NAME lists every parameter with its grade and source", style="dim"))


def chip_document(name: str) -> dict[str, Any]:
    """The document of ``chips NAME --json``."""
    chip = Chip.load(name)
    return {
        "schema": "neurosim.chip/1",
        **_summary(chip),
        "parameters": [dict(zip(("parameter", "value", "grade", "source"), row)) for row in _parameters(chip)],
        "notes": list(chip.notes),
    }


def chip_table(name: str) -> RenderableType:
    """Every parameter of a chip."""
    chip = Chip.load(name)
    rows = table(
        f"{chip.name}: {chip.kind}, signals {', '.join(chip.signals)}, natively {chip.supports.native_schedule}",
        "parameter",
        "value",
        "grade",
        "source",
    )
    for row in _parameters(chip):
        rows.add_row(*row)
    return Group(rows, *(Text(f"  {note}", style="dim") for note in chip.notes))


def _summary(chip: Chip) -> dict[str, Any]:
    figure = next(
        (
            f
            for kind in ("synapse", "synapse.dense", "synapse.sparse", "synapse.convolution")
            if (f := chip.figure(kind)) is not None and f.energy is not None
        ),
        None,
    )
    held = chip.included("energy")
    missing = [a for a in ACTIONS if a not in held and not any(f.energy is not None for _, f in _figures(chip, a))]
    return {
        "name": chip.name,
        "kind": chip.kind,
        "signals": list(chip.signals),
        "cores": chip.n_cores,
        "synapse_energy_j": figure and figure.energy,
        "synapse_grade": figure and figure.grade.energy,
        "energy_included": held,
        "energy_not_published": missing,
    }


def _figures(chip: Chip, action: str) -> list[tuple[str, Figure]]:
    entry = getattr(chip.cost, action)
    if entry is None:
        return []
    if isinstance(entry, Figure):
        return [(action, entry)]
    return [
        (action if kind == "every" else f"{action}.{kind}", f)
        for kind in type(entry).model_fields
        if (f := getattr(entry, kind)) is not None
    ]


def _parameters(chip: Chip) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    for path in _STRUCTURE:
        value = chip.value(path)
        origin = chip.figures.get(path) or chip.figures.get(path.replace("core.", "core.0.")) or chip.provenance
        rows.append((path, _structure(path, value), "" if value is None else origin.grade, "" if value is None else origin.source or ""))
    power = chip.static_power
    for key in ("per_chip", "per_core"):
        value = getattr(power, key)
        rows.append(
            (
                f"static_power.{key}",
                "not published" if value is None else _range(value, power.low, power.high, "W"),
                "" if value is None else power.grade,
                "" if value is None else power.source or "",
            )
        )
    held = {quantity: chip.included(quantity) for quantity in ("energy", "time")}
    for action in ACTIONS:
        for name, f in _figures(chip, action):
            if f.energy is not None:
                rows.append((f"{name} energy", _range(f.energy, f.low, f.high, "J"), f.grade.energy or "", f.source.energy or ""))
            if chip.time_s(name) is not None:
                rows.append((f"{name} time", show(chip.time_s(name), "s"), f.grade.time or "", f.source.time or ""))
        for quantity in ("energy", "time"):
            known = any(
                f.energy is not None if quantity == "energy" else chip.time_s(name) is not None for name, f in _figures(chip, action)
            )
            if not known:
                inside = held[quantity].get(action)
                rows.append((f"{action} {quantity}", f"inside {inside}" if inside else "not published", "", ""))
    return rows


def _structure(path: str, value: Any) -> str:
    if value is None:
        return "not published"
    if path.endswith("memory"):
        return f"{value / 8192:g} KiB"
    if path.endswith("clock"):
        return show(value, "Hz")
    if path.endswith("barrier"):
        return ", ".join(f"{tiles}: {show(t, 's')}" for tiles, t in value.items())
    return (
        ", ".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else str(value)
    )


def _range(value: float, low: float | None, high: float | None, unit: str) -> str:
    ends = f" ({show(low, unit)} .. {show(high, unit)})" if low is not None or high is not None else ""
    return show(value, unit) + ends
