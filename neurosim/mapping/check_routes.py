"""Part of the checker: routes, held against flow conservation and not against paths laid out anew.

The links of a fan are the x-first shortest routes to its target cores exactly if

- every link stays in the mesh and leads away from the sender; links in x lie in the sender's row
  (so that there is no detour, no cycle, and no turn from y back to x);
- unicast: at every tile, messages that enter = messages that leave + target cores there;
- multicast: a tile is entered at most once, and exactly once where a link leaves or a target
  core stands; every branch ends at a target core.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim.program import HOST, Program

CELLS = 500_000
"""(fan, tile) pairs and links that are held at a time."""

_DX, _DY = np.array([1, -1, 0, 0]), np.array([0, 0, 1, -1])
_WORDS = ("+x", "-x", "+y", "-y")


@dataclass(frozen=True)
class _Fans:
    """A run of fans [first, last) with their target cores (own core apart) and links, tiles as numbers."""

    program: Program
    first: int
    last: int

    @property
    def n(self) -> int:
        return self.last - self.first

    @property
    def n_tiles(self) -> int:
        return self.program.mesh[0] * self.program.mesh[1]

    @cached_property
    def own(self) -> np.ndarray:
        """Core of the sender, `HOST` for the input port."""
        return np.array([s.core for s in self.program.slices] + [HOST])[self.program.axons.fan_slice[self.first: self.last]]

    @cached_property
    def start(self) -> np.ndarray:
        """Tile of the sender (int64, (fans, 2))."""
        return np.concatenate([self.program.tile_of_core, [self.program.port]])[self.own]

    @cached_property
    def target(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fan (from 0 in this run), core, and whether it is the sender's own, per target core."""
        start = self.program.axons.fan_start[self.first: self.last + 1]
        fan, core = np.repeat(np.arange(self.n), np.diff(start)), self.program.axons.fan_core[start[0]: start[-1]]
        return fan, core, core == self.own[fan]

    @cached_property
    def path(self) -> tuple[np.ndarray, np.ndarray]:
        """Fan and tile (int64, (paths, 2)) per target core that is not the sender's own."""
        fan, core, is_own = self.target
        return fan[~is_own], self.program.tile_of_core[core[~is_own]]

    @cached_property
    def link(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Fan, direction, tile that is left and tile that is entered (each (links, 2))."""
        start = self.program.routes.link_start[self.first: self.last + 1]
        link = self.program.routes.link[start[0]: start[-1]].astype(np.int64)
        tile, direction = link >> 2, link & 3
        left = np.stack([tile % self.program.mesh[0], tile // self.program.mesh[0]], 1)
        return (np.repeat(np.arange(self.n), np.diff(start)), direction, left,
                left + np.stack([_DX[direction], _DY[direction]], 1))

    @cached_property
    def own_tile(self) -> np.ndarray:
        """Number of the sender's tile."""
        return self.start[:, 1] * self.program.mesh[0] + self.start[:, 0]

    def per_tile(self, *places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """How often each (fan, tile) occurs among pairs of fans and tiles (int64, (fans, tiles))."""
        width = self.program.mesh[0]
        key = np.concatenate([fan * self.n_tiles + tile[:, 1] * width + tile[:, 0] for fan, tile in places])
        return np.bincount(key, minlength=self.n * self.n_tiles).reshape(self.n, self.n_tiles)

    def shown(self, tile: int) -> str:
        return f"({tile % self.program.mesh[0]}, {tile // self.program.mesh[0]})"

    def name(self, fan: int) -> str:
        x, y = self.start[fan].tolist()
        return f"fan {self.first + fan} from tile ({x}, {y})"


def route_problems(program: Program) -> list[str]:
    """The first problem of each kind."""
    multicast = bool(program.chip.noc and program.chip.noc.multicast)
    link_start, n_fans = program.routes.link_start, program.axons.n_fans
    most = max(1, CELLS // (program.mesh[0] * program.mesh[1]))
    found: dict[str, str] = {}
    first = 0
    while first < n_fans:
        last = int(np.searchsorted(link_start, link_start[first] + CELLS, side="right")) - 1
        last = min(max(last, first + 1), first + most, n_fans)
        fans = _Fans(program, first, last)
        for check in (_bends, _tree if multicast else _flow, _counts):
            for kind, text in check(fans, multicast):
                found.setdefault(kind, text)
            if found:
                break
        first = last
    return list(found.values())


def _bends(fans: _Fans, multicast: bool) -> Iterator[tuple[str, str]]:
    fan, direction, left, entered = fans.link
    mesh = np.array(fans.program.mesh)
    outside = ((left < 0) | (left >= mesh) | (entered < 0) | (entered >= mesh)).any(1)
    if outside.any():
        at = outside.argmax()
        yield "mesh", (f"{fans.name(fan[at])}: a link in {_WORDS[direction[at]]} from tile {tuple(left[at].tolist())} leaves the mesh of "
                       f"{mesh[0]} x {mesh[1]} tiles")
        return
    before, after = (np.abs(tile - fans.start[fan]) for tile in (left, entered))
    astray = (after.sum(1) <= before.sum(1)) | (direction < 2) & (before[:, 1] > 0)
    if astray.any():
        at = astray.argmax()
        turns = direction[at] < 2 and before[at, 1] > 0
        why = "turns from y to x" if turns else "leads back towards the sender"
        yield "detour", (f"{fans.name(fan[at])}: a link in {_WORDS[direction[at]]} from tile {tuple(left[at].tolist())} {why}: "
                         "a detour from the route along x, then y")


def _flow(fans: _Fans, multicast: bool) -> Iterator[tuple[str, str]]:
    fan, _, left, entered = fans.link
    at, _ = fans.path
    into = fans.per_tile((fan, entered), (at, fans.start[at]))        # the sender lets go one message per path
    out = fans.per_tile((fan, left), fans.path)
    if np.array_equal(into, out):
        return
    f = int(np.argwhere(into != out)[0, 0])
    short, spare = np.flatnonzero(into[f] < out[f]), np.flatnonzero(into[f] > out[f])
    words = [f"stops short at tile {fans.shown(tile)}" for tile in spare[:1]]
    words += ["leaves more often than it has target cores" if tile == fans.own_tile[f] else f"does not reach tile {fans.shown(tile)}"
              for tile in short[:1]]
    yield "reach", f"{fans.name(f)}: the route {' and '.join(words)}"


def _tree(fans: _Fans, multicast: bool) -> Iterator[tuple[str, str]]:
    fan, _, left, entered = fans.link
    into, due = fans.per_tile((fan, entered)), fans.per_tile((fan, left), fans.path) > 0
    into[np.arange(fans.n), fans.own_tile] = due[np.arange(fans.n), fans.own_tile]
    if np.array_equal(into, due):
        return
    f = int(np.argwhere(into != due)[0, 0])
    twice, short, spare = (np.flatnonzero(wrong) for wrong in (into[f] > 1, (into[f] == 0) & due[f], (into[f] == 1) & ~due[f]))
    words = [f"enters tile {fans.shown(tile)} {into[f, tile]} times, a link is crossed once" for tile in twice[:1]]
    words += [f"does not reach tile {fans.shown(tile)}" for tile in short[:1]]
    words += [f"needlessly ends at tile {fans.shown(tile)}" for tile in spare[:1]]
    yield "reach", f"{fans.name(f)}: the route {' and '.join(words)}"


def _counts(fans: _Fans, multicast: bool) -> Iterator[tuple[str, str]]:
    """Hops, messages, local deliveries and the longest message, from links and target cores."""
    program, routes = fans.program, fans.program.routes
    chip_width = program.mesh[0] // program.chip.chips
    fan, direction, left, entered = fans.link
    kind = np.where(direction >= 2, 1, np.where(left[:, 0] // chip_width != entered[:, 0] // chip_width, 2, 0))
    hops = np.bincount(fan * 4 + kind, minlength=4 * fans.n).reshape(fans.n, 4)
    at, tile = fans.path
    n_paths = np.bincount(at, minlength=fans.n)
    stays = (tile == fans.start[at]).all(1)
    hops[:, 3] = (n_paths > 0) & (hops.sum(1) == 0) if multicast else np.bincount(at[stays], minlength=fans.n)
    n_local = np.bincount(fans.target[0][fans.target[2]], minlength=fans.n)
    expected = (("hops", hops), ("n_messages", np.minimum(n_paths, 1) if multicast else n_paths), ("n_local", n_local))
    for name, due in expected:
        stored = getattr(routes, name)[fans.first: fans.last]
        wrong = np.flatnonzero((stored != due).reshape(fans.n, -1).any(1))
        if wrong.size:
            f = int(wrong[0])
            words = f"hops in x, in y, between chips and within the tile are {stored[f].tolist()}" if name == "hops" else (
                f"{stored[f]} messages" if name == "n_messages" else f"{stored[f]} local deliveries")
            by = "links and target cores give" if name == "hops" else f"for {n_paths[f]} other target cores, expected" if (
                name == "n_messages") else "expected"
            yield name, f"{fans.name(f)}: {words}, {by} {due[f].tolist()}"
    yield from _longest(fans, at, tile, chip_width)


def _longest(fans: _Fans, at: np.ndarray, tile: np.ndarray, chip_width: int) -> Iterator[tuple[str, str]]:
    """`longest` is the row of a message of the fan, and no other message takes longer."""
    chip, start = fans.program.chip, fans.start[at]
    cost = np.array([chip.time_s(f"hop.{kind}") or 0.0 for kind in ("x", "y", "chip", "local")])
    cost = cost if cost.any() else np.array([1.0, 1, 1, 0])
    between = np.abs(tile[:, 0] // chip_width - start[:, 0] // chip_width)
    apart = np.abs(tile - start)
    row = np.stack([apart[:, 0] - between, apart[:, 1], between, apart.sum(1) == 0], 1)
    stored = fans.program.routes.longest[fans.first: fans.last]
    length, most = row @ cost, np.zeros(fans.n)
    np.maximum.at(most, at, length)
    is_one = np.bincount(at[(row == stored[at]).all(1)], minlength=fans.n) > 0
    has_paths = np.bincount(at, minlength=fans.n) > 0
    wrong = has_paths & (~is_one | (stored @ cost < most * (1 - 1e-9))) | ~has_paths & stored.any(1)
    if wrong.any():
        f = int(wrong.argmax())
        due = row[at == f][length[at == f].argmax()].tolist() if has_paths[f] else [0, 0, 0, 0]
        yield "longest", (f"{fans.name(f)}: the longest message takes hops {stored[f].tolist()} in x, in y, between chips and within "
                          f"the tile, expected {due}")
