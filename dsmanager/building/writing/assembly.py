"""From spills to shards: each record is copied once more, to its place.

Owns how many shards there are (TFDS's rule) and what is in each. TFRecord shards are written by
several processes, or threads where there are none (``shard.py``); other formats go through TFDS's
writer for them. Memory does not grow with the data.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core.utils import shard_utils

from dsmanager.building.writing import shard
from dsmanager.building.writing.file_bytes import ChangedFileError
from dsmanager.building.writing.spill import Places
from dsmanager.errors import DsmanagerError
from dsmanager.files import require_free_bytes, temporary_path
from dsmanager.parallel.crew import Crew
from dsmanager.parallel.helper import can_fork
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import FRAMING_BYTES

__all__ = ["ShardWriters"]

_MOST_PROCESSES = 4  # more than that wait for memory, or for the disk
_THREADS = 2
_MOST_SPILLS_AT_ONCE = 200  # each thread has all of them open
_PARTS_A_WRITER = 16


class ShardWriters:
    """Up to ``workers`` processes that write the shards of a build. To be closed.

    ``dataset`` is the version folder of what is built; a builder may build others meanwhile, with
    the same writers. With ``is_proven_later`` whoever has its shards written looks at every CRC in
    them, where ``has_unproven`` says that this must be. ``earlier_counts`` are :attr:`counts` of an
    earlier attempt: every split of it must have as many examples. Helpers are forked at once where
    they can be: make it while this process has one thread.
    """

    def __init__(
        self,
        *,
        workers: int,
        progress: Progress,
        dataset: Path | None = None,
        is_proven_later: bool = False,
        earlier_counts: Mapping[str, int] | None = None,
    ) -> None:
        self._progress = progress
        self._cancel = CancelToken()  # never set: whoever cancels a build ends its processes
        self._dataset = dataset
        self._is_proven_later = is_proven_later
        self._earlier_counts = earlier_counts or {}
        self.counts: dict[str, int] = {}
        """How many examples each split of the dataset has."""
        self.has_unproven = False
        """Whether a shard of it may hold what is not what its builder has read."""
        self._crew: Crew | None = None
        self._writers = min(workers, _THREADS)
        if workers > 1 and can_fork():
            with suppress(OSError):  # no room for another process: threads will do
                processes = min(workers, _MOST_PROCESSES)
                self._crew = Crew(
                    shard.CALL,
                    None,
                    workers=processes,
                    fork=True,
                    progress=progress,
                    cancel=self._cancel,
                )
                self._writers = processes

    def __enter__(self) -> ShardWriters:
        return self

    def __exit__(self, *_: object) -> None:
        if self._crew is not None:
            self._crew.__exit__()

    def write(
        self, places: Places, template: Any, *, example_writer: Any, shard_config: Any
    ) -> list[int]:
        """Writes the shards of one split; returns how many records each holds.

        Raises DsmanagerError for a split without examples and for two examples of one key, and
        ChangedFileError.
        """
        _require_distinct(places, template.split)
        is_own = self._is_of_dataset(Path(template.data_dir))
        if is_own:
            self._require_same(places, template.split)
        size_bytes = places.payload_bytes + places.count * FRAMING_BYTES
        require_free_bytes(Path(template.data_dir), size_bytes, f"split {template.split}")
        count = shard_config.get_number_shards(places.payload_bytes, places.count)
        ends = shard_utils.get_shard_boundaries(places.count, count)
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
        paths = [
            os.fspath(template.sharded_filepath(shard_index=index, num_shards=count))
            for index in range(count)
        ]
        is_tfrecord = example_writer.file_format is file_adapters.FileFormat.TFRECORD
        self._progress.start_phase("write", item_unit="examples")
        self._progress.set_items(0, places.count)
        self._progress.set_bytes(0, size_bytes if is_tfrecord else places.payload_bytes)
        if is_tfrecord:
            self._write_tfrecords(
                places, bounds, paths, Path(template.data_dir), is_own and self._is_proven_later
            )
        else:
            for path, each in zip(paths, bounds, strict=True):
                example_writer.write(path, _numbered(places, each, self._progress))
        return [stop - start for start, stop in bounds]

    def _is_of_dataset(self, folder: Path) -> bool:
        """TFDS writes a dataset into a folder beside the one that it will have."""
        return self._dataset is not None and folder.parent == self._dataset.parent

    def _require_same(self, places: Places, split: str) -> None:
        """A second attempt has as many examples as the first had."""
        self.counts[split] = places.count
        earlier = self._earlier_counts.get(split, places.count)
        if earlier != places.count:
            raise DsmanagerError(
                f"split {split}: {earlier:,} examples at first, and {places.count:,} when they "
                "were made once more, because files were changed meanwhile",
                hint="put the builder's sources in place again, then: dsmanager build NAME --clean",
            )

    def _write_tfrecords(
        self,
        places: Places,
        bounds: Sequence[tuple[int, int]],
        paths: Sequence[str],
        folder: Path,
        is_proven_later: bool,
    ) -> None:
        table = temporary_path(folder / "extents")
        most_parts = self._parts_a_shard(len(paths))
        tasks_by_shard = []
        try:
            with open(table, "xb") as file:
                for path, each in zip(paths, bounds, strict=True):
                    rows = places.extents(*each)
                    self.has_unproven |= is_proven_later and shard.has_movable(rows)
                    file.write(rows.tobytes())
                    shard.create(path, rows)
                    tasks_by_shard.append(
                        [
                            [path, start, os.fspath(table), each[0] + first, count]
                            for start, first, count in shard.parts(rows, most_parts)
                        ]
                    )
            # what is written at the same time is of different shards
            tasks = [
                [*task, is_proven_later, places.paths]
                for task in chain(*zip_longest(*tasks_by_shard))
                if task is not None
            ]
            places.release()  # whoever writes a shard opens them, and there may be many
            if self._crew is not None:
                self._run_in_processes(self._crew, tasks)
            else:
                self._run_in_threads(tasks)
        finally:
            table.unlink(missing_ok=True)

    def _parts_a_shard(self, shards: int) -> int:
        """So many that no writer has long nothing to do while another one writes the last."""
        return 1 if self._writers == 1 else math.ceil(self._writers * _PARTS_A_WRITER / shards)

    def _run_in_processes(self, crew: Crew, tasks: Sequence[Any]) -> None:
        try:
            for _, changed in crew.run(tasks):
                _require_unchanged(changed)
        except BaseException:
            self._crew = None  # it has ended; who builds another dataset now does without
            crew.__exit__()
            raise

    def _run_in_threads(self, tasks: Sequence[Any]) -> None:
        def write(task: Any) -> str | None:
            return shard.write(None, task, self._progress, self._cancel)

        most = min(self._writers, _THREADS) if len(tasks[0][-1]) <= _MOST_SPILLS_AT_ONCE else 1
        with ThreadPoolExecutor(most, thread_name_prefix="shards") as pool:
            for changed in pool.map(write, tasks):
                _require_unchanged(changed)


def _require_unchanged(changed: str | None) -> None:
    if changed is not None:
        raise ChangedFileError(changed)


def _require_distinct(places: Places, split: str) -> None:
    if not places.count:
        raise DsmanagerError(
            f"split {split}: no examples",
            hint="check what the builder reads, for example its --manual-dir",
        )
    twins = places.twins()
    if twins is None:
        return
    same = twins[0] == twins[1]
    keys = f"{twins[0]}: two examples have it" if same else f"{twins[0]} and {twins[1]} are one"
    raise DsmanagerError(
        f"split {split}: duplicate key {keys}",
        hint="make the builder yield a different key for every example",
    )


def _numbered(
    places: Places, bounds: tuple[int, int], progress: Progress
) -> Iterator[tuple[int, bytes]]:
    for number, record in enumerate(places.records(*bounds), bounds[0]):
        yield number, record
        progress.add_records(1, len(record))
