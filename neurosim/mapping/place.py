"""Place: give every core a seat. Seats are (tile, place in the tile); tiles are counted over all chips.

All strategies have one signature: ``(n_seats_of_tile, traffic, port) -> tile of each core``.

row_major   tiles row by row
snake       rows alternately from left and right, so that neighbours in order are neighbours on the mesh
greedy      the core with most traffic to cores that are placed takes the seat with the fewest event hops
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neurosim.errors import MappingError

Strategy = Callable[[np.ndarray, np.ndarray, tuple[int, int]], np.ndarray]


def _in_order(seats: np.ndarray, tiles: list[tuple[int, int]], n_cores: int) -> np.ndarray:
    order = [tile for tile in tiles for _ in range(seats[tile])]
    return np.array(order[:n_cores], np.int64).reshape(-1, 2)


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
    x, y = np.indices(seats.shape)
    tile = np.zeros((n, 2), np.int64)
    cost = both[:n, n, None, None] * (abs(x - port[0]) + abs(y - port[1]))
    bond, waiting = both[:n, n].copy(), np.ones(n, bool)
    for _ in range(n):
        core = int(np.where(waiting, bond, -1).argmax())
        at = np.unravel_index(np.where(free > 0, cost[core], np.inf).argmin(), seats.shape)
        tile[core], waiting[core] = at, False
        free[at] -= 1
        bond += both[:n, core]
        cost += both[:n, core, None, None] * (abs(x - at[0]) + abs(y - at[1]))
    return tile


STRATEGIES: dict[str, Strategy] = {"row_major": row_major, "snake": snake, "greedy": greedy}


def by_hand(given: Mapping[Any, tuple[int, int]], names: list[tuple[str, int]], seats: np.ndarray) -> np.ndarray:
    """Tiles given by the user: layer name, or (layer name, number of the slice) -> (x, y).

    Parameters
    ----------
    given : mapping
        ``input`` may name the tile of the input port.
    names : list of (layer name, number of the slice)
        For each core, of its first slice.
    seats : ndarray, int64, (width, height)

    Raises
    ------
    MappingError
        For layers without a place, unknown names, tiles outside the mesh and crowded tiles.
    """
    allowed = {"input", *names, *(layer for layer, _ in names)}
    problems = [f"placement names {key!r}, which is no layer or slice" for key in given if key not in allowed]
    problems += [f"placement of {key!r}: tile {tuple(tile)} lies outside the mesh of {seats.shape[0]} x {seats.shape[1]}"
                 for key, tile in given.items()
                 if not (0 <= tile[0] < seats.shape[0] and 0 <= tile[1] < seats.shape[1])]
    tiles: list[tuple[int, int]] = []
    for layer, i in names:
        tile = given.get((layer, i), given.get(layer))
        if tile is None:
            problems.append(f"placement gives no tile for layer {layer!r}, slice {i}")
        else:
            tiles.append((int(tile[0]), int(tile[1])))
    for at in dict.fromkeys(tiles):
        if not problems and tiles.count(at) > seats[at]:
            problems.append(f"placement puts {tiles.count(at)} cores on tile {at} > {seats[at]} cores per tile")
    if problems:
        raise MappingError("\n".join(problems))
    return np.array(tiles, np.int64).reshape(-1, 2)
