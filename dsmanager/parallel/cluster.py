"""Tasks on a Dask cluster that exists already. Dask is imported here alone, and when it is needed.

The workers must have this version of dsmanager and see the files that the tasks name. What they do
is in ``remote.py``. A task whose worker is lost is run again on another one, as Dask does it; what
it sends and gets are plain values.
"""

from __future__ import annotations

import importlib.util
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

from dsmanager.errors import DsmanagerError, TemporaryError, UsageError
from dsmanager.parallel.failures import raised
from dsmanager.progress import CancelToken, Progress

__all__ = ["ClusterCrew", "require_cluster"]

_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")
_CONNECT_S = 10
_GIVE_UP_S = 20  # Dask takes longer than it is told
_WITHOUT_WORKERS_S = 60
_LOOK_S = 5
_POLL_S = 0.1


def require_cluster(address: str) -> None:
    """Raises UsageError for what is no address, DsmanagerError where Dask is not installed."""
    if _ADDRESS.fullmatch(address) is None:
        raise UsageError(
            f"{address!r} is no address of a Dask scheduler",
            hint="it looks like this: --cluster tcp://scheduler:8786",
        )
    if importlib.util.find_spec("distributed") is None:
        raise DsmanagerError("a cluster needs Dask", hint="pip install 'dsmanager[dask]'")


class ClusterCrew:
    """A connection to a cluster that runs one function on tasks. To be closed.

    At most ``at_once`` tasks are with the cluster at a time; ``label`` names one in errors.
    Raises TemporaryError when the scheduler does not answer.
    """

    def __init__(
        self,
        address: str,
        call: str,
        setup: Any,
        *,
        at_once: int | None,
        label: Callable[[Any], str],
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        require_cluster(address)
        self._address = address
        self._call = call
        self._setup = setup
        self._at_once = at_once
        self._label = label
        self._progress = progress
        self._cancel = cancel
        self._client = _connected(address, cancel)

    def run(self, tasks: Sequence[Any]) -> Generator[tuple[int, Any]]:
        """(index of the task, result) as they finish. Raises the first error of a task."""
        waiting = iter(enumerate(tasks))
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        running: dict[Any, int] = {}
        token, shipped = secrets.token_hex(8), _shipped()

        def submit_next() -> None:
            for index, task in waiting:
                key = f"dsmanager-{token}-{index}"
                request = (_version(), self._call, self._setup, task)
                future = self._client.submit(shipped, *request, key=key, pure=False)
                running[key] = index
                futures[key] = future
                future.add_done_callback(done.put)
                return

        futures: dict[Any, Any] = {}
        try:
            for _ in range(self._at_once or len(tasks)):
                submit_next()
            while running:
                future = self._next(done)
                index = running.pop(future.key)
                answer = self._answer(future, tasks[index])
                del futures[future.key]
                submit_next()
                yield index, answer
        finally:
            if futures:
                with suppress(Exception):  # the connection may be what has failed
                    self._client.cancel(list(futures.values()), force=True)

    def close(self) -> None:
        with suppress(Exception):
            self._client.close(timeout=2)

    def __enter__(self) -> ClusterCrew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, done: queue.SimpleQueue[Any]) -> Any:
        """The next future that is done. Raises TemporaryError when there is nobody to do it."""
        seen_s = looked_s = time.monotonic()
        while True:
            self._cancel.check()
            with suppress(queue.Empty):
                return done.get(timeout=_POLL_S)
            now_s = time.monotonic()
            if now_s - looked_s < _LOOK_S:
                continue
            looked_s = now_s
            if self._workers():
                seen_s = now_s
            elif now_s - seen_s > _WITHOUT_WORKERS_S:
                raise TemporaryError(
                    f"the Dask cluster at {self._address} has no workers",
                    hint=f"start some: dask worker {self._address}",
                )

    def _workers(self) -> Any:
        try:
            return self._client.nthreads()
        except Exception as error:
            raise self._lost() from error

    def _answer(self, future: Any, task: Any) -> Any:
        """What the worker sent back. Raises what the task raised there."""
        from distributed import KilledWorker

        while True:
            self._cancel.check()
            if future.status not in ("finished", "error", "pending"):
                raise self._lost()
            try:
                answer = future.result(timeout=1)
            except TimeoutError:
                continue
            except KilledWorker as error:
                raise DsmanagerError(
                    f"{self._label(task)} was lost with its worker {error.allowed_failures + 1} "
                    f"times, at last with {error.last_worker.address}",
                    hint="look whether memory ran out there, and at that worker's log",
                ) from error
            except Exception as error:
                raise DsmanagerError(
                    f"{self._label(task)} failed in Dask: {type(error).__name__}: {error}"
                ) from error
            break
        if "error" in answer:
            kind, message, hint = (answer["error"][key] for key in ("kind", "message", "hint"))
            raise raised(kind, f"{self._label(task)} on {answer['worker']}: {message}", hint)
        items, size_bytes = answer["counters"]
        self._progress.add_items(items)
        self._progress.add_bytes(size_bytes)
        return answer["result"]

    def _lost(self) -> TemporaryError:
        return TemporaryError(
            f"the Dask scheduler at {self._address} is lost",
            hint="when it is up again, the same command goes on where it was",
        )


def _connected(address: str, cancel: CancelToken) -> Any:
    """A client of the scheduler; in a thread, so that ``cancel`` is heard while it connects."""
    from distributed import Client

    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def connect() -> None:
        try:
            client: Callable[..., Any] = Client
            outcome.put(client(address, timeout=_CONNECT_S, set_as_default=False))
        except Exception as error:
            outcome.put(error)

    threading.Thread(target=connect, daemon=True).start()
    found: Any = TimeoutError()
    end_s = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < end_s:
        cancel.check()
        with suppress(queue.Empty):
            found = outcome.get(timeout=_POLL_S)
            break
    if isinstance(found, Exception):
        raise TemporaryError(
            f"no Dask scheduler answers at {address}: {type(found).__name__}",
            hint="look whether it runs and can be reached from here, then run the same again",
        ) from found
    return found


def _version() -> str:
    """Of the dsmanager that is installed; as :func:`_shipped` looks for it elsewhere."""
    from importlib.metadata import PackageNotFoundError, version  # every helper would load it

    try:
        return version("dsmanager")
    except PackageNotFoundError:
        return "none"


def _shipped() -> Callable[..., dict[str, Any]]:
    """A function that travels as it is, not by its name.

    So it can say what is missing on a scheduler or worker where dsmanager is another one, or none.
    """

    def run(needed: str, call: str, setup: Any, task: Any) -> dict[str, Any]:
        from importlib.metadata import PackageNotFoundError, version

        from distributed import get_worker

        worker = get_worker()
        try:
            found = version("dsmanager")
        except PackageNotFoundError:
            found = "none"
        if found == needed:
            from dsmanager.parallel.remote import run_one

            key = worker.get_current_task()
            answer = run_one(call, setup, task, worker=worker, key=key)
        else:
            message = f"dsmanager {needed} is needed there, as it is here, and there is {found}"
            hint = f"on every worker: pip install 'dsmanager[dask]=={needed}'"
            answer = {"error": {"kind": "DsmanagerError", "message": message, "hint": hint}}
        return {**answer, "worker": worker.address}

    return run
