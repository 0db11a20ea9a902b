"""The one entry: tasks run here and in helpers, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsmanager.parallel.crew import Crew
from dsmanager.progress import CancelToken, Progress

__all__ = ["run_tasks"]


def run_tasks(
    call: str,
    setup: Mapping[str, Any],
    tasks: Sequence[Any],
    *,
    workers: int,
    cluster: str | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> Iterator[tuple[int, Any]]:
    """Runs ``call`` ("package.module:function") on each task; (index, result) as they finish.

    The function is ``function(setup, task, progress, cancel)``; setup, tasks and results are JSON
    values. What it adds to its ``progress`` is added to this one. It runs in this process and in
    ``workers`` - 1 helpers, whose output goes to stderr: in this process it must not print.

    Raises the first error of a task: ours with kind, message and hint, others as they are from this
    process and as a DsmanagerError from a helper. Then, when ``cancel`` is set, and when the
    iterator is closed, the tasks that helpers work on end at once.
    """
    if not tasks:
        return
    with Crew(
        call,
        setup,
        workers=max(1, min(workers, len(tasks))),
        progress=progress,
        cancel=cancel,
    ) as crew:
        yield from crew.run(tasks)
