"""Files that appear only when they are whole: written beside their name, then moved there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from neurosim.errors import LoadError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; nothing is left behind, and an older file stays, when writing fails.

    Raises
    ------
    LoadError
        When the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")  # several may write the same file
    try:
        with open(partial, "wb") as f:
            yield f
        partial.replace(path)
    except OSError as error:
        raise LoadError(f"cannot write {path}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
