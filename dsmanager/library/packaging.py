"""Packing what is built into one archive with its sidecar."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dsmanager.archives.commits import recover
from dsmanager.archives.packing import SidecarFacts, pack
from dsmanager.archives.record_index import ensure_index
from dsmanager.archives.sidecar import Sidecar, read_sidecar
from dsmanager.built import BuiltDataset, find_built
from dsmanager.errors import AlreadyExistsError, NotFoundError, VerificationError
from dsmanager.library.memory import utc_now
from dsmanager.library.recording import entry_of_sidecar, write_entry
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["PackageResult", "package"]

CONFIG_FOLDER = ".config"


@dataclass(frozen=True, slots=True)
class PackageResult:
    ref: Ref
    path: Path
    size_bytes: int
    sha256: str
    tar_sha256: str
    files: int
    recorded: bool


def package(
    library: LibraryPlaces,
    ref: Ref,
    *,
    compression: str = "gz",
    together: bool = False,
    overwrite: bool = False,
    record: bool = True,
    progress: Progress,
    cancel: CancelToken,
) -> PackageResult:
    """Packs one built version, or with ``together`` all built configs of ``ref``'s version.

    The tree is archived as it stands after checking that its files are complete. An uncompressed
    archive gets an index of its records, too, by which it can be streamed. Raises
    AlreadyExistsError for an archive that is there already, VerificationError for an incomplete
    tree.
    """

    def write_record(sidecar: Sidecar) -> None:
        # First, because a killed run must not leave an archive that nothing records: the next run
        # would find it there and stop.
        write_entry(library, entry_of_sidecar(library, sidecar), progress, cancel)

    parts = _parts(library, ref, together)
    whole = Ref(ref.name, None, ref.version) if together else ref
    archive = library.settings.cache_dir / whole.archive_name(compression)
    with ExitStack() as locks:
        for each in (whole, *(part.ref for part in parts if part.ref != whole)):
            locks.enter_context(library.locked(each, "package", progress, cancel))
        recover(archive)
        for part in parts:
            part.require_complete()
        _require_own_name(library, whole, archive)
        if archive.exists() and not overwrite:
            raise AlreadyExistsError(
                f"{archive} exists",
                hint=f"replace it: dsmanager package {whole} --overwrite",
                ref=str(whole),
            )
        archive.parent.mkdir(parents=True, exist_ok=True)
        sidecar = pack(
            library.data_dir,
            whole,
            _subdirs(library, parts),
            archive,
            compression=compression,
            facts=_facts(parts),
            before_visible=write_record if record else None,
            progress=progress,
            cancel=cancel,
        )
        library.memory.remember_file(archive, sidecar.sha256)
        ensure_index(archive, sidecar, progress)
    return _result(whole, archive, sidecar, record)


def _require_own_name(library: LibraryPlaces, ref: Ref, archive: Path) -> None:
    """Raises AlreadyExistsError when the archive's name is taken by another ref.

    ``a/b`` and ``a-b`` are two configs with one archive name.
    """
    sidecar = read_sidecar(archive)
    owners = {sidecar.ref} if sidecar else set()
    owners |= {e.ref for e in library.manifest.entries.values() if e.archive == archive.name}
    for owner in owners - {ref}:
        raise AlreadyExistsError(
            f"{archive.name} is the archive of {owner}, and {ref} would have the same name",
            hint=f"rename one of the configs, or: dsmanager rm {owner} --from cached",
            ref=str(ref),
        )


def result_of_existing(ref: Ref, archive: Path) -> PackageResult:
    """What ``package`` returned for an archive that has a sidecar. Raises VerificationError."""
    sidecar = read_sidecar(archive)
    if sidecar is None:
        raise VerificationError(
            f"{archive} has no sidecar",
            hint=f"pack it again: dsmanager package {ref} --overwrite",
            ref=str(ref),
        )
    return _result(ref, archive, sidecar, True)


def _parts(library: LibraryPlaces, ref: Ref, together: bool) -> list[BuiltDataset]:
    """The version folders to pack, sorted."""
    if not together:
        return [BuiltDataset(ref, library.version_folder(ref))]
    found = [
        built
        for built in find_built(library.data_dir)
        if built.ref.name == ref.name and built.ref.version == ref.version
    ]
    if not found:
        raise NotFoundError(
            f"nothing is built of {ref}", hint=f"build it: dsmanager build {ref}", ref=str(ref)
        )
    return found


def _subdirs(library: LibraryPlaces, parts: list[BuiltDataset]) -> list[PurePosixPath]:
    subdirs = [part.ref.subdir for part in parts]
    metadata = library.data_dir / parts[0].ref.name / CONFIG_FOLDER / "metadata.json"
    if any(part.ref.config for part in parts) and metadata.is_file():
        subdirs.append(PurePosixPath(parts[0].ref.name, CONFIG_FOLDER))
    return subdirs


def _facts(parts: list[BuiltDataset]) -> SidecarFacts:
    """What the build left in ``provenance.json``; of several configs each source once."""
    provenance = parts[0].provenance
    sources: dict[str, dict[str, Any]] = {}
    splits: dict[str, dict[str, int]] = {}
    for part in parts:
        sources |= {source["url"]: source for source in part.sources}
        prefix = f"{part.ref.config}/" if len(parts) > 1 and part.ref.config else ""
        for name, split in part.splits.items():
            shards = len(split.shard_lengths)
            splits[prefix + name] = {"examples": split.examples, "shards": shards}
    return SidecarFacts(
        created=utc_now(),
        tfds_version=provenance.get("tfds_version"),
        builder_sha256=parts[0].builder_sha256,
        sources=tuple(sources[url] for url in sorted(sources)),
        license=provenance.get("license"),
        citation=provenance.get("citation"),
        splits=splits,
    )


def _result(ref: Ref, archive: Path, sidecar: Sidecar, recorded: bool) -> PackageResult:
    return PackageResult(
        ref,
        archive,
        sidecar.size,
        sidecar.sha256,
        sidecar.tar_sha256,
        len(sidecar.members),
        recorded,
    )
