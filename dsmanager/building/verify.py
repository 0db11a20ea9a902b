"""Proof of a build: every shard read again, record by record, against what its JSON says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsmanager.built import BuiltDataset
from dsmanager.errors import VerificationError
from dsmanager.parallel import run_tasks
from dsmanager.progress import CancelToken, Progress

__all__ = ["count_records", "verify_records"]

_CALL = "dsmanager.building.verify:count_records"
_LONG_BYTES = 512 << 20
"""Less than that is read before another process has started."""
_MOST_PROCESSES = 4  # more than that wait for memory, or for the disk


def verify_records(
    built: BuiltDataset, *, workers: int = 1, progress: Progress, cancel: CancelToken
) -> None:
    """Reads every record of every shard: its checksum, and whether there are as many as there must
    be; of a format that is not read here, only that no file is missing.

    Where that takes a while several processes share the shards, no more than ``workers``. Raises
    VerificationError that names the shard.
    """
    built.require_complete()
    if built.file_format not in _COUNTERS:
        return
    shards = [
        [name, expected]
        for split in built.splits.values()
        for name, expected in zip(
            split.shard_names(built.ref.name, built.file_format), split.shard_lengths, strict=True
        )
    ]
    progress.start_phase("verify", bytes_total=built.size_bytes)
    counting = run_tasks(
        _CALL,
        {"folder": str(built.path), "format": built.file_format},
        shards,
        workers=min(workers, _MOST_PROCESSES),
        is_long=built.size_bytes > _LONG_BYTES,
        progress=progress,
        cancel=cancel,
    )
    with counting as counts:
        for index, count in counts:
            name, expected = shards[index]
            if count != expected:
                raise VerificationError(
                    f"{built.ref}: {name} holds {count:,} records, and dataset_info.json says "
                    f"{expected:,}",
                    hint=f"build it again: dsmanager build {built.ref} --clean",
                    ref=str(built.ref),
                )


def count_records(setup: Any, shard: Any, progress: Progress, cancel: CancelToken) -> int:
    """How many records one shard holds, every one of them checked; counts bytes.

    ``setup`` has "folder" and "format", ``shard`` is its name and how many it must hold. Raises
    VerificationError.
    """
    name, expected = shard
    return _COUNTERS[setup["format"]](Path(setup["folder"], name), expected, progress, cancel)


def _tfrecords(path: Path, _expected: int, progress: Progress, cancel: CancelToken) -> int:
    from dsmanager.records.tfrecord import scan

    return scan(path, progress=progress, cancel=cancel)


def _array_records(path: Path, expected: int, progress: Progress, cancel: CancelToken) -> int:
    """Every chunk carries a hash, which reading it checks."""
    from dsmanager.loading.shards import open_shard

    count = 0
    for record in open_shard(path, "array_record", expected).records(0, expected):
        count += 1
        progress.add_bytes(len(record))
        cancel.check()
    return count


_COUNTERS: dict[str, Callable[[Path, int, Progress, CancelToken], int]] = {
    "tfrecord": _tfrecords,
    "array_record": _array_records,
}
