"""Answers of web servers and of AIStore's gateway: a size, a version and bytes, or a clear error.

The answers are bytes in the socket that the client asks through, one for each connection.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import urllib3.util.connection

from dsmanager.errors import CredentialsError, DsmanagerError, NotFoundError, TemporaryError
from dsmanager.ingest import web
from dsmanager.ingest.aistore import chunks, look
from dsmanager.progress import CancelToken, Progress
from fuzz.checks import refusing_with
from fuzz.structure import Script

URL = "ais://bucket/train-0.tar"
ACCESS = {"endpoint": "http://gateway.invalid:51080", "via": "s3"}
NEXT = b"\n--next--\n"
_PATIENCE_S = 2.0

_STATUS = (b"200 OK", b"206 Partial Content", b"302 Found", b"307 T", b"404 N", b"403 F", b"416 R")
_STATUS += (
    b"405 M",
    b"500 x",
    b"429 x",
    b"204 N",
    b"304 N",
    b"100 C",
    b"401 \x1b[31m",
    b"999",
    b"x",
)
_NAMES = (b"Content-Length", b"ETag", b"Location", b"Content-Range", b"Transfer-Encoding")
_NAMES += (b"Last-Modified", b"Content-Encoding", b"Connection", b"Set-Cookie", b"\xff", b"")
_VALUES = (b"0", b"3", b"10", b"\xb2", b"-1", b"9" * 30, b"9" * 5000, b"3, 4", b'"a"', b'W/"a"')
_VALUES += (
    b"http://[",
    b"\xff\xfe",
    b"/other",
    b"//",
    b"gopher://x",
    b"http://\xe9/",
    b"http://a:b/",
)
_VALUES += (b"bytes 3-9/10", b"bytes 2-", b"\xb3", b"chunked", b"gzip", b"close", b"a=b", b"")
_BODIES = (b"abc", b"", b"3\r\nabc\r\n0\r\n\r\n", b"-5\r\nabc", b"fffffffffff\r\nabc", b"x\r\n")
_BODIES += (b"abcdefghij", b"defghij", b"1;" + b"x" * 70000)


class _Network:
    """Takes the place of connecting: each connection finds its answer waiting."""

    def __init__(self) -> None:
        self._answers: list[bytes] = []
        self._ends: list[socket.socket] = []
        urllib3.util.connection.create_connection = self._connect  # type: ignore[assignment]

    def answer(self, answers: list[bytes]) -> None:
        for end in self._ends:
            end.close()
        self._ends = []
        self._answers = list(answers)
        web.PATIENCE_S, web._FIRST_PAUSE_S = _PATIENCE_S, 0.0

    def _connect(self, *_: Any, **__: Any) -> socket.socket:
        if not self._answers:
            web.PATIENCE_S = -1.0  # nobody waits for more
            raise ConnectionRefusedError("nobody listens")
        ours, theirs = socket.socketpair()
        self._ends += [ours, theirs]
        theirs.setblocking(False)
        theirs.send(self._answers.pop(0)[:100_000])
        theirs.shutdown(socket.SHUT_WR)
        return ours


def run(data: bytes) -> None:
    """Answers as they are, divided by ``NEXT``, or a script of them."""
    answers = data.split(NEXT, 8) if data.startswith(b"HTTP/") else _answers(Script(data))
    connect = urllib3.util.connection.create_connection
    before = web.PATIENCE_S, web._FIRST_PAUSE_S
    network = _Network()
    kinds = (TemporaryError, NotFoundError, CredentialsError, DsmanagerError)
    try:
        network.answer(answers)
        with refusing_with(*kinds):
            size_bytes, version, _ = look(URL, ACCESS, CancelToken())
            assert size_bytes is None or size_bytes >= 0
            assert "\n" not in version
        network.answer(answers)
        version = '"a"' if len(data) % 4 else ""
        progress, taken = Progress(), 0
        with (
            refusing_with(*kinds),
            closing(chunks(URL, ACCESS, version, progress, CancelToken())) as arriving,
        ):
            for chunk in arriving:
                assert chunk
                taken += len(chunk)
                assert taken == progress.snapshot().bytes_done
        assert taken <= sum(map(len, answers))
    finally:
        network.answer([])
        urllib3.util.connection.create_connection = connect
        web.PATIENCE_S, web._FIRST_PAUSE_S = before


def _answers(script: Script) -> list[bytes]:
    answers = []
    while script and len(answers) < 6:
        lines = [b"HTTP/1.1 " + script.pick(_STATUS)]
        headers = range(script.byte() % 5)
        lines += [script.pick(_NAMES) + b": " + script.pick(_VALUES) for _ in headers]
        answers.append(b"\r\n".join(lines) + b"\r\n\r\n" + script.pick(_BODIES))
    return answers


def seeds() -> Iterator[tuple[str, bytes]]:
    def answer(status: bytes, *headers: bytes, body: bytes = b"") -> bytes:
        return b"\r\n".join([b"HTTP/1.1 " + status, *headers]) + b"\r\n\r\n" + body

    whole = answer(b"200 OK", b"Content-Length: 10", b'ETag: "a"', body=b"abcdefghij")
    cut = answer(b"200 OK", b"Content-Length: 10", b'ETag: "a"', body=b"abc")
    rest = answer(
        *(b"206 P", b"Content-Length: 7", b'ETag: "a"', b"Content-Range: bytes 3-9/10"),
        body=b"defghij",
    )
    yield "whole", whole
    yield "broken-and-the-rest", NEXT.join([cut, rest])
    yield "broken-and-all-again", NEXT.join([cut, whole])
    yield "broken-for-good", cut
    there = answer(b"307 T", b"Location: http://target.invalid/x", b"Content-Length: 0")
    yield "redirected", NEXT.join([there, whole])
    yield "in-circles", NEXT.join([there] * 8)
    for name, place in (
        ("brackets", b"http://["),
        ("bytes", b"\xff\xfe"),
        ("port", b"http://a:b/"),
    ):
        yield f"redirected-to-{name}", answer(b"302 F", b"Location: " + place)
    yield "odd-length", answer(b"200 OK", b"Content-Length: \xb2", body=b"abc")
    yield "long-length", answer(b"200 OK", b"Content-Length: " + b"9" * 5000, body=b"abc")
    chunked = b"Transfer-Encoding: chunked"
    yield "chunked", answer(b"200 OK", chunked, body=b"3\r\nabc\r\n0\r\n\r\n")
    yield "negative-chunk", answer(b"200 OK", chunked, body=b"-5\r\nabc")
    yield "other-start", NEXT.join([cut, rest.replace(b"bytes 3", b"bytes 2")])
    yield "forbidden", answer(b"403 \x1b[31mno", b"Content-Length: 0")
    yield "no-http", b"HTTP/x"
    yield "script", bytes([0, 2, 0, 2, 1, 8, 0, 1, 3, 0, 1, 1, 8, 3, 17, 7])
