"""Reading a chip file: positions, origins of single figures, and every problem at once.

The YAML tree is brought into one canonical shape (figures with their own origin are unwrapped),
checked by the pydantic models of `neurosim.chip` and by rules that span several keys. Each
problem keeps its path, and a path is found again in the file as line and column.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from neurosim import strict_yaml
from neurosim.errors import ChipError

Problem = tuple[tuple[Any, ...], str]
"""Path in the file, and what is wrong there."""

_OWN_ORIGIN = ("arithmetic", "noc", "core", "timing", "chips")
_RESERVED = ("figures", "settings")


@dataclass(frozen=True)
class Source:
    """Data of a chip file as written, where each key stands, and settings that were laid over it."""

    data: dict[str, Any]
    positions: strict_yaml.Positions
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path_or_text: str | Path, known: list[str] | None = None) -> Source:
        """Read YAML. Raises ChipError naming `known` chips when no such file exists."""
        is_text = isinstance(path_or_text, str) and "\n" in path_or_text
        label = "<text>" if is_text else str(path_or_text)
        if not is_text and not Path(path_or_text).is_file():
            close = difflib.get_close_matches(label, known or [], 3)
            hint = f"did you mean {', '.join(close)}?" if close else f"chips of the library: {', '.join(known or [])}"
            raise ChipError(f"no chip and no file {label!r}; {hint}")
        try:
            data, positions = strict_yaml.read_text(str(path_or_text)) if is_text else strict_yaml.read_file(path_or_text)
        except strict_yaml.StrictYamlError as error:
            raise ChipError(f"{label}:{error.line}:{error.column}: {error.problem}") from None
        except OSError as error:
            raise ChipError(f"cannot read {label}: {error.strerror}") from None
        if not isinstance(data, dict):
            raise ChipError(f"{label}:1:1: a chip file is a mapping with name, kind, core, cost, ...")
        return cls(data, positions, label)

    def where(self, path: tuple[Any, ...]) -> str:
        """``file:line:column`` of a path, or the setting that put it there."""
        dotted = ".".join(str(p) for p in path)
        for setting in self.settings:
            if _same(dotted, setting) or (path and path not in self.positions and setting.startswith(dotted + ".")):
                return f"setting {setting!r}"
        line, column = strict_yaml.position_of(self.positions, path)
        return f"{self.label}:{line}:{column}"


def _same(dotted: str, setting: str) -> bool:
    bare = ".".join(p for p in dotted.split(".") if not p.isdigit())
    return any(d == setting or d.startswith(setting + ".") or setting.startswith(d + ".") and d.count(".") > 0
               for d in (dotted, bare))


def validated(model: type[Any], source: Source, problems: list[Problem] | None = None) -> Any:
    """Build `model` from a source.

    Raises
    ------
    ChipError
        With all problems, one per line.
    """
    found = list(problems or [])
    found += [((key,), f"unknown key {key!r}") for key in _RESERVED if key in source.data]
    data = canonical(source.data)
    chip = None
    try:
        chip = model.model_validate(data)
    except ValidationError as error:
        found += [_problem(e, data, model) for e in error.errors(include_url=False)]
    found += _rules(source.data)
    if found:
        at = [(_in_file(path, source.data), text) for path, text in found]
        at.sort(key=lambda entry: strict_yaml.position_of(source.positions, entry[0]))
        raise ChipError("\n".join(dict.fromkeys(f"{source.where(path)}: {text}" for path, text in at)))
    return chip


def canonical(data: dict[str, Any]) -> dict[str, Any]:
    """The tree with ``{value: v, grade: g, source: s}`` replaced by v, and the origins gathered in ``figures``."""
    figures: dict[str, Any] = {}

    def plain(node: Any, path: tuple[str, ...]) -> Any:
        if isinstance(node, dict):
            if "value" in node:
                figures[".".join(path)] = {k: v for k, v in node.items() if k != "value"}
                return node["value"]
            return {k: plain(v, (*path, str(k))) for k, v in node.items()}
        if isinstance(node, list):
            return [plain(v, (*path, str(i))) for i, v in enumerate(node)]
        return node

    tree = {k: plain(v, (str(k),)) if k in _OWN_ORIGIN else v for k, v in data.items() if k not in _RESERVED}
    # a section given as null is a section left out
    return {k: v for k, v in tree.items() if v is not None} | ({"figures": figures} if figures else {})


def _in_file(path: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    """The part of a path that exists in the file: steps added by normalisation are skipped."""
    if path and path[0] == "figures" and len(path) > 1:
        path = (*(int(p) if p.isdigit() else p for p in path[1].split(".")), *path[2:])
    found: list[Any] = []
    for step in path:
        if isinstance(data, dict) and step in data or isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
            found.append(step)
    return tuple(found)


def _problem(error: Any, data: Any, model: type[BaseModel]) -> Problem:
    path, kind = tuple(error["loc"]), error["type"]
    value = error.get("input")
    if kind == "extra_forbidden":
        return path, _unknown(path[-1], _keys_at(model, path[:-1]))
    if kind == "missing":
        return path, f"key {path[-1]!r} is missing"
    if kind == "value_error":
        return path, f"{path[-1]}: {error['ctx']['error']}"
    if kind == "literal_error":
        allowed = [part.strip(" '") for part in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        close = difflib.get_close_matches(str(value), allowed, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(allowed)}"
        return path, f"{_name(path)}: unknown value {value!r}; {hint}"
    if kind in ("greater_than_equal", "int_type") and isinstance(value, int | float) and not isinstance(value, bool):
        limit = error.get("ctx", {}).get("ge", 1)
        return path, f"{_name(path)}: {value!r} where a whole number of {limit} or more is due" if kind == "int_type" or limit else (
            f"{_name(path)}: {value!r} is negative")
    return path, f"{_name(path)}: {error['msg'][0].lower()}{error['msg'][1:]} (got {value!r})"


def _name(path: tuple[Any, ...]) -> str:
    names = [str(p) for p in path if isinstance(p, str) and p != "every"]
    if len(names) > 1 and names[-2] in ("includes", "grade", "source", "operating_point"):
        return names[-2]
    return names[-1] if names else "file"


def _unknown(key: Any, allowed: list[str]) -> str:
    close = difflib.get_close_matches(str(key), allowed, 1)
    return f"unknown key {key!r}; " + (f"did you mean {close[0]!r}?" if close else f"known: {', '.join(allowed)}")


def _keys_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Keys that the model at `path` knows."""
    for step in path:
        info = model.model_fields.get(step) if isinstance(step, str) else None
        inner = _model_in(info.annotation) if info else None
        model = inner or model
    return [f.alias or k for k, f in model.model_fields.items() if k not in (*_RESERVED, "every")]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in typing.get_args(annotation) if (m := _model_in(a))), None)


def _rules(data: dict[str, Any]) -> list[Problem]:
    """Rules that span several keys; tolerant of anything that the models already refuse."""
    problems: list[Problem] = []
    raw = data.get("core")
    cores = [c for c in (raw if isinstance(raw, list) else [raw]) if isinstance(c, dict)]
    clocked = bool(cores) and all(c.get("clock") is not None for c in cores)
    if len({(str(c.get("clock")), str(c.get("lanes"))) for c in cores}) > 1:
        problems.append((("core",), "core types differ in clock or lanes; give times instead of cycles"))
    for path, figure in _figures(data.get("cost")):
        problems += [((*path, key), text) for key, text in _figure_rules(path, figure, clocked)]
        lanes = any(isinstance(c.get("lanes"), int) and c["lanes"] > 1 for c in cores)
        if path[1] == "synapse" and figure.get("time") is not None and lanes:
            problems.append(((*path, "time"), "time beside core.lanes: lanes divide cycles only; give cycles, or drop lanes"))
    noc = data.get("noc")
    if isinstance(noc, dict) and (noc.get("width") is None) != (noc.get("height") is None):
        problems.append((("noc", "width"), "noc.width and noc.height are given together or not at all"))
    return problems


def _figures(cost: Any, path: tuple[Any, ...] = ("cost",)) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    for key, entry in cost.items() if isinstance(cost, dict) else ():
        if not isinstance(entry, dict):
            continue
        kinds = [k for k in entry if isinstance(entry[k], dict) and k not in ("includes", "grade", "source", "operating_point")]
        found += _figures({k: entry[k] for k in kinds}, (*path, key)) if kinds else [((*path, key), entry)]
    return found


def _figure_rules(path: tuple[Any, ...], figure: dict[str, Any], clocked: bool) -> list[tuple[str, str]]:
    from neurosim import units

    found = []
    if figure.get("time") is not None and figure.get("cycles") is not None:
        found.append(("cycles", "time and cycles are both given; keep one"))
    if figure.get("cycles") is not None and not clocked:
        found.append(("cycles", "cycles without core.clock; give the clock, or a time"))
    try:
        low, mid, high = (None if figure.get(k) is None else units.parse(figure[k], "energy") for k in ("low", "energy", "high"))
    except ValueError:
        low = mid = high = None
    if mid is None:
        if low is not None or high is not None:
            found.append(("low" if low is not None else "high", "a range without an energy"))
    elif (low is not None and low > mid) or (high is not None and high < mid):
        found.append(("energy", f"energy {figure['energy']} lies outside its range {figure.get('low')} to {figure.get('high')}"))
    includes = figure.get("includes")
    if isinstance(includes, dict):
        includes = includes.get("energy")
    others = [i for i in includes if i not in path] if isinstance(includes, list) else []
    if others and figure.get("energy") is not None and figure.get("operating_point") is None:
        found.append(("includes", f"a figure that includes {', '.join(map(str, others))} needs its operating_point"))
    return found


def set_path(data: dict[str, Any], path: str, value: Any, problems: list[Problem]) -> None:
    """Put `value` at a dotted path of the tree, in place; a step through a list goes to every entry."""
    last: Any
    *steps, last = (int(p) if p.isdigit() else p for p in path.split("."))
    nodes: list[Any] = [data]
    for step in steps:
        below: list[Any] = []
        for node in nodes:
            if isinstance(node, list) and isinstance(step, int) and step >= len(node):
                problems.append(((path,), f"{path}: there are {len(node)} entries, numbered from 0"))
                continue
            if not isinstance(node, dict | list) or isinstance(node, list) != isinstance(step, int):
                problems.append(((path,), f"{path}: nothing can stand at {step!r} there"))
                continue
            if isinstance(node, dict) and (node.get(step) is None):
                node[step] = {}
            if isinstance(node, dict) and not isinstance(node[step], dict | list):
                problems.append(((path,), f"{path}: {step!r} holds a single value"))
                continue
            child = node[step]
            below += child if isinstance(child, list) and not _index_follows(path, step) else [child]
        nodes = below
    for node in nodes:
        if isinstance(node, list) and not (isinstance(last, int) and last < len(node)):
            problems.append(((path,), f"{path}: not an entry of the list"))
        elif not isinstance(node, dict | list):
            problems.append(((path,), f"{path}: a single value has no {last!r}"))
        else:
            node[last] = value


def _index_follows(path: str, step: Any) -> bool:
    steps = path.split(".")
    at = steps.index(str(step))
    return at + 1 < len(steps) and steps[at + 1].isdigit()
