"""An archive on a remote as its shards read it: the cache first, then parallel ranges.

Owns what is on its way: no bytes are asked for twice by one process at the same time. Cheap to
pickle and to inherit; every process has its own threads and connections.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dsmanager.archives.record_index import RecordIndex, open_index
from dsmanager.progress import CancelToken
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.ranges import ObjectRanges
from dsmanager.streaming.block_cache import BlockCache, BlockReader
from dsmanager.streaming.joining import Extent, joined

__all__ = ["Arriving", "StreamedObject"]

_REQUESTS_AT_ONCE = 8
_MAX_AHEAD_BYTES = 256 << 20
_UNIT_BYTES = 512 << 10

_crews: dict[int, Crew] = {}
"""The threads of each process; those of a parent do not live in its forks."""


class Arriving(NamedTuple):
    """A range that is on its way: from its first byte."""

    start: int
    content: Future[bytearray]

    def part(self, extent: Extent) -> memoryview:
        """Waits for the range; returns what is meant of it. Raises as the remote does."""
        content = _crew().result(self.content)
        return memoryview(content)[extent[0] - self.start : extent[1] - self.start]


class StreamedObject:
    """``key`` names the object in the cache; ``index_file`` is its index on disk."""

    def __init__(self, ranges: ObjectRanges, cache: BlockCache, key: str, index_file: Path) -> None:
        self.ranges = ranges
        self.url = ranges.url
        self._cache = cache
        self._key = key
        self._index_file = index_file
        # Records around the one that is wanted come with it, where they can be kept until they are
        # wanted, too: of small records each would cost a request of its own.
        self.unit_bytes = _UNIT_BYTES if cache.limit_bytes >= 2 * ranges.obj.size else 1
        self._start()

    def _start(self) -> None:
        self._index: RecordIndex | None = None
        self._by_process: dict[int, _OnTheWay] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None, "_by_process": {}}

    @property
    def fetched_bytes(self) -> int:
        """What this process has fetched of the object."""
        return self._on_the_way.fetched_bytes

    @property
    def on_the_way(self) -> Mapping[Extent, Arriving]:
        """What this process is fetching now. Look here before the cache: what has arrived is there
        by then, and is not fetched again.
        """
        return self._on_the_way.extents

    def offsets(self, member: str) -> memoryview | None:
        """Where the records of a member are, within it; None when they are not known."""
        if self._index is None:
            self._index = open_index(self._index_file, check=False)
        return self._index.offsets(member)

    def cached(self) -> BlockReader:
        """Reads what the cache has; a context manager."""
        return self._cache.reading(self._key)

    def fetch(self, extents: Iterable[Extent]) -> dict[Extent, Arriving]:
        """Begins to fetch what is not on its way yet; returns at once."""
        way = self._on_the_way
        with way.lock:
            found = {extent: way.extents.get(extent) for extent in extents}
            missing = [extent for extent, arriving in found.items() if arriving is None]
            for (start, stop), within in joined(missing):
                arriving = Arriving(start, Future())
                way.extents |= dict.fromkeys(within, arriving)
                way.bytes_ahead += stop - start
                found |= dict.fromkeys(within, arriving)
                _crew().submit(partial(self._bring, way, arriving, stop, within))
        return {extent: arriving for extent, arriving in found.items() if arriving is not None}

    def may_fetch_ahead(self, extents: Sequence[Extent]) -> bool:
        """Whether so much can be kept until it is wanted, and little enough is on its way."""
        wanted = sum(stop - start for start, stop in extents)
        is_kept = wanted <= self._cache.limit_bytes // 8
        return is_kept and self._on_the_way.bytes_ahead + wanted <= _MAX_AHEAD_BYTES

    def _bring(self, way: _OnTheWay, arriving: Arriving, stop: int, within: list[Extent]) -> None:
        """Fetches one range, and keeps it before others stop waiting for it."""
        try:
            content = self.ranges.read(_crew(), arriving.start, stop)
            self._cache.write(self._key, arriving.start, content)
        except BaseException as error:
            way.forget(within, stop - arriving.start, 0)
            arriving.content.set_exception(error)
        else:
            way.forget(within, stop - arriving.start, len(content))
            arriving.content.set_result(content)

    @property
    def _on_the_way(self) -> _OnTheWay:
        process = os.getpid()
        found = self._by_process.get(process)
        return found or self._by_process.setdefault(process, _OnTheWay())


class _OnTheWay:
    """What one process has asked for and not received yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.extents: dict[Extent, Arriving] = {}
        self.bytes_ahead = 0
        self.fetched_bytes = 0

    def forget(self, extents: list[Extent], length: int, fetched_bytes: int) -> None:
        with self.lock:
            for extent in extents:
                self.extents.pop(extent, None)
            self.bytes_ahead -= length
            self.fetched_bytes += fetched_bytes


def _crew() -> Crew:
    """The threads of this process, made when they are first needed; they end with it."""
    process = os.getpid()
    crew = _crews.get(process)
    if crew is None:
        made = Crew(_REQUESTS_AT_ONCE, CancelToken())
        crew = _crews.setdefault(process, made)
        if crew is made:
            made.__enter__()
    return crew
