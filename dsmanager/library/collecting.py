"""``gc``: what nobody needs any more, found first, then taken away thing by thing.

Never touches what a living process holds: a thing is looked for first, and its lock tried after.
Leftovers go without a question; good data (old versions, archives that are safe on the remote) is
found only when it was asked for, and marked so that a front end can ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.archives.commits import recover
from dsmanager.archives.sidecar import sidecar_path
from dsmanager.errors import DsmanagerError, UsageError, os_errors
from dsmanager.jobs.job import Job
from dsmanager.jobs.registry import Jobs
from dsmanager.library.garbage import Garbage, Request, SafeArchive
from dsmanager.library.leftovers import (
    Leftover,
    find_leftovers,
    holder_in,
    is_abandoned,
    size_on_disk,
)
from dsmanager.library.presence import built_presence
from dsmanager.library.removal import Removal, remove, remove_empty_folders
from dsmanager.library.survey import built_datasets, cached_archives
from dsmanager.locks import held_by, is_alive, locked_if_free, remove_dead_locks
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.remotes.remote import Remote

__all__ = ["Collection", "Garbage", "Request", "collect", "plan_collection"]

_JOBS_KEPT_S = 30 * 86_400
_LOG = re.compile(r"(.+)-\d{8}T\d{12}\.log")
_WORKING = re.compile(r"\.scratch\.(\d{1,9})\..+\.tmp")


@dataclass(frozen=True, slots=True)
class Collection:
    """A plan: what would go, what stays because somebody holds it, what could not be looked at."""

    garbage: tuple[Garbage, ...]
    notes: tuple[str, ...] = ()
    errors: tuple[DsmanagerError, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.garbage)


def plan_collection(library: LibraryPlaces, request: Request) -> Collection:
    """Finds everything; nothing is removed. An unreachable remote becomes an error of the plan."""
    if request.keep is not None and request.keep < 1:
        raise UsageError("at least one version stays", hint="use --keep 1, or: dsmanager rm REF")
    notes: list[str] = []
    errors: list[DsmanagerError] = []
    with os_errors("read the data dir"):
        garbage = [*_free(library, find_leftovers(library), notes)]
    if request.keep is not None:
        garbage += _unheld(library, _old_versions(library, request.keep), notes)
    if library.has_remote and request.use_remote:
        try:
            from dsmanager.library.remote_garbage import find_remote_garbage

            garbage += find_remote_garbage(library, request, notes)
            if request.not_needed_here:
                known = {each.target for each in garbage}
                found = (each for each in _safe_archives(library) if each.target not in known)
                garbage += _unheld(library, found, notes)
        except DsmanagerError as error:
            errors.append(error)
    elif request.not_needed_here:
        library.settings.require_remote()
    garbage += _state_leftovers(library.settings.state_dir)
    garbage += _old_logs(library, request.keep_logs)
    garbage += _old_jobs(library.settings.state_dir)
    garbage += _lost_fingerprints(library)
    return Collection(tuple(garbage), tuple(dict.fromkeys(notes)), tuple(errors))


def collect(
    library: LibraryPlaces, garbage: Garbage, *, progress: Progress, cancel: CancelToken
) -> str:
    """Takes one thing of a plan away: "removed", or "kept" when somebody holds or needs it by now.

    "recovered": it was the whole archive of a command that was cut off at its end.
    """
    cancel.check()
    source = garbage.source
    with os_errors(f"remove {garbage.target}"):
        if isinstance(source, Leftover):
            return _collect_leftover(library, source)
        if isinstance(source, Removal):
            remove(library, source, progress=progress, cancel=cancel)
            return "removed"
        if isinstance(source, SafeArchive):
            if not _is_safe(source):
                return "kept"
            remove(library, source.removal, progress=progress, cancel=cancel)
            return "removed"
        if isinstance(source, Job):
            Jobs(library.settings.state_dir).remove(source.id)
            return "removed"
        if isinstance(source, tuple):
            return _forget(library, source)
        if source is None:
            files.remove_path(Path(garbage.target))
            return "removed"
    from dsmanager.library.remote_garbage import collect_remote

    return collect_remote(library, garbage)


# --- leftovers -------------------------------------------------------------------------------


def _free(library: LibraryPlaces, found: Sequence[Leftover], notes: list[str]) -> Iterator[Garbage]:
    for each in found:
        holder = _holder(library, each)
        if holder is None:
            size = size_on_disk(each.path)
            yield Garbage(each.kind, str(each.path), size, _REASONS[each.kind], each.ref, each)
        elif each.kind != "lock":
            notes.append(f"{each.path.name} stays: it belongs to {holder}")


_REASONS = {
    "leftover": "its process has ended",
    "partial-download": "nobody goes on with it now",
    "orphan-sidecar": "its archive is not there",
    "orphan-index": "its archive is not there",
    "empty-folder": "nothing is in it",
    "lock": "nobody holds it",
}


def _holder(library: LibraryPlaces, leftover: Leftover) -> str | None:
    if leftover.lock is not None:
        return held_by(leftover.lock)
    return holder_in(library.data_dir, leftover.name)


def _collect_leftover(library: LibraryPlaces, leftover: Leftover) -> str:
    path, lock = leftover.path, leftover.lock
    if leftover.kind == "lock":
        remove_dead_locks(path.parent)
        return "kept" if path.exists() else "removed"
    if lock is None:
        if holder_in(library.data_dir, leftover.name) is not None:
            return "kept"
        files.remove_path(path)
    else:
        with locked_if_free(lock, purpose=f"collect {path.name}") as is_free:
            if not is_free:
                return "kept"
            if _take_away(leftover, library.settings.cache_dir):
                return "recovered"
    if path.is_relative_to(library.data_dir) and leftover.kind in ("leftover", "empty-folder"):
        _tidy(library, path.parent)
    return "removed"


def _take_away(leftover: Leftover, cache_dir: Path) -> bool:
    """Whether an interrupted commit was finished; else it was taken back. What was good stays."""
    final = leftover.final
    assert final is not None
    if leftover.kind == "partial-download":
        files.remove_path(leftover.path)
    elif final.parent == cache_dir:
        was_there = final.exists()
        recover(final)
        return final.exists() and not was_there
    else:
        files.remove_leftovers(final)
    return False


def _tidy(library: LibraryPlaces, folder: Path) -> None:
    kept = (library.data_dir, library.settings.cache_dir, library.settings.download_dir)
    if folder not in kept and library.settings.download_dir not in folder.parents:
        remove_empty_folders(folder, library.data_dir)


# --- good data that is not needed ------------------------------------------------------------


def _unheld(
    library: LibraryPlaces, found: Iterator[Garbage], notes: list[str]
) -> Iterator[Garbage]:
    for each in found:
        assert each.ref is not None
        holder = held_by(library.lock_path(each.ref))
        if holder is None:
            yield each
        else:
            notes.append(f"{each.ref} stays: it belongs to {holder}")


def _old_versions(library: LibraryPlaces, keep: int) -> Iterator[Garbage]:
    """Versions older than the ``keep`` newest whole ones; a damaged one counts for none."""
    built = {each.ref: built_presence(each) for each in built_datasets(library.data_dir, [])}
    cached = cached_archives(library.settings.cache_dir, library.manifest, library.looks, [])
    places: tuple[tuple[str, Mapping[Ref, object]], ...] = (("built", built), ("cached", cached))
    for place, there in places:
        for ref in _older(there, keep):
            target, size = (
                (library.version_folder(ref), built[ref].size_bytes)
                if place == "built"
                else (cached[ref].path, cached[ref].size_bytes)
            )
            removal = Removal(ref, place, str(target), size)
            reason = f"{place}, and none of the newest {keep}"
            yield Garbage("old-version", str(target), size, reason, ref, removal)


def _older(there: Mapping[Ref, object], keep: int) -> list[Ref]:
    whole: dict[tuple[str, str | None], int] = {}
    old = []
    for ref in sorted(there, reverse=True):
        group = (ref.name, ref.config)
        if whole.get(group, 0) >= keep:
            old.append(ref)
        elif getattr(there[ref], "problem", None) is None:
            whole[group] = whole.get(group, 0) + 1
    return sorted(old)


def _safe_archives(library: LibraryPlaces) -> Iterator[Garbage]:
    """Cached archives that are recorded and that the remote has with the recorded sha256."""
    cached = cached_archives(library.settings.cache_dir, library.manifest, library.looks, [])
    entries = library.manifest.entries
    remotes: dict[str | None, Remote] = {}
    for ref, found in sorted(cached.items()):
        entry = entries.get(ref)
        if entry is None or entry.archive != found.path.name or found.sha256 != entry.sha256:
            continue
        if entry.remote not in remotes:
            remotes[entry.remote] = library.remote_of(entry)
        removal = Removal(ref, "cached", str(found.path), found.size_bytes)
        safe = SafeArchive(removal, entry, remotes[entry.remote])
        if found.problem is None and _is_safe(safe):
            reason = f"{safe.remote.url_of(entry.archive)} has the recorded sha256"
            target, size = removal.target, removal.size_bytes
            yield Garbage("not-needed-here", target, size, reason, ref, safe)


def _is_safe(safe: SafeArchive) -> bool:
    """Asks the remote for archive and sidecar both."""
    there = safe.remote.head(safe.entry.archive)
    if there is None or not there.holds(safe.entry.size, safe.entry.sha256):
        return False
    beside = sidecar_path(Path(safe.removal.target))
    return not beside.exists() or safe.remote.head(beside.name) is not None


# --- what is in the state dir ----------------------------------------------------------------


def _state_leftovers(state_dir: Path) -> Iterator[Garbage]:
    """Working folders whose process, which they name, has ended; small files that nobody renamed.

    These have no lock: a day is enough for any of them.
    """
    for folder in (state_dir, *(state_dir / name for name in ("uploads", "logs", "jobs"))):
        for path in sorted(folder.glob(".*.tmp")):
            working = _WORKING.fullmatch(path.name)
            is_dead = not is_alive(int(working[1])) if working else is_abandoned(path)
            if is_dead:
                yield Garbage("leftover", str(path), size_on_disk(path), "its process has ended")


def _old_logs(library: LibraryPlaces, keep: int) -> Iterator[Garbage]:
    """All but the newest of each dataset; their names end in the moment they were begun."""
    groups: dict[str, list[Path]] = {}
    for path in sorted((library.settings.state_dir / "logs").glob("*.log")):
        if match := _LOG.fullmatch(path.name):
            groups.setdefault(match[1], []).append(path)
    for stem, paths in groups.items():
        for path in paths[: max(0, len(paths) - max(keep, 1))]:
            yield Garbage("log", str(path), size_on_disk(path), f"older logs of {stem}")


def _old_jobs(state_dir: Path) -> Iterator[Garbage]:
    """Ended a month ago or longer."""
    for job in Jobs(state_dir).all():
        if not job.is_active and is_abandoned(job.folder, _JOBS_KEPT_S):
            size, reason = size_on_disk(job.folder), f"job {job.id}, {job.state} a month ago"
            yield Garbage("job", str(job.folder), size, reason, source=job)


def _lost_fingerprints(library: LibraryPlaces) -> Iterator[Garbage]:
    """Of files that are gone from folders that are there: a disk may only be away."""
    paths = map(Path, library.memory.files())
    gone = tuple(path for path in paths if path.parent.is_dir() and not path.exists())
    if gone:
        counted = f"{len(gone)} file{'s' if len(gone) > 1 else ''}"
        place = str(library.settings.state_dir / "fingerprints.sqlite")
        yield Garbage("fingerprints", place, 0, f"{counted} that are gone", source=gone)


def _forget(library: LibraryPlaces, paths: tuple[Path, ...]) -> str:
    for path in paths:
        if not path.exists():
            library.memory.forget_file(path)
    return "removed"
