"""What a conversion of tars was asked to do, and the fingerprint of it with its sources."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsmanager.errors import UsageError
from dsmanager.ingest.sources import Source
from dsmanager.ingest.tars.functions import fingerprint_of
from dsmanager.ingest.tars.grouping import SPLIT_RULES
from dsmanager.ingest.tars.shards import Layout
from dsmanager.ingest.templates import expand, stem_of
from dsmanager.refs import Ref, is_version
from dsmanager.text import plain

__all__ = ["FORMATS", "TarsRequest", "size_of"]

FORMATS = ("tfrecord", "array_record")

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([kmgt]?)(i?)b?", re.ASCII)
_SPLITS = ("train", "validation", "val", "test")


@dataclass(frozen=True)
class TarsRequest:
    """Templates and what is to become of their records. Raises UsageError for what cannot be."""

    templates: tuple[str, ...]
    dest: Path
    record: Mapping[str, Any] = field(default_factory=lambda: {"kind": "default"})
    """As :func:`~dsmanager.ingest.tars.records.record_request` makes it."""
    split_at: str = SPLIT_RULES[0]
    layout: Layout = field(default_factory=Layout)
    name: str | None = None
    """The dataset's name; without one the shards are called after the template."""
    skip_incomplete: bool = False

    def __post_init__(self) -> None:
        if self.split_at not in SPLIT_RULES:
            raise _refused(f"there is no rule '{plain(self.split_at)}' to split names", _RULES)
        if self.layout.file_format not in FORMATS:
            raise _refused(f"'{plain(self.layout.file_format)}' is no format", "--to tfrecord")
        if self.layout.shards is not None and self.layout.max_shard_bytes is not None:
            raise _refused(
                "--shards and --max-shard-size both say how large shards are", "--shards 8"
            )
        if self.name is not None and not (
            Ref(self.name).is_proper and ".tfrecord" not in self.name
        ):
            raise _refused(f"'{plain(self.name)}' is no name of a dataset", "--name photos")

    @property
    def stem(self) -> str:
        """What every shard's name begins with."""
        if self.name is not None:
            return self.name
        stems = list(dict.fromkeys(map(stem_of, self.templates)))
        return stems[0] if len(stems) == 1 else _common(stems)

    @property
    def split(self) -> str:
        """The split that a dataset of these tars has: the one that the templates name, or train."""
        for template in self.templates:
            words = re.split(r"[-_.]", stem_of(template).lower())
            for split in _SPLITS:
                if split in words:
                    return split
        return _SPLITS[0]

    @property
    def version(self) -> str:
        """That of the folder, where it is one; tars have none."""
        return self.dest.name if is_version(self.dest.name) else "1.0.0"

    def urls(self) -> list[str]:
        """Every source that is meant, in order. Raises UsageError for one that is meant twice."""
        urls = [url for template in self.templates for url in expand(template)]
        seen: set[str] = set()
        for url in urls:
            if url in seen:
                raise _refused(f"{plain(url)} is named twice", "'train-{0..7}.tar.gz'")
            seen.add(url)
        return urls

    def fingerprint(self, sources: Sequence[Source]) -> str:
        """Changes with anything that the result depends on; not with where a source lies."""
        layout = self.layout
        about = {
            "parts": [self.part_fingerprint(source) for source in sources],
            "layout": [layout.file_format, layout.shards, layout.max_shard_bytes, layout.shuffle],
            "name": [self.stem, self.name, self.name and self.version, self.split],
        }
        return _digest(about)

    def part_fingerprint(self, source: Source) -> str:
        """The same for the part of one source."""
        record = {key: value for key, value in self.record.items() if key != "folder"}
        about = {
            "schema": 1,
            "record": record,
            "code": self._code,
            "split_at": self.split_at,
            "skip_incomplete": self.skip_incomplete,
            "source": [source.name, source.size_bytes, source.version],
        }
        return _digest(about)

    @property
    def _code(self) -> str:
        if self.record["kind"] != "function":
            return ""
        return fingerprint_of(self.record["function"], self.record["folder"])


def size_of(text: str) -> int:
    """``512M`` → 512,000,000 bytes; k, m, g and t are powers of 1000, ki, mi, … of 1024.

    Raises UsageError.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    base = 1024 if match and match[3] else 1000
    size_bytes = int(float(match[1]) * base ** " kmgt".index(match[2] or " ")) if match else 0
    if not size_bytes:
        raise _refused(f"'{plain(text)}' is no size", "--max-shard-size 512M")
    return size_bytes


def _common(stems: Sequence[str]) -> str:
    """What several stems begin with, such as ``train`` of ``train-0`` and ``train-1``."""
    length = 0
    while all(len(stem) > length and stem[length] == stems[0][length] for stem in stems):
        length += 1
    return stems[0][:length].strip("-_.") or "data"


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


_RULES = f"--split-at {'|'.join(SPLIT_RULES)}"


def _refused(problem: str, better: str) -> UsageError:
    return UsageError(problem, hint=f"for example: dsmanager convert SRC OUT {better}")
