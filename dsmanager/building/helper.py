"""Helpers of the child: processes that make partitions beside it; they run ``helping.py``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from dsmanager import errors
from dsmanager.errors import DsmanagerError
from dsmanager.progress import Progress

__all__ = ["Helper"]

_MODULE = "dsmanager.building.helping"


class Helper:
    """One helper, from the side of the child. Not for several threads at once."""

    def __init__(self, request: dict[str, Any], progress: Progress) -> None:
        self._progress = progress
        self._items = self._bytes = 0
        asked, self._asking = os.pipe()
        self._answers, answering = os.pipe()
        command = [sys.executable, "-P", "-m", _MODULE, str(asked), str(answering)]
        self._process = subprocess.Popen(
            command, pass_fds=(asked, answering), stdin=subprocess.DEVNULL
        )
        os.close(asked)
        os.close(answering)
        self._lines = open(self._answers, encoding="utf-8")  # noqa: SIM115
        self._say({**request, "parent_pid": os.getpid()})

    def run(self, part: dict[str, Any]) -> None:
        """Has one partition made. Raises what it raised, and DsmanagerError when it was killed."""
        self._say(part)
        for line in self._lines:
            event = json.loads(line)
            if "counters" in event:
                self._count(*event["counters"])
            if "error" in event:
                kind, message, hint = (event["error"][key] for key in ("kind", "message", "hint"))
                raise getattr(errors, kind, DsmanagerError)(message, hint=hint)
            if "done" in event:
                return
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        raise DsmanagerError(f"a process that makes partitions {how}")

    def _count(self, items: int, size_bytes: int) -> None:
        self._progress.add_items(items - self._items)
        self._progress.add_bytes(size_bytes - self._bytes)
        self._items, self._bytes = items, size_bytes

    def _say(self, value: dict[str, Any]) -> None:
        data = memoryview(json.dumps(value).encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._asking, data) :]
        except BrokenPipeError:
            return  # it has ended: reading its answers tells how

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._asking)
        self._process.kill()  # what it has finished is finished; what it has not is begun anew
        self._process.wait()
        self._lines.close()
