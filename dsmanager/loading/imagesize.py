"""Format, width and height of an encoded image, from its header alone."""

from __future__ import annotations

import struct

from dsmanager.sources.jpeg import frame_of

__all__ = ["image_size"]


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
    frame = frame_of(data)
    return None if frame is None else ("JPEG", frame.width, frame.height)
