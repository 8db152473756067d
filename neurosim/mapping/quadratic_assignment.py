"""Quadratic assignment: which core sits where, so that events cross as few links as can be found.

    minimise   sum over pairs of cores (i, j) of traffic[i, j] x distance(seat of i, seat of j)

with the input port as one more core that cannot move. The problem is NP-hard. Starts (a given placement,
the continuous relaxation "FAQ" of Vogelstein et al., PLoS ONE 10(4), 2015, as in
``scipy.optimize.quadratic_assignment``, and a few random ones) are improved by the best exchange of two
seats, of which one may be empty, until no exchange helps. Generators are seeded: equal arguments give
equal placements.

With ``cost[i, s]`` = event hops of core i, were it on seat s and all others where they are, an
exchange of i and j changes the sum by

    cost[i, seat j] + cost[j, seat i] - cost[i, seat i] - cost[j, seat j] + 2 traffic[i, j] distance(seat i, seat j)

and a move to an empty seat s by ``cost[i, s] - cost[i, seat i]``.
"""

from __future__ import annotations

import numpy as np

MAX_RELAXED = 400
"""Seats up to which the relaxation is solved: each of its steps is cubic in the seats."""

N_RANDOM = 8
"""Random starts."""

WORK = 100_000_000
"""Table entries renewed before descents end: bounds the time on large chips to about a second."""


def improved(seats: np.ndarray, traffic: np.ndarray, port: tuple[int, int], given: np.ndarray) -> np.ndarray:
    """The best placement found; `given` has at least as many event hops.

    Parameters
    ----------
    seats : ndarray, int64, (width, height)
        Cores that fit on each tile.
    traffic : ndarray, float64, (cores + 1, cores + 1)
        Events between cores; the last row and column are the input port.
    port : (int, int)
    given : ndarray, int64, (cores, 2)
        A placement to start from.

    Returns
    -------
    ndarray, int64, (cores, 2)
    """
    n = len(traffic) - 1
    both = traffic + traffic.T
    at = _near_seats(seats, port, n, given)
    distance = abs(at[:, None] - at).sum(2).astype(float)
    to_port = abs(at - np.array(port)).sum(1).astype(float)
    starts = [_seats_of(given, at)]
    if len(at) <= MAX_RELAXED:
        starts.append(_relaxed(both, distance, to_port))
    rng = np.random.default_rng(0)
    starts += [rng.permutation(len(at))[:n] for _ in range(N_RANDOM)]
    best, fewest, work = starts[0], np.inf, WORK
    for start in starts:
        found, done = _descended(start, both[:n, :n], both[:n, n], distance, to_port, work)
        hops = (both[:n, :n] * distance[np.ix_(found, found)]).sum() / 2 + both[:n, n] @ to_port[found]
        if hops < fewest:
            best, fewest = found, hops
        work -= done
        if work <= 0:
            break
    return at[best]


def _near_seats(seats: np.ndarray, port: tuple[int, int], n: int, placed: np.ndarray) -> np.ndarray:
    """Tiles of the seats that are considered (int64, (seats, 2)): twice as many as cores, the nearest to the port,
    and all seats of tiles that `placed` uses."""
    x, y = np.indices(seats.shape)
    tiles = np.stack([x.ravel(), y.ravel()], 1)
    near = np.argsort(abs(tiles - np.array(port)).sum(1), kind="stable")
    n_tiles = int(np.searchsorted(seats.ravel()[near].cumsum(), 2 * n)) + 1
    used = np.unique(np.concatenate([near[:n_tiles], placed[:, 0] * seats.shape[1] + placed[:, 1]]))
    return np.repeat(tiles[used], seats.ravel()[used], axis=0)


def _seats_of(tiles: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Seats (indices in `at`) of cores on `tiles`."""
    free: dict[tuple[int, ...], list[int]] = {}
    for seat, tile in reversed(list(enumerate(map(tuple, at.tolist())))):
        free.setdefault(tile, []).append(seat)
    return np.array([free[tile].pop() for tile in map(tuple, tiles.tolist())], np.int64)


def _relaxed(both: np.ndarray, distance: np.ndarray, to_port: np.ndarray) -> np.ndarray:
    """Seats of the continuous relaxation; empty seats are filled with cores without traffic, the port keeps its seat."""
    from scipy.optimize import quadratic_assignment

    n, n_seats = len(both) - 1, len(distance)
    events, apart = np.zeros((n_seats + 1, n_seats + 1)), np.zeros((n_seats + 1, n_seats + 1))
    events[:n, :n], events[:n, -1], events[-1, :n] = both[:n, :n], both[:n, n], both[:n, n]
    apart[:-1, :-1], apart[:-1, -1], apart[-1, :-1] = distance, to_port, to_port
    options = {"partial_match": np.array([[n_seats, n_seats]]), "rng": np.random.default_rng(0)}
    return quadratic_assignment(events, apart, method="faq", options=options)["col_ind"][:n]


def _descended(start: np.ndarray, both: np.ndarray, with_port: np.ndarray, distance: np.ndarray, to_port: np.ndarray,
               work: int) -> tuple[np.ndarray, int]:
    """Exchange seats, the best exchange first, until none helps or `work` is done; the seats, and the work."""
    n, n_seats = len(both), len(distance)
    place, cores = start.copy(), np.arange(n)
    cost = both @ distance[place] + np.outer(with_port, to_port)
    free = np.ones(n_seats, bool)
    free[place] = False
    least, done, per_step = -1e-12 * abs(cost[cores, place]).sum(), 0, n * (n_seats + n)
    while done < work:
        done += per_step
        own = cost[cores, place]
        change = cost - own[:, None]
        to_others = change[:, place]
        change[:, ~free] = np.inf
        swap = to_others + to_others.T + 2 * both * distance[np.ix_(place, place)]
        core, seat = divmod(int(change.argmin()), n_seats)
        i, j = divmod(int(swap.argmin()), n)
        if min(change[core, seat], swap[i, j]) >= least:
            break
        if change[core, seat] <= swap[i, j]:
            cost += np.outer(both[:, core], distance[seat] - distance[place[core]])
            free[place[core]], free[seat] = True, False
            place[core] = seat
        else:
            cost += np.outer(both[:, i] - both[:, j], distance[place[j]] - distance[place[i]])
            place[i], place[j] = place[j], place[i]
    return place, done
