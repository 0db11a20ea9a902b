"""TFRecord shards: any of their records, read in the order of the file.

Owns open files. As few as possible are kept open, by path, for all shards of a process; a file that
was replaced is opened again. Neither reading nor checksums of more than a few kilobytes hold the
interpreter's lock.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from dsmanager.errors import VerificationError, os_errors
from dsmanager.loading.shards import RecordError, damaged, missing
from dsmanager.records.checksum import crc32c
from dsmanager.records.offsets import Offsets, fingerprint, record_offsets
from dsmanager.records.tfrecord import FRAMING_BYTES, HEADER_BYTES, masked, read_records

__all__ = ["TFRecordShard"]

_FOOTER_BYTES = FRAMING_BYTES - HEADER_BYTES
_JOINED_BYTES = 256 << 10
_GAP_BYTES = 8 << 10  # reading them takes less time than another call
_ALONE_BYTES = 32 << 10  # from here on a copy out of a larger block takes longer than two calls
_KEPT_OPEN = 64


class TFRecordShard:
    """Reads every record with its CRC. An index of offsets is made at the first random access."""

    def __init__(self, path: Path, count: int, state_dir: Path | None = None) -> None:
        self.path = path
        self._count = count
        self._state_dir = state_dir

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """From the first record on without an index."""
        if start:
            with os_errors("read records"):
                opened = self._opened()
                for _, record in opened.read(range(start, stop)):
                    yield record
            return
        found = 0
        reading = read_records(self.path)
        try:
            for record in islice(reading, stop):
                found += 1
                yield record
        except VerificationError as error:
            raise RecordError(self.path, found, error.message) from error
        if found < stop or (stop == self._count and next(reading, None) is not None):
            raise damaged(self.path, f"it holds other than {self._count:,} records")

    def record(self, index: int) -> bytes:
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        with os_errors("read records"):
            found = dict(self._opened().read(sorted(set(indices))))
        return [found[index] for index in indices]

    def _opened(self) -> _OpenFile:
        try:
            now = fingerprint(os.stat(self.path))
        except FileNotFoundError as error:
            raise missing(self.path) from error
        key = str(self.path)
        opened = _open_files.get(key)
        if opened is None or opened.fingerprint != now:
            opened = _open_files[key] = _OpenFile(self.path, self._state_dir)
        if len(opened.offsets) - 1 != self._count:
            problem = f"it holds {len(opened.offsets) - 1:,} and not {self._count:,} records"
            raise damaged(self.path, problem)
        with suppress(KeyError):  # other threads take files away, too
            _open_files.move_to_end(key)
            while len(_open_files) > _KEPT_OPEN:
                _open_files.popitem(last=False)
        return opened


class _OpenFile:
    """A descriptor and the index of what it reads; closed when nobody reads from it any more."""

    def __init__(self, path: Path, state_dir: Path | None) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.fingerprint = fingerprint(os.fstat(self.descriptor))
        self.offsets: Offsets = record_offsets(self.descriptor, path, state_dir)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Ascending ``indices`` with their records; neighbours are read together."""
        for run in self._runs(indices):
            if len(run) == 1:
                yield run[0], self._alone(run[0])
            else:
                yield from self._together(run)

    def _runs(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """Records that are read by one call."""
        run: list[int] = []
        start = end = 0
        for index in indices:
            offset, following = self.offsets[index], self.offsets[index + 1]
            is_near = offset - end <= _GAP_BYTES and following - start <= _JOINED_BYTES
            if run and not (is_near and following - offset < _ALONE_BYTES):
                yield run
                run = []
            if not run:
                start = offset
            run.append(index)
            end = following
        if run:
            yield run

    def _alone(self, index: int) -> bytes:
        """In calls of its own for record and CRC, so that nothing is copied."""
        offset = self.offsets[index] + HEADER_BYTES
        length = self.offsets[index + 1] - offset - _FOOTER_BYTES
        record = os.pread(self.descriptor, length, offset)
        crc = os.pread(self.descriptor, _FOOTER_BYTES, offset + length)
        return self._checked(index, record, crc, length)

    def _together(self, run: list[int]) -> Iterator[tuple[int, bytes]]:
        start = self.offsets[run[0]]
        block = os.pread(self.descriptor, self.offsets[run[-1] + 1] - start, start)
        for index in run:
            first = self.offsets[index] - start + HEADER_BYTES
            last = self.offsets[index + 1] - start - _FOOTER_BYTES
            record, crc = block[first:last], block[last : last + _FOOTER_BYTES]
            yield index, self._checked(index, record, crc, last - first)

    def _checked(self, index: int, record: bytes, crc: bytes, length: int) -> bytes:
        if len(record) != length or len(crc) != _FOOTER_BYTES:
            raise damaged(self.path, f"record {index:,}: the file became shorter")
        if masked(crc32c(record)) != int.from_bytes(crc, "little"):
            problem = f"its CRC is wrong, at byte {self.offsets[index]:,}"
            raise RecordError(self.path, index, problem)
        return record


_open_files: OrderedDict[str, _OpenFile] = OrderedDict()
"""By path, the one used last at the end. Single steps are atomic; threads share what they find."""
