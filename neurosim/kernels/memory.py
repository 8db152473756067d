"""An address as an array: how kernels reach their tables without paying for a long argument list.

Passing an array from Python to compiled code costs about 50 ns. A network needs many tables,
so the caller passes one int64 array (the plan) that holds the addresses of the others. The
owner of the plan keeps those arrays alive.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def _pointer(typingctx, address):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)
    return types.voidptr(types.int64), codegen


@njit(inline="always")
def int32_array(address, size):  # type: ignore[no-untyped-def]
    """The `size` int32 values at `address`."""
    return carray(_pointer(address), (size,), np.int32)  # type: ignore[call-arg]


@njit(inline="always")
def int64_array(address, size):  # type: ignore[no-untyped-def]
    """The `size` int64 values at `address`."""
    return carray(_pointer(address), (size,), np.int64)  # type: ignore[call-arg]


@njit(inline="always")
def uint8_array(address, size):  # type: ignore[no-untyped-def]
    """The `size` bytes at `address`."""
    return carray(_pointer(address), (size,), np.uint8)  # type: ignore[call-arg]
