"""Starting the process of a job, so that nothing of its starter's end reaches it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping
from pathlib import Path

from dsmanager.errors import UsageError, os_errors
from dsmanager.jobs import liveness
from dsmanager.jobs.job import LOG
from dsmanager.jobs.request import JobRequest

__all__ = ["start_process"]

_MODULE = "dsmanager.cli.job"


def start_process(folder: Path, request: JobRequest, lock: int) -> None:
    """Starts the job of ``folder``, which inherits ``lock``, in a session of its own.

    No terminal is left to it, no input, and no descriptor of this process but the lock.
    """
    if not os.path.isdir(request.working_dir):
        raise UsageError(
            f"the folder {request.working_dir} in which the job was asked for is gone",
            hint="give the command again, with --detach, elsewhere; see: dsmanager jobs",
        )
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os_errors("start a job"):
        log = os.open(folder / LOG, flags, 0o600)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(folder.absolute()), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=request.working_dir,
                env=_environment(request.environment_of(os.environ)),
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(log)
    liveness.write_pid(lock, process.pid)
    # It is nobody's child once this process has ended; until then somebody has to see it end.
    threading.Thread(target=process.wait, name=f"job {process.pid}", daemon=True).start()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """With this very package on the path, wherever it came from."""
    code = str(Path(__file__).absolute().parents[2])
    given = environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [os.path.abspath(entry) for entry in given if entry]
    if code not in (*paths, sysconfig.get_path("purelib")):
        paths.append(code)
    return {**environ, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}
