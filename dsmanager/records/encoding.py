"""``tf.train.Example`` written from plain values, always in the same bytes.

The wire format is described in ``example.py``. Features come in the order of protobuf's
deterministic serialisation: by the bytes of their names, a name after those that it begins. Lists
are packed; an empty one is there and holds nothing. A record is returned in pieces that follow one
another, so that an image is not copied.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

__all__ = ["Feature", "bytes_feature", "example_pieces", "float_feature", "int64_feature", "varint"]

Feature: TypeAlias = tuple[bytes, ...]
"""An encoded Feature message, in pieces."""

_MASK_64 = 0xFFFFFFFFFFFFFFFF
_LARGE_BYTES = 16 << 10
_CACHED_BYTES = 256
_AFTER_ALL = b"\xff"  # which is in no name: the end of one comes after every byte


def bytes_feature(*values: bytes) -> Feature:
    parts: list[bytes] = []
    for value in values:
        parts += (b"\x0a" + varint(len(value)), value)
    length = sum(map(len, parts))
    head = b"\x0a" + varint(length)
    return (head, *parts) if length >= _LARGE_BYTES else (head + b"".join(parts),)


def float_feature(values: Sequence[float]) -> Feature:
    """Values are rounded to float32. Raises OverflowError for one beyond its range."""
    return _packed(b"\x12", struct.pack(f"<{len(values)}f", *values))


def int64_feature(*values: int) -> Feature:
    if len(values) == 1:
        return _one_int64(values[0])
    return _packed(b"\x1a", b"".join([varint(value & _MASK_64) for value in values]))


@lru_cache(maxsize=8192)
def _one_int64(value: int) -> Feature:
    """Labels, heights and widths come again and again."""
    return _packed(b"\x1a", varint(value & _MASK_64))


def example_pieces(features: Mapping[str, Feature]) -> list[bytes]:
    """The record of an Example; small pieces are joined."""
    pieces = [b""]  # the first one gets the length of all
    small: list[bytes] = []
    for name in _in_order(tuple(features)):
        feature = features[name]
        if len(feature) == 1 and len(feature[0]) < _CACHED_BYTES:
            small.append(_entry(name, feature[0]))
            continue
        small.append(_begun(name, sum(map(len, feature))))
        for part in feature:
            if len(part) < _LARGE_BYTES:
                small.append(part)
            else:
                pieces += (b"".join(small), part)
                small.clear()
    pieces.append(b"".join(small))
    pieces[1] = b"\x0a" + varint(sum(map(len, pieces))) + pieces[1]
    return pieces[1:]


@lru_cache
def _in_order(names: tuple[str, ...]) -> list[str]:
    return sorted(names, key=lambda name: name.encode() + _AFTER_ALL)


@lru_cache(maxsize=8192)
def _entry(name: str, feature: bytes) -> bytes:
    """A whole entry of the map; many examples have the same ones."""
    return _begun(name, len(feature)) + feature


def _begun(name: str, length: int) -> bytes:
    """How an entry of the map begins whose feature has that length."""
    key = name.encode()
    head = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(length)
    return b"\x0a" + varint(len(head) + length) + head


def _packed(kind: bytes, values: bytes) -> Feature:
    if not values:
        return (kind + b"\0",)
    inner = b"\x0a" + varint(len(values)) + values
    return (kind + varint(len(inner)) + inner,)


def varint(value: int) -> bytes:
    """Base 128, the lowest seven bits first; of a number that is not negative."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 1 << 14:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 1 << 21:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))
