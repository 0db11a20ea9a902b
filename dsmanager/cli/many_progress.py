"""Several refs at once: a live line each on a terminal, plain lines at a bounded rate elsewhere.

All on stderr. The work runs in a thread; signals cancel it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from dsmanager.cli.context import Context
from dsmanager.cli.output import Output
from dsmanager.cli.progress_view import amount_text, bar_fields, rich_progress
from dsmanager.cli.running import cancelling_signals
from dsmanager.errors import from_os_error
from dsmanager.progress import CancelToken, Progress, Snapshot, Speed
from dsmanager.text import plain

__all__ = ["BoardLike", "run_many"]

Result = TypeVar("Result")

_TICK_S = 0.1
_FIRST_LINES_AFTER_S = 2.0
_LINES_EVERY_S = 10.0
_SHOWN_AFTER_S = 0.3


class BoardLike(Protocol):
    """What is sampled; see :class:`dsmanager.syncing.board.Board`."""

    def now(self) -> dict[str, Progress]: ...

    @property
    def begun(self) -> list[str]: ...

    @property
    def counts(self) -> tuple[int, int]: ...

    def take_notes(self) -> list[str]: ...


def run_many(context: Context, board: BoardLike, work: Callable[[CancelToken], Result]) -> Result:
    """Runs ``work`` in a thread and shows ``board`` meanwhile; its error is raised."""
    outcome: list[Result] = []
    failure: list[BaseException] = []

    with cancelling_signals() as cancel:

        def target() -> None:
            try:
                outcome.append(work(cancel))
            except BaseException as error:
                failure.append(error)

        worker = threading.Thread(target=target, name="sync", daemon=True)
        view = _view(context)
        worker.start()
        try:
            while worker.is_alive():
                worker.join(_TICK_S)
                with suppress(OSError):  # the terminal has gone; the work has not
                    view.show(board)
                if context.watcher is not None:
                    context.watcher.sample(*_sum(board))
        finally:
            view.close()
            if context.watcher is not None:
                for label in board.begun:
                    context.watcher.begins(label)
    if failure:
        error = failure[0]
        raise from_os_error(error, "finish") if isinstance(error, OSError) else error
    return outcome[0]


def _sum(board: BoardLike) -> tuple[str, Snapshot]:
    """What runs, as the counters of one operation: bytes of what runs now, refs of all."""
    running = board.now()
    samples = [progress.snapshot() for progress in running.values()]
    done, total = board.counts
    sizes = [each.bytes_total for each in samples]
    snapshot = Snapshot(
        phase="sync" if total else "",
        bytes_done=sum(each.bytes_done for each in samples),
        bytes_total=sum(each or 0 for each in sizes) if all(sizes) and sizes else None,
        items_done=done,
        items_total=total or None,
        item_unit="refs",
        phase_started_s=min((each.phase_started_s for each in samples), default=0.0),
        bytes_found=sum(each.bytes_found for each in samples),
    )
    return ", ".join(running), snapshot


def _view(context: Context) -> _Notes:
    if context.output.quiet or context.no_progress:
        return _Notes(context.output)
    return _Bars(context.output) if sys.stderr.isatty() else _Lines(context.output)


class _Notes:
    """Only the narration, such as who waits for whom."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, board: BoardLike) -> None:
        for note in board.take_notes():
            self.note(note)

    def note(self, text: str) -> None:
        self._output.say(text)

    def close(self) -> None:
        pass


class _Lines(_Notes):
    """Every few seconds one line for the whole and one for each ref that runs."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._next_s = time.monotonic() + _FIRST_LINES_AFTER_S
        self._speeds: defaultdict[str, Speed] = defaultdict(Speed)

    def show(self, board: BoardLike) -> None:
        super().show(board)
        lines = []
        for label, progress in board.now().items():
            snapshot = progress.snapshot()
            bytes_per_s, _ = self._speeds[label].of(snapshot)
            if snapshot.phase:
                amount = amount_text(snapshot, bytes_per_s)
                lines.append(f"  {label}: {snapshot.phase} {amount}".rstrip())
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _LINES_EVERY_S
        done, total = board.counts
        if total:
            self._output.say(f"{done} of {total} refs done")
        for line in lines:
            self._output.say(line)


class _Bars(_Notes):
    """One live line a ref, and one that counts the refs."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._started_s = time.monotonic()
        self._progress: Any = None
        self._whole: Any = None
        self._tasks: dict[str, tuple[str, Any]] = {}
        self._speeds: defaultdict[str, Speed] = defaultdict(Speed)

    def show(self, board: BoardLike) -> None:
        super().show(board)
        if self._progress is None:
            if time.monotonic() - self._started_s < _SHOWN_AFTER_S:
                return
            self._progress = rich_progress()
            self._whole = self._progress.add_task("refs", total=None, amount="", left="")
            self._progress.start()
        done, total = board.counts
        count = f"{done} of {total}" if total else ""
        self._progress.update(self._whole, completed=done, total=total or None, amount=count)
        running = board.now()
        for label in set(self._tasks) - set(running):
            self._progress.remove_task(self._tasks.pop(label)[1])
        for label, progress in running.items():
            self._line(label, progress)

    def _line(self, label: str, progress: Progress) -> None:
        snapshot = progress.snapshot()
        fields = bar_fields(snapshot, *self._speeds[label].of(snapshot))
        phase, task = self._tasks.get(label, ("", None))
        if task is None or phase != snapshot.phase:
            if task is not None:
                self._progress.remove_task(task)
            task = self._progress.add_task(f"{plain(label)} {snapshot.phase}".rstrip(), **fields)
            self._tasks[label] = (snapshot.phase, task)
        self._progress.update(task, **fields)

    def note(self, text: str) -> None:
        if self._progress is None:
            super().note(text)
        else:
            self._progress.console.print(plain(text), markup=False, highlight=False)

    def close(self) -> None:
        if self._progress is not None:
            with suppress(OSError):
                self._progress.stop()
