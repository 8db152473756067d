"""Route: messages travel along x first, then along y; chips stand side by side along x.

Unicast sends one message per target core and each crosses its own links. Multicast sends one
message over the tree that these paths form, and each link of the tree is crossed once.
A link between the last column of one chip and the first of the next is a `chip` hop, not an `x` hop.

A *path* is the way from the tile of a sender to one target core; a fan has one path per target
core that is not its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurosim.mesh import TILE, hop_kind, hops_of_paths, paths
from neurosim.program import HOST, Axons, Routes

CHUNK = 2_000_000
"""Links laid out at a time; bounds what is held beside the result."""


def routes(axons: Axons, core_of_slice: np.ndarray, tile_of_core: np.ndarray, port: tuple[int, int],
           mesh: tuple[int, int], n_chips: int, multicast: bool, hop_s: Sequence[float] = (0.0, 0.0, 0.0, 0.0)) -> Routes:
    """Routes of all fans.

    Parameters
    ----------
    core_of_slice : ndarray, int64, (slices,)
    tile_of_core : ndarray, int64, (cores, 2)
    mesh : (tiles in x over all chips, tiles in y)
    hop_s : four numbers
        Seconds per hop in x, in y, between chips, within a tile; they choose the `longest` path of a
        fan. Where all are 0, the path with most links is the longest. Ties go to the lower core.
    """
    n_fans = axons.n_fans
    own = np.where(axons.fan_slice == HOST, HOST, core_of_slice[axons.fan_slice])
    start = np.where((own == HOST)[:, None], np.array(port, np.int64), tile_of_core[own])
    fan = np.repeat(np.arange(n_fans), np.diff(axons.fan_start))
    is_own = axons.fan_core == own[fan]
    n_local = np.bincount(fan[is_own], minlength=n_fans).astype(np.int64)
    fan, core = fan[~is_own], axons.fan_core[~is_own]
    n_paths = np.bincount(fan, minlength=n_fans).astype(np.int64)
    ends = start[fan], tile_of_core[core]
    hops = hops_of_paths(*ends, mesh[0] // n_chips)
    longest = np.zeros((n_fans, 4), np.int64)
    longest[n_paths > 0] = hops[_largest(_length(hops, hop_s), fan, n_paths)]
    tree = _unicast(fan, *ends, mesh, n_fans) if not multicast else _multicast(fan, *ends, mesh, n_fans)
    n_links, link = tree
    total = np.stack([np.bincount(fan, hops[:, k], n_fans) for k in range(4)], 1).astype(np.int64)
    if multicast:
        at, kind = np.repeat(np.arange(n_fans), n_links), hop_kind(link, mesh[0], mesh[0] // n_chips)
        total = np.bincount(at * 4 + kind, minlength=n_fans * 4).reshape(n_fans, 4).astype(np.int64)
        total[:, TILE] = (n_paths > 0) & (n_links == 0)
    link_start = np.concatenate([[0], np.cumsum(n_links)]).astype(np.int64)
    return Routes(link_start, link, np.minimum(n_paths, 1) if multicast else n_paths, n_local, total, longest)


def _length(hops: np.ndarray, hop_s: Sequence[float]) -> np.ndarray:
    weights = np.array(hop_s, float) if any(hop_s) else np.array([1.0, 1.0, 1.0, 0.0])
    return hops @ weights


def _largest(length: np.ndarray, fan: np.ndarray, n_paths: np.ndarray) -> np.ndarray:
    """Index of the longest path of every fan that has paths (fans ascending; the first of equals)."""
    if not length.size:
        return np.zeros(0, np.int64)
    first = (n_paths.cumsum() - n_paths)[n_paths > 0]
    best = np.zeros(n_paths.size)
    best[n_paths > 0] = np.maximum.reduceat(length, first)
    at = np.flatnonzero(length == best[fan])
    return at[np.searchsorted(fan[at], np.flatnonzero(n_paths))]


def _chunks(source: np.ndarray, target: np.ndarray) -> list[slice]:
    """Runs of paths that hold about `CHUNK` links."""
    running = np.abs(target - source).sum(1).cumsum()
    edges = np.searchsorted(running, np.arange(CHUNK, running[-1] if running.size else 0, CHUNK))
    return [slice(a, b) for a, b in zip([0, *edges.tolist()], [*edges.tolist(), len(source)], strict=True)]


def _distinct(key: np.ndarray) -> np.ndarray:
    """Distinct values, ascending (values of 0 or more)."""
    key = np.sort(key)
    return key[np.diff(key, prepend=-1) > 0]


def _unicast(fan: np.ndarray, source: np.ndarray, target: np.ndarray, mesh: tuple[int, int], n_fans: int
             ) -> tuple[np.ndarray, np.ndarray]:
    """Links per fan, and the links of all its paths one after the other."""
    found = [paths(source[at], target[at], mesh[0]) for at in _chunks(source, target)]
    n_links = np.concatenate([n for n, _ in found])
    return np.bincount(fan, n_links, n_fans).astype(np.int64), np.concatenate([link for _, link in found])


def _multicast(fan: np.ndarray, source: np.ndarray, target: np.ndarray, mesh: tuple[int, int], n_fans: int
               ) -> tuple[np.ndarray, np.ndarray]:
    """Links per fan, and the links of the tree that its paths form, ascending."""
    n_all = 4 * mesh[0] * mesh[1]
    keys = []
    for at in _chunks(source, target):
        n_links, link = paths(source[at], target[at], mesh[0])
        keys.append(_distinct(np.repeat(fan[at], n_links) * n_all + link))
    key = _distinct(np.concatenate(keys))
    return np.bincount(key // n_all, minlength=n_fans).astype(np.int64), (key % n_all).astype(np.int32)
