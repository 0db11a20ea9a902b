"""Proof of a build: every shard read again, record by record, against what its JSON says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dsmanager.built import BuiltDataset
from dsmanager.errors import VerificationError
from dsmanager.progress import CancelToken, Progress

__all__ = ["verify_records"]


def verify_records(built: BuiltDataset, *, progress: Progress, cancel: CancelToken) -> None:
    """Reads every record of every shard: its checksum, and whether there are as many as there must
    be; of a format that is not read here, only that no file is missing.

    Raises VerificationError that names the shard.
    """
    built.require_complete()
    if built.file_format not in _COUNTERS:
        return
    count_records = _COUNTERS[built.file_format]
    progress.start_phase("verify", bytes_total=built.size_bytes)
    for split in built.splits.values():
        names = split.shard_names(built.ref.name, built.file_format)
        for name, expected in zip(names, split.shard_lengths, strict=True):
            count = count_records(built.path / name, expected, progress, cancel)
            if count != expected:
                raise VerificationError(
                    f"{built.ref}: {name} holds {count:,} records, and dataset_info.json says "
                    f"{expected:,}",
                    hint=f"build it again: dsmanager build {built.ref} --clean",
                    ref=str(built.ref),
                )


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
