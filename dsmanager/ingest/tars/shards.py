"""From parts to shards: which record goes where, and copying it there.

Owns the order (that of tars and records, or a shuffled one that a seed fixes), where one shard ends
and the next begins, and the task that writes one shard. The plan is a file of 20 bytes a record, so
that tasks carry only numbers; framed records are copied as they are.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsmanager.errors import DsmanagerError, UsageError, os_errors
from dsmanager.ingest.tars.parts import Part, PartFiles, read_index
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.copying import copy_ranges
from dsmanager.records.tfrecord import FRAMING_BYTES, HEADER_BYTES

__all__ = ["Bounds", "Layout", "plan_shards", "shard_name", "write_shard"]

_BUFFER_BYTES = 1 << 20
_MOST_OPEN = 64
_MOST_SHARDS = 99_999

Bounds = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """How records are spread over shards; at most one of the two sizes is given."""

    file_format: str = "tfrecord"
    shards: int | None = None
    max_shard_bytes: int | None = None
    shuffle: int | None = None

    @property
    def keeps_parts(self) -> bool:
        """Whether each part can be a shard as it is."""
        sizes = self.shards, self.max_shard_bytes, self.shuffle
        return self.file_format == "tfrecord" and sizes == (None, None, None)


def shard_name(name: str, file_format: str, index: int, total: int) -> str:
    """``train.tfrecord-00000-of-00004``."""
    return f"{name}.{file_format}-{index:05d}-of-{total:05d}"


def plan_shards(
    layout: Layout, files: Sequence[PartFiles], parts: Sequence[Part], plan: Path
) -> tuple[list[Bounds], list[int]]:
    """Writes the order of all records to ``plan``; returns the bounds of each shard in it, and
    the payload bytes of each.

    Raises UsageError for more shards than records.
    """
    columns: tuple[list[Any], ...] = ([], [], [], [])
    for each, part in zip(files, parts, strict=True):
        offsets, _ = read_index(each, part.records)
        lengths = np.diff(np.append(offsets, np.uint64(part.file_bytes)))
        columns[0].append(np.full(part.records, each.number, np.uint32))
        columns[1].append(offsets)
        columns[2].append(lengths.astype(np.uint64))
        if layout.shuffle is not None:
            columns[3].append(_places(layout.shuffle, each.number, part.records))
    records = np.empty(sum(part.records for part in parts), _RECORD)
    records["part"], records["offset"], records["length"] = map(np.concatenate, columns[:3])
    if layout.shuffle is not None:
        records = records[np.argsort(np.concatenate(columns[3]), kind="stable")]
    bounds = _bounds(layout, records["length"], [part.records for part in parts])
    _save(plan, records)
    framing = np.uint64(FRAMING_BYTES)
    return bounds, [int((records["length"][a:b] - framing).sum()) for a, b in bounds]


def _save(path: Path, records: Any) -> None:
    """As ``np.save``, which does not say why where the disk is full."""
    header = np.lib.format.header_data_from_array_1_0(records)
    with os_errors("write the plan"), open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(records.view(np.uint8))


_RECORD = np.dtype([("part", np.uint32), ("offset", np.uint64), ("length", np.uint64)])


def _places(seed: int, number: int, count: int) -> Any:
    """A number a record by SplitMix64, of seed, tar and position alone; fixed for good."""
    start = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = _mixed(np.full(1, start, np.uint64)) + steps
        return _mixed(mixed)


def _mixed(values: Any) -> Any:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _bounds(layout: Layout, lengths: Any, counts: Sequence[int]) -> list[Bounds]:
    count = len(lengths)
    if layout.max_shard_bytes is not None:
        ends = _ends_by_size(lengths, layout.max_shard_bytes)
    elif layout.shards is None and layout.shuffle is None:
        ends = [int(end) for end in np.cumsum([each for each in counts if each])]
    else:
        shards = layout.shards or min(count, sum(1 for each in counts if each))
        if shards > count:
            raise UsageError(
                f"{count:,} records cannot fill {shards:,} shards",
                hint=f"ask for fewer: --shards {count}",
            )
        ends = [round(count * (index + 1) / shards) for index in range(shards)]
    if len(ends) > _MOST_SHARDS:
        raise UsageError(
            f"that makes {len(ends):,} shards, more than {_MOST_SHARDS:,}",
            hint="make them larger: --max-shard-size 512M",
        )
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _ends_by_size(lengths: Any, max_bytes: int) -> list[int]:
    """Each shard takes records until the next would make it too large; one it takes always."""
    ends: list[int] = []
    sums = np.cumsum(lengths)
    done = 0
    while done < len(lengths):
        before = int(sums[done - 1]) if done else 0
        fitting = int(np.searchsorted(sums, np.uint64(before + max_bytes), side="right"))
        done = max(fitting, done + 1)
        ends.append(done)
    return ends


def write_shard(
    setup: Mapping[str, Any], task: Mapping[str, Any], progress: Progress, cancel: CancelToken
) -> int:
    """The task: writes ``task["file"]`` in ``setup["tree"]``; returns the bytes of the file."""
    final = Path(setup["tree"], task["file"])
    unfinished = Path(setup["folder"], f"{task['file']}.new")
    start, stop = task["bounds"]
    records = np.load(setup["plan"], mmap_mode="r")[start:stop]
    with os_errors("write a shard"), _Data(Path(setup["folder"])) as data:
        if setup["format"] == "array_record":
            _write_array_record(unfinished, records, data, progress, cancel)
        else:
            _copy(unfinished, records, data, progress, cancel)
        descriptor = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, final)
        return final.stat().st_size


class _Data:
    """Descriptors of the parts, a bounded number of them at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[int, int] = OrderedDict()

    def __enter__(self) -> _Data:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def of(self, number: int) -> int:
        descriptor = self._open.pop(number, None)
        if descriptor is None:
            if len(self._open) >= _MOST_OPEN:
                os.close(self._open.popitem(last=False)[1])
            path = PartFiles(self._folder, number).data
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._open[number] = descriptor
        return descriptor


def _runs(records: Any) -> Iterator[tuple[int, int, int, int]]:
    """Part, offset, length and how many records, of those that follow each other in a part."""
    ends = records["offset"] + records["length"]
    breaks = (records["part"][1:] != records["part"][:-1]) | (records["offset"][1:] != ends[:-1])
    firsts = np.append(0, np.flatnonzero(breaks) + 1)
    lasts = np.append(firsts[1:], len(records))
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        offset = int(records["offset"][first])
        length = int(ends[last - 1]) - offset
        yield int(records["part"][first]), offset, length, last - first


def _copy(path: Path, records: Any, data: _Data, progress: Progress, cancel: CancelToken) -> None:
    def counted() -> Iterator[tuple[int, int, int]]:
        for part, offset, length, count in _runs(records):
            yield data.of(part), offset, length
            progress.add_items(count)

    def copied(size_bytes: int) -> None:
        progress.add_bytes(size_bytes)
        cancel.check()

    copy_ranges(counted(), path, size_bytes=int(records["length"].sum()), copied=copied)


def _write_array_record(
    path: Path, records: Any, data: _Data, progress: Progress, cancel: CancelToken
) -> None:
    """One record a group, as TFDS writes them: any record can be read on its own."""
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise DsmanagerError(
            "writing ArrayRecord files needs the array_record package",
            hint="it exists for Linux: pip install array_record",
        ) from error
    with _array_record_errors():
        writer = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1")
        _write_payloads(writer, records, data, progress, cancel)
        writer.close()


def _write_payloads(
    writer: Any, records: Any, data: _Data, progress: Progress, cancel: CancelToken
) -> None:
    for part, offset, length in zip(
        records["part"].tolist(),
        records["offset"].tolist(),
        records["length"].tolist(),
        strict=True,
    ):
        cancel.check()
        payload = length - FRAMING_BYTES
        record = os.pread(data.of(part), payload, offset + HEADER_BYTES)
        while len(record) < payload and (
            more := os.pread(
                data.of(part), payload - len(record), offset + HEADER_BYTES + len(record)
            )
        ):
            record += more
        writer.write(record)
        progress.add_items()
        progress.add_bytes(length)


@contextmanager
def _array_record_errors() -> Iterator[None]:
    """The writer says what the system said, and with it what it was doing, as one text."""
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        code = next((code for code in codes if os.strerror(code) in text), None)
        if code is not None:
            raise OSError(code, os.strerror(code)) from error
        raise DsmanagerError(f"could not write a shard: {text[:200]}") from error
