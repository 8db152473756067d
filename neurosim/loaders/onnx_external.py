"""External data of an ONNX file: resolved by ourselves, inside the model's folder, through no link."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from neurosim.errors import LoadError

if TYPE_CHECKING:
    import onnx


def inline_external_data(path: Path, tensors: list[onnx.TensorProto], max_elements: int) -> None:
    """Read each tensor's bytes from its side file into the tensor, in place.

    Raises
    ------
    LoadError
        When a side file is missing, lies outside the folder, is a link or no regular file, or
        when offset and length leave the file, overlap another tensor, or differ from the shape.
    """
    import onnx

    taken: dict[str, list[tuple[int, int, str]]] = {}
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        side = _side_file(path, tensor.name, location)
        offset, length = _range(path, tensor, entries, side, max_elements)
        for other_offset, other_length, other in taken.setdefault(location, []):
            apart = offset + length <= other_offset or other_offset + other_length <= offset
            if not apart and (offset, length) != (other_offset, other_length):
                raise LoadError(f"{path}: tensor '{tensor.name}' overlaps '{other}' in {location}")
        taken[location].append((offset, length, tensor.name))
        with side.open("rb") as f:
            f.seek(offset)
            tensor.raw_data = f.read(length)
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT


def _side_file(path: Path, name: str, location: str) -> Path:
    """The side file, checked component by component."""
    parts = Path(location).parts
    if not location or "\\" in location or "\0" in location or Path(location).is_absolute() or ".." in parts:
        raise LoadError(f"{path}: tensor '{name}' points outside the model's folder ({location!r}); refused")
    side = path.parent
    for part in parts:
        side = side / part
        try:
            mode = os.lstat(side)
        except OSError:
            raise LoadError(f"{path}: its weights lie in '{location}', which is missing beside it; copy both files") from None
        if stat.S_ISLNK(mode.st_mode):
            raise LoadError(f"{path}: '{location}' is, or lies behind, a symbolic link; refused: copy the file itself")
    if not stat.S_ISREG(mode.st_mode) or mode.st_nlink > 1:
        raise LoadError(f"{path}: '{location}' is not a regular file of its own (a hard link or a device); copy the file itself")
    if not side.resolve().is_relative_to(path.parent.resolve()):
        raise LoadError(f"{path}: '{location}' leaves the model's folder; refused")
    return side


def _range(path: Path, tensor: onnx.TensorProto, entries: dict[str, str], side: Path, max_elements: int) -> tuple[int, int]:
    """Offset and length in bytes, checked against the file and the declared shape."""
    from neurosim.loaders.onnx_guard import item_bytes, n_elements

    n = n_elements(tensor)
    if n is None or n > max_elements:
        raise LoadError(f"{path}: tensor '{tensor.name}' declares {list(tensor.dims)} elements > limit {max_elements:,}")
    expected, size = n * item_bytes(tensor), side.stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", expected))
    except ValueError:
        raise LoadError(f"{path}: tensor '{tensor.name}': offset or length is not a number") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise LoadError(f"{path}: tensor '{tensor.name}' lies at {offset:,} + {length:,} bytes in '{entries['location']}', "
                        f"which has {size:,}; copy the side file again")
    if length != expected:
        raise LoadError(f"{path}: tensor '{tensor.name}' declares {list(tensor.dims)} = {expected:,} bytes but stores {length:,}")
    return offset, length
