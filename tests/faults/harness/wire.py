"""HTTP/1.1 as it goes over a socket: heads and bodies, passed on without being understood."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MOST_HEAD_BYTES = 64 << 10
PIECE_BYTES = 256 << 10


@dataclass(frozen=True)
class Head:
    """The first line and the headers of one message, with the bytes as they came."""

    first: str
    lines: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; the last one of a name counts."""
        pairs = (line.partition(":") for line in self.lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]

    @property
    def target(self) -> str:
        return self.first.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    @property
    def is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        """Bytes of the body that are announced; None when none are."""
        said = self.headers.get("content-length")
        return int(said) if said is not None else None

    def without(self, *names: str) -> Head:
        kept = (line for line in self.lines if line.partition(":")[0].strip().lower() not in names)
        return Head(self.first, tuple(kept))

    def with_header(self, name: str, value: str) -> Head:
        return Head(self.first, (*self.without(name.lower()).lines, f"{name}: {value}"))

    def to_bytes(self) -> bytes:
        return "\r\n".join((self.first, *self.lines, "", "")).encode("latin-1")


class Wire:
    """One side of a connection: reads heads and bodies, and counts nothing."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._ahead = b""
        self._buffer = memoryview(bytearray(PIECE_BYTES))

    def head(self) -> Head | None:
        """The next head; None when the other side closed before one."""
        while b"\r\n\r\n" not in self._ahead:
            piece = self.socket.recv(PIECE_BYTES)
            if not piece or len(self._ahead) > MOST_HEAD_BYTES:
                return None
            self._ahead += piece
        text, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        return Head(first, tuple(lines))

    def body(self, length: int) -> Iterator[memoryview]:
        """The next ``length`` bytes, or fewer where the other side closes."""
        while length:
            if self._ahead:
                piece, self._ahead = self._ahead[:length], self._ahead[length:]
                view = memoryview(piece)
            else:
                count = self.socket.recv_into(self._buffer[: min(length, PIECE_BYTES)])
                view = self._buffer[:count]
            if not view:
                return
            length -= len(view)
            yield view

    def chunks(self) -> Iterator[memoryview]:
        """The content of a chunked body, without its framing."""
        while size := int(self._line().split(b";")[0] or b"0", 16):
            yield from self.body(size)
            self._line()
        while self._line():
            continue

    def content(self, head: Head) -> Iterator[memoryview]:
        """The body that ``head`` announces; without an announcement all until the end."""
        if head.is_chunked:
            return self.chunks()
        return self.body(1 << 62 if head.length is None else head.length)

    def _line(self) -> bytes:
        while b"\r\n" not in self._ahead:
            piece = self.socket.recv(PIECE_BYTES)
            if not piece:
                return b""
            self._ahead += piece
        line, _, self._ahead = self._ahead.partition(b"\r\n")
        return line


def edited(
    pieces: Iterator[memoryview], at: int, change: Callable[[int], int]
) -> Iterator[memoryview]:
    """The same bytes but for the one at position ``at``."""
    position = 0
    for piece in pieces:
        if position <= at < position + len(piece):
            copy = bytearray(piece)
            copy[at - position] = change(copy[at - position])
            yield memoryview(copy)
        else:
            yield piece
        position += len(piece)
