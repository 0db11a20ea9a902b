"""How a tar stream becomes archive bytes. FIXED FOR GOOD: later work may change speed, not bytes.

The stream is cut into blocks of a fixed size and every block is compressed on its own, so that
any number of threads gives the same archive.

``gz``: one gzip member (mtime 0, no name, OS 255). A block of 1 MiB is raw deflate by isal at
level 2, ended by a sync flush on a byte boundary; an empty final block and the trailer follow the
last one. A block is stored, in pieces of 65,535 bytes, when compressing it does not make it
smaller, or when a sample says that it is not worth it: 16 pieces of 1,024 bytes, one in the middle
of each sixteenth, compressed together at level 1, that do not shrink by a 32nd. Blocks of 16 KiB or
less are always tried. Stored bytes depend on neither compressor nor CPU.

``zst``: a block of 4 MiB is one frame, level 3, with content size and checksum.

``none``: the tar stream itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

import isal
import zstandard
from isal import isal_zlib

from dsmanager.errors import UsageError
from dsmanager.refs import COMPRESSION_SUFFIXES

__all__ = ["Compressed", "Compressor", "compressor_for"]


@dataclass(frozen=True, slots=True)
class Compressed:
    """One block of the tar stream as it is in the archive."""

    data: bytes | memoryview
    crc32: int
    """Of the block before compression; 0 where the format has no use for it."""
    size: int
    """Bytes of the block before compression."""


class Compressor(Protocol):
    """One archive format; :meth:`compress` may run on many threads, the rest on one, in order."""

    block_bytes: int
    parameters: dict[str, str | int]
    """What the sidecar says of it."""

    def start(self) -> bytes: ...

    def compress(self, block: memoryview) -> Compressed: ...

    def add(self, block: Compressed) -> bytes | memoryview:
        """Takes the next block in order; returns its bytes for the archive."""

    def end(self) -> bytes: ...


def compressor_for(compression: str) -> Compressor:
    """A new compressor for ``gz``, ``zst`` or ``none``. Raises UsageError for others."""
    formats: dict[str, type[Compressor]] = {"gz": _Gzip, "zst": _Zstandard, "none": _Plain}
    if compression not in formats:
        names = ", ".join(COMPRESSION_SUFFIXES)
        raise UsageError(
            f"'{compression}' is no compression", hint=f"use --compression with one of {names}"
        )
    return formats[compression]()


_LEVEL = 2
_SAMPLE_LEVEL = 1
_SAMPLE_PIECES = 16
_SAMPLE_PIECE_BYTES = 1024
_MAX_STORED_BYTES = 0xFFFF
_EMPTY_FINAL_BLOCK = b"\x03\x00"


class _Gzip:
    block_bytes = 1 << 20

    def __init__(self) -> None:
        self.parameters: dict[str, str | int] = {
            "format": "gz",
            "compressor": "isal",
            "version": f"{isal.__version__} (ISA-L {isal.ISAL_VERSION})",
            "level": _LEVEL,
            "block_size": self.block_bytes,
            "stored_rule": "sample-16x1024-level-1-saves-less-than-1/32",
        }
        self._crc32 = 0
        self._size = 0

    def start(self) -> bytes:
        return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def compress(self, block: memoryview) -> Compressed:
        return Compressed(_deflated(block), isal_zlib.crc32(block), len(block))

    def add(self, block: Compressed) -> bytes | memoryview:
        self._crc32 = isal_zlib.crc32_combine(self._crc32, block.crc32, block.size)
        self._size += block.size
        return block.data

    def end(self) -> bytes:
        return _EMPTY_FINAL_BLOCK + struct.pack("<II", self._crc32, self._size & 0xFFFFFFFF)


def _deflated(block: memoryview) -> bytes:
    if _is_worth_compressing(block):
        data = _deflate(block, _LEVEL)
        if len(data) < len(block):
            return data
    return _stored(block)


def _is_worth_compressing(block: memoryview) -> bool:
    sample_bytes = _SAMPLE_PIECES * _SAMPLE_PIECE_BYTES
    if len(block) <= sample_bytes:
        return True
    stride = len(block) // _SAMPLE_PIECES
    first = (stride - _SAMPLE_PIECE_BYTES) // 2
    sample = b"".join(
        block[start : start + _SAMPLE_PIECE_BYTES]
        for start in range(first, first + _SAMPLE_PIECES * stride, stride)
    )
    return len(_deflate(sample, _SAMPLE_LEVEL)) <= sample_bytes - sample_bytes // 32


def _deflate(data: bytes | memoryview, level: int) -> bytes:
    """Raw deflate of one block, ended on a byte boundary and not final."""
    compressor = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush(isal_zlib.Z_SYNC_FLUSH)


def _stored(block: memoryview) -> bytes:
    pieces: list[bytes | memoryview] = []
    for start in range(0, len(block), _MAX_STORED_BYTES):
        piece = block[start : start + _MAX_STORED_BYTES]
        pieces += (struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF), piece)
    return b"".join(pieces)


class _Zstandard:
    block_bytes = 4 << 20
    _level = 3

    def __init__(self) -> None:
        self.parameters: dict[str, str | int] = {
            "format": "zst",
            "compressor": "zstandard",
            "version": ".".join(map(str, zstandard.ZSTD_VERSION)),
            "level": self._level,
            "block_size": self.block_bytes,
        }

    def start(self) -> bytes:
        return b""

    def compress(self, block: memoryview) -> Compressed:
        compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        return Compressed(compressor.compress(block), 0, len(block))

    def add(self, block: Compressed) -> bytes | memoryview:
        return block.data

    def end(self) -> bytes:
        return b""


class _Plain:
    block_bytes = 1 << 20

    def __init__(self) -> None:
        self.parameters: dict[str, str | int] = {"format": "none"}

    def start(self) -> bytes:
        return b""

    def compress(self, block: memoryview) -> Compressed:
        return Compressed(block, 0, len(block))

    def add(self, block: Compressed) -> bytes | memoryview:
        return block.data

    def end(self) -> bytes:
        return b""
