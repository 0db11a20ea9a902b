"""What a helper does: runs one function on the tasks that it is sent; see ``helper.py``.

It has two pipes: on one come lines of JSON, a request that names the function and then a task each;
on the other go counters and, at the end of each task, its result or an error. A helper ends,
whatever it does, as soon as nobody is there to ask.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NoReturn

from dsmanager.errors import DsmanagerError
from dsmanager.libc import keep_freed_memory
from dsmanager.parallel.failures import described
from dsmanager.progress import CancelToken, Progress

__all__ = ["TaskFunction", "function_named", "serve"]

TaskFunction = Callable[[Any, Any, Progress, CancelToken], Any]
"""``function(setup, task, progress, cancel)``; setup, task and result are JSON values."""

_SAMPLE_S = 0.2


def function_named(call: str) -> TaskFunction:
    """The function that ``package.module:function`` names."""
    module, _, name = call.partition(":")
    function: TaskFunction = getattr(importlib.import_module(module), name)
    return function


def serve(asked: int, answering: int) -> NoReturn:
    """Runs tasks until the end of ``asked``. For the only thread of a process."""
    keep_freed_memory()
    for descriptor in (asked, answering):
        os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, lambda *_: None)  # of a terminal: it means whoever asks
    lines: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(asked, lines), daemon=True).start()
    progress, cancel = Progress(), CancelToken()
    answers = _Answers(answering, progress)
    request = lines.get()
    while True:
        task = lines.get()
        try:
            result = function_named(request["call"])(request["setup"], task, progress, cancel)
            answers.send({"counters": answers.counters(), "result": result})
        except BaseException as error:
            if not isinstance(error, DsmanagerError):
                traceback.print_exc()
            answers.send({"error": described(error, "a task failed")})


def _read(asked: int, lines: SimpleQueue[Any]) -> None:
    with open(asked, encoding="utf-8") as file:
        for line in file:
            lines.put(json.loads(line))
    os._exit(0)


class _Answers:
    def __init__(self, descriptor: int, progress: Progress) -> None:
        self._descriptor = descriptor
        self._progress = progress
        self._lock = threading.Lock()
        threading.Thread(target=self._sample, daemon=True).start()

    def counters(self) -> list[int]:
        now = self._progress.snapshot()
        return [now.items_done, now.bytes_done]

    def send(self, event: dict[str, Any]) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]

    def _sample(self) -> None:
        before: list[int] = []
        while not threading.Event().wait(_SAMPLE_S):
            now = self.counters()
            if now != before:
                before = now
                self.send({"counters": now})
