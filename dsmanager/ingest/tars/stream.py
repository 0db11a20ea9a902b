"""A tar as a stream of members, read once and forwards, whoever made it.

Owns what a foreign tar may hold: ustar, GNU, PAX and old V7 headers, long names, base-256 sizes.
Unlike :mod:`dsmanager.archives.tar`, which takes nothing but archives of ours, it passes over
folders, links and devices; it counts them for whoever asks. What is damaged, cut off, sparse or
followed by something else is refused: nothing is left out silently. The content of a member is
only read when it is taken; a header never makes it allocate more than a bound.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from dsmanager.archives.paths import MalformedError
from dsmanager.archives.tar import BLOCK_BYTES, ByteStream, checksum
from dsmanager.progress import Progress

__all__ = ["ChunkStream", "FileStream", "LeftOut", "Member", "Stream", "TarReader"]

MAX_MEMBER_BYTES = 2**31 - 1
"""As much as a ``tf.train.Example`` can be: the bound of protobuf."""

_WINDOW_BYTES = 8 << 10  # holds headers and labels between two images
_COUNTED_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
_MAX_SIZE = (1 << 63) - 1
_ZEROS = bytes(BLOCK_BYTES)
_FILES = {b"0", b"\0", b"7"}
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"L", b"K", b"S"
_EXTENDED = {_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, b"X"}
_KINDS = {b"1": "links", b"2": "links", b"5": "folders"}


class Stream(Protocol):
    """Bytes from front to back."""

    def take(self, count: int) -> bytes:
        """Exactly so many. Raises MalformedError when there are fewer."""

    def skip(self, count: int) -> None:
        """Passes over so many. Raises as :meth:`take`."""

    def rest(self) -> Iterator[bytes | memoryview]: ...


class ChunkStream:
    """A stream over chunks, as they are decompressed or arrive."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._stream = ByteStream(chunks)

    def take(self, count: int) -> bytes:
        return self._stream.take(count)

    def skip(self, count: int) -> None:
        for _ in self._stream.pieces(count):
            pass

    def rest(self) -> Iterator[bytes | memoryview]:
        return self._stream.rest()


class FileStream:
    """A stream over a plain file: what is taken comes straight from it, what is skipped is not
    read. Both count as bytes of ``progress``.
    """

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._descriptor = file.fileno()
        self._size_bytes = os.fstat(self._descriptor).st_size
        self._progress = progress
        self._at = self._counted = 0
        self._window, self._window_at = b"", 0

    def take(self, count: int) -> bytes:
        start = self._at - self._window_at
        if count > _WINDOW_BYTES:
            if self._at + count > self._size_bytes:  # before there is room for what is not there
                raise _cut_off(self._size_bytes)
            content = self._read(count)
        else:
            if not 0 <= start <= len(self._window) - count:
                self._window, self._window_at, start = self._read(_WINDOW_BYTES), self._at, 0
            content = self._window[start : start + count]
        if len(content) < count:
            raise _cut_off(self._at + len(content))
        self._move(count)
        return content

    def skip(self, count: int) -> None:
        if self._at + count > self._size_bytes:
            raise _cut_off(self._size_bytes)
        self._move(count)

    def rest(self) -> Iterator[bytes | memoryview]:
        while chunk := self._read(1 << 20):
            self._move(len(chunk))
            yield chunk
        self._progress.add_bytes(self._at - self._counted)
        self._counted = self._at

    def _read(self, count: int) -> bytes:
        content = os.pread(self._descriptor, count, self._at)
        while len(content) < count:  # one pread gives 2 GiB at most
            more = os.pread(self._descriptor, count - len(content), self._at + len(content))
            if not more:
                break
            content += more
        return content

    def _move(self, count: int) -> None:
        self._at += count
        if self._at - self._counted > _COUNTED_BYTES:
            self._progress.add_bytes(self._at - self._counted)
            self._counted = self._at


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of a tar. Its name is as it stands there, decoded."""

    name: str
    size: int


class LeftOut:
    """What was passed over, counted by kind, with the first name of each."""

    def __init__(self) -> None:
        self.kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, name: str) -> None:
        count, first = self.kinds.get(kind, (0, name))
        self.kinds[kind] = (count + 1, first)


class TarReader:
    """The regular files of one tar, in order. :meth:`read` takes the content of the last one."""

    def __init__(self, stream: Stream, left_out: LeftOut) -> None:
        self._stream = stream
        self._left_out = left_out
        self._unread = self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Raises MalformedError for anything that is not one whole tar."""
        while (member := self._next()) is not None:
            yield member

    def read(self) -> bytes:
        """The content of the member at hand, once. Raises MalformedError when it is cut off."""
        content = self._stream.take(self._unread)
        self._unread = 0
        return content

    def _next(self) -> Member | None:
        long_name: bytes | None = None
        pax: dict[bytes, bytes] = {}
        while True:
            if self._unread or self._padding:
                self._stream.skip(self._unread + self._padding)
            self._unread = self._padding = 0
            header = self._stream.take(BLOCK_BYTES)
            if header == _ZEROS:
                self._check_end(bool(pax) or long_name is not None)
                return None
            name, size, kind = _parse(header)
            if kind in _EXTENDED:
                content = self._extended(size)
                if kind == _LONG_NAME:
                    long_name = content.split(b"\0", 1)[0]
                elif kind == _PAX:
                    pax = _pax_records(content)
                continue
            if b"size" in pax:
                size = _pax_size(pax[b"size"])
            name = pax.get(b"path", name if long_name is None else long_name)
            if kind == _SPARSE or any(key.startswith(b"GNU.sparse.") for key in pax):
                raise MalformedError(f"{_text(name)!a} is a sparse file, which no record can hold")
            long_name, pax = None, {}
            if kind in _FILES and not name.endswith(b"/"):
                self._unread, self._padding = size, -size % BLOCK_BYTES
                return Member(_text(name), size)
            # Of links and devices some writers note a size, and no content follows.
            self._padding = size + -size % BLOCK_BYTES if kind not in b"12345" else 0
            kind_text = "folders" if kind in _FILES else _KINDS.get(kind, "special files")
            if kind_text != "folders":
                self._left_out.add(kind_text, _text(name))

    def _extended(self, size: int) -> bytes:
        if size > _MAX_HEADER_BYTES:
            raise MalformedError("an extended header is too large")
        content = self._stream.take(size)
        self._stream.skip(-size % BLOCK_BYTES)
        return content

    def _check_end(self, is_expecting: bool) -> None:
        if is_expecting:
            raise MalformedError("the tar ends after an extended header")
        for piece in self._stream.rest():
            if bytes(piece).strip(b"\0"):
                raise MalformedError(
                    "there is something after its end; tars that were put one after the other "
                    "have to be taken apart"
                )


def _cut_off(offset: int) -> MalformedError:
    return MalformedError(f"it is cut off: its content ends at byte {offset:,}")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _parse(header: bytes) -> tuple[bytes, int, bytes]:
    """``(name, size, kind)`` of a header block."""
    if _number(header[148:156], "checksum") != checksum(header):
        raise MalformedError("this is no tar, or a header of it is damaged")
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return name, _number(header[124:136], "size"), header[156:157]


def _number(field: bytes, what: str) -> int:
    if field[0] & 0x80:
        number = int.from_bytes(field[1:], "big")
        if field[0] != 0x80 or number > _MAX_SIZE:
            raise MalformedError(f"a {what} is negative or absurd")
        return number
    digits = field.strip(b"\0 ")
    if digits.isdigit() and b"8" not in digits and b"9" not in digits:
        return int(digits, 8)
    if digits or what != "size":
        raise MalformedError("this is no tar, or a header of it is damaged")
    return 0


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """The records of a PAX header by key; the last of a key counts."""
    records = {}
    at, end = 0, len(content.rstrip(b"\0"))
    while at < end:
        digits, space, _ = content[at : at + 8].partition(b" ")
        if not space or not digits.isdigit() or not 0 < int(digits) <= len(content) - at:
            raise MalformedError("a PAX header is damaged")
        record = content[at : at + int(digits)]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or record[-1:] != b"\n":
            raise MalformedError("a PAX header is damaged")
        records[key] = value
        at += len(record)
    return records


def _pax_size(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19 or int(value) > _MAX_SIZE:
        raise MalformedError("a PAX size is not a number")
    return int(value)
