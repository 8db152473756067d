"""The compiled kernels by name and number type: compiled when a network first needs them, kept on disk.

Kernels are called through their address (a slot of the plan), so each is compiled once for each
pair of types, apart from the others, and only where it is used. All take (plan, row, real, weight):
the plan; the index of the row that they serve (for `encode`, the address of the input); and two null
pointers that only carry types. They return 0, or a status.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cfunc, types

from neurosim.kernels.cache import kept
from neurosim.kernels.convolution import convolution
from neurosim.kernels.encode import encode
from neurosim.kernels.full import full
from neurosim.kernels.functions import ENCODER_FUNCTIONS, FUNCTIONS
from neurosim.kernels.neurons import NEURONS, autonomous
from neurosim.kernels.pointer import INT64
from neurosim.kernels.sparse import sparse
from neurosim.kernels.step import advance, reset
from neurosim.kernels.update import update

_KERNELS = {f.__name__: f.py_func for f in (convolution, full, sparse, update, autonomous, encode, advance, reset, *NEURONS)}
_KERNELS |= {f.__name__.rstrip("_"): f for f in (*FUNCTIONS, *ENCODER_FUNCTIONS.values())}
_TYPES = {name: getattr(types, name) for name in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16")}


@cache
def _compiled(name: str, real: str, weight: str):
    signature = types.int64(INT64, types.int64, types.CPointer(_TYPES[real]), types.CPointer(_TYPES[weight]))
    return cfunc(signature, cache=True)(_KERNELS[name])


def address(name: str, real: type | np.dtype, weight: type | np.dtype | None = None) -> int:
    """Address of a compiled kernel.

    Parameters
    ----------
    name : str
        convolution, full, sparse, update, autonomous, encode, advance, reset, a kind of neuron, or one of the functions of `functions`.
    real : dtype
        Of accumulators and payloads.
    weight : dtype, optional
        Of stored weights; of raw inputs for `encode`, of the targets in rows for `sparse`; else that of `real`.
    """
    real_name = np.dtype(real).name
    with kept():  # one thread at a time
        return int(_compiled(name, real_name, real_name if weight is None else np.dtype(weight).name).address)
