"""Numpy arrays and numbers out of inert pickle records, without numpy's own unpickling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.exporters.inert_pickle import Record

_CORE = ("numpy.core.multiarray.", "numpy._core.multiarray.", "numpy.core.numeric.", "numpy._core.numeric.")
_MAKERS = ("_reconstruct", "scalar", "_frombuffer")
NUMPY_NAMES = ("numpy.ndarray", "numpy.dtype", "_codecs.encode", *(f"{core}{maker}" for core in _CORE for maker in _MAKERS))
"""Names that pickled arrays and numbers ask for."""

_KINDS = "biuf"


def array_of(where: str, record: Any) -> np.ndarray:
    """The array, numpy number or plain number that a record describes, read-only.

    Raises
    ------
    LoadError
        When it is something else, of another type than booleans and numbers, or its bytes do not
        fill its shape.
    """
    if isinstance(record, (bool, int, float)):
        return _frozen(np.asarray(record))
    try:
        shape, dtype, fortran, raw = _parts(record)
        dims = tuple(int(n) for n in shape)
        if dtype.kind not in _KINDS or any(n < 0 for n in dims):
            raise LoadError(f"{where}: an array of type {dtype} and shape {dims}; numbers are needed")
        data = _raw_bytes(raw)
        if math.prod(dims) * dtype.itemsize != len(data):
            raise LoadError(f"{where}: {len(data):,} bytes do not fill an array of shape {dims} and type {dtype}")
        return _frozen(np.frombuffer(data, dtype).reshape(dims, order="F" if fortran else "C"))
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise LoadError(f"{where}: not an array of numbers") from None


def _parts(record: Record) -> tuple[Any, np.dtype, bool, Any]:
    """Shape, type, whether column-major, bytes."""
    called = record.name.rsplit(".", 1)[-1] if record.name.startswith(_CORE) else ""
    args = record.args or ()
    if called == "_reconstruct":
        _, shape, dtype, fortran, raw = record.state
        return shape, _dtype(dtype), bool(fortran), raw
    if called == "_frombuffer":
        raw, dtype, shape, order = args
        return shape, _dtype(dtype), order == "F", raw
    if called == "scalar":
        return (), _dtype(args[0]), False, args[1]
    raise TypeError(record.name)


def _dtype(record: Record) -> np.dtype:
    """A type of numbers; byte order is the second entry of its state."""
    if record.name != "numpy.dtype" or not record.args or not isinstance(record.args[0], str) or len(record.args[0]) > 3:
        raise TypeError("no dtype")
    dtype = np.dtype(record.args[0])
    return dtype.newbyteorder(">") if record.state and record.state[1] == ">" else dtype.newbyteorder("<")


def _raw_bytes(raw: Any) -> bytes:
    """Protocol 2 writes bytes as text in latin-1, to be encoded again."""
    if isinstance(raw, Record) and raw.name == "_codecs.encode" and raw.args and raw.args[1:] == ("latin1",):
        return str(raw.args[0]).encode("latin-1")
    return bytes(raw) if isinstance(raw, (bytes, bytearray)) else str(raw).encode("latin-1")


def _frozen(array: np.ndarray) -> np.ndarray:
    array = array.view()
    array.setflags(write=False)
    return array
