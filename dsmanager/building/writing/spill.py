"""Records in the order in which they come, on disk, and where each of them belongs.

A spill is one file, written from front to back: each record's key, then the record itself, or, when
it takes in the content of other files, how it is put together. An index of 36 bytes a record stays
in memory: the 16 bytes that decide its place (TFDS's hash of the key), offset, length of the key,
length of the record; and 8 more, its CRC, where some must be known. Nothing here knows what is in a
record.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import google_crc32c
import numpy as np

from dsmanager.building.writing.file_bytes import FileBytes, Piece, Record, packed
from dsmanager.building.writing.shard import EXTENT, NO_CRC, mismatch, read_record
from dsmanager.files import reserve, temporary_path, write_pieces
from dsmanager.records.checksum import joined
from dsmanager.records.tfrecord import masked, masked_crc32c
from dsmanager.records.write_behind import WriteBehind

__all__ = ["PLACE_BYTES", "Places", "Spill"]

PLACE_BYTES = 16
_MOST_AHEAD_BYTES = 128 << 20


class Spill:
    """One file of records. It is written by a thread of its own, in batches, a few in memory.

    Adding is for one thread. After :meth:`finish` any number of threads may read. One that is
    ``kept`` for another process has in its index the CRC of every record that is all there; of
    others it is known, in any spill, where all of their content was in memory once.
    """

    def __init__(self, file: BinaryIO, *, kept: bool = False) -> None:
        self._file = file
        self._places = bytearray()
        self._offsets, self._key_lengths, self._lengths = array("Q"), array("I"), array("Q")
        self.is_kept = kept
        self._crcs = array("q") if kept else None
        self._end = 0
        self._writer: WriteBehind | None = None
        self.payload_bytes = 0

    @property
    def count(self) -> int:
        return len(self._offsets)

    @property
    def path(self) -> str:
        """What the file was opened as."""
        return os.fspath(self._file.name)

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def add(self, place: bytes, key: bytes, record: Record) -> None:
        """Takes a record in. Raises OSError, of an earlier one at times, when the disk is full."""
        pieces, length = record
        stored, stored_bytes, crc = cast(Sequence[bytes], pieces), length, NO_CRC
        for piece in pieces:
            if type(piece) is FileBytes:
                stored, stored_bytes, crc = _told(pieces, length)
                break
        self._places += place
        self._offsets.append(self._end)
        self._key_lengths.append(len(key))
        self._lengths.append(length)
        if self._crcs is None and crc != NO_CRC:
            self._crcs = array("q", [NO_CRC]) * (self.count - 1)
        if self._crcs is not None:
            is_all_there = self.is_kept and stored_bytes == length
            self._crcs.append(masked_crc32c(*stored) if is_all_there else crc)
        self.payload_bytes += length
        stored_bytes += len(key)
        self._end += stored_bytes
        if self._writer is None:
            self._writer = WriteBehind(_Appender(self.descriptor).append)
        self._writer.append((key, *stored), stored_bytes)

    def finish(self) -> None:
        """Writes what is left; the spill is complete from here on."""
        if self._writer is not None:
            self._writer.finish()
            self._writer = None
        os.ftruncate(self.descriptor, self._end)  # what was reserved and not needed

    def save(self, index: Path, fingerprint: str) -> None:
        """Writes the index, which says that the spill is complete and what it was made from."""
        assert self._crcs is not None
        about = {
            "fingerprint": fingerprint,
            "count": self.count,
            "end": self._end,
            "payload_bytes": self.payload_bytes,
        }
        arrays = (self._offsets, self._lengths, self._key_lengths, self._crcs)
        unfinished = temporary_path(index)
        with open(unfinished, "wb") as file:
            file.write(json.dumps(about).encode() + b"\n")
            file.write(self._places)
            for each in arrays:
                file.write(each)
        os.replace(unfinished, index)

    @classmethod
    def opened(cls, path: Path, index: Path, fingerprint: str) -> Spill | None:
        """A saved spill, for reading; None when there is none that was made from the same."""
        try:
            return cls.saved(path, index, fingerprint)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def saved(cls, path: Path, index: Path, fingerprint: str) -> Spill:
        """A saved spill, for reading. Raises ValueError when it was not made from the same."""
        with open(index, "rb") as file:
            about = json.loads(file.readline())
            if about["fingerprint"] != fingerprint or path.stat().st_size != about["end"]:
                raise ValueError(f"{path} is of something else")
            count = about["count"]
            crcs = array("q")
            spill = cls(open(path, "rb", buffering=0), kept=True)  # noqa: SIM115
            spill._crcs = crcs
            spill._places = bytearray(file.read(count * PLACE_BYTES))
            for each in (spill._offsets, spill._lengths, spill._key_lengths, crcs):
                each.frombytes(file.read(count * each.itemsize))
        spill._end, spill.payload_bytes = about["end"], about["payload_bytes"]
        if len(crcs) != count:
            spill.close()
            raise ValueError(f"{index} is not whole")
        return spill

    def is_whole(self) -> bool:
        """Whether every record is there, and what was written, by its CRC; of a ``kept`` one."""
        assert self._crcs is not None
        offsets, lengths = self.extents()
        for offset, length, crc in zip(offsets.tolist(), lengths.tolist(), self._crcs, strict=True):
            if masked_crc32c(os.pread(self.descriptor, length, offset)) != crc:
                return False
        return True

    def places(self) -> Any:
        """Array of shape (records, 2): the halves of each record's place, big-endian."""
        return np.frombuffer(self._places, ">u8").reshape(-1, 2)

    def lengths(self) -> Any:
        """How many bytes each record has."""
        return np.frombuffer(self._lengths, np.uint64)

    def extents(self) -> tuple[Any, Any]:
        """Where each record, or how it is put together, is in the file: offset and length."""
        offsets = np.frombuffer(self._offsets, np.uint64)
        keys = np.frombuffer(self._key_lengths, np.uint32)
        ends = np.append(offsets[1:], np.uint64(self._end))
        return offsets + keys, ends - offsets - keys

    def crcs(self) -> Any:
        """What the masked CRC of each record must be, or NO_CRC; None where none is known."""
        return None if self._crcs is None else np.frombuffer(self._crcs, np.int64)

    def key(self, position: int) -> str:
        length, offset = self._key_lengths[position], self._offsets[position]
        return os.pread(self.descriptor, length, offset).decode()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._file.close()


class _Appender:
    """Writes a file from its start, and asks for room on disk ahead of what is written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._end = self._reserved = 0

    def append(self, pieces: Sequence[bytes], size_bytes: int) -> None:
        self._end += size_bytes
        if self._end > self._reserved:
            ahead = min(self._end, _MOST_AHEAD_BYTES)
            reserve(self._descriptor, self._reserved, self._end + ahead - self._reserved)
            self._reserved = self._end + ahead
        write_pieces(self._descriptor, pieces)


def _told(pieces: Sequence[Piece], length: int) -> tuple[Sequence[bytes], int, int]:
    """How a record of ``length`` bytes is put together, in fewer bytes; else the record itself.

    With it the number of those bytes and, where that of all content is known, the record's CRC. A
    file that its builder has read stands for what it got only together with that.
    """
    crc, is_known = 0, True
    for piece in pieces:
        if type(piece) is not FileBytes:
            crc = google_crc32c.extend(crc, piece)
        elif piece.crc is not None:
            crc = joined(crc, piece.crc, len(piece))
        else:
            is_known = False
            break
    if not is_known:
        pieces = [
            piece.read() if type(piece) is FileBytes and piece.crc is not None else piece
            for piece in pieces
        ]
    told = packed(pieces)
    if len(told) < length:
        return (told,), len(told), masked(crc) if is_known else NO_CRC
    stored = [piece.read() if type(piece) is FileBytes else piece for piece in pieces]
    return cast(list[bytes], stored), length, NO_CRC


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
        """The keys of two records of one place, when there are any."""
        if self._twins is None:
            return None
        first, second = sorted(self._key(int(each)) for each in self._twins)
        return first, second

    def _key(self, position: int) -> str:
        for spill in self._spills:
            if position < spill.count:
                return spill.key(position)
            position -= spill.count
        raise IndexError(position)

    @property
    def paths(self) -> list[str]:
        """Of the spills, as the extents count them."""
        return [spill.path for spill in self._spills]

    def release(self) -> None:
        """Closes the spills that will stay where they are; they are opened again by their paths."""
        for spill in self._spills:
            if spill.is_kept:
                spill.close()

    def extents(self, start: int, stop: int) -> Any:
        """Where the records ``start`` up to ``stop`` are: an array of :data:`EXTENT`."""
        chosen = self._order[start:stop]
        ends = np.cumsum(self._counts)
        owners = np.searchsorted(ends, chosen, side="right")
        rows = np.empty(len(chosen), EXTENT)
        rows["spill"], rows["crc"] = owners, NO_CRC
        for index, spill in enumerate(self._spills):
            own = owners == index
            if own.any():
                positions = chosen[own] - (ends[index] - spill.count)
                offsets, stored_bytes = spill.extents()
                rows["offset"][own] = offsets[positions]
                rows["stored"][own] = stored_bytes[positions]
                rows["length"][own] = spill.lengths()[positions]
                if (crcs := spill.crcs()) is not None:
                    rows["crc"][own] = crcs[positions]
        return rows

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """Yields the records themselves, one in memory at a time. Raises ChangedFileError."""
        for index, offset, stored_bytes, length, crc in self.extents(start, stop).tolist():
            buffer = bytearray(length)
            descriptor = self._spills[index].descriptor
            read_record(descriptor, offset, stored_bytes, memoryview(buffer))
            record = bytes(buffer)
            if crc not in (NO_CRC, masked_crc32c(record)):
                raise mismatch(descriptor, offset, stored_bytes, length)
            yield record
