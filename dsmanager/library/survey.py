"""The survey: looks at the data dir, the cache, the manifest and the remote, one row a ref.

Looks at names, sizes and records only; it never reads an archive's bytes. What was read in full
before is remembered (:mod:`dsmanager.library.memory`), and so is what records said that have not
changed since (:mod:`dsmanager.library.looks`).
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dsmanager.built import BuiltDataset, find_built
from dsmanager.errors import DsmanagerError, from_os_error
from dsmanager.library.looks import Looks, Record
from dsmanager.library.memory import Fingerprint, Memory, identity_of
from dsmanager.library.presence import Cached, OnRemote, Presence, joined
from dsmanager.library.remote_listing import remote_archives
from dsmanager.manifest import Entry, Manifest
from dsmanager.refs import Ref, parse_archive_name
from dsmanager.settings import Settings

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["Survey", "built_datasets", "cached_archives", "survey"]

Connect = Callable[[], AbstractContextManager["Remote"]]


class Survey(NamedTuple):
    """All rows, sorted by ref, and what could not be looked at."""

    rows: tuple[Presence, ...]
    errors: tuple[DsmanagerError, ...] = ()
    remote_error: DsmanagerError | None = None
    """That of ``errors`` which kept the remote from being looked at."""


def survey(
    settings: Settings,
    manifest: Manifest,
    looks: Looks,
    connect: Connect | None,
) -> Survey:
    """Looks everywhere. An unreachable remote becomes an error of the survey.

    ``connect`` gives the remote, None when there is none to look at. Raises one of our errors when
    the data dir itself cannot be read.
    """
    errors: list[DsmanagerError] = []
    listing = _Listing(connect, manifest, looks.memory) if connect is not None else None
    built = {each.ref: looks.built(each) for each in built_datasets(settings.data_dir, errors)}
    cached = cached_archives(settings.cache_dir, manifest, looks, errors)
    looks.keep(all_below=settings.data_dir)
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
    """The archives of a remote, asked for in a thread while others look at the disk."""

    def __init__(self, connect: Connect, manifest: Manifest, memory: Memory) -> None:
        self._found: dict[Ref, OnRemote] = {}
        self._error: BaseException | None = None

        def ask() -> None:
            try:
                with connect() as asked:
                    self._found = remote_archives(asked, manifest, memory)
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


def cached_archives(
    cache_dir: Path, manifest: Manifest, looks: Looks, errors: list[DsmanagerError]
) -> dict[Ref, Cached]:
    """Archives of the cache by ref. Sidecars that cannot be read mark their archive as damaged."""
    recorded = {entry.archive: entry for entry in manifest.entries.values()}
    known = looks.memory.files()
    found: dict[Ref, Cached] = {}
    try:
        with os.scandir(cache_dir) as scanned:
            entries = {entry.name: entry for entry in scanned}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        errors.append(from_os_error(error, "read the cache"))
        return {}
    for name, file in entries.items():
        if name.startswith(".") or name.endswith(".json"):
            continue
        entry = recorded.get(name)
        parsed = None if entry else parse_archive_name(name)
        if entry is None and parsed is None:
            continue
        try:
            status = file.stat()
        except OSError:  # it has gone meanwhile
            continue
        if not stat.S_ISREG(status.st_mode):
            continue
        read = known.get(file.path)
        fingerprint = read[1] if read and read[0] == identity_of(status) else None
        sidecar = entries.get(f"{name}.json")
        ref, cached = _cached(file.path, status.st_size, sidecar, entry, fingerprint, looks)
        ref = ref or (parsed[0] if parsed else None)
        if ref is not None and not _is_recorded(manifest, ref, found.get(ref)):
            found[ref] = cached
    return found


def _is_recorded(manifest: Manifest, ref: Ref, other: Cached | None) -> bool:
    """Of two archives of one ref (``.tar.gz`` and ``.tar.zst``) the recorded one is meant."""
    entry = manifest.entries.get(ref)
    return (
        entry is not None
        and other is not None
        and os.path.basename(other.location) == entry.archive
    )


def _cached(
    location: str,
    size_bytes: int,
    sidecar: os.DirEntry[str] | None,
    entry: Entry | None,
    read: Fingerprint | None,
    looks: Looks,
) -> tuple[Ref | None, Cached]:
    """One archive and, where a record says it, its ref."""
    record: Record | None = None
    problem = None
    try:
        # It may have come with its archive, behind the part of the folder that was read already.
        beside = sidecar.stat() if sidecar else os.stat(f"{location}.json")
        record = looks.record(location, beside)
    except FileNotFoundError:  # there is none, it has gone meanwhile, or is a link to nothing
        record = None
    except OSError as error:
        problem = from_os_error(error, "read the sidecar").message
    except DsmanagerError as error:
        problem = error.message
    own = record or entry
    if own is not None and problem is None:
        if size_bytes != own.size:
            name = os.path.basename(location)
            problem = f"{name} has {size_bytes:,} bytes instead of {own.size:,}"
        elif read is not None and read.sha256 != own.sha256:
            problem = f"{os.path.basename(location)} has other bytes than its record says"
    sha256 = read.sha256 if read else record.sha256 if record else None
    verified_at = read.read_at if read and own and read.sha256 == own.sha256 else None
    subdir = own.subdir if own else ()
    return own.ref if own else None, Cached(
        location, size_bytes, sha256, verified_at, subdir, problem
    )
