"""Numba kernels: arrays in, arrays out, nothing of ours but numbers.

Rules of this folder: it imports numpy, numba and itself; the caller allocates; status codes
come out; nothing prints and nothing is random.

Numba's on-disk cache does not notice when a function that a cached function calls has changed
in another file. The cache folder is therefore named by a digest of all kernel sources, and is
set only while these modules are imported, so that other users of numba keep theirs.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numba


def _cache_folder() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "neurosim")
    path = os.path.join(base, f"kernels-{digest.hexdigest()[:16]}")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:  # compiled kernels are code: where the user has no folder of their own, nothing is shared or kept
        private = tempfile.mkdtemp(prefix="neurosim-")
        atexit.register(shutil.rmtree, private, ignore_errors=True)
        return private


CACHE_FOLDER = _cache_folder()
"""Where the compiled kernels of these sources are kept."""


def is_compiled() -> bool:
    """Whether an earlier process left compiled kernels of these sources (else the first run waits for the compiler)."""
    return any(Path(CACHE_FOLDER).rglob("*step.run*.nbc"))


_outer = numba.config.CACHE_DIR  # type: ignore[attr-defined]
numba.config.CACHE_DIR = CACHE_FOLDER  # type: ignore[attr-defined]
try:
    from neurosim.kernels import encode, layout, memory, neuron, scatter, step, traffic  # noqa: F401
finally:
    numba.config.CACHE_DIR = _outer  # type: ignore[attr-defined]
