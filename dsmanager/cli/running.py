"""Running verbs: work in a thread, counters on the screen, signals that cancel.

Each item runs to its end before the next; a failed one is reported and the others go on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

from dsmanager.cli.context import Context, Watcher
from dsmanager.cli.progress_view import ProgressView, progress_view
from dsmanager.errors import CancelledError, DsmanagerError, NotFoundError, from_os_error
from dsmanager.progress import CancelToken, Progress

__all__ = ["choose", "run", "run_each"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_TICK_S = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_each(
    context: Context,
    items: Sequence[Item],
    work: Callable[[Item, Progress, CancelToken], Result],
    show: Callable[[Result], None],
    *,
    label: Callable[[Item], str] = str,
) -> bool:
    """Runs ``work`` on each item and shows its result or its error; False when cancelled.

    Where a job was asked for, starts that instead, and returns False.
    """
    context.asked = len(items) + len(context.output.errors)
    if context.detach:
        from dsmanager.cli.detaching import detach

        detach(context, anything=bool(items))
        return False
    with cancelling_signals() as cancel:
        for item in items:
            try:
                show(_run_one(context, label(item), item, work, cancel))
            except CancelledError as error:
                error.ref = error.ref or label(item)
                context.output.error(error)
                return False
            except DsmanagerError as error:
                error.ref = error.ref or label(item)
                context.output.error(error)
    return True


def choose(
    context: Context, requests: Sequence[str], find: Callable[[Sequence[str]], Sequence[Item]]
) -> list[Item]:
    """What ``requests`` mean; one that means nothing is reported, and the others go on."""
    try:
        return list(find(requests))
    except NotFoundError:
        if len(requests) == 1:
            raise
    chosen: list[Item] = []
    for request in requests:
        try:
            chosen += [item for item in find([request]) if item not in chosen]
        except NotFoundError as error:
            error.ref = error.ref or request
            context.output.error(error)
    return chosen


def run(context: Context, name: str, work: Callable[[Progress, CancelToken], Result]) -> Result:
    """Runs one piece of work; its error is raised."""
    with cancelling_signals() as cancel:
        return _run_one(context, name, None, lambda _, p, c: work(p, c), cancel)


@contextmanager
def cancelling_signals() -> Iterator[CancelToken]:
    """Yields a token that SIGINT, SIGTERM and SIGHUP set; a second signal acts as it did before.

    Signals that the process ignores (``nohup``, a shell's background jobs) stay ignored.
    """
    cancel = CancelToken()
    before: dict[signal.Signals, Any] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        cancel.cancel()
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is threading.main_thread():
        heeded = [each for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
        before.update({number: signal.signal(number, handle) for number in heeded})
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_one(
    context: Context,
    label: str,
    item: Any,
    work: Callable[[Any, Progress, CancelToken], Result],
    cancel: CancelToken,
) -> Result:
    progress = Progress()
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(work(item, progress, cancel))
        except BaseException as error:
            failure.append(error)

    worker = threading.Thread(target=target, name=label, daemon=True)
    if context.watcher is not None:
        context.watcher.begins(label)
    with progress_view(context, label) as view:
        worker.start()
        _watch(worker, progress, view, context.watcher, label)
    for note in progress.take_notes():
        context.output.say(note)
    if failure:
        raise _as_ours(failure[0])
    return outcome[0]


def _watch(
    worker: threading.Thread,
    progress: Progress,
    view: ProgressView,
    watcher: Watcher | None,
    label: str,
) -> None:
    note = ""
    while worker.is_alive():
        worker.join(_TICK_S)
        snapshot = progress.snapshot()
        with suppress(OSError):  # the terminal has gone; the work has not
            for note in progress.take_notes():
                view.note(note)
            view.show(snapshot)
        if watcher is not None:
            watcher.sample(label, snapshot, note)


def _as_ours(error: BaseException) -> BaseException:
    return from_os_error(error, "finish") if isinstance(error, OSError) else error
