"""A guarded reader of HDF5: a file becomes nested dicts of arrays, or a clear refusal.

HDF5 can point outside itself (external links, external storage, virtual datasets) and can promise arrays far larger than the file.
Nothing is followed or allocated here before it is known to lie inside the file and within the limits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import LoadError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_BYTES = 1 << 28
"""Of all arrays of a file together."""
MAX_MEMBERS, MAX_DEPTH = 20_000, 16
MAX_RATIO = 1_100
"""Times that compression can make an array smaller than it is (deflate reaches 1,032)."""

Tree = dict[str, Any]
"""Group: name -> `Tree`, ndarray, str or list of strings."""


def is_hdf5(path: Path) -> bool:
    """Whether a file starts like HDF5."""
    try:
        with open(path, "rb") as f:
            return f.read(8) == SIGNATURE
    except OSError:
        return False


def read_hdf5(path: Path) -> Tree:
    """All groups and datasets of a file.

    Raises
    ------
    LoadError
        Where the file is missing or damaged, refers to anything outside itself, holds types that are not numbers or text, or would
        take more memory than the limits allow.
    """
    try:
        import h5py
    except ImportError:
        raise LoadError(f"{path}: reading HDF5 needs h5py (pip install 'neurosim-chip[hdf5]')") from None
    if not path.is_file():
        raise LoadError(f"{path}: no such file")
    if not is_hdf5(path):
        raise LoadError(f"{path}: not an HDF5 file")
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _Reader(path, path.stat().st_size).group(file, "", 0)
    except LoadError:
        raise
    except Exception as error:  # h5py raises many kinds on damaged files
        raise LoadError(f"{path}: damaged HDF5 ({str(error).splitlines()[0][:200] if str(error) else type(error).__name__})") from None


class _Reader:
    def __init__(self, path: Path, file_bytes: int) -> None:
        self.path, self.file_bytes, self.n_members, self.n_bytes = path, file_bytes, 0, 0
        self.seen: set[int] = set()

    def group(self, group: Any, where: str, depth: int) -> Tree:
        import h5py

        address = h5py.h5o.get_info(group.id).addr
        if depth > MAX_DEPTH or address in self.seen:
            raise LoadError(f"{self.path}: group '{where or '/'}' contains itself, or is nested deeper than {MAX_DEPTH}")
        self.seen.add(address)
        found: Tree = {}
        for name in group:
            self.n_members += 1
            if self.n_members > MAX_MEMBERS:
                raise LoadError(f"{self.path}: more than {MAX_MEMBERS:,} members")
            place = f"{where}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                what = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
                raise LoadError(f"{self.path}: '{place}' is {what}; only data inside the file itself are read")
            kind = group.get(name, getclass=True)
            if kind is h5py.Group:
                found[name] = self.group(group[name], place, depth + 1)
            elif kind is h5py.Dataset:
                found[name] = self.dataset(group[name], place)
            else:
                raise LoadError(f"{self.path}: '{place}' is neither a group nor a dataset")
        self.seen.discard(address)
        return found

    def dataset(self, data: Any, place: str) -> Any:
        import h5py

        plist = data.id.get_create_plist()
        if data.is_virtual or plist.get_external_count():
            raise LoadError(f"{self.path}: '{place}' is stored outside the file (virtual or external storage); refused")
        if data.shape is None:
            raise LoadError(f"{self.path}: '{place}' is empty")
        text = h5py.check_string_dtype(data.dtype) is not None
        if not text and data.dtype.kind not in "biuf":
            raise LoadError(f"{self.path}: '{place}' holds {data.dtype}; numbers and text are read")
        n_bytes = int(np.prod([float(n) for n in data.shape])) * data.dtype.itemsize
        self.n_bytes += n_bytes
        if self.n_bytes > MAX_BYTES:
            raise LoadError(f"{self.path}: '{place}' of shape {data.shape} brings the arrays to {self.n_bytes:,} bytes > {MAX_BYTES:,}")
        if n_bytes > MAX_RATIO * self.file_bytes:
            raise LoadError(f"{self.path}: '{place}' claims {n_bytes:,} bytes in a file of {self.file_bytes:,}; refused")
        value = data[()]
        if text:
            decoded = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in np.ravel(value)]
            return decoded[0] if data.shape == () else np.array(decoded, object).reshape(data.shape).tolist()
        return np.asarray(value)
