"""From spills to shards: each record is copied once more, to its place.

Owns how many shards there are (TFDS's rule) and what is in each. TFRecord shards are framed on the
way, several at a time; other formats go through TFDS's writer for them. Memory does not grow with
the data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core.utils import shard_utils

from dsmanager.building.spill import Places
from dsmanager.errors import DsmanagerError
from dsmanager.files import require_free_bytes
from dsmanager.progress import Progress
from dsmanager.records.framing import FramedFile
from dsmanager.records.tfrecord import FRAMING_BYTES

__all__ = ["write_shards"]

_COPIERS = 2


def write_shards(
    places: Places,
    template: Any,
    *,
    example_writer: Any,
    shard_config: Any,
    progress: Progress,
) -> list[int]:
    """Writes the shards of one split; returns how many records each holds.

    Raises DsmanagerError for a split without examples and for two examples of one key.
    """
    _require_distinct(places, template.split)
    size_bytes = places.payload_bytes + places.count * FRAMING_BYTES
    require_free_bytes(Path(template.data_dir), size_bytes, f"split {template.split}")
    shards = shard_config.get_number_shards(places.payload_bytes, places.count)
    ends = shard_utils.get_shard_boundaries(places.count, shards)
    bounds = list(zip([0, *ends[:-1]], ends, strict=True))
    is_copied = example_writer.file_format is file_adapters.FileFormat.TFRECORD
    progress.start_phase("write", item_unit="examples")
    progress.set_items(0, places.count)
    progress.set_bytes(0, size_bytes if is_copied else places.payload_bytes)

    def write(index: int) -> None:
        path = os.fspath(template.sharded_filepath(shard_index=index, num_shards=shards))
        if is_copied:
            _copy(places, bounds[index], path, progress)
        else:
            example_writer.write(path, _numbered(places, bounds[index], progress))

    with ThreadPoolExecutor(_COPIERS if is_copied else 1, thread_name_prefix="shards") as pool:
        for _ in pool.map(write, range(shards)):
            pass
    return [stop - start for start, stop in bounds]


def _require_distinct(places: Places, split: str) -> None:
    if not places.count:
        raise DsmanagerError(
            f"split {split}: no examples",
            hint="check what the builder reads, for example its --manual-dir",
        )
    twins = places.twins()
    if twins is None:
        return
    same = twins[0] == twins[1]
    keys = f"{twins[0]}: two examples have it" if same else f"{twins[0]} and {twins[1]} are one"
    raise DsmanagerError(
        f"split {split}: duplicate key {keys}",
        hint="make the builder yield a different key for every example",
    )


def _copy(places: Places, bounds: tuple[int, int], path: str, progress: Progress) -> None:
    records = places.stored(*bounds)
    size_bytes = sum(record.length + FRAMING_BYTES for record in records)
    with FramedFile(Path(path), size_bytes=size_bytes, written=progress.add_records) as shard:
        for record in records:
            record.read_into(shard.room(record.length))
            shard.frame()


def _numbered(
    places: Places, bounds: tuple[int, int], progress: Progress
) -> Iterator[tuple[int, bytes]]:
    for number, record in enumerate(places.records(*bounds), bounds[0]):
        yield number, record
        progress.add_items()
        progress.add_bytes(len(record))
