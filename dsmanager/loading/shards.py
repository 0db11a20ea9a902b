"""Shard files read front to back or at any records, in both formats that dsmanager loads.

Owns the form of a shard, and ArrayRecord. A shard object is cheap, opens its file anew for every
process, notices when the file is replaced, and can be pickled, used in several threads, and
inherited by a fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dsmanager.errors import DsmanagerError, VerificationError, os_errors
from dsmanager.records.offsets import Fingerprint, fingerprint

__all__ = [
    "ArrayRecordShard",
    "RecordError",
    "Shard",
    "ShardsElsewhere",
    "damaged",
    "missing",
    "open_shard",
]

_BATCH_RECORDS = 16


class RecordError(VerificationError):
    """One record is damaged; those around it may be whole. ``record`` is its index in the shard."""

    def __init__(self, path: Path, record: int, problem: str) -> None:
        super().__init__(f"{path} is damaged: record {record:,}: {problem}", hint=_HINT)
        self.path, self.record, self.problem = path, record, problem

    def __reduce__(self) -> Any:
        return RecordError, (self.path, self.record, self.problem)


class Shard(Protocol):
    """One file of records. Every record is checked by its CRC or its chunk's hash.

    All raise RecordError for a damaged record, and another VerificationError for a file that is
    missing, cut off, or does not hold as many records as was recorded.
    """

    path: Path

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """Records ``start`` up to ``stop`` in order."""

    def record(self, index: int) -> bytes:
        """One record."""

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """The records at ``indices`` (in any order, repeats allowed), in that order.

        The file is read in its own order.
        """


class ShardsElsewhere(Protocol):
    """Shards that are not in the version folder."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each, by file name."""

    def open(self, path: Path, file_format: str, count: int) -> Shard:
        """As :func:`open_shard`; only the name of ``path`` counts."""


def open_shard(path: Path, file_format: str, count: int, state_dir: Path | None = None) -> Shard:
    """``count`` is how many records the dataset says there are; ``state_dir`` keeps indexes."""
    if file_format == "tfrecord":
        from dsmanager.loading.tfrecord_shard import TFRecordShard

        return TFRecordShard(path, count, state_dir)
    if file_format == "array_record":
        return ArrayRecordShard(path, count)
    raise DsmanagerError(
        f"{path.name} is of the format {file_format}, which is not read without TensorFlow",
        hint="dsmanager.load(REF, framework=\"tf\") does it, after: pip install 'dsmanager[tf]'",
    )


class ArrayRecordShard:
    """Reads through ``array_record``, whose chunks carry hashes; a reader for each process."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self._count = count
        self._reader: tuple[int, Fingerprint, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        for first in range(start, stop, _BATCH_RECORDS):
            yield from self.read(range(first, min(first + _BATCH_RECORDS, stop)))

    def record(self, index: int) -> bytes:
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        reader = self._opened()
        ordered = sorted(set(indices))
        try:
            records = reader.read(ordered)
        except (RuntimeError, ValueError, IndexError):
            records = [self._record(reader, index) for index in ordered]
        found = dict(zip(ordered, records, strict=True))
        return [found[index] for index in indices]

    def _record(self, reader: Any, index: int) -> bytes:
        try:
            record: bytes = reader.read([index])[0]
        except (RuntimeError, ValueError, IndexError) as error:
            problem = str(error).partition("\n")[0]
            raise RecordError(self.path, index, problem) from error
        return record

    def _opened(self) -> Any:
        """Without threads of its own, so that neither a fork nor a reader's end can hang."""
        try:
            now = fingerprint(os.stat(self.path))
        except FileNotFoundError as error:
            raise missing(self.path) from error
        opened = self._reader
        if opened is None or opened[:2] != (os.getpid(), now):
            opened = self._reader = (os.getpid(), now, self._open())
        return opened[2]

    def _open(self) -> Any:
        try:
            from array_record.python import array_record_module
        except ImportError as error:
            raise DsmanagerError(
                "reading ArrayRecord files needs the array_record package",
                hint="it exists for Linux: pip install array_record",
            ) from error
        options = "readahead_buffer_size:0,max_parallelism:0"
        try:
            with os_errors("read records"):
                reader = array_record_module.ArrayRecordReader(str(self.path), options)
                count = reader.num_records()
        except (RuntimeError, ValueError) as error:
            raise damaged(self.path, str(error).partition("\n")[0]) from error
        if count != self._count:
            raise damaged(self.path, f"it holds {count:,} and not {self._count:,} records")
        return reader


_HINT = "fetch or build it again: dsmanager build NAME --clean"


def damaged(path: Path, problem: str) -> VerificationError:
    return VerificationError(f"{path} is damaged: {problem}", hint=_HINT)


def missing(path: Path) -> VerificationError:
    return VerificationError(f"{path} is missing", hint=_HINT)
