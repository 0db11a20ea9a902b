"""A bounded cache on disk for parts of objects, shared by any number of processes.

Each object has a folder, with files that hold 4 MiB of it each, at the same place as in the object
and with holes where nothing was fetched. Nothing says which bytes are there: the reader knows by
the CRC of each record, to which a hole or a write that was cut off is a miss. So there is no lock,
no journal, and nothing that a killed process could leave in anybody's way.

The time of a file's last use is its mtime. A process looks at the folder once for each 128th of the
limit that it writes, and then removes the files that were used last the longest ago, an eighth of
the limit before it is reached, so that 16 processes at once stay below it. Only files of the names
that are made here are ever removed.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

__all__ = ["BLOCK_BYTES", "BlockCache", "BlockReader", "default_limit_bytes"]

BLOCK_BYTES = 4 << 20
_FOLDER = "blocks"
_OBJECT = re.compile("[0-9a-f]{32}")
_BLOCK = re.compile(r"[0-9a-f]{10}\.block")
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_USED_AGAIN_NS = 1_000_000_000
_PAUSE_S = 30.0
_MOST_BYTES = 20_000_000_000


def default_limit_bytes(folder: Path) -> int:
    """20 GB, or half of what is free or held by the cache in ``folder`` already."""
    from dsmanager.files import free_bytes

    held = sum(block.size_bytes for block in _blocks(folder / _FOLDER))
    return min(_MOST_BYTES, (free_bytes(folder) + held) // 2)


class _Block(NamedTuple):
    used_ns: int
    size_bytes: int
    path: str


class BlockCache:
    """Parts of objects by a key of 32 hexadecimal digits. Picklable; safe between threads."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._blocks = folder / _FOLDER
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._allowance = 0
        self._paused_until_s = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "limit_bytes": self.limit_bytes, "_blocks": self._blocks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._start()

    def reading(self, key: str) -> BlockReader:
        """Reads parts of one object; a context manager."""
        return BlockReader(str(self._blocks / key))

    def write(self, key: str, start: int, data: bytes | bytearray | memoryview) -> bool:
        """Keeps bytes of an object from ``start`` on; False where there is no room for them.

        A disk that is full or cannot be written costs the cache, never the data.
        """
        view = memoryview(data)
        if not self._has_room(len(view)):
            return False
        try:
            while view:
                number, offset = divmod(start, BLOCK_BYTES)
                piece = view[: BLOCK_BYTES - offset]
                _write(self._blocks / key, number, offset, piece)
                start, view = start + len(piece), view[len(piece) :]
        except OSError:
            self._paused_until_s = time.monotonic() + _PAUSE_S
            return False
        return True

    def _has_room(self, wanted_bytes: int) -> bool:
        if self._process != os.getpid():
            self._start()  # a fork: what the parent was granted is the parent's
        with self._lock:
            if self._allowance < wanted_bytes:
                if self.limit_bytes < 2 * wanted_bytes or time.monotonic() < self._paused_until_s:
                    return False
                granted = max(wanted_bytes, self.limit_bytes // 128)
                if not self._make_room(granted):
                    return False
                self._allowance = granted
            self._allowance -= wanted_bytes
            return True

    def _make_room(self, wanted_bytes: int) -> bool:
        """Whether so much may be written, after what was used last the longest ago has gone."""
        blocks = sorted(_blocks(self._blocks))
        total = sum(block.size_bytes for block in blocks) + wanted_bytes
        if total > self.limit_bytes - self.limit_bytes // 8:
            for block in blocks:
                if total <= self.limit_bytes - self.limit_bytes // 4:
                    break
                with suppress(OSError):  # another process was quicker
                    os.unlink(block.path)
                with suppress(OSError):  # it goes with its last block
                    os.rmdir(os.path.dirname(block.path))
                total -= block.size_bytes
        return total <= self.limit_bytes


class BlockReader:
    """What the cache has of one object. Keeps one file open at a time, for ascending reads."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._number = -1
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``: zeros, or fewer bytes, where nothing was fetched."""
        number, offset = divmod(start, BLOCK_BYTES)
        if number != self._number:
            self._open(number)
        if self._descriptor is None:
            return b""
        length = min(stop - start, BLOCK_BYTES - offset)
        try:
            data = os.pread(self._descriptor, length, offset)
        except OSError:
            return b""
        if length == stop - start or len(data) < length:
            return data
        return data + self.read(start + length, stop)

    def _open(self, number: int) -> None:
        self._close()
        self._number = number
        try:
            descriptor = os.open(f"{self._folder}/{number:010x}.block", os.O_RDONLY | _FLAGS)
        except OSError:
            return
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return
        if time.time_ns() - status.st_mtime_ns > _USED_AGAIN_NS:
            with suppress(OSError):
                os.utime(descriptor)
        self._descriptor = descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _write(folder: Path, number: int, offset: int, piece: memoryview) -> None:
    path = f"{folder}/{number:010x}.block"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no ordinary file")
        while piece:
            written = os.pwrite(descriptor, piece, offset)
            piece, offset = piece[written:], offset + written
    finally:
        os.close(descriptor)


def _blocks(folder: Path) -> Iterator[_Block]:
    """Every block of every object; files of other names are not looked at."""
    for entry in _entries(folder):
        if not _OBJECT.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
            continue
        for block in _entries(entry.path):
            if not _BLOCK.fullmatch(block.name) or not block.is_file(follow_symlinks=False):
                continue
            with suppress(OSError):  # it has gone meanwhile
                status = block.stat(follow_symlinks=False)
                yield _Block(status.st_mtime_ns, status.st_blocks * 512, block.path)


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
