"""The child process: it ends when it is told to, when its parent ends, and says how it died."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import CancelledError, DsmanagerError
from dsmanager.parallel.environment import child_environment

Write = Callable[..., Path]

# Tells its process id and that of a process it started, and never ends by itself.
ENDLESS = """
import os, subprocess, sys, time, pathlib
started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
note = pathlib.Path({note!r})
note.with_suffix('.part').write_text(f'{{os.getpid()}} {{started.pid}}')
note.with_suffix('.part').rename(note)
{more}
while True:
    time.sleep(600)
yield 0, {{'x': 1}}
"""


def _wait(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.02)
    return value


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it is read
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def _pids(note: Path) -> list[int]:
    _wait(note.exists)
    return [int(pid) for pid in note.read_text().split()]


@pytest.mark.parametrize("more", ["", "import signal; signal.signal(signal.SIGTERM, lambda *_: 0)"])
def test_cancel_ends_all_within_two_seconds_and_leaves_nothing(
    bench: Any, write_builder: Write, tmp_path: Path, more: str
) -> None:
    note = tmp_path / "note"
    ended: list[float] = []

    def cancel() -> None:
        _wait(note.exists)
        ended.append(time.monotonic())
        bench.cancel.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(CancelledError):
        bench.build(write_builder(body=ENDLESS.format(note=str(note), more=more)))
    assert time.monotonic() - ended[0] < 2
    thread.join()
    for pid in _pids(note):
        _wait(lambda pid=pid: not _runs(pid))
    assert bench.leftovers == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_child_and_what_it_started_end_with_a_killed_parent(
    write_builder: Write, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    home = write_builder(body=ENDLESS.format(note=str(note), more=""))
    (tmp_path / "stage").mkdir()
    script = f"""
from pathlib import Path
from dsmanager.building.options import BuildOptions
from dsmanager.building.run import build
from dsmanager.catalog.find import builders_at
from dsmanager.progress import CancelToken, Progress
folder = Path({str(tmp_path)!r})
build(builders_at(Path({str(home)!r}))[0], config=None, options=BuildOptions(),
      data_dir=folder / 'data', stage=folder / 'stage',
      log_path=folder / 'log.txt', progress=Progress(), cancel=CancelToken())
"""
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        pids = _pids(note)
        assert all(_runs(pid) for pid in pids)
    finally:
        parent.kill()
        parent.wait()
    for pid in pids:
        _wait(lambda pid=pid: not _runs(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_builder_left_running_ends_with_the_build(
    bench: Any, write_builder: Write, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    body = ENDLESS.format(note=str(note), more="").replace("while True:\n    time.sleep(600)\n", "")
    bench.build(write_builder(body=body))
    for pid in _pids(note):
        _wait(lambda pid=pid: not _runs(pid))


def test_signals_that_the_caller_blocks_do_not_hold_a_build_up(
    bench: Any, write_builder: Write
) -> None:
    too_late = threading.Timer(20, bench.cancel.cancel)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM])
    too_late.start()
    try:
        bench.build(write_builder(body="yield 0, {'x': 1}"))
    finally:
        too_late.cancel()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("leave", ["", "os.setsid()"])
@pytest.mark.parametrize("end", ["", "raise ValueError('enough')"])
def test_when_a_build_returns_nothing_that_it_started_holds_files(
    bench: Any, write_builder: Write, tmp_path: Path, end: str, leave: str
) -> None:
    """A fork takes a while to end when it has memory to give back, and keeps its files so long."""
    if leave and sys.platform != "linux":
        pytest.skip("a daemon is found on Linux only")
    lock = tmp_path / "lock"
    body = f"""
import fcntl, os, time
ready, tell = os.pipe()
if not os.fork():
    {leave}
    held = open({str(lock)!r}, 'w')
    fcntl.flock(held, fcntl.LOCK_EX)
    memory = b'x' * (256 << 20)
    os.write(tell, b'1')
    time.sleep(600)
os.read(ready, 1)
yield 0, {{'x': 1}}
{end}
"""
    with pytest.raises(DsmanagerError, match="enough") if end else nullcontext():
        bench.build(write_builder(body=body), verify=False)
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_killed_child_is_reported_with_the_signal(bench: Any, write_builder: Write) -> None:
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nyield 0, {'x': 1}"
    with pytest.raises(DsmanagerError, match=r"killed by SIGKILL.*memory") as caught:
        bench.build(write_builder(body=body))
    assert str(bench.log_path) in (caught.value.hint or "")
    assert bench.leftovers == []


def test_a_child_that_exits_early_is_an_error(bench: Any, write_builder: Write) -> None:
    body = "import os\nos._exit(0)\nyield 0, {'x': 1}"
    with pytest.raises(DsmanagerError, match="exit code 0 before it was done"):
        bench.build(write_builder(body=body))


def test_sys_exit_in_a_builder_is_an_error(bench: Any, write_builder: Write) -> None:
    with pytest.raises(DsmanagerError, match="SystemExit: enough"):
        bench.build(write_builder(body="import sys\nyield 0, {'x': 1}\nsys.exit('enough')"))


def test_progress_arrives_as_counters(bench: Any, write_builder: Write) -> None:
    home = write_builder(body="for i in range(500):\n    yield i, {'x': i}")
    bench.build(home, verify=False)
    shown = bench.progress.snapshot()
    assert (shown.phase, shown.items_done, shown.items_total) == ("write", 500, 500)
    assert shown.item_unit == "examples"
    assert shown.bytes_done == shown.bytes_total


def test_locks_of_the_caller_are_not_inherited(bench: Any, write_builder: Write) -> None:
    body = "import os\nprint('fds', len(os.listdir('/proc/self/fd')))\nyield 0, {'x': 1}"
    home = write_builder(body=body)
    read, write = os.pipe()
    try:
        bench.build(home)
        before = [line for line in bench.log_path.read_text().splitlines() if "fds" in line]
        held = [os.dup(read) for _ in range(20)]
        bench.build(home, clean=True)
        after = [line for line in bench.log_path.read_text().splitlines() if "fds" in line]
        for descriptor in held:
            os.close(descriptor)
    finally:
        os.close(read)
        os.close(write)
    assert after == before * 2


def test_the_environment_keeps_search_paths_whole(tmp_path: Path) -> None:
    made = child_environment({"PYTHONPATH": "relative:/absolute", "HOME": "/h"}, tmp_path)
    paths = made["PYTHONPATH"].split(":")
    assert paths[:2] == [os.path.abspath("relative"), "/absolute"]
    assert made["HOME"] == "/h"
