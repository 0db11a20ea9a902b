"""Zstandard frames back to the tar stream: nothing that the library's own reader would refuse."""

from __future__ import annotations

import io
from collections.abc import Iterator

import zstandard

from dsmanager.archives.paths import MalformedError
from dsmanager.archives.reading import tar_chunks
from fuzz.checks import refusing_with
from fuzz.structure import Script

MAGIC = b"\x28\xb5\x2f\xfd"
MAX_BYTES = 4 << 20


def run(data: bytes) -> None:
    if data[:4] != MAGIC:
        data = _frames(Script(data))
    cut = data[-1] if data else 0
    pieces = [data[:cut], data[cut:]] if 0 < cut < len(data) else [data]
    found = None
    with refusing_with(MalformedError):
        found = b"".join(tar_chunks("zst", iter(pieces), max_bytes=MAX_BYTES))
    if found is not None:
        assert len(found) <= MAX_BYTES
        decompressor = zstandard.ZstdDecompressor()
        with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
            assert reader.read(MAX_BYTES + 1) == found


def _frames(script: Script) -> bytes:
    """Frames of blocks whose headers are right, mostly."""
    parts = []
    while script and len(parts) < 64:
        descriptor = script.byte()
        sizes = (1 if descriptor & 0x20 else 0, 2, 4, 8)[descriptor >> 6]
        window = b"" if descriptor & 0x20 else bytes([script.byte()])
        parts.append(MAGIC + bytes([descriptor]) + window + script.bytes(sizes).ljust(sizes, b"\0"))
        is_last = False
        while not is_last and len(parts) < 64:
            flags = script.byte()
            is_last, kind = bool(flags & 1) or not script, flags >> 1 & 3
            size = script.number() if flags & 0x80 else script.byte() % 64
            content = script.bytes(1 if kind == 1 else size)
            declared = size if kind == 1 else len(content)
            parts.append((int(is_last) | kind << 1 | declared << 3).to_bytes(3, "little") + content)
    return b"".join(parts)


def seeds() -> Iterator[tuple[str, bytes]]:
    text = b"digit/1.0.8/a" * 20 + bytes(range(256))
    for name, options in (
        ("plain", {}),
        ("checksum", {"write_checksum": True}),
        ("no-size", {"write_content_size": False}),
        ("level-19", {"level": 19}),
    ):
        yield name, zstandard.ZstdCompressor(**options).compress(text)
    yield "two-frames", zstandard.ZstdCompressor().compress(b"a" * 500) * 2
    yield "skippable", MAGIC + b"\0\x58\x01\0\0" + b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    yield "script-blocks", bytes([0, 0x58, 0x80, 0, 1, 97, 2, 9, 98, 1, 3, 97, 98, 99])
    yield "script-less-than-its-size", bytes([0x40, 1])
    yield "empty-compressed-block", MAGIC + b"\x20\0\x04\0\0\x01\0\0"
    yield "script-huge-window", bytes([0, 0xFF, 1, 0])
