"""Building partition by partition: several at a time, and those that are finished only once.

A partition becomes a spill and its index in a folder that outlives an interrupted build: the index
is written last, and holds what the partition was made from. Each is made in this process or in one
of the helpers that are started when the work takes longer than a moment; what comes out is the
same.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmanager.building.helper import Helper
from dsmanager.building.spill import Spill
from dsmanager.building.writer import Records, fill
from dsmanager.files import remove_path
from dsmanager.progress import Progress

__all__ = ["Partitions", "make_part", "part_paths"]

_MOMENT_S = 0.3


@dataclass(frozen=True, slots=True)
class _Part:
    """One partition of a split, and the sha256 of all that it is made from."""

    split: str
    number: int
    partition: Any
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "number": self.number,
            "partition": self.partition,
            "fingerprint": self.fingerprint,
        }


class Partitions:
    """Runs the partitions of a build. ``request`` is what a helper needs to load the builder."""

    def __init__(
        self, request: Mapping[str, Any], folder: Path, workers: int, progress: Progress
    ) -> None:
        self._request = {**request, "folder": str(folder)}
        self.folder = folder
        self._workers = workers
        self._progress = progress

    def spills(self, split: Any) -> list[Spill]:
        """A spill for each partition of a ``PartitionedSplit``, in their order.

        Raises what the first failing partition raised; those that are finished stay.
        """
        parts = [
            _Part(split.split, number, partition, _fingerprint(split.split, partition))
            for number, partition in enumerate(split.partitions)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        made = {part.number: self._finished(part) for part in parts}
        waiting = deque(part for part in parts if made[part.number] is None)
        self._run(split.builder, waiting)
        return [made[part.number] or self._opened(part) for part in parts]

    def remove_if_useless(self) -> None:
        """Removes the folder when nothing in it is finished."""
        if not any(self.folder.glob("*.index")):
            remove_path(self.folder)

    def _finished(self, part: _Part) -> Spill | None:
        spill = Spill.opened(*part_paths(self.folder, part.split, part.number), part.fingerprint)
        if spill is None or not spill.is_whole():
            return None
        self._progress.add_items(spill.count)
        self._progress.add_bytes(spill.payload_bytes)
        return spill

    def _opened(self, part: _Part) -> Spill:
        spill = Spill.opened(*part_paths(self.folder, part.split, part.number), part.fingerprint)
        if spill is None:
            raise OSError(f"partition {part.number} of {part.split} is gone")
        return spill

    def _run(self, builder: Any, waiting: deque[_Part]) -> None:
        errors: list[BaseException] = []
        is_over = threading.Event()
        helpers = [
            threading.Thread(target=self._help, args=(waiting, errors, is_over))
            for _ in range(min(self._workers, len(waiting)) - 1)
        ]
        for helper in helpers:
            helper.start()
        try:
            for part in _taken(waiting, errors):
                make_part(builder, self.folder, part.to_json(), self._progress)
        except BaseException:
            waiting.clear()
            raise
        finally:
            is_over.set()
            for helper in helpers:
                helper.join()
        if errors:
            raise errors[0]

    def _help(
        self, waiting: deque[_Part], errors: list[BaseException], is_over: threading.Event
    ) -> None:
        """Feeds one helper; there is none when the work is done in a moment."""
        if is_over.wait(_MOMENT_S) or not waiting:
            return
        try:
            with Helper(self._request, self._progress) as helper:
                for part in _taken(waiting, errors):
                    helper.run(part.to_json())
        except BaseException as error:
            errors.append(error)


def make_part(builder: Any, folder: Path, part: Mapping[str, Any], progress: Progress) -> None:
    """Makes one partition: its spill, and then the index that says that it is finished."""
    from tensorflow_datasets.core import example_serializer

    features = builder.info.features
    path, index = part_paths(folder, part["split"], part["number"])
    index.unlink(missing_ok=True)
    spill = Spill(open(path, "wb+", buffering=0))  # noqa: SIM115
    try:
        serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
        records = Records(serializer, part["split"], False, spill, progress)
        examples = builder._generate_partition(part["split"], part["partition"])
        fill(records, features, examples, keep_order=False, beside=False)
        records.finish()
        spill.save(index, part["fingerprint"])
    finally:
        spill.close()


def part_paths(folder: Path, split: str, number: int) -> tuple[Path, Path]:
    """Spill and index. The names say nothing that could be taken for a shard's."""
    stem = f"{hashlib.sha256(split.encode()).hexdigest()[:8]}.{number:06}"
    return folder / f"{stem}.spill", folder / f"{stem}.index"


def _taken(waiting: deque[_Part], errors: list[BaseException]) -> Iterator[_Part]:
    """One part after the other, shared with others; ends when somebody failed."""
    while not errors:
        try:
            yield waiting.popleft()
        except IndexError:
            return


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
