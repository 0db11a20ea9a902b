"""An HTTP server of objects: ranges, ETags, redirects to a second address, and breaks on demand.

Answers as a web server does, and below ``/s3`` and ``/v1/objects`` as the documented APIs of
AIStore do: the gateway redirects (307) to the target that has the object, with its own query.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class ObjectServer:
    """``objects`` by path, such as ``/train-0.tar``; of AIStore by ``/bucket/key``."""

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers of each."""
    break_after: list[int] = field(default_factory=list)
    """Of the next answers each ends early after so many bytes."""
    has_ranges: bool = True
    has_etags: bool = True
    fails: list[int] = field(default_factory=list)
    """Status codes of the next answers."""
    token: str = ""
    """Where there is one, requests to AIStore have to carry it."""
    port: int = 0
    target_port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, method: str) -> list[str]:
        return [path for verb, path, _ in self.requests if verb == method]


@contextmanager
def serving() -> Iterator[ObjectServer]:
    """One gateway and one target, on free ports of loopback."""
    shared = ObjectServer()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(shared, each)) for each in (0, 1)]
    shared.port, shared.target_port = (server.server_address[1] for server in servers)
    threads = [threading.Thread(target=each.serve_forever, args=(0.02,)) for each in servers]
    for thread in threads:
        thread.start()
    try:
        yield shared
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def _handler(shared: ObjectServer, number: int) -> type[BaseHTTPRequestHandler]:
    is_target = number == 1

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            shared.requests.append((self.command, path, dict(self.headers)))
            if shared.fails:
                self._answer(shared.fails.pop(0))
                return
            for api in ("/s3", "/v1/objects"):
                if path.startswith(f"{api}/"):
                    self._aistore(api, path.removeprefix(api))
                    return
            self._object(path, shared.objects.get(path))

        do_HEAD = do_GET  # noqa: N815

        def _aistore(self, api: str, place: str) -> None:
            if (
                shared.token
                and not is_target
                and self.headers.get("Authorization") != f"Bearer {shared.token}"
            ):
                self._answer(401)
            elif is_target or self.command == "HEAD":
                self._object(place, shared.objects.get(place), aistore=api == "/v1/objects")
            else:
                there = f"http://127.0.0.1:{shared.target_port}{self.path}"
                query = "&" if "?" in there else "?"
                self._answer(307, {"Location": f"{there}{query}pid=p1&utm=1"})

        def _object(self, path: str, content: bytes | None, *, aistore: bool = False) -> None:
            if content is None:
                message = {"status": 404, "message": f'object "{path}" does not exist'}
                self._answer(404, body=json.dumps(message).encode())
                return
            digest = hashlib.md5(content).hexdigest()
            headers = {"ETag": f'"{digest}"'} if shared.has_etags else {}
            if aistore:
                headers |= {"ais-checksum-type": "md5", "ais-checksum-value": digest}
            start, status = 0, 200
            asked = self.headers.get("Range", "")
            condition = self.headers.get("If-Range", headers.get("ETag"))
            if asked and shared.has_ranges and condition == headers.get("ETag"):
                start, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
                last = len(content) - 1
                headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
            self._answer(status, headers, content[start:])

        def _answer(
            self, status: int, headers: dict[str, str] | None = None, body: bytes = b""
        ) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if shared.break_after and status in (200, 206):
                body = body[: shared.break_after.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
