"""The process of a job: ``python -m dsmanager.cli.job FOLDER LOCK``; front ends start it.

Does what the command does, in its turn, and writes down how far it is and how it ended. ``LOCK`` is
the descriptor of the lock that it inherits. A request to cancel ends in a clean place; any other
end, such as a shutdown, leaves what can be resumed, and no result: the job is lost, and can be
tried again.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from dsmanager.cli.context import Context
    from dsmanager.jobs.recording import Recorder
    from dsmanager.jobs.request import JobRequest
    from dsmanager.progress import Snapshot

__all__ = ["main"]

_TRANSFERS = ("upload", "download", "sync")


def main(arguments: list[str]) -> int:
    """Runs the job of a folder; returns the exit code of its command."""
    # Asked to stop before it can stop well: the request stands in the folder, and is read there.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # no terminal is its own
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    import os
    from pathlib import Path

    from dsmanager.jobs import liveness
    from dsmanager.jobs.job import read_table
    from dsmanager.jobs.recording import flush
    from dsmanager.jobs.request import REQUEST, JobRequest

    folder, lock = Path(arguments[0]), int(arguments[1])
    liveness.keep_from_children(lock)
    liveness.write_pid(lock, os.getpid())
    request = JobRequest.from_json(read_table(folder / REQUEST))
    if request is None:
        sys.stderr.write("error: what this job was asked to do cannot be read\n")
        return 1
    for path in (folder / REQUEST, folder):  # its starter did not wait for the disk
        flush(path)
    return _run(folder, request)


def _run(folder: Path, request: JobRequest) -> int:
    from dsmanager.cli.context import Context
    from dsmanager.cli.output import Output
    from dsmanager.errors import CancelledError, ExitCode
    from dsmanager.jobs.job import CANCEL
    from dsmanager.jobs.recording import Recorder

    recorder = Recorder(folder)
    watcher = _Watcher(recorder)
    context = Context(output=Output(command=request.verb), watcher=watcher)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        if (folder / CANCEL).exists():
            raise KeyboardInterrupt
        code = _in_turn(folder, request, recorder, context)
    except KeyboardInterrupt:
        code = ExitCode.CANCELLED
        context.output.error(CancelledError("cancelled"))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # what follows is short
    is_cancelled = code == ExitCode.CANCELLED and (folder / CANCEL).exists()
    if code == ExitCode.CANCELLED and not is_cancelled:
        return code
    if is_cancelled:
        _clean_up(context, watcher.begun)
    recorder.finish(code, context.output.envelope(), cancelled=is_cancelled)
    return code


def _in_turn(folder: Path, request: JobRequest, recorder: Recorder, context: Context) -> int:
    """Waits for a slot, and runs the command."""
    import time

    from dsmanager.cli.main import main as program
    from dsmanager.errors import DsmanagerError
    from dsmanager.jobs.registry import Jobs
    from dsmanager.jobs.slots import turn
    from dsmanager.settings import Settings

    try:
        count = Settings.load().job_slots[request.slot]
    except DsmanagerError:  # the command will say so
        count = 1
    recorder.queued("waiting for a free slot")
    with turn(Jobs(folder.parents[1]), int(folder.name), request.slot, count, time.sleep):
        recorder.started()
        return program(request.command, context=context)


def _clean_up(context: Context, labels: list[str]) -> None:
    """Removes what an interrupted transfer keeps to be resumed: nobody wants that now."""
    from dsmanager.errors import DsmanagerError, from_os_error
    from dsmanager.library.abandoning import abandon
    from dsmanager.refs import Ref

    for label in labels if context.verb in _TRANSFERS else ():
        try:
            abandon(context.library, Ref.parse(label), is_sent=context.verb != "download")
        except DsmanagerError as error:
            context.output.error(error)
        except OSError as error:
            context.output.error(from_os_error(error, f"clean up after {label}"))


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Watcher:
    """Passes the counters on, and remembers what was worked on."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.begun: list[str] = []

    def begins(self, label: str) -> None:
        if label not in self.begun:
            self.begun.append(label)

    def sample(self, label: str, snapshot: Snapshot, waiting: str = "") -> None:
        self._recorder.sample(label, snapshot, waiting)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
