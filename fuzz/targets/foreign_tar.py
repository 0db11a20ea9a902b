"""Tars of others, grouped into records: a file and a stream alike, and nothing made up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

from dsmanager.archives.paths import MalformedError
from dsmanager.ingest.tars.grouping import SPLIT_RULES, TarRecord, group
from dsmanager.ingest.tars.stream import ChunkStream, FileStream, LeftOut, Stream, TarReader
from dsmanager.progress import Progress
from fuzz.checks import refusing_with, scratch_folder
from fuzz.structure import (
    BLOCK,
    END,
    GNU,
    Script,
    padded,
    pax_record,
    tar_header,
    tar_stream,
    with_checksums,
)

Read: TypeAlias = "tuple[list[TarRecord], dict[str, tuple[int, str]]] | None"

_NAMES = (b"a.jpg", b"a.cls", b"b.jpg", b"b.seg.png", b"d/a.jpg", b"d.x/a.JPG", b".hidden", b"a.")
_NAMES += (b"__meta__/a.jpg", b"__x__", b"noextension", b"./c.jpg", b"/abs.jpg", b"\xff.jpg", b"")


def run(data: bytes) -> None:
    """Blocks of a tar, a script of headers that may lie, or one of members that do not."""
    for content in _tars(data):
        for rule in SPLIT_RULES:
            path = _path()
            path.write_bytes(content)
            with open(path, "rb", buffering=0) as file:
                found = _read(FileStream(file, Progress()), rule)
            chunks = iter([content[:700], content[700:]]) if len(content) % 2 else iter([content])
            assert found == _read(ChunkStream(chunks), rule)
            if found is not None:
                _check(found[0], content)


def _tars(data: bytes) -> set[bytes]:
    if data[257:262] == b"ustar" or len(data) >= 2 * BLOCK:
        return {data, with_checksums(data)}
    if data[:1] and data[0] & 1:
        return {tar_stream(Script(data[1:]))}
    return {_members(Script(data[1:]))}


def _read(stream: Stream, rule: str) -> Read:
    left_out, found = LeftOut(), None
    with refusing_with(MalformedError):
        found = list(group(TarReader(stream, left_out), rule, left_out))
    return None if found is None else (found, left_out.kinds)


def _check(records: list[TarRecord], content: bytes) -> None:
    size = 0
    for record in records:
        assert record.files
        for extension, file in record.files.items():
            assert extension == extension.lower()
            assert "/" not in extension
            assert file in content
            size += len(file) + BLOCK
    assert size <= len(content)


def _members(script: Script) -> bytes:
    """A proper tar: names that meet the rules of grouping, in every form that a header can have."""
    parts = []
    while script and len(parts) < 80:
        name, form, content = script.pick(_NAMES), script.byte() % 6, script.bytes(script.byte())
        header = tar_header(name, len(content), magic=GNU if form & 1 else b"ustar\x0000")
        if form == 2:
            about = pax_record(b"path", name) + pax_record(b"size", b"%d" % len(content))
            header = tar_header(b"x", len(about), b"x") + padded(about) + tar_header(b"y")
        elif form == 3:
            header = tar_header(b"l", len(name) + 1, b"L", magic=GNU) + padded(name + b"\0")
            header += tar_header(b"y", len(content), magic=GNU)
        elif form == 4:
            header = tar_header(name, b"\x80" + len(content).to_bytes(11, "big"), magic=GNU)
        elif form == 5:
            header = tar_header(name, len(content), magic=b"\0" * 8)
        parts += [header, padded(content)]
    return b"".join(parts) + END


@cache
def _path() -> Path:
    return scratch_folder() / "train-0.tar"


def seeds() -> Iterator[tuple[str, bytes]]:
    h = tar_header
    photo = h(b"a.jpg", 3) + padded(b"abc") + h(b"a.cls", 1) + padded(b"7")
    yield "record", photo + END
    yield "two-tars", photo + END + photo + END
    times = pax_record(b"path", b"p.jpg") + pax_record(b"size", b"3") + pax_record(b"mtime", b"1")
    yield "pax", h(b"x", len(times), b"x") + padded(times) + h(b"y") + padded(b"abc") + END
    yield (
        "no-space",
        h(b"x", 40, b"x") + padded(b"00000020path=p.jpg".ljust(39, b"x") + b"\n") + END,
    )
    name = b"l" * 200 + b".jpg\0"
    yield "gnu", h(b"y", len(name), b"L", magic=GNU) + padded(name) + h(magic=GNU) + END
    sparse = pax_record(b"GNU.sparse.major", b"1")
    yield "sparse", h(b"x", len(sparse), b"x") + padded(sparse) + h(b"a.jpg") + END
    yield "links", h(b"a.jpg", 0, b"1", link=b"b") + h(b"c", 9, b"2") + h(b"d/", 0, b"5") + END
    yield "twice", photo + photo + END
    yield "large", h(b"a.jpg", b"\x80" + (1 << 62).to_bytes(11, "big"), magic=GNU) + END
    yield "cut", photo[:700]
    yield "script-lies", bytes([1, 0, 0, 0, 3, 97, 98, 99, 0, 1, 0, 0, 19])
    yield "script-members", bytes([0, 0, 0, 2, 97, 98, 1, 2, 1, 55, 3, 3, 1, 9, 4, 4, 0, 5, 5, 0])
