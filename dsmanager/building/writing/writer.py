"""What takes the place of TFDS's writing of a split: same order, shards and bytes.

Records go to one spill in the order they come; at the end they are copied in the order of TFDS's
hash of the keys into TFDS's shards. Images that are given as arrays are encoded beside the
generator; as many of them wait as a bound allows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

from tensorflow_datasets.core import hashing
from tensorflow_datasets.core.utils import shard_utils

from dsmanager.building.forks import guarded
from dsmanager.building.writing.assembly import ShardWriters
from dsmanager.building.writing.deferral import Deferral
from dsmanager.building.writing.encoder import make_encoder
from dsmanager.building.writing.pending import Pending, encode, owned
from dsmanager.building.writing.serializer import make_serializer
from dsmanager.building.writing.spill import PLACE_BYTES, Places, Spill
from dsmanager.errors import DsmanagerError
from dsmanager.files import temporary_path
from dsmanager.progress import Progress

__all__ = ["Records", "fill", "write_examples"]

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
        self._salted = hashing.Hasher(split)._md5
        self._keep_order = keep_order
        self._spill = spill
        self._progress = progress
        self._waiting: deque[tuple[int | str | bytes, Any, list[Pending]]] = deque()
        self._waiting_bytes = 0

    def add(self, key: int | str | bytes, example: Any) -> None:
        """Takes one encoded example in."""
        record = self._serialize(example)
        if self._keep_order:
            place = (int(key) + _INTEGER_OFFSET).to_bytes(PLACE_BYTES, "big")
        else:
            hashed = self._salted.copy()
            hashed.update(hashing._to_bytes(key))
            place = hashed.digest()
        self._spill.add(place, ascii(key).encode(), record)
        self._progress.add_records(1, record[1])

    def add_later(self, key: int | str | bytes, example: Any, pending: list[Pending]) -> None:
        """Takes in an encoded example with values that are to come: ``pending``."""
        self._waiting.append((key, owned(example), pending))
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
        self.add(key, example)


def fill(
    records: Records,
    features: Any,
    examples: Iterable[Any],
    *,
    keep_order: bool,
    beside: bool,
    deferral: Deferral | None = None,
) -> None:
    """Encodes every example, images ``beside`` the generator or not, and takes it in.

    Files that images are in are read later where ``deferral`` allows it.
    Raises what TFDS's features refuse, with the key.
    """
    from tensorflow_datasets.core import utils

    encoder = make_encoder(features, deferral)
    opened = None if deferral is None else deferral.opened
    number = -1
    for pair in guarded(examples):
        number += 1
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"a generator yields (key, example), not {type(pair).__name__}")
        key, example = pair
        try:
            if beside:
                encoded, pending = encode(encoder, example)
            else:
                encoded, pending = encoder(example), []
        except Exception as error:
            utils.reraise(error, prefix=f"Failed to encode the example {key!r}:\n")
        place = number if keep_order and not isinstance(key, int) else key
        if pending:
            records.add_later(place, encoded, pending)
        else:
            records.add(place, encoded)
        if opened:
            opened.clear()
        del pair, example, encoded  # the next one finds their memory free


def write_examples(
    self: Any,
    split_name: str,
    generator: Iterable[Any],
    filename_template: Any,
    disable_shuffling: bool,
    *,
    shards: ShardWriters,
    partitions: Any = None,
    defer_files: bool = False,
    progress: Progress,
) -> Any:
    """In place of ``SplitBuilder._build_from_generator``: the same, with encoding beside it.

    With ``partitions`` a split that falls into parts is made by several processes; the shards are
    written by those of ``shards``. With ``defer_files`` a file that an image is in may be read
    only then; raises ChangedFileError when it does not hold what the example had from it.
    """
    from tensorflow_datasets.core import split_builder, splits

    if self._ignore_duplicates:
        raise DsmanagerError("leaving out duplicate keys is not offered")
    progress.start_phase("generate", item_unit="examples")
    may_be_parted = not disable_shuffling and not self._max_examples_per_split
    spills: Sequence[Spill] = ()
    own = temporary_path(Path(filename_template.data_dir) / "spill")
    try:
        if may_be_parted and _is_parted(generator, partitions):
            spills = partitions.spills(generator)
        else:
            spills = [Spill(open(own, "xb+", buffering=0))]  # noqa: SIM115
            _fill(
                spills[0],
                self._features,
                split_name,
                islice(generator, self._max_examples_per_split),
                keep_order=disable_shuffling,
                defer_files=defer_files,
                progress=progress,
            )
        places = Places(spills)
        shard_lengths = shards.write(
            places,
            filename_template,
            example_writer=self._example_writer,
            shard_config=self._shard_config or shard_utils.ShardConfig(),
        )
    finally:
        own.unlink(missing_ok=True)
        Thread(target=_close, args=(spills,)).start()
    info = splits.SplitInfo(
        name=split_name,
        shard_lengths=shard_lengths,
        num_bytes=places.payload_bytes,
        filename_template=filename_template,
    )
    return split_builder._SplitInfoFuture(lambda: info)


def _is_parted(generator: Any, partitions: Any) -> bool:
    from dsmanager.builders.partitioned import PartitionedSplit

    return partitions is not None and isinstance(generator, PartitionedSplit)


def _close(spills: Iterable[Spill]) -> None:
    """The system takes a while to free a large file: nobody waits for it."""
    for spill in spills:
        spill.close()


def _fill(
    spill: Spill,
    features: Any,
    split: str,
    examples: Iterable[Any],
    *,
    keep_order: bool,
    defer_files: bool,
    progress: Progress,
) -> None:
    """Puts the examples of a whole split into ``spill``."""
    from tensorflow_datasets.core import example_serializer

    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    records = Records(serializer, split, keep_order, spill, progress)
    deferral = Deferral(spill) if defer_files else None
    try:
        fill(records, features, examples, keep_order=keep_order, beside=True, deferral=deferral)
    finally:
        if deferral is not None:
            deferral.close()
    records.finish()
