"""Paths on a mesh of tiles: along x first, then along y; chips stand side by side along x.

A link is (tile index) * 4 + direction, of the tile that it leaves; a tile's index is y * width + x.
A link between the last column of one chip and the first of the next is a hop between chips, not one in x.
"""

from __future__ import annotations

import numpy as np

RIGHT, LEFT, DOWN, UP = range(4)
"""Directions of links: +x, -x, +y, -y."""

X, Y, CHIP, TILE = 0, 1, 2, 3
"""Columns of hop counts: links in x, links in y, links between chips, messages that stay in their tile."""

HOP_KINDS = ("x", "y", "chip", "local")
"""Names of these columns in cost tables and counters."""


def hops_of_paths(source: np.ndarray, target: np.ndarray, chip_width: int) -> np.ndarray:
    """Hops of each path (int64, (paths, 4)): |dx| and |dy| links, those over the edge of a chip apart; 1 in `TILE` for no link.

    Parameters
    ----------
    source, target : ndarray, int64, (paths, 2)
        Tiles.
    chip_width : int
        Tiles of a chip in x.
    """
    links = np.abs(target - source)
    between = np.abs(target[:, 0] // chip_width - source[:, 0] // chip_width)
    return np.stack([links[:, 0] - between, links[:, 1], between, links.sum(1) == 0], 1).astype(np.int64)


def hop_kind(link: np.ndarray, width: int, chip_width: int) -> np.ndarray:
    """Column of the hop counts that each link belongs to (int64)."""
    direction, x = link % 4, link // 4 % width
    edge = np.where(direction == RIGHT, (x + 1) % chip_width, x % chip_width) == 0
    return np.where(direction >= DOWN, Y, np.where(edge, CHIP, X)).astype(np.int64)


def paths(source: np.ndarray, target: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Links from tile to tile, x first; path after path.

    A link is (tile index) * 4 + direction, of the tile that it leaves.

    Parameters
    ----------
    source, target : ndarray, int64, (paths, 2)
    width : int
        Tiles of the mesh in x.

    Returns
    -------
    n_links : ndarray, int64, (paths,)
    link : ndarray, int32
    """
    delta = target - source
    forward, along = delta > 0, np.abs(delta)
    # two straight runs per path: in x along the row of the source, in y along the column of the target
    corner = source[:, 1] * width + np.stack([source[:, 0], target[:, 0]])
    first = (corner.T * 4 + np.where(forward, [RIGHT, DOWN], [LEFT, UP])).ravel()
    step = (np.where(forward, 4, -4) * np.array([1, width])).ravel()
    size = along.ravel()
    first = first - step * (size.cumsum() - size)
    link = np.repeat(first, size) + np.repeat(step, size) * np.arange(size.sum())
    return along.sum(1), link.astype(np.int32)


def link_name(link: int, width: int) -> str:
    """``(1, 2) +x``: the tile that a link leaves, and its direction."""
    tile, direction = divmod(link, 4)
    return f"({tile % width}, {tile // width}) {('+x', '-x', '+y', '-y')[direction]}"
