"""What the screens show, kept up to date by threads that never touch a widget.

Rows come from the snapshot at once, then from the surveying process; jobs from their folders. The
event loop reads the attributes a few times a second and compares the versions; nothing here calls
back, and nothing here waits for a disk or a network on the caller's thread. No Textual in here.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dsmanager.errors import DsmanagerError
from dsmanager.screens.rows import Row
from dsmanager.screens.snapshot import read_snapshot, snapshot_path
from dsmanager.settings import Settings

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job
    from dsmanager.jobs.registry import Jobs
    from dsmanager.screens.requests import JobRequest

__all__ = ["Model", "Notice", "RemoteLook"]

_SAMPLE_S = 0.2
_IDLE_SAMPLE_S = 1.0
_WARM_ROWS = 50
_REMOTE_VERBS = {"upload", "sync", "rm", "manifest", "gc"}


@dataclass(frozen=True, slots=True)
class RemoteLook:
    """The current remote, and how current what is shown of it is."""

    name: str
    looked_at_s: float | None = None
    """When it was listed, in epoch seconds; None: never."""
    is_looking: bool = False
    error: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell once: the outcome of what was asked for."""

    message: str
    is_error: bool = False


class Model:
    """Rows, the remote, jobs; versions say when they have changed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rows: tuple[Row, ...] = ()
        self.rows_version = 0
        self.remote: RemoteLook | None = None
        self.local_errors: tuple[str, ...] = ()
        self.is_looking = True
        """Whether the disk has not been looked at since the start."""
        self.jobs: tuple[Job, ...] = ()
        self.jobs_version = 0
        self.notices: deque[Notice] = deque()
        self._known: dict[str, Row] = {}
        self._surveyor: subprocess.Popen[bytes] | None = None
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._registry: Jobs | None = None
        self._is_stopped = threading.Event()
        self._sample_now = threading.Event()
        self._remote_of_settings()
        self._read_snapshot()

    def start(self) -> None:
        """Starts looking: the process, and the threads that listen to it and sample jobs."""
        self._start_surveyor()
        for work in (self._sample_jobs, self._do_tasks, self._warm):
            threading.Thread(target=work, daemon=True, name=work.__name__).start()

    def stop(self) -> None:
        """Ends the process; waits for nothing."""
        self._is_stopped.set()
        self._sample_now.set()
        if self._surveyor is not None:
            with suppress(OSError):
                self._surveyor.kill()

    def change_settings(self, settings: Settings) -> None:
        """Looks at other places from now on: a remote was added, say."""
        self.settings = settings
        self._remote_of_settings()
        self._start_surveyor()

    def look(self, *, everything: bool = False) -> None:
        """Asks for a look at the disk, or at all of it and the remote again."""
        self._command(b"all remote\n" if everything else b"look\n")

    def look_at_remote(self) -> None:
        self._command(b"look remote\n")

    def start_job(self, request: JobRequest, told: str) -> None:
        """Starts a job; what came of it is told as a notice that begins with ``told``."""

        def task() -> None:
            job = self._jobs.start(self.settings, request.verb, request.arguments)
            self.notices.append(Notice(f"{told}: job {job.id}"))

        self._do(task)

    def cancel_job(self, job_id: int) -> None:
        self._do(lambda: self._tell(f"job {self._jobs.cancel(job_id).id}: cancelling"))

    def cancel_all(self) -> threading.Event:
        """Asks every active job to stop; the event is set when all have been asked."""
        done = threading.Event()

        def task() -> None:
            for job in self.active_jobs:
                with suppress(DsmanagerError, OSError):
                    self._jobs.cancel(job.id)
            done.set()

        self._do(task)
        return done

    def retry_job(self, job_id: int) -> None:
        self._do(lambda: self._tell(f"job {job_id} again: job {self._jobs.retry(job_id).id}"))

    def remove_job(self, job_id: int) -> None:
        self._do(lambda: self._jobs.remove(job_id))

    @property
    def active_jobs(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.is_active)

    @property
    def _jobs(self) -> Jobs:
        if self._registry is None:
            from dsmanager.jobs.registry import Jobs

            self._registry = Jobs(self.settings.state_dir)
        return self._registry

    def _tell(self, message: str) -> None:
        self.notices.append(Notice(message))

    def _do(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)

    def _do_tasks(self) -> None:
        while not self._is_stopped.is_set():
            task = self._tasks.get()
            try:
                task()
            except DsmanagerError as error:
                hint = f" ({error.hint})" if error.hint else ""
                self.notices.append(Notice(f"{error.message}{hint}", is_error=True))
            except OSError as error:
                self.notices.append(Notice(str(error), is_error=True))
            self._sample_now.set()

    def _sample_jobs(self) -> None:
        before: tuple[Job, ...] | None = None
        while not self._is_stopped.is_set():
            with suppress(OSError, DsmanagerError):
                jobs = tuple(self._jobs.all())
                if jobs != before:
                    self.jobs = jobs
                    self.jobs_version += 1
                    if before is not None:
                        self._after_jobs(before, jobs)
                    before = jobs
            is_busy = any(job.is_active for job in before or ())
            self._sample_now.wait(_SAMPLE_S if is_busy else _IDLE_SAMPLE_S)
            self._sample_now.clear()

    def _after_jobs(self, before: tuple[Job, ...], jobs: tuple[Job, ...]) -> None:
        """Looks again at what jobs that have just ended may have changed."""
        had_ended = {job.id for job in before if not job.is_active}
        ended = [job for job in jobs if not job.is_active and job.id not in had_ended]
        if any(job.kind in _REMOTE_VERBS for job in ended):
            self.look_at_remote()
        elif ended:
            self.look()

    def _remote_of_settings(self) -> None:
        try:
            config = self.settings.current_remote()
            self.remote = RemoteLook(config.name) if config else None
        except DsmanagerError as error:
            self.remote = RemoteLook(self.settings.remote or "", error=error.message)

    def _read_snapshot(self) -> None:
        known = read_snapshot(snapshot_path(self.settings))
        rows = [Row(raw) for raw in known.rows]
        self._known = {row.ref: row for row in rows}
        self.rows = tuple(rows)
        if self.remote is not None:
            self.remote = replace(self.remote, looked_at_s=known.remote_at)
        gc.freeze()  # what is known at the start stays: collections need not walk it

    def _start_surveyor(self) -> None:
        old, self._surveyor = self._surveyor, None
        if old is not None:
            old.kill()
        process = subprocess.Popen(
            [sys.executable, "-m", "dsmanager.screens.surveyor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and a lost terminal are this process's to handle
        )
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(pickle.dumps(self.settings))
            process.stdin.flush()
        self._surveyor = process
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def _command(self, words: bytes) -> None:
        process = self._surveyor
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                os.write(process.stdin.fileno(), words)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Takes in what the surveying process tells, as long as it lives."""
        assert process.stdout is not None
        news: dict[str, Row] = {}
        gone: set[str] = set()
        is_first = True
        for line in process.stdout:
            if self._surveyor is not process:
                return
            message = json.loads(line)
            news |= {row.ref: row for row in map(Row, message.get("rows", ()))}
            gone.update(message.get("gone", ()))
            if "rows" in message:
                time.sleep(0.002)  # a key that was pressed meanwhile comes first
                continue
            if is_first and message.get("local", {}).get("is_whole"):
                gone |= self._known.keys() - news.keys()  # the first look tells all there is
                is_first = False
            if "local" in message or "remote" in message:
                self._take(news, gone)
                self._take_status(message)
                news, gone = {}, set()
        process.wait()
        if self._surveyor is process and not self._is_stopped.is_set():
            self.notices.append(Notice("nobody looks at the disk any more", is_error=True))

    def _take(self, news: Mapping[str, Row], gone: set[str]) -> None:
        """Puts new rows in place; rows that are as they were stay the same objects."""
        known = self._known
        changed = {
            ref: row for ref, row in news.items() if ref not in known or known[ref].raw != row.raw
        }
        gone = {ref for ref in gone if ref in known and ref not in news}
        if not changed and not gone:
            return
        is_same_order = not gone and all(ref in known for ref in changed)
        known = {**known, **changed}
        for ref in gone:
            del known[ref]
        rows = [known[row.ref] for row in self.rows] if is_same_order else list(known.values())
        if not is_same_order:
            rows.sort(key=lambda row: row.sort_key)
        self._known = known
        self.rows = tuple(rows)
        self.rows_version += 1

    def _take_status(self, message: Mapping[str, Any]) -> None:
        if local := message.get("local"):
            self.local_errors = tuple(error["message"] for error in local["errors"])
            self.is_looking = False
        if (remote := message.get("remote")) and self.remote is not None:
            error = remote.get("error") or {}
            is_looking = remote["looking"]
            self.remote = replace(
                self.remote,
                looked_at_s=remote["at"],
                is_looking=is_looking,
                error=self.remote.error if is_looking else error.get("message"),
                hint=self.remote.hint if is_looking else error.get("hint"),
            )

    def _warm(self) -> None:
        """Makes the presences that filters will ask for, a few at a time."""
        version = -1
        while not self._is_stopped.wait(0.3):
            if version == self.rows_version and version >= 0:
                continue
            version, rows = self.rows_version, self.rows
            for start in range(0, len(rows), _WARM_ROWS):
                for row in rows[start : start + _WARM_ROWS]:
                    _ = row.presence
                time.sleep(0.002)
            gc.freeze()  # 10,000 presences are not worth a pause at a key
