"""``tf.train.Example`` from its bytes: names, and values as many as were counted."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dsmanager.errors import VerificationError
from dsmanager.records.example import parse_example, scan_example
from fuzz.checks import refusing_with
from fuzz.structure import Script

_KINDS = {1: bytes, 2: float, 3: int}


def run(data: bytes) -> None:
    """An even first byte: the rest is a message; an odd one: a script with good lengths."""
    message = data[1:] if data[:1] and not data[0] & 1 else _message(Script(data[1:]))
    with refusing_with(VerificationError):
        scanned = scan_example(message)
        parsed = parse_example(message)
        assert parsed.keys() == scanned.keys()
        for name, values in parsed.items():
            assert scanned[name].count == len(values)
            assert len(values) <= len(message)
            assert all(type(value) in _KINDS.values() for value in values)
            if scanned[name].kind == "int":
                assert all(-(2**63) <= value < 2**63 for value in values)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _message(script: Script) -> bytes:
    entries = []
    while script and len(entries) < 32:
        flags = script.byte()
        kind, raw = flags & 3, script.bytes(script.byte() % 40)
        values = raw if flags & 4 else _field(1, raw)
        feature = _field(kind, values) if kind else b""
        name = script.pick((b"image", b"label", b"", "é".encode(), b"\xff", b"a" * 40))
        entries.append(_field(1, _field(1, name) + _field(2, feature)))
    return _field(1, b"".join(entries))


def seeds() -> Iterator[tuple[str, bytes]]:
    def feature(name: bytes, kind: int, values: bytes) -> bytes:
        return _field(1, _field(1, name) + _field(2, _field(kind, values)))

    image = feature(b"image", 1, _field(1, b"\xff\xd8jpeg") + _field(1, b""))
    label = feature(b"label", 3, _field(1, b"\x01\x00" + b"\xff" * 9 + b"\x01"))
    box = feature(b"box", 2, _field(1, struct.pack("<4f", 0, 0.5, 1, float("nan"))))
    yield "none", b"\0"
    yield "all", b"\0" + _field(1, image + label + box)
    yield "not-packed", b"\0" + _field(1, feature(b"n", 3, b"\x08\x01\x08\x02"))
    yield "twice", b"\0" + _field(1, label + label)
    yield "long-varint", b"\0" + b"\x0a" + b"\xff" * 10
    yield "script", bytes([1, 3, 4, 1, 2, 3, 4, 1, 2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0])
