"""A range of a file as a file of its own, as a member of a tar is.

Whoever is given one to write may take the range in place of what reading would give.
"""

from __future__ import annotations

import io
import os
from typing import Any

__all__ = ["FilePart"]


class FilePart(io.BufferedReader):
    """``size_bytes`` at ``offset`` of an open file, to be read for as long as that stays open.

    The position of the file is neither used nor moved: parts can be read in any order, by threads
    and by forked processes. As with tarfile, nobody can seek beyond an end. Reading raises OSError
    where the file is shorter than that by now, and ValueError when it is closed.
    """

    def __init__(self, file: io.FileIO, offset: int, size_bytes: int) -> None:
        super().__init__(_Range(file, offset, size_bytes))
        self.file = file
        self.offset = offset
        self.size_bytes = size_bytes


class _Range(io.RawIOBase):
    """What is below the buffer."""

    def __init__(self, file: io.FileIO, offset: int, size_bytes: int) -> None:
        self._file, self._offset, self._size_bytes = file, offset, size_bytes
        self._at = 0

    @property
    def name(self) -> str:
        path: str = os.fspath(self._file.name)
        return path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}
        if whence not in starts:
            raise ValueError(f"whence {whence} is none of 0, 1 and 2")
        self._at = min(max(starts[whence] + offset, 0), self._size_bytes)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(memoryview(buffer).nbytes, self._left())
        if not wanted:
            return 0
        target = memoryview(buffer).cast("B")[:wanted]
        count = os.preadv(self._file.fileno(), [target], self._offset + self._at)
        self._require(count > 0)
        self._at += count
        return count

    def readall(self) -> bytes:
        pieces = []
        while left := self._left():  # one pread gives 2 GiB at most
            pieces.append(os.pread(self._file.fileno(), left, self._offset + self._at))
            self._require(len(pieces[-1]) > 0)
            self._at += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _left(self) -> int:
        return self._size_bytes - self._at

    def _require(self, is_there: bool) -> None:
        if not is_there:
            raise OSError(f"{self.name} ends before byte {self._offset + self._size_bytes:,}")
