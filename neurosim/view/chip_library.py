"""The chip library for people: what each chip publishes, with grade and source, and what it does not."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from neurosim.chip import ACTIONS, HOP_KINDS, Chip, Figure
from neurosim.units import show
from neurosim.view.tables import table

NOT_PUBLISHED = "not published"
COLUMNS = ("parameter", "value", "range", "grade", "source", "operating point")
Row = tuple[str, str, str, str, str, str]

_MACHINE = ("synapse", "neuron_update", "input_compare", "host_in", "host_out")
"""Actions of a dense or zero-skip machine: it has no cores and no mesh."""

_UNTIMED = ("state_reset", "input_compare", "host_in", "host_out")
"""Actions that take no part in the time of a timestep."""

_LIMITS = ("arithmetic.weight_bits", "arithmetic.payload_bits", "arithmetic.accumulator_bits", "core.neurons", "core.synapse_memory",
           "core.state_memory", "core.axons_in", "core.axons_out", "noc.width", "noc.multicast", "noc.flit_time")
"""Structure figures that a mapping checks or uses, besides the number of cores."""


def all_chips_document() -> dict[str, Any]:
    """The document of ``chips --json``."""
    return {"schema": "neurosim.chips/1", "chips": [summary(Chip.load(name)) for name in Chip.names()]}


MEANING = (
    "synapse: energy of a synaptic operation; energies, times: actions with a figure, their own or inside another's, of all actions of the "
    "chip; limits: limits and sizes known, of all that a mapping uses; -: not published, never counted as zero. "
    "A chip of which only the structure is known maps networks, and prices no energy of what they do.")


def overview() -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """What is known of every chip of the library: title, columns and rows of event chips and of dense machines (see `MEANING`)."""
    events: list[tuple[str, ...]] = []
    machines: list[tuple[str, ...]] = []
    for s in (summary(Chip.load(name)) for name in Chip.names()):
        price = (show(s["synapse_energy_j"], "J"), s["synapse_grade"] or "-")
        known = (_share(s["energy"]), _share(s["time"]), s["static"] or "-")
        if s["kind"] == "event":
            cores = "-" if s["cores"] is None else f"{s['cores']:,}"
            what = (s["name"], s["use"], ", ".join(s["signals"]), cores)
            events.append((*what, *price, *known, s["barrier"] or "-", _share(s["structure"])))
        else:
            machines.append((s["name"], s["use"], s["kind"], *price, *known, _share(s["structure"])))
    priced = ("synapse", "grade", "energies", "times", "static")
    return [("event chips", ("name", "use", "signals", "cores", *priced, "barrier", "limits"), events),
            ("machines without cores", ("name", "use", "kind", *priced, "limits"), machines)]


def all_chips_table() -> RenderableType:
    """What is known of every chip of the library."""
    shown: list[RenderableType] = []
    for title, columns, rows in overview():
        listed = table(title, *columns)
        for column in listed.columns:
            if column.header in ("use", "signals", "static", "barrier"):
                column.justify, column.no_wrap = "left", column.header == "static"
        for row in rows:
            listed.add_row(*row)
        shown += [listed, Text()]
    return Group(*shown, Text(f"  {MEANING}", style="dim"),
                 Text("  neurosim chips NAME lists every parameter with its grade and source", style="dim"))


def chip_document(name: str) -> dict[str, Any]:
    """The document of ``chips NAME --json``."""
    chip = Chip.load(name)
    return {
        "schema": "neurosim.chip/1",
        **summary(chip),
        "native_schedule": chip.supports.native_schedule,
        "parameters": [dict(zip(("parameter", "value", "range", "grade", "source", "operating_point"), row)) for row in parameters(chip)],
        "notes": list(chip.notes),
    }


def chip_table(name: str) -> RenderableType:
    """Every parameter of a chip."""
    chip = Chip.load(name)
    s, rows = summary(chip), parameters(chip)
    used = columns_in_use(rows)
    natively = f", natively {chip.supports.native_schedule}" if chip.kind == "event" else ""
    shown: Table = table(f"{chip.name}: {chip.kind}, signals {', '.join(chip.signals)}{natively}", *(COLUMNS[i] for i in used))
    for column in shown.columns:
        column.justify = "left"
        column.no_wrap = column.header in ("parameter", "range", "grade")
    for row in rows:
        shown.add_row(*(row[i] for i in used))
    return Group(shown, *(Text(f"  {note}", style="dim") for note in (coverage(s), *chip.notes)))


def columns_in_use(rows: list[Row]) -> list[int]:
    """Indices of the `COLUMNS` that hold anything."""
    return [i for i in range(len(COLUMNS)) if i < 2 or any(row[i] for row in rows)]


def coverage(s: dict[str, Any]) -> str:
    """One sentence on what is known, from `summary`."""
    return (f"{s['use']}: energies of {_share(s['energy'])} actions, times of {_share(s['time'])}, "
            f"{_share(s['structure'])} limits and sizes; {NOT_PUBLISHED} is never counted as zero")


def summary(chip: Chip) -> dict[str, Any]:
    """What is and what is not known of a chip."""
    synapse = next((f for name, f in _figures(chip, "synapse") if f.energy is not None), None)
    actions = ACTIONS if chip.kind == "event" else _MACHINE
    energy = {a: _state(chip, a, "energy") for a in actions}
    time = {a: _state(chip, a, "time") for a in actions if a not in _UNTIMED}
    structure = {path: chip.value(path) is not None for path in _limits(chip)}
    held = chip.included("energy")
    power = chip.static_power
    static = power.per_chip if power.per_chip is not None else power.per_core
    table_s = chip.timing.barrier or {}
    ends = [show(table_s[k], "s") for k in sorted(table_s)]
    return {
        "name": chip.name,
        "kind": chip.kind,
        "use": "priced" if synapse else "structure only",
        "signals": list(chip.signals),
        "cores": chip.n_cores,
        "synapse_energy_j": synapse and synapse.energy,
        "synapse_grade": synapse and synapse.grade.energy,
        "energy": {"known": sum(state in ("known", "inside") for state in energy.values()), "of": len(energy)},
        "time": {"known": sum(state in ("known", "inside") for state in time.values()), "of": len(time)},
        "structure": {"known": sum(structure.values()) + (chip.kind == "event" and chip.n_cores is not None),
                      "of": len(structure) + (chip.kind == "event")},
        "static": "inside" if "static" in held else None if static is None else (
            show(static, "W") + (" per core" if power.per_chip is None else "")),
        "barrier": " .. ".join(dict.fromkeys((ends[0], ends[-1]))) if ends else None,
        "energy_included": held,
        "energy_not_published": [a for a, state in energy.items() if state == NOT_PUBLISHED],
        "energy_partly_published": [a for a, state in energy.items() if state == "partly"],
        "time_not_published": [a for a, state in time.items() if state == NOT_PUBLISHED],
        "structure_not_published": [path for path, known in structure.items() if not known],
    }


def _share(count: dict[str, int]) -> str:
    return f"{count['known']}/{count['of']}"


def _limits(chip: Chip) -> list[str]:
    """Structure figures that count for this chip: a machine has word widths only, a chip without a mesh no links."""
    if chip.kind != "event":
        return [path for path in _LIMITS if path.startswith("arithmetic.")]
    return [path for path in _LIMITS if chip.noc is not None or not path.startswith("noc.")]


def _state(chip: Chip, action: str, quantity: str) -> str:
    """known, inside (another figure), partly (some of its kinds) or not published."""
    if action in chip.included(quantity):
        return "inside"
    kinds: tuple[str, ...] = (action,)
    if action == "synapse" and chip.kind == "event":
        kinds = tuple(dict.fromkeys(f"synapse.{kind}" for core in chip.core for kind in core.weight_storage))
    elif action == "hop":
        kinds = tuple(f"hop.{kind}" for kind in HOP_KINDS if kind != "chip" or chip.chips > 1)
    value = chip.energy_j if quantity == "energy" else chip.time_s
    known = [value(kind) is not None for kind in kinds]
    return "known" if all(known) else "partly" if any(known) else NOT_PUBLISHED


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


def parameters(chip: Chip) -> list[Row]:
    """(parameter, value, range, grade, source, operating point) of everything that a chip file can give."""
    rows = [_structure_row(chip, path) for path in _structure_paths(chip)]
    rows += [("noc", "none: one core per chip", "", "", "", "")] if chip.kind == "event" and chip.noc is None else []
    held = {quantity: chip.included(quantity) for quantity in ("energy", "time")}
    power = chip.static_power
    for key in ("per_chip", "per_core"):
        row = _structure_row(chip, f"static_power.{key}")
        if "static" in held["energy"] and getattr(power, key) is None:
            row = (row[0], f"inside {held['energy']['static']}", "", "", "", "")
        rows.append((*row[:2], _range(chip, "static_power") if key == "per_chip" else "", *row[3:]))
    if power.per_chip is not None or power.per_core is not None:
        rows.append(_structure_row(chip, "static_power.gated"))
    rows += [(f"scaling.{target}", f"~ {rule.with_} ** {rule.exponent:g}", "", rule.grade, "", "") for target, rule in chip.scaling.items()]
    for action in ACTIONS if chip.kind == "event" else _MACHINE:
        rows += _cost_rows(chip, action, "energy", held["energy"].get(action))
        if action not in _UNTIMED:
            rows += _cost_rows(chip, action, "time", held["time"].get(action))
    return rows


def _structure_paths(chip: Chip) -> list[str]:
    """Every structure figure of a chip; those of each core type where there are several."""
    skipped = ("grade", "source", "low", "high")
    is_event = chip.kind == "event"
    sections = ("arithmetic", "noc", "core", "timing", "area") if is_event else ("arithmetic", "area")
    found = ["signals", *(f"supports.{key}" for key in type(chip.supports).model_fields), "chips" if is_event else "core.clock"]
    for section in sections:
        value = getattr(chip, section)
        parts = {section: value}
        if section == "core":
            listed = isinstance(chip._source.data.get("core"), list)
            parts = {f"core.{i}": core for i, core in enumerate(value)} if listed else {"core": value[0]}
        found += [f"{name}.{key}" for name, part in parts.items() if part is not None
                  for key in type(part).model_fields if key not in skipped]
    return found


def _structure_row(chip: Chip, path: str) -> Row:
    value, origin = chip.value(path), chip.origin(path)
    source = "default of the file format" if origin is None else origin.source or ""
    if value is None:
        cores = chip.n_cores if path == "core.count" else None
        text = _unknown(path) if cores is None else f"{cores // chip.chips:,}: from the mesh" if chip.noc else "1: no mesh"
        return path, text, "", "", "", ""
    return path, _shown(value, chip.written(path)), "", "" if origin is None else origin.grade, source, ""


def _unknown(path: str) -> str:
    return {"axon_source": f"{NOT_PUBLISHED}: what the storage holds", "multicast": f"{NOT_PUBLISHED}: unicast assumed",
            "input_port": f"{NOT_PUBLISHED}: tile (0, 0) assumed"}.get(path.rpartition(".")[2], NOT_PUBLISHED)


def _cost_rows(chip: Chip, action: str, quantity: str, inside: str | None) -> list[Row]:
    rows: list[Row] = []
    for name, f in _figures(chip, action):
        seconds = chip.time_s(name)
        if quantity == "energy" and f.energy is not None:
            value, limits = str(chip.written(f"cost.{name}.energy")), _range(chip, f"cost.{name}")
        elif quantity == "time" and seconds is not None:
            cycles = None if f.cycles is None else f"{f.cycles:g} cycle{'s' * (f.cycles != 1)} = {show(seconds, 's')}"
            value, limits = cycles or str(chip.written(f"cost.{name}.time")), ""
        else:
            continue
        point, note = getattr(f.operating_point, quantity), f" ({f.note})" if f.note else ""
        text = "" if point is None else point.text or ""
        if point is not None and point.rate is not None:
            text += f" [{show(point.rate, 'Hz')}" + (f" over {point.cores:,} cores]" if point.cores else "]")
        grade, source = getattr(f.grade, quantity) or "", (getattr(f.source, quantity) or "") + note
        rows.append((f"{name} {quantity}", value, limits, grade, source, text.strip()))
    if inside is not None:
        held = f"inside {inside}" if not rows else f"inside {inside}: the figures above are not added"
        return [*rows, (f"{action} {quantity}", held, "", "", "", "")]
    state = _state(chip, action, quantity)
    if state == "partly" or not rows:
        rest = "" if not rows else "other kinds "
        rows.append((f"{action} {quantity}", f"{rest}{NOT_PUBLISHED}", "", "", "", ""))
    return rows


def _shown(value: Any, written: Any) -> str:
    """A quantity as the file writes it, everything else in words."""
    if isinstance(written, dict):
        return ", ".join(f"{key}: {text}" for key, text in written.items())
    if isinstance(written, str):
        return written
    if isinstance(value, tuple):
        return ", ".join(" | ".join(v) if isinstance(v, tuple) else str(v) for v in value) or "any: not checked"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _range(chip: Chip, path: str) -> str:
    """Ends of a range as the file writes them; an end that is not given is the figure itself."""
    low, high = chip.written(f"{path}.low"), chip.written(f"{path}.high")
    if low is None or high is None:
        return "" if low == high else f"from {low}" if high is None else f"up to {high}"
    return f"{low} .. {high}"
