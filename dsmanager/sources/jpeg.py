"""What the header of a JPEG says, and nothing decoded (ITU T.81, B.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Frame", "frame_of", "is_ended"]

_START = b"\xff\xd8"
_END = b"\xff\xd9"
_STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_FRAME = struct.Struct(">HHB")  # height, width, components: 5 bytes into the segment


@dataclass(frozen=True, slots=True)
class Frame:
    """Size in pixels as stored, and how many colour components there are."""

    height: int
    width: int
    components: int


def frame_of(data: bytes | memoryview) -> Frame | None:
    """The frame header, found by stepping over segments; None for no JPEG or a cut header."""
    position = 2 if data[:2] == _START else len(data)
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _STARTS_OF_FRAME:
            return Frame(*_FRAME.unpack_from(data, position + 5))
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def is_ended(data: bytes) -> bool:
    """Whether the end marker stands at the end, with nothing but zeros after it."""
    return data.endswith(_END) or data[-64:].rstrip(b"\0").endswith(_END)
