"""What a worker of a Dask cluster does for a task; see ``cluster.py``. Runs in the worker.

The task itself runs in a child of the worker, which has a working folder of its own, and ends with
the worker or when nobody wants its result any more. It has no credentials in its environment,
unless the setup says that it ``reads_remotes``: then it has those of the worker.
"""

from __future__ import annotations

import os
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from dsmanager.errors import DsmanagerError
from dsmanager.parallel.environment import child_environment, with_our_code
from dsmanager.parallel.failures import described
from dsmanager.parallel.helper import Helper, start_fresh
from dsmanager.progress import Progress

__all__ = ["run_one"]

_POLL_S = 0.2


def run_one(call: str, setup: Any, task: Any, *, worker: Any, key: Any) -> dict[str, Any]:
    """Either ``result`` and ``counters`` (items, bytes), or ``error`` as plain values.

    ``worker`` is Dask's, ``key`` is by which it knows this task.
    """
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="dsmanager-", dir=worker.local_directory) as scratch:
        environment = child_environment(os.environ, Path(scratch))
        if setup.get("reads_remotes"):
            environment = with_our_code(os.environ) | {"TMPDIR": scratch}
        start = partial(start_fresh, environment=environment, folder=Path(scratch))
        helper = Helper(call, setup, progress, start)
        is_over = threading.Event()
        watch = threading.Thread(target=_watch, args=(helper, worker, key, is_over))
        watch.start()
        try:
            result = helper.run(task)
        except DsmanagerError as error:
            return {"error": described(error, "a task failed")}
        finally:
            is_over.set()
            watch.join()
            helper.close()
    now = progress.snapshot()
    return {"result": result, "counters": [now.items_done, now.bytes_done]}


def _watch(helper: Helper, worker: Any, key: Any, is_over: threading.Event) -> None:
    """Ends a child whose task was cancelled: Dask lets the task itself run on."""
    while not is_over.wait(_POLL_S):
        known = worker.state.tasks.get(key)
        if known is None or known.state == "cancelled":
            helper.kill()
            return
