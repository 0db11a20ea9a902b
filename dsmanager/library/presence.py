"""Presence: for one ref, is it built, cached, on the remote, recorded, and do they agree?

What each place has, and the row that joins them. Who looks is :mod:`dsmanager.library.survey`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from dsmanager.built import BuiltDataset
from dsmanager.errors import DsmanagerError
from dsmanager.manifest import Entry, Manifest
from dsmanager.refs import Ref

__all__ = [
    "STATES",
    "Built",
    "Cached",
    "OnRemote",
    "Presence",
    "built_presence",
    "joined",
    "ref_of_subdir",
]

STATES = (
    "damaged",
    "differs",
    "partial",
    "not-built",
    "not-cached",
    "not-uploaded",
    "not-recorded",
    "ok",
)


class Built(NamedTuple):
    """A version folder, or all folders of an archive that holds several configs."""

    location: str
    size_bytes: int
    files: int
    format: str | None
    splits: Mapping[str, Mapping[str, int]]
    problem: str | None = None

    @property
    def path(self) -> Path:
        return Path(self.location)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.location,
            "bytes": self.size_bytes,
            "files": self.files,
            "format": self.format,
            "splits": {name: dict(counts) for name, counts in self.splits.items()},
        }


class Cached(NamedTuple):
    """An archive in the cache. ``sha256`` is what was read, else what its sidecar says."""

    location: str
    size_bytes: int
    sha256: str | None
    verified_at: str | None
    subdir: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def path(self) -> Path:
        return Path(self.location)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.location,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
            "verified_at": self.verified_at,
        }


class OnRemote(NamedTuple):
    """An archive on the current remote; ``sha256`` is its metadata's, None where it has none."""

    url: str
    name: str
    size_bytes: int
    sha256: str | None
    last_modified: str

    def to_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
            "last_modified": self.last_modified,
        }


class Presence(NamedTuple):
    """One row of ``list``."""

    ref: Ref
    built: Built | None = None
    cached: Cached | None = None
    remote: OnRemote | None = None
    recorded: Entry | None = None
    has_remote: bool = False
    """Whether a remote was looked at; without one nothing can be ``not-uploaded``."""
    is_partly_built: bool = False

    @property
    def problem(self) -> str | None:
        """What is damaged, in words."""
        for place in (self.built, self.cached):
            if place is not None and place.problem:
                return place.problem
        return None

    @property
    def difference(self) -> str | None:
        """Which two places hold different archives, in words."""
        known: list[tuple[str, int, str | None]] = []
        if (recorded := self.recorded) is not None:
            known.append(("the manifest", recorded.size, recorded.sha256))
        if (cached := self.cached) is not None:
            known.append(("the cache", cached.size_bytes, cached.sha256))
        if (remote := self.remote) is not None:
            known.append(("the remote", remote.size_bytes, remote.sha256))
        for (here, size, sha256), (there, other_size, other_sha256) in combinations(known, 2):
            if size != other_size or (sha256 and other_sha256 and sha256 != other_sha256):
                return f"{here} and {there} have different archives"
        return None

    @property
    def state(self) -> str:
        """The first of :data:`STATES` that holds."""
        if self.problem is not None:
            return "damaged"
        if self.difference is not None:
            return "differs"
        if self.is_partly_built:
            return "partial"
        if self.built is None:
            return "not-built"
        if self.cached is None:
            return "not-cached"
        if self.has_remote and self.remote is None:
            return "not-uploaded"
        return "not-recorded" if self.recorded is None else "ok"

    def to_json(self) -> dict[str, Any]:
        recorded = self.recorded
        return {
            "ref": str(self.ref),
            "name": self.ref.name,
            "config": self.ref.config,
            "version": self.ref.version,
            "state": self.state,
            "built": self.built.to_json() if self.built else None,
            "cached": self.cached.to_json() if self.cached else None,
            "remote": self.remote.to_json() if self.remote else None,
            "recorded": {"size": recorded.size, "sha256": recorded.sha256} if recorded else None,
        }


def joined(
    built: Mapping[Ref, Built],
    cached: Mapping[Ref, Cached],
    on_remote: Mapping[Ref, OnRemote],
    manifest: Manifest,
    *,
    has_remote: bool,
) -> tuple[Presence, ...]:
    """One row a ref out of what each place has, sorted by ref."""
    rows = []
    for ref in sorted(
        {*built, *cached, *on_remote, *manifest.entries}, key=lambda ref: ref.sort_key
    ):
        recorded = manifest.entries.get(ref)
        whole, is_partly_built = _joined(ref, built, cached.get(ref), recorded)
        rows.append(
            Presence(
                ref,
                whole,
                cached.get(ref),
                on_remote.get(ref),
                recorded,
                has_remote,
                is_partly_built,
            )
        )
    return tuple(rows)


def _joined(
    ref: Ref, built: Mapping[Ref, Built], cached: Cached | None, recorded: Entry | None
) -> tuple[Built | None, bool]:
    """What is built of ``ref``; an archive of several configs is built when all of them are."""
    if ref in built:
        return built[ref], False
    subdirs = cached.subdir if cached and cached.subdir else recorded.subdir if recorded else ()
    wanted = [ref_of_subdir(subdir) for subdir in subdirs if not subdir.endswith("/.config")]
    found = [built[part] for part in wanted if part in built]
    if not found or len(found) < len(wanted):
        return None, bool(found)
    return (
        Built(
            location=str(found[0].path.parents[len(wanted[0].subdir.parts) - 2]),
            size_bytes=sum(part.size_bytes for part in found),
            files=sum(part.files for part in found),
            format=found[0].format,
            splits={},
            problem=next((part.problem for part in found if part.problem), None),
        ),
        False,
    )


def ref_of_subdir(subdir: str) -> Ref:
    """``so2sat/rgb/2.1.0`` → ``so2sat/rgb:2.1.0``."""
    name, *config, version = subdir.split("/")
    return Ref(name, "/".join(config) or None, version)


def built_presence(found: BuiltDataset) -> Built:
    problem = next(found.problems(), None)
    splits: dict[str, dict[str, int]] = {}
    file_format: str | None = None
    files: Mapping[str, int] = {}
    with suppress(DsmanagerError):  # what is unreadable is the problem already
        files = found.files
        splits = {
            name: {"examples": split.examples, "shards": len(split.shard_lengths)}
            for name, split in found.splits.items()
        }
        file_format = found.file_format
    return Built(found.location, sum(files.values()), len(files), file_format, splits, problem)
