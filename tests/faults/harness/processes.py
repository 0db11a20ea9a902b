"""Processes of dsmanager that are cheap to start: what the drivers of experiments use.

Each is a fork of one process that has imported everything; see :mod:`harness.zygote`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.machine import Machine, new_machine

GIVE_UP_S = 120.0
KILLED = -9


@dataclass(frozen=True)
class Running:
    pid: int
    out: Path
    started_s: float
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """``code`` is negative for a signal; ``changes`` None when it was killed."""

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    changes: int | None
    seconds: float
    hung: bool

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Zygote:
    """Starts processes on machines. A context manager; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(
        self,
        machine: Machine,
        *arguments: str,
        kill_at: int = 0,
        kill_after: str = "",
        settings: Mapping[str, Any] | None = None,
        clock_offset_s: float = 0,
    ) -> Running:
        """Starts one; ``settings`` are constants of modules, as ``module:NAME``."""
        out = machine.root / f"run-{next(self._numbers)}"
        answer = self._ask(
            do="start",
            arguments=arguments,
            environment=machine.environment,
            cwd=str(machine.root),
            out=str(out),
            kill_at=kill_at,
            kill_after=kill_after,
            set=dict(settings or {}),
            clock_offset_s=clock_offset_s,
        )
        return Running(answer["pid"], out, time.monotonic(), arguments)

    def wait(
        self, running: Running, *, kill_after_s: float | None = None, give_up_s: float = GIVE_UP_S
    ) -> Ended:
        """Waits for its end; ``kill_after_s`` from now on it is killed."""
        answer = self._ask(
            do="wait", pid=running.pid, kill_after_s=kill_after_s, give_up_s=give_up_s
        )
        changes = Path(f"{running.out}.changes")
        ended = Ended(
            running.arguments,
            answer["code"],
            _text(Path(f"{running.out}.stdout")),
            _text(Path(f"{running.out}.stderr")),
            int(_text(changes) or 0) or None,  # a killed process may not have come to write it
            time.monotonic() - running.started_s,
            answer["hung"],
        )
        for suffix in ("stdout", "stderr", "changes"):
            Path(f"{running.out}.{suffix}").unlink(missing_ok=True)
        return ended

    def new_machine(self, root: Path) -> ForkingMachine:
        """A machine in a folder that does not exist yet, whose ``run`` imports nothing again."""
        return ForkingMachine(new_machine(root).root, zygote=self)

    def run(self, machine: Machine, *arguments: str, **more: Any) -> Ended:
        kill_after_s = more.pop("kill_after_s", None)
        return self.wait(self.start(machine, *arguments, **more), kill_after_s=kill_after_s)

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


@dataclass
class ForkingMachine(Machine):
    """A machine whose ``run`` is a real process, too, with everything imported when it begins."""

    zygote: Zygote = field(kw_only=True)

    def run(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        ended = self.zygote.run(self, *arguments)
        done = subprocess.CompletedProcess(arguments, ended.code, ended.stdout, ended.stderr)
        assert not ended.hung, done
        assert code is None or done.returncode == code, done
        return done


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""
