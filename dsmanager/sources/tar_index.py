"""What a tar holds and where, found from its headers alone: content is stepped over, never read.

A tar within a tar is a range of the outer file. Headers are parsed as strictly as those of our own
archives (``archives/tar.py``): files and folders only, bounded headers, whole members.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from dsmanager.archives.paths import MalformedError
from dsmanager.archives.tar import BLOCK_BYTES, entries
from dsmanager.errors import VerificationError

__all__ = ["CutOffError", "Member", "members"]

_BUFFER_BYTES = 1536  # the padding of a member and the header after it
_CHUNK_BYTES = 1 << 16


class CutOffError(VerificationError):
    """A tar ends before the content of a member does."""


class Member(NamedTuple):
    """A regular file of a tar: ``size`` bytes at ``offset`` of the outermost file."""

    path: str
    offset: int
    size: int


def members(descriptor: int, offset: int, size: int, *, what: str) -> Iterator[Member]:
    """The regular files of the tar in that range of an open file, in the order of the tar.

    ``what`` names the tar in errors. Raises VerificationError for a tar that is damaged or holds
    anything but files and folders, CutOffError before a member that is not all there, and OSError
    when it cannot be read.
    """
    window = _Window(descriptor, offset, offset + size)
    hint = "fetch it again and compare its size and checksum"
    try:
        for entry in entries(window, max_headers=size // BLOCK_BYTES + 1):
            if entry.is_folder:
                continue
            member = Member(entry.path, window.position, entry.size)
            if entry.size > window.left:
                raise CutOffError(f"{what} is damaged: {window.cut_off()}", hint=hint)
            window.skip(entry.size)
            yield member
    except MalformedError as error:
        raise VerificationError(f"{what} is damaged: {error}", hint=hint) from error


class _Window:
    """A range of a file, taken as ``ByteStream`` gives a stream, of which parts can be skipped."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._end = end
        self.position = start
        self._buffer = b""
        self._buffer_start = start

    @property
    def offset(self) -> int:
        return self.position - self._start

    @property
    def left(self) -> int:
        return self._end - self.position

    def skip(self, count: int) -> None:
        """Passes over so many bytes that are there."""
        self.position += count

    def take(self, count: int) -> bytes:
        position = self.position
        at = position - self._buffer_start
        if not 0 <= at <= len(self._buffer) - count:
            if count > self.left:
                raise self.cut_off()
            wanted = min(max(count, _BUFFER_BYTES), self.left)
            self._buffer = os.pread(self._descriptor, wanted, position)
            self._buffer_start, at = position, 0
            if len(self._buffer) < count:
                raise self.cut_off()
        self.position = position + count
        return self._buffer[at : at + count]

    def rest(self) -> Iterator[memoryview]:
        while self.left:
            yield memoryview(self.take(min(_CHUNK_BYTES, self.left)))

    def cut_off(self) -> MalformedError:
        return MalformedError(f"it is cut off: its content ends at byte {self._end:,}")
