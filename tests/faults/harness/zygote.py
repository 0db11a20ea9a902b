"""Starts dsmanager again and again without importing it again, and kills it where it is told to.

Reads requests as JSON lines from stdin and answers each with one. ``start`` forks a process that
runs the program as a shell would; ``wait`` waits for it, and kills it after a while where asked.
``kill_at`` n is a SIGKILL just before the n-th change of the file system: every open for writing,
rename, remove, mkdir, process and connection counts, in all threads. Audit hooks see them without
a hook in the product. ``kill_after`` names an event: the change after it is the deadly one.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

CHANGES = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.truncate",
    "socket.connect",
    "subprocess.Popen",
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
POLL_S = 0.002
NOT_IMPORTED = ("dsmanager.building.child", "dsmanager.screens", "dsmanager.builders")


def preload() -> None:
    """Imports what verbs import, so that a fork has it; runs nothing."""
    import dsmanager

    for found in pkgutil.walk_packages(dsmanager.__path__, "dsmanager."):
        if not found.name.startswith(NOT_IMPORTED) and not found.name.endswith("__main__"):
            with suppress(ImportError):
                import_module(found.name)
    from dsmanager.loading import without_tensorflow
    from dsmanager.remotes.client import Clients
    from dsmanager.settings import RemoteConfig

    config = RemoteConfig("none", "s3://none/", endpoint_url="http://127.0.0.1:9", anonymous=True)
    assert Clients(config).control.meta.service_model.operation_names
    without_tensorflow.install()  # imports TFDS, as ``load`` does


def watch_changes(kill_at: int, kill_after: str, counted: list[int]) -> None:
    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal kill_at
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & WRITES:
                return
        elif event not in CHANGES:
            return
        counted[0] += 1
        if counted[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if event == kill_after:
            kill_at = counted[0] + 1

    sys.addaudithook(watch)


def shift_clock(seconds: float) -> None:
    """This process believes in another time, and signs its requests with it."""
    import datetime

    import botocore.auth

    from dsmanager.library import memory

    real_time, signing_time = time.time, botocore.auth.get_current_datetime
    shift = datetime.timedelta(seconds=seconds)
    time.time = lambda: real_time() + seconds
    botocore.auth.get_current_datetime = lambda *given: signing_time(*given) + shift
    memory.utc_now = lambda: (datetime.datetime.now(datetime.UTC) + shift).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


def become(request: dict[str, Any]) -> None:
    """Turns this fork into dsmanager; ends the process."""
    out = request["out"]
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, f"{out}.stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, f"{out}.stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        descriptor = os.open(name, flags, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    for place, value in request["set"].items():
        module, _, name = place.partition(":")
        assert hasattr(import_module(module), name), place
        setattr(import_module(module), name, value)
    if request["clock_offset_s"]:
        shift_clock(request["clock_offset_s"])
    from dsmanager.cli.main import main

    counted = [0]
    watch_changes(request["kill_at"], request["kill_after"], counted)
    code = main(request["arguments"])
    changes = counted[0]
    atexit._run_exitfuncs()
    Path(f"{out}.changes").write_text(str(changes))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking the imported modules down would take longer than most verbs


def wait_for(pid: int, kill_after_s: float | None, give_up_s: float) -> dict[str, Any]:
    started_s = time.monotonic()
    is_hung = False
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return {"code": os.waitstatus_to_exitcode(status), "hung": is_hung}
        passed_s = time.monotonic() - started_s
        is_hung = is_hung or passed_s > give_up_s
        if is_hung or (kill_after_s is not None and passed_s >= kill_after_s):
            os.kill(pid, signal.SIGKILL)
            kill_after_s = None
        time.sleep(POLL_S)


def serve() -> None:
    answers = sys.stdout
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if request["do"] == "start":
            pid = os.fork()
            if not pid:
                become(request)
            answer = {"pid": pid}
        else:
            answer = wait_for(request["pid"], request["kill_after_s"], request["give_up_s"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    preload()
    gc.collect()
    gc.freeze()  # or every fork copies all pages when it looks for garbage
    serve()
