"""Shard files read front to back or at any record, in both formats that dsmanager loads.

Owns where records lie in a shard. A shard object is cheap, opens its file anew for every use or
for every process, and can be pickled, used in several threads, and inherited by a fork.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from dsmanager.errors import DsmanagerError, VerificationError, os_errors
from dsmanager.records.tfrecord import FRAMING_BYTES, masked_crc32c, read_records

__all__ = ["ArrayRecordShard", "Shard", "TFRecordShard", "open_shard"]

_LENGTH = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_BATCH_RECORDS = 16


class Shard(Protocol):
    """One file of records."""

    path: Path

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """Records ``start`` up to ``stop`` in order. Raises VerificationError for a damaged file
        and for one that does not hold as many records as was recorded.
        """

    def record(self, index: int) -> bytes:
        """One record. Raises VerificationError as :meth:`records` does."""


def open_shard(path: Path, file_format: str, count: int) -> Shard:
    """``count`` is how many records the dataset says there are."""
    if file_format == "tfrecord":
        return TFRecordShard(path, count)
    if file_format == "array_record":
        return ArrayRecordShard(path, count)
    raise DsmanagerError(
        f"{path.name} is of the format {file_format}, which is not read without TensorFlow",
        hint="dsmanager.load(REF, framework=\"tf\") does it, after: pip install 'dsmanager[tf]'",
    )


class TFRecordShard:
    """Reads every record with its CRC. An index of offsets is made at the first random access."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self._count = count
        self._offsets: array[int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_offsets": None}

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        if start:
            yield from self._records_at(start, stop)
            return
        found = 0
        reading = read_records(self.path)
        for record in islice(reading, stop):
            found += 1
            yield record
        if found < stop or (stop == self._count and next(reading, None) is not None):
            raise self._wrong_count("other than")

    def record(self, index: int) -> bytes:
        return next(self._records_at(index, index + 1))

    def _records_at(self, start: int, stop: int) -> Iterator[bytes]:
        offsets = self._offsets
        if offsets is None:
            offsets = self._offsets = self._index()
        with os_errors("read records"), open(self.path, "rb", buffering=0) as file:
            for index in range(start, stop):
                offset, end = offsets[index], offsets[index + 1]
                body = os.pread(file.fileno(), end - offset - _LENGTH.size, offset + _LENGTH.size)
                record, crc = body[: -_CRC.size], body[-_CRC.size :]
                if len(body) != end - offset - _LENGTH.size or masked_crc32c(
                    record
                ) != int.from_bytes(crc, "little"):
                    raise self._damaged(offset, "the CRC of a record is wrong")
                yield record

    def _index(self) -> array[int]:
        """The offset of every record and of the end: 8 bytes a record, read from the framing."""
        with os_errors("read records"), open(self.path, "rb", buffering=0) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            offsets = array("Q", [0])
            while offsets[-1] < size_bytes:
                header = os.pread(file.fileno(), _LENGTH.size, offsets[-1])
                if len(header) < _LENGTH.size:
                    raise self._damaged(offsets[-1], "the file ends inside a record's length")
                length, crc = _LENGTH.unpack(header)
                if masked_crc32c(header[:8]) != crc:
                    raise self._damaged(offsets[-1], "the CRC of a record's length is wrong")
                if length > size_bytes - offsets[-1] - FRAMING_BYTES:
                    raise self._damaged(offsets[-1], "the file ends inside a record")
                offsets.append(offsets[-1] + length + FRAMING_BYTES)
        if len(offsets) - 1 != self._count:
            raise self._wrong_count(f"{len(offsets) - 1:,} and not")
        return offsets

    def _wrong_count(self, found: str) -> VerificationError:
        return _damaged(self.path, f"it holds {found} {self._count:,} records")

    def _damaged(self, offset: int, problem: str) -> VerificationError:
        return _damaged(self.path, f"{problem} at byte {offset:,}")


class ArrayRecordShard:
    """Reads through ``array_record``, whose chunks carry hashes; a reader for each process."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self._count = count
        self._reader: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        for first in range(start, stop, _BATCH_RECORDS):
            yield from self._read(range(first, min(first + _BATCH_RECORDS, stop)))

    def record(self, index: int) -> bytes:
        return self._read(range(index, index + 1))[0]

    def _read(self, indices: range) -> list[bytes]:
        try:
            records: list[bytes] = self._opened().read(list(indices))
        except (RuntimeError, ValueError, IndexError) as error:
            raise _damaged(self.path, str(error).partition("\n")[0]) from error
        return records

    def _opened(self) -> Any:
        """Without threads of its own, so that neither a fork nor a reader's end can hang."""
        opened = self._reader
        if opened is None or opened[0] != os.getpid():
            try:
                from array_record.python import array_record_module
            except ImportError as error:
                raise DsmanagerError(
                    "reading ArrayRecord files needs the array_record package",
                    hint="it exists for Linux: pip install array_record",
                ) from error
            options = "readahead_buffer_size:0,max_parallelism:0"
            reader = array_record_module.ArrayRecordReader(str(self.path), options)
            if reader.num_records() != self._count:
                problem = f"it holds {reader.num_records():,} and not {self._count:,} records"
                raise _damaged(self.path, problem)
            opened = self._reader = (os.getpid(), reader)
        return opened[1]


def _damaged(path: Path, problem: str) -> VerificationError:
    return VerificationError(
        f"{path} is damaged: {problem}",
        hint="fetch or build it again: dsmanager build NAME --clean",
    )
