"""Removing: first a plan with every path and its bytes, then each thing of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.archives.commits import recover
from dsmanager.archives.record_index import index_path, remove_index
from dsmanager.archives.sidecar import sidecar_path
from dsmanager.errors import UsageError, os_errors
from dsmanager.library.presence import Presence
from dsmanager.library.scope import select
from dsmanager.locks import held_by
from dsmanager.manifest import Entry, update_manifest
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["PLACES", "Removal", "plan_removal", "remove", "remove_empty_folders"]

PLACES = ("built", "cached", "remote", "recorded")


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that would be removed, and the bytes that it holds."""

    ref: Ref
    place: str
    target: str
    size_bytes: int


def plan_removal(
    library: LibraryPlaces, requests: Sequence[str], places: Sequence[str]
) -> list[Removal]:
    """Everything of ``requests`` in ``places``; nothing is removed.

    Raises UsageError for an unknown place, NotFoundError when a request has nothing there, and the
    remote's error when the remote was asked for and cannot be reached.
    """
    for place in places:
        if place not in PLACES:
            raise UsageError(f"there is no place '{place}'", hint=f"use --from {'|'.join(PLACES)}")
    survey = library.survey(local_only="remote" not in places)
    if "remote" in places:
        if survey.remote_error is not None:
            raise survey.remote_error
        library.settings.require_remote()
    things = [thing for row in survey.rows for thing in _things(library, row, places)]
    if "built" in places:
        things += _half_removed(library)
    refs = select(
        requests,
        [thing.ref for thing in things],
        newest_only=False,
        what=f"{' or '.join(places)} dataset",
        hint="see what there is: dsmanager list",
    )
    return [thing for thing in things if thing.ref in refs]


def _things(library: LibraryPlaces, row: Presence, places: Sequence[str]) -> list[Removal]:
    things = []
    if "built" in places and row.built and library.version_folder(row.ref).is_dir():
        folder = str(library.version_folder(row.ref))
        things.append(Removal(row.ref, "built", folder, row.built.size_bytes))
    if "cached" in places and row.cached:
        things.append(Removal(row.ref, "cached", str(row.cached.path), row.cached.size_bytes))
    if "remote" in places and row.remote:
        things.append(Removal(row.ref, "remote", row.remote.url, row.remote.size_bytes))
    if "recorded" in places and row.recorded:
        things.append(Removal(row.ref, "recorded", str(library.settings.manifest_path), 0))
    return things


def _half_removed(library: LibraryPlaces) -> list[Removal]:
    """Version folders whose removal (or whose making) was killed: temporary names, no lock."""
    found = []
    for depth in range(1, 5):
        for path in library.data_dir.glob("*/" * depth + ".*.tmp"):
            name, *config = path.parent.relative_to(library.data_dir).parts
            ref = Ref(name, "/".join(config) or None, files.final_name_of(path.name))
            if ref.version and ref.is_proper and held_by(library.lock_path(ref)) is None:
                found.append(Removal(ref, "built", str(path), 0))
    return found


def remove(
    library: LibraryPlaces, removal: Removal, *, progress: Progress, cancel: CancelToken
) -> None:
    """Removes one thing. A version folder vanishes by one rename before its files are removed."""
    ref = removal.ref
    with (
        library.locked(ref, "remove", progress, cancel),
        os_errors(f"remove {ref}"),
    ):
        if removal.place == "built":
            _remove_built(library, Path(removal.target))
        elif removal.place == "cached":
            archive = Path(removal.target)
            archive.unlink(missing_ok=True)
            sidecar_path(archive).unlink(missing_ok=True)
            remove_index(archive)
            files.fsync_folder(archive.parent)
            recover(archive)
            library.memory.forget_file(archive)
        elif removal.place == "remote":
            name = removal.target.rpartition("/")[2]
            library.remote.delete(name)
            library.remote.delete(sidecar_path(Path(name)).name)
            library.remote.delete(index_path(Path(name)).name)
        else:

            def forget(entries: dict[Ref, Entry]) -> None:
                entries.pop(ref, None)

            update_manifest(
                library.settings.manifest_path, forget, progress=progress, cancel=cancel
            )


def _remove_built(library: LibraryPlaces, folder: Path) -> None:
    if files.is_temporary_name(folder.name):
        files.remove_path(folder)
    else:
        files.remove_leftovers(folder)
        doomed = files.temporary_path(folder)
        folder.rename(doomed)
        files.fsync_folder(folder.parent)
        files.remove_path(doomed)
    remove_empty_folders(folder.parent, library.data_dir)


def remove_empty_folders(folder: Path, data_dir: Path) -> None:
    """Removes ``folder`` and those above it, up to the data dir, that hold nothing any more."""
    for parent in (folder, *folder.parents):
        if parent == data_dir or not parent.is_relative_to(data_dir):
            return
        with suppress(FileNotFoundError):
            if os.listdir(parent) == [".config"]:
                files.remove_path(parent / ".config")
        try:
            parent.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return  # something else lives there
