"""What is known of every ref in scope before anything is planned.

One survey of this machine and one listing a remote; no request an object. The sha256 of an object
is known where its ETag was seen before. Nothing here reads an archive's bytes or changes anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.archives.sidecar import MAX_SIDECAR_BYTES, Sidecar, read_sidecar, sidecar_path
from dsmanager.errors import DsmanagerError
from dsmanager.library.presence import OnRemote, Presence
from dsmanager.library.remote_listing import place_of
from dsmanager.library.scope import select
from dsmanager.manifest import Entry, Manifest
from dsmanager.progress import CancelToken
from dsmanager.refs import Ref, parse_archive_name
from dsmanager.syncing.unfinished import Unfinished

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.remotes.objects import RemoteObject
    from dsmanager.remotes.remote import Remote

__all__ = ["Facts", "Health", "Listing", "look"]

_SIDECARS_AT_ONCE = 8


class Health(StrEnum):
    """How the bytes of one place stand to their own record."""

    WHOLE = "whole"
    UNCHECKED = "unchecked"
    """Only the size is known to be right."""
    SUSPECT = "suspect"
    """Its record cannot tell: the bytes must be read before anything is decided."""
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Listing:
    """The objects of one remote, and the sha256 of those that were seen before."""

    remote: Remote
    objects: dict[str, RemoteObject]
    known_sha256: dict[str, str]

    def on_remote(self, name: str) -> OnRemote | None:
        found = self.objects.get(name)
        if found is None:
            return None
        url, sha256 = self.remote.url_of(name), self.known_sha256.get(name)
        return OnRemote(url, name, found.size, sha256, found.last_modified)

    def sidecar_of(self, name: str) -> Sidecar | None:
        """The sidecar of an object, from the remote; None where there is none that is usable."""
        beside = sidecar_path(Path(name)).name
        if beside not in self.objects:
            return None
        content = self.remote.read_bytes(beside, max_bytes=MAX_SIDECAR_BYTES)
        try:
            return Sidecar.from_bytes(content, beside) if content is not None else None
        except DsmanagerError:
            return None


@dataclass(frozen=True)
class Facts:
    """One ref: its presence and what the plan has to know beside it."""

    row: Presence
    cached: Health | None = None
    built: Health | None = None
    problem: str | None = None
    """What is damaged, in words."""
    built_differs: str | None = None
    """What a whole build has that the archive's sidecar does not say; known once it was read."""
    remote_sidecar: Sidecar | None = None
    """Fetched only where archives differ."""
    tar_sha256: str | None = None
    """Of the cached archive; read only where archives differ."""
    is_unfinished: bool = False
    """An earlier sync fetched the archive and did not come to extract it."""
    is_part: bool = False
    """Built, and one of several configs of a recorded archive."""
    examined: bool = False
    """Every byte here was read for this very sync."""
    listing: Listing | None = field(default=None, compare=False, repr=False)

    @property
    def ref(self) -> Ref:
        return self.row.ref

    @property
    def recorded(self) -> Entry | None:
        return self.row.recorded

    @property
    def is_here(self) -> bool:
        return bool(self.row.built or self.row.cached)

    @property
    def cached_is_recorded(self) -> bool:
        """Whether the cached archive is, as far as is known, the one that is recorded."""
        return _agree(self.row.cached, self.recorded)

    @property
    def remote_is_recorded(self) -> bool:
        """Whether the remote has, as far as is known, the archive that is recorded."""
        return _agree(self.row.remote, self.recorded)

    @property
    def cached_is_remote(self) -> bool:
        cached, there = self.row.cached, self.row.remote
        if cached is None or there is None or cached.size_bytes != there.size_bytes:
            return False
        return None in (cached.sha256, there.sha256) or cached.sha256 == there.sha256

    @property
    def is_repacked(self) -> bool:
        """Whether cached and remote archive are the same tar, compressed differently."""
        there = self.remote_sidecar
        return there is not None and there.tar_sha256 == self.tar_sha256

    @property
    def is_repacked_record(self) -> bool:
        """The same of the archive that is recorded."""
        there, recorded = self.remote_sidecar, self.recorded
        is_recorded = there and recorded and there.sha256 == recorded.sha256
        return bool(is_recorded) and self.is_repacked


def look(
    library: LibraryPlaces,
    requests: Sequence[str],
    *,
    push: bool = False,
    verify: bool = False,
    cancel: CancelToken,
) -> tuple[Facts, ...]:
    """The facts of every ref that ``requests`` mean (none: of all refs), sorted.

    ``push`` looks at the current remote alone, which uploads go to; else every remote counts that
    a manifest entry names. ``verify`` asks for the sha256 of objects that are not known. Raises
    the remote's error when one cannot be listed, NotFoundError for a request that means nothing.
    """
    manifest = library.manifest
    survey = library.survey(local_only=True)
    for error in survey.errors:
        raise error
    rows = {row.ref: row for row in survey.rows}
    listings = _Listings(library, manifest, push)
    cancel.check()
    for ref in listings.unrecorded:
        rows.setdefault(ref, Presence(ref))
    refs = sorted(rows)
    if requests:
        what, hint = "recorded, built, cached or remote dataset", "see: dsmanager list"
        refs = select(requests, refs, newest_only=False, what=what, hint=hint)
    unfinished = Unfinished(library.settings.state_dir, library.data_dir)
    covered = {subdir for entry in manifest.entries.values() for subdir in entry.subdir}
    facts = [_facts(rows[ref], listings, covered, unfinished) for ref in refs]
    if verify:
        facts = _with_sha256(library, facts, cancel)
    return tuple(_with_tars(facts))


class _Listings:
    """Listings by remote, each asked for once."""

    def __init__(self, library: LibraryPlaces, manifest: Manifest, push: bool) -> None:
        self._library = library
        self._push = push
        self._by_name: dict[str, Listing] = {}
        if push:
            library.settings.require_remote()
        self._objects = library.memory.objects()
        self._current = self._listed(library.remote) if push or library.has_remote else None
        self._archives = {entry.archive for entry in manifest.entries.values()}
        self.unrecorded = self._unrecorded(set(manifest.entries))

    def of(self, entry: Entry | None) -> Listing | None:
        """The listing of the remote that the archive of ``entry`` belongs to."""
        if self._push or entry is None:
            return self._current
        if entry.remote not in self._library.settings.remotes and self._current is None:
            return None
        return self._listed(self._library.remote_of(entry))

    def _listed(self, remote: Remote) -> Listing:
        key = place_of(remote, "")
        if key not in self._by_name:
            objects = {found.name: found for found in remote.list()}
            known = {}
            for name, found in objects.items():
                etag, sha256 = self._objects.get(place_of(remote, name), ("", ""))
                if sha256 and etag == found.etag:
                    known[name] = sha256
            self._by_name[key] = Listing(remote, objects, known)
        return self._by_name[key]

    def _unrecorded(self, recorded: set[Ref]) -> dict[Ref, str]:
        """Names of the current remote's archives that no entry records, by ref."""
        found: dict[Ref, str] = {}
        for name in self._current.objects if self._current else ():
            parsed = parse_archive_name(name)
            if parsed and name not in self._archives and parsed[0] not in recorded:
                found.setdefault(parsed[0], name)
        return found


def _facts(row: Presence, listings: _Listings, covered: set[str], unfinished: Unfinished) -> Facts:
    recorded = row.recorded
    listing = listings.of(recorded)
    name = recorded.archive if recorded else listings.unrecorded.get(row.ref)
    there = listing.on_remote(name) if listing and name else None
    row = row._replace(remote=there, has_remote=listing is not None)
    cached, problem = _cached_health(row)
    built = None
    if row.built is not None:
        built = Health.DAMAGED if row.built.problem else Health.WHOLE
        problem = row.built.problem or problem
    is_part = recorded is None and str(row.ref.subdir) in covered and bool(row.built)
    is_unfinished = cached is not None and recorded is not None and row.ref in unfinished
    return Facts(
        row,
        cached,
        built,
        problem,
        is_unfinished=is_unfinished,
        is_part=is_part,
        listing=listing,
    )


def _cached_health(row: Presence) -> tuple[Health | None, str | None]:
    """The health of the cached archive from what is remembered, and its problem."""
    cached, recorded = row.cached, row.recorded
    if cached is None:
        return None, None
    try:
        has_sidecar = (
            read_sidecar(cached.path) is not None
            if cached.problem
            else (os.path.lexists(sidecar_path(cached.path)))
        )
    except DsmanagerError as error:
        return Health.SUSPECT, error.message
    if has_sidecar:
        return (Health.DAMAGED if cached.problem else Health.WHOLE), cached.problem
    if recorded is None:
        return Health.UNCHECKED, None
    if _agree(cached, recorded):
        return (Health.WHOLE if cached.sha256 else Health.UNCHECKED), None
    return Health.SUSPECT, cached.problem


def _with_sha256(
    library: LibraryPlaces, facts: Iterable[Facts], cancel: CancelToken
) -> list[Facts]:
    """Asks for the sha256 of objects whose size is right and whose sha256 is not known."""
    facts = list(facts)
    wanted: dict[str, tuple[Listing, list[str]]] = {}
    for each in facts:
        there, listing = each.row.remote, each.listing
        if there and listing and not there.sha256 and (each.recorded or each.row.cached):
            key = place_of(listing.remote, "")
            wanted.setdefault(key, (listing, []))[1].append(there.name)
    for listing, names in wanted.values():
        cancel.check()
        heads = listing.remote.heads(names)
        known = {name: head.sha256 for name, head in heads.items() if head.sha256}
        library.memory.remember_objects(
            (place_of(listing.remote, name), heads[name].etag, sha256)
            for name, sha256 in known.items()
        )
        listing.known_sha256.update(known)
    return [_refreshed(each) for each in facts]


def _refreshed(facts: Facts) -> Facts:
    there, listing = facts.row.remote, facts.listing
    if there is None or listing is None:
        return facts
    return replace(facts, row=facts.row._replace(remote=listing.on_remote(there.name)))


def _with_tars(facts: Iterable[Facts]) -> Iterable[Facts]:
    """Adds the sidecars of both sides where two archives differ: they may hold the same tar."""
    with ThreadPoolExecutor(_SIDECARS_AT_ONCE) as pool:
        return list(pool.map(_with_tar, facts))


def _with_tar(facts: Facts) -> Facts:
    cached, there = facts.row.cached, facts.row.remote
    if cached is None or there is None or facts.listing is None:
        return facts
    if facts.cached is not Health.WHOLE or not cached.sha256:
        return facts
    is_same = facts.cached_is_remote and (not facts.recorded or facts.cached_is_recorded)
    if is_same or not os.path.lexists(sidecar_path(cached.path)):
        return facts
    try:
        own = read_sidecar(cached.path)
    except DsmanagerError:
        return facts
    other = facts.listing.sidecar_of(there.name)
    if other is not None and other.size != there.size_bytes:
        other = None  # it is not of this object
    return replace(facts, remote_sidecar=other, tar_sha256=own.tar_sha256 if own else None)


def _agree(place: object, recorded: Entry | None) -> bool:
    size: int | None = getattr(place, "size_bytes", None)
    sha256: str | None = getattr(place, "sha256", None)
    if recorded is None or size is None:
        return False
    return size == recorded.size and sha256 in (None, recorded.sha256)
