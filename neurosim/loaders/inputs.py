"""Input arrays: .npy or .npz -> ndarray, without pickles.

An input is (timesteps, *input shape in the model's own layout, without batch). Values are
handed on as stored; only what can never be right is refused here.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from neurosim.errors import LoadError


def load_array(spec: str | Path) -> np.ndarray:
    """Read an array.

    Parameters
    ----------
    spec : str
        ``X.npy``, ``X.npz`` (a sole array needs no key) or ``X.npz:key``.

    Raises
    ------
    LoadError
        When the file is missing, damaged, holds pickled objects, or the key is unknown or
        missing.
    """
    path, key = _split(str(spec))
    try:
        if not path.is_file():
            raise LoadError(f"{path}: no such file")
        return _read(path, key)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        pickled = any(words in str(error).lower() for words in ("object arrays", "python objects"))
        reason = "it holds pickled objects; save plain numbers" if pickled else "damaged, or not .npy/.npz"
        raise LoadError(f"{path}: cannot be read as an array: {reason}") from None


def _split(spec: str) -> tuple[Path, str | None]:
    head, separator, key = spec.rpartition(":")
    if separator and head.endswith(".npz"):
        return Path(head), key
    return Path(spec), None


def _read(path: Path, key: str | None) -> np.ndarray:
    if path.suffix != ".npz":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    with np.load(path, allow_pickle=False) as archive:
        if key is None and len(archive.files) != 1:
            raise LoadError(f"{path} holds several arrays; choose one: {', '.join(f'{path}:{name}' for name in archive.files)}")
        if key is not None and key not in archive.files:
            raise LoadError(f"{path} has no array {key!r}; it holds {', '.join(archive.files)}")
        return archive[key or archive.files[0]]
