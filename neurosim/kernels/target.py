"""What the processor that numba compiles for can do: decided once, at import.

`NEUROSIM_PLAIN=1` in the environment takes the plain loops also where vectors are to be had.
"""

from __future__ import annotations

import os
from pathlib import Path

from numba.core.registry import cpu_target

_features = set(cpu_target.target_context.codegen().magic_tuple()[2].split(","))

VECTORS = "+avx2" in _features and os.environ.get("NEUROSIM_PLAIN", "") in ("", "0")
"""Whether the vector primitives are used (else their plain twins)."""

VECTOR_BYTES = 64 if "+avx512f" in _features else 32
"""Width of the vectors in which rows of weights are added."""

NAME = f"{'vector' if VECTORS else 'plain'}{VECTOR_BYTES}"
"""Part of the name of the cache folder: kernels of one choice are no use to another."""


def _cache_bytes(level: int, otherwise: int) -> int:
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind, depth, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
            if depth == str(level) and kind != "Instruction":
                return int(size.removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return otherwise


L1_BYTES = _cache_bytes(1, 1 << 15)
"""First-level cache of one core."""

L2_BYTES = _cache_bytes(2, 1 << 20)
"""Second-level cache of one core: larger tables of weights are bound by what lies behind it."""
