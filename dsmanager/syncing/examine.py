"""Reading what is here in full, whatever is remembered, and telling damage from difference.

An archive that is what its sidecar says is whole; so is one without a sidecar that can be read to
its end. A build is compared with the members of its archive's sidecar: where records fail their
CRC, or a small file has other bytes of the same length, it is damaged; records that are whole and
different are another build. Nothing here changes anything but what is remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.archives.commits import is_interrupted, recover
from dsmanager.archives.extraction import inspect_archive
from dsmanager.archives.sidecar import Member, Sidecar, read_sidecar
from dsmanager.building.verify import verify_records
from dsmanager.built import BuiltDataset
from dsmanager.errors import DsmanagerError, VerificationError, os_errors
from dsmanager.hashing import sha256_file
from dsmanager.library.memory import identity_of
from dsmanager.library.presence import Cached, ref_of_subdir
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from dsmanager.syncing.facts import Facts, Health

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["examine"]

_TRIES = 3  # an archive that somebody replaces while it is read is read again


def examine(
    library: LibraryPlaces, facts: Facts, *, progress: Progress, cancel: CancelToken
) -> Facts:
    """The same facts after reading every byte that is here."""
    run = _Examination(library, facts, progress, cancel)
    return replace(run.facts(), examined=True)


class _Examination:
    def __init__(
        self, library: LibraryPlaces, facts: Facts, progress: Progress, cancel: CancelToken
    ) -> None:
        self._library = library
        self._facts = facts
        self._progress = progress
        self._cancel = cancel
        self._sidecar: Sidecar | None = None

    def facts(self) -> Facts:
        facts = replace(self._facts, problem=None, built_differs=None)
        if facts.row.cached is not None:
            facts = self._with_cached(facts, facts.row.cached)
        if facts.row.built is not None:
            facts = self._with_built(facts)
        return facts

    def _with_cached(self, facts: Facts, cached: Cached) -> Facts:
        self._recover(cached.path)
        for _ in range(_TRIES):
            with os_errors(f"read {cached.path.name}"):
                identity = identity_of(cached.path)
                sidecar, problem = self._read_sidecar(cached.path)
                self._progress.start_phase("verify", bytes_total=identity[0])
                sha256 = sha256_file(cached.path, progress=self._progress, cancel=self._cancel)
                if identity_of(cached.path) == identity:
                    break
        self._library.memory.remember_file(cached.path, sha256, identity)
        if sidecar is not None:
            self._sidecar = sidecar
            if sha256 != sidecar.sha256:
                problem = f"{cached.path.name} has other bytes than its sidecar says"
        elif facts.recorded is None or sha256 != facts.recorded.sha256:
            problem = self._unreadable(cached.path) or (problem if not facts.recorded else None)
        read = cached._replace(size_bytes=identity[0], sha256=sha256, problem=problem)
        health = Health.DAMAGED if problem else Health.WHOLE
        return replace(facts, row=facts.row._replace(cached=read), cached=health, problem=problem)

    def _recover(self, archive: Path) -> None:
        if is_interrupted(archive):
            with self._library.locked(self._facts.ref, "recover", self._progress, self._cancel):
                recover(archive)

    def _read_sidecar(self, archive: Path) -> tuple[Sidecar | None, str | None]:
        try:
            return read_sidecar(archive), None
        except DsmanagerError as error:
            return None, error.message

    def _unreadable(self, archive: Path) -> str | None:
        """What keeps an archive that nothing describes from being read to its end."""
        name = self._facts.ref.name
        try:
            inspect_archive(archive, name=name, progress=self._progress, cancel=self._cancel)
        except VerificationError as error:
            return error.message
        return None

    def _with_built(self, facts: Facts) -> Facts:
        members = self._members(facts)
        differing: list[str] = []
        for built in self._parts():
            try:
                differing += self._differing(built, members)
            except VerificationError as error:
                return replace(facts, built=Health.DAMAGED, problem=facts.problem or error.message)
        differs = ", ".join(differing[:3]) + (" …" if len(differing) > 3 else "")
        return replace(facts, built=Health.WHOLE, built_differs=differs or None)

    def _parts(self) -> Iterator[BuiltDataset]:
        """The version folder of the ref, or those of all configs of its archive."""
        library, row = self._library, self._facts.row
        folder = library.version_folder(row.ref)
        if folder.is_dir():
            yield BuiltDataset(row.ref, folder)
            return
        subdirs = (row.cached and row.cached.subdir) or (row.recorded and row.recorded.subdir)
        for subdir in subdirs or ():
            if not subdir.endswith("/.config"):
                ref = ref_of_subdir(subdir)
                yield BuiltDataset(ref, library.version_folder(ref))

    def _members(self, facts: Facts) -> tuple[Member, ...]:
        """From the sidecar here, else from the remote's where it describes what is recorded."""
        if self._sidecar is not None:
            return self._sidecar.members
        there, recorded = facts.row.remote, facts.recorded
        if there is None or recorded is None or facts.listing is None:
            return ()
        found = facts.listing.sidecar_of(there.name)
        return found.members if found and found.sha256 == recorded.sha256 else ()

    def _differing(self, built: BuiltDataset, members: tuple[Member, ...]) -> list[str]:
        """Files of a whole build that differ from ``members``. Raises VerificationError."""
        built.require_complete()
        expected = _below(built.ref, members)
        if not expected:
            verify_records(built, progress=self._progress, cancel=self._cancel)
            return []
        names = self._other_bytes(built, expected)
        if not names:
            return []
        shards = set(_shards(built))
        if shards.isdisjoint(names) and not any(_is_other(built, n, expected) for n in names):
            raise VerificationError(f"{names[0]} of {built.ref} has other bytes than recorded")
        verify_records(built, progress=self._progress, cancel=self._cancel)
        return names

    def _other_bytes(self, built: BuiltDataset, expected: dict[str, Member]) -> list[str]:
        self._progress.start_phase("verify", bytes_total=built.size_bytes)
        names = []
        for name in sorted(expected.keys() | built.files.keys()):
            if name not in expected or built.files.get(name) != expected[name].size:
                names.append(name)
                continue
            with os_errors(f"read {name}"):
                digest = sha256_file(
                    built.path / name, progress=self._progress, cancel=self._cancel
                )
            if digest != expected[name].sha256:
                names.append(name)
        return names


def _below(ref: Ref, members: tuple[Member, ...]) -> dict[str, Member]:
    prefix = f"{ref.subdir}/"
    return {
        member.path.removeprefix(prefix): member
        for member in members
        if member.path.startswith(prefix)
    }


def _shards(built: BuiltDataset) -> Iterator[str]:
    for split in built.splits.values():
        yield from split.shard_names(built.ref.name, built.file_format)


def _is_other(built: BuiltDataset, name: str, expected: dict[str, Member]) -> bool:
    """Whether a file is one that somebody wrote: not there before, or of another length."""
    size = built.files.get(name)
    return name not in expected or (size is not None and size != expected[name].size)
