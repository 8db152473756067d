"""Numba kernels: arrays in, arrays out, nothing of ours but numbers.

Rules of this folder: it imports numpy, numba and itself; the caller allocates; status codes
come out; nothing prints and nothing is random.

Numba's on-disk cache does not notice when a function that a cached function calls has changed
in another file. The cache folder is therefore named by a digest of all kernel sources, and is
set only while these modules are imported, so that other users of numba keep theirs.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numba


def _cache_folder() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "neurosim")
    for folder in (base, os.path.join(tempfile.gettempdir(), "neurosim-cache")):
        path = os.path.join(folder, f"kernels-{digest.hexdigest()[:16]}")
        try:
            os.makedirs(path, exist_ok=True)
            return path
        except OSError:
            continue
    return ""


CACHE_FOLDER = _cache_folder()
"""Where the compiled kernels of these sources are kept; empty when no folder can be written."""


def is_compiled() -> bool:
    """Whether an earlier process left compiled kernels of these sources (else the first run waits for the compiler)."""
    return bool(CACHE_FOLDER) and any(Path(CACHE_FOLDER).rglob("*step.run*.nbc"))


_outer = numba.config.CACHE_DIR
numba.config.CACHE_DIR = CACHE_FOLDER
try:
    from neurosim.kernels import encode, layout, memory, neuron, scatter, step, traffic  # noqa: F401
finally:
    numba.config.CACHE_DIR = _outer
