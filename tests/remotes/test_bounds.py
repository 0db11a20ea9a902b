"""Servers that misbehave: every answer is bounded, and ends in one line."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsmanager.errors import DsmanagerError, ExitCode, TemporaryError
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes import bounds, client
from dsmanager.remotes.objects import RemoteObject
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig

ENTRY = (
    "<Contents><Key>p/{name}</Key><Size>{size}</Size><ETag>e</ETag>"
    "<LastModified>{when}</LastModified></Contents>"
)


def page(
    *names: str, token: str | None = None, size: str = "7", when: str = "2024-01-01T00:00:00Z"
) -> bytes:
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    entries = "".join(ENTRY.format(name=name, size=size, when=when) for name in names)
    truncated = "true" if token else "false"
    return (
        f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{following}{entries}"
        "</ListBucketResult>"
    ).encode()


def refused(remote: Remote, act: Callable[[], object] | None = None) -> DsmanagerError:
    """The error of listing: one line of bounded length."""
    with pytest.raises(DsmanagerError) as caught:
        (act or remote.list)()
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 1000
    return caught.value


def assert_is_not_s3(error: DsmanagerError) -> None:
    assert error.exit_code == ExitCode.FAILED
    assert "does not answer as an S3 server does" in error.message


@pytest.fixture
def remote(scripted: Any) -> Iterator[Remote]:
    with Remote(scripted.config()) as remote:
        yield remote


def test_a_listing_of_endless_pages_ends(
    scripted: Any, answer: Any, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_PAGES", 20)
    count = itertools.count()
    scripted.script = lambda request: answer(200, page(f"a{next(count)}", token=f"t{next(count)}"))
    assert_is_not_s3(refused(remote))
    assert len(scripted.requests) == 21


def test_a_listing_of_endless_entries_ends(
    scripted: Any, answer: Any, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_ENTRIES", 1000)
    count = itertools.count()
    scripted.script = lambda request: answer(
        200, page(*(f"a{next(count)}" for _ in range(100)), token=f"t{next(count)}")
    )
    assert_is_not_s3(refused(remote))
    assert len(scripted.requests) == 11


@pytest.mark.parametrize("names", [(), ("a", "b")], ids=["empty", "the same"])
def test_pages_that_bring_nothing_new_end(
    scripted: Any,
    answer: Any,
    remote: Remote,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
) -> None:
    monkeypatch.setattr(bounds, "MAX_IDLE_PAGES", 10)
    count = itertools.count()
    scripted.script = lambda request: answer(200, page(*names, token=f"t{next(count)}"))
    assert_is_not_s3(refused(remote))
    assert len(scripted.requests) <= bounds.MAX_IDLE_PAGES + 2


def test_a_token_that_comes_back_ends(scripted: Any, answer: Any, remote: Remote) -> None:
    scripted.script = lambda request: answer(200, page("a", token="t"))
    assert_is_not_s3(refused(remote))


def test_a_few_empty_pages_are_read_over(scripted: Any, answer: Any, remote: Remote) -> None:
    pages = [page(token=f"t{number}") for number in range(9)] + [page("a")]
    scripted.script = lambda request: answer(200, pages.pop(0))
    assert [each.name for each in remote.list()] == ["a"]


def test_lists_of_uploads_and_parts_end_too() -> None:
    for entries, key in (("Uploads", "UploadId"), ("Parts", "PartNumber")):
        endless = ({entries: [{key: 1}]} for _ in itertools.count())
        with pytest.raises(bounds.UnboundedError, match="without end"):
            list(bounds.bounded_pages(endless, entries=entries, key=key))


def test_xml_that_nests_too_deep_is_refused(scripted: Any, answer: Any, remote: Remote) -> None:
    for body in (b"<a>" * 100_000, b"<a>" * 1000 + b"</a>" * 1000, b"<a>" + b"<b/>" * 200_000):
        scripted.script = lambda request, body=body: answer(200, body)
        assert_is_not_s3(refused(remote))
        scripted.script = lambda request, body=body: answer(400, body)
        refused(remote)


@pytest.mark.parametrize("when", ["never", "99999-01-01T00:00:00Z", "9" * 5000, "-1e999"])
def test_a_timestamp_that_is_none_is_refused(
    scripted: Any, answer: Any, remote: Remote, when: str
) -> None:
    scripted.script = lambda request: answer(200, page("a", when=when))
    assert_is_not_s3(refused(remote))
    scripted.script = lambda request: answer(200, headers={"ETag": '"e"', "Last-Modified": when})
    assert_is_not_s3(refused(remote, lambda: remote.head("a")))


@pytest.mark.parametrize("size", ["9" * 5000, "9" * 4000, "-1", "x", "1e9", "٣"])
def test_a_size_that_is_none_is_refused(
    scripted: Any, answer: Any, remote: Remote, size: str
) -> None:
    scripted.script = lambda request: answer(200, page("a", size=size))
    assert_is_not_s3(refused(remote))
    if size.isascii():
        headers = {"ETag": '"e"', "Content-Length": size}
        scripted.script = lambda request: answer(200, headers=headers)
        refused(remote, lambda: remote.head("a"))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text("abc/%&lt;", max_size=9),
    size=st.text(max_size=9) | st.text("0123456789", max_size=40),
    when=st.text(max_size=9) | st.datetimes().map(str),
)
def test_any_entry_is_listed_or_refused_in_one_line(
    scripted: Any, answer: Any, remote: Remote, name: str, size: str, when: str
) -> None:
    from xml.sax.saxutils import escape

    body = page(escape(name), size=escape(size), when=escape(when)).decode()
    scripted.script = lambda request: answer(200, body.encode("utf-8", "replace"))
    try:
        found = remote.list()
    except DsmanagerError:
        refused(remote)
    else:
        assert all(0 <= each.size < 10**18 for each in found)


class Trickle:
    """Sends a head at once and then bytes without end, some at a time."""

    def __init__(self, head: bytes, piece: bytes, pause_s: float) -> None:
        self._head, self._piece, self._pause_s = head, piece, pause_s
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line, suppress(OSError):
            line.recv(1 << 16)
            line.sendall(self._head)
            while not self._stopped.wait(self._pause_s):
                line.sendall(self._piece)
                self.sent += len(self._piece)

    def config(self) -> RemoteConfig:
        endpoint = f"http://127.0.0.1:{self.port}"
        return RemoteConfig("slow", "s3://bkt/p", endpoint_url=endpoint, anonymous=True)

    def close(self) -> None:
        self._stopped.set()
        self._listener.close()


OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\n'
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK + b"\r\n<a>", b"x" * 65536),
        (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (OK + b"Content-Length: 99999999999\r\n\r\n<a>", b"x" * 65536),
        (b"HTTP/1.1 503 Busy\r\n\r\n<a>", b"x" * 65536),
    ],
    ids=["no length", "chunked", "length", "an error"],
)
def test_an_endless_body_ends(head: bytes, piece: bytes) -> None:
    with closing(Trickle(head, piece, 0)) as server, Remote(server.config()) as remote:
        assert_is_not_s3(refused(remote))
        assert server.sent < 10 * bounds.MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    "head",
    [OK + b"Content-Length: 9999\r\n\r\n", CHUNKED + b"270F\r\n"],
    ids=["length", "chunked"],
)
def test_a_byte_at_a_time_is_silence(
    head: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "_CONTROL_READ_TIMEOUT_S", 1)
    monkeypatch.setattr(client, "_DOWNLOAD_READ_TIMEOUT_S", 1)
    obj = RemoteObject("a", 9999, "e", "")

    def download() -> None:
        remote.download_file(obj, tmp_path / "a", progress=Progress(), cancel=CancelToken())

    with closing(Trickle(head, b"x", 0.2)) as server, Remote(server.config()) as remote:
        acts = [remote.list, lambda: remote.read_bytes("a", max_bytes=9999), download]
        for act in acts:
            began = time.monotonic()
            error = refused(remote, act)
            assert isinstance(error, TemporaryError)
            assert "does not answer in time" in error.message
            assert time.monotonic() - began < 20


def test_a_slow_line_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far slower than any line that people have, and still progress."""
    monkeypatch.setattr(client, "_CONTROL_READ_TIMEOUT_S", 1)
    body = b"x" * 6000
    head = OK + b"Content-Length: 6000\r\n\r\n"
    with closing(Trickle(head, body[:400], 0.2)) as server, Remote(server.config()) as remote:
        assert remote.read_bytes("a", max_bytes=6000) == body
