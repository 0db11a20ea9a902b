"""The content of a file that a builder names, read when its record is written for good.

Until then the record says which file, and how it stood: reading it at once would write all of the
data to disk one more time. A file qualifies when it has stood unchanged since before the builder
began to generate, so that one which the builder makes for an example, and takes away after it, is
read at once.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any

from dsmanager.errors import VerificationError

__all__ = [
    "WORTH_DEFERRING_BYTES",
    "ChangedFileError",
    "Deferral",
    "FileBytes",
    "Piece",
    "packed",
    "unpacked",
]

WORTH_DEFERRING_BYTES = 16 << 10
_PIECE = struct.Struct("<?Q")  # whether it is a file, and how many bytes follow, of it or its path
_STATE = struct.Struct("<Qqq")
_TRIAL_FILES = 64
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class ChangedFileError(VerificationError):
    """The file ``path``, which a builder named, has changed before it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} was changed while the dataset was built",
            hint="build again when nothing writes to what the builder reads",
        )
        self.path = path


class FileBytes:
    """Stands for the bytes of a file; ``len`` is their number."""

    __slots__ = ("_path", "_size_bytes", "_state")

    def __init__(self, path: str, state: tuple[int, ...]) -> None:
        self._path = path
        self._state = state
        self._size_bytes = state[0]

    def is_unchanged(self) -> bool:
        try:
            return _state(os.stat(self._path)) == self._state
        except OSError:
            return False

    def __len__(self) -> int:
        return self._size_bytes

    def read(self) -> bytes:
        """Raises ChangedFileError."""
        content = bytearray(self._size_bytes)
        self.read_into(memoryview(content))
        return bytes(content)

    def read_into(self, target: memoryview) -> None:
        """Fills ``target``, of as many bytes. Raises ChangedFileError."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _GONE:
                raise ChangedFileError(self._path) from error
            raise
        try:
            filled = 0
            while filled < len(target):
                got = os.readv(descriptor, [target[filled:]])
                if not got:
                    raise ChangedFileError(self._path)
                filled += got
            if _state(os.fstat(descriptor)) != self._state:
                raise ChangedFileError(self._path)
        finally:
            os.close(descriptor)


class Deferral:
    """Decides which of the files that a generator names are read later.

    To be made just before the generator starts. The first files are read at once and looked at
    again: a builder that takes away each file once it is used gets all of them read at once.
    """

    def __init__(self) -> None:
        self._started_ns = time.time_ns()
        self._trial: list[FileBytes] = []
        self._is_refused = False

    def of(self, named: Any) -> FileBytes | None:
        """None for a file that is to be read at once, and for what is none."""
        found = None if self._is_refused else self._qualified(named)
        if found is None or len(self._trial) == _TRIAL_FILES:
            return found
        self._trial.append(found)
        self._is_refused = not all(each.is_unchanged() for each in self._trial)
        return None

    def _qualified(self, named: Any) -> FileBytes | None:
        """A regular local file, worth it, that has not changed since the generator started."""
        try:
            name = os.fspath(named)
            if type(name) is not str:
                return None
            status = os.stat(name)
        except (OSError, TypeError, ValueError):
            return None
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_size < WORTH_DEFERRING_BYTES
            or status.st_ctime_ns >= self._started_ns - _lag_ns(status.st_ctime_ns)
        ):
            return None
        path = name if os.path.isabs(name) else os.path.join(os.getcwd(), name)
        return FileBytes(path, _state(status))


def packed(pieces: Iterable[Piece]) -> bytes:
    """Pieces as bytes, without the content of files; see :func:`unpacked`."""
    parts: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, FileBytes):
            path = os.fsencode(piece._path)
            parts += (_PIECE.pack(True, len(path)), _STATE.pack(*piece._state), path)
        else:
            parts += (_PIECE.pack(False, len(piece)), piece)
    return b"".join(parts)


def unpacked(content: bytes) -> Iterator[Piece]:
    """The pieces that :func:`packed` made this from."""
    at = 0
    while at < len(content):
        is_file, length = _PIECE.unpack_from(content, at)
        at += _PIECE.size
        if is_file:
            state = _STATE.unpack_from(content, at)
            at += _STATE.size
            yield FileBytes(os.fsdecode(content[at : at + length]), state)
        else:
            yield content[at : at + length]
        at += length


def _state(status: os.stat_result) -> tuple[int, ...]:
    """Without the inode, whose number some file systems make up each time."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _lag_ns(time_ns: int) -> int:
    """By so much the time of a file may lag behind the clock: some file systems keep seconds."""
    return 20_000_000 if time_ns % 1_000_000_000 else 3_000_000_000


Piece = bytes | FileBytes
"""Of a record: bytes, or the file that they are in."""
