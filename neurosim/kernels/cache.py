"""Where compiled kernels are kept.

Numba's on-disk cache does not notice when a function that a cached function calls has changed
in another file. The cache folder is therefore named by a digest of all kernel sources (and by
the choice of primitives), and is set only while kernels are declared, so that other users of
numba keep theirs.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba

from neurosim.kernels import target


def _folder() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "neurosim")
    path = os.path.join(base, f"kernels-{digest.hexdigest()[:16]}-{target.NAME}")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:  # compiled kernels are code: where the user has no folder of their own, nothing is shared or kept
        private = tempfile.mkdtemp(prefix="neurosim-")
        atexit.register(shutil.rmtree, private, ignore_errors=True)
        return private


FOLDER = _folder()
"""Where the compiled kernels of these sources are kept."""

_lock = threading.RLock()


@contextmanager
def kept() -> Iterator[None]:
    """Kernels that are declared inside are kept in `FOLDER`."""
    with _lock:
        outer = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        numba.config.CACHE_DIR = FOLDER  # type: ignore[attr-defined]
        try:
            yield
        finally:
            numba.config.CACHE_DIR = outer  # type: ignore[attr-defined]


def is_compiled() -> bool:
    """Whether an earlier process left compiled kernels of these sources (else the first run waits for the compiler)."""
    return any(Path(FOLDER).rglob("*advance*.nbc"))
