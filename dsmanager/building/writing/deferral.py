"""Which of the files that a builder names are read when their records are written for good.

A file qualifies when it has stood unchanged since before the builder began to generate, so that one
which the builder makes for an example, and takes away after it, is read at once. The first files
are always read at once, and looked at again.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Any

from dsmanager.building.writing.file_bytes import WORTH_DEFERRING_BYTES, FileBytes, state_of

__all__ = ["Deferral"]

_LONGEST_LAG_NS = 3_000_000_000
_TRIAL_FILES = 64


class Deferral:
    """Decides it for one split. To be made just before its generator starts.

    A builder that takes away each file once it is used gets all of them read at once.
    """

    def __init__(self) -> None:
        self._started_ns = time.time_ns()
        self._old_ns = self._started_ns - _LONGEST_LAG_NS
        self._trial: list[FileBytes] = []
        self._is_refused = False

    def of(self, named: Any) -> FileBytes | None:
        """What stands for a file; None for one that is to be read now, and for what is none.

        Any value will do.
        """
        if self._is_refused:
            return None
        try:
            name = os.fspath(named)
            if type(name) is not str:
                return None
            status = os.stat(name)
        except (OSError, TypeError, ValueError):
            return None
        if not self._qualifies(status):
            return None
        found = FileBytes(
            name if name[0] == os.sep else os.path.join(os.getcwd(), name), state_of(status)
        )
        if len(self._trial) == _TRIAL_FILES:
            return found
        self._trial.append(found)
        if len(self._trial) == _TRIAL_FILES:
            self._is_refused = not all(each.is_unchanged() for each in self._trial)
        return None

    def _qualifies(self, status: os.stat_result) -> bool:
        """Of a regular file, worth it, that has not changed since the generator started."""
        changed_ns = status.st_ctime_ns
        return (
            status.st_size >= WORTH_DEFERRING_BYTES
            and stat.S_ISREG(status.st_mode)
            and (changed_ns < self._old_ns or changed_ns < self._started_ns - _lag_ns(changed_ns))
        )


def _lag_ns(time_ns: int) -> int:
    """By so much the time of a file may lag behind the clock: some file systems keep seconds."""
    return 20_000_000 if time_ns % 1_000_000_000 else _LONGEST_LAG_NS
