"""Helpers of the child: processes that make partitions, ``python -m dsmanager.building.helper``.

The descriptors and the lines on them are as in ``child.py``: a request that says which builder,
then a line for each partition; the answers are counters and, at the end of each, a result or an
error. A helper ends with the child, whose environment and log it has.
"""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from dsmanager import errors
from dsmanager.building.child import described, end_at_parents_death, refuse_input
from dsmanager.errors import DsmanagerError
from dsmanager.progress import Progress

__all__ = ["Helper", "main"]

_MODULE = "dsmanager.building.helper"
_SAMPLE_S = 0.2


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


def main() -> NoReturn:
    asked, answering = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (asked, answering):
        os.set_inheritable(descriptor, False)
    builtins.input = refuse_input
    progress, answers = Progress(), _Answers(answering)
    with open(asked, encoding="utf-8") as lines:
        request = json.loads(next(lines))
        end_at_parents_death(request["parent_pid"])
        threading.Thread(target=answers.sample, args=(progress,), daemon=True).start()
        builder = None
        for line in lines:
            part = json.loads(line)
            try:
                builder = builder or _builder(request, progress)
                _make(builder, request, part, progress)
                answers.send({"counters": _counters(progress), "done": part["number"]})
            except BaseException as error:
                traceback.print_exc()
                answers.send({"error": described(error)})
                break
    sys.stdout.flush()
    os._exit(0)


def _builder(request: dict[str, Any], progress: Progress) -> Any:
    from dsmanager.building.generate import construct

    return construct(request, progress)


def _make(builder: Any, request: dict[str, Any], part: dict[str, Any], progress: Progress) -> None:
    from dsmanager.building.partitions import make_part

    make_part(builder, Path(request["folder"]), part, progress)


def _counters(progress: Progress) -> list[int]:
    now = progress.snapshot()
    return [now.items_done, now.bytes_done]


class _Answers:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def sample(self, progress: Progress) -> None:
        before: list[int] = []
        while not threading.Event().wait(_SAMPLE_S):
            now = _counters(progress)
            if now != before:
                before = now
                self.send({"counters": now})

    def send(self, event: dict[str, Any]) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]


if __name__ == "__main__":
    main()
