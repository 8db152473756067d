"""Many streams at once: the kernels run without Python's lock, so threads use all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_threads(function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> list[Result]:
    """[function(item) for item in items], on threads.

    Parameters
    ----------
    function : callable
        Each call should own what it changes: one `Simulator`, or one `simulate`.
    items : iterable
        Networks with other thresholds, streams, seeds.
    workers : int, optional
        Threads; as many as there are cores unless given, and never more than items.

    Raises
    ------
    Exception
        The first that a call raised; calls that have not started are dropped.

    Examples
    --------
    >>> runs = map_threads(lambda t: simulate(set_thresholds(network, t), inputs), (0.0, 0.01, 0.05))
    """
    items = list(items)
    n = min(len(items), workers or os.cpu_count() or 1)
    if n <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(n) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
