"""The embedded server, whose start is killed: it comes up again, once, with its data."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.goodness import Findings
from harness.machine import Machine, new_machine
from harness.processes import KILLED, Ended, Zygote


def serve_killed(zygote: Zygote, root: Path, **kill: Any) -> Findings:
    """Kills ``remote serve`` while it starts a server that has data from an earlier life."""
    machine = new_machine(root)
    data = root / "server data"
    serve = ("remote", "serve", "local", "--dir", str(data))
    findings = Findings()
    try:
        _require(zygote.run(machine, *serve))
        before = _put_object(machine)
        _require(zygote.run(machine, "remote", "serve", "local", "--stop"))
        ended = zygote.run(machine, *serve, **kill)
        findings.tries += int(ended.code == KILLED)
        what = f"remote serve killed {kill}"
        again = zygote.run(machine, *serve)
        if again.code:
            findings.failed.append(f"{what}: the next start ended with {again.code} {again.stderr}")
        elif _get_object(machine) != before:
            findings.lost.append(f"{what}: an object")
        _require(zygote.run(machine, "remote", "serve", "local", "--stop"))
        findings.left += [f"{what}: process {pid}" for pid in _servers_of(data)]
    finally:
        for pid in _servers_of(data):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(root, ignore_errors=True)
    return findings


def _require(ended: Ended) -> None:
    assert ended.code == 0, ended.stderr


def _put_object(machine: Machine) -> bytes:
    content = os.urandom(1000)
    machine.library.remote.upload_bytes(content, "kept.json")
    return content


def _get_object(machine: Machine) -> bytes | None:
    return machine.library.remote.read_bytes("kept.json", max_bytes=10_000)


def _servers_of(data: Path) -> list[int]:
    """Processes that serve this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"-dir={data}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
