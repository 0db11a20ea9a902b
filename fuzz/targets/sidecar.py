"""The sidecar: what is read can be written and read again, and names nothing outside."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dsmanager.archives.sidecar import Sidecar
from dsmanager.errors import VerificationError
from fuzz.checks import refusing_with
from fuzz.structure import json_text

_SHA256 = "ab" * 32
DOCUMENT = {
    "schema": 1,
    "ref": "digit:1.0.8",
    "archive": "digit__1.0.8__cache.tar.gz",
    "size": 100,
    "sha256": _SHA256,
    "tar_sha256": _SHA256,
    "compression": {"format": "gz", "level": 2, "isal": "1.7.2"},
    "subdir": ["digit/1.0.8"],
    "splits": {"train": {"examples": 2, "shards": 1}},
    "created": "2025-01-02T03:04:05Z",
    "dsmanager_version": "0.1.0",
    "tfds_version": "4.9.10",
    "builder_sha256": None,
    "sources": [{"url": "https://example.org/a.zip", "size": 3, "sha256": _SHA256}],
    "license": "CC BY-SA 4.0",
    "citation": None,
    "members": [
        {"path": "digit/1.0.8/a", "size": 0, "sha256": _SHA256},
        {"path": "digit/1.0.8/é", "size": 3, "sha256": _SHA256},
    ],
}
WORDS = ("digit/1.0.8/b", "digit/1.0.8/A", "digit/.config", "other/1.0.8", "digit", 1, _SHA256)


def run(data: bytes) -> None:
    text = json_text(data, (DOCUMENT,), WORDS)
    sidecar = None
    with refusing_with(VerificationError):
        sidecar = Sidecar.from_bytes(text, "digit__1.0.8__cache.tar.gz.json")
    if sidecar is None:
        return
    assert "/" not in sidecar.archive
    for member in sidecar.members:
        assert member.path.split("/")[0] == sidecar.ref.name
        assert not {"", ".", ".."} & set(member.path.split("/"))
    assert Sidecar.from_bytes(sidecar.to_bytes(), "again.json") == sidecar


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "whole", json.dumps(DOCUMENT).encode()
    yield "surrogate-license", json.dumps({**DOCUMENT, "license": "\ud800"}).encode()
    yield "infinity", json.dumps(DOCUMENT).replace('"level": 2', '"level": 1e999').encode()
    deep = json.dumps({**DOCUMENT, "compression": "DEEP"}).replace(
        '"DEEP"', '{"a":' * 400 + "1" + "}" * 400
    )
    yield "deep-compression", deep.encode()
    yield "deep", b"[" * 3000
    yield "not-utf-8", b'{"schema": "\xff"}'
    yield "script-delete", bytes([0xFF, 3, 0, 1])
    yield "script-odd-member", bytes([0xFF, 30, 0, 0, 15])
