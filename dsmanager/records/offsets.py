"""Where the records of a TFRecord file begin: found by their headers, kept in the state dir.

Owns the scan of a file and the files that remember its result. An index belongs to what a file is
(device, inode, size, times), not to its name, so that a file that is replaced gets another one, and
one that is moved by a rename within its file system is scanned again. Indexes are only ever renamed
into place: any number of processes may make one at once. Never writes beside the records.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import google_crc32c

from dsmanager import files
from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.records.tfrecord import FRAMING_BYTES, HEADER_BYTES, masked

__all__ = ["Fingerprint", "Offsets", "fingerprint", "record_offsets", "scan_offsets", "stale"]

Fingerprint: TypeAlias = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, mtime and ctime in nanoseconds. Archives give every file the same
mtime and inodes are used again; the time of the last change of the inode tells such files apart.
"""
Offsets: TypeAlias = "memoryview | array[int]"
"""Byte offsets in the file: of each record, and the end of the last."""

_FOLDER = "record-indexes"
_HEADER = struct.Struct("=8s5qQ")  # magic, fingerprint, number of records
_MAGIC = b"dsmidx\x001"
_LENGTH = struct.Struct("<QI")
_BLOCK_BYTES = 256 << 10
_SMALL_BYTES = 16 << 10
_in_memory: dict[Fingerprint, array[int]] = {}
"""Indexes that could not be kept on disk."""


def fingerprint(status: os.stat_result) -> Fingerprint:
    """What a file is, from its ``stat``."""
    size_bytes = status.st_size
    return status.st_dev, status.st_ino, size_bytes, status.st_mtime_ns, status.st_ctime_ns


def record_offsets(descriptor: int, path: Path, state_dir: Path | None) -> Offsets:
    """The index of an open file, from ``state_dir``, else made now and kept there.

    Without ``state_dir``, or where it cannot be written, the index is kept in memory, 8 bytes a
    record; otherwise it is mapped. Raises VerificationError as :func:`scan_offsets` does.
    """
    of_file = fingerprint(os.fstat(descriptor))
    index_path = None if state_dir is None else _path(state_dir, of_file)
    found = _in_memory.get(of_file) or (index_path and _mapped(index_path, of_file))
    if found:
        return found
    offsets = scan_offsets(descriptor, path)
    if index_path is not None:
        with suppress(DsmanagerError):  # read-only or full: memory does it
            _write(index_path, of_file, offsets, path)
        mapped = _mapped(index_path, of_file)
        if mapped is not None:
            return mapped
    _in_memory[of_file] = offsets
    return offsets


def scan_offsets(
    descriptor: int, path: Path, *, start: int = 0, size_bytes: int | None = None
) -> array[int]:
    """Reads the length of every record: the headers alone where records are large.

    With ``start`` and ``size_bytes`` the records lie within another file, such as an archive;
    offsets count from ``start``. Raises VerificationError, with record and offset, for a length
    with a wrong CRC and one that the file cannot hold.
    """
    if size_bytes is None:
        size_bytes = os.fstat(descriptor).st_size - start
    offsets = array("Q", [0])
    block, block_start, offset, ahead = b"", 0, 0, _BLOCK_BYTES
    while offset < size_bytes:
        within = offset - block_start
        if within + HEADER_BYTES > len(block):
            block, block_start = os.pread(descriptor, ahead, start + offset), offset
            within = 0
            if len(block) < HEADER_BYTES:
                raise _damaged(path, offsets, "the file ends inside its length")
        length, crc = _LENGTH.unpack_from(block, within)
        if masked(google_crc32c.value(block[within : within + 8])) != crc:
            raise _damaged(path, offsets, "the CRC of its length is wrong")
        if length > size_bytes - offset - FRAMING_BYTES:
            raise _damaged(path, offsets, "the file ends inside it")
        offset += length + FRAMING_BYTES
        offsets.append(offset)
        ahead = _BLOCK_BYTES if length < _SMALL_BYTES else HEADER_BYTES
    return offsets


def stale(state_dir: Path) -> Iterator[tuple[Path, str]]:
    """Indexes of files that are gone or have changed, each with the path of that file.

    A file in a folder that is not there may be on a disk that is only away.
    """
    for index_path in sorted((state_dir / _FOLDER).glob("*.index")):
        with suppress(OSError, struct.error):
            recorded, path = _described(index_path)
            try:
                is_stale = fingerprint(path.stat()) != recorded
            except FileNotFoundError:
                is_stale = path.parent.is_dir()
            if is_stale:
                yield index_path, str(path)


def _path(state_dir: Path, of_file: Fingerprint) -> Path:
    digest = hashlib.blake2b(struct.pack("<5q", *map(_signed, of_file)), digest_size=12).hexdigest()
    return state_dir / _FOLDER / f"{digest}.index"


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _write(index_path: Path, of_file: Fingerprint, offsets: array[int], path: Path) -> None:
    header = _HEADER.pack(_MAGIC, *map(_signed, of_file), len(offsets) - 1)
    files.write_bytes(index_path, header + offsets.tobytes() + os.fsencode(path.absolute()))


def _mapped(index_path: Path, of_file: Fingerprint) -> memoryview | None:
    """None where there is none, or another's."""
    try:
        descriptor = os.open(index_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        whole = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    if len(whole) < _HEADER.size:
        return None
    magic, *recorded, count = _HEADER.unpack_from(whole)
    end = _HEADER.size + 8 * (count + 1)
    if magic != _MAGIC or recorded != [*map(_signed, of_file)] or len(whole) < end:
        return None
    offsets = whole[_HEADER.size : end].cast("Q")
    return offsets if offsets[0] == 0 and offsets[count] == of_file[2] else None


def _described(index_path: Path) -> tuple[Fingerprint, Path]:
    with open(index_path, "rb") as file:
        _, device, inode, size_bytes, mtime_ns, ctime_ns, count = _HEADER.unpack(
            file.read(_HEADER.size)
        )
        file.seek(_HEADER.size + 8 * (count + 1))
        path = Path(os.fsdecode(file.read()))
    return (device, inode, size_bytes, mtime_ns, ctime_ns), path


def _damaged(path: Path, offsets: array[int], problem: str) -> VerificationError:
    where = f"record {len(offsets) - 1:,}, at byte {offsets[-1]:,}"
    return VerificationError(
        f"{path} is damaged: {where}: {problem}",
        hint="fetch or build it again: dsmanager build NAME --clean",
    )
