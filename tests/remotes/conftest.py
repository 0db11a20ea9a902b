"""Stores, and a server of our own that answers what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig


@pytest.fixture(params=["seaweedfs", "rclone"])
def store(request: pytest.FixtureRequest) -> Iterator[Remote]:
    """An empty remote on each of the real servers in turn."""
    with Remote(request.getfixturevalue(request.param).config()) as remote:
        yield remote


@pytest.fixture
def remote(remote_config: RemoteConfig) -> Iterator[Remote]:
    """An empty remote on the embedded server."""
    with Remote(remote_config) as remote:
        yield remote


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def signed(self) -> bool:
        return "authorization" in self.headers


@dataclass(frozen=True)
class Answer:
    status: int
    """0 closes the connection without an answer."""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    """The Content-Length to announce, where it is not that of the body."""


class ScriptedServer:
    """Answers what ``script`` says and remembers what it was asked."""

    def __init__(self) -> None:
        self.script: Callable[[Request], Answer] = lambda request: Answer(404)
        self.requests: list[Request] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                headers = {key.lower(): value for key, value in self.headers.items()}
                request = Request(self.command, parts.path, query, headers, self.rfile.read(length))
                outer.requests.append(request)
                answer = outer.script(request)
                if not answer.status:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for key, value in answer.headers.items():
                    self.send_header(key, value)
                if "Content-Length" not in answer.headers:
                    size = len(answer.body) if answer.length is None else answer.length
                    self.send_header("Content-Length", str(size))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                if answer.length is not None:
                    self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that leaves early is none."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def config(self, **settings: Any) -> RemoteConfig:
        endpoint = f"http://127.0.0.1:{self.port}"
        return RemoteConfig(name="scripted", url="s3://bkt/p", endpoint_url=endpoint, **settings)

    def refuse(self, code: str, status: int, message: str = "no") -> None:
        """Every request is answered with this S3 error; HEAD without a body, as ever."""
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.script = lambda request: Answer(status, body)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETTEST")
    with closing(ScriptedServer()) as server:
        yield server


@pytest.fixture(name="answer")
def _answer() -> type[Answer]:
    return Answer
