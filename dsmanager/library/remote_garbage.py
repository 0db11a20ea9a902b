"""What dead processes left on the remote: unfinished uploads, sidecars without archive, probes.

Nobody sees another machine's locks. What this machine began goes as soon as its lock is free; what
others began only after a day by the server's clock. In a bucket that others share nothing is ours
but what is named like an archive, its sidecar, or a probe of this program.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.errors import CredentialsError
from dsmanager.library.garbage import Garbage, RemoteFile, Request
from dsmanager.locks import held_by, locked_if_free
from dsmanager.refs import Ref, parse_archive_name
from dsmanager.remotes.client import Access
from dsmanager.remotes.clock import clock_skew_s
from dsmanager.remotes.conditional import PROBE_PREFIX
from dsmanager.remotes.parts import parts_size_bytes

# At run time, for ``isinstance``; this module loads only where a remote is looked at.
from dsmanager.remotes.unfinished import UnfinishedUpload

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.remotes.remote import RemoteObject

__all__ = ["collect_remote", "find_remote_garbage"]

_SAFE_AGE_S = 86_400


def find_remote_garbage(
    library: LibraryPlaces, request: Request, notes: list[str]
) -> list[Garbage]:
    """Everything of that kind; what stays, because it may be somebody's, becomes a note.

    Without credentials there is nothing: nothing could be removed.
    """
    remote = library.remote
    if remote.clients.access is not Access.SIGNED:
        return []
    look = _Look(
        library, _begun_here(library), _refs(library), request.all_uploads, _server_time(library)
    )
    found = list(_stray_objects(look))
    try:
        found += _dead_uploads(look, notes)
    except CredentialsError:
        notes.append(f"unfinished uploads at {remote.config.url} may not be listed")
    return found


def collect_remote(library: LibraryPlaces, garbage: Garbage) -> str:
    """Takes one thing away: "removed", or "kept" when somebody holds or replaced it."""
    source = garbage.source
    assert isinstance(source, UnfinishedUpload | RemoteFile)
    if garbage.ref is None:
        library.remote.delete(source.name)
        return "removed"
    purpose = f"collect {source.name}"
    with locked_if_free(library.lock_path(garbage.ref), purpose=purpose) as is_free:
        if not is_free:
            return "kept"
        if isinstance(source, UnfinishedUpload):
            library.remote.abort_upload(source)
            if (noted := _begun_here(library).get(source.upload_id)) is not None:
                files.remove_path(noted[0])
            return "removed"
        if library.remote.head(_archive_of(source.name)) is not None:
            return "kept"
        library.remote.delete(source.name)
        return "removed"


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known before anything is judged."""

    library: LibraryPlaces
    begun_here: dict[str, tuple[Path, str]]
    refs: dict[str, Ref]
    whatever_age: bool
    now: datetime

    def ref_of(self, archive: str) -> Ref | None:
        parsed = parse_archive_name(archive)
        return self.refs.get(archive) or (parsed[0] if parsed else None)

    def is_old(self, moment: str) -> bool:
        """Whether nobody can be busy any more with what was begun then (ISO 8601)."""
        if self.whatever_age:
            return True
        age = (self.now - datetime.fromisoformat(moment)).total_seconds() if moment else 0
        return age > _SAFE_AGE_S


def _dead_uploads(look: _Look, notes: list[str]) -> Iterator[Garbage]:
    remote = look.library.remote
    for upload in remote.unfinished_uploads():
        ref = look.ref_of(upload.name)
        if ref is None:
            continue
        if (holder := held_by(look.library.lock_path(ref))) is not None:
            notes.append(f"the upload of {upload.name} stays: it belongs to {holder}")
        elif upload.upload_id in look.begun_here or look.is_old(upload.initiated):
            reason = f"begun {upload.initiated or 'at some time'} and not finished"
            size = parts_size_bytes(remote, upload)
            yield Garbage("upload", remote.url_of(upload.name), size, reason, ref, upload)
        else:
            notes.append(
                f"the upload of {upload.name} stays: another machine may be busy with it; "
                "if none is: dsmanager gc --all-uploads"
            )


def _stray_objects(look: _Look) -> Iterator[Garbage]:
    remote = look.library.remote
    objects = remote.list()
    names = {each.name for each in objects}
    for each in objects:
        archive = _archive_of(each.name)
        ref = look.ref_of(archive)
        if each.name.startswith(PROBE_PREFIX) and look.is_old(each.last_modified):
            yield _stray(look, "leftover", each, "a check of the remote did not end", None)
        elif each.name == archive or archive in names or ref is None:
            continue
        elif held_by(look.library.lock_path(ref)) is None and (
            look.is_old(each.last_modified)
            or any(key == remote.key_of(archive) for _, key in look.begun_here.values())
        ):
            kind = "orphan-index" if each.name.endswith(".index") else "orphan-sidecar"
            yield _stray(look, kind, each, "its archive is not there", ref)


def _archive_of(name: str) -> str:
    """The archive that a sidecar or an index belongs to; any other name as it is."""
    return name.removesuffix(".json").removesuffix(".index")


def _stray(look: _Look, kind: str, found: RemoteObject, reason: str, ref: Ref | None) -> Garbage:
    url = look.library.remote.url_of(found.name)
    return Garbage(kind, url, found.size, reason, ref, RemoteFile(found.name))


def _begun_here(library: LibraryPlaces) -> dict[str, tuple[Path, str]]:
    """Of each upload that processes of this machine began: where that is noted, and its key."""
    found = {}
    for path in (library.settings.state_dir / "uploads").glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            notes = json.loads(path.read_bytes())
            found[str(notes["upload_id"])] = (path, str(notes["key"]))
    return found


def _refs(library: LibraryPlaces) -> dict[str, Ref]:
    return {entry.archive: ref for ref, entry in library.manifest.entries.items()}


def _server_time(library: LibraryPlaces) -> datetime:
    skew_s = clock_skew_s(library.remote) or 0.0
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() - skew_s, UTC)
