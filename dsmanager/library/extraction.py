"""Unpacking a cached archive into built version folders."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.archives.commits import recover
from dsmanager.archives.extraction import extract as unpack
from dsmanager.built import BuiltDataset
from dsmanager.errors import AlreadyExistsError, VerificationError
from dsmanager.library.archive_records import records_of_cached, remembering
from dsmanager.library.presence import ref_of_subdir
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["ExtractResult", "extract", "keep_config_metadata"]

CONFIG_FOLDER = ".config"
METADATA = "metadata.json"


@dataclass(frozen=True, slots=True)
class ExtractResult:
    ref: Ref
    paths: tuple[Path, ...]
    files: int
    size_bytes: int
    sha256: str


def extract(
    library: LibraryPlaces,
    ref: Ref,
    *,
    overwrite: bool = False,
    downloaded_sha256: str | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> ExtractResult:
    """Unpacks the cached archive of ``ref``; archive and members are hashed in the same pass.

    ``downloaded_sha256`` is what a download just verified against the object: it is one more record
    of an archive that has no sidecar. Nothing is visible before everything agreed. Raises
    AlreadyExistsError when a version folder is there, VerificationError for an archive that is not
    what its records say or breaks the rules.
    """
    archive = library.cached_path(ref)
    with ExitStack() as locks:
        locks.enter_context(library.locked(ref, "extract", progress, cancel))
        recover(archive)
        records = replace(
            records_of_cached(ref, archive, library.manifest.entries.get(ref)),
            object_sha256=downloaded_sha256,
        )
        versions = [each for each in records.subdir if not each.endswith(f"/{CONFIG_FOLDER}")]
        for part in sorted({ref_of_subdir(subdir) for subdir in versions} - {ref}):
            locks.enter_context(library.locked(part, "extract", progress, cancel))
        targets = [library.data_dir / subdir for subdir in versions]
        for target in targets:
            files.remove_leftovers(target)
        _require_absent(ref, targets, overwrite)
        if records.sidecar is not None:
            needed = sum(member.size for member in records.sidecar.members)
            files.require_free_bytes(targets[0], needed, f"extracting {ref}")
        expected = records.expected()
        with files.staged_folder(targets[0]) as stage:
            with remembering(library.memory, archive) as remember:
                done = unpack(archive, stage, expected=expected, progress=progress, cancel=cancel)
                remember(done.sha256)
            for subdir in versions:
                BuiltDataset(ref_of_subdir(subdir), stage / subdir).require_complete()
            _keep_metadata_of(stage, library.data_dir, ref.name)
            cancel.check()
            for subdir, target in zip(versions, targets, strict=True):
                files.move_tree_into_place(stage / subdir, target)
    return ExtractResult(ref, tuple(targets), done.files, done.bytes, done.sha256)


def _require_absent(ref: Ref, targets: list[Path], overwrite: bool) -> None:
    existing = [target for target in targets if target.exists()]
    if existing and not overwrite:
        raise AlreadyExistsError(
            f"{existing[0]} exists",
            hint=f"replace it: dsmanager extract {ref} --overwrite",
            ref=str(ref),
        )


def _keep_metadata_of(stage: Path, data_dir: Path, name: str) -> None:
    unpacked = stage / name / CONFIG_FOLDER / METADATA
    if not unpacked.exists():
        return
    try:
        default = json.loads(unpacked.read_bytes())["default_config_name"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerificationError(
            f"{name}/{CONFIG_FOLDER}/{METADATA} in the archive names no default config"
        ) from error
    keep_config_metadata(data_dir / name, str(default))


def keep_config_metadata(dataset_folder: Path, default_config: str) -> None:
    """Makes ``.config/metadata.json``, from which TFDS knows the default config.

    One that is there and readable stays: it is as new as this one, or newer.
    """
    metadata = dataset_folder / CONFIG_FOLDER / METADATA
    try:
        if isinstance(json.loads(metadata.read_bytes())["default_config_name"], str):
            return
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        files.write_json(metadata, {"default_config_name": default_config})
