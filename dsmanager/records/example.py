"""``tf.train.Example`` messages read from their bytes, in pure Python.

Owns the wire format of this one message. Never decodes what the features mean.

A message is a row of fields, each a varint key ``number << 3 | wire type`` and a value; of the wire
types only 0 (varint), 2 (a varint length and that many bytes) and 5 (four bytes) occur here:

    Example   { 1: Features }
    Features  { 1: map entry { 1: key (UTF-8), 2: Feature }, repeated }
    Feature   { 1: BytesList | 2: FloatList | 3: Int64List }, or nothing at all
    BytesList { 1: bytes, repeated }
    FloatList { 1: little-endian float32, packed in one field or repeated one by one }
    Int64List { 1: varint of the two's complement in 64 bits, packed or repeated }

Anything else, a name or a list given twice included, is not what a serializer writes, and refused.
Work and memory are bounded by the length of the data.

https://protobuf.dev/programming-guides/encoding, tensorflow/core/example/{example,feature}.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from dsmanager.errors import VerificationError

__all__ = ["RawFeature", "parse_example", "scan_example"]

_VARINT, _BYTES, _FOUR = 0, 2, 5
_KINDS = {1: "bytes", 2: "float", 3: "int"}
_UNPACKED = {"bytes": _BYTES, "float": _FOUR, "int": _VARINT}
_MAX_VARINT_BITS = 64
_CONTINUED = bytes(range(0x80, 0x100))  # bytes of a varint that are not its last


@dataclass(frozen=True, slots=True)
class RawFeature:
    """One feature with its values still encoded.

    ``kind`` is ``bytes``, ``float``, ``int``, or empty for a feature without a list. ``chunks``
    holds one value each for bytes, else runs of packed values, to be read one after the other.
    """

    kind: str = ""
    chunks: list[memoryview] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many values there are, found without decoding them."""
        if self.kind == "int":
            return sum(len(bytes(chunk).translate(None, _CONTINUED)) for chunk in self.chunks)
        if self.kind == "float":
            return sum(len(chunk) // 4 for chunk in self.chunks)
        return len(self.chunks)

    def values(self) -> list[bytes] | list[float] | list[int]:
        """Raises VerificationError when a chunk does not hold whole values."""
        if self.kind == "int":
            return [value for chunk in self.chunks for value in _int64s(chunk)]
        if self.kind == "float":
            return [value for chunk in self.chunks for value in _float32s(chunk)]
        return [bytes(chunk) for chunk in self.chunks]


def parse_example(data: bytes | memoryview) -> dict[str, list[bytes] | list[float] | list[int]]:
    """Features by name, in the order of the data. Raises VerificationError."""
    return {name: feature.values() for name, feature in scan_example(data).items()}


def scan_example(data: bytes | memoryview) -> dict[str, RawFeature]:
    """As :func:`parse_example`, but leaves the values as views into ``data``."""
    example: dict[str, RawFeature] = {}
    for number, wire_type, entry in _fields(_features(memoryview(data).cast("B"))):
        if (number, wire_type) != (1, _BYTES):
            raise _damaged(f"the field {number} in Features")
        name, feature = _entry(entry)
        if name in example:
            raise _damaged("a feature twice")
        example[name] = feature
    return example


def _features(example: memoryview) -> memoryview:
    found = list(_fields(example))
    if not found:
        return example
    if len(found) > 1 or found[0][:2] != (1, _BYTES):
        raise _damaged(f"the field {found[-1][0]} beside Features")
    return found[0][2]


def _entry(entry: memoryview) -> tuple[str, RawFeature]:
    name, feature, last = "", RawFeature(), 0
    for number, wire_type, value in _fields(entry):
        if wire_type != _BYTES or not last < number <= 2:
            raise _damaged(f"the field {number} in a map entry")
        last = number
        if number == 1:
            name = _text(value)
        else:
            feature = _feature(value)
    return name, feature


def _text(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise _damaged("a name that is not UTF-8") from error


def _feature(message: memoryview) -> RawFeature:
    feature = RawFeature()
    for number, wire_type, content in _fields(message):
        if wire_type != _BYTES or number not in _KINDS or feature.kind:
            raise _damaged(f"the field {number} in a Feature")
        feature = RawFeature(_KINDS[number], list(_chunks(_KINDS[number], content)))
    return feature


def _chunks(kind: str, content: memoryview) -> Iterator[memoryview]:
    for number, wire_type, value in _fields(content):
        if number != 1 or wire_type not in (_BYTES, _UNPACKED[kind]):
            raise _damaged(f"the field {number} in a list of {kind}")
        if kind == "float" and len(value) % 4:
            raise _damaged("a list of floats that ends inside one")
        yield value


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(number, wire type, value) of every field; a varint's value is its own bytes."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        start = position
        if wire_type == _VARINT:
            _, position = _varint(message, position)
        elif wire_type == _BYTES:
            length, start = _varint(message, position)
            position = start + length
        elif wire_type == _FOUR:
            position += 4
        else:
            raise _damaged(f"the wire type {wire_type}")
        if position > end:
            raise _damaged("a field that goes beyond the end")
        yield number, wire_type, message[start:position]


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """The unsigned number at ``position``, and where the next byte is."""
    value = shift = 0
    end = len(data)
    while position < end and shift < _MAX_VARINT_BITS:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> _MAX_VARINT_BITS:
                break
            return value, position
        shift += 7
    raise _damaged("a number that does not end within 64 bits")


def _int64s(chunk: memoryview) -> Iterator[int]:
    position = 0
    while position < len(chunk):
        value, position = _varint(chunk, position)
        yield value - (1 << 64) if value >> 63 else value


def _float32s(chunk: memoryview) -> Iterator[float]:
    return (value for (value,) in struct.iter_unpack("<f", chunk))


def _damaged(what: str) -> VerificationError:
    return VerificationError(
        f"a record is no tf.train.Example: it has {what}",
        hint="check the whole dataset: dsmanager verify",
    )
