"""Pickle byte code as plain records: nothing is imported, constructed or called, whatever the bytes say.

A pickle is a program for a small stack machine; loading one with `pickle` runs it, and GLOBAL and
REDUCE may import and call anything. Here the same byte code fills plain lists, dicts and
`Record`\\ s, which only remember what would have been called. Names outside `allowed` and
operations that weights and statistics never need are refused.

Source: the opcodes and their effect on the stack are those of CPython's `pickletools`.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Collection
from typing import Any

from neurosim.errors import LoadError

MAX_OPCODES = 300_000
_KEYS = (str, bytes, int, float, bool, type(None))
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_FRESH: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict}


class Record:
    """What a pickle would have built by calling something.

    Attributes
    ----------
    name : str
        ``module.name`` of what would have been called; `args` its arguments, None for the name itself.
    state : object
        What would have been its ``__setstate__``.
    items : dict
        What would have been ``record[key] = value``.
    """

    __slots__ = ("args", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name, self.args = name, args
        self.state: Any = None
        self.items: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"Record({self.name})"


def read_pickle(where: str, stream: io.BytesIO, allowed: Collection[str]) -> Any:
    """The value that one pickle describes, with `Record` wherever something would be called.

    Parameters
    ----------
    where : str
        What errors call the file.
    stream : io.BytesIO
        Left behind the pickle's STOP.
    allowed : collection of str
        Full names (``module.name``), or packages with a dot at the end (``gym.spaces.``).

    Raises
    ------
    LoadError
        When the bytes are no pickle, are truncated, name something else, or need an operation
        that is not read.
    """
    machine = _Machine(where, allowed)
    n = 0
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            n += 1
            if n > MAX_OPCODES:
                raise LoadError(f"{where}: a pickle of more than {MAX_OPCODES:,} operations; statistics and weights need a few hundred")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise LoadError(f"{where}: truncated or not a pickle (operation {n + 1:,}: {str(error)[:120]}); copy or save it again") from None
    raise LoadError(f"{where}: truncated: the pickle has no end")


class _Machine:
    """The stack, the marks on it and the memo."""

    def __init__(self, where: str, allowed: Collection[str]) -> None:
        self.where = where
        self.names = frozenset(n for n in allowed if not n.endswith("."))
        self.packages = tuple(n for n in allowed if n.endswith("."))
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack is empty")
        return self.stack.pop()

    def above_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def step(self, name: str, argument: Any) -> None:
        """One operation, but for STOP."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _FRESH:
            self.stack.append(_FRESH[name]())
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name.startswith("TUPLE") or name in ("LIST", "DICT"):
            self._collect(name)
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            self._fill(name)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"):
            self._record(name, argument)
        elif name not in ("PROTO", "FRAME"):
            raise LoadError(f"{self.where}: pickle operation {name} is not read: weights and statistics do without; nothing was executed")

    def _collect(self, name: str) -> None:
        if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            taken = [self.pop() for _ in range(int(name[-1]))][::-1]
        else:
            taken = self.above_mark()
        if name == "DICT":
            self.stack.append({_key(k): v for k, v in zip(taken[::2], taken[1::2])})
        else:
            self.stack.append(taken if name == "LIST" else tuple(taken))

    def _fill(self, name: str) -> None:
        values = self.above_mark() if name.endswith("S") else [self.pop() for _ in range(2 if name == "SETITEM" else 1)][::-1]
        target = self.stack[-1]
        if name.startswith("APPEND"):
            if not isinstance(target, list):
                raise TypeError("append to something that is no list")
            target.extend(values)
            return
        items = target.items if isinstance(target, Record) else target
        if not isinstance(items, dict) or len(values) % 2:
            raise TypeError("items of something that is no dict")
        items.update((_key(k), v) for k, v in zip(values[::2], values[1::2]))

    def _record(self, name: str, argument: Any) -> None:
        if name in ("GLOBAL", "STACK_GLOBAL"):
            last = None if name == "GLOBAL" else self.pop()
            self.stack.append(self._named(argument.replace(" ", ".", 1) if name == "GLOBAL" else f"{self.pop()}.{last}"))
        elif name == "BINPERSID":
            self.stack.append(Record("persistent", (self.pop(),)))
        elif name == "BUILD":
            state = self.pop()
            self._record_on_top().state = state
        else:
            arguments = self.pop()
            called = self._record_on_top()
            self.stack[-1] = Record(called.name, tuple(arguments))

    def _record_on_top(self) -> Record:
        if not isinstance(self.stack[-1], Record):
            raise TypeError("a call of something that has no name")
        return self.stack[-1]

    def _named(self, name: str) -> Record:
        if name not in self.names and not name.startswith(self.packages or (" ",)):
            raise LoadError(f"{self.where}: the pickle asks for {name[:80]!r}, which neither weights nor statistics need: "
                            "it may be made to run code; nothing of it was executed")
        return Record(name)


def _key(value: Any) -> Any:
    """A key of a dict; others (nested tuples, records) are refused."""
    if not isinstance(value, _KEYS):
        raise TypeError(f"a dict key of type {type(value).__name__}")
    return value
