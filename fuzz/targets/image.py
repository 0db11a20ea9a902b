"""Images by their headers: a size that is there, or one clear reason why nothing can be stored."""

from __future__ import annotations

from collections.abc import Iterator

from dsmanager.archives.paths import MalformedError
from dsmanager.ingest.tars.grouping import TarRecord
from dsmanager.ingest.tars.records import IncompleteError, default_features
from dsmanager.sources.images import BadImageError, rgb_jpeg
from dsmanager.sources.jpeg import frame_of, is_ended
from fuzz.checks import refusing_with
from fuzz.structure import Script

PNG = b"\x89PNG\r\n\x1a\n"
_MARKERS = (0xC0, 0xC2, 0xC4, 0xC8, 0xCC, 0xCF, 0xD0, 0xD8, 0xD9, 0xDA, 0xDB, 0xE0, 0xE1, 0xFE)
_MARKERS += (0x01, 0x00, 0xFF)
_MOST_PIXELS = 1 << 20


def run(data: bytes) -> None:
    """JPEG, PNG, or a script of the segments of a JPEG."""
    is_image = data[:2] == b"\xff\xd8" or data[:8] == PNG or not data
    content = data if is_image else _jpeg(Script(data))
    frame = frame_of(content)
    if frame is not None:
        assert content[:2] == b"\xff\xd8"
        assert 0 <= frame.height < 1 << 16
        assert 0 <= frame.width < 1 << 16
        assert frame == frame_of(memoryview(content))
        assert frame_of(content[:11]) in (None, frame)
    for name in ("jpg", "png"):
        with refusing_with(MalformedError, IncompleteError):
            record = TarRecord("a", {name: content, "cls": data[-4:]})
            image, label, size = default_features(record)
            assert image is content
            assert int(data[-4:]) == label
            assert all(each > 0 for each in size)
    if _pixels(content) <= _MOST_PIXELS:  # larger ones are decoded, which takes its time
        with refusing_with(BadImageError):
            made = rgb_jpeg(content)
            assert is_ended(made.content) or not made.was
            assert made.height > 0
            assert made.width > 0
            assert made.was or made.content is content


def _pixels(content: bytes) -> int:
    """As many as any header in it may say."""
    if content.startswith(PNG):
        width, height = content[16:20], content[20:24]
        return int.from_bytes(width, "big") * int.from_bytes(height, "big")
    most, at = 0, content.find(b"\xff")
    while at >= 0:
        height, width = content[at + 5 : at + 7], content[at + 7 : at + 9]
        most = max(most, int.from_bytes(height, "big") * int.from_bytes(width, "big"))
        at = content.find(b"\xff", at + 1)
    return most


def _jpeg(script: Script) -> bytes:
    parts = [b"\xff\xd8"]
    while script and len(parts) < 40:
        marker, flags = script.pick(_MARKERS), script.byte()
        body = script.bytes(flags & 15)
        if marker in (0xC0, 0xC2) and flags & 16:
            body = bytes([8, 0, script.byte(), 0, script.byte(), script.byte() % 5]) + body
        length = script.number() if flags & 0xE0 == 0xE0 else len(body) + 2
        parts.append(b"\xff" + bytes([marker]) + length.to_bytes(2, "big") + body)
    return b"".join(parts) + (b"\xff\xd9" if script.byte() & 1 else b"")


def seeds() -> Iterator[tuple[str, bytes]]:
    """The corpus has small images of Pillow's besides."""
    yield "header", b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x07\x00\x09\x01\x01\x11\x00\xff\xd9"
    yield "padding", b"\xff\xd8" + b"\xff" * 30 + b"\xc0\x00\x0b\x08\x00\x07\x00\x09\x01\x011"
    yield "no-length", b"\xff\xd8" + b"\xff\xe0\x00\x00" * 20
    yield "script", bytes([0, 0x19, 1, 1, 1, 3, 7, 9, 3, 9, 8, 4, 1, 2, 9, 3, 1, 1])
