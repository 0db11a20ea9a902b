"""Building partition by partition: several at a time, and those that are finished only once.

Partitions are made in a folder that outlives an interrupted build (``partition.py``), by this
process and helpers beside it, or by the workers of a cluster that see the same folder; what comes
out is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmanager.building.child.partition import CALL, part_paths, plan_path, split_stem, use_builder
from dsmanager.building.writing.spill import Spill
from dsmanager.errors import DsmanagerError
from dsmanager.files import is_temporary_name, remove_path, write_json
from dsmanager.parallel.cluster import ClusterCrew
from dsmanager.parallel.crew import Crew
from dsmanager.progress import CancelToken, Progress

__all__ = ["Partitions"]


@dataclass(frozen=True, slots=True)
class _Part:
    """One partition of a split, and the sha256 of all that it is made from."""

    split: str
    number: int
    partition: Any
    fingerprint: str


class Partitions:
    """Runs the partitions of a build with ``builder``; ``setup`` is what loads it elsewhere.

    On this machine ``workers`` processes make them, and helpers are forked at once where they can
    be: make it while this process has one thread. On a ``cluster`` its workers make them, at most
    ``workers`` at once. Raises TemporaryError when the cluster does not answer.
    """

    def __init__(
        self,
        builder: Any,
        setup: Mapping[str, Any],
        folder: Path,
        *,
        workers: int | None,
        cluster: str | None,
        progress: Progress,
    ) -> None:
        self.folder = folder
        self._progress = progress
        use_builder(builder)
        setup = {**setup, "folder": str(folder)}
        cancel = CancelToken()  # never set: whoever cancels a build ends its processes
        self._crew: Crew | ClusterCrew
        if cluster is None:
            self._crew = Crew(
                CALL, setup, workers=workers or 1, fork=True, progress=progress, cancel=cancel
            )
        else:
            self._crew = ClusterCrew(
                cluster,
                CALL,
                setup,
                at_once=workers,
                label=lambda task: f"partition {task[1]} of {task[0]}",
                progress=progress,
                cancel=cancel,
            )

    def __enter__(self) -> Partitions:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the helpers, and removes the folder when nothing in it is finished."""
        self._crew.__exit__()
        if not any(self.folder.glob("*.index")):
            remove_path(self.folder)

    def spills(self, split: Any) -> list[Spill]:
        """A spill for each partition of a ``PartitionedSplit``, in their order.

        Raises what the first failing partition raised; those that are finished stay.
        """
        parts = [
            _Part(split.split, number, partition, _fingerprint(split.split, partition))
            for number, partition in enumerate(split.partitions)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = [[part.fingerprint, part.partition] for part in parts]
        write_json(plan_path(self.folder, split.split), plan)
        self._remove_useless(split.split, parts)
        there = {path.name for path in self.folder.iterdir()}
        made = {part.number: self._finished(part, there) for part in parts}
        missing = [[part.split, part.number] for part in parts if made[part.number] is None]
        for _ in self._crew.run(missing):
            pass  # it lies in the folder
        return [made[part.number] or self._opened(part) for part in parts]

    def _remove_useless(self, split: str, parts: Iterable[_Part]) -> None:
        """Removes what killed processes left, and partitions of sources that have changed."""
        useful = {plan_path(self.folder, split)}
        useful.update(path for part in parts for path in self._paths(part))
        for path in set(self.folder.iterdir()) - useful:
            if is_temporary_name(path.name) or path.name.startswith(split_stem(split)):
                remove_path(path)

    def _finished(self, part: _Part, there: Collection[str]) -> Spill | None:
        """A partition whose index was ``there``.

        No name is opened that was not: a network file system would go on for a while to say that
        it does not exist, after another machine has made it.
        """
        if self._paths(part)[1].name not in there:
            return None
        spill = Spill.opened(*self._paths(part), part.fingerprint)
        if spill is None or not spill.is_whole():
            return None
        self._progress.add_items(spill.count)
        self._progress.add_found_bytes(spill.payload_bytes)
        return spill

    def _opened(self, part: _Part) -> Spill:
        spill = Spill.opened(*self._paths(part), part.fingerprint)
        if spill is None:
            raise DsmanagerError(
                f"partition {part.number} of {part.split} was made, and is not in {self.folder}",
                hint="a cluster needs --data-dir, or --download-dir, on storage that it shares",
            )
        return spill

    def _paths(self, part: _Part) -> tuple[Path, Path]:
        return part_paths(self.folder, part.split, part.number, part.fingerprint)


def _fingerprint(split: str, partition: Any) -> str:
    files = {name: _state(name) for name in _strings(partition)}
    text = json.dumps([split, partition, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _state(name: str) -> list[int] | None:
    """What tells that a file has not changed; None for what is no file."""
    with suppress(OSError, ValueError):
        if os.path.isabs(name):
            status = os.stat(name)
            return [status.st_size, status.st_mtime_ns, status.st_ino]
    return None
