"""``index.json`` of a folder of converted tars, which may have come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dsmanager.ingest.tars.convert import _finished
from dsmanager.ingest.tars.metadata import INDEX
from dsmanager.ingest.tars.request import TarsRequest
from fuzz.checks import scratch_folder
from fuzz.structure import json_text

FINGERPRINT = "0" * 64
DOCUMENT = {
    "schema": 1,
    "name": "train",
    "format": "tfrecord",
    "records": 3,
    "bytes": 100,
    "fingerprint": FINGERPRINT,
    "shards": [{"file": "train.tfrecord-00000-of-00001", "records": 3, "bytes": 0}],
    "sources": [{"name": "train-0.tar", "bytes": 100, "records": 3}],
}
WORDS = ("train.tfrecord-00000-of-00001", "../x", "x\0y", "shards", {"file": ".", "bytes": 4096})


def run(data: bytes) -> None:
    """It is taken for the same conversion, or the folder is one that holds something else."""
    folder = _folder()
    (folder / INDEX).write_bytes(json_text(data, (DOCUMENT,), WORDS))
    found = _finished(TarsRequest(("train-{0..1}.tar",), folder), FINGERPRINT)
    if found is not None:
        assert found.was_converted
        assert found.records >= 0
        assert found.size_bytes >= 0
        assert json.loads(json.dumps(found.records)) == found.records


@cache
def _folder() -> Path:
    folder = scratch_folder()
    (folder / "train.tfrecord-00000-of-00001").touch()
    return folder


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "whole", json.dumps(DOCUMENT).encode()
    yield "deep", b"[" * 3000
    yield "list", b"[]"
    yield "negative", json.dumps({**DOCUMENT, "records": -1}).encode()
    yield "no-shards", json.dumps({**DOCUMENT, "shards": []}).encode()
    yield (
        "null-in-a-name",
        json.dumps({**DOCUMENT, "shards": [{"file": "\0", "bytes": 1}]}).encode(),
    )
    yield "surrogate", json.dumps({**DOCUMENT, "shards": [{"file": "\ud800", "bytes": 1}]}).encode()
    yield "script", bytes([0xFE, 0, 8, 0, 0, 20])
