"""The records of a split: parts of shards, one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from dsmanager.errors import VerificationError
from dsmanager.loading.shards import RecordError, Shard

__all__ = ["Part", "PositionError", "SplitRecords"]


@dataclass(frozen=True, slots=True)
class Part:
    """The records ``start`` up to ``stop`` of one shard."""

    shard: Shard
    start: int
    stop: int


class PositionError(Exception):
    """What a shard has raised, and at which position of the split.

    ``is_record``: nothing but this one record is damaged, as far as is known.
    """

    def __init__(self, position: int, reason: VerificationError) -> None:
        super().__init__(position, reason)
        self.position, self.reason = position, reason

    @property
    def is_record(self) -> bool:
        return isinstance(self.reason, RecordError)


class SplitRecords:
    """Reads by position in the split. Picklable, cheap, and safe in threads, as its shards are."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._ends = tuple(accumulate(part.stop - part.start for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, positions: Sequence[int]) -> list[bytes]:
        """Shard by shard, each in its own order; returned as asked for. Raises PositionError.

        Shards that are elsewhere are all asked before the first is waited for.
        """
        found = [b""] * len(positions)
        begun = []
        for number, places in sorted(self._by_part(positions).items()):
            indices = [positions[place] + self._shift(number) for place in places]
            with self._placed(number, indices):
                begun.append((number, places, indices, _begun(self._parts[number].shard, indices)))
        for number, places, indices, finish in begun:
            with self._placed(number, indices):
                records = finish()
            for place, record_bytes in zip(places, records, strict=True):
                found[place] = record_bytes
        return found

    def prefetch(self, positions: Sequence[int]) -> None:
        """Has shards that are elsewhere fetch what will be read soon; waits for nothing."""
        for number, places in sorted(self._by_part(positions).items()):
            prefetch = getattr(self._parts[number].shard, "prefetch", None)
            if prefetch is not None:
                prefetch([positions[place] + self._shift(number) for place in places])

    @contextmanager
    def _placed(self, number: int, indices: Sequence[int]) -> Iterator[None]:
        """Says which position of the split a shard's error concerns."""
        try:
            yield
        except VerificationError as error:
            record = error.record if isinstance(error, RecordError) else indices[0]
            raise PositionError(record - self._shift(number), error) from error

    def _by_part(self, positions: Sequence[int]) -> dict[int, list[int]]:
        """Which of the positions lie in each part."""
        places: dict[int, list[int]] = {}
        for place, position in enumerate(positions):
            places.setdefault(bisect_right(self._ends, position), []).append(place)
        return places

    def between(self, start: int, stop: int) -> Iterator[bytes]:
        """Front to back. Raises PositionError."""
        begin, position = 0, start
        for number, end in enumerate(self._ends):
            first, last = max(start, begin), min(stop, end)
            if first < last:
                shift = self._shift(number)
                try:
                    for record in self._parts[number].shard.records(first + shift, last + shift):
                        yield record
                        position += 1
                except VerificationError as error:
                    raise PositionError(min(position, last - 1), error) from error
            begin = end

    def place(self, position: int) -> str:
        """Which record of which shard, for messages."""
        number = bisect_right(self._ends, position)
        return f"record {position + self._shift(number):,} of {self._parts[number].shard.path.name}"

    def _shift(self, number: int) -> int:
        """From a position to the index in the shard."""
        return self._parts[number].stop - self._ends[number]


def _begun(shard: Shard, indices: Sequence[int]) -> Callable[[], list[bytes]]:
    begin = getattr(shard, "begin", None)
    return begin(indices) if begin is not None else partial(shard.read, indices)
