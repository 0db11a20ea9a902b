"""A proxy in front of a real S3 server that does on request what networks and servers do unasked.

    with FaultProxy(server.endpoint_url) as proxy:
        proxy.inject(Fault.DROP_ANSWER, match="GET", after_bytes=5_000, times=1)
        …                                    # talk to proxy.url
        proxy.bytes_to_client, proxy.requests

Requests are passed on as they came, the Host header included, so that their signatures hold. It
knows no S3 beyond the shape of its error answers.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from harness.wire import Head, Wire, edited

ALWAYS = 1 << 30
_POLL_S = 0.05
_NO_BODY = (204, 304)


class Fault(Enum):
    """One kind of harm. ``after_bytes`` counts bytes of a body; the default is half of it."""

    REFUSE = "nobody listens on the port"
    RESET = "the connection is reset before an answer"
    DROP_REQUEST = "the connection breaks while the request is sent"
    DROP_ANSWER = "the connection breaks while the answer is sent"
    LOSE_ANSWER = "the server did it, and its answer is lost"
    TRUNCATE = "the answer ends early, with the right Content-Length"
    CUT_CHUNK = "the answer comes in chunks and ends inside one"
    STALL_REQUEST = "the request is taken and never answered"
    STALL_ANSWER = "the answer stops half-way and the connection stays open"
    FLIP_REQUEST = "one bit of what is sent arrives changed"
    FLIP_ANSWER = "one bit of what is received arrives changed"
    IGNORE_RANGE = "a request for a range is answered with the whole object and 200"
    STATUS = "the server refuses with an S3 error"
    SLOW = "everything passes slowly"
    DUPLICATE = "the request reaches the server twice"
    OTHER_ETAG = "the answer names another ETag"
    CHANGE = "something happens on the server before the request arrives"
    GARBAGE = "the answer is no HTTP"
    WEB_PAGE = "a web page answers 200 in place of the server"


_S3_CODES = {
    400: "BadRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "OperationAborted",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}


@dataclass
class Rule:
    """A fault, the requests that it befalls, and how many of them are left."""

    fault: Fault
    match: re.Pattern[str]
    skip: int
    left: int
    after_bytes: int | None
    status: int
    bytes_per_s: int
    action: Callable[[], object] | None
    used: int = 0


@dataclass
class Request:
    """One request that passed; ``line`` is method and target, with the range where one was named.

    Bytes are those of bodies: what the server got, and what the client got.
    """

    line: str
    fault: Fault | None
    sent_bytes: int = 0
    received_bytes: int = 0
    status: int = 0


class _BrokenError(Exception):
    """The connection is over, as a fault wants it."""


class FaultProxy:
    """Listens on loopback. Counters and :meth:`inject` may be used from any thread."""

    def __init__(self, upstream_url: str, *, credentials_file: Path | None = None) -> None:
        """``credentials_file`` (access_key, secret_key) is only needed to ignore ranges."""
        parts = urlsplit(upstream_url)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._credentials_file = credentials_file
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._rules: list[Rule] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._port = 0
        self.requests: list[Request] = []
        self.bytes_to_server = 0
        self.bytes_to_client = 0
        self._listen()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def kinds(self) -> Counter[str]:
        """How many requests of each method passed."""
        return Counter(request.line.partition(" ")[0] for request in list(self.requests))

    @property
    def distant_url(self) -> str:
        """The same place, spelt so that nobody takes it for loopback: bodies are signed."""
        return f"http://127.1:{self._port}"

    def inject(
        self,
        fault: Fault,
        *,
        match: str = "",
        skip: int = 0,
        times: int = ALWAYS,
        after_bytes: int | None = None,
        status: int = 503,
        bytes_per_s: int = 1 << 20,
        action: Callable[[], object] | None = None,
    ) -> Rule:
        """Does ``fault`` to the next ``times`` requests that ``match``, after ``skip`` of them.

        ``match`` is a regular expression searched in ``METHOD /path?query`` and, where there is
        one, `` bytes=first-last``. ``Rule.used`` tells how often it struck.
        """
        rule = Rule(fault, re.compile(match), skip, times, after_bytes, status, bytes_per_s, action)
        with self._lock:
            self._rules.append(rule)
        if fault is Fault.REFUSE:
            self._refuse()
            rule.used = 1
        return rule

    def clear(self) -> None:
        """From here on everything passes."""
        with self._lock:
            self._rules.clear()
        if self._listener is None:
            self._listen()

    def reset_counters(self) -> None:
        with self._lock:
            self.requests, self.bytes_to_server, self.bytes_to_client = [], 0, 0

    def close(self) -> None:
        self._stopped.set()
        self._refuse()
        for thread in self._threads:
            thread.join(5)

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._start(self._accept, listener)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _refuse(self) -> None:
        """Stops listening and ends every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:  # its own thread closes it
            _linger_no_more(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, _BrokenError, ValueError):
                _Conversation(self, Wire(connection)).run()
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def connect(self) -> Wire:
        upstream = socket.create_connection(self._upstream, timeout=120)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(upstream)

    def take(self, line: str) -> Rule | None:
        """The rule that befalls this request, if one does."""
        with self._lock:
            for rule in self._rules:
                if rule.left and rule.match.search(line):
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    rule.left -= 1
                    rule.used += 1
                    return rule
        return None

    def count(self, request: Request, *, to_server: int = 0, to_client: int = 0) -> None:
        with self._lock:
            request.sent_bytes += to_server
            request.received_bytes += to_client
            self.bytes_to_server += to_server
            self.bytes_to_client += to_client

    def wait_for_end_of(self, connection: socket.socket) -> None:
        """Until the client gives up or the proxy is closed."""
        while not self._stopped.is_set():
            readable, _, _ = select.select([connection], [], [], _POLL_S)
            if readable and not connection.recv(1, socket.MSG_PEEK):
                return

    def signed(self, head: Head) -> Head:
        """The request of ``head`` without its range, signed afresh."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        if self._credentials_file is None:
            raise ValueError("to ignore ranges the proxy needs credentials")
        pair = json.loads(self._credentials_file.read_bytes())
        host = head.headers["host"]
        request = AWSRequest("GET", f"http://{host}{head.target}", {"Host": host})
        request.context["payload_signing_enabled"] = True
        credentials = Credentials(pair["access_key"], pair["secret_key"])
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        return Head(head.first, tuple(f"{k}: {v}" for k, v in request.headers.items()))


class _Conversation:
    """One client's connection, request after request."""

    def __init__(self, proxy: FaultProxy, client: Wire) -> None:
        self._proxy = proxy
        self._client = client
        self._server: Wire | None = None

    def run(self) -> None:
        try:
            while (head := self._client.head()) is not None:
                self._exchange(head)
        except _BrokenError:
            _reset(self._client.socket)
        finally:
            self._leave_server()

    def _exchange(self, head: Head) -> None:
        line = f"{head.method} {head.target}"
        if named := head.headers.get("range"):
            line += f" {named}"
        rule = self._proxy.take(line)
        fault = rule.fault if rule else None
        request = Request(line, fault)
        self._proxy.requests.append(request)
        if fault is Fault.RESET:
            raise _BrokenError
        if "expect" in head.headers:
            self._client.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = head.without("expect")
        if rule is None:
            self._pass(head, request, None)
        elif fault in (Fault.STALL_REQUEST, Fault.STATUS, Fault.GARBAGE, Fault.WEB_PAGE):
            for _ in self._client.body(head.length or 0):
                pass
            self._answer_alone(head, rule)
        else:
            if fault is Fault.CHANGE and rule.action is not None:
                rule.action()
            if fault is Fault.IGNORE_RANGE and named:
                head = self._proxy.signed(head)
            self._pass(head, request, rule)

    def _answer_alone(self, head: Head, rule: Rule) -> None:
        """An answer that no server had a part in."""
        if rule.fault is Fault.STALL_REQUEST:
            self._proxy.wait_for_end_of(self._client.socket)
            raise _BrokenError
        if rule.fault is Fault.GARBAGE:
            self._client.socket.sendall(b"\x16\x03\x01garbage\r\n\r\n" * 20)
            raise _BrokenError
        if rule.fault is Fault.WEB_PAGE:
            first, kind = "HTTP/1.1 200 OK", "text/html"
            body = b"<html><body>Please log in to the network.</body></html>"
        else:
            first, kind = f"HTTP/1.1 {rule.status} Refused", "application/xml"
            code = _S3_CODES.get(rule.status, "Other")
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        lines = [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        if rule.status == 503 and rule.fault is Fault.STATUS:
            lines.append("Retry-After: 1")
        answer = Head(first, tuple(lines)).to_bytes()
        self._client.socket.sendall(answer + (b"" if head.method == "HEAD" else body))

    def _pass(self, head: Head, request: Request, rule: Rule | None) -> None:
        fault = rule.fault if rule else None
        if fault is Fault.DUPLICATE:
            body = b"".join(bytes(piece) for piece in self._client.body(head.length or 0))
            for _ in range(2):
                answer = self._send(head, iter([memoryview(body)]), request, rule)
                if _ == 0:
                    for _piece in self._content(head, answer):
                        pass
        else:
            answer = self._send(head, self._client.body(head.length or 0), request, rule)
        request.status = answer.status
        if fault is Fault.LOSE_ANSWER:
            for _piece in self._content(head, answer):
                pass
            raise _BrokenError
        self._return(head, answer, request, rule)

    def _send(
        self, head: Head, body: Iterator[memoryview], request: Request, rule: Rule | None
    ) -> Head:
        """Sends the request on and returns the head of its answer."""
        fault = rule.fault if rule else None
        at = _position(rule, head.length or 0)
        if fault is Fault.FLIP_REQUEST:
            body = edited(body, at, lambda byte: byte ^ 4)
        if self._server is None:
            self._server = self._proxy.connect()
        self._server.socket.sendall(head.to_bytes())
        sent = 0
        for piece in _slowly(body, rule):
            if fault is Fault.DROP_REQUEST and sent + len(piece) > at:
                self._server.socket.sendall(piece[: at - sent])
                self._proxy.count(request, to_server=at - sent)
                raise _BrokenError
            self._server.socket.sendall(piece)
            sent += len(piece)
            self._proxy.count(request, to_server=len(piece))
        if fault is Fault.DROP_REQUEST:
            raise _BrokenError
        answer = self._server.head()
        while answer is not None and answer.status == 100:
            answer = self._server.head()
        if answer is None:
            raise _BrokenError
        return answer

    def _content(self, head: Head, answer: Head) -> Iterator[memoryview]:
        if head.method == "HEAD" or answer.status in _NO_BODY or self._server is None:
            return iter(())
        return self._server.content(answer)

    def _return(self, head: Head, answer: Head, request: Request, rule: Rule | None) -> None:
        """Sends the answer back, with the harm that is meant for it."""
        fault = rule.fault if rule else None
        client, body = self._client.socket, self._content(head, answer)
        at = _position(rule, answer.length or 0)
        if fault is Fault.FLIP_ANSWER:
            body = edited(body, at, lambda byte: byte ^ 4)
        if fault is Fault.OTHER_ETAG and "etag" in answer.headers:
            answer = answer.with_header("ETag", '"0123456789abcdef0123456789abcdef"')
        chunked = answer.is_chunked
        if fault is Fault.CUT_CHUNK and answer.length and head.method != "HEAD":
            answer = answer.without("content-length").with_header("Transfer-Encoding", "chunked")
            chunked = True
        client.sendall(answer.to_bytes())
        sent = 0
        for piece in _slowly(body, rule):
            if fault in _ENDS_EARLY and sent + len(piece) > at:
                client.sendall(_framed(piece[: at - sent], chunked, whole=False))
                self._proxy.count(request, to_client=at - sent)
                self._end_early(fault)
            client.sendall(_framed(piece, chunked))
            sent += len(piece)
            self._proxy.count(request, to_client=len(piece))
        if fault in _ENDS_EARLY:
            self._end_early(fault)
        if chunked:
            client.sendall(b"0\r\n\r\n")
        if "close" in answer.headers.get("connection", "") or _lasts_until_close(head, answer):
            self._leave_server()
            client.shutdown(socket.SHUT_WR)

    def _end_early(self, fault: Fault | None) -> None:
        if fault is Fault.STALL_ANSWER:
            self._proxy.wait_for_end_of(self._client.socket)
        if fault in (Fault.TRUNCATE, Fault.CUT_CHUNK):
            self._client.socket.shutdown(socket.SHUT_WR)
            raise ConnectionError
        raise _BrokenError

    def _leave_server(self) -> None:
        if self._server is not None:
            self._server.socket.close()
            self._server = None


_ENDS_EARLY = {Fault.DROP_ANSWER, Fault.TRUNCATE, Fault.CUT_CHUNK, Fault.STALL_ANSWER}


def _position(rule: Rule | None, length: int) -> int:
    if rule is None or rule.after_bytes is None:
        return length // 2
    return min(rule.after_bytes, max(length - 1, 0))


def _framed(piece: memoryview, chunked: bool, *, whole: bool = True) -> bytes | memoryview:
    if not chunked:
        return piece
    announced = len(piece) if whole else len(piece) + 100
    return b"%x\r\n" % announced + bytes(piece) + (b"\r\n" if whole else b"")


def _slowly(pieces: Iterator[memoryview], rule: Rule | None) -> Iterator[memoryview]:
    if rule is None or rule.fault is not Fault.SLOW:
        yield from pieces
        return
    for piece in pieces:
        time.sleep(len(piece) / rule.bytes_per_s)
        yield piece


def _lasts_until_close(head: Head, answer: Head) -> bool:
    has_body = head.method != "HEAD" and answer.status not in _NO_BODY
    return has_body and answer.length is None and not answer.is_chunked


def _reset(connection: socket.socket) -> None:
    """Closes so that the other side sees a reset and not an end."""
    _linger_no_more(connection)
    with suppress(OSError):
        connection.close()


def _linger_no_more(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
