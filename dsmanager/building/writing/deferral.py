"""Which files are read when the records with their content are written for good, and not at once.

They are those that a builder names, those that it has read itself, and members of tars that are not
compressed: to read them again is faster than to write their content to disk one more time. A file
qualifies when it has stood unchanged since before the builder began to generate, so that one which
the builder makes for an example, and takes away after it, is read at once. The first files are
always read at once, and looked at again. A builder that begins later to take away what it read is
run once more, and must then find its sources again.
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections import deque
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c

from dsmanager.building.writing.file_bytes import WORTH_DEFERRING_BYTES, FileBytes, state_of
from dsmanager.building.writing.file_part import FilePart
from dsmanager.building.writing.opened import Opened, listen

__all__ = ["Deferral"]

_LONGEST_LAG_NS = 3_000_000_000
_TRIAL_FILES = 64
_REMEMBERED_FILES = 8
"""So many of the files that are opened for one example are looked at."""
_READABLE = (io.BytesIO, io.BufferedReader, FilePart)
_NEAR = ("overlay", "tmpfs", "zfs")
"""File systems without a device of their own, but on this machine's disks or in its memory."""


class Deferral:
    """Decides it for one split. To be made just before its generator starts; to be closed.

    A builder that takes away each file once it is used gets all of them read at once.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is where the dataset goes."""
        self._device = folder.stat().st_dev
        self._started_ns = time.time_ns()
        self._old_ns = self._started_ns - _LONGEST_LAG_NS
        self._named, self._read, self._parts = _Trial(), _Trial(), _Trial()
        self._misses = 0
        self._has_deferred = False
        self._is_quick = cache(self._look_whether_quick)
        self.opened: deque[Opened] = deque(maxlen=_REMEMBERED_FILES)
        """What has been opened for an example."""
        self._listened_before = listen(self.opened)

    def image(self, value: Any) -> Any:
        """What a builder gives for an image, in memory, or what stands for its file.

        A value that no image is made from stays what it is.
        """
        kind = type(value)
        file = None
        if kind is FilePart and (file := self.of_part(value)) is not None:
            return file
        if kind in _READABLE:
            value = value.read()
            file = self.of_content(value)
        elif kind is bytes:
            file = self.of_content(value)
        elif isinstance(value, (str, os.PathLike)):
            file = self.of_path(value)
        return value if file is None else file

    def end_example(self) -> bool:
        """What is opened from now on is for the next example. Whether in this one is a file."""
        has_deferred, self._has_deferred = self._has_deferred, False
        if self.opened:
            self.opened.clear()
        return has_deferred

    def of_path(self, named: str | os.PathLike[str]) -> FileBytes | None:
        """What stands for a file; None for one that is to be read now, and for what is none."""
        if self._named.is_failed:
            return None
        try:
            name = os.fspath(named)
            status = os.stat(name)
        except (OSError, TypeError, ValueError):
            return None
        if type(name) is not str or not self._qualifies(status):
            return None
        found = FileBytes(_absolute(name), state_of(status))
        if not self._named.is_over and not self._named.admits(found):
            return None
        self._has_deferred = True
        return found

    def of_part(self, part: FilePart) -> FileBytes | None:
        """What stands for a part of a file that the builder has opened and not read.

        The first ones are read, by the builder or by whoever asks, and go by their content.
        """
        if not self._parts.is_over or part.size_bytes < WORTH_DEFERRING_BYTES or part.tell():
            return None
        status = os.fstat(part.file.fileno())
        if not self._qualifies(status) or not self._is_quick(status.st_dev):
            return None
        part.seek(0, os.SEEK_END)  # as if it had been read
        self._has_deferred = True
        place = part.offset, part.size_bytes
        return FileBytes(_absolute(part.name), state_of(status), part=place)

    def of_content(self, content: bytes) -> FileBytes | None:
        """What stands for the file that the builder has ``content`` from, where that can be told.

        It is the only one of this length, or the only part of one, that was opened for the example.
        That it holds just this the CRC of its content will say when it is read; the first ones are
        compared at once.
        """
        if not self.opened or len(content) < WORTH_DEFERRING_BYTES:
            return None
        file = self._opened_of(len(content))
        if file is None:
            self._miss()
            return None
        trial = self._read if file.part is None else self._parts
        if trial.is_failed:
            return None
        file.crc = google_crc32c.extend(0, content)
        if not trial.is_over and not trial.admits(file, content):
            return None
        self._has_deferred = True
        return file

    def _opened_of(self, size_bytes: int) -> FileBytes | None:
        """The only file or part of that length that was opened for the example, if it qualifies."""
        found = None
        opened = self.opened
        # a copy: other threads may open files meanwhile
        for each in (opened[0],) if len(opened) == 1 else set(opened):
            name, part = (each, None) if isinstance(each, str) else (each[0], each[1:])
            if part is not None and part[1] != size_bytes:
                continue
            try:
                status = os.stat(name)
            except (OSError, ValueError):
                continue
            if part is not None or status.st_size == size_bytes:
                if found is not None:
                    return None
                found = name, part, status
        if found is None:
            return None
        name, part, status = found
        if self._qualifies(status) and self._is_quick(status.st_dev):
            return FileBytes(_absolute(name), state_of(status), None, part)
        return None

    def close(self) -> None:
        """No content is looked for any more; by one that was there before, it is again."""
        self.opened.clear()
        listen(self._listened_before)

    def _miss(self) -> None:
        """A builder that reads other things is not watched for long."""
        self._misses += 1
        if self._misses == _TRIAL_FILES and not self._read.files and not self._parts.files:
            self.close()

    def _look_whether_quick(self, device: int) -> bool:
        """Whether its files are read again, in any order, as fast as what is written beside them.

        That would be on the disk of the dataset.
        """
        return _is_near(device) and (device == self._device or not _is_spinning(device))

    def _qualifies(self, status: os.stat_result) -> bool:
        """Of a regular file, worth it, that has not changed since the generator started."""
        changed_ns = status.st_ctime_ns
        return (
            status.st_size >= WORTH_DEFERRING_BYTES
            and stat.S_ISREG(status.st_mode)
            and (changed_ns < self._old_ns or changed_ns < self._started_ns - _lag_ns(changed_ns))
        )


class _Trial:
    """The first files of a kind: none of them may change before all of them are there."""

    def __init__(self) -> None:
        self.files: list[FileBytes] = []
        self.is_over = self.is_failed = False

    def admits(self, file: FileBytes, content: bytes | None = None) -> bool:
        """False for the first ones, which are kept; where ``content`` is given they must hold it.

        For all others whether these have passed.
        """
        if self.is_over or self.is_failed:
            return self.is_over
        self.files.append(file)
        if content is not None and not file.holds(content):
            self.is_failed = True
        elif len(self.files) == _TRIAL_FILES:
            self.is_over = all(each.is_unchanged() for each in self.files)
            self.is_failed = not self.is_over
        return False


def _absolute(name: str) -> str:
    return name if name[0] == os.sep else os.path.join(os.getcwd(), name)


def _lag_ns(time_ns: int) -> int:
    """By so much the time of a file may lag behind the clock: some file systems keep seconds."""
    return 20_000_000 if time_ns % 1_000_000_000 else _LONGEST_LAG_NS


@cache
def _is_near(device: int) -> bool:
    """Whether it is a disk, or memory of this machine: others are not asked for a second time.

    Of btrfs, where every subvolume has a number that stands nowhere else, it cannot be told.
    """
    if os.major(device):
        return True
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    with suppress(OSError, LookupError), open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            about, _, kind = line.partition(b" - ")
            if about.split()[2] == number:
                return kind.split()[0].decode("ascii", "replace") in _NEAR
    return False


@cache
def _is_spinning(device: int) -> bool:
    """Whether it is a disk that has to move its heads, as far as Linux tells."""
    block = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for disk in (block, f"{block}/.."):  # the second of a partition
        with suppress(OSError), open(f"{disk}/queue/rotational", "rb") as file:
            return file.read(1) == b"1"
    return False
