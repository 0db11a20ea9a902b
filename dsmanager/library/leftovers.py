"""What dead processes left in a data dir, and whose lock tells that they are dead.

Every temporary name holds a random token, and whoever made it holds a lock until it is gone. So a
name that was seen *before* its lock was found free belongs to nobody. Looks only; removes nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.built import is_version_folder
from dsmanager.locks import held_by
from dsmanager.refs import Ref, parse_archive_name

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = [
    "Leftover",
    "find_leftovers",
    "holder_in",
    "is_abandoned",
    "size_on_disk",
]

_KEPT = re.compile(r"\.(.+)\.[0-9a-f]{8}\.kept\.tmp", re.DOTALL)
_PART = re.compile(r"\.(.+)\.part(\.json)?", re.DOTALL)
_OF_TFDS = re.compile(r".+(\.tmp\.[0-9a-f]{32}|\.incomplete_[0-9a-f]{32}(\.todelete)?)", re.DOTALL)
_CONFIG_FOLDER = ".config"
_MANIFEST = "datasets.json"
_DEPTH = 6
_ABANDONED_S = 86_400
"""TFDS takes no lock: what it has not touched for a day in its download folder is nobody's."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that has to go, and what must be free for it."""

    kind: str
    """leftover, partial-download, orphan-sidecar, orphan-index, empty-folder, or lock."""
    path: Path
    ref: Ref | None = None
    final: Path | None = None
    """What it is a leftover of: an archive, a version folder, the manifest."""
    lock: Path | None = None
    """None: it has no lock of its own, and no lock of its name (or of all) may be held."""

    @property
    def name(self) -> str | None:
        """The dataset whose locks count where :attr:`lock` is None; None means all."""
        return self.ref.name if self.ref else None


def find_leftovers(library: LibraryPlaces) -> list[Leftover]:
    """Everything temporary below the data dir, of living processes, too; sorted by path.

    Raises OSError when the data dir itself cannot be read.
    """
    found: list[Leftover] = []
    if library.data_dir.is_dir():
        os.scandir(library.data_dir).close()
        found += _in_root(library)
        found += _in_cache(library)
        found += _in_downloads(library.settings.download_dir)
        for folder in _folders(library.data_dir):
            if Ref(folder.name).is_proper and folder.name not in ("cache", "downloads"):
                found += _in_dataset(library, folder, (folder.name,))
                found += _voids(folder, Ref(folder.name))
    found += _of_manifest(library)
    return sorted({each.path: each for each in found}.values(), key=lambda each: each.path)


def holder_in(data_dir: Path, name: str | None) -> str | None:
    """Who holds a lock of any version of ``name`` (None: of any dataset); None when nobody does."""
    start = f"{name}__" if name else ""
    for lock in data_dir.glob("*.lock"):
        if lock.name.startswith(start) and (holder := held_by(lock)) is not None:
            return holder
    return None


def size_on_disk(path: Path) -> int:
    """Bytes of a file or of all files of a tree; of a file with holes what it takes on disk."""
    total = 0
    with suppress(OSError):
        status = path.lstat()
        if not os.path.isdir(path) or path.is_symlink():
            return min(status.st_size, status.st_blocks * 512)
        for folder, _, names in os.walk(path):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _in_root(library: LibraryPlaces) -> Iterator[Leftover]:
    for entry in _entries(library.data_dir):
        if entry.name.endswith(".lock") and _is_our_lock(entry.name):
            yield Leftover("lock", Path(entry.path), lock=Path(entry.path))
        elif _final_name(entry.name) == _MANIFEST:
            continue  # the manifest's own lock guards it, here or wherever it is
        elif _final_name(entry.name) is not None:
            yield Leftover("leftover", Path(entry.path))


def _is_our_lock(name: str) -> bool:
    ref = parse_archive_name(f"{name.removesuffix('.lock')}__cache.tar")
    return ref is not None or name == f"{_MANIFEST}.lock"


def _of_manifest(library: LibraryPlaces) -> Iterator[Leftover]:
    """The manifest may lie elsewhere; its lock is always beside it."""
    for manifest in {
        Path(os.path.realpath(library.settings.manifest_path)),
        Path(os.path.realpath(library.data_dir / _MANIFEST)),
    }:
        lock = manifest.with_name(f"{manifest.name}.lock")
        for entry in _entries(manifest.parent):
            if _final_name(entry.name) == manifest.name:
                path = manifest.with_name(entry.name)
                yield Leftover("leftover", path, final=manifest, lock=lock)


def _in_cache(library: LibraryPlaces) -> Iterator[Leftover]:
    cache = library.settings.cache_dir
    recorded = {entry.archive: entry.ref for entry in library.manifest.entries.values()}
    names = {entry.name for entry in _entries(cache)}
    for name in sorted(names):
        archive, kind = _archive_of(name, names, recorded)
        if kind is None:
            continue
        ref = _ref_of(archive, recorded)
        lock = library.lock_path(ref) if ref else None
        yield Leftover(kind, cache / name, ref, cache / archive if ref else None, lock)


def _archive_of(name: str, names: set[str], recorded: Mapping[str, Ref]) -> tuple[str, str | None]:
    """The archive that a file of the cache belongs to, and the kind of leftover that it is."""
    final = _final_name(name)
    bare = final or name
    if part := _PART.fullmatch(bare):
        return part[1], "partial-download"
    archive = bare.removesuffix(".json").removesuffix(".index")
    if final is not None:
        return archive, "leftover"
    is_beside = archive != name and _ref_of(archive, recorded) is not None
    kind = "orphan-index" if name.endswith(".index") else "orphan-sidecar"
    return archive, kind if is_beside and archive not in names else None


def _ref_of(archive: str, recorded: Mapping[str, Ref]) -> Ref | None:
    parsed = parse_archive_name(archive)
    return recorded.get(archive) or (parsed[0] if parsed else None)


def _in_downloads(folder: Path) -> Iterator[Leftover]:
    """Ours at once; TFDS's, which no lock guards, when it was not touched for a day."""
    for place, folders, names in os.walk(folder):
        here = [Path(place, name) for name in (*folders, *names)]
        found = [path for path in here if _is_unfinished(path) and f"{path.name}.INFO" not in names]
        yield from (Leftover("leftover", path) for path in found)
        is_extracted = Path(place).name == "extracted"  # what was unpacked is looked at no further
        gone = {path.name for path in found}
        folders[:] = [each for each in folders if not is_extracted and each not in gone]


def _is_unfinished(path: Path) -> bool:
    if path.name.endswith(".tmp"):
        return True
    return _OF_TFDS.fullmatch(path.name) is not None and is_abandoned(path)


def is_abandoned(path: Path, for_s: float = _ABANDONED_S) -> bool:
    """Whether nothing of it was written for so long: a day."""
    newest_s = 0.0
    with suppress(OSError):
        newest_s = path.lstat().st_mtime
        for folder, _, names in os.walk(path):
            for name in ("", *names):
                with suppress(OSError):
                    newest_s = max(newest_s, os.lstat(os.path.join(folder, name)).st_mtime)
    return time.time() - newest_s > for_s


def _in_dataset(library: LibraryPlaces, folder: Path, parts: tuple[str, ...]) -> Iterator[Leftover]:
    for entry in _entries(folder):
        path = Path(entry.path)
        final = _final_name(entry.name)
        if final is not None:
            ref = Ref(parts[0], "/".join(parts[1:]) or None, final)
            if ref.is_proper:
                yield Leftover("leftover", path, ref, folder / final, library.lock_path(ref))
            else:
                yield Leftover("leftover", path, Ref(parts[0]))
        elif entry.name.startswith(".") and entry.name != _CONFIG_FOLDER:
            continue
        elif len(parts) < _DEPTH and os.path.isdir(path) and not is_version_folder(path):
            yield from _in_dataset(library, path, (*parts, entry.name))


def _voids(folder: Path, ref: Ref, depth: int = 1) -> Iterator[Leftover]:
    """The outermost folders of a dataset that hold no file, save the metadata of its configs."""
    if _is_void(folder, depth):
        yield Leftover("empty-folder", folder, ref)
    elif depth < _DEPTH and not is_version_folder(folder):
        for each in _folders(folder):
            if not each.name.startswith("."):
                yield from _voids(each, ref, depth + 1)


def _is_void(folder: Path, depth: int) -> bool:
    if depth > _DEPTH or folder.is_symlink():
        return False
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return False
    return all(
        entry.is_dir(follow_symlinks=False)
        and ((depth == 1 and _is_metadata(entry)) or _is_void(Path(entry.path), depth + 1))
        for entry in entries
    )


def _is_metadata(entry: os.DirEntry[str]) -> bool:
    """Whether it is ``<name>/.config`` as a build or an extraction makes it."""
    names = {_final_name(each.name) or each.name for each in _entries(Path(entry.path))}
    return entry.name == _CONFIG_FOLDER and names <= {"metadata.json"}


def _final_name(name: str) -> str | None:
    """What a temporary name stands for, through the temporary name of a temporary file."""
    kept = _KEPT.fullmatch(name)
    final = kept[1] if kept else files.final_name_of(name)
    return None if final is None else _final_name(final) or final


def _folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if os.path.isdir(entry.path)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted; nothing where it cannot be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
