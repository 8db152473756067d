"""Bottleneck: what a run waits for in every timestep and level, and what a remedy would gain.

In each level everything waits for the slowest core or the busiest link:

    time(level) = max(slowest core, busiest link)

Of each timestep and level the difference that a remedy would make is added up, so that a mean
timestep under the remedy is exact for the counts of the run:

    a core does no more than the next slowest:  time(level) - max(next slowest core, busiest link)
    links take no time:                         time(level) - slowest core
    the level is balanced:                      time(level) - max(mean over the level's cores, busiest link)

Nothing is kept per timestep.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurosim.report import Place

MOST_PLACES = 10
"""Places that a report names."""


class Waits:
    """Seconds waited for each core and link of each level.

    Parameters
    ----------
    n_levels, n_cores : int
    idle_s : ndarray, float64, (cores,)
        Seconds for which a core is busy in a level in which it has no slice (0 unless emulated).
    """

    def __init__(self, n_levels: int, n_cores: int, idle_s: np.ndarray) -> None:
        self.core_s, self.core_saved = np.zeros((n_levels, n_cores)), np.zeros((n_levels, n_cores))
        self.core_steps = np.zeros((n_levels, n_cores), np.int64)
        self.links: dict[tuple[int, int], np.ndarray] = {}
        self.balanced_saved = 0.0
        self.alone = np.zeros(n_levels, bool)
        self.idle_s = idle_s

    @property
    def link_s(self) -> float:
        """Seconds waited for links."""
        return sum(float(row[0]) for row in self.links.values())

    @property
    def link_saved(self) -> float:
        """Seconds that the run would be shorter if links took no time."""
        return sum(float(row[2]) for row in self.links.values())

    def add(self, level: int, work: np.ndarray, core: np.ndarray, link_s: np.ndarray, link: np.ndarray) -> np.ndarray:
        """Add the timesteps of one level.

        Parameters
        ----------
        work : ndarray, float64, (timesteps, cores of the level)
            Seconds of work; overwritten.
        core : ndarray, int64, (cores of the level,)
        link_s, link : ndarray, float64 and int64, (timesteps,)
            Seconds of the busiest link, and which it is (-1: none).

        Returns
        -------
        ndarray, float64, (timesteps,)
            max(slowest core, busiest link).
        """
        mean = work.mean(1)
        others = np.setdiff1d(np.flatnonzero(self.idle_s > 0), core)
        others = others[(-self.idle_s[others]).argsort(kind="stable")[:2]]  # two are enough: the slowest, and the next one
        if others.size:
            mean = np.maximum(mean, self.idle_s[others[0]])
            work = np.hstack([work, np.broadcast_to(self.idle_s[others], (len(work), others.size))])
            core = np.concatenate([core, others])
        self.alone[level] = core.size == 1
        rows, column = np.arange(len(work)), work.argmax(1)
        slowest = work[rows, column]
        work[rows, column] = 0.0
        following = work.max(1)
        time = np.maximum(slowest, link_s)
        on_link, busy = link_s > slowest, slowest > 0
        held = np.flatnonzero(~on_link & busy)
        who, n = core[column[held]], self.core_s.shape[1]
        self.core_s[level] += np.bincount(who, slowest[held], n)
        self.core_steps[level] += np.bincount(who, minlength=n)
        self.core_saved[level] += np.bincount(who, (slowest - np.maximum(following, link_s))[held], n)
        for which in np.unique(link[on_link]).tolist():
            mine = on_link & (link == which)
            row = self.links.setdefault((level, which), np.zeros(3))
            row += link_s[mine].sum(), mine.sum(), (link_s - slowest)[mine].sum()
        self.balanced_saved += float((time - np.maximum(mean, link_s)).sum())
        return time

    def places(self, n_timesteps: int, whole_s: float, parts: dict[str, float], *, one_level: bool,
               layer_of: Callable[[int, int], str], link_name: Callable[[int], str]) -> tuple[Place, ...]:
        """Rank what was waited for, longest first.

        Parameters
        ----------
        parts : dict
            Seconds over the run waited for ``hops`` and ``barrier``.
        one_level : bool
            All levels work at once.
        layer_of : function of level and core
        link_name : function of a link
        """
        found = []

        def place(kind: str, at: int | str, layer: str, level: int | None, time_s: float, steps: int | None, saved: float,
                  alone: bool = False) -> None:
            found.append(Place(kind, at, layer, None if one_level or level is None else level + 1, time_s, time_s / whole_s,
                               None if steps is None else steps / n_timesteps, max(0.0, (whole_s - saved) / n_timesteps), alone))

        order = (-self.core_s).argsort(axis=None, kind="stable")[:MOST_PLACES]
        for level, core in zip(*np.unravel_index(order, self.core_s.shape)):
            if (time_s := float(self.core_s[level, core])) > 0:
                place("core", int(core), layer_of(level, core), int(level), time_s, int(self.core_steps[level, core]),
                      float(self.core_saved[level, core]), bool(self.alone[level]))
        for (level, link), row in sorted(self.links.items(), key=lambda entry: -entry[1][0])[:MOST_PLACES]:
            place("link", link_name(link), "", level, float(row[0]), int(row[1]), float(row[2]))
        for kind in ("hops", "barrier"):
            if parts[kind] > 0:
                place(kind, "", "", None, parts[kind], None, parts[kind])
        return tuple(sorted(found, key=lambda p: -p.time_s)[:MOST_PLACES])
