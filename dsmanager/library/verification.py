"""Reading bytes again and comparing them with what their records say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmanager.archives.commits import is_interrupted, recover
from dsmanager.archives.extraction import verify_archive
from dsmanager.archives.offsets import is_uncompressed
from dsmanager.archives.record_index import SUFFIX, verify_index, verify_pieces
from dsmanager.archives.sidecar import Sidecar, read_sidecar
from dsmanager.building.verify import verify_records
from dsmanager.built import BuiltDataset
from dsmanager.cpus import available_cpus
from dsmanager.errors import NotFoundError, UsageError, VerificationError
from dsmanager.hashing import sha256_file
from dsmanager.library.archive_records import records_of_cached, remembering
from dsmanager.library.transfer import records_of_object
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.remotes.remote import Remote

__all__ = ["PLACES", "VerifyResult", "verify"]

PLACES = ("built", "cached", "remote")


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """``against`` names the records that agreed; ``sha256`` is the archive's, None for a build."""

    ref: Ref
    place: str
    size_bytes: int
    sha256: str | None
    against: tuple[str, ...]


def verify(
    library: LibraryPlaces,
    ref: Ref,
    place: str,
    *,
    deep: bool = False,
    progress: Progress,
    cancel: CancelToken,
) -> VerifyResult:
    """Verifies ``ref`` in one of :data:`PLACES`; ``deep`` reads every record of a build, too.

    Raises VerificationError when anything differs, NotFoundError when nothing is there or no record
    says what it must be.
    """
    if place == "cached":
        return _verify_cached(library, ref, progress, cancel)
    if place == "remote":
        return _verify_remote(library, ref, progress, cancel)
    if place == "built":
        return _verify_built(library, ref, deep, progress, cancel)
    raise UsageError(f"there is no place '{place}'", hint=f"use --in {'|'.join(PLACES)}")


def _verify_cached(
    library: LibraryPlaces, ref: Ref, progress: Progress, cancel: CancelToken
) -> VerifyResult:
    archive = library.cached_path(ref)
    if is_interrupted(archive):
        with library.locked(ref, "recover", progress, cancel):
            recover(archive)
    records = records_of_cached(ref, archive, library.manifest.entries.get(ref))
    expected = records.expected()
    with remembering(library.memory, archive) as remember:
        sha256 = verify_archive(archive, expected=expected, progress=progress, cancel=cancel)
        remember(sha256)
    if records.sidecar is not None:
        verify_index(archive, records.sidecar)
    return VerifyResult(ref, "cached", archive.stat().st_size, sha256, tuple(records.hashes))


def _verify_remote(
    library: LibraryPlaces, ref: Ref, progress: Progress, cancel: CancelToken
) -> VerifyResult:
    remote, found, records = records_of_object(library, ref)
    expected_sha256 = records.agreed_sha256()
    progress.start_phase("verify", bytes_total=found.size)
    sha256 = remote.hash_object(found, progress=progress, cancel=cancel)
    if sha256 != expected_sha256:
        raise VerificationError(
            f"{remote.url_of(found.name)} has sha256 {sha256}, and {next(iter(records.hashes))} "
            f"says {expected_sha256}",
            hint=f"replace it: dsmanager upload {ref} --overwrite",
            ref=str(ref),
        )
    if records.sidecar is not None and is_uncompressed(records.sidecar):
        _verify_remote_index(remote, records.sidecar, cancel)
    return VerifyResult(ref, "remote", found.size, sha256, tuple(records.hashes))


def _verify_remote_index(remote: Remote, sidecar: Sidecar, cancel: CancelToken) -> None:
    """Compares the index on the remote, where there is one, with the digests that it must have."""
    found = remote.head(f"{sidecar.archive}{SUFFIX}")
    if found is not None:
        pieces = remote.pieces(found, progress=Progress(), cancel=cancel)
        verify_pieces(pieces, sidecar, remote.url_of(found.name))


def _verify_built(
    library: LibraryPlaces, ref: Ref, deep: bool, progress: Progress, cancel: CancelToken
) -> VerifyResult:
    """Compares with the sidecar of the cached archive where there is one; else with its own JSON.

    Without a sidecar, or with ``deep``, the CRC of every record is checked and records are counted.
    """
    folder = library.version_folder(ref)
    if not folder.is_dir():
        raise NotFoundError(
            f"{ref} is not built here", hint=f"build it: dsmanager build {ref}", ref=str(ref)
        )
    built = BuiltDataset(ref, folder)
    built.require_complete()
    members = _members_of_sidecar(library, ref)
    against = ["its own dataset_info.json"]
    if members:
        against.append("the sidecar")
        _compare_members(built, members, progress, cancel)
    if deep or not members:
        verify_records(built, workers=available_cpus(), progress=progress, cancel=cancel)
    return VerifyResult(ref, "built", built.size_bytes, None, tuple(against))


def _members_of_sidecar(library: LibraryPlaces, ref: Ref) -> dict[str, tuple[int, str]]:
    """(size, sha256) by file name, from the sidecar of the cached archive; empty without one."""
    try:
        archive = library.cached_path(ref)
    except NotFoundError:
        return {}
    sidecar = read_sidecar(archive)
    prefix = f"{ref.subdir}/"
    if sidecar is None:
        return {}
    return {
        member.path.removeprefix(prefix): (member.size, member.sha256)
        for member in sidecar.members
        if member.path.startswith(prefix)
    }


def _compare_members(
    built: BuiltDataset,
    members: dict[str, tuple[int, str]],
    progress: Progress,
    cancel: CancelToken,
) -> None:
    progress.start_phase("verify", bytes_total=built.size_bytes)
    for name in sorted(members.keys() | built.files.keys()):
        if name not in members or built.files.get(name) != members[name][0]:
            raise _differs(built, f"{name} is not what the sidecar of its archive lists")
        digest = sha256_file(built.path / name, progress=progress, cancel=cancel)
        if digest != members[name][1]:
            raise _differs(built, f"{name} has other bytes than the sidecar of its archive says")


def _differs(built: BuiltDataset, problem: str) -> VerificationError:
    return VerificationError(
        f"{built.ref} at {built.path}: {problem}",
        hint=f"restore it: dsmanager extract {built.ref} --overwrite, "
        f"or if the build is the right one: dsmanager package {built.ref} --overwrite",
        ref=str(built.ref),
    )
