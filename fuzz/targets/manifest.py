"""The manifest, of both formats: what is read can be written and read again, and stays inside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from dsmanager.errors import UsageError
from dsmanager.manifest import parse_manifest, to_armory
from fuzz.checks import refusing_with
from fuzz.structure import json_text

_ENTRY = {
    "archive": "digit__1.0.8__cache.tar.gz",
    "size": 8349857,
    "sha256": "ab" * 32,
    "subdir": ["digit/1.0.8"],
    "remote": "team",
}
_CONFIGS = {
    **_ENTRY,
    "archive": "coco__1.1.0__cache.tar.gz",
    "subdir": ["coco/2017/1.1.0", "coco/.config"],
    "remote": None,
}
OURS = {"schema": 2, "datasets": {"digit:1.0.8": _ENTRY, "coco/2017:1.1.0": _CONFIGS}}
ARMORY = {
    "digit": {
        "sha256": "ab" * 32,
        "size": 1,
        "subdir": "digit/1.0.8",
        "url": None,
        "version": "1.0.8",
    },
    "coco": {
        "sha256": "cd" * 32,
        "size": 2,
        "subdir": ["coco/a/1.0.0", "coco/.config"],
        "url": "s3://b/k",
        "version": "1.0.0",
    },
}
WORDS = ("1.0.8", "digit:1.0.8", "digit", "datasets", "schema", 2, "../1.0.8", "a.tar", "ab" * 32)
WHERE = Path("datasets.json")


def run(data: bytes) -> None:
    try:
        text = json_text(data, (OURS, ARMORY), WORDS).decode("utf-8")
    except UnicodeDecodeError:
        return
    manifest = None
    with refusing_with(UsageError):
        manifest = parse_manifest(text, WHERE)
    if manifest is None:
        return
    for ref, entry in manifest.entries.items():
        assert entry.ref == ref
        assert ref.version is not None
        assert ref.is_proper
        assert "/" not in entry.archive
        for folder in entry.subdir:
            assert folder.split("/")[0] == ref.name
            assert not {"", ".", ".."} & set(folder.split("/"))
    written = json.dumps(manifest.to_json(), indent=2, ensure_ascii=False).encode().decode()
    assert parse_manifest(written, WHERE).entries == manifest.entries
    with refusing_with(UsageError):
        json.dumps(to_armory(manifest)).encode()


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "ours", json.dumps(OURS).encode()
    yield "armory", json.dumps(ARMORY).encode()
    yield "empty", b"{}"
    yield "repeated-key", b'{"schema": 2, "schema": 2, "datasets": {}}'
    yield "long-number", b'{"schema": ' + b"9" * 5000 + b"}"
    yield "deep", b"[" * 3000
    yield "script-odd-size", bytes([0, 3, 0, 0, 9])
    yield "script-armory", bytes([1, 5, 0, 0, 16])
