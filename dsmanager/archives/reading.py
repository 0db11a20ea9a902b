"""Archive bytes back to the tar stream, in bounded pieces: no input makes it allocate much.

The format follows from the file name, and the first bytes must agree. Gzip may have several
members, as bgzip and concatenation make them; after the last there may be nothing. Zstandard frames
are walked block by block here, because the library's stream reader takes a truncated frame for the
end of the file; dictionaries, skippable frames and windows over 128 MiB are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import zstandard
from isal import igzip_lib

from dsmanager.archives.paths import MalformedError
from dsmanager.archives.tar import ByteStream
from dsmanager.refs import COMPRESSION_SUFFIXES

__all__ = ["MAX_RATIO", "compression_of", "raw_chunks", "tar_chunks"]

MAX_RATIO = 1032
"""Deflate cannot expand more than this; nothing else is allowed to, without a sidecar."""

_CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_MAX_WINDOW = 1 << 27
_ZSTD_BLOCK_BYTES = 128 << 10
_FREE_PARTS = 1000
_MIN_MEAN_PART_BYTES = 1024


def compression_of(file_name: str) -> str:
    """``gz``, ``zst`` or ``none``, by the suffix. Raises MalformedError for other names."""
    for compression, suffix in COMPRESSION_SUFFIXES.items():
        if file_name.endswith(suffix):
            return compression
    if file_name.endswith(".tgz"):
        return "gz"
    raise MalformedError(f"its name ends in none of {', '.join(COMPRESSION_SUFFIXES.values())}")


def raw_chunks(file: BinaryIO, each: Callable[[bytes], None]) -> Iterator[bytes]:
    """The bytes of an unbuffered ``file`` as they are; ``each`` sees every chunk first."""
    while chunk := file.read(_CHUNK_BYTES):
        each(chunk)
        yield chunk


def tar_chunks(compression: str, raw: Iterator[bytes], *, max_bytes: int) -> Iterator[bytes]:
    """The tar stream in chunks of at most a few MiB.

    Raises MalformedError when ``raw`` is not whole and valid, or gives more than ``max_bytes``.
    """
    readers = {"gz": _gunzip, "zst": _unzstd, "none": _plain}
    total = 0
    for chunk in readers[compression](raw):
        total += len(chunk)
        if total > max_bytes:
            raise MalformedError(
                f"it unpacks to more than the {max_bytes:,} bytes that it may have"
            )
        yield chunk


def _plain(raw: Iterator[bytes]) -> Iterator[bytes]:
    for index, chunk in enumerate(raw):
        if index == 0 and chunk.startswith((_GZIP_MAGIC, _ZSTD_MAGIC)):
            raise MalformedError("it is compressed, and its name says that it is not")
        yield chunk


class _Tally:
    """Counts the parts of a compressed file and their content: each part costs time of its own."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.parts = 0
        self.bytes = 0

    def add_part(self) -> None:
        self.parts += 1
        if self.parts > _FREE_PARTS + self.bytes // _MIN_MEAN_PART_BYTES:
            raise MalformedError(f"it has too many tiny {self._what}")


def _gunzip(raw: Iterator[bytes]) -> Iterator[bytes]:
    tally = _Tally("gzip members")
    waiting = b""
    while waiting := waiting or next(raw, b""):
        while len(waiting) < len(_GZIP_MAGIC) and (chunk := next(raw, b"")):
            waiting += chunk
        if not waiting.startswith(_GZIP_MAGIC):
            raise MalformedError(
                "there is something after the gzip data" if tally.parts else "it is not gzip data"
            )
        tally.add_part()
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            if member.needs_input and not waiting:
                waiting = next(raw, b"")
                if not waiting:
                    raise MalformedError("it is cut off: the gzip data has no end")
            chunk = _inflated(member, waiting)
            waiting = b""
            tally.bytes += len(chunk)
            if chunk:
                yield chunk
        waiting = bytes(member.unused_data)
    if not tally.parts:
        raise MalformedError("it is empty")


def _inflated(member: igzip_lib.IgzipDecompressor, data: bytes) -> bytes:
    try:
        return bytes(member.decompress(data, _CHUNK_BYTES))
    except (igzip_lib.IsalError, EOFError, ValueError) as error:  # type: ignore[misc]
        raise MalformedError(f"its gzip data is damaged: {error}") from None


def _unzstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    stream, tally = ByteStream(raw), _Tally("Zstandard blocks")
    if not stream.more():
        raise MalformedError("it is empty")
    while stream.more():
        yield from _zstd_frame(stream, tally)


def _zstd_frame(stream: ByteStream, tally: _Tally) -> Iterator[bytes]:
    """One frame: header, blocks of at most 128 KiB, perhaps a checksum (RFC 8878, 3.1.1)."""
    header, has_checksum, content_bytes = _zstd_frame_header(stream)
    frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj()
    is_last = False
    before = tally.bytes
    try:
        while not is_last:
            tally.add_part()
            block = stream.take(3)
            fields = int.from_bytes(block, "little")
            is_last, kind, size = bool(fields & 1), fields >> 1 & 3, fields >> 3
            if kind == 3 or size > _ZSTD_BLOCK_BYTES or (kind == 2 and not size):
                raise MalformedError("its Zstandard data is damaged: a block that cannot be")
            content = stream.take(1 if kind == 1 else size)
            checksum = stream.take(4) if is_last and has_checksum else b""
            if chunk := frame.decompress(header + block + content + checksum):
                tally.bytes += len(chunk)
                yield chunk
            header = b""
    except zstandard.ZstdError as error:
        raise MalformedError(f"its Zstandard data is damaged: {error}") from None
    if not frame.eof or frame.unused_data:
        raise MalformedError("its Zstandard data is damaged: a frame without an end")
    if content_bytes not in (None, tally.bytes - before):
        raise MalformedError("its Zstandard data is damaged: a frame of another size than it says")


def _zstd_frame_header(stream: ByteStream) -> tuple[bytes, bool, int | None]:
    """The header's bytes, whether a checksum ends the frame, and its bytes of content."""
    magic = stream.take(4)
    if magic != _ZSTD_MAGIC:
        raise MalformedError("it is not, or not only, Zstandard data")
    descriptor = stream.take(1)
    flags = descriptor[0]
    is_single_segment = bool(flags & 0x20)
    if flags & 0x0B:
        raise MalformedError("its Zstandard data needs a dictionary or a newer format")
    window = b"" if is_single_segment else stream.take(1)
    size = stream.take((1 if is_single_segment else 0, 2, 4, 8)[flags >> 6])
    content_bytes = int.from_bytes(size, "little") + (256 if len(size) == 2 else 0)
    header = magic + descriptor + window + size
    return header, bool(flags & 0x04), content_bytes if size else None
