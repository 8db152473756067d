"""Placement from YAML: the name of a strategy, or the tile of every slice by hand.

::

    strategy: greedy              # row_major, snake, greedy or quadratic

::

    tiles:
      input: [0, 0]               # tile of the input port (left out: the chip's own)
      conv1: [[0, 0], [1, 0]]     # one tile per slice, in the order of the slices
      fc1: [2, 0]                 # one tile: all slices of the layer stand on it

A tile is [x, y], counted from 0 over all chips, which stand side by side along x. The order of the
slices of a layer is that of ``neurosim compile --json``. Nothing else may stand in the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurosim import strict_yaml
from neurosim.errors import MappingError
from neurosim.mapping.place import STRATEGIES

PORT = "input"
"""Name under which the input port is placed."""


class Tiles(dict[Any, tuple[int, int]]):
    """Tiles by hand, as `neurosim.mapping.compile` takes them: layer, or (layer, number of the slice) -> (x, y).

    ``where`` holds file, line and column of each key, and under None those of the whole.
    """

    def __init__(self, tiles: Mapping[Any, tuple[int, int]], where: Mapping[Any, str]) -> None:
        super().__init__(tiles)
        self.where = dict(where)


def read_placement(placement: str | Path) -> str | Tiles:
    """Read a placement.

    Parameters
    ----------
    placement : str or Path
        Name of a strategy, or a YAML file (a str with a line break, or one that starts with a
        brace, is YAML text).

    Returns
    -------
    str or Tiles
        Name of a strategy, or tiles by hand.

    Raises
    ------
    MappingError
        When there is no such strategy or file, and with every problem of a file: file, line and
        column, what is wrong and what would help.
    """
    if isinstance(placement, str) and placement in STRATEGIES:
        return placement
    if not isinstance(placement, str | Path):
        raise MappingError(f"placement {placement!r}: a strategy, a placement file, or tiles by hand is due")
    is_text = isinstance(placement, str) and ("\n" in placement or placement.lstrip().startswith("{"))
    label = "<text>" if is_text else str(placement)
    if not is_text and not _is_file(label):
        close = difflib.get_close_matches(label, STRATEGIES, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(STRATEGIES)}, a placement file, or tiles by hand"
        raise MappingError(f"unknown placement {label!r}; {hint}")
    try:
        data, positions = strict_yaml.read_text(str(placement)) if is_text else strict_yaml.read_file(placement)
    except strict_yaml.StrictYamlError as error:
        raise MappingError(f"{label}:{error.line}:{error.column}: {error.problem}") from None
    except OSError as error:
        raise MappingError(f"cannot read {label}: {error.strerror}") from None
    return _Reader(label, positions).read(data)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:      # a name that no file can have
        return False


class _Reader:
    """Turns data into a placement and gathers problems with their places."""

    def __init__(self, label: str, positions: strict_yaml.Positions) -> None:
        self.label, self.positions = label, positions
        self.problems: list[tuple[strict_yaml.Position, str]] = []

    def at(self, *path: Any) -> str:
        line, column = strict_yaml.position_of(self.positions, path)
        return f"{self.label}:{line}:{column}"

    def refuse(self, text: str, *path: Any) -> None:
        self.problems.append((strict_yaml.position_of(self.positions, path), f"{self.at(*path)}: {text}"))

    def read(self, data: Any) -> str | Tiles:
        tiles: dict[Any, tuple[int, int]] = {}
        where: dict[Any, str] = {}
        if not isinstance(data, dict):
            self.refuse("a placement is a mapping: strategy: NAME, or tiles: {LAYER: [x, y], ...}")
        else:
            for key in data:
                if key not in ("strategy", "tiles"):
                    self.refuse(f"unknown key {key!r}; known: strategy, tiles", key)
            if len(data.keys() & {"strategy", "tiles"}) != 1:
                self.refuse("a placement holds one of strategy and tiles" + (", not both" if len(data) > 1 else ""))
            if "strategy" in data:
                self._strategy(data["strategy"])
            if "tiles" in data:
                tiles, where = self._tiles(data["tiles"])
        if self.problems:
            raise MappingError("\n".join(text for _, text in sorted(self.problems)))
        return Tiles(tiles, where) if "tiles" in data else data["strategy"]

    def _strategy(self, name: Any) -> None:
        if not (isinstance(name, str) and name in STRATEGIES):
            close = difflib.get_close_matches(str(name), STRATEGIES, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(STRATEGIES)}"
            self.refuse(f"unknown strategy {name!r}; {hint}", "strategy")

    def _tiles(self, given: Any) -> tuple[dict[Any, tuple[int, int]], dict[Any, str]]:
        tiles: dict[Any, tuple[int, int]] = {}
        where: dict[Any, str] = {None: self.at("tiles")}
        if not isinstance(given, dict) or not given:
            self.refuse("tiles is a mapping: LAYER: [x, y], or LAYER: [[x, y], ...] with one tile per slice", "tiles")
            return tiles, where
        for layer, value in given.items():
            path = ("tiles", layer)
            if not isinstance(layer, str):
                self.refuse(f"layer {layer!r} is not text; put its name in quotes", *path)
            elif isinstance(value, list) and value and all(isinstance(v, list) for v in value) and layer != PORT:
                for i, tile in enumerate(value):
                    tiles[layer, i], where[layer, i] = self._tile(tile, layer, *path, i), self.at(*path, i)
            else:
                tiles[layer], where[layer] = self._tile(value, layer, *path), self.at(*path)
        return tiles, where

    def _tile(self, value: Any, layer: str, *path: Any) -> tuple[int, int]:
        if isinstance(value, list) and len(value) == 2 and all(type(v) is int and v >= 0 for v in value):
            return value[0], value[1]
        kinds = "[x, y], two whole numbers of 0 or more" + ("" if layer == PORT else ", or a list of such tiles, one per slice")
        self.refuse(f"{layer}: {value!r} is not a tile; a tile is {kinds}", *path)
        return 0, 0
