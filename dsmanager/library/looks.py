"""What small records said when they were read last, so that an unchanged one is not read again.

A listing of a thousand datasets would open three thousand JSON files and check them, which is most
of its time; asking the disk whether they are still the same files is a tenth of that. A file counts
as the same while its size, times of change (mtime and ctime, in nanoseconds) and inode are. As Git
does with its index, a file that has changed in the moment before it was read is not remembered: it
could change once more without any of these showing it. Only what was good is remembered.

Kept by :class:`~dsmanager.library.memory.Memory`; losing it costs time, never correctness.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dsmanager.built import DATASET_INFO, FEATURES, BuiltDataset
from dsmanager.errors import DsmanagerError
from dsmanager.library.presence import Built, built_presence
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.memory import Memory

__all__ = ["Looks", "Record"]

_RULES = 2  # raise it when other records than before count as good
_LONGEST = 1000  # letters of a signature that is kept as it is
_SETTLED_NS = 2_000_000_000  # coarser than the clock of any file system that is in use


class Record(NamedTuple):
    """What a sidecar says of its archive, of that what a listing wants."""

    ref: Ref
    size: int
    sha256: str
    subdir: tuple[str, ...]


class Looks:
    """Reads the records of builds and archives, or remembers what they said.

    For several threads: what is shared between them is replaced, not changed, but for single items.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._known = _parsed(memory.facts())
        self._new: dict[str, tuple[str, Any]] = {}
        self._seen: set[str] = set()

    def built(self, found: BuiltDataset) -> Built:
        """As :func:`~dsmanager.library.presence.built_presence`."""
        location = found.location
        try:
            files, records = found.files, found.records
            infos = [
                records.get(name) or os.stat(f"{location}/{name}")
                for name in (DATASET_INFO, FEATURES)
            ]
        except (OSError, DsmanagerError):
            return built_presence(found)
        signature = _signature(infos, files)
        try:
            file_format, splits = self._remembered(location, signature)
            return Built(location, sum(files.values()), len(files), file_format, splits)
        except (ValueError, TypeError):  # nothing, or nothing that this version wrote
            built = built_presence(found)
        if built.problem is None:
            self._remember(location, signature, infos, [built.format, built.splits])
        return built

    def record(self, archive: str, beside: os.stat_result) -> Record | None:
        """What the sidecar of ``archive`` says, ``beside`` being what the disk says of that file.

        None where it has gone since then. Raises what
        :func:`~dsmanager.archives.sidecar.read_sidecar` raises.
        """
        path, signature = f"{archive}.json", _signature([beside])
        try:
            ref, size, sha256, subdir = self._remembered(path, signature)
            return Record(Ref.parse(ref), size, sha256, tuple(subdir))
        except (ValueError, TypeError, DsmanagerError):
            from dsmanager.archives.sidecar import read_sidecar

            sidecar = read_sidecar(Path(archive))
        if sidecar is None:
            return None
        record = Record(sidecar.ref, sidecar.size, sidecar.sha256, sidecar.subdir)
        self._remember(path, signature, [beside], [str(record.ref), *record[1:]])
        return record

    def keep(self, *, all_below: Path | None = None) -> None:
        """Writes what is new, for whoever looks next.

        Whoever has looked at all that is in a folder says so: what else was known there is gone.
        """
        new, self._new = dict(self._new), {}
        self.memory.remember_facts(
            (path, signature, json.dumps(facts)) for path, (signature, facts) in new.items()
        )
        self._known = self._known | new
        if all_below is not None:
            start = f"{all_below}/"
            gone = {x for x in self._known if x not in self._seen and x.startswith(start)}
            self.memory.forget_facts(gone)
            self._known = {x: each for x, each in self._known.items() if x not in gone}

    def forget(self) -> None:
        """From here on every record is read again, once."""
        self._known = {}

    def _remembered(self, path: str, signature: str) -> Any:
        self._seen.add(path)
        known = self._known.get(path)
        if known is None or known[0] != signature:
            raise ValueError("nothing is remembered")
        return known[1]

    def _remember(
        self, path: str, signature: str, read: list[os.stat_result], facts: list[Any]
    ) -> None:
        changed_ns = max(max(each.st_mtime_ns, each.st_ctime_ns) for each in read)
        if changed_ns < time.time_ns() - _SETTLED_NS:
            self._new[path] = (signature, facts)


def _parsed(facts: dict[str, tuple[str, str]]) -> dict[str, tuple[str, Any]]:
    """All in one go, which takes a third of the time; one by one where one of them is no JSON."""
    try:
        values = json.loads(f"[{','.join(text for _, text in facts.values())}]")
        pairs = zip(facts.items(), values, strict=True)
        return {path: (signature, value) for (path, (signature, _)), value in pairs}
    except (ValueError, TypeError, RecursionError):
        pass
    known = {}
    for path, (signature, text) in facts.items():
        with suppress(ValueError, TypeError, RecursionError):
            known[path] = (signature, json.loads(text))
    return known


def _signature(read: list[os.stat_result], sizes: dict[str, int] | None = None) -> str:
    """Other than before when one of the files that were read, or a size beside them, is."""
    stats = " ".join(
        f"{each.st_size} {each.st_mtime_ns} {each.st_ctime_ns} {each.st_ino}" for each in read
    )
    told = f"{_RULES} {stats} {sizes}"
    if len(told) <= _LONGEST:
        return told
    import hashlib  # takes longer than all that a listing of small datasets has to tell apart

    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
