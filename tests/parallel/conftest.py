"""A real Dask cluster: a scheduler and workers, each a process of its own, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class DaskCluster:
    """Without workers at first; its processes end with :meth:`close`, whatever happened.

    A task may lose one worker, not two.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def start_scheduler(self) -> None:
        file = self._folder / "scheduler.json"
        once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        scheduler = self._start("scheduler", "--scheduler-file", str(file), "--port", "0", **once)
        end = time.monotonic() + 120
        while not (file.exists() and file.stat().st_size):  # it is not written in one go
            assert scheduler.poll() is None, self.log("scheduler")
            assert time.monotonic() < end, self.log("scheduler")
            time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        local = self._folder / f"worker-{len(self._processes)}"
        return self._start(
            "worker",
            self.address,
            "--no-nanny",
            "--nthreads=1",
            f"--local-directory={local}",
            **environment,
        )

    def log(self, name: str) -> str:
        return "".join(path.read_text() for path in self._folder.glob(f"{name}-*.log"))

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments]
        with open(self._folder / f"{name}-{len(self._processes)}.log", "wb") as log:
            process = subprocess.Popen(
                [*command, "--host=127.0.0.1", "--no-dashboard"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=os.environ | environment,
            )
        self._processes.append(process)
        return process


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    folder = tmp_path / "dask"
    folder.mkdir()
    cluster = DaskCluster(folder)
    try:
        cluster.start_scheduler()
        yield cluster
    finally:
        cluster.close()
