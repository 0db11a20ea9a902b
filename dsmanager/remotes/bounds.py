"""Bounds on what a server may answer: bytes, nesting, pages, and time without progress.

A server that is broken or hostile ends in one error here, never in a process that hangs or takes
all memory. The bounds are far above what any S3 server needs: a page has 1,000 entries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol
from xml.parsers import expat

import botocore.exceptions as botocore_errors
import urllib3.exceptions as urllib3_errors
from botocore.parsers import ResponseParserFactory

from dsmanager.remotes.failures import UnboundedError

__all__ = ["Parsers", "bound_answers", "bounded_pages"]

MAX_ANSWER_BYTES = 16 << 20
"""Of everything but the content of an object, which is read in pieces."""

MAX_PAGES = 10_000
MAX_ENTRIES = 2_000_000
MAX_IDLE_PAGES = 100
"""Pages in a row that bring nothing new."""

LEAST_BYTES = 1 << 10
"""What has to arrive in each span of a read time-out; less is taken for silence."""

_MAX_DEPTH = 32
_MAX_ELEMENTS = 100_000
_MAX_LENGTH_DIGITS = 18
_READ_BYTES = 64 << 10


class _Session(Protocol):
    def send(self, request: Any) -> Any: ...
    def close(self) -> None: ...


def bound_answers(client: Any, read_timeout_s: float) -> None:
    """Lets a botocore client read no answer beyond the bounds."""
    endpoint = client._endpoint  # botocore has no other place for it
    endpoint.http_session = _BoundedSession(endpoint.http_session, read_timeout_s)


def bounded_pages(
    pages: Iterable[Mapping[str, Any]], *, entries: str, key: str
) -> Iterator[Mapping[str, Any]]:
    """The pages of a listing; raises UnboundedError for one that does not come to an end.

    ``entries`` and ``key`` name what is listed and what tells one entry from another.
    """
    last: set[Any] = set()
    idle = count = 0
    for number, page in enumerate(pages, 1):
        found = {entry.get(key) for entry in page.get(entries, ())}
        found |= {folder.get("Prefix") for folder in page.get("CommonPrefixes", ())}
        idle = 0 if found - last else idle + 1
        last, count = found or last, count + len(found)
        if number > MAX_PAGES or count > MAX_ENTRIES or idle > MAX_IDLE_PAGES:
            raise UnboundedError(f"a listing without end, {number:,} pages so far")
        yield page


class Parsers(ResponseParserFactory):
    """botocore's parsers; whatever they trip over is an answer that no S3 server gives."""

    def create_parser(self, protocol_name: str) -> Any:
        parser: Any = super().create_parser(protocol_name)
        parser.parse = _strict(parser.parse)
        return parser


def _strict(parse: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def strict(response: Any, shape: Any) -> Any:
        try:
            return parse(response, shape)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnboundedError("a value that cannot be read") from error

    return strict


class _BoundedSession:
    """botocore's HTTP session; hands out answers that were read within the bounds."""

    def __init__(self, session: _Session, read_timeout_s: float) -> None:
        self._session = session
        self._read_timeout_s = read_timeout_s

    def close(self) -> None:
        self._session.close()

    def send(self, request: Any) -> Any:
        is_stream, request.stream_output = request.stream_output, True  # so that it reads nothing
        try:
            response = self._session.send(request)
        finally:
            request.stream_output = is_stream
        if not _is_length(response.headers.get("content-length", "0")):
            response.raw.close()
            raise UnboundedError("a Content-Length that is no length")
        response.raw = _PatientStream(response.raw, request.url, self._read_timeout_s)
        if not is_stream or response.status_code >= 300:
            response._content = _whole(response.raw, request)
            _require_shallow(response._content)
        return response


class _PatientStream:
    """The body of an answer; one that only trickles is taken for silence.

    Only time spent waiting counts, so that a reader may take as long as it likes.
    """

    def __init__(self, raw: Any, url: str, read_timeout_s: float) -> None:
        self._raw = raw
        self._url = url
        self._read_timeout_s = read_timeout_s
        self._waited_s = 0.0
        self._arrived = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def read(self, amount: int | None = None) -> bytes:
        pieces, left = [], amount
        while left is None or left > 0:
            piece = self.read1(_READ_BYTES if left is None else left)
            if not piece:
                break
            pieces.append(piece)
            left = None if left is None else left - len(piece)
        return b"".join(pieces)

    def readinto(self, view: Any) -> int:
        filled = 0
        while filled < len(view):
            piece = self.read1(len(view) - filled)
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def read1(self, amount: int) -> bytes:
        """What has arrived, ``amount`` bytes at most; empty at the end."""
        began = time.monotonic()
        piece: bytes = self._raw.read1(amount)
        self._waited_s += time.monotonic() - began
        self._arrived += len(piece)
        if self._waited_s > self._read_timeout_s:
            if piece and self._arrived < LEAST_BYTES:
                self._raw.close()
                raise urllib3_errors.ReadTimeoutError(None, self._url, "it only trickles")  # type: ignore[arg-type]
            self._waited_s, self._arrived = 0.0, 0
        return piece


def _whole(stream: _PatientStream, request: Any) -> bytes:
    """The rest of an answer, with the errors that botocore's own session raises."""
    try:
        content = stream.read(MAX_ANSWER_BYTES + 1)
        if len(content) <= MAX_ANSWER_BYTES:
            stream.read1(1)  # sees the end, so that the connection can be used again
            return content
    except urllib3_errors.ReadTimeoutError as error:
        raise botocore_errors.ReadTimeoutError(endpoint_url=request.url, error=error) from error
    except urllib3_errors.ProtocolError as error:
        raise botocore_errors.ConnectionClosedError(
            endpoint_url=request.url, request=request, error=error
        ) from error
    stream.close()
    raise UnboundedError(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")


def _is_length(said: str) -> bool:
    return said.isascii() and said.isdecimal() and len(said) <= _MAX_LENGTH_DIGITS


def _require_shallow(content: bytes) -> None:
    """Raises UnboundedError for XML that is deeper or has more elements than S3 ever sends.

    What is no XML, or breaks off, is left to those who read it.
    """
    depth = count = 0

    def start(_name: str, _attributes: object) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > _MAX_DEPTH or count > _MAX_ELEMENTS:
            raise UnboundedError("XML of too many elements")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    with suppress(expat.ExpatError, ValueError):
        parser.Parse(content, True)
