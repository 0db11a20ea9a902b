"""Presence: for one ref, is it built, cached, on the remote, recorded, and do they agree?

Looks at names, sizes and records only; it never reads an archive's bytes. What was read in full
before is remembered (:mod:`dsmanager.library.memory`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.archives.sidecar import Sidecar, read_sidecar
from dsmanager.built import BuiltDataset, find_built
from dsmanager.errors import DsmanagerError, from_os_error
from dsmanager.library.memory import Memory, identity_of
from dsmanager.manifest import Entry, Manifest
from dsmanager.refs import Ref, parse_archive_name
from dsmanager.settings import Settings

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote, RemoteObject

__all__ = ["STATES", "Built", "Cached", "OnRemote", "Presence", "Survey"]

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
_MOST_HEADS = 100  # objects not seen before that one listing asks about, one request each,
_HEADS_IN_A_ROW = 8  # so many at once,
_HEADS_FOR_S = 0.02  # and no more of them once this much time has gone


@dataclass(frozen=True, slots=True)
class Built:
    """A version folder, or all folders of an archive that holds several configs."""

    path: Path
    size_bytes: int
    files: int
    format: str | None
    splits: Mapping[str, Mapping[str, int]]
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "bytes": self.size_bytes,
            "files": self.files,
            "format": self.format,
            "splits": {name: dict(counts) for name, counts in self.splits.items()},
        }


@dataclass(frozen=True, slots=True)
class Cached:
    """An archive in the cache. ``sha256`` is what was read, else what its sidecar says."""

    path: Path
    size_bytes: int
    sha256: str | None
    verified_at: str | None
    subdir: tuple[str, ...] = ()
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "bytes": self.size_bytes,
            "sha256": self.sha256,
            "verified_at": self.verified_at,
        }


@dataclass(frozen=True, slots=True)
class OnRemote:
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


@dataclass(frozen=True, slots=True)
class Presence:
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
        known = [
            (where, size, sha256)
            for where, size, sha256 in (
                ("the manifest", *_identity(self.recorded)),
                ("the cache", *_identity(self.cached)),
                ("the remote", *_identity(self.remote)),
            )
            if size is not None
        ]
        for index, (here, size, sha256) in enumerate(known):
            for there, other_size, other_sha256 in known[index + 1 :]:
                if size != other_size or (sha256 and other_sha256 and sha256 != other_sha256):
                    return f"{here} and {there} have different archives"
        return None

    @property
    def state(self) -> str:
        """The first of :data:`STATES` that holds."""
        holds = (
            self.problem is not None,
            self.difference is not None,
            self.is_partly_built,
            self.built is None,
            self.cached is None,
            self.has_remote and self.remote is None,
            self.recorded is None,
        )
        return next((state for state, held in zip(STATES, holds, strict=False) if held), "ok")

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


def _identity(place: Cached | OnRemote | Entry | None) -> tuple[int | None, str | None]:
    if place is None:
        return None, None
    if isinstance(place, Entry):
        return place.size, place.sha256
    return place.size_bytes, place.sha256


@dataclass(frozen=True, slots=True)
class Survey:
    """All rows, sorted by ref, and what could not be looked at."""

    rows: tuple[Presence, ...]
    errors: tuple[DsmanagerError, ...] = ()
    remote_error: DsmanagerError | None = None
    """That of ``errors`` which kept the remote from being looked at."""


def survey(
    settings: Settings,
    manifest: Manifest,
    memory: Memory,
    connect: Callable[[], Remote] | None,
) -> Survey:
    """Looks everywhere. An unreachable remote becomes an error of the survey.

    ``connect`` gives the remote, None when there is none to look at. The remote is asked beside
    the look at the disk, which needs about as long. Raises one of our errors when the data dir
    itself cannot be read.
    """
    errors: list[DsmanagerError] = []
    listing = _Listing(connect, manifest, memory) if connect is not None else None
    found_built = built_datasets(settings.data_dir, errors)
    built = {found.ref: built_presence(found) for found in found_built}
    cached = cached_archives(settings.cache_dir, manifest, memory, errors)
    on_remote: dict[Ref, OnRemote] | None = None
    remote_error: DsmanagerError | None = None
    if listing is not None:
        try:
            on_remote = listing.result()
        except DsmanagerError as error:
            remote_error = error
            errors.append(error)
    rows = joined(built, cached, on_remote or {}, manifest, has_remote=on_remote is not None)
    return Survey(rows, tuple(errors), remote_error)


class _Listing:
    """The archives of a remote, asked for in a thread from the start on."""

    def __init__(self, connect: Callable[[], Remote], manifest: Manifest, memory: Memory) -> None:
        self._found: dict[Ref, OnRemote] = {}
        self._error: BaseException | None = None

        def ask() -> None:
            try:
                self._found = remote_archives(connect(), manifest, memory)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=ask, name="listing", daemon=True)
        self._thread.start()

    def result(self) -> dict[Ref, OnRemote]:
        """Waits; raises what the asking raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found


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


def built_datasets(data_dir: Path, errors: list[DsmanagerError]) -> list[BuiltDataset]:
    """Every version folder; folders that cannot be read are told in ``errors``."""
    if not data_dir.exists():
        return []
    unreadable: list[OSError] = []
    try:
        found = list(find_built(data_dir, unreadable))
    except OSError as error:
        raise from_os_error(error, "read the data dir") from error
    errors += [from_os_error(error, "look into a dataset") for error in unreadable]
    return found


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
    return Built(found.path, sum(files.values()), len(files), file_format, splits, problem)


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
            path=found[0].path.parents[len(wanted[0].subdir.parts) - 2],
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


def cached_archives(
    cache_dir: Path,
    manifest: Manifest,
    memory: Memory,
    errors: list[DsmanagerError],
    *,
    read: Callable[[Path], Sidecar | None] = read_sidecar,
) -> dict[Ref, Cached]:
    """Archives of the cache by ref. Sidecars that cannot be read mark their archive as damaged.

    ``read`` is :func:`read_sidecar`, or what remembers its answers.
    """
    recorded = {entry.archive: entry for entry in manifest.entries.values()}
    known = memory.files()
    found: dict[Ref, Cached] = {}
    try:
        paths = list(cache_dir.iterdir()) if cache_dir.is_dir() else []
    except OSError as error:
        errors.append(from_os_error(error, "read the cache"))
        return {}
    for path in paths:
        parsed = parse_archive_name(path.name)
        if parsed is None and path.name not in recorded:
            continue
        if path.name.startswith(".") or path.name.endswith(".json") or not os.path.isfile(path):
            continue
        entry = recorded.get(path.name)
        try:
            ref, cached = _cached(path, entry, known, read)
        except OSError:  # it has gone meanwhile
            continue
        ref = ref or (parsed[0] if parsed else None)
        if ref is not None and not _is_recorded(manifest, ref, found.get(ref)):
            found[ref] = cached
    return found


def _is_recorded(manifest: Manifest, ref: Ref, other: Cached | None) -> bool:
    """Of two archives of one ref (``.tar.gz`` and ``.tar.zst``) the recorded one is meant."""
    entry = manifest.entries.get(ref)
    return entry is not None and other is not None and other.path.name == entry.archive


def _cached(
    path: Path,
    entry: Entry | None,
    known: Mapping[Path, Any],
    read_record: Callable[[Path], Sidecar | None],
) -> tuple[Ref | None, Cached]:
    """One archive and, where a record says it, its ref."""
    identity = identity_of(path)
    remembered = known.get(path)
    read = remembered[1] if remembered and remembered[0] == identity else None
    sidecar: Sidecar | None = None
    problem = None
    try:
        sidecar = read_record(path)
    except DsmanagerError as error:
        problem = error.message
    own = sidecar or entry
    if own is not None and problem is None:
        if identity[0] != own.size:
            problem = f"{path.name} has {identity[0]:,} bytes instead of {own.size:,}"
        elif read is not None and read.sha256 != own.sha256:
            problem = f"{path.name} has other bytes than its record says"
    sha256 = read.sha256 if read else sidecar.sha256 if sidecar else None
    verified_at = read.read_at if read and own and read.sha256 == own.sha256 else None
    cached = Cached(path, identity[0], sha256, verified_at, own.subdir if own else (), problem)
    return own.ref if own else None, cached


def remote_archives(remote: Remote, manifest: Manifest, memory: Memory) -> dict[Ref, OnRemote]:
    """Archives of the remote by ref, from one listing.

    A listing tells no sha256. Objects that were seen before are known by their ETag; of others
    8 to 100 are asked for theirs, as time permits, one request each, and remembered.
    """
    refs = {entry.archive: entry.ref for entry in manifest.entries.values()}
    objects = {}
    for found in remote.list():
        parsed = parse_archive_name(found.name)
        ref = refs.get(found.name) or (parsed[0] if parsed else None)
        if ref is not None and (found.name in refs or ref not in objects):
            objects[ref] = found
    known = sha256_of_objects(remote, objects.values(), memory)
    return {
        ref: OnRemote(
            url=remote.url_of(found.name),
            name=found.name,
            size_bytes=found.size,
            sha256=known.get(found.name),
            last_modified=found.last_modified,
        )
        for ref, found in objects.items()
    }


def sha256_of_objects(
    remote: Remote, objects: Iterable[RemoteObject], memory: Memory
) -> dict[str, str]:
    remembered = memory.objects()
    known: dict[str, str] = {}
    unknown = []
    for found in objects:
        etag, sha256 = remembered.get(place_of(remote, found.name), ("", ""))
        if etag == found.etag:
            known[found.name] = sha256
        else:
            unknown.append(found.name)
    heads: dict[str, RemoteObject] = {}
    until_s = time.monotonic() + _HEADS_FOR_S
    for start in range(0, min(len(unknown), _MOST_HEADS), _HEADS_IN_A_ROW):
        heads |= remote.heads(unknown[start : start + _HEADS_IN_A_ROW])
        if time.monotonic() > until_s:
            break
    memory.remember_objects(
        (place_of(remote, name), head.etag, head.sha256 or "") for name, head in heads.items()
    )
    known |= {name: head.sha256 or "" for name, head in heads.items()}
    return {name: sha256 for name, sha256 in known.items() if sha256}


def place_of(remote: Remote, name: str) -> str:
    """A key for what is remembered of an object: endpoint and URL."""
    return f"{remote.config.endpoint_url or ''} {remote.url_of(name)}"
