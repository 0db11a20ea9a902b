"""The TFRecord reader: what it accepts is exactly the file that a writer makes of those records."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dsmanager.errors import VerificationError
from dsmanager.records.tfrecord import TFRecordWriter, masked_crc32c, read_records, scan
from fuzz.checks import refusing_with, scratch_folder
from fuzz.structure import Script


def run(data: bytes) -> None:
    """An even first byte: the rest is a file; an odd one: a script with good checksums."""
    content = data[1:] if data[:1] and not data[0] & 1 else _framed(Script(data[1:]))
    path, again = _files()
    path.write_bytes(content)
    with refusing_with(VerificationError):
        list(read_records(path, check_crc=False))
    records = None
    with refusing_with(VerificationError):
        records = list(read_records(path))
        assert scan(path) == len(records)
    if records is not None:
        with TFRecordWriter(again) as writer:
            writer.write_all(records)
        assert again.read_bytes() == content


@cache
def _files() -> tuple[Path, Path]:
    folder = scratch_folder()
    return folder / "a.tfrecord", folder / "b.tfrecord"


def _framed(script: Script) -> bytes:
    parts = []
    while script and len(parts) < 64:
        flags, payload = script.byte(), script.bytes(script.byte())
        length = (
            script.bytes(8).ljust(8, b"\0")
            if flags & 3 == 3
            else len(payload).to_bytes(8, "little")
        )
        crc = masked_crc32c(payload) ^ (flags & 4)
        head = length + (masked_crc32c(length) ^ (flags & 8)).to_bytes(4, "little")
        parts.append(head + payload + crc.to_bytes(4, "little"))
    return b"".join(parts)


def seeds() -> Iterator[tuple[str, bytes]]:
    payload = b"record"
    length = len(payload).to_bytes(8, "little")
    crc, length_crc = masked_crc32c(payload), masked_crc32c(length)
    record = length + length_crc.to_bytes(4, "little") + payload + crc.to_bytes(4, "little")
    yield "none", b"\0"
    yield "one", b"\0" + record
    yield "three", b"\0" + record * 3
    yield "cut", b"\0" + record + record[:-1]
    yield "script", bytes([1, 0, 3, 97, 98, 99, 0, 0])
    yield "script-lying-length", bytes([1, 3, 1, 97]) + b"\xff" * 8
