"""A TFRecord shard that is a member of an archive on a remote.

Reads as a local shard does. The CRC of every record is checked, whether it comes from the cache or
from the remote: a record of the cache with a wrong CRC is one that was never fetched whole.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsmanager.errors import VerificationError
from dsmanager.loading.shards import RecordError
from dsmanager.records.checksum import crc32c
from dsmanager.records.tfrecord import FRAMING_BYTES, HEADER_BYTES, masked
from dsmanager.streaming.block_cache import BlockReader
from dsmanager.streaming.joining import Extent
from dsmanager.streaming.streamed_object import Arriving, StreamedObject

__all__ = ["StreamedShard"]

_FOOTER_BYTES = FRAMING_BYTES - HEADER_BYTES
_ALONE_BYTES = 32 << 10  # from here on a copy out of a larger block takes longer than two calls
_CHUNK_BYTES = 1 << 20
_CHUNKS_AHEAD = 6
_FOUND_OFTEN = 16
_SAMPLE = 2


class StreamedShard:
    """``count`` records in ``member``, whose content starts at ``start`` in the object."""

    def __init__(
        self, source: StreamedObject, member: str, start: int, size_bytes: int, count: int
    ) -> None:
        self.path = Path(source.ranges.obj.name, member)
        self._source = source
        self._member = member
        self._start = start
        self._size_bytes = size_bytes
        self._count = count
        self._found_all = 0
        """How many times in a row nothing was missing."""

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """Front to back; what follows is fetched meanwhile."""
        reading: deque[_Reading] = deque()
        for chunk in self._chunks(start, stop):
            reading.append(self._begin(chunk))
            if len(reading) > _CHUNKS_AHEAD:
                yield from self._finish(reading.popleft())
        while reading:
            yield from self._finish(reading.popleft())

    def record(self, index: int) -> bytes:
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        return self.begin(indices)()

    def begin(self, indices: Sequence[int]) -> Callable[[], list[bytes]]:
        """Begins to read; what is returned waits, and gives what :meth:`read` does."""
        ordered = sorted(set(indices))
        reading = self._begin(ordered)

        def finish() -> list[bytes]:
            found = dict(zip(ordered, self._finish(reading), strict=True))
            return [found[index] for index in indices]

        return finish

    def prefetch(self, indices: Sequence[int]) -> None:
        """Begins to fetch what the cache lacks, and waits for nothing.

        Nothing is fetched that could not be kept, or when enough is on its way. Once nothing has
        been missing for a while, only a sample is looked for.
        """
        offsets = self._offsets()
        looked_for = indices if self._found_all < _FOUND_OFTEN else indices[:_SAMPLE]
        on_the_way, missing = self._source.on_the_way, []
        with self._source.cached() as cache:
            for index in sorted(looked_for):
                is_coming = on_the_way and self._unit(offsets, index) in on_the_way
                if not is_coming and not self._is_begun(cache, offsets, index):
                    missing.append(index)
        self._found_all = 0 if missing else self._found_all + 1
        extents = self._units(offsets, missing)
        if extents and self._source.may_fetch_ahead(extents):
            self._source.fetch(extents)

    def _begin(self, indices: Sequence[int]) -> _Reading:
        """Reads what the cache has of ascending ``indices``, and asks for the rest."""
        offsets = self._offsets()
        found: dict[int, bytes] = {}
        arriving: dict[int, Arriving] = {}
        missing = []
        on_the_way = self._source.on_the_way
        with self._source.cached() as cache:
            for index in indices:
                coming = on_the_way.get(self._unit(offsets, index)) if on_the_way else None
                if coming is not None:
                    arriving[index] = coming
                elif (record := self._cached(cache, offsets, index)) is not None:
                    found[index] = record
                else:
                    missing.append(index)
        if missing:
            fetched = self._source.fetch(self._units(offsets, missing))
            arriving |= {index: fetched[self._unit(offsets, index)] for index in missing}
        return _Reading(indices, found, arriving)

    def _finish(self, reading: _Reading) -> list[bytes]:
        offsets = self._offsets()
        records = []
        for index in reading.indices:
            record = reading.found.get(index)
            if record is None:
                framed = reading.arriving.pop(index).part(self._extent(offsets, index))
                record = bytes(framed[HEADER_BYTES:-_FOOTER_BYTES])
                if not _is_whole(record, framed[-_FOOTER_BYTES:]):
                    problem = f"its CRC is wrong in {self._source.url}"
                    raise RecordError(self.path, index, problem)
            records.append(record)
        return records

    def _cached(self, cache: BlockReader, offsets: memoryview, index: int) -> bytes | None:
        """The record, where the cache has all of it."""
        start, stop = self._extent(offsets, index)
        last = stop - _FOOTER_BYTES
        if stop - start >= _ALONE_BYTES:
            record, crc = cache.read(start + HEADER_BYTES, last), cache.read(last, stop)
        else:
            framed = cache.read(start, stop)
            record, crc = framed[HEADER_BYTES:-_FOOTER_BYTES], framed[-_FOOTER_BYTES:]
        is_long_enough = len(record) == stop - start - FRAMING_BYTES
        return record if is_long_enough and _is_whole(record, crc) else None

    def _is_begun(self, cache: BlockReader, offsets: memoryview, index: int) -> bool:
        """Whether the cache has the record, as far as its length tells."""
        start, stop = self._extent(offsets, index)
        length = cache.read(start, start + 8)
        return int.from_bytes(length, "little") == stop - start - FRAMING_BYTES and bool(length)

    def _extent(self, offsets: memoryview, index: int) -> Extent:
        """Where the framed record lies in the object."""
        first, last = offsets[index], offsets[index + 1]
        if not first + FRAMING_BYTES <= last <= self._size_bytes:
            raise self._mismatch(f"it has record {index:,} at bytes {first:,} to {last:,}")
        return self._start + first, self._start + last

    def _unit(self, offsets: memoryview, index: int) -> Extent:
        """What is fetched together: the records that begin in the same stretch of the shard."""
        size = self._source.unit_bytes
        if size == 1:
            return self._extent(offsets, index)
        begin = offsets[index] // size * size
        first = bisect_left(offsets, begin, 0, index + 1)
        last = bisect_left(offsets, begin + size, index + 1, self._count)
        return self._extent(offsets, first)[0], self._extent(offsets, last - 1)[1]

    def _units(self, offsets: memoryview, indices: Sequence[int]) -> list[Extent]:
        return list(dict.fromkeys(self._unit(offsets, index) for index in indices))

    def _chunks(self, start: int, stop: int) -> Iterator[range]:
        """Records of about a megabyte."""
        offsets = self._offsets()
        while start < stop:
            end = bisect_right(offsets, offsets[start] + _CHUNK_BYTES, start + 1, stop)
            yield range(start, end)
            start = end

    def _offsets(self) -> memoryview:
        offsets = self._source.offsets(self._member)
        if offsets is None:
            raise self._mismatch("it has no records of that shard")
        if len(offsets) - 1 != self._count or offsets[self._count] != self._size_bytes:
            raise self._mismatch(f"it has {len(offsets) - 1:,} and not {self._count:,} records")
        return offsets

    def _mismatch(self, problem: str) -> VerificationError:
        name = self._source.ranges.obj.name
        return VerificationError(
            f"{name}.index does not fit {self._member}: {problem}",
            hint="pack and send the dataset again: dsmanager package REF --compression none "
            "--overwrite, then: dsmanager upload REF --overwrite",
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """Records that were found, and ranges that bring the others."""

    indices: Sequence[int]
    found: dict[int, bytes]
    arriving: dict[int, Arriving]


def _is_whole(record: bytes, crc: bytes | memoryview) -> bool:
    return masked(crc32c(record)) == int.from_bytes(crc, "little") and len(crc) == _FOOTER_BYTES
