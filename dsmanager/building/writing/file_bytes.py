"""The content of a file or of a part of one, read when its record is written for good.

Until then the record says which file, and how it stood: anything else would write all of the data
to disk one more time. Which files that may be is the business of ``deferral.py``.
"""

from __future__ import annotations

import errno
import marshal
import os
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, cast

import google_crc32c

from dsmanager.errors import VerificationError

__all__ = [
    "WORTH_DEFERRING_BYTES",
    "ChangedFileError",
    "FileBytes",
    "Piece",
    "Record",
    "packed",
    "state_of",
    "unpacked",
]

WORTH_DEFERRING_BYTES = 16 << 10
_NOT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
"""What goes wrong whichever file it is; everything else says that it is not what it was."""


class ChangedFileError(VerificationError):
    """The file ``path`` does not hold, or no longer, what an example was to be made from."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} does not hold what its example was made from",
            hint="build again when nothing writes to what the builder reads",
        )
        self.path = path


class FileBytes:
    """Stands for the bytes of a file, or for a part of them; ``len`` is their number.

    ``crc`` is their CRC-32C, where a builder has read them, it seems from there. ``part`` is where
    they begin in the file, and how many they are.
    """

    __slots__ = ("crc", "part", "path", "state")

    def __init__(
        self,
        path: str,
        state: tuple[int, int, int],
        crc: int | None = None,
        part: tuple[int, int] | None = None,
    ) -> None:
        self.path = path
        self.state = state
        self.crc = crc
        self.part = part

    def __reduce__(self) -> tuple[Any, ...]:
        return FileBytes, (self.path, self.state, self.crc, self.part)

    def is_unchanged(self) -> bool:
        try:
            return state_of(os.stat(self.path)) == self.state
        except OSError:
            return False

    def __len__(self) -> int:
        return self.state[0] if self.part is None else self.part[1]

    def holds(self, content: bytes) -> bool:
        """Whether that, and nothing else, is there."""
        try:
            return self.read() == content
        except (OSError, ChangedFileError):
            return False

    def read(self) -> bytes:
        """Raises ChangedFileError."""
        buffer = bytearray(len(self))
        self.read_into(memoryview(buffer))
        content = bytes(buffer)
        if self.crc not in (None, google_crc32c.extend(0, content)):
            raise ChangedFileError(self.path)
        return content

    def read_into(self, target: memoryview) -> None:
        """Fills ``target``, of as many bytes; their CRC is not looked at.

        Raises ChangedFileError, and OSError when memory, descriptors or the disk fail.
        """
        self.use(lambda descriptor, _: _fill(target, descriptor))

    def use(self, take: Callable[[int, int], None]) -> None:
        """Has ``take`` the descriptor of the file, where the bytes begin, and how many they are.

        EOFError of it says that the file is shorter than it was. Raises what :meth:`read_into`
        raises; what changes in the file after ``take`` has ended is not noticed.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if self.part is None:
                    take(descriptor, self.state[0])
                else:
                    os.lseek(descriptor, self.part[0], os.SEEK_SET)
                    take(descriptor, self.part[1])
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except EOFError as error:
            raise ChangedFileError(self.path) from error
        except OSError as error:
            if error.errno in _NOT_OF_THE_FILE:
                raise
            raise ChangedFileError(self.path) from error
        if state_of(status) != self.state:
            raise ChangedFileError(self.path)


def _fill(target: memoryview, descriptor: int) -> None:
    got = os.readv(descriptor, [target])
    while got < len(target):
        more = os.readv(descriptor, [target[got:]])
        if not more:
            raise EOFError("a file became shorter")
        got += more


def packed(pieces: Iterable[Piece]) -> bytes:
    """Pieces as bytes, without the content of files: for this program and its helpers alone."""
    return marshal.dumps(
        [
            (piece.path, piece.state, None, piece.part) if type(piece) is FileBytes else piece
            for piece in pieces
        ]
    )


def unpacked(content: bytes) -> list[Piece]:
    """The pieces that :func:`packed` made this from. No file of them has a CRC any more."""
    return [
        FileBytes(*piece) if type(piece) is tuple else piece
        for piece in marshal.loads(content)  # noqa: S302 - our own, of this build
    ]


state_of = cast(
    Callable[[os.stat_result], tuple[int, int, int]],
    attrgetter("st_size", "st_mtime_ns", "st_ctime_ns"),
)
"""How a file stands: without the inode, whose number some file systems make up each time."""


Piece = bytes | FileBytes
"""Of a record: bytes, or the file that they are in."""

Record = tuple[Sequence[Piece], int]
"""A record in pieces that follow one another, and how many bytes it has."""
