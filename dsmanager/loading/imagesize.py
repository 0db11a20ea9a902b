"""Format, width and height of an encoded image, from its header alone."""

from __future__ import annotations

import struct

__all__ = ["image_size"]

_STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def image_size(data: bytes) -> tuple[str, int, int] | None:
    """("JPEG", width, height) in pixels, as stored; None for another format or a cut header."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return "PNG", width, height
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return "GIF", width, height
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack_from("<ii", data, 18)
        return "BMP", width, abs(height)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[str, int, int] | None:
    """Steps over segments up to the start of the frame (ITU T.81, B.1)."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _STARTS_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return "JPEG", width, height
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None
