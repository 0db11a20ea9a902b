"""Gzip data back to the tar stream: whatever zlib takes comes out the same, the rest is refused."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from dsmanager.archives.paths import MalformedError
from dsmanager.archives.reading import MAX_RATIO, tar_chunks
from fuzz.checks import refusing_with

MAX_BYTES = 4 << 20


def run(data: bytes) -> None:
    """Data without the magic are raw deflate, put between a header and a trailer that fit."""
    expected = None
    if data[:2] != b"\x1f\x8b":
        data, expected = _wrapped(data)
    cut = data[-1] if data else 0
    limit = min(MAX_BYTES, MAX_RATIO * len(data))
    found = None
    with refusing_with(MalformedError):
        found = b"".join(
            tar_chunks("gz", iter([data[:cut], data[cut:]] if cut else [data]), max_bytes=limit)
        )
    if found is not None:
        assert len(found) <= limit
        assert expected is None or found == expected


def _wrapped(deflated: bytes) -> tuple[bytes, bytes | None]:
    inflater = zlib.decompressobj(-15)
    try:
        content = inflater.decompress(deflated, MAX_BYTES)
    except zlib.error:
        content = b""
    used = deflated[: len(deflated) - len(inflater.unused_data)] if inflater.eof else deflated
    trailer = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    header = b"\x1f\x8b\x08\x00\0\0\0\0\0\xff"
    return header + used + trailer, content if inflater.eof else None


def seeds() -> Iterator[tuple[str, bytes]]:
    text = b"digit/1.0.8/a" * 20
    yield "member", gzip.compress(text, mtime=0)
    yield "two-members", gzip.compress(text, mtime=0) + gzip.compress(b"b", mtime=0)
    yield "named", b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x02\0ab" + b"name\0comment\0" + b"\0\0"
    for name, level, strategy in (("fixed", 9, zlib.Z_FIXED), ("dynamic", 9, 0), ("stored", 0, 0)):
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
        yield f"deflate-{name}", packer.compress(bytes(range(256)) + text) + packer.flush()
    yield "empty", gzip.compress(b"", mtime=0) * 3
