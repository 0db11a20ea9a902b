"""``dataset_info.json`` of a version folder: splits, shards and problems, or one clear error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dsmanager.built import BuiltDataset
from dsmanager.errors import VerificationError
from dsmanager.loading.safety import check_dataset_info
from dsmanager.refs import Ref
from fuzz.checks import refusing_with, scratch_folder
from fuzz.structure import json_text

_SPLIT = {
    "name": "train",
    "shardLengths": ["3", "4"],
    "numBytes": "100",
    "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
}
DOCUMENT = {
    "name": "digit",
    "configName": "rgb",
    "version": "1.0.8",
    "fileFormat": "tfrecord",
    "splits": [_SPLIT, {**_SPLIT, "name": "test", "shardLengths": ["1"]}],
}
WORDS = (
    *(
        "train",
        "9" * 90,
        "-1",
        "shardLengths",
        "name",
        "splits",
        "{SPLIT.__class__}",
        "../{SPLIT}",
    ),
    *("{DATASET}", "{NUM_SHARDS}{SHARD_INDEX}", "filepath_template", "features", _SPLIT),
    *({"pythonClassName": "evil_module.F", "tensor": {}}, "array_record", ["9" * 4400]),
)


def run(data: bytes) -> None:
    folder = _folder()
    (folder / "dataset_info.json").write_bytes(json_text(data, (DOCUMENT,), WORDS))
    built = BuiltDataset(Ref("digit", None, "1.0.8"), folder)
    for problem in built.problems():
        assert problem
        assert "\n" not in problem
    with refusing_with(VerificationError):
        for split in built.splits.values():
            assert split.examples >= 0
            assert isinstance(split.name, str)
            assert len(split.shard_names("digit", built.file_format)) == len(split.shard_lengths)
    with refusing_with(VerificationError):
        check_dataset_info(built.dataset_info)
        for split in built.splits.values():
            for shard in split.shard_names("digit", built.file_format):
                assert "/" not in shard
                assert shard not in (".", "..")


@cache
def _folder() -> Path:
    folder = scratch_folder()
    (folder / "features.json").write_text("{}")
    return folder


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "whole", json.dumps(DOCUMENT).encode()
    yield "no-splits", b'{"name": "digit"}'
    yield "list", b"[]"
    yield "deep", b"[" * 3000
    yield "utf-16", json.dumps(DOCUMENT).encode("utf-16")
    infinite = json.dumps({**DOCUMENT, "splits": [{**_SPLIT, "shardLengths": ["LONG"]}]})
    yield "infinite-length", infinite.replace('"LONG"', "1e999").encode()
    yield "long-number", infinite.replace('"LONG"', "9" * 5000).encode()
    named = json.dumps({**DOCUMENT, "splits": [{**_SPLIT, "name": "a\nb\ud800"}]})
    yield "line-feed-in-a-name", named.encode()
    lengths = {**_SPLIT, "shardLengths": "9" * 3000, "name": "x" * 3000}
    yield "names-times-shards", json.dumps({**DOCUMENT, "splits": [lengths]}).encode()
    yield "script-split-twice", bytes([0xFE, 14, 0, 0, 28])
