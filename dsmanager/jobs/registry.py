"""The jobs of one state dir: reading, starting, cancelling, trying again, removing.

There is no daemon: a folder a job is all there is, and every front end reads the same. Nothing here
waits for a job, save the moment that starting a process takes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.errors import DsmanagerError, NotFoundError, UsageError, os_errors
from dsmanager.jobs import liveness
from dsmanager.jobs.job import CANCEL, PROGRESS, RESULT, Job, job_of, read_table
from dsmanager.jobs.process import start_process
from dsmanager.jobs.recording import replace_json
from dsmanager.jobs.request import REQUEST, JobRequest, freeze, now

if TYPE_CHECKING:
    from dsmanager.settings import Settings

__all__ = ["Jobs"]

_KEPT = 200
_LAST = "last"
_AGAIN_AFTER_S = 10.0
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read, and what the files looked like then."""

    job: Job
    request: JobRequest | None
    stamp: object


class Jobs:
    """The registry below ``<state_dir>/jobs``. Safe between threads and between processes."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "jobs"
        self._known: dict[int, _Known] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Job]:
        """Every job, newest first. Reads only what has changed since the last call."""
        ids = self.ids()
        with self._lock:
            jobs = [self._look(job_id) for job_id in ids]
            for gone in set(self._known) - set(ids):
                del self._known[gone]
        # One that was removed since the listing has left nothing to read.
        return [job for job in jobs if job.kind != "?" or job.folder.is_dir()]

    def get(self, job_id: int) -> Job:
        """Raises NotFoundError."""
        if not self.exists(job_id):
            raise NotFoundError(f"there is no job {job_id}", hint="see them: dsmanager jobs")
        with self._lock:
            return self._look(job_id)

    def exists(self, job_id: int) -> bool:
        return job_id > 0 and self._folder(job_id).is_dir()

    def ids(self) -> list[int]:
        """The numbers of all jobs, newest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted((int(name) for name in names if _is_id(name)), reverse=True)

    def start(self, settings: Settings, verb: str, arguments: Sequence[str]) -> Job:
        """Starts ``dsmanager VERB ARGUMENTS…`` as a process of its own, which outlives this one.

        It works on the places of ``settings`` with the credentials of this process. Raises
        UsageError for what can be no job.
        """
        return self._start(freeze(settings, verb, arguments, os.environ))

    def retry(self, job_id: int) -> Job:
        """Starts a job that asks for the same as an ended one, with the caller's credentials."""
        job = self.get(job_id)
        request = JobRequest.from_json(read_table(job.folder / REQUEST))
        if job.is_active:
            raise UsageError(
                f"job {job_id} has not ended yet", hint=f"follow it: dsmanager attach {job_id}"
            )
        if request is None:
            raise UsageError(
                f"nobody can read what job {job_id} was asked to do",
                hint="give the command again, with --detach; jobs are listed by: dsmanager jobs",
            )
        return self._start(request.again(now()))

    def cancel(self, job_id: int) -> Job:
        """Asks a job to stop and to clean up; returns it as it is then, most often cancelling.

        Does not wait. Asked again after a while, it stops without waiting for its work.
        """
        job = self.get(job_id)
        if not job.is_active:
            return job
        marker = job.folder / CANCEL
        if self._ask(marker):
            try:
                liveness.send(job.folder, signal.SIGINT)
            except DsmanagerError:  # nobody will stop because of it
                with suppress(OSError):
                    marker.unlink()
                raise
        return self.get(job_id)

    def remove(self, job_id: int) -> None:
        """Removes the folder of an ended job. Raises UsageError while it is active."""
        job = self.get(job_id)
        if job.is_active:
            raise UsageError(
                f"job {job_id} has not ended yet", hint=f"cancel it: dsmanager cancel {job_id}"
            )
        doomed = files.temporary_path(job.folder)
        if [job_id] == self.ids()[:1] and job_id > self._last_removed():
            files.write_bytes(self.folder / _LAST, f"{job_id}\n".encode(), mode=0o600)
        with os_errors(f"remove job {job_id}"), suppress(FileNotFoundError):
            os.rename(job.folder, doomed)  # at once: half a folder would be a broken job
            files.remove_path(doomed)

    def prune(self, keep: int = _KEPT) -> None:
        """Removes ended jobs beyond the newest ``keep``."""
        for job_id in self.ids()[keep:]:
            with suppress(NotFoundError, UsageError):
                self.remove(job_id)

    def _start(self, request: JobRequest) -> Job:
        """The folder becomes visible whole and with its lock held, by one rename."""
        with _folder_errors():
            files.make_folders(self.folder.parent)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            staged = files.temporary_path(self.folder / "job")
            staged.mkdir(mode=0o700)
            lock = liveness.hold(staged)
            folder = staged
            try:
                replace_json(staged / REQUEST, request.to_json())  # its process flushes it
                folder = self._place(staged)
                start_process(folder, request, lock)
            except BaseException:
                files.remove_path(folder)
                raise
            finally:
                os.close(lock)
        with suppress(OSError):
            self.prune()
        return self.get(int(folder.name))

    def _place(self, staged: Path) -> Path:
        """The next number; the file system decides between two who take it at once."""
        job_id = max([self._last_removed(), *self.ids()[:1]]) + 1
        while True:
            try:
                os.rename(staged, self._folder(job_id))
            except OSError:
                if not self._folder(job_id).exists():
                    raise
                job_id += 1
            else:
                return self._folder(job_id)

    def _last_removed(self) -> int:
        """The highest number that was ever given and is no more; numbers do not come again."""
        with suppress(OSError, ValueError):
            text = (self.folder / _LAST).read_text("ascii").strip()
            return int(text) if _is_id(text) else 0
        return 0

    def _folder(self, job_id: int) -> Path:
        return self.folder / str(job_id)

    def _ask(self, marker: Path) -> bool:
        """Whether a signal is due: at the first time, and again after a while."""
        with os_errors("cancel a job"):
            try:
                os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                with suppress(OSError):
                    return time.time() - marker.stat().st_mtime > _AGAIN_AFTER_S
        return True

    def _look(self, job_id: int) -> Job:
        """The job as its files are now; those of an ended one are not looked at again."""
        known = self._known.get(job_id)
        if known is not None and not known.job.is_active:
            return known.job
        folder = self._folder(job_id)
        # First of all: a process that ends between two looks has written its result before.
        is_alive = liveness.is_alive(folder)
        stamp = (is_alive, *(_stamp(folder / name) for name in (CANCEL, RESULT, PROGRESS)))
        if known is not None and known.stamp == stamp and known.job.pid is not None:
            return known.job
        request = known.request if known else JobRequest.from_json(read_table(folder / REQUEST))
        found = liveness.read_pid(folder)
        job = job_of(
            folder,
            job_id,
            request,
            is_alive=is_alive,
            is_cancelled=stamp[1] is not None,
            pid=found[0] if found else None,
        )
        self._known[job_id] = _Known(job, request, stamp)
        return job


@contextmanager
def _folder_errors() -> Iterator[None]:
    try:
        with os_errors("make a job's folder"):
            yield
    except DsmanagerError as error:
        if isinstance(error.__cause__, OSError):
            error.hint = "use another state dir: DSMANAGER_STATE_DIR=DIR"
        raise


def _is_id(name: str) -> bool:
    return (
        name.isascii()
        and name.isdigit()
        and len(name) <= _MOST_DIGITS
        and name[:1] not in ("", "0")
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
