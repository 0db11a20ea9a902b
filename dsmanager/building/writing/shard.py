"""A TFRecord shard, written by one process or in parts by several.

:func:`write` is what :mod:`dsmanager.parallel` calls in them. Where each record is stands in a
table on disk, an :data:`EXTENT` a record.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from dsmanager.building.writing.file_bytes import ChangedFileError, FileBytes, unpacked
from dsmanager.errors import VerificationError
from dsmanager.files import reserve
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.framing import FramedFile
from dsmanager.records.splicing import CAN_SPLICE
from dsmanager.records.tfrecord import FRAMING_BYTES

__all__ = [
    "CALL",
    "EXTENT",
    "NO_CRC",
    "create",
    "has_movable",
    "mismatch",
    "parts",
    "read_record",
    "write",
]

CALL = "dsmanager.building.writing.shard:write"

NO_CRC = -1
_LEAST_PART_BYTES = 16 << 20
EXTENT = np.dtype(
    [("spill", "<u4"), ("offset", "<u8"), ("stored", "<u8"), ("length", "<u8"), ("crc", "<i8")]
)
"""A record in a spill: which one, where, how many bytes there, how many it has itself, its CRC."""


def create(path: str, rows: Any) -> None:
    """The shard of these rows, with room for all of them, and nothing in it."""
    with open(path, "xb", buffering=0) as file:
        reserve(file.fileno(), 0, int(_ends(rows)[-1]))


def parts(rows: Any, most: int) -> list[tuple[int, int, int]]:
    """The shard of these rows in up to ``most`` parts, for several processes, of like size.

    Of each at which byte of the file it begins, at which row, and how many it has. Parts of less
    than some megabytes are not worth it.
    """
    ends = _ends(rows)
    size_bytes = int(ends[-1])
    count = max(1, min(most, size_bytes // _LEAST_PART_BYTES))
    limits = [size_bytes * number // count for number in range(1, count)]
    cuts = sorted({0, *np.searchsorted(ends, limits, side="right").tolist(), len(rows)})
    return [
        (int(ends[first - 1]) if first else 0, first, end - first) for first, end in pairwise(cuts)
    ]


def write(_setup: Any, task: Any, progress: Progress, cancel: CancelToken) -> str | None:
    """Writes records into a shard; counts them and bytes. Returns the path of a file that changed.

    ``task`` is ``[path, start, table, first, count, is_proven_later, spills]``: the file, at which
    of its bytes they begin, the rows of the table on disk that they are made from, whether somebody
    looks at every CRC of the shard later, so that content of files need not be looked at here where
    its CRC is known, and the paths of the spills. Raises OSError, and VerificationError for a
    record that is not what was written.
    """
    try:
        _write(task, progress, cancel)
    except ChangedFileError as error:
        return error.path
    return None


def _write(task: Any, progress: Progress, cancel: CancelToken) -> None:
    path, start, table, first, count, is_proven_later, spills = task
    rows = np.fromfile(table, EXTENT, count=count, offset=first * EXTENT.itemsize)
    may_move = is_proven_later and CAN_SPLICE

    def written(records: int, size_bytes: int) -> None:
        cancel.check()
        progress.add_records(records, size_bytes)

    with ExitStack() as stack:
        descriptors = {
            index: stack.enter_context(open(spills[index], "rb", buffering=0)).fileno()
            for index in set(rows["spill"].tolist())  # np.unique would import for 35 ms
        }
        shard = stack.enter_context(FramedFile(Path(path), offset=start, written=written))
        for spill, offset, stored_bytes, length, crc in rows.tolist():
            descriptor = descriptors[spill]
            if may_move and crc != NO_CRC and stored_bytes != length:
                told = os.pread(descriptor, stored_bytes, offset)
                shard.move(unpacked(told), length, crc)
                continue
            read_record(descriptor, offset, stored_bytes, shard.room(length))
            written_crc = shard.frame()
            if crc not in (NO_CRC, written_crc):
                raise mismatch(descriptor, offset, stored_bytes, length)


def _ends(rows: Any) -> Any:
    """Where each record ends in the shard."""
    return np.cumsum(rows["length"].astype(np.int64) + FRAMING_BYTES)


def has_movable(rows: Any) -> bool:
    """Whether, of rows of a table, the content of some need not be looked at."""
    return CAN_SPLICE and bool(((rows["crc"] != NO_CRC) & (rows["stored"] != rows["length"])).any())


def read_record(descriptor: int, offset: int, stored_bytes: int, target: memoryview) -> None:
    """Fills ``target``, as long as the record. Raises OSError, and ChangedFileError.

    What is stored is shorter where it only tells how the record is put together.
    """
    if stored_bytes == len(target):
        _read_into(descriptor, offset, target)
        return
    filled = 0
    for piece in unpacked(os.pread(descriptor, stored_bytes, offset)):
        end = filled + len(piece)
        if type(piece) is FileBytes:
            piece.read_into(target[filled:end])
        else:
            target[filled:end] = cast(bytes, piece)
        filled = end


def mismatch(descriptor: int, offset: int, stored_bytes: int, length: int) -> VerificationError:
    """The error for a record there whose CRC is not what it must be.

    Where several files are in it, it names the first.
    """
    if stored_bytes != length:
        for piece in unpacked(os.pread(descriptor, stored_bytes, offset)):
            if isinstance(piece, FileBytes):
                return ChangedFileError(piece.path)
    return VerificationError(
        "a record has changed on disk before it was in its shard",
        hint="look at the disk, then run the same again",
    )


def _read_into(descriptor: int, offset: int, target: memoryview) -> None:
    while target:
        read = os.preadv(descriptor, [target], offset)  # 2 GiB at most
        if not read:
            raise OSError("a file of records became shorter while it was read")
        target, offset = target[read:], offset + read
