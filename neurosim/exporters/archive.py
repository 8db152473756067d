"""Members of a zip archive, read as untrusted input: nothing is unpacked to disk, and sizes are checked before bytes are read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from neurosim.errors import LoadError

MAX_MEMBERS = 10_000
MAX_RATIO = 20
"""Largest accepted size of a member over its compressed size, from `FREE_BYTES` on (weights compress to a half at best)."""
FREE_BYTES = 1 << 20


class Archive:
    """A zip archive whose directory has been checked.

    Parameters
    ----------
    where : str
        What errors call it.
    source : zipfile.ZipFile
        Stays open as long as the archive is used.

    Raises
    ------
    LoadError
        When a name is absolute, leaves the archive or occurs twice, or a member is encrypted,
        compressed in an unusual way or beyond `MAX_RATIO`.
    """

    def __init__(self, where: str, source: zipfile.ZipFile) -> None:
        self.where, self._source = where, source
        members = source.infolist()
        if len(members) > MAX_MEMBERS:
            raise LoadError(f"{where}: {len(members):,} members > limit {MAX_MEMBERS:,}; not an archive of one agent")
        if members and min(member.header_offset for member in members) > 0:
            raise LoadError(f"{where}: a truncated or damaged zip archive (its members do not begin at its start); copy or save it again")
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            self._check(member)
            self._members[member.filename] = member

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        at = f"{self.where}: member {name[:80]!r}"
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts):
            raise LoadError(f"{at} has a path that leaves the archive; such archives are made to attack, save the agent again")
        if name in self._members:
            raise LoadError(f"{at} occurs twice, so which one counts is open; save the agent again")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise LoadError(f"{at} is encrypted or compressed by method {member.compress_type}; stored and deflated members are read")
        if member.file_size > FREE_BYTES and member.file_size > MAX_RATIO * max(1, member.compress_size):
            raise LoadError(f"{at} unpacks {member.compress_size:,} bytes into {member.file_size:,}, over {MAX_RATIO} times: a zip bomb")

    @property
    def names(self) -> list[str]:
        """Names of all members, in the archive's order."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Unpacked bytes of a member."""
        return self._members[name].file_size

    def read(self, name: str, limit: int) -> bytes:
        """Contents of one member.

        Parameters
        ----------
        name : str
        limit : int
            Most bytes that it may hold.

        Raises
        ------
        LoadError
            When it is missing, larger than `limit` or damaged.
        """
        member = self._members.get(name)
        if member is None:
            found = ", ".join(self.names[:12]) or "none"
            raise LoadError(f"{self.where}: member {name!r} is missing (members: {found}); an agent is saved by model.save(...)")
        if member.file_size > limit:
            raise LoadError(f"{self.where}: member {name!r} holds {member.file_size:,} bytes > limit {limit:,}")
        try:
            with self._source.open(member) as f:
                data = f.read(limit + 1)
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
            raise LoadError(f"{self.where}: member {name!r} is damaged ({error}); copy or save the archive again") from None
        except Exception as error:  # zlib.error
            raise LoadError(f"{self.where}: member {name!r} cannot be unpacked ({error}); copy or save the archive again") from None
        if len(data) != member.file_size:
            raise LoadError(f"{self.where}: member {name!r} has {len(data):,} bytes, its directory says {member.file_size:,}")
        return data


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open and check a zip file.

    Raises
    ------
    LoadError
        When it is missing, no regular file, no zip archive, truncated, or refused by `Archive`.
    """
    try:
        if not path.is_file():
            raise LoadError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as f, _zip(str(path), f) as source:
            yield Archive(str(path), source)
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror or error}") from None


def archive_in(where: str, data: bytes) -> Archive:
    """The archive that `data` is; raises as `open_archive` does."""
    return Archive(where, _zip(where, io.BytesIO(data)))


def _zip(where: str, stream: io.BufferedReader | io.BytesIO) -> zipfile.ZipFile:
    head = stream.read(4)
    try:
        return zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        if head == b"PK\x03\x04":
            raise LoadError(f"{where}: a truncated or damaged zip archive ({error}); copy or save it again") from None
        raise LoadError(f"{where}: not a zip archive; model.save('agent.zip') writes one") from None
