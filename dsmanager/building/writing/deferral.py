"""Which files are read when the records with their content are written for good, and not at once.

They are those that a builder names and, where the spill does not keep up, those that it has read
itself: to read them again is faster then than to write their content to disk one more time. A file
qualifies when it has stood unchanged since before the builder began to generate, so that one which
the builder makes for an example, and takes away after it, is read at once. The first files are
always read at once, and looked at again. A builder that begins later to take away what it read is
run once more, and must then find its sources again.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from contextlib import suppress
from functools import cache
from typing import Any

from dsmanager.building.writing.file_bytes import WORTH_DEFERRING_BYTES, FileBytes, state_of
from dsmanager.building.writing.opened import listen
from dsmanager.building.writing.spill import Spill

__all__ = ["Deferral"]

_LONGEST_LAG_NS = 3_000_000_000
_TRIAL_FILES = 64
_REMEMBERED_FILES = 8
"""So many of the files that are opened for one example are looked at."""
_NEAR = ("overlay", "tmpfs", "zfs")
"""File systems without a device of their own, but on this machine's disks or in its memory."""


class Deferral:
    """Decides it for one split. To be made just before its generator starts; to be closed.

    A builder that takes away each file once it is used gets all of them read at once.
    """

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._started_ns = time.time_ns()
        self._old_ns = self._started_ns - _LONGEST_LAG_NS
        self._named, self._read = _Trial(), _Trial()
        self._unknown = 0
        self.opened: deque[str] = deque(maxlen=_REMEMBERED_FILES)
        """What has been opened for an example; to be cleared after it."""
        listen(self.opened)

    def of_path(self, named: Any) -> FileBytes | None:
        """What stands for a file; None for one that is to be read now, and for what is none.

        Any value will do.
        """
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
        return found if self._named.admits(found) else None

    def of_content(self, content: bytes) -> FileBytes | None:
        """What stands for the file that the builder has ``content`` from, where that can be told.

        It is the only one of this length that was opened for the example. That it holds just this
        the CRC of the record will say when it is written; the first ones are compared at once.
        """
        size_bytes = len(content)
        if (
            not self.opened
            or size_bytes < WORTH_DEFERRING_BYTES
            or not self._spill.is_behind
            or self._read.is_failed
        ):
            return None
        found = []
        for name in set(self.opened):  # a copy: other threads may open files meanwhile
            try:
                status = os.stat(name)
            except (OSError, ValueError):
                continue
            if status.st_size == size_bytes:
                found.append((name, status))
        if len(found) != 1 or not self._qualifies(found[0][1]) or not _is_near(found[0][1].st_dev):
            self._miss()
            return None
        file = FileBytes(_absolute(found[0][0]), state_of(found[0][1]))
        if self._read.admits(file, content):
            file.content = content
            return file
        return None

    def close(self) -> None:
        """No content is looked for any more."""
        self.opened.clear()
        listen(None)

    def _miss(self) -> None:
        """A builder that reads other things than whole files is not watched for long."""
        self._unknown += 1
        if self._unknown == _TRIAL_FILES and not self._read.files:
            self.close()

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
