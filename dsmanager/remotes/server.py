"""The embedded S3 server: SeaweedFS on loopback, as a background process that outlives its caller.

Owns ``<state_dir>/servers/<name>/``: credentials made once (0600), configuration, ports, pid and
log. Everything listens on 127.0.0.1, other users are kept out (:mod:`.guard`), and the data stay
where they are when the server stops. Never signals a process that is not the one it started.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.errors import DsmanagerError, UsageError, os_errors
from dsmanager.files import write_json
from dsmanager.locks import locked
from dsmanager.progress import CancelToken
from dsmanager.remotes.guard import write_guard
from dsmanager.remotes.weed import (
    choose_ports,
    command_line,
    command_of,
    find_weed,
    is_listening,
    process_mark,
    sockets_of,
    usable_ports,
)
from dsmanager.settings import RemoteConfig
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["ServerStatus", "start", "status", "statuses", "stop"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_START_WITHIN_S = 30.0
_SETTLE_WITHIN_S = 15.0
_STOP_WITHIN_S = 20.0
_PORTS_FREE_WITHIN_S = 2.0  # the kernel closes sockets a moment after the process is gone
_POLL_S = 0.05
_TRIES = 3
_ENVIRONMENT = ("HOME", "LANG", "PATH", "TMPDIR")
"""All that the server inherits: it would take AWS_ACCESS_KEY_ID as one more administrator."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One embedded server, running or not."""

    name: str
    running: bool
    pid: int | None
    endpoint_url: str | None
    """Where it answers, or answered when it last ran."""
    folder: Path
    """Its data."""
    bucket: str
    credentials_file: Path
    log: Path
    guarded: bool
    """Whether other users of this machine are kept out of all of its ports."""


def start(
    name: str,
    *,
    state_dir: Path,
    folder: Path | None = None,
    bucket: str | None = None,
    cancel: CancelToken | None = None,
) -> ServerStatus:
    """Starts the server ``name``, or returns it when it runs already; waits until it answers.

    A server that was stopped comes back with its data, bucket, credentials and, where they are
    free, its ports. Raises DsmanagerError with the last line of its log when it does not come up.
    """
    cancel = cancel or CancelToken()
    home = _Home(name, state_dir)
    with os_errors("prepare the server's folder"):
        home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(home.path / "start.lock", purpose=f"start server {name}", cancel=cancel):
        current = home.status()
        data = folder.expanduser().absolute() if folder is not None else current.folder
        if current.running:
            if folder is not None and data != current.folder:
                raise UsageError(
                    f"server '{name}' is running on {plain(str(current.folder))}",
                    hint=f"stop it first: dsmanager remote serve {name} --stop",
                )
            if current.pid is not None and not _answers(home, current.pid, cancel):
                raise _not_up(home)
            return current
        for other in statuses(state_dir=state_dir):
            if other.running and other.folder == data:
                raise UsageError(
                    f"server '{other.name}' is running on {plain(str(data))}",
                    hint=f"stop it first: dsmanager remote serve {other.name} --stop",
                )
        weed = find_weed()
        home.end_unknown()
        home.prepare(data)
        return _bring_up(home, weed, data, bucket or current.bucket, cancel)


def stop(name: str, *, state_dir: Path) -> ServerStatus:
    """Stops the server and waits until it is gone; no error when it is not running."""
    home = _Home(name, state_dir)
    home.end_unknown()
    pid = home.running_pid()
    if pid is not None:
        home.end(pid)
    else:
        home.remove_sockets()
    return home.status()


def status(name: str, *, state_dir: Path) -> ServerStatus:
    """What is known of the server ``name``, whether it was ever started or not."""
    return _Home(name, state_dir).status()


def statuses(*, state_dir: Path) -> tuple[ServerStatus, ...]:
    """Every server that was ever started with this state dir, sorted by name."""
    try:
        names = sorted(path.name for path in (state_dir / "servers").iterdir())
    except OSError:
        return ()
    homes = [_Home(name, state_dir) for name in names if _NAME.fullmatch(name)]
    return tuple(home.status() for home in homes if home.state)


class _Home:
    """The folder that describes one server."""

    def __init__(self, name: str, state_dir: Path) -> None:
        if _NAME.fullmatch(name) is None:
            raise UsageError(
                f"'{plain(name)}' is no name for a server: letters, digits, '_', '.' and '-'",
                hint="for example: dsmanager remote serve local",
            )
        self.name = name
        self.path = state_dir.absolute() / "servers" / name
        self.credentials_file = self.path / "credentials.json"
        self.log = self.path / "log.txt"
        self._new_pid = self.path / "new.pid"

    @property
    def state(self) -> dict[str, Any]:
        """The content of ``server.json``; empty when there is none that can be read."""
        try:
            state = json.loads((self.path / "server.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def status(self) -> ServerStatus:
        state, pid = self.state, self.running_pid()
        return ServerStatus(
            name=self.name,
            running=pid is not None,
            pid=pid,
            endpoint_url=state.get("endpoint_url"),
            folder=Path(state.get("folder") or self.path / "data"),
            bucket=str(state.get("bucket") or "datasets"),
            credentials_file=self.credentials_file,
            log=self.log,
            guarded=state.get("guarded") is True,
        )

    def running_pid(self) -> int | None:
        """The pid, when the process of that number is still the one that was started."""
        state = self.state
        pid, mark = state.get("pid"), state.get("process")
        return pid if isinstance(pid, int) and mark and process_mark(pid) == mark else None

    def prepare(self, data: Path) -> None:
        """Makes the folders, the credentials and what SeaweedFS reads at its start."""
        if "," in str(data):
            raise UsageError(
                f"the server cannot use a folder with a comma in its name: {plain(str(data))}",
                hint=f"use another: dsmanager remote serve {self.name} --dir FOLDER",
            )
        with os_errors("prepare the server's folder"):
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.credentials_file.exists():
                self._make_credentials()

    def _make_credentials(self) -> None:
        pair = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_urlsafe(30)}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        credentials = [{"accessKey": pair["access_key"], "secretKey": pair["secret_key"]}]
        identity = {"name": "dsmanager", "credentials": credentials, "actions": actions}
        write_json(self.path / "s3.json", {"identities": [identity]}, mode=0o600)
        write_json(self.credentials_file, pair, mode=0o600)

    def launch(self, weed: Path, data: Path, bucket: str, ports: dict[str, int]) -> int:
        """Starts the process in a session of its own and writes down which one it is."""
        guarded = write_guard(self.path)
        command = command_line(weed, data, self.path / "s3.json", bucket, ports)
        # The shell leaves at once, so that the server is nobody's child and leaves no zombie here,
        # and notes the pid itself, for this process may be killed before it writes the state.
        script = 'log="$1"; new="$2"; shift 2; "$@" </dev/null >"$log" 2>&1 & echo $! | tee "$new"'
        with os_errors("start the S3 server"):
            shell = subprocess.run(
                ["/bin/sh", "-c", script, "sh", str(self.log), str(self._new_pid), *command],
                cwd=self.path,
                env={key: os.environ[key] for key in _ENVIRONMENT if key in os.environ},
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        pid = int(shell.stdout)
        state = {
            "pid": pid,
            "process": process_mark(pid),
            "endpoint_url": f"http://127.0.0.1:{ports['s3']}",
            "folder": str(data),
            "bucket": bucket,
            "ports": ports,
            "guarded": guarded,
        }
        write_json(self.path / "server.json", state, mode=0o600)
        self._new_pid.unlink(missing_ok=True)
        return pid

    def end_unknown(self) -> None:
        """Ends a server whose starter was killed before it wrote down which process it is."""
        try:
            pid = int(self._new_pid.read_text("utf-8"))
        except (OSError, ValueError):
            return
        if f"-s3.config={self.path / 's3.json'}" in command_of(pid):
            self.end(pid)
        self._new_pid.unlink(missing_ok=True)

    def end(self, pid: int) -> None:
        """SIGTERM, and SIGKILL after a while; returns when the process is gone."""
        mark = process_mark(pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if _wait_until(lambda: process_mark(pid) != mark, _STOP_WITHIN_S):
                break
        ports = self.state.get("ports")
        _wait_until(lambda: usable_ports(ports) is not None, _PORTS_FREE_WITHIN_S)
        self.remove_sockets()

    def remove_sockets(self) -> None:
        """What a killed server leaves; ports that others listen on by now are left alone."""
        ports = usable_ports(self.state.get("ports"))
        for path in sockets_of(ports or {}):
            with suppress(OSError):
                path.unlink()

    def last_words(self) -> str:
        """The last line of the log that says something."""
        try:
            lines = self.log.read_text("utf-8", "replace").splitlines()
        except OSError:
            return "its log cannot be read"
        spoken = [line.strip() for line in lines if line.strip()]
        return plain(spoken[-1])[:300] if spoken else "it said nothing"


def _bring_up(
    home: _Home, weed: Path, data: Path, bucket: str, cancel: CancelToken
) -> ServerStatus:
    """Starts it; on other ports when somebody else was quicker on one of them."""
    saved = home.state.get("ports")
    ports = usable_ports(saved) or choose_ports()
    for _ in range(_TRIES):
        pid = home.launch(weed, data, bucket, ports)
        try:
            if _answers(home, pid, cancel):
                return home.status()
        except BaseException:
            home.end(pid)
            raise
        home.end(pid)
        ports = choose_ports()
    raise _not_up(home)


def _not_up(home: _Home) -> DsmanagerError:
    return DsmanagerError(
        f"the S3 server '{home.name}' does not come up: {home.last_words()}",
        hint=f"read its log {home.log}, then: dsmanager remote serve {home.name}",
    )


def _answers(home: _Home, pid: int, cancel: CancelToken) -> bool:
    """Waits until signed requests succeed; False when the server gave up."""
    from dsmanager.remotes.remote import Remote

    current = home.status()
    config = RemoteConfig(
        name=home.name,
        url=f"s3://{current.bucket}/",
        endpoint_url=current.endpoint_url,
        credentials_file=home.credentials_file,
    )
    mark = process_mark(pid)
    port = home.state["ports"]["s3"]

    def tried(step: Callable[[Remote], object]) -> bool:
        cancel.check()
        if not is_listening(port):
            return False
        with Remote(config) as remote:
            try:
                step(remote)
            except DsmanagerError:
                return False
        return True

    def gone() -> bool:
        return process_mark(pid) != mark

    if not _wait_until(lambda: tried(Remote.list) or gone(), _START_WITHIN_S):
        return False
    # It lists before it knows where its data are, sometimes by five seconds. A full disk keeps it
    # from writing, not from serving what it has: this wait may end without success.
    _wait_until(lambda: tried(_write_and_read) or gone(), _SETTLE_WITHIN_S)
    return not gone() and tried(Remote.list)


def _write_and_read(remote: Remote) -> None:
    name = f".dsmanager-start-{secrets.token_hex(4)}"
    remote.upload_bytes(b"started", name)
    remote.read_bytes(name, max_bytes=100)
    remote.delete(name)


def _wait_until(holds: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True
