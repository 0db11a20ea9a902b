"""The writer that takes the place of TFDS's ``core.writer.Writer``: same order, shards and bytes.

Records go to one spill file in the order they come, with a small index in memory (32 bytes each);
at the end they are copied in the order of TFDS's key hash into TFDS's shards. Memory does not grow
with the data. Framing is the business of the example writer that TFDS hands in.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
from tensorflow_datasets.core import hashing
from tensorflow_datasets.core.utils import shard_utils

from dsmanager.errors import DsmanagerError
from dsmanager.progress import Progress

__all__ = ["ShuffledWriter"]

_BUFFER_BYTES = 1 << 20
_HALF = (1 << 64) - 1
_INTEGER_OFFSET = 1 << 127  # integer keys may be negative; the index holds 128 bits without sign


class ShuffledWriter:
    """Has the interface of TFDS's Writer, and adds to ``progress``."""

    def __init__(
        self,
        serializer: Any,
        filename_template: Any,
        hash_salt: str | bytes,
        disable_shuffling: bool,
        example_writer: Any,
        shard_config: Any = None,
        ignore_duplicates: bool = False,
        *,
        progress: Progress,
    ) -> None:
        if ignore_duplicates:
            raise DsmanagerError("leaving out duplicate keys is not offered")
        self._serializer = serializer
        self._template = filename_template
        self._hasher = hashing.Hasher(hash_salt)
        self._keep_order = disable_shuffling
        self._example_writer = example_writer
        self._shard_config = shard_config or shard_utils.ShardConfig()
        self._progress = progress
        self._spill = _Spill(os.fspath(filename_template.data_dir))
        progress.start_phase("generate", item_unit="examples")

    def write(self, key: int | str | bytes, example: Any) -> None:
        """Takes one example in; ``key`` decides its place and must be the only one of its kind."""
        record = self._serializer.serialize_example(example=example)
        number = self._hasher.hash_key(key)
        if self._keep_order:
            number = int(key) + _INTEGER_OFFSET
        self._spill.add(number, str(key).encode("utf-8", "backslashreplace"), record)
        self._progress.add_items()
        self._progress.add_bytes(len(record))

    def finalize(self) -> tuple[list[int], int]:
        """Writes the shards; returns the examples in each and the payload's bytes.

        Raises DsmanagerError for a split without examples and for two examples of one key.
        """
        try:
            return self._write_shards()
        finally:
            self._spill.close()

    def _write_shards(self) -> tuple[list[int], int]:
        count, payload_bytes = self._spill.count, self._spill.payload_bytes
        if not count:
            raise DsmanagerError(
                f"split {self._template.split}: no examples",
                hint="check what the builder reads, for example its --manual-dir",
            )
        order = self._spill.order()
        self._refuse_duplicates(order)
        shards = self._shard_config.get_number_shards(payload_bytes, count)
        ends = shard_utils.get_shard_boundaries(count, shards)
        starts = [0, *ends[:-1]]
        self._progress.start_phase("write", item_unit="examples")
        self._progress.set_items(0, count)
        self._progress.set_bytes(0, payload_bytes)
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            path = self._template.sharded_filepath(shard_index=index, num_shards=shards)
            self._example_writer.write(os.fspath(path), self._records(order[start:end]))
        return [end - start for start, end in zip(starts, ends, strict=True)], payload_bytes

    def _records(self, order: Any) -> Iterator[tuple[int, bytes]]:
        for position in order:
            record = self._spill.record(int(position))
            yield int(position), record
            self._progress.add_items()
            self._progress.add_bytes(len(record))

    def _refuse_duplicates(self, order: Any) -> None:
        twin = self._spill.first_twin(order)
        if twin is None:
            return
        key = self._spill.key(twin).decode("utf-8")
        raise DsmanagerError(
            f"split {self._template.split}: duplicate key {key!r}: two examples have it",
            hint="make the builder yield a different key for every example",
        )


class _Spill:
    """Records in the order they came, in a file without a name, and where each one lies."""

    def __init__(self, folder: str) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=_BUFFER_BYTES)  # noqa: SIM115
        self._high, self._low = array("Q"), array("Q")
        self._offsets, self._key_lengths = array("Q"), array("I")
        self._end = 0
        self.payload_bytes = 0

    @property
    def count(self) -> int:
        return len(self._offsets)

    def add(self, number: int, key: bytes, record: bytes) -> None:
        self._high.append(number >> 64)
        self._low.append(number & _HALF)
        self._offsets.append(self._end)
        self._key_lengths.append(len(key))
        self._file.write(key)
        self._file.write(record)
        self._end += len(key) + len(record)
        self.payload_bytes += len(record)

    def order(self) -> Any:
        """Positions sorted by number; the spill is complete from here on."""
        self._file.flush()
        return np.lexsort(
            (np.frombuffer(self._low, np.uint64), np.frombuffer(self._high, np.uint64))
        )

    def first_twin(self, order: Any) -> int | None:
        """A position whose number another one has as well."""
        high = np.frombuffer(self._high, np.uint64)[order]
        low = np.frombuffer(self._low, np.uint64)[order]
        same = np.flatnonzero((high[1:] == high[:-1]) & (low[1:] == low[:-1]))
        return int(order[same[0] + 1]) if same.size else None

    def key(self, position: int) -> bytes:
        return os.pread(self._file.fileno(), self._key_lengths[position], self._offsets[position])

    def record(self, position: int) -> bytes:
        start = self._offsets[position] + self._key_lengths[position]
        last = position + 1 == self.count
        length = (self._end if last else self._offsets[position + 1]) - start
        record = os.pread(self._file.fileno(), length, start)
        while len(record) < length:  # one pread gives 2 GiB at most
            record += os.pread(self._file.fileno(), length - len(record), start + len(record))
        return record

    def close(self) -> None:
        self._file.close()
