"""Content of files moved into another one within the kernel, which no process then has to look at.

Pages of the sources are handed through a pipe and copied once, to their place (``splice(2)``); what
reads into a buffer and writes from there copies twice, through the processor's caches. Linux only;
where a file system or a sandbox does not allow it the content is copied.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, cast

from dsmanager.files import write_pieces

__all__ = ["CAN_SPLICE", "Movable", "Pipe", "TargetError"]

CAN_SPLICE = sys.platform == "linux" and hasattr(os, "splice")

_PIPE_BYTES = 1 << 20  # the most that Linux gives everybody
_PIECE_BYTES = 64 << 10
_splice = cast(Any, getattr(os, "splice", None))
_WITHOUT_WAITING = cast(int, getattr(os, "SPLICE_F_NONBLOCK", 0))


class TargetError(Exception):
    """What is moved could not be written, for the ``reason``: no fault of where it is from."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Movable(Protocol):
    """Content of a file, that is moved and not read."""

    def use(self, take: Callable[[int, int], None]) -> None:
        """Has ``take`` the descriptor of the file, at the content, and how many bytes it has."""


class Pipe:
    """The way into the file open as ``target``, at whose position all that is given arrives.

    In the order in which it is given, and not before the pipe is full or :meth:`drain` is called:
    of a file that is changed until then it may arrive changed. For one thread; to be closed, which
    gives up what has not arrived. After an error it is of no more use.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._out, self._in = os.pipe()
        for end in (self._out, self._in):
            os.set_blocking(end, False)  # nobody is at the other one
        with suppress(OSError):  # whoever has many of them gets smaller ones
            _set_size(self._in, _PIPE_BYTES)
        self._small: list[bytes] = []
        self._waiting_bytes = 0
        self.write: Callable[[bytes], None] = self._small.append
        """Takes a few bytes: they are copied."""

    def move(self, source: int, size_bytes: int) -> None:
        """So much of the open file ``source``, from its position on.

        Raises EOFError when it is shorter, OSError when it cannot be read, and TargetError.
        """
        if self._small:
            self._put_small()
        while size_bytes:
            try:
                moved = _splice(source, self._in, size_bytes, flags=_WITHOUT_WAITING)
                self._waiting_bytes += moved
            except BlockingIOError:
                self._empty()
                continue
            except OSError:
                moved = self._copied(source, size_bytes)
            if not moved:
                raise EOFError("a file became shorter while it was moved")
            size_bytes -= moved

    def drain(self) -> None:
        """All that was given is in the target. Raises TargetError."""
        self._put_small()
        if self._waiting_bytes:
            self._empty()

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)

    def _put_small(self) -> None:
        rest = b"".join(self._small)
        self._small.clear()
        while rest:
            try:
                written = os.write(self._in, rest)
            except BlockingIOError:
                self._empty()
                continue
            self._waiting_bytes += written
            rest = rest[written:]

    def _empty(self) -> None:
        """Makes room, of which there was none: all that is in the pipe goes to the target."""
        try:
            if not self._waiting_bytes:
                raise BlockingIOError("a pipe with nothing in it is full")
            while self._waiting_bytes:
                with suppress(OSError):
                    arrived = _splice(self._out, self._target, self._waiting_bytes)
                    self._waiting_bytes -= arrived
                    if arrived:
                        continue
                content = os.read(self._out, self._waiting_bytes)
                self._waiting_bytes -= len(content)
                write_pieces(self._target, [content])
        except OSError as error:
            raise TargetError(error) from error

    def _copied(self, source: int, size_bytes: int) -> int:
        """Moves some of it by way of this process; returns how much."""
        if self._waiting_bytes:
            self._empty()
        content = os.read(source, min(size_bytes, _PIECE_BYTES))
        try:
            write_pieces(self._target, [content])
        except OSError as error:
            raise TargetError(error) from error
        return len(content)


def _set_size(pipe: int, size_bytes: int) -> None:
    import fcntl

    fcntl.fcntl(pipe, cast(Any, fcntl).F_SETPIPE_SZ, size_bytes)
