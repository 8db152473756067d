"""Where the tasks of a study run: processes of this machine, or the workers of a Dask cluster. Any executor will do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from neurosim.errors import SimulationError

TIMEOUT = "10s"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextmanager
def process_pool(workers: int) -> Iterator[Executor]:
    """Processes of this machine, one thread each; they end when this process does, however it ends."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    from multiprocessing.connection import wait
    from threading import Thread

    parent = parent_process()
    if parent is not None:
        Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


@contextmanager
def dask_pool(address: str) -> Iterator[Executor]:
    """The workers of the Dask scheduler at `address` (``tcp://host:8786``), which see the study's folder under the same path.

    Raises
    ------
    SimulationError
        Without distributed, or where no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise SimulationError("--scheduler needs distributed (pip install 'neurosim-chip[cluster]')") from None
    try:
        client: Any = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SimulationError(f"no Dask scheduler answers at {address}: {error}") from None
    try:
        yield client.get_executor(pure=False, retries=3)
    finally:
        client.close()
