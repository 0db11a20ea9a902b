"""Writing one TFRecord shard, in whatever process: what :mod:`dsmanager.parallel` calls for each.

Where each of its records is stands in a table on disk, an :data:`EXTENT` a record.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np

from dsmanager.building.writing.file_bytes import ChangedFileError, FileBytes, unpacked
from dsmanager.errors import VerificationError
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.framing import FramedFile
from dsmanager.records.splicing import CAN_SPLICE
from dsmanager.records.tfrecord import FRAMING_BYTES

__all__ = ["CALL", "EXTENT", "NO_CRC", "has_movable", "mismatch", "read_record", "write"]

CALL = "dsmanager.building.writing.shard:write"

NO_CRC = -1
EXTENT = np.dtype(
    [("spill", "<u4"), ("offset", "<u8"), ("stored", "<u8"), ("length", "<u8"), ("crc", "<i8")]
)
"""A record in a spill: which one, where, how many bytes there, how many it has itself, its CRC."""


def write(_setup: Any, task: Any, progress: Progress, cancel: CancelToken) -> str | None:
    """Writes one shard; counts records and bytes. Returns the path of a file that has changed.

    ``task`` is ``[path, table, first, count, is_proven_later, spills]``: the rows of the table on
    disk that the shard is made from, whether somebody looks at every CRC of the shard later, so
    that content of files need not be looked at here where its CRC is known, and the paths of the
    spills. Raises OSError, and VerificationError for a record that is not what was written.
    """
    try:
        _write(task, progress, cancel)
    except ChangedFileError as error:
        return error.path
    return None


def _write(task: Any, progress: Progress, cancel: CancelToken) -> None:
    path, table, first, count, is_proven_later, spills = task
    rows = np.fromfile(table, EXTENT, count=count, offset=first * EXTENT.itemsize)
    may_move = is_proven_later and CAN_SPLICE
    size_bytes = int(rows["length"].sum()) + count * FRAMING_BYTES

    def written(records: int, size_bytes: int) -> None:
        cancel.check()
        progress.add_records(records, size_bytes)

    with ExitStack() as stack:
        descriptors = {
            index: stack.enter_context(open(spills[index], "rb", buffering=0)).fileno()
            for index in set(rows["spill"].tolist())  # np.unique would import for 35 ms
        }
        shard = stack.enter_context(FramedFile(Path(path), size_bytes=size_bytes, written=written))
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
