"""``tf.train.Example`` written from plain values, always in the same bytes.

The wire format is described in ``example.py``. Features come in the order of protobuf's
deterministic serialisation: by the bytes of their names, a name after those that it begins. Lists
are packed; an empty one is there and holds nothing. A record is returned in pieces that follow one
another, so that an image is not copied.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

__all__ = ["Feature", "bytes_feature", "example_pieces", "float_feature", "int64_feature"]

Feature: TypeAlias = tuple[bytes, ...]
"""An encoded Feature message, in pieces."""

_MASK_64 = 0xFFFFFFFFFFFFFFFF
_LARGE_BYTES = 16 << 10


def bytes_feature(*values: bytes) -> Feature:
    parts: list[bytes] = []
    for value in values:
        parts += (b"\x0a" + _varint(len(value)), value)
    return (b"\x0a" + _varint(sum(map(len, parts))), *parts)


def float_feature(values: Sequence[float]) -> Feature:
    """Values are rounded to float32. Raises OverflowError for one beyond its range."""
    return _packed(b"\x12", struct.pack(f"<{len(values)}f", *values))


def int64_feature(*values: int) -> Feature:
    return _packed(b"\x1a", b"".join(_varint(value & _MASK_64) for value in values))


def example_pieces(features: Mapping[str, Feature]) -> list[bytes]:
    """The record of an Example; small pieces are joined."""
    body: list[bytes] = []
    for name, head in _heads(tuple(features)):
        feature = features[name]
        size = sum(map(len, feature))
        length = _varint(size)
        size += len(head) + len(length)
        body += (b"\x0a" + _varint(size) + head + length, *feature)
    pieces: list[bytes] = []
    small = [b"\x0a" + _varint(sum(map(len, body)))]
    for part in body:
        if len(part) < _LARGE_BYTES:
            small.append(part)
        else:
            pieces += (b"".join(small), part)
            small = []
    return [*pieces, b"".join(small)]


@functools.lru_cache(maxsize=64)
def _heads(names: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Names in order, each with the key of its map entry: the same for every record."""
    keys = [(name, name.encode()) for name in sorted(names, key=_rank)]
    return [(name, b"\x0a" + _varint(len(key)) + key + b"\x12") for name, key in keys]


def _rank(name: str) -> bytes:
    return name.encode() + b"\xff"  # which is in no name: the end comes after every byte


def _packed(kind: bytes, values: bytes) -> Feature:
    if not values:
        return (kind + b"\0",)
    inner = b"\x0a" + _varint(len(values)) + values
    return (kind + _varint(len(inner)) + inner,)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _ONE_BYTE[value]
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))
