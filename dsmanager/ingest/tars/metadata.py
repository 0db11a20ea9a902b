"""What lies beside the shards: ``features.json``, ``index.json``, and of a dataset its info.

Nothing in these files depends on place, user or number of workers, so that the same tars give the
same folder everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsmanager.archives.paths import check_path
from dsmanager.built import DATASET_INFO, FEATURES
from dsmanager.files import read_at_most
from dsmanager.ingest.tars.request import TarsRequest
from dsmanager.ingest.tars.specs import Spec, features_json

__all__ = ["INDEX", "read_index", "write"]

INDEX = "index.json"
_SCHEMA = 1
_MAX_BYTES = 256 << 20
_TEMPLATE = "{DATASET}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def write(
    tree: Path,
    request: TarsRequest,
    fingerprint: str,
    specs: Mapping[str, Spec],
    shards: Sequence[Mapping[str, Any]],
    sources: Sequence[Mapping[str, Any]],
) -> None:
    """``shards``: file, records, bytes, payload_bytes; ``sources``: name, bytes, records."""
    _write(tree / FEATURES, features_json(specs))
    index = {
        "schema": _SCHEMA,
        "name": request.stem,
        "format": request.layout.file_format,
        "records": sum(shard["records"] for shard in shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "split_at": request.split_at,
        "record": {key: value for key, value in request.record.items() if key != "folder"},
        "shuffle": request.layout.shuffle,
        "fingerprint": fingerprint,
        "shards": [{key: shard[key] for key in ("file", "records", "bytes")} for shard in shards],
        "sources": list(sources),
    }
    _write(tree / INDEX, index)
    if request.name is not None:
        _write(tree / DATASET_INFO, _dataset_info(request, shards))


def _dataset_info(request: TarsRequest, shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    split = {
        "filepathTemplate": _TEMPLATE,
        "name": request.split,
        "numBytes": str(sum(shard["payload_bytes"] for shard in shards)),
        "shardLengths": [str(shard["records"]) for shard in shards],
    }
    return {
        "fileFormat": request.layout.file_format,
        "name": request.name,
        "releaseNotes": {request.version: "Converted from tar shards."},
        "splits": [split],
        "version": request.version,
    }


def read_index(folder: Path) -> dict[str, Any] | None:
    """``index.json`` of a folder; None where there is none that was written here."""
    try:
        value = json.loads(read_at_most(folder / INDEX, _MAX_BYTES))
        known = value["schema"] == _SCHEMA and isinstance(value["fingerprint"], str)
        named = all(
            "/" not in check_path(shard["file"]) and _is_count(shard["bytes"])
            for shard in value["shards"]
        )
        ok = known and named and _is_count(value["records"])
        return value if ok and isinstance(value["sources"], list) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
