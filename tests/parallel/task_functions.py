"""Functions that the tests of this folder have run; helpers import them by name."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from dsmanager.errors import NoSpaceError
from dsmanager.progress import CancelToken, Progress


def square(setup: Any, task: Any, progress: Progress, cancel: CancelToken) -> Any:
    """Says which process it was; waits until ``together`` of them have begun."""
    _begin(setup)
    end = time.monotonic() + 60
    while len(list(Path(setup["folder"]).iterdir())) < setup["together"]:
        assert time.monotonic() < end
        cancel.wait(0.01)
    progress.add_items(1)
    progress.add_bytes(task)
    return {"square": task * task, "pid": os.getpid()}


def fail(setup: Any, task: Any, progress: Progress, cancel: CancelToken) -> Any:
    """A helper does what ``setup`` says, the first process waits for that."""
    _begin(setup)
    if os.getpid() == setup["main"]:
        while len(list(Path(setup["folder"]).iterdir())) < 2:
            cancel.wait(0.01)
    elif setup["how"] == "ours":
        raise NoSpaceError("it is full", hint="free some")
    elif setup["how"] == "theirs":
        raise KeyError("something")
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def endless(setup: Any, task: Any, progress: Progress, cancel: CancelToken) -> Any:
    print("begun")
    _begin(setup)
    while True:
        if os.getpid() == setup["main"]:
            cancel.wait(0.05)
        else:
            threading.Event().wait(600)


def _begin(setup: Any) -> None:
    (Path(setup["folder"]) / str(os.getpid())).touch()
