"""Named weights out of a file of `torch.save`, without torch and without unpickling.

Since torch 1.6 the file is a zip archive: ``NAME/data.pkl`` describes tensors as (storage key, offset,
size, stride), ``NAME/data/KEY`` holds the raw bytes of a storage. Before, it was five pickles in a row
(magic number, protocol, system, value, storage keys), then each storage as its number of elements
(int64) and its raw bytes. Source: torch/serialization.py (PyTorch 2.13), checked against
``torch.load(weights_only=True)`` in tests.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.exporters.archive import Archive, archive_in
from neurosim.exporters.inert_pickle import Record, read_pickle

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
MAX_DESCRIPTION = 16 << 20
_TYPES = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": "<u2", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1",
    "Byte": "u1", "Bool": "?",
}  # fmt: skip
_NAMES = (
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    *(f"torch.{name}Storage" for name in _TYPES),
)
Storage = Callable[[str, np.dtype, int], np.ndarray]


def read_state_dict(where: str, data: bytes) -> dict[str, np.ndarray]:
    """Tensors by name, as read-only views of `data`'s storages.

    Parameters
    ----------
    where : str
        What errors call the file.
    data : bytes

    Returns
    -------
    dict of str to ndarray
        In the file's order; bfloat16 as float32.

    Raises
    ------
    LoadError
        When it is no such file, is truncated, holds more than named tensors, or a tensor lies
        outside its storage.
    """
    if data[:2] == b"PK":
        value, storage = _from_zip(where, archive_in(where, data))
    elif data[:1] == b"\x80":
        value, storage = _from_stream(where, data)
    else:
        raise LoadError(f"{where}: neither form of a torch file ({len(data):,} bytes); an agent is saved by model.save(...)")
    if isinstance(value, Record) and value.name == "collections.OrderedDict":
        value = value.items
    if not isinstance(value, dict) or not value or not all(isinstance(k, str) for k in value):
        raise LoadError(f"{where}: not a state_dict (named tensors)")
    return {name: _tensor(f"{where}: {name[:80]}", record, storage) for name, record in value.items()}


def _from_zip(where: str, archive: Archive) -> tuple[Any, Storage]:
    descriptions = [n for n in archive.names if n.endswith("/data.pkl") and n.count("/") == 1]
    if len(descriptions) != 1:
        raise LoadError(f"{where}: {len(descriptions)} members NAME/data.pkl, one is needed; an agent is saved by model.save(...)")
    folder = descriptions[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.names and archive.read(f"{folder}byteorder", 16) != b"little":
        raise LoadError(f"{where}: written on a big-endian machine; load and save it on another one")
    value = read_pickle(where, io.BytesIO(archive.read(descriptions[0], MAX_DESCRIPTION)), _NAMES)
    read: dict[str, bytes] = {}

    def storage(key: str, dtype: np.dtype, n: int) -> np.ndarray:
        if key not in read:
            read[key] = archive.read(f"{folder}data/{key}", n * dtype.itemsize)
        return _elements(read[key], dtype, n)

    return value, storage


def _from_stream(where: str, data: bytes) -> tuple[Any, Storage]:
    stream = io.BytesIO(data)
    magic = read_pickle(where, stream, ())
    if magic != MAGIC_NUMBER:
        raise LoadError(f"{where}: a plain pickle, not a file of weights; nothing of it was executed")
    read_pickle(where, stream, ())
    read_pickle(where, stream, ())
    value = read_pickle(where, stream, _NAMES)
    keys = read_pickle(where, stream, ())
    position = {}
    at, raw = stream.tell(), memoryview(data)
    sizes = _sizes_by_key(value)
    for key in keys if isinstance(keys, list) else []:
        n, itemsize = sizes.get(str(key), (0, 1))
        if int.from_bytes(raw[at : at + 8], "little") != n or at + 8 + n * itemsize > len(data):
            raise LoadError(f"{where}: storage {str(key)[:40]!r} is truncated or of another size than described")
        position[str(key)] = at + 8
        at += 8 + n * itemsize

    def storage(key: str, dtype: np.dtype, n: int) -> np.ndarray:
        if key not in position:
            raise LoadError(f"{where}: storage {key[:40]!r} is missing")
        return _elements(raw[position[key] : position[key] + n * dtype.itemsize], dtype, n)

    return value, storage


def _elements(raw: bytes | memoryview, dtype: np.dtype, n: int) -> np.ndarray:
    """The elements of a storage; none where its size is not the one described."""
    return np.frombuffer(raw, dtype) if n and len(raw) == n * dtype.itemsize else np.zeros(0, dtype)


def _sizes_by_key(value: Any) -> dict[str, tuple[int, int]]:
    """Elements and bytes per element of the storages that a state_dict names."""
    found = {}
    for record in (value.items if isinstance(value, Record) else {}).values():
        try:
            key, dtype, n = _storage_of(_unwrapped(record).args[0])
        except (TypeError, ValueError, IndexError, KeyError, AttributeError):
            continue  # `_tensor` says what is wrong
        found[key] = (n, dtype.itemsize)
    return found


def _unwrapped(record: Any) -> Any:
    return record.args[0] if isinstance(record, Record) and record.name == "torch._utils._rebuild_parameter" and record.args else record


def _storage_of(persistent: Record) -> tuple[str, np.dtype, int]:
    """Key, type and elements of a storage: ('storage', torch.FloatStorage, key, device, elements)."""
    kind, storage_class, key, _, n = persistent.args[0][:5]  # type: ignore[index]
    if persistent.name != "persistent" or kind != "storage" or not isinstance(key, str) or not isinstance(n, int) or n < 0:
        raise TypeError("no storage")
    return key, np.dtype(_TYPES[storage_class.name.removeprefix("torch.").removesuffix("Storage")]), n


def _tensor(where: str, record: Any, storage: Storage) -> np.ndarray:
    try:
        record = _unwrapped(record)
        if record.name != "torch._utils._rebuild_tensor_v2":
            raise TypeError(record.name)
        persistent, offset, size, stride = record.args[:4]
        key, dtype, n = _storage_of(persistent)
        size, stride = tuple(int(s) for s in size), tuple(int(s) for s in stride)
        if len(size) != len(stride) or len(size) > 8 or min((offset, *size, *stride)) < 0 or math.prod(size) > n:
            raise ValueError("shape")
        last = offset + sum((s - 1) * t for s, t in zip(size, stride)) if math.prod(size) else 0
        if last >= max(n, 1):
            raise ValueError("outside")
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):
        raise LoadError(f"{where}: not a tensor, or one that lies outside its storage; an agent is saved by model.save(...)") from None
    flat = storage(key, dtype, n)
    if len(flat) != n:
        raise LoadError(f"{where}: its storage has {len(flat):,} elements, {n:,} are described")
    steps = [t * dtype.itemsize if s > 1 else 0 for s, t in zip(size, stride)]
    view = np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
    if record.args and persistent.args[0][1].name == "torch.BFloat16Storage":
        view = (view.astype("<u4") << 16).view("<f4")
    return view
