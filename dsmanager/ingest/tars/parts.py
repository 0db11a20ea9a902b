"""Parts: the records of one tar as a TFRecord file, and what is known of them.

A part is ``NNNNN.data`` (framed records, front to back, so that it can become a shard by a rename),
``NNNNN.keys`` (their keys, one JSON text a line) and ``NNNNN.json``, written last: it says that the
part is whole and what it was made from. Of each record 16 bytes stay in memory while it is made.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dsmanager.errors import VerificationError, os_errors
from dsmanager.files import begin_writeback, write_pieces
from dsmanager.ingest.tars.specs import Specs, from_json, to_json
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import FRAMING_BYTES, frame, masked_crc32c, scan
from dsmanager.records.write_behind import WriteBehind

__all__ = ["Part", "PartFiles", "PartWriter", "find_twins", "read_index"]


@dataclass(frozen=True, slots=True)
class PartFiles:
    """Where the part of one tar is."""

    folder: Path
    number: int

    @property
    def data(self) -> Path:
        return self.folder / f"{self.number:05d}.data"

    @property
    def keys(self) -> Path:
        return self.folder / f"{self.number:05d}.keys"

    @property
    def index(self) -> Path:
        """Offsets of the records and hashes of their keys, 8 bytes each."""
        return self.folder / f"{self.number:05d}.index"

    @property
    def facts(self) -> Path:
        return self.folder / f"{self.number:05d}.json"


@dataclass(frozen=True, slots=True)
class Part:
    """What ``NNNNN.json`` says."""

    fingerprint: str
    records: int
    payload_bytes: int
    file_bytes: int
    index_crc: int
    specs: Specs
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Kinds of members and records that are not in it: how many, and the first one's name."""

    def to_json(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "records": self.records,
            "payload_bytes": self.payload_bytes,
            "file_bytes": self.file_bytes,
            "index_crc": self.index_crc,
            "specs": to_json(self.specs),
            "left_out": {kind: list(found) for kind, found in self.left_out.items()},
        }

    @classmethod
    def read(cls, files: PartFiles, fingerprint: str) -> Part | None:
        """The part, when it is whole and was made from the same; its data may be elsewhere."""
        try:
            about = json.loads(files.facts.read_bytes())
            if about["fingerprint"] != fingerprint:
                return None
            about["specs"] = from_json(about["specs"])
            about["left_out"] = {kind: (n, name) for kind, (n, name) in about["left_out"].items()}
            return cls(**about)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def has_data(self, path: Path) -> bool:
        try:
            return path.stat().st_size == self.file_bytes
        except OSError:
            return False

    def is_whole(self, files: PartFiles, progress: Progress, cancel: CancelToken) -> bool:
        """Whether every byte is what was written: parts are not flushed, a crash may take some."""
        if not self.has_data(files.data):
            return False
        try:
            index = masked_crc32c(files.index.read_bytes())
            count = scan(files.data, progress=progress, cancel=cancel)
            return index == self.index_crc and count == self.records
        except (OSError, VerificationError):
            return False


class PartWriter:
    """Writes the three files of a part; batches go out in a thread of their own."""

    def __init__(self, files: PartFiles) -> None:
        self._files = files
        self._data: BinaryIO = open(files.data, "wb", buffering=0)  # noqa: SIM115
        self._keys = open(files.keys, "w", encoding="utf-8")  # noqa: SIM115
        self._offsets, self._hashes = array("Q"), array("Q")
        self._end = 0
        self._writer = WriteBehind(self._write)

    @property
    def records(self) -> int:
        return len(self._offsets)

    @property
    def payload_bytes(self) -> int:
        return self._end - self.records * FRAMING_BYTES

    def add(self, key: str, pieces: list[bytes]) -> int:
        """Takes a record in; returns its bytes. Raises what writing an earlier one met, too."""
        header, footer = frame(*pieces)
        size_bytes = sum(map(len, pieces))
        self._keys.write(json.dumps(key) + "\n")
        self._hashes.append(_hash(key))
        self._offsets.append(self._end)
        self._end += size_bytes + FRAMING_BYTES
        self._writer.append((header, *pieces, footer), size_bytes + FRAMING_BYTES)
        return size_bytes

    def twin(self) -> str | None:
        """A key that two records have, when there is one."""
        self._keys.flush()
        found = find_twins([self._files], [np.frombuffer(self._hashes, np.uint64)])
        return found[0] if found else None

    def finish(self, fingerprint: str, specs: Specs, left_out: dict[str, tuple[int, str]]) -> Part:
        """Writes what is left, and last of all that the part is whole."""
        self._writer.finish()
        self._keys.flush()
        with open(self._files.index, "wb") as index:
            index.write(self._offsets)
            index.write(self._hashes)
        crc = masked_crc32c(self._offsets.tobytes(), self._hashes.tobytes())
        part = Part(fingerprint, self.records, self.payload_bytes, self._end, crc, specs, left_out)
        unfinished = self._files.facts.with_suffix(".new")
        unfinished.write_text(json.dumps(part.to_json()), "utf-8")
        os.replace(unfinished, self._files.facts)
        return part

    def close(self) -> None:
        self._writer.close()
        self._data.close()
        self._keys.close()

    def _write(self, pieces: Sequence[bytes], _size_bytes: int) -> None:
        """Has the disk begin with a batch at once: the flush at the end finds little to do."""
        with os_errors("write a part"):
            write_pieces(self._data.fileno(), pieces)
        begin_writeback(self._data.fileno())


def read_index(files: PartFiles, records: int) -> tuple[Any, Any]:
    """Offsets of the records, and hashes of their keys."""
    numbers = np.fromfile(files.index, np.uint64)
    return numbers[:records], numbers[records:]


def find_twins(parts: Sequence[PartFiles], hashes: Sequence[Any]) -> tuple[str, int, int] | None:
    """A key that two records have, and the places in ``parts`` of both.

    Hashes of 64 bits may agree by chance: only equal texts are twins.
    """
    joined = np.concatenate([np.empty(0, np.uint64), *hashes])
    order = np.argsort(joined, kind="stable")
    ends = np.cumsum([len(each) for each in hashes])
    same = np.flatnonzero(joined[order[1:]] == joined[order[:-1]])
    for at in same[np.argsort(order[same])].tolist():
        pair = sorted((int(order[at]), int(order[at + 1])))
        owners = [int(np.searchsorted(ends, position, side="right")) for position in pair]
        keys = [
            _key_at(parts[owner], position - int(ends[owner]) + len(hashes[owner]))
            for owner, position in zip(owners, pair, strict=True)
        ]
        if keys[0] == keys[1]:
            return keys[0], owners[0], owners[1]
    return None


def _key_at(files: PartFiles, position: int) -> str:
    with open(files.keys, encoding="utf-8") as keys:
        return str(json.loads(next(islice(keys, position, None))))


def _hash(key: str) -> int:
    text = key.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
