"""What a build leaves for the sidecar: which code made the data, from which sources, under which
licence. Nothing in it depends on time, place, user or machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsmanager.catalog.scan import BUILDER_SUFFIX

__all__ = ["code_sha256", "provenance"]

_CODE = {".py", ".tsv", ".txt"}
_NOT_CODE = {"__pycache__", "dummy_data"}


def code_sha256(file: Path, name: str, checksums: Path | None) -> str:
    """sha256 over a builder's code: names and contents, sorted by name.

    The code is the dataset's own folder where the file lies in one (the folder, or the file by
    TFDS's newer form, is named after the dataset), else the file and its list of checksums.
    """
    folder = file.parent
    if folder.name == name or file.stem == name + BUILDER_SUFFIX:
        files = {path.relative_to(folder).as_posix(): path for path in _code_files(folder)}
    else:
        files = {"checksums": checksums} if checksums is not None else {}
    files[file.name] = file
    digest = hashlib.sha256()
    for relative, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{relative}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _code_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in _NOT_CODE for part in parts)
        if path.suffix in _CODE and not hidden and not path.stem.endswith("_test"):
            yield path


def provenance(
    builder: Any, code: str, sources: dict[str, Any], tfds_version: str
) -> dict[str, Any]:
    """The content of ``provenance.json``."""
    info = builder.info
    return {
        "schema": 1,
        "builder": {"module": type(builder).__module__, "code_sha256": code},
        "tfds_version": tfds_version,
        "sources": [
            {"url": url, "size": int(source.size), "sha256": source.checksum}
            for url, source in sources.items()
        ],
        "license": info.redistribution_info.license or None,
        "homepage": next(iter(info.as_proto.location.urls), None),
        "citation": info.citation or None,
        "description": info.description or None,
    }
