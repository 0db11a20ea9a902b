"""The content of a file that a builder names, read when its record is written for good.

Until then the record says which file, and how it stood: reading it at once would write all of the
data to disk one more time. A file qualifies when it has stood unchanged since before the builder
began to generate, so that one which the builder makes for an example, and takes away after it, is
read at once.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any

from dsmanager.errors import ChangedFileError

__all__ = [
    "WORTH_DEFERRING_BYTES",
    "FileBytes",
    "Piece",
    "now_ns",
    "packed",
    "unpacked",
]

WORTH_DEFERRING_BYTES = 16 << 10
_PIECE = struct.Struct("<?Q")  # whether it is a file, and how many bytes follow, of it or its path
_STATE = struct.Struct("<QqqQQ")
_CLOCK_NS = 20_000_000  # by so much the times of files may lag behind the clock


def now_ns() -> int:
    """A time that every file which is changed from now on is younger than, if clocks agree."""
    return time.time_ns() - _CLOCK_NS


class FileBytes:
    """Stands for the bytes of a file; ``len`` is their number."""

    __slots__ = ("_path", "_size_bytes", "_state")

    def __init__(self, path: str, state: tuple[int, ...]) -> None:
        self._path = path
        self._state = state
        self._size_bytes = state[0]

    @classmethod
    def of(cls, path: Any, before_ns: int) -> FileBytes | None:
        """None for what is no local file, a small one, or one that changed after ``before_ns``."""
        try:
            name = os.fspath(path)
            if type(name) is not str:
                return None
            status = os.stat(name)
        except (OSError, TypeError, ValueError):
            return None
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_size < WORTH_DEFERRING_BYTES
            or status.st_ctime_ns >= before_ns
        ):
            return None
        return cls(os.path.abspath(name), _state(status))

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
            raise self._changed() from error
        try:
            filled = 0
            while filled < len(target):
                got = os.readv(descriptor, [target[filled:]])
                if not got:
                    raise self._changed()
                filled += got
            if _state(os.fstat(descriptor)) != self._state:
                raise self._changed()
        finally:
            os.close(descriptor)

    def _changed(self) -> ChangedFileError:
        return ChangedFileError(
            f"{self._path} was changed while the dataset was built",
            hint="build again when nothing writes to what the builder reads",
        )


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
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


Piece = bytes | FileBytes
"""Of a record: bytes, or the file that they are in."""
