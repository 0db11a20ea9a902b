"""Proof of a build: every shard read again, record by record, against what its JSON says."""

from __future__ import annotations

from dsmanager.built import BuiltDataset
from dsmanager.errors import VerificationError
from dsmanager.progress import CancelToken, Progress

__all__ = ["verify_records"]


def verify_records(built: BuiltDataset, *, progress: Progress, cancel: CancelToken) -> None:
    """Checks CRC and count of every TFRecord shard; of other formats that no file is missing.

    Raises VerificationError that names the shard.
    """
    built.require_complete()
    if built.file_format != "tfrecord":
        return
    from dsmanager.records.tfrecord import scan

    progress.start_phase("verify", bytes_total=built.size_bytes)
    for split in built.splits.values():
        names = split.shard_names(built.ref.name, built.file_format)
        for name, expected in zip(names, split.shard_lengths, strict=True):
            count = scan(built.path / name, progress=progress, cancel=cancel)
            if count != expected:
                raise VerificationError(
                    f"{built.ref}: {name} holds {count:,} records, and dataset_info.json says "
                    f"{expected:,}",
                    hint=f"build it again: dsmanager build {built.ref} --clean",
                    ref=str(built.ref),
                )
