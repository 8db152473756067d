"""Reading a chip file: positions, origins of single figures, and every problem at once.

The YAML tree is brought into one canonical shape (figures with their own origin are unwrapped),
checked by the pydantic models of `neurosim.chip` and by `neurosim.chip_rules`, which span several
keys. Each problem keeps its path, and a path is found again in the file as line and column.

Trees are never changed in place: a changed tree shares what did not change with the old one, and
what is the same object needs no second look.
"""

from __future__ import annotations

import copy
import difflib
import re
import typing
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from neurosim import chip_rules, strict_yaml
from neurosim.chip_rules import Problem
from neurosim.chip_schema import EVERY
from neurosim.errors import ChipError
from neurosim.units import clipped

MAX_SHOWN = 50
"""Problems that are written out; the rest is a number."""

MAX_BYTES = 1 << 18
MAX_NODES = 5_000
"""Limits of a chip file; a real one is some kilobytes and some hundred values."""

_OWN_ORIGIN = ("arithmetic", "noc", "core", "timing", "area", "chips")
_RESERVED = ("figures", "settings")


@dataclass(frozen=True)
class Source:
    """Data of a chip file as written, where each key stands, and settings that were laid over it.

    `tree` is the data in its canonical shape; what the data shares with `before` is taken from there.
    """

    data: dict[str, Any]
    positions: strict_yaml.Positions
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    before: InitVar[Source | None] = None
    tree: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self, before: Source | None) -> None:
        object.__setattr__(self, "tree", canonical(self.data, before))

    @classmethod
    def read(cls, path_or_text: str | Path, known: list[str] | None = None) -> Source:
        """Read YAML. Raises ChipError naming `known` chips when no such file exists."""
        is_text = isinstance(path_or_text, str) and "\n" in path_or_text
        label = "<text>" if is_text else str(path_or_text)
        try:
            if not is_text and not Path(path_or_text).is_file():
                raise ChipError(_no_file(label, known or []))
            data, positions = (strict_yaml.read_text(str(path_or_text), max_bytes=MAX_BYTES, max_nodes=MAX_NODES) if is_text else
                               strict_yaml.read_file(path_or_text, max_bytes=MAX_BYTES, max_nodes=MAX_NODES))
        except strict_yaml.StrictYamlError as error:
            raise ChipError(f"{label}:{error.line}:{error.column}: {error.problem}") from None
        except OSError as error:
            raise ChipError(f"cannot read {clipped(label, 200)}: {error.strerror}") from None
        if not isinstance(data, dict):
            line, column = positions.get((), (1, 1))
            found = "nothing in it" if data is None else f"{'a list' if isinstance(data, list) else clipped(data)} in its place"
            raise ChipError(f"{label}:{line}:{column}: a chip file is a mapping with name, kind, core, cost, ...; there is {found}")
        return cls(data, positions, label)

    def where(self, path: tuple[Any, ...]) -> str:
        """``file:line:column`` of a path, or the setting that put it there."""
        dotted = ".".join(str(p) for p in path)
        for setting in self.settings:
            if _same(dotted, setting) or (path and path not in self.positions and setting.startswith(dotted + ".")):
                return f"setting {setting!r}"
        line, column = strict_yaml.position_of(self.positions, path)
        return f"{self.label}:{line}:{column}"


def _no_file(label: str, known: list[str]) -> str:
    close = difflib.get_close_matches(label, known, 3)
    hint = f"did you mean {', '.join(close)}?" if close else f"chips of the library: {', '.join(known)}"
    return f"no chip and no file {clipped(label, 200)}; {hint}"


def _same(dotted: str, setting: str) -> bool:
    bare = ".".join(p for p in dotted.split(".") if not p.isdecimal())
    return any(d == setting or d.startswith(setting + ".") or setting.startswith(d + ".") and d.count(".") > 0
               for d in (dotted, bare))


def validated(model: type[Any], source: Source, problems: list[Problem] | None = None,
              earlier: tuple[Source, Any] | None = None) -> Any:
    """Build `model` from a source.

    Parameters
    ----------
    earlier : (source, chip) or None
        A chip that was built from another source: the parts that the data of both share are taken over.

    Raises
    ------
    ChipError
        With all problems, one per line.
    """
    found: list[tuple[tuple[Any, ...], Any]] = list(problems or [])
    found += [((key,), f"unknown key {key!r}") for key in _RESERVED if key in source.data]
    chip, changed, taken = None, None, source.tree
    if earlier is not None:
        old = earlier[0].data
        changed = {k for k in source.data.keys() | old.keys() if source.data.get(k) is not old.get(k)}
        taken = _shared(source.tree, source.data, old, earlier[1])
    try:
        chip = model.model_validate(taken)
    except ValidationError as error:
        # pydantic counts only the good entries of a list; its length was wrong only if nothing was in it
        found += [(_place(e), e) for e in error.errors(include_url=False) if not (e["type"] == "too_short" and e["input"])
                  or e["loc"][-1] == "input_port"]
    found += chip_rules.problems(source.tree, changed)
    if found:
        raise ChipError(_message(found, model, source))
    return chip


def _shared(tree: dict[str, Any], data: dict[str, Any], earlier: dict[str, Any], chip: Any) -> dict[str, Any]:
    """`tree` with the validated parts of `chip` wherever `data` and `earlier` hold the same object."""
    taken = {k: getattr(chip, k) if k != "figures" and data[k] is earlier.get(k) else v for k, v in tree.items()}
    if (new := data.get("cost")) is not (old := earlier.get("cost")) and isinstance(new, dict) and isinstance(old, dict):
        taken["cost"] = {k: getattr(chip.cost, k) if v is not None and v is old.get(k) else v for k, v in new.items()}
    return taken


def _message(found: list[tuple[tuple[Any, ...], Any]], model: type[Any], source: Source) -> str:
    """One line per problem in the order of the file; hints are looked up only for those that are shown."""
    at = [(_in_file(path, source.data), what) for path, what in found]
    at.sort(key=lambda entry: strict_yaml.position_of(source.positions, entry[0]))
    lines = dict.fromkeys(f"{source.where(path)}: {what if isinstance(what, str) else _text(what, model)}" for path, what in at[:MAX_SHOWN])
    return "\n".join([*lines, *([f"... and {len(at) - MAX_SHOWN:,} more problems"] if len(at) > MAX_SHOWN else [])])


def canonical(data: dict[str, Any], before: Source | None = None) -> dict[str, Any]:
    """The tree with ``{value: v, grade: g, source: s}`` replaced by v, and the origins gathered in ``figures``."""
    tree: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    for key, section in data.items():
        if key in _RESERVED or section is None:
            continue  # a section given as null is a section left out
        if key not in _OWN_ORIGIN:
            tree[key] = section
        elif before is not None and section is before.data.get(key):
            tree[key] = before.tree[key]
            figures |= {p: o for p, o in before.tree.get("figures", {}).items() if p == key or p.startswith(f"{key}.")}
        elif (value := _plain(section, key, figures)) is not None:
            tree[key] = value
    return tree | ({"figures": figures} if figures else {})


def _plain(node: Any, path: str, figures: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        if "value" in node:
            figures[path] = {k: v for k, v in node.items() if k != "value"}
            return node["value"]
        return {k: _plain(v, f"{path}.{k}", figures) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v, f"{path}.{i}", figures) for i, v in enumerate(node)]
    return node


def _in_file(path: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    """The part of a path that exists in the file: steps added by normalisation are skipped."""
    if path and path[0] == "figures" and len(path) > 1:
        path = (*(int(p) if p.isdecimal() else p for p in path[1].split(".")), *path[2:])
    found: list[Any] = []
    for step in path:
        if isinstance(data, dict) and step in data or isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
            found.append(step)
    return tuple(found)


def _place(error: Any) -> tuple[Any, ...]:
    path = tuple(error["loc"])
    return (*path[:-1], error["input"]) if error["type"] == "invalid_key" else path


_DUE = {"dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping", "tuple_type": "a list",
        "string_type": "text", "bool_type": "true or false", "float_type": "a number", "finite_number": "a finite number"}


def _text(error: Any, model: type[BaseModel]) -> str:
    """What pydantic found, in the words of a chip file."""
    path, kind, value, limits = tuple(error["loc"]), error["type"], error.get("input"), error.get("ctx", {})
    name = _name(path)
    if kind == "extra_forbidden":
        return _unknown(path[-1], _keys_at(model, path[:-1]))
    if kind == "missing" and isinstance(path[-1], str):
        return f"key {path[-1]!r} is missing"
    if kind == "value_error":
        return f"{name}: {limits['error']}"
    if kind == "literal_error":
        allowed = [part.strip(" '") for part in limits["expected"].replace(" or ", ", ").split(",")]
        close = difflib.get_close_matches(str(value)[:100], allowed, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(allowed)}"
        return f"{name}: unknown value {clipped(value)}; {hint}"
    if kind == "invalid_key":
        return f"unknown key {clipped(value)}: a key is text"
    if kind == "string_too_short":
        return f"{name}: a text that is not empty is due"
    if kind in _DUE:
        return f"{name}: {'a mapping or a list of them' if path == ('core',) else _DUE[kind]} is due (got {clipped(value)})"
    if kind == "int_type":
        return f"{name}: {clipped(value)} where a whole number is due"
    if kind in ("greater_than_equal", "less_than_equal"):
        noun, limit = "number" if name in ("cycles", "exponent") else "whole number", limits.get("ge", limits.get("le"))
        return f"{name}: {clipped(value)} where a {noun} of {limit:.0f} or {'more' if 'ge' in limits else 'less'} is due"
    if kind in ("missing", "too_long", "too_short"):
        return f"{name}: {'two whole numbers [x, y] are' if name == 'input_port' else 'at least one entry is'} due (got {clipped(value)})"
    return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]} (got {clipped(value)})"


def _name(path: tuple[Any, ...]) -> str:
    path = path[:-2] if path[-1:] == ("[key]",) else path
    names = [str(p) for p in path if isinstance(p, str) and p != EVERY]
    if len(names) > 1 and names[-2] in ("includes", "grade", "source", "operating_point"):
        return names[-2]
    return names[-1] if names else "file"


def _unknown(key: Any, allowed: list[str]) -> str:
    close = difflib.get_close_matches(str(key)[:100], allowed, 1)
    return f"unknown key {clipped(key)}; " + (f"did you mean {close[0]!r}?" if close else f"known: {', '.join(allowed)}")


def _keys_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Keys that the model at `path` knows."""
    for step in path:
        info = model.model_fields.get(step) if isinstance(step, str) else None
        inner = _model_in(info.annotation) if info else None
        model = inner or model
    return [f.alias or k for k, f in model.model_fields.items() if k not in _RESERVED and f.alias != EVERY]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in typing.get_args(annotation) if (m := _model_in(a))), None)


def with_value(data: dict[str, Any], path: str, value: Any, problems: list[Problem]) -> dict[str, Any]:
    """A tree with `value` at a dotted path; it shares all else with `data`.

    A step through a list goes to every entry, unless the step is a number. What cannot be is added
    to `problems`.
    """
    steps = [int(step) if re.fullmatch("[0-9]{1,9}", step) else step for step in path.split(".")]
    return _put(data, steps, copy.deepcopy(value) if isinstance(value, dict | list) else value, path, problems)  # type: ignore[no-any-return]


def _put(node: Any, steps: list[Any], value: Any, path: str, problems: list[Problem]) -> Any:
    step, rest = steps[0], steps[1:]
    if isinstance(node, list):
        if not isinstance(step, int):
            return [_put(entry, steps, value, path, problems) for entry in node]
        if step < len(node):
            return [*node[:step], _put(node[step], rest, value, path, problems) if rest else value, *node[step + 1:]]
        problems.append(((path,), f"{path}: there are {len(node)} entries, numbered from 0"))
    elif not isinstance(node, dict):
        problems.append(((path,), f"{path}: a single value has no {step!r}"))
    elif not rest:
        return {**node, step: value}
    elif isinstance(step, int):
        problems.append(((path,), f"{path}: nothing can stand at {step!r} there"))
    elif not isinstance(child := node.get(step), dict | list | None):
        problems.append(((path,), f"{path}: {step!r} holds a single value"))
    else:
        return {**node, step: _put({} if child is None else child, rest, value, path, problems)}
    return node
