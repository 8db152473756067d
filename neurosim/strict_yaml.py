"""Strict YAML: what a hand-written description may contain, with line and column of everything.

Rules (YAML 1.2 core schema, narrowed):

- duplicate keys, explicit tags, several documents and non-scalar keys are errors;
- only `true` and `false` are booleans (`on`, `yes`, `12:30:45` stay text), `1e-3` is a float;
- `.inf`, `.nan` and numbers that overflow are errors;
- size, depth, number of nodes and number of aliases are limited before anything is built.

Values are built from parser events with a stack of our own, so that depth costs no recursion.
"""

from __future__ import annotations

import copy
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_NODES = 20_000
MAX_ALIASES = 64

Position = tuple[int, int]
Positions = dict[tuple[Any, ...], Position]

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"(?:0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


class StrictYamlError(ValueError):
    """The text is refused; `problem` says why, `line` and `column` (from 1) say where, `source` names the file."""

    def __init__(self, problem: str, line: int, column: int, source: str | None = None) -> None:
        self.problem, self.line, self.column, self.source = problem, line, column, source
        where = f"{source}:{line}:{column}" if source else f"line {line}, column {column}"
        super().__init__(f"{where}: {problem}")


def read_text(text: str, source: str | None = None, *, max_bytes: int = MAX_BYTES, max_nodes: int = MAX_NODES) -> tuple[Any, Positions]:
    """Read one YAML document from text; no file is ever opened.

    Parameters
    ----------
    text : str
    source : str or None
        Name of the file that the text comes from, for messages.
    max_bytes, max_nodes : int
        Limits on the size of the text and on the number of values and keys.

    Returns
    -------
    data : None, bool, int, float, str, list or dict
    positions : dict
        Path (tuple of keys and list indices; the document is ``()``) -> (line, column), from 1.
        A mapping entry stands where its key stands. See `position_of`.

    Raises
    ------
    StrictYamlError
        On every violation of the rules at the head of this module.
    """
    if len(text) > max_bytes:
        raise StrictYamlError(f"{len(text):,} characters > limit {max_bytes:,}", 1, 1, source)
    try:
        return _build(text, max_nodes)
    except StrictYamlError as error:
        raise StrictYamlError(error.problem, error.line, error.column, source) from None


def read_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, max_nodes: int = MAX_NODES) -> tuple[Any, Positions]:
    """Read one YAML document from a UTF-8 file; takes and returns what `read_text` does.

    Raises
    ------
    StrictYamlError
        On every violation of the rules at the head of this module.
    OSError
        When the file cannot be read.
    """
    path = Path(path)
    if (size := path.stat().st_size) > max_bytes:
        raise StrictYamlError(f"{size:,} bytes > limit {max_bytes:,}", 1, 1, str(path))
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[:error.start].decode("utf-8")
        at = _line_and_column(before, len(before))
        raise StrictYamlError(f"not UTF-8 text (byte {error.start:,})", *at, str(path)) from None
    return read_text(text, str(path), max_bytes=max_bytes, max_nodes=max_nodes)


def position_of(positions: Positions, path: tuple[Any, ...]) -> Position:
    """Line and column of `path`, or of its nearest parent that is known."""
    while path and path not in positions:
        path = path[:-1]
    return positions.get(path, (1, 1))


@dataclass
class _Open:
    """A list or mapping under construction; `key` is the pending key of a mapping."""

    value: list[Any] | dict[Any, Any]
    path: tuple[Any, ...]
    anchor: str | None
    nodes_before: int
    key: Any = None
    has_key: bool = False
    key_lines: dict[Any, int] = field(default_factory=dict)


class _Builder:
    """Builds data and positions from parser events."""

    def __init__(self, max_nodes: int) -> None:
        self.max_nodes = max_nodes
        self.stack: list[_Open] = []
        self.positions: Positions = {}
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.n_nodes = self.n_aliases = 0
        self.root: Any = None

    def count(self, nodes: int, at: Position) -> None:
        self.n_nodes += nodes
        if self.n_nodes > self.max_nodes:
            raise StrictYamlError(f"more than {self.max_nodes:,} values", *at)

    def place(self, value: Any, at: Position) -> tuple[Any, ...]:
        """Put a value (or a fresh container) where the parser stands, and return its path."""
        if not self.stack:
            self.root = value
            self.positions[()] = at
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            path = (*top.path, len(top.value))
            top.value.append(value)
            self.positions[path] = at
            return path
        path = (*top.path, top.key)
        top.value[top.key] = value
        top.has_key = False
        return path

    def awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and not self.stack[-1].has_key

    def key(self, key: Any, at: Position) -> None:
        top = self.stack[-1]
        if key in top.value:
            raise StrictYamlError(f"key {key!r} is given twice (first on line {top.key_lines[key]})", *at)
        top.key, top.has_key = key, True
        top.key_lines[key] = at[0]
        path = (*top.path, key)
        self.positions[path] = at

    def scalar(self, event: Any, at: Position) -> None:
        self.count(1, at)
        value = _resolve(event.value, at) if event.style is None else event.value
        if self.awaits_key():
            self.key(value, at)
            return
        if event.anchor:
            self.anchors[event.anchor] = (value, 1)
        self.place(value, at)

    def open(self, value: list[Any] | dict[Any, Any], event: Any, at: Position) -> None:
        if self.awaits_key():
            raise StrictYamlError("a key must be a single value", *at)
        if len(self.stack) >= MAX_DEPTH:
            raise StrictYamlError(f"nested deeper than {MAX_DEPTH}", *at)
        self.count(1, at)
        path = self.place(value, at)
        self.stack.append(_Open(value, path, event.anchor, self.n_nodes))

    def close(self) -> None:
        top = self.stack.pop()
        if top.anchor:
            self.anchors[top.anchor] = (top.value, self.n_nodes - top.nodes_before + 1)

    def alias(self, event: Any, at: Position) -> None:
        self.n_aliases += 1
        if self.n_aliases > MAX_ALIASES:
            raise StrictYamlError(f"more than {MAX_ALIASES} aliases", *at)
        if event.anchor not in self.anchors or self.awaits_key():
            raise StrictYamlError(f"alias *{event.anchor} names no finished value, or stands for a key", *at)
        value, nodes = self.anchors[event.anchor]
        self.count(nodes, at)
        self.place(copy.deepcopy(value), at)


def _build(text: str, max_nodes: int) -> tuple[Any, Positions]:
    import yaml

    builder, n_documents = _Builder(max_nodes), 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            at = (event.start_mark.line + 1, event.start_mark.column + 1)
            if getattr(event, "tag", None) is not None:
                raise StrictYamlError(f"tag {event.tag!r} is not allowed", *at)
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents > 1:
                    raise StrictYamlError("a second document starts here; one is allowed", *at)
            elif isinstance(event, yaml.ScalarEvent):
                builder.scalar(event, at)
            elif isinstance(event, yaml.AliasEvent):
                builder.alias(event, at)
            elif isinstance(event, yaml.SequenceStartEvent):
                builder.open([], event, at)
            elif isinstance(event, yaml.MappingStartEvent):
                builder.open({}, event, at)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                builder.close()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise StrictYamlError(_parser_text(error, text, mark), *at) from None
    except yaml.YAMLError as error:
        at = _line_and_column(text, getattr(error, "position", 0))
        raise StrictYamlError(f"not YAML text: {getattr(error, 'reason', error)}", *at) from None
    return builder.root, builder.positions


def _parser_text(error: Any, text: str, mark: Any) -> str:
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(error.problem):
        return "a tab character; indent with spaces"
    return "; ".join(part for part in (error.problem, error.context) if part)


def _line_and_column(text: str, position: int) -> Position:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _resolve(text: str, at: Position) -> Any:
    """Value of a plain scalar by the YAML 1.2 core schema."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        if len(text) > 30:
            raise StrictYamlError(f"integer of {len(text):,} digits", *at)
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _NOT_FINITE.match(text):
        raise StrictYamlError(f"{text} is not a finite number", *at)
    if _FLOAT.match(text):
        value = float(text)
        if not math.isfinite(value):
            raise StrictYamlError(f"{text} is not a finite number", *at)
        return value
    return text
