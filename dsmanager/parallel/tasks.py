"""The one entry: tasks run here and in helpers, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from dsmanager.parallel.cluster import ClusterCrew
from dsmanager.parallel.crew import Crew
from dsmanager.progress import CancelToken, Progress

__all__ = ["run_tasks"]


def _label(task: Any) -> str:
    return f"task {task}"


@contextmanager
def run_tasks(
    call: str,
    setup: Mapping[str, Any],
    tasks: Sequence[Any],
    *,
    workers: int,
    cluster: str | None = None,
    is_long: bool = False,
    label: Callable[[Any], str] = _label,
    progress: Progress,
    cancel: CancelToken,
) -> Iterator[Iterator[tuple[int, Any]]]:
    """Runs ``call`` ("package.module:function") on each task; gives (index, result) as they finish.

    The function is ``function(setup, task, progress, cancel)``; setup, tasks and results are JSON
    values. What it adds to its ``progress`` is added to this one. It runs in this process and in
    ``workers`` - 1 helpers, whose output goes to stderr: in this process it must not print. Whoever
    knows that the work ``is_long`` spares them the wait whether it is done in a moment. On a
    ``cluster`` (the address of its scheduler) at most ``workers`` tasks run at once, each in a
    child of a Dask worker; ``label`` names a task in the errors of those. Such a child has no
    credentials, unless ``setup["reads_remotes"]`` is true: then it has the worker's.

    Raises the first error of a task: ours with kind, message and hint, others as they are from this
    process and as a DsmanagerError from another. Then, when ``cancel`` is set, and whenever the
    context is left, the tasks that others work on end at once.
    """
    if not tasks:
        yield iter(())
        return
    crew: Crew | ClusterCrew
    if cluster is None:
        count = max(1, min(workers, len(tasks)))
        crew = Crew(call, setup, workers=count, is_long=is_long, progress=progress, cancel=cancel)
    else:
        crew = ClusterCrew(
            cluster, call, setup, at_once=workers, label=label, progress=progress, cancel=cancel
        )
    with crew, closing(crew.run(tasks)) as results:
        yield results
