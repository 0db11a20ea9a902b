"""Recording archives in the manifest, and taking other manifests over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.archives.extraction import inspect_archive
from dsmanager.archives.sidecar import Sidecar, read_sidecar
from dsmanager.errors import NotFoundError
from dsmanager.library.memory import identity_of
from dsmanager.manifest import Entry, Manifest, read_manifest, update_manifest
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["RecordResult", "entry_of_sidecar", "import_manifest", "record", "write_entry"]


@dataclass(frozen=True, slots=True)
class RecordResult:
    """``was_recorded`` says that the manifest said the same before."""

    ref: Ref
    entry: Entry
    manifest: Path
    was_recorded: bool


def record(
    library: LibraryPlaces, ref: Ref, *, progress: Progress, cancel: CancelToken
) -> RecordResult:
    """Writes the cached archive of ``ref`` into the manifest, after reading it in full.

    Raises VerificationError when its sidecar says other bytes.
    """
    archive = library.cached_path(ref)
    with library.locked(ref, "record", progress, cancel):
        sidecar = read_sidecar(archive)
        if sidecar is not None:
            entry = entry_of_sidecar(library, sidecar)
            _require_bytes(library, archive, entry, sidecar, progress, cancel)
        else:
            found = inspect_archive(archive, name=ref.name, progress=progress, cancel=cancel)
            library.memory.remember_file(archive, found.sha256)
            entry = Entry(
                ref, archive.name, found.size, found.sha256, found.subdir, _remote_name(library)
            )
        before = library.manifest.entries.get(entry.ref)
        if before is not None:
            entry = entry._replace(remote=entry.remote or before.remote)
        write_entry(library, entry, progress, cancel)
    return RecordResult(entry.ref, entry, library.settings.manifest_path, before == entry)


def entry_of_sidecar(library: LibraryPlaces, sidecar: Sidecar) -> Entry:
    """The manifest entry of an archive that has a sidecar, on the current remote."""
    return Entry(
        sidecar.ref,
        sidecar.archive,
        sidecar.size,
        sidecar.sha256,
        sidecar.subdir,
        _remote_name(library),
    )


def write_entry(
    library: LibraryPlaces, entry: Entry, progress: Progress, cancel: CancelToken
) -> None:
    """Adds or replaces one entry of the manifest."""

    def change(entries: dict[Ref, Entry]) -> None:
        entries[entry.ref] = entry

    update_manifest(library.settings.manifest_path, change, progress=progress, cancel=cancel)


def import_manifest(
    library: LibraryPlaces, source: Path, *, progress: Progress, cancel: CancelToken
) -> list[RecordResult]:
    """Merges every entry of ``source``, of either format, into the manifest.

    Raises NotFoundError when ``source`` is not there or names nothing.
    """
    imported = read_manifest(source)
    if not imported.entries:
        raise NotFoundError(
            f"{source} {'names no archives' if source.exists() else 'does not exist'}",
            hint=f"look at it: dsmanager manifest show --manifest {source}",
        )
    target = library.settings.manifest_path
    before = dict(read_manifest(target).entries)

    def change(entries: dict[Ref, Entry]) -> None:
        entries.update(imported.entries)

    update_manifest(target, change, progress=progress, cancel=cancel)
    return [
        RecordResult(ref, entry, target, before.get(ref) == entry)
        for ref, entry in imported.entries.items()
    ]


def select_entries(manifest: Manifest, refs: list[Ref]) -> Manifest:
    """The part of a manifest that ``refs`` name."""
    return Manifest({ref: manifest.entries[ref] for ref in refs}, manifest.is_armory)


def _require_bytes(
    library: LibraryPlaces,
    archive: Path,
    entry: Entry,
    sidecar: Sidecar,
    progress: Progress,
    cancel: CancelToken,
) -> None:
    """Reads the archive unless it is still the one that was read and matched."""
    from dsmanager.archives.extraction import verify_archive
    from dsmanager.library.archive_records import ArchiveRecords

    known = library.memory.file(archive)
    if known and known.sha256 == sidecar.sha256 and identity_of(archive)[0] == sidecar.size:
        return
    expected = ArchiveRecords(entry.ref, None, sidecar).expected()
    sha256 = verify_archive(archive, expected=expected, progress=progress, cancel=cancel)
    library.memory.remember_file(archive, sha256)


def _remote_name(library: LibraryPlaces) -> str | None:
    """The current remote's name where it is a configured one."""
    current = library.settings.current_remote()
    return current.name if current and current.name in library.settings.remotes else None
