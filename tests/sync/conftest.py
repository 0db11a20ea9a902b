"""Small version folders written by hand, libraries on them, and a proxy that counts requests."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from harness.processes import Zygote

from dsmanager.library.library import Library
from dsmanager.library.removal import plan_removal, remove
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.refs import Ref
from dsmanager.settings import RemoteConfig, Settings, add_remote

FEATURE = "tensorflow_datasets.core.features"
FEATURES = {
    "pythonClassName": f"{FEATURE}.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "n": {
                "pythonClassName": f"{FEATURE}.tensor_feature.Tensor",
                "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
            }
        }
    },
}


def build(data_dir: Path, ref: str, *, records: int = 3, salt: int = 0, padding: int = 0) -> Path:
    """Writes a version folder: one split of integers; ``padding`` bytes that do not compress."""
    parsed = Ref.parse(ref)
    folder = data_dir / parsed.subdir
    folder.mkdir(parents=True)
    split = {"name": "train", "shardLengths": [str(records)], "numBytes": "10"}
    info = {"name": parsed.name, "version": parsed.version, "fileFormat": "tfrecord"}
    (folder / "dataset_info.json").write_text(json.dumps(info | {"splits": [split]}))
    (folder / "features.json").write_text(json.dumps(FEATURES))
    with TFRecordWriter(folder / f"{parsed.name}-train.tfrecord-00000-of-00001") as writer:
        for number in range(records):
            value = bytes([0x1A, 3, 0x0A, 1, (number + salt) % 128])
            entry = b"\x0a\x01n\x12" + bytes([len(value)]) + value
            message = b"\x0a" + bytes([len(entry)]) + entry
            writer.write(b"\x0a" + bytes([len(message)]) + message)
    if padding:
        (folder / "padding.bin").write_bytes(os.urandom(padding))
    return folder


def flip_a_byte(path: Path, at: int | None = None) -> None:
    """Damages a file in place: size, mtime and inode stay."""
    status = path.stat()
    at = status.st_size // 2 if at is None else at
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 0x55]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@dataclass
class Machine:
    """One data dir with its settings and state; ``run`` and ``start`` are real processes."""

    root: Path
    zygote: Zygote
    remote: RemoteConfig | None = None

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def manifest(self) -> Path:
        return self.data_dir / "datasets.json"

    @property
    def library(self) -> Library:
        remotes = {self.remote.name: self.remote} if self.remote else {}
        settings = Settings(
            data_dir=self.data_dir,
            state_dir=self.root / "state",
            config_file=self.root / "config.toml",
            manifest=self.manifest,
            remotes=remotes,
            working_dir=self.root,
        )
        return Library(settings=settings)

    def archive(self, ref: str) -> Path:
        return self.library.cached_path(Ref.parse(ref))

    def drop(self, ref: str, *places: str) -> None:
        for thing in plan_removal(self.library, [ref], places):
            remove(self.library, thing, progress=Progress(), cancel=CancelToken())

    def use(self, remote: RemoteConfig | None) -> None:
        self.remote = remote
        if remote is not None:
            add_remote(self.root / "config.toml", remote, make_current=True)

    def leftovers(self) -> list[str]:
        return [
            str(path.relative_to(self.data_dir))
            for path in self.data_dir.rglob("*")
            if path.name.endswith((".tmp", ".lock"))
        ]

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Content and mtime of every file of the data dir."""
        return {
            str(path.relative_to(self.data_dir)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(self.data_dir.rglob("*"))
            if path.is_file()
        }

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "DSMANAGER_CONFIG": str(self.root / "config.toml"),
            "DSMANAGER_STATE_DIR": str(self.root / "state"),
            "DSMANAGER_DATA_DIR": str(self.data_dir),
            "HOME": str(self.root),
        }
        return {**os.environ, **own}

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dsmanager", *arguments],
            env=self.environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            **more,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Runs dsmanager and checks its exit code; returns stdout and stderr."""
        ended = self.zygote.run(self, *arguments)
        assert ended.code == code, ended
        return ended.stdout, ended.stderr

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return json.loads(self.run("--json", *arguments, code=code)[0])


@pytest.fixture(name="build")
def _build() -> Callable[..., Path]:
    return build


@pytest.fixture(name="flip_a_byte")
def _flip_a_byte() -> Callable[..., None]:
    return flip_a_byte


@pytest.fixture
def new_machine(
    tmp_path: Path, remote_config: RemoteConfig, zygote: Zygote
) -> Callable[..., Machine]:
    """Makes machines; all of a test share one empty remote."""

    def make(name: str, remote: RemoteConfig | None = remote_config) -> Machine:
        root = tmp_path / name
        (root / "data").mkdir(parents=True)
        machine = Machine(root, zygote)
        machine.use(remote)
        return machine

    return make


@pytest.fixture
def machine(new_machine: Callable[..., Machine]) -> Machine:
    return new_machine("machine")


@pytest.fixture
def publish(new_machine: Callable[..., Machine]) -> Callable[..., Machine]:
    """Builds, packs, records and uploads refs on a machine named ``team``; returns it."""

    def run(*refs: str, **more: Any) -> Machine:
        team = new_machine("team")
        for ref in refs:
            build(team.data_dir, ref, **more)
            team.library.publish(ref)
        return team

    return run


@dataclass
class CountingProxy:
    """Passes requests on to a real server, counts them, and can hold downloads up."""

    endpoint_url: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of each."""
    most_bytes: int | None = None
    """How much of the body of one answer passes before the gate is waited for."""
    gate: threading.Event = field(default_factory=threading.Event)

    def config(self, behind: RemoteConfig) -> RemoteConfig:
        return replace(behind, endpoint_url=self.endpoint_url)

    def methods(self) -> set[str]:
        """``LIST`` for listings, else the method."""
        return {
            "LIST" if method == "GET" and "list-type=2" in path else method
            for method, path in self.requests
        }


@pytest.fixture
def proxy(seaweedfs: Any) -> Iterator[CountingProxy]:
    target = urlsplit(seaweedfs.endpoint_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            counting.requests.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection(target.hostname or "", target.port)
            try:
                headers = dict(self.headers.items())  # Host too: it is part of the signature
                upstream.request(self.command, self.path, body or None, headers)
                answer = upstream.getresponse()
                self._answer(answer.status, answer.headers, answer.read())
            finally:
                upstream.close()

        def _answer(self, status: int, headers: Any, content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") or str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            first = len(content) if counting.most_bytes is None else counting.most_bytes
            self.wfile.write(content[:first])
            if content[first:]:
                self.wfile.flush()
                counting.gate.wait(60)
                self.wfile.write(content[first:])

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

        def handle(self) -> None:
            with suppress(OSError):  # whoever asked has gone
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    counting = CountingProxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield counting
    counting.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()
