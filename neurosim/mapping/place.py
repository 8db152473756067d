"""Place: give every core a seat. Seats are (tile, place in the tile); tiles are counted over all chips.

All strategies have one signature: ``(n_seats_of_tile, traffic, port) -> tile of each core``.

row_major   tiles row by row
snake       rows alternately from left and right, so that neighbours in order are neighbours on the mesh
greedy      the core with most traffic to cores that are placed takes the seat with the fewest event hops
quadratic   fewest event hops: the quadratic assignment problem, see `quadratic_assignment`

Event hops of a placement are the sum over pairs of cores of events x Manhattan distance, the input
port being a core that cannot move. They are the links that unicast messages cross.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from neurosim.errors import MappingError
from neurosim.mapping import quadratic_assignment

Strategy = Callable[[np.ndarray, np.ndarray, tuple[int, int]], np.ndarray]


def _in_order(seats: np.ndarray, tiles: list[tuple[int, int]], n_cores: int) -> np.ndarray:
    order = islice((tile for tile in tiles for _ in range(min(seats[tile], n_cores))), n_cores)
    return np.array(list(order), np.int64).reshape(-1, 2)


def row_major(seats: np.ndarray, traffic: np.ndarray, port: tuple[int, int]) -> np.ndarray:
    """Tiles row by row.

    Parameters
    ----------
    seats : ndarray, int64, (width, height)
        Cores that fit on each tile.
    traffic : ndarray, float64, (cores + 1, cores + 1)
        Events between cores; the last row and column are the input port.
    port : (int, int)

    Returns
    -------
    ndarray, int64, (cores, 2)
        Tile of each core.
    """
    width, height = seats.shape
    return _in_order(seats, [(x, y) for y in range(height) for x in range(width)], len(traffic) - 1)


def snake(seats: np.ndarray, traffic: np.ndarray, port: tuple[int, int]) -> np.ndarray:
    """Rows alternately from left to right and back; parameters as in `row_major`."""
    width, height = seats.shape
    tiles = [(x if y % 2 == 0 else width - 1 - x, y) for y in range(height) for x in range(width)]
    return _in_order(seats, tiles, len(traffic) - 1)


def greedy(seats: np.ndarray, traffic: np.ndarray, port: tuple[int, int]) -> np.ndarray:
    """Place by traffic, most connected core first; parameters as in `row_major`. Ties go to the lower index."""
    n, free = len(traffic) - 1, seats.copy()
    both = traffic + traffic.T
    columns, rows = np.arange(seats.shape[0]), np.arange(seats.shape[1])
    tile = np.zeros((n, 2), np.int64)
    bond, placed = both[:n, n].copy(), np.zeros(n, bool)
    for _ in range(n):
        core = int(np.where(placed, -1.0, bond).argmax())
        partner = np.flatnonzero(placed & (both[core, :n] > 0))
        events = np.append(both[core, partner], both[core, n])
        x, y = np.append(tile[partner], [port], axis=0).T
        # a Manhattan distance is one part in x and one in y
        in_x, in_y = events @ abs(x[:, None] - columns), events @ abs(y[:, None] - rows)
        at = np.unravel_index(np.where(free > 0, in_x[:, None] + in_y, np.inf).argmin(), seats.shape)
        tile[core], placed[core] = at, True
        free[at] -= 1
        bond += both[:n, core]
    return tile


def quadratic(seats: np.ndarray, traffic: np.ndarray, port: tuple[int, int]) -> np.ndarray:
    """Place with few event hops, never more than `greedy`; parameters as in `row_major`."""
    return quadratic_assignment.improved(seats, traffic, port, greedy(seats, traffic, port))


STRATEGIES: dict[str, Strategy] = {"row_major": row_major, "snake": snake, "greedy": greedy, "quadratic": quadratic}


def event_hops(tiles: np.ndarray, traffic: np.ndarray, port: tuple[int, int]) -> float:
    """Sum over pairs of cores of events x Manhattan distance.

    Parameters
    ----------
    tiles : ndarray, int64, (cores, 2)
    traffic : ndarray, float64, (cores + 1, cores + 1)
        The last row and column are the input port.
    port : (int, int)
    """
    at = np.append(tiles, [port], axis=0)
    return float((traffic * abs(at[:, None] - at).sum(2)).sum())


def by_hand(given: Mapping[Any, tuple[int, int]], names: list[tuple[str, int]], seats: np.ndarray) -> np.ndarray:
    """Tiles given by the user: layer name, or (layer name, number of the slice) -> (x, y).

    Parameters
    ----------
    given : mapping
        ``input`` may name the tile of the input port. Where it came from a file
        (`placement_file.Tiles`), problems say where they stand there.
    names : list of (layer name, number of the slice)
        For each core, of its first slice.
    seats : ndarray, int64, (width, height)

    Raises
    ------
    MappingError
        For layers without a place, unknown names, tiles outside the mesh and crowded tiles.
    """
    where: Mapping[Any, str] = getattr(given, "where", {})
    problems = [f"{where[key]}: {text}" if key in where else text for key, text in _problems(given, names, seats)]
    if problems:
        raise MappingError("\n".join(problems))
    tiles = [tuple(given.get(name, given.get(name[0], ()))) for name in names]
    return np.array(tiles, np.int64).reshape(-1, 2)


def _is_tile(tile: Any) -> bool:
    if not isinstance(tile, Sequence | np.ndarray) or len(tile) != 2:
        return False
    return all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in tile)


def _problems(given: Mapping[Any, tuple[int, int]], names: list[tuple[str, int]], seats: np.ndarray) -> list[tuple[Any, str]]:
    """What is wrong with tiles by hand: key of `given` (None: the whole), and text."""
    n_slices: dict[str, int] = {}
    for layer, i in names:
        n_slices[layer] = max(n_slices.get(layer, 0), i + 1)
    problems: list[tuple[Any, str]] = []
    for key, tile in given.items():
        layer = key[0] if isinstance(key, tuple) and key else key
        if key not in ("input", *names, *n_slices):
            count = n_slices.get(layer) if isinstance(layer, str) else None
            known = f"layer {layer!r} has {count} slice{'s' * (count != 1)}, numbered from 0" if count else (
                f"layers: {', '.join(n_slices)}")
            problems.append((key, f"placement names {key!r}, which is no layer or slice; {known}"))
        elif not _is_tile(tile):
            problems.append((key, f"placement of {key!r}: {tile!r} is not a tile (x, y)"))
        elif not (0 <= tile[0] < seats.shape[0] and 0 <= tile[1] < seats.shape[1]):
            problems.append((key, f"placement of {key!r}: tile {tuple(tile)} lies outside the mesh of "
                                  f"{seats.shape[0]} x {seats.shape[1]} tiles"))
    problems += [(None, f"placement gives no tile for layer {layer!r}, slice {i}")
                 for layer, i in names if (layer, i) not in given and layer not in given]
    if problems:
        return problems
    on: dict[tuple[int, int], list[Any]] = {}
    for name in names:
        key = name if name in given else name[0]
        on.setdefault((int(given[key][0]), int(given[key][1])), []).append(key)
    return [(keys[-1], f"placement puts {len(keys)} cores on tile {at} > {seats[at]} cores per tile")
            for at, keys in on.items() if len(keys) > seats[at]]
