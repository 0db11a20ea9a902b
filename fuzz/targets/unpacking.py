"""Compressed tars of others: bzip2 and xz, one stream after the other, as their own tools do it."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Generator, Iterator

from dsmanager.archives.paths import MalformedError
from dsmanager.ingest.tars.task import _unpacked
from fuzz.checks import refusing_with

MAX_BYTES = 4 << 20


def run(data: bytes) -> None:
    """Compressed data; anything else is the content of streams that are whole, or nearly so."""
    expected = None
    if not data.startswith((b"BZh", b"\xfd7zXZ\x00", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        data, expected = _packed(data)
    found = None
    with refusing_with(MalformedError):
        found = _taken(_unpacked(_pieces(data)))
    if expected is not None:
        assert found == expected


def _taken(chunks: Iterator[bytes]) -> bytes:
    """As much of it as is enough: a tar may be a thousand times as large as its archive."""
    taken = b""
    for chunk in chunks:
        assert chunk
        taken += chunk
        if len(taken) > MAX_BYTES:
            break
    return taken


def _pieces(data: bytes) -> Generator[bytes]:
    """In pieces as they might arrive; the last byte says how long they are."""
    step = (data[-1] if data else 0) % 97 * 5 + 1
    for start in range(0, len(data), step):
        yield data[start : start + step]


def _packed(data: bytes) -> tuple[bytes, bytes | None]:
    """The first byte says how; where bit 7 is set a byte is wrong, or the end is missing."""
    how, rest = (data[0], data[1:]) if data else (0, b"x")
    packed = b""
    for part in rest.split(b"\n", 3):
        if how & 1:
            check = (lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_NONE)[(how >> 1) % 3]
            packed += lzma.compress(part, check=check, preset=0) + bytes(how >> 3 & 4)
        else:
            packed += bz2.compress(part, 1)
    if not how & 0x80:
        return packed, b"".join(rest.split(b"\n", 3))
    at = (how >> 1) * 7 % len(packed)
    changed = packed[:at] if how & 2 else packed[:at] + bytes([how]) + packed[at + 1 :]
    return changed, None


def seeds() -> Iterator[tuple[str, bytes]]:
    text = b"train/0001.jpg" * 20
    yield "bzip2", bz2.compress(text)
    yield "bzip2-two", bz2.compress(text) + bz2.compress(b"b")
    yield "bzip2-cut", bz2.compress(text)[:-5]
    yield "xz", lzma.compress(text)
    yield "xz-padded", lzma.compress(text) + bytes(8) + lzma.compress(b"b") + bytes(4)
    yield "xz-then-lzma", lzma.compress(text) + lzma.compress(b"b", lzma.FORMAT_ALONE)
    yield "xz-huge-dictionary", _with_a_huge_dictionary()
    yield "empty", b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0"
    for number in (0, 1, 0x81, 0x82, 0x86, 0xFF):
        yield f"packed-{number}", bytes([number]) + b"some\ntext\nin parts"


def _with_a_huge_dictionary() -> bytes:
    """A stream whose header asks for 1.5 GiB, which nobody needs for a letter."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}]
    stream = bytearray(lzma.compress(b"a", filters=filters))
    stream[16] = 37  # the property of LZMA2: 3 << 29 bytes
    stream[20:24] = zlib.crc32(stream[12:20]).to_bytes(4, "little")
    return bytes(stream)
