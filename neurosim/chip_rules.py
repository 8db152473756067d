"""Rules of a chip file that span several keys. They read the plain tree and skip what the models refuse.

Each group of rules names the sections that it reads, so that a chip with changed settings is checked
only where it changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Set
from typing import Any

from neurosim import units
from neurosim.chip_schema import ACTIONS, HOP_KINDS, MAX_SIDE, STORAGE_KINDS

Path = tuple[Any, ...]
Problem = tuple[Path, str]
"""Path in the file, and what is wrong there."""

MAX_TILES = 1 << 20
"""Tiles over all chips: the mesh is held in memory tile by tile."""

FOLLOWED = ("chips", *(f"arithmetic.{k}" for k in ("weight_bits", "payload_bits", "accumulator_bits")),
            *(f"noc.{k}" for k in ("width", "height", "cores_per_tile", "flit_bits", "events_per_message")),
            *(f"core.{k}" for k in ("count", "neurons", "synapse_memory", "state_memory", "axons_in", "axons_out",
                                    "max_destinations", "index_bits", "lanes", "clock")))
"""Figures that a rule of `scaling` can follow."""

_KINDS = {"synapse": STORAGE_KINDS, "hop": HOP_KINDS}


def problems(tree: dict[str, Any], changed: Set[str] | None = None) -> list[Problem]:
    """Every violation of a rule; with `changed`, of the rules that read one of these sections."""
    return [problem for sections, rule in _RULES if changed is None or not changed.isdisjoint(sections) for problem in rule(tree)]


def figures(cost: Any, path: Path = ("cost",)) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(path, figure) of every cost entry; those of a synapse or a hop may be given per kind."""
    for action, entry in cost.items() if isinstance(cost, dict) else ():
        if isinstance(entry, dict):
            kinds = [k for k in _KINDS.get(action, ()) if k in entry]
            for kind in kinds:
                if isinstance(entry[kind], dict):
                    yield (*path, action, kind), entry[kind]
            if not kinds:
                yield (*path, action), entry


def _given(figure: dict[str, Any], quantity: str) -> bool:
    return any(figure.get(key) is not None for key in (("energy",) if quantity == "energy" else ("time", "cycles")))


def _includes(figure: dict[str, Any], quantity: str) -> set[str]:
    listed = figure.get("includes")
    if isinstance(listed, dict):
        listed = listed.get(quantity)
    return {i for i in listed if isinstance(i, str)} if isinstance(listed, list) else set()


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _cores(tree: dict[str, Any]) -> list[dict[str, Any]]:
    raw = tree.get("core")
    return [c for c in (raw if isinstance(raw, list) else [raw]) if isinstance(c, dict)]


def _range_problem(section: dict[str, Any], key: str, dimension: str) -> tuple[str, str] | None:
    """What is wrong with ``low``, the figure `key` and ``high``: (key to point at, text)."""
    try:
        low, mid, high = (None if section.get(k) is None else units.parse(section[k], dimension) for k in ("low", key, "high"))
    except ValueError:
        return None
    if mid is None:
        lone = next((k for k in ("low", "high") if section.get(k) is not None), None)
        return None if lone is None else (lone, f"a range without {'an' if key == 'energy' else 'a'} {key}")
    if (low is not None and low > mid) or (high is not None and high < mid):
        low, high = section.get("low"), section.get("high")
        ends = f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}"
        return key, f"{key} {section[key]} lies outside its range {ends}"
    return None


def _figure_rules(tree: dict[str, Any]) -> Iterator[Problem]:
    for path, figure in figures(tree.get("cost")):
        if figure.get("time") is not None and figure.get("cycles") is not None:
            yield (*path, "cycles"), "time and cycles are both given; keep one"
        if (problem := _range_problem(figure, "energy", "energy")) is not None:
            yield (*path, problem[0]), problem[1]
        others = sorted(_includes(figure, "energy") - {path[1]})
        point = figure.get("operating_point")
        if isinstance(point, dict) and point and set(point) <= {"energy", "time"}:
            point = point.get("energy")
        if others and figure.get("energy") is not None and point is None:
            yield (*path, "includes"), f"a figure that includes {', '.join(others)} needs its operating_point"


def _clock_rules(tree: dict[str, Any]) -> Iterator[Problem]:
    cores = _cores(tree)
    if len({(str(c.get("clock")), str(c.get("lanes"))) for c in cores}) > 1:
        yield ("core",), "core types differ in clock or lanes; give times instead of cycles"
    clocked = bool(cores) and all(c.get("clock") is not None for c in cores)
    shared = any((_whole(c.get("lanes")) or 1) > 1 for c in cores)
    for path, figure in figures(tree.get("cost")):
        if figure.get("cycles") is not None and not clocked:
            yield (*path, "cycles"), "cycles without core.clock; give the clock, or a time"
        if path[1] == "synapse" and figure.get("time") is not None and shared:
            yield (*path, "time"), "time beside core.lanes: lanes divide cycles only; give cycles, or drop lanes"


def _include_rules(tree: dict[str, Any]) -> Iterator[Problem]:
    """What a figure includes must be counted exactly once: no circles, no gaps, equal for all kinds of an action."""
    known = list(figures(tree.get("cost")))
    for quantity in ("energy", "time"):
        held: dict[str, tuple[Path, set[str]]] = {}
        for path, figure in known:
            if not _given(figure, quantity):
                continue
            action, inside = str(path[1]), _includes(figure, quantity) - {path[1]}
            first, same = held.setdefault(action, (path, inside))
            if same != inside:
                names = ", ".join(sorted(same ^ inside))
                yield (*path, "includes"), (f"{path[-1]} and {first[-1]} do not include the same {quantity} ({names}); "
                                            f"what one kind of {action} includes is left out for all kinds")
        for action, (path, inside) in held.items():
            for other in sorted(inside & held.keys()):
                theirs = held[other][1]
                if action in theirs:
                    if action < other:
                        yield (*path, "includes"), f"{action} and {other} include each other's {quantity}, so neither would be counted"
                elif gap := sorted(theirs - inside):
                    yield (*path, "includes"), (f"includes {other}, whose own {quantity} holds {', '.join(gap)}: "
                                                "include that too, or it is counted nowhere")


def _mesh_rules(tree: dict[str, Any]) -> Iterator[Problem]:
    noc, chips, cores = tree.get("noc"), _whole(tree.get("chips")) or 1, _cores(tree)
    counts = [_whole(c.get("count")) for c in cores]
    if len(cores) > 1:
        for i, core in enumerate(cores):
            if core.get("count") is None:
                yield ("core", i), "count is missing; each of several core types needs its count per chip"
    noc = noc if isinstance(noc, dict) else {}
    width, height = _whole(noc.get("width")), _whole(noc.get("height"))
    if (noc.get("width") is None) != (noc.get("height") is None):
        yield ("noc", "width"), "noc.width and noc.height are given together or not at all"
    if width is None or height is None:
        if chips > MAX_TILES:
            yield ("chips",), f"{chips:,} chips > limit {MAX_TILES:,}"
        return
    if max(width, height) > MAX_SIDE:
        return  # refused already
    if chips * width * height > MAX_TILES:
        yield ("noc", "width"), f"{chips:,} x {width:,} x {height:,} tiles > limit {MAX_TILES:,}"
    seats, total = width * height * (_whole(noc.get("cores_per_tile")) or 1), sum(c or 0 for c in counts)
    if total > seats:
        yield ("noc", "width"), (f"{width:,} x {height:,} tiles hold {seats:,} cores < {total:,} of core.count; "
                                 "raise noc.width, noc.height or noc.cores_per_tile")
    port = noc.get("input_port")
    if isinstance(port, list) and len(port) == 2 and all(isinstance(p, int) for p in port) and (
            port[0] >= width * chips or port[1] >= height):
        yield ("noc", "input_port"), f"tile {port} lies outside the mesh of {width * chips:,} x {height:,} tiles"


def _static_rules(tree: dict[str, Any]) -> Iterator[Problem]:
    section = tree.get("static_power")
    if isinstance(section, dict) and (problem := _range_problem(section, "per_chip", "power")) is not None:
        yield ("static_power", problem[0]), problem[1]


def _overlap_rules(tree: dict[str, Any]) -> Iterator[Problem]:
    timing = tree.get("timing")
    groups = timing.get("overlap") if isinstance(timing, dict) else None
    seen: set[str] = set()
    for i, group in enumerate(groups if isinstance(groups, list) else ()):
        mine = {a for a in group if isinstance(a, str)} if isinstance(group, list) else set()
        if again := sorted(mine & seen):
            yield ("timing", "overlap", i), f"{', '.join(again)} stands in two groups of overlap"
        seen |= mine


def _scaling_rules(tree: dict[str, Any]) -> Iterator[Problem]:
    rules, priced = tree.get("scaling"), list(figures(tree.get("cost")))
    for target, rule in rules.items() if isinstance(rules, dict) else ():
        *steps, quantity = str(target).split(".")
        if quantity not in ("energy", "time") or not steps or steps[0] not in ACTIONS:
            yield ("scaling", target), f"{target}: write <action>.energy or <action>.time, such as synapse.energy"
        elif not any(path[1:len(steps) + 1] == tuple(steps) and _given(figure, quantity) for path, figure in priced):
            yield ("scaling", target), f"{target}: cost.{target} is not given, so nothing can follow"
        followed = rule.get("with") if isinstance(rule, dict) else None
        if isinstance(followed, str) and followed not in FOLLOWED:
            close = difflib.get_close_matches(followed, FOLLOWED, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(FOLLOWED)}"
            yield ("scaling", target, "with"), f"with: unknown figure {units.clipped(followed)}; {hint}"


_RULES: tuple[tuple[tuple[str, ...], Callable[[dict[str, Any]], Iterator[Problem]]], ...] = (
    (("cost",), _figure_rules),
    (("cost",), _include_rules),
    (("cost", "core"), _clock_rules),
    (("noc", "chips", "core"), _mesh_rules),
    (("static_power",), _static_rules),
    (("timing",), _overlap_rules),
    (("scaling", "cost"), _scaling_rules),
)
