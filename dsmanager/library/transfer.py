"""Upload and download: archives with their sidecars between the cache and the remote.

Interrupted ones (cancelled, killed, disconnected) are gone on with by the next call for the same
ref. What has arrived waits beside the archive, in a name that never looks like an archive; what was
sent waits on the server, and is remembered in the state dir.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.archives.commits import commit, recover
from dsmanager.archives.extraction import verify_archive
from dsmanager.archives.record_index import ensure_index, index_path
from dsmanager.archives.sidecar import MAX_SIDECAR_BYTES, Sidecar, sidecar_path
from dsmanager.errors import (
    AlreadyExistsError,
    CancelledError,
    CredentialsError,
    DsmanagerError,
    NoSpaceError,
    NotFoundError,
    TemporaryError,
    VerificationError,
    os_errors,
)
from dsmanager.hashing import sha256_file
from dsmanager.library.archive_records import ArchiveRecords, records_of_cached
from dsmanager.library.remote_listing import place_of, remote_archives
from dsmanager.partial import discard_part, part_path
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from dsmanager.remotes.objects import ObjectChangedError

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.remotes.rate import RateLimit
    from dsmanager.remotes.remote import Remote, RemoteObject

__all__ = [
    "DownloadResult",
    "UploadResult",
    "download",
    "records_of_object",
    "sidecar_of_object",
    "upload",
]

_RESUMABLE = (CancelledError, TemporaryError, CredentialsError, NoSpaceError)


@dataclass(frozen=True, slots=True)
class UploadResult:
    """``was_there`` says that the remote had the same content and nothing was sent."""

    ref: Ref
    url: str
    size_bytes: int
    sha256: str
    public: bool
    was_there: bool


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """``was_there`` says that the cache had the same content and nothing was fetched."""

    ref: Ref
    path: Path
    url: str
    size_bytes: int
    sha256: str
    verified: bool
    was_there: bool


def upload(
    library: LibraryPlaces,
    ref: Ref,
    *,
    public: bool = False,
    overwrite: bool = False,
    limit: RateLimit | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> UploadResult:
    """Sends the cached archive of ``ref``, and its sidecar before it becomes visible.

    The bytes are hashed while they are sent and must be what the records say; nothing becomes
    visible otherwise. Private unless ``public``; then an unsigned request must see the object.
    Raises AlreadyExistsError for different content under the key.
    """
    archive = library.cached_path(ref)
    remote = library.remote
    with library.locked(ref, "upload", progress, cancel):
        recover(archive)
        records = records_of_cached(ref, archive, library.manifest.entries.get(ref))
        sha256 = records.agreed_sha256()
        size = archive.stat().st_size
        existing = remote.head(archive.name)
        if existing is not None and remote.holds(
            existing, size, sha256, progress=progress, cancel=cancel
        ):
            _require_cached_bytes(library, archive, records, progress, cancel)
            remote.forget_upload(archive.name, _upload_notes_dir(library))
            _send_missing_sidecar(remote, archive)
            _send_index(remote, archive, records.sidecar, progress, cancel)
            if public:
                _make_public(remote, archive)
            return UploadResult(ref, remote.url_of(archive.name), size, sha256, public, True)
        if existing is not None and not overwrite:
            raise AlreadyExistsError(
                f"{remote.url_of(archive.name)} exists with different content",
                hint=f"replace it: dsmanager upload {ref} --overwrite",
                ref=str(ref),
            )
        progress.start_phase("upload", bytes_total=size)
        sent = remote.upload_file(
            archive,
            archive.name,
            size=size,
            sha256=sha256,
            overwrite=existing is not None,
            before_visible=lambda: _send_sidecar(remote, archive),
            notes_dir=_upload_notes_dir(library),
            limit=limit,
            progress=progress,
            cancel=cancel,
        )
        library.memory.remember_file(archive, sha256)
        library.memory.remember_objects([(place_of(remote, sent.name), sent.etag, sha256)])
        _send_index(remote, archive, records.sidecar, progress, cancel)
        if public:
            _make_public(remote, archive)
    return UploadResult(ref, remote.url_of(sent.name), size, sha256, public, False)


def download(
    library: LibraryPlaces,
    ref: Ref,
    *,
    overwrite: bool = False,
    verify: bool = True,
    limit: RateLimit | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> DownloadResult:
    """Fetches the archive of ``ref`` and its sidecar into the cache.

    Every record that exists (manifest, sidecar, object metadata) must agree with the bytes before
    anything is visible. Raises NotFoundError when there is no such object or, unless ``verify`` is
    off, no record of it; AlreadyExistsError for different content in the cache.
    """
    remote, found, records = records_of_object(library, ref)
    archive = library.settings.cache_dir / found.name
    url = remote.url_of(found.name)
    expected_sha256 = records.agreed_sha256() if verify else None
    with library.locked(ref, "download", progress, cancel):
        recover(archive)
        part = part_path(archive)
        if archive.exists() and not overwrite:
            sha256 = _sha256_of_cached(library, archive, progress, cancel)
            if sha256 == (expected_sha256 or found.sha256):
                with os_errors(f"clean up after {archive.name}"):
                    discard_part(part)
                return DownloadResult(ref, archive, url, found.size, sha256, verify, True)
            raise AlreadyExistsError(
                f"{archive} exists with different content",
                hint=f"replace it: dsmanager download {ref} --overwrite",
                ref=str(ref),
            )
        with _kept_when_resumable(part):
            files.make_folders(archive.parent)
            sha256 = _fetch(remote, found, part, expected_sha256, limit, progress, cancel)
            if verify:
                _require_equal(records, url, sha256)
            sidecar = records.sidecar.to_bytes() if records.sidecar else None
            commit(part, archive, sidecar)
            discard_part(part)
        library.memory.remember_file(archive, sha256)
        if records.sidecar is not None and sha256 == records.sidecar.sha256:
            ensure_index(archive, records.sidecar, progress)
        library.memory.remember_objects([(place_of(remote, found.name), found.etag, sha256)])
    return DownloadResult(ref, archive, url, found.size, sha256, verify, False)


def _fetch(
    remote: Remote,
    found: RemoteObject,
    part: Path,
    expected_sha256: str | None,
    limit: RateLimit | None,
    progress: Progress,
    cancel: CancelToken,
) -> str:
    """Brings the object into ``part`` and returns its sha256.

    What an earlier process left counts only where the whole can be checked; if the whole is wrong
    then, all of it is fetched again.
    """
    resume = expected_sha256 is not None
    resumed = resume and part.exists()
    progress.start_phase("download", bytes_total=found.size)
    sha256 = remote.download_file(
        found, part, resume=resume, limit=limit, progress=progress, cancel=cancel
    )
    if not resumed or sha256 == expected_sha256:
        return sha256
    progress.note(f"{found.name}: what was here of it is damaged; fetching all of it again")
    discard_part(part)
    progress.start_phase("download", bytes_total=found.size)
    return remote.download_file(
        found, part, resume=True, limit=limit, progress=progress, cancel=cancel
    )


@contextmanager
def _kept_when_resumable(part: Path) -> Iterator[None]:
    """Removes the part unless the next download can go on with it."""
    try:
        yield
    except DsmanagerError as error:
        if not isinstance(error, _RESUMABLE) or isinstance(error, ObjectChangedError):
            with suppress(OSError):
                discard_part(part)
        raise


def _upload_notes_dir(library: LibraryPlaces) -> Path:
    return library.settings.state_dir / "uploads"


def records_of_object(
    library: LibraryPlaces, ref: Ref
) -> tuple[Remote, RemoteObject, ArchiveRecords]:
    """The remote archive of ``ref`` and all that says what it must be.

    Raises NotFoundError when the remote has no such archive.
    """
    entry = library.manifest.entries.get(ref)
    remote = library.remote_of(entry)
    names = [entry.archive] if entry else [ref.archive_name("gz")]
    found = next((head for name in names if (head := remote.head(name))), None)
    if found is None and entry is None:
        listed = remote_archives(remote, library.manifest, library.memory).get(ref)
        found = remote.head(listed.name) if listed else None
    if found is None:
        raise NotFoundError(
            f"{remote.url_of(names[0])} does not exist",
            hint="see what the remote has: dsmanager list",
            ref=str(ref),
        )
    sidecar = sidecar_of_object(remote, found)
    return remote, found, ArchiveRecords(ref, entry, sidecar, found.size, found.sha256)


def sidecar_of_object(remote: Remote, found: RemoteObject) -> Sidecar | None:
    """The sidecar of a remote archive; None where there is none. Raises VerificationError."""
    name = sidecar_path(Path(found.name)).name
    content = remote.read_bytes(name, max_bytes=MAX_SIDECAR_BYTES)
    return Sidecar.from_bytes(content, remote.url_of(name)) if content is not None else None


def _require_equal(records: ArchiveRecords, url: str, sha256: str) -> None:
    for where, said in records.hashes.items():
        if sha256 != said:
            raise VerificationError(
                f"{url} has sha256 {sha256}, and {where} says {said}",
                hint=f"look at it: dsmanager verify {records.ref} --in remote",
                ref=str(records.ref),
            )


def _sha256_of_cached(
    library: LibraryPlaces, archive: Path, progress: Progress, cancel: CancelToken
) -> str:
    known = library.memory.file(archive)
    if known is not None:
        return known.sha256
    progress.start_phase("verify", bytes_total=archive.stat().st_size)
    sha256 = sha256_file(archive, progress=progress, cancel=cancel)
    library.memory.remember_file(archive, sha256)
    return sha256


def _require_cached_bytes(
    library: LibraryPlaces,
    archive: Path,
    records: ArchiveRecords,
    progress: Progress,
    cancel: CancelToken,
) -> None:
    """Reads the archive unless it is still the one that was read and matched."""
    known = library.memory.file(archive)
    if known is not None and known.sha256 == records.agreed_sha256():
        return
    progress.start_phase("verify", bytes_total=archive.stat().st_size)
    expected = records.expected()
    sha256 = verify_archive(archive, expected=expected, progress=progress, cancel=cancel)
    library.memory.remember_file(archive, sha256)


def _send_sidecar(remote: Remote, archive: Path) -> None:
    """Sends the sidecar; without one, takes away a stale one of the object to be replaced."""
    local = sidecar_path(archive)
    if local.exists():
        remote.upload_bytes(local.read_bytes(), local.name)
    else:
        remote.delete(local.name)


def _send_index(
    remote: Remote,
    archive: Path,
    sidecar: Sidecar | None,
    progress: Progress,
    cancel: CancelToken,
) -> None:
    """Sends the index of an uncompressed archive unless the remote has the same."""
    path = ensure_index(archive, sidecar, progress) if sidecar is not None else None
    if path is None:
        return
    size, sha256 = path.stat().st_size, sha256_file(path)
    found = remote.head(path.name)
    if found is None or not remote.holds(found, size, sha256, cancel=cancel):
        remote.upload_file(
            path,
            path.name,
            size=size,
            sha256=sha256,
            overwrite=True,
            progress=Progress(),
            cancel=cancel,
        )


def _make_public(remote: Remote, archive: Path) -> None:
    """Lets everybody read archive, sidecar and index. Raises CredentialsError if nobody can."""
    remote.make_public(archive.name)
    for path in (sidecar_path(archive), index_path(archive)):
        if path.exists():
            remote.make_public(path.name)


def _send_missing_sidecar(remote: Remote, archive: Path) -> None:
    local = sidecar_path(archive)
    if local.exists() and remote.head(local.name) is None:
        remote.upload_bytes(local.read_bytes(), local.name)
