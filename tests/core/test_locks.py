"""Locks between real processes: one works, the other waits and says for whom."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dsmanager.errors import CancelledError, DsmanagerError
from dsmanager.locks import held_by, locked, remove_dead_locks
from dsmanager.progress import CancelToken, Progress

HOLDER = """
import os, subprocess, sys
from pathlib import Path
from dsmanager.locks import locked
with locked(Path(sys.argv[1]), purpose="build digit:1.0.8"):
    child = 0
    if "spawn" in sys.argv:
        child = subprocess.Popen(["sleep", "60"], close_fds=False).pid
    elif "fork" in sys.argv:
        child = os.fork()
        if child == 0:
            sys.stdin.readline()  # inherits the end of its parent's pipe
            os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "digit__1.0.8.lock"


@pytest.fixture
def hold(
    program: Callable[..., list[str]], environment: dict[str, str], lock: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that holds the lock until a line, the end of its input, or its death."""
    started: list[subprocess.Popen[str]] = []

    def start(*how: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            program(HOLDER, lock, *how),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def child_of(holder: subprocess.Popen[str]) -> int:
    """Waits until the lock is held; the process id of the holder's child, or 0."""
    assert holder.stdout is not None
    return int(holder.stdout.readline())


def test_the_other_waits_names_the_holder_and_works_when_it_ends(hold, lock, wait_until):
    holder = hold()
    child_of(holder)
    assert held_by(lock) == f"process {holder.pid} (build digit:1.0.8)"
    progress = Progress()
    worked = threading.Event()

    def work() -> None:
        with locked(lock, purpose="package digit:1.0.8", progress=progress):
            worked.set()

    waiter = threading.Thread(target=work)
    waiter.start()
    notes: list[str] = []
    wait_until(lambda: bool(notes.extend(progress.take_notes()) or notes), "the waiter says so")
    assert notes == [f"waiting for process {holder.pid} (build digit:1.0.8)"]
    assert not worked.is_set()
    holder.stdin.write("\n")
    holder.stdin.flush()
    waiter.join(30)
    assert worked.is_set()
    assert progress.take_notes() == []
    assert not lock.exists()


@pytest.mark.parametrize("how", ["", "spawn", "fork"])
def test_a_killed_holder_frees_the_lock_though_its_children_live(how, hold, lock, wait_until):
    holder = hold(how)
    child = child_of(holder)
    assert held_by(lock)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    try:
        wait_until(lambda: held_by(lock) is None, "a child that was just forked lets go, too")
        if child:
            os.kill(child, 0)  # it lives
        with locked(lock, purpose="x", cancel=CancelToken()):
            assert held_by(lock) == f"process {os.getpid()} (x)"
    finally:
        if child:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_does_not_free_its_parents_lock(run_program, lock):
    done = run_program(
        """
        import os, sys
        from pathlib import Path
        from dsmanager.locks import held_by, locked
        path = Path(sys.argv[1])
        with locked(path, purpose="build"):
            child = os.fork()
            if child:
                os.waitpid(child, 0)
                other = os.fork()
                if other == 0:
                    print("held by", held_by(path), flush=True)
                    os._exit(0)
                os.waitpid(other, 0)
        if child:
            print("then", held_by(path), path.exists())
        """,
        lock,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("held by process ")
    assert second == "then None False"


def test_waiting_can_be_cancelled(hold, lock):
    child_of(hold())
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError), locked(lock, purpose="x", cancel=cancel):
        pytest.fail("the lock is held by another")
    assert held_by(lock)


def test_threads_of_one_process_exclude_each_other(lock):
    inside = []

    def work() -> None:
        for _ in range(20):
            with locked(lock, purpose="count"):
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_two_who_ask_at_once_do_not_take_each_other_for_the_holder(lock):
    import fcntl

    lock.write_text("4711 build of one who died\n")
    with open(lock) as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert held_by(lock) is None


def test_a_lock_that_was_removed_and_taken_by_another_stays_the_others(lock):
    with locked(lock, purpose="first"):
        lock.unlink()
        lock.write_text("of another\n")
    assert lock.read_text() == "of another\n"


def test_dead_locks_go_held_and_foreign_ones_stay(hold, lock, tmp_path):
    child_of(hold())
    dead, manifest = tmp_path / "mnist__3.0.1.lock", tmp_path / "datasets.json.lock"
    foreign = [tmp_path / "uv.lock", tmp_path / "poetry.lock", tmp_path / "x__notes.lock"]
    for path in (dead, manifest, *foreign):
        path.touch()
    remove_dead_locks(tmp_path)
    assert not dead.exists()
    assert not manifest.exists()
    assert all(path.exists() for path in foreign)
    assert held_by(lock)


def test_hostile_purposes_are_shown_as_plain_text(lock):
    with locked(lock, purpose="write \x1b[2J\udcff"):
        assert "\x1b" not in str(held_by(lock))


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "data").touch()
    where = tmp_path / "data" / "a.lock"
    with pytest.raises(DsmanagerError, match=r"could not lock a\.lock"), locked(where, purpose="x"):
        pytest.fail("there is no such folder")
