"""One client's connection to the proxy: each request is passed on, with the harm meant for it."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.faults import Fault, Request, Rule
from harness.wire import Head, Wire, edited

if TYPE_CHECKING:
    from harness.proxy import FaultProxy

_NO_BODY = (204, 304)
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


class BrokenError(Exception):
    """The connection is over, as a fault wants it."""


class Conversation:
    """One client's connection, request after request."""

    def __init__(self, proxy: FaultProxy, client: Wire) -> None:
        self._proxy = proxy
        self._client = client
        self._server: Wire | None = None

    def run(self) -> None:
        try:
            while (head := self._client.head()) is not None:
                self._exchange(head)
        except BrokenError:
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
            raise BrokenError
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
            raise BrokenError
        if rule.fault is Fault.GARBAGE:
            self._client.socket.sendall(b"\x16\x03\x01garbage\r\n\r\n" * 20)
            raise BrokenError
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
            raise BrokenError
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
                raise BrokenError
            self._server.socket.sendall(piece)
            sent += len(piece)
            self._proxy.count(request, to_server=len(piece))
        if fault is Fault.DROP_REQUEST:
            raise BrokenError
        answer = self._server.head()
        while answer is not None and answer.status == 100:
            answer = self._server.head()
        if answer is None:
            raise BrokenError
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
        raise BrokenError

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
    linger_no_more(connection)
    with suppress(OSError):
        connection.close()


def linger_no_more(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
