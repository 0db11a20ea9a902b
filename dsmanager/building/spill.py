"""Records in the order in which they come, on disk, and where each of them belongs.

A spill is one file, written from front to back: each record's key, then the record as a TFRecord
frames it. An index of 28 bytes a record stays in memory: the 16 bytes that decide its place
(TFDS's hash of the key), offset, length of the key. Nothing here knows what is in a record.
"""

from __future__ import annotations

import json
import os
from array import array
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dsmanager.files import MOST_PIECES, reserve, temporary_path, write_pieces
from dsmanager.records.tfrecord import FRAMING_BYTES, HEADER_BYTES, frame

__all__ = ["PLACE_BYTES", "Places", "Spill"]

PLACE_BYTES = 16
_BATCH_BYTES = 2 << 20
_WAITING_BATCHES = 2
_MOST_AHEAD_BYTES = 128 << 20


class Spill:
    """One file of records. It is written by a thread of its own, in batches, a few in memory.

    Adding is for one thread. After :meth:`finish` any number of threads may read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places = bytearray()
        self._offsets, self._key_lengths = array("Q"), array("I")
        self._end = self._reserved = 0
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="spill")
        self._writing: deque[Future[None]] = deque()
        self.payload_bytes = 0

    @property
    def count(self) -> int:
        return len(self._offsets)

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def add(self, place: bytes, key: bytes, pieces: list[bytes]) -> int:
        """Takes a record in its pieces; returns how many bytes it has.

        Raises OSError, of an earlier record at times, when the disk is full.
        """
        header, footer = frame(*pieces)
        payload_bytes = sum(map(len, pieces))
        self._places += place
        self._offsets.append(self._end)
        self._key_lengths.append(len(key))
        self._batch += (key + header, *pieces, footer)
        size_bytes = len(key) + payload_bytes + FRAMING_BYTES
        self._end += size_bytes
        self._batch_bytes += size_bytes
        self.payload_bytes += payload_bytes
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= MOST_PIECES:
            self._flush()
        return payload_bytes

    def finish(self) -> None:
        """Writes what is left; the spill is complete from here on."""
        self._flush()
        self._settle(0)
        self._writer.shutdown()
        os.ftruncate(self.descriptor, self._end)  # what was reserved and not needed

    def _flush(self) -> None:
        self._settle(_WAITING_BATCHES)
        self._writing.append(self._writer.submit(self._write, self._batch, self._end))
        self._batch, self._batch_bytes = [], 0

    def _write(self, batch: list[bytes], end: int) -> None:
        """Writes up to ``end``; runs in the writer's thread."""
        if end > self._reserved:
            ahead = min(end, _MOST_AHEAD_BYTES)
            reserve(self.descriptor, self._reserved, end + ahead - self._reserved)
            self._reserved = end + ahead
        write_pieces(self.descriptor, batch)

    def _settle(self, most: int) -> None:
        """Waits until at most so many batches are not written."""
        while len(self._writing) > most:
            self._writing.popleft().result()

    def save(self, index: Path, fingerprint: str) -> None:
        """Writes the index, which says that the spill is complete and what it was made from."""
        about = {
            "fingerprint": fingerprint,
            "count": self.count,
            "end": self._end,
            "payload_bytes": self.payload_bytes,
        }
        parts = (self._places, self._offsets, self._key_lengths)
        unfinished = temporary_path(index)
        with open(unfinished, "wb") as file:
            file.write(json.dumps(about).encode() + b"\n")
            for part in parts:
                file.write(part)
        os.replace(unfinished, index)

    @classmethod
    def opened(cls, path: Path, index: Path, fingerprint: str) -> Spill | None:
        """A saved spill, for reading; None when there is none that was made from the same."""
        try:
            with open(index, "rb") as file:
                about = json.loads(file.readline())
                if about["fingerprint"] != fingerprint or path.stat().st_size != about["end"]:
                    return None
                spill = cls(open(path, "rb", buffering=0))  # noqa: SIM115
                spill._places = bytearray(file.read(about["count"] * PLACE_BYTES))
                spill._offsets.frombytes(file.read(about["count"] * 8))
                spill._key_lengths.frombytes(file.read())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        spill._end, spill.payload_bytes = about["end"], about["payload_bytes"]
        return spill if len(spill._key_lengths) == about["count"] else None

    def is_whole(self) -> bool:
        """Whether every record is what was written, by its checksum."""
        offsets, lengths = self.frames()
        for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True):
            content = os.pread(self.descriptor, length, offset)
            record = content[HEADER_BYTES : length - FRAMING_BYTES + HEADER_BYTES]
            header, footer = frame(record)
            if content[:HEADER_BYTES] != header or content[HEADER_BYTES + len(record) :] != footer:
                return False
        return True

    def places(self) -> Any:
        """Array of shape (records, 2): the halves of each record's place, big-endian."""
        return np.frombuffer(self._places, ">u8").reshape(-1, 2)

    def frames(self) -> tuple[Any, Any]:
        """Offset and length of each framed record in the file."""
        offsets = np.frombuffer(self._offsets, np.uint64)
        keys = np.frombuffer(self._key_lengths, np.uint32)
        ends = np.append(offsets[1:], np.uint64(self._end))
        return offsets + keys, ends - offsets - keys

    def key(self, position: int) -> str:
        length, offset = self._key_lengths[position], self._offsets[position]
        return os.pread(self.descriptor, length, offset).decode()

    def close(self) -> None:
        self._writer.shutdown(cancel_futures=True)
        self._file.close()


class Places:
    """The records of one split, from one or several spills, in the order of their places."""

    def __init__(self, spills: Sequence[Spill]) -> None:
        self._spills = spills
        self._counts = np.array([spill.count for spill in spills], np.int64)
        self.count = int(self._counts.sum())
        self.payload_bytes = sum(spill.payload_bytes for spill in spills)
        places = np.concatenate([np.empty((0, 2), ">u8"), *(each.places() for each in spills)])
        self._order = np.lexsort((places[:, 1], places[:, 0]))
        ordered = places[self._order]
        same = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
        self._twins = self._order[same[0] : same[0] + 2] if same.size else None

    def twins(self) -> tuple[str, str] | None:
        """The keys of two records of one place, when there are any; as they were written in."""
        if self._twins is None:
            return None
        first, second = sorted(int(each) for each in self._twins)
        return self._key(first), self._key(second)

    def _key(self, position: int) -> str:
        for spill in self._spills:
            if position < spill.count:
                return spill.key(position)
            position -= spill.count
        raise IndexError(position)

    def frames(self, start: int, stop: int) -> tuple[list[int], list[int], list[int]]:
        """Descriptors, offsets and lengths of the framed records ``start`` up to ``stop``."""
        chosen = self._order[start:stop]
        owners = np.searchsorted(np.cumsum(self._counts), chosen, side="right")
        firsts = np.cumsum(self._counts) - self._counts
        offsets = np.empty(len(chosen), np.uint64)
        lengths = np.empty(len(chosen), np.uint64)
        descriptors = np.empty(len(chosen), np.int64)
        for index, spill in enumerate(self._spills):
            own = owners == index
            if own.any():
                positions = chosen[own] - firsts[index]
                all_offsets, all_lengths = spill.frames()
                offsets[own], lengths[own] = all_offsets[positions], all_lengths[positions]
                descriptors[own] = spill.descriptor
        return descriptors.tolist(), offsets.tolist(), lengths.tolist()

    def records(self, start: int, stop: int) -> Any:
        """Yields the records themselves, one in memory at a time."""
        for descriptor, offset, length in zip(*self.frames(start, stop), strict=True):
            payload = length - FRAMING_BYTES
            record = os.pread(descriptor, payload, offset + HEADER_BYTES)
            while len(record) < payload:  # one pread gives 2 GiB at most
                at = offset + HEADER_BYTES + len(record)
                record += os.pread(descriptor, payload - len(record), at)
            yield record
