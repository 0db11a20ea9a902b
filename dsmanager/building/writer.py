"""The writer that takes the place of TFDS's ``core.writer.Writer``: same order, shards and bytes.

Records go to one spill in the order they come; at the end they are copied in the order of TFDS's
hash of the keys into TFDS's shards. Images that are given as arrays are encoded beside the
generator; as many of them wait as a bound allows.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

from tensorflow_datasets.core import hashing
from tensorflow_datasets.core.utils import shard_utils

from dsmanager.building.assembly import write_shards
from dsmanager.building.pending import Pending, encode
from dsmanager.building.serializer import make_serializer
from dsmanager.building.spill import PLACE_BYTES, Places, Spill
from dsmanager.errors import DsmanagerError
from dsmanager.progress import Progress

__all__ = ["Records", "ShuffledWriter", "write_examples"]

_INTEGER_OFFSET = 1 << 127  # integer keys may be negative; a place has no sign
_WAITING_BYTES = 64 << 20
_WAITING_EXAMPLES = 256


class Records:
    """Turns examples into records of a spill, each with the place that its key decides."""

    def __init__(
        self,
        serializer: Any,
        split: str | bytes,
        keep_order: bool,
        spill: Spill,
        progress: Progress,
    ) -> None:
        self._serialize = make_serializer(serializer)
        self._hasher = hashing.Hasher(split)
        self._keep_order = keep_order
        self._spill = spill
        self._progress = progress
        self._waiting: deque[tuple[int | str | bytes, Any, list[Pending]]] = deque()
        self._waiting_bytes = 0

    def add(self, key: int | str | bytes, example: Any, pending: list[Pending]) -> None:
        """Takes one encoded example in; ``pending`` are the values in it that are to come."""
        if not pending:
            self._store(key, example)
            return
        self._waiting.append((key, example, pending))
        self._waiting_bytes += sum(each.size_bytes for each in pending)
        while self._waiting_bytes > _WAITING_BYTES or len(self._waiting) > _WAITING_EXAMPLES:
            self._store_first()

    def finish(self) -> None:
        while self._waiting:
            self._store_first()
        self._spill.finish()

    def _store_first(self) -> None:
        key, example, pending = self._waiting.popleft()
        self._waiting_bytes -= sum(each.size_bytes for each in pending)
        self._store(key, example)

    def _store(self, key: int | str | bytes, example: Any) -> None:
        pieces = self._serialize(example)
        number = self._hasher.hash_key(key)
        if self._keep_order:
            number = int(key) + _INTEGER_OFFSET
        place = number.to_bytes(PLACE_BYTES, "big")
        self._progress.add_bytes(self._spill.add(place, ascii(key).encode(), pieces))
        self._progress.add_items()


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
        self._template = filename_template
        self._example_writer = example_writer
        self._shard_config = shard_config or shard_utils.ShardConfig()
        self._progress = progress
        folder = os.fspath(filename_template.data_dir)
        self._spill = Spill(tempfile.TemporaryFile(dir=folder, buffering=0))  # noqa: SIM115
        self._records = Records(serializer, hash_salt, disable_shuffling, self._spill, progress)
        progress.start_phase("generate", item_unit="examples")

    def write(
        self, key: int | str | bytes, example: Any, pending: list[Pending] | None = None
    ) -> None:
        """Takes one example in; ``key`` decides its place and must be the only one of its kind."""
        self._records.add(key, example, pending or [])

    def finalize(self) -> tuple[list[int], int]:
        """Writes the shards; returns the examples in each and the payload's bytes.

        Raises DsmanagerError for a split without examples and for two examples of one key.
        """
        try:
            self._records.finish()
            places = Places([self._spill])
            lengths = write_shards(
                places,
                self._template,
                example_writer=self._example_writer,
                shard_config=self._shard_config,
                progress=self._progress,
            )
            return lengths, places.payload_bytes
        finally:
            self._spill.close()


def write_examples(
    self: Any,
    split_name: str,
    generator: Iterable[Any],
    filename_template: Any,
    disable_shuffling: bool,
) -> Any:
    """In place of ``SplitBuilder._build_from_generator``: the same, with encoding beside it."""
    from tensorflow_datasets.core import example_serializer, split_builder, splits, utils, writer

    if self._max_examples_per_split is not None:
        generator = islice(generator, self._max_examples_per_split)
    made = writer.Writer(
        serializer=example_serializer.ExampleSerializer(self._features.get_serialized_info()),
        filename_template=filename_template,
        hash_salt=split_name,
        disable_shuffling=disable_shuffling,
        shard_config=self._shard_config,
        example_writer=self._example_writer,
        ignore_duplicates=self._ignore_duplicates,
    )
    for number, (key, example) in enumerate(generator):
        try:
            encoded, pending = encode(self._features, example)
        except Exception as error:
            utils.reraise(error, prefix=f"Failed to encode the example {key!r}:\n")
        if disable_shuffling and not isinstance(key, int):
            key = number
        made.write(key, encoded, pending)
    shard_lengths, payload_bytes = made.finalize()
    info = splits.SplitInfo(
        name=split_name,
        shard_lengths=shard_lengths,
        num_bytes=payload_bytes,
        filename_template=filename_template,
    )
    return split_builder._SplitInfoFuture(lambda: info)
