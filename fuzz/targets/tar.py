"""The tar reader with the layout rules behind it: members of an archive, sidecar or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsmanager.archives.extraction import Expected, _Nowhere, _Pass
from dsmanager.archives.paths import MalformedError, PathRegistry
from dsmanager.archives.sidecar import Member, Sidecar
from dsmanager.archives.tar import ByteStream
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from fuzz.checks import refusing_with
from fuzz.structure import (
    END,
    GNU,
    Script,
    padded,
    pax_record,
    tar_header,
    tar_stream,
    with_checksums,
)

MAX_BYTES = 1 << 20
ARCHIVE = Path("digit__1.0.8__cache.tar")
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_MEMBERS = (Member("digit/1.0.8/a", 0, _EMPTY), Member("digit/1.0.8/b", 3, _EMPTY))
SIDECAR = Sidecar(
    *(Ref("digit", None, "1.0.8"), ARCHIVE.name, 0, "0" * 64, "0" * 64, {"format": "none"}),
    *(("digit/1.0.8",), _MEMBERS, "2025", "0", None, None, (), None, None, {}),
)


@dataclasses.dataclass
class _Seen(_Nowhere):
    """A sink that keeps the names and counts the bytes."""

    paths: list[str] = dataclasses.field(default_factory=list)
    taken: int = 0

    def folder(self, path: str) -> None:
        self._check(path)

    def file(self, path: str, size: int) -> Any:
        self._check(path)
        self.paths.append(path)
        return super().file(path, size)

    def _check(self, path: str) -> None:
        assert path.split("/")[0] == "digit", path
        assert not {"", ".", ".."} & set(path.split("/")), path
        assert "\0" not in path, path


class _Hashes:
    def add(self, piece: memoryview) -> None:
        pass

    def end(self, path: str) -> None:
        pass


def run(data: bytes) -> None:
    if data[257:262] == b"ustar":
        streams = {data, with_checksums(data)}
    else:
        streams = {tar_stream(Script(data))}
    for stream in streams:
        for sidecar in (None, SIDECAR):
            with refusing_with(MalformedError):
                _read(stream, sidecar)


def _read(data: bytes, sidecar: Sidecar | None) -> None:
    seen = _Seen()
    expected = Expected("digit", None, None, None, sidecar)
    reading = _Pass(ARCHIVE, seen, expected, Progress(), CancelToken())
    chunks = iter([data[:700], data[700:]]) if len(data) % 2 else iter([data])
    reading._walk(ByteStream(chunks), _Hashes(), MAX_BYTES)
    reading._layout.finish()
    names = PathRegistry()
    for path in seen.paths:
        names.add_file(path)
    if sidecar is not None:
        assert sorted(seen.paths) == [member.path for member in sidecar.members]


def seeds() -> Iterator[tuple[str, bytes]]:
    h = tar_header
    good = h() + h(b"digit/1.0.8/b", 3) + padded(b"abc")
    yield "two-files", good + END
    yield "folders", h(b"./", 0, b"5") + h(b"digit/1.0.8/", 0, b"5") + good + END
    times = pax_record(b"path", b"digit/1.0.8/p") + pax_record(b"mtime", b"1.5")
    yield "pax", h(b"x", len(times), b"x") + padded(times) + h() + END
    name = b"digit/1.0.8/" + b"l" * 200 + b"\0"
    yield "gnu", h(b"y", len(name), b"L", magic=GNU) + padded(name) + h(magic=GNU) + END
    yield "base-256", h(size=b"\x80" + (3).to_bytes(11, "big"), magic=GNU) + padded(b"abc") + END
    yield "prefix", h(b"q", prefix=b"digit/1.0.8") + END
    yield "script-members", bytes([0, 0, 0, 3, 97, 98, 99, 0, 1, 0, 0, 19])
    yield "script-pax", bytes([3, 5, 0, 2, 0, 0, 1, 17, 0, 0, 0, 0, 0, 19])
