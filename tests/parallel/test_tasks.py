"""Tasks run in several processes, count, fail and end as if it were one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import CancelledError, DsmanagerError, NoSpaceError
from dsmanager.parallel import run_tasks
from dsmanager.progress import CancelToken, Progress

Run = Callable[..., dict[int, Any]]
HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where each process that has begun leaves its number."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    begun = tmp_path / "begun"
    begun.mkdir()
    return begun


@pytest.fixture
def run(folder: Path) -> Run:
    def run(
        name: str,
        tasks: list[int],
        *,
        workers: int,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
        **setup: Any,
    ) -> dict[int, Any]:
        setup |= {"folder": str(folder), "main": os.getpid()}
        running = run_tasks(
            f"task_functions:{name}",
            setup,
            tasks,
            workers=workers,
            progress=progress or Progress(),
            cancel=cancel or CancelToken(),
        )
        with running as results:
            return dict(results)

    return run


@pytest.mark.parametrize("workers", [1, 3])
def test_each_task_runs_once_and_counts(run: Run, folder: Path, workers: int) -> None:
    progress = Progress()
    tasks = list(range(10, 30))
    results = run("square", tasks, workers=workers, together=workers, progress=progress)
    assert {index: each["square"] for index, each in results.items()} == {
        index: task * task for index, task in enumerate(tasks)
    }
    pids = {each["pid"] for each in results.values()}
    assert os.getpid() in pids
    assert pids <= {int(path.name) for path in folder.iterdir()}
    assert len(list(folder.iterdir())) == workers
    assert progress.snapshot().items_done == 20
    assert progress.snapshot().bytes_done == sum(tasks)


def test_one_task_needs_no_helper_and_no_task_nothing(run: Run, folder: Path) -> None:
    assert run("square", [], workers=4, together=1) == {}
    assert run("square", [5], workers=4, together=1)[0] == {"square": 25, "pid": os.getpid()}
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("ours", NoSpaceError, "it is full"),
        ("theirs", DsmanagerError, "a task failed: KeyError: 'something'"),
        ("kill", DsmanagerError, "a helper process was killed by SIGKILL"),
    ],
)
def test_what_a_helper_raises_is_raised_here(
    run: Run, how: str, kind: type[DsmanagerError], message: str
) -> None:
    with pytest.raises(kind, match=message) as raised:
        run("fail", [0, 1, 2, 3], workers=2, how=how)
    assert raised.value.hint == ("free some" if how == "ours" else None)


def test_cancel_ends_the_helpers(run: Run, folder: Path) -> None:
    cancel = CancelToken()
    with pytest.raises(CancelledError), _when_begun(folder, 2, cancel.cancel):
        run("endless", [0, 1, 2], workers=2, cancel=cancel)
    helpers = {int(path.name) for path in folder.iterdir()} - {os.getpid()}
    assert [pid for pid in helpers if _exists(pid)] == []


def test_whoever_stops_in_the_middle_leaves_no_helper(folder: Path) -> None:
    setup = {"folder": str(folder), "main": os.getpid(), "together": 2}
    running = run_tasks(
        "task_functions:square",
        setup,
        list(range(50)),
        workers=2,
        progress=Progress(),
        cancel=CancelToken(),
    )
    with running as results:
        next(results)
    helpers = {int(path.name) for path in folder.iterdir()} - {os.getpid()}
    assert helpers
    assert [pid for pid in helpers if _exists(pid)] == []


SCRIPT = """
import os, sys
from dsmanager.parallel import run_tasks
from dsmanager.progress import CancelToken, Progress
setup = {"folder": sys.argv[1], "main": os.getpid()}
with run_tasks("task_functions:endless", setup, [0, 1, 2], workers=2,
               progress=Progress(), cancel=CancelToken()) as results:
    list(results)
"""


def test_helpers_end_with_a_process_that_is_killed_and_print_to_stderr(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with _when_begun(folder, 2, process.kill):
        output, errors = process.communicate(timeout=60)  # until all have closed them
    assert output in ("", "begun\n")  # what this process itself printed
    assert errors == "begun\n"


class _when_begun:  # noqa: N801
    """Acts once ``count`` processes have begun."""

    def __init__(self, folder: Path, count: int, act: Callable[[], object]) -> None:
        self._folder, self._count, self._act = folder, count, act
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._is_over.wait(0.02):
            if len(list(self._folder.iterdir())) >= self._count:
                self._act()
                return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
