"""Route: messages travel along x first, then along y; chips stand side by side along x.

Unicast sends one message per target core and each crosses its own links. Multicast sends one
message over the tree that these paths form, and each link of the tree is crossed once.
A link between the last column of one chip and the first of the next is a `chip` hop, not an `x` hop.
"""

from __future__ import annotations

import numpy as np

from neurosim.program import HOST, Axons, Routes

RIGHT, LEFT, DOWN, UP = range(4)
"""Directions of links: +x, -x, +y, -y."""

X, Y, CHIP, TILE = 0, 1, 2, 3
"""Columns of hop counts: links in x, links in y, links between chips, messages that stay in their tile."""


def path(source: tuple[int, int], target: tuple[int, int], width: int) -> list[int]:
    """Links from tile to tile, x first. A link is (tile index) * 4 + direction, of the tile that it leaves."""
    (x, y), links = source, []
    while x != target[0]:
        direction = RIGHT if target[0] > x else LEFT
        links.append((y * width + x) * 4 + direction)
        x += 1 if direction == RIGHT else -1
    while y != target[1]:
        direction = DOWN if target[1] > y else UP
        links.append((y * width + x) * 4 + direction)
        y += 1 if direction == DOWN else -1
    return links


def hop_kind(link: int, width: int, chip_width: int) -> int:
    """Column of the hop counts that a link belongs to."""
    direction, x = link % 4, link // 4 % width
    if direction in (DOWN, UP):
        return Y
    crosses = (x + 1) % chip_width == 0 if direction == RIGHT else x % chip_width == 0
    return CHIP if crosses else X


def routes(axons: Axons, core_of_slice: np.ndarray, tile_of_core: np.ndarray, port: tuple[int, int],
           mesh: tuple[int, int], n_chips: int, multicast: bool) -> Routes:
    """Routes of all fans.

    Parameters
    ----------
    core_of_slice : ndarray, int64, (slices,)
    tile_of_core : ndarray, int64, (cores, 2)
    mesh : (tiles in x over all chips, tiles in y)
    """
    tiles = [tuple(tile) for tile in tile_of_core.tolist()]
    known: dict[tuple[tuple[int, int], tuple[int, int]], list[int]] = {}
    all_links: list[list[int]] = []
    n = axons.n_fans
    hops, longest = np.zeros((n, 4), np.int64), np.zeros((n, 4), np.int64)
    n_messages, n_local = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for f in range(n):
        own = HOST if axons.fan_slice[f] == HOST else int(core_of_slice[axons.fan_slice[f]])
        start = port if own == HOST else tiles[own]
        links: list[int] = []
        for core in axons.fan_core[axons.fan_start[f]: axons.fan_start[f + 1]].tolist():
            if core == own:
                n_local[f] += 1
                continue
            n_messages[f] += 1
            pair = (start, tiles[core])
            if pair not in known:
                known[pair] = path(*pair, mesh[0])
            links += known[pair]
            hops[f, TILE] += not known[pair]
            row = _counts(known[pair], mesh[0], mesh[0] // n_chips)
            if row[:TILE].sum() > longest[f, :TILE].sum() or not longest[f].any():
                longest[f] = row
        if multicast:
            links = list(dict.fromkeys(links))
            n_messages[f] = min(n_messages[f], 1)
        hops[f, :TILE] = _counts(links, mesh[0], mesh[0] // n_chips)[:TILE]
        all_links.append(links)
    link_start = np.concatenate([[0], np.cumsum([len(links) for links in all_links])]).astype(np.int64)
    link = np.array([x for links in all_links for x in links], np.int32)
    return Routes(link_start, link, n_messages, n_local, hops, longest)


def _counts(links: list[int], width: int, chip_width: int) -> np.ndarray:
    row = np.zeros(4, np.int64)
    for link in links:
        row[hop_kind(link, width, chip_width)] += 1
    row[TILE] = not links
    return row
