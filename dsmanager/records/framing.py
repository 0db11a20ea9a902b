"""A TFRecord file whose payloads are read straight to where they are framed, or not at all."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from dsmanager.files import write_pieces
from dsmanager.records.checksum import crc32c_at
from dsmanager.records.splicing import Movable, Pipe, TargetError
from dsmanager.records.tfrecord import FRAMING_BYTES, HEADER_BYTES, RecordFile, header, masked

__all__ = ["FramedFile"]

_BUFFER_BYTES = 1 << 20


class FramedFile(RecordFile):
    """Writes records into a file, one after the other, by a buffer of a megabyte. To be closed.

    For each record ask for :meth:`room`, fill all of it, and call :meth:`frame`; or :meth:`move` it
    past this process, where ``CAN_SPLICE``. They begin at byte ``offset`` of the file, which is
    there: several of these may write parts of one. ``written`` is told how many more records and
    bytes are, and may raise to stop.
    """

    def __init__(self, path: Path, *, offset: int, written: Callable[[int, int], None]) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        self._written = written
        self._filled = self._length = self._count = 0
        self._pipe: Pipe | None = None
        self._is_moving = False
        """What is on its way is in the pipe, and not in the buffer."""
        self._use(bytearray(_BUFFER_BYTES))

    def room(self, length: int) -> memoryview:
        """Where the payload of the next record goes, of ``length`` bytes."""
        if self._is_moving or self._filled + length + FRAMING_BYTES > len(self._buffer):
            self._flush()
            if length + FRAMING_BYTES > len(self._buffer) or len(self._buffer) > _BUFFER_BYTES:
                self._use(bytearray(max(length + FRAMING_BYTES, _BUFFER_BYTES)))
        self._length = length
        start = self._filled + HEADER_BYTES
        return self._buffer[start : start + length]

    def frame(self) -> int:
        """The record is complete; returns its masked CRC."""
        start = self._filled + HEADER_BYTES
        end = start + self._length
        crc = masked(crc32c_at(self._address + start, self._length))
        self._buffer[self._filled : start] = header(self._length)
        self._filled = end + FRAMING_BYTES - HEADER_BYTES
        self._buffer[end : self._filled] = crc.to_bytes(4, "little")
        self._count += 1
        return crc

    def move(self, pieces: Iterable[bytes | Movable], length: int, crc: int) -> None:
        """A record of ``length`` bytes whose masked ``crc`` is known; nobody looks at its content.

        Raises what a piece raises that cannot be moved, and OSError, of an earlier record at times.
        """
        if not self._is_moving:
            self._flush()
            self._is_moving = True
        if self._pipe is None:
            self._pipe = Pipe(self._descriptor)
        pipe = self._pipe
        pipe.write(header(length))
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    pipe.write(piece)
                else:
                    piece.use(pipe.move)
        except TargetError as error:
            raise error.reason from None
        pipe.write(crc.to_bytes(4, "little"))
        self._filled += length + FRAMING_BYTES
        self._count += 1
        if self._filled >= _BUFFER_BYTES:
            self._tell()

    def close(self) -> None:
        """Hands over what is on its way; the disk is not waited for."""
        try:
            self._flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Writes nothing more."""
        if self._pipe is not None:
            self._pipe.close()
        os.close(self._descriptor)

    def _use(self, buffer: bytearray) -> None:
        self._buffer = memoryview(buffer)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))

    def _flush(self) -> None:
        if self._pipe is not None and self._is_moving:
            try:
                self._pipe.drain()
            except TargetError as error:
                raise error.reason from None
        else:
            write_pieces(self._descriptor, [self._buffer[: self._filled]])
        self._is_moving = False
        self._tell()

    def _tell(self) -> None:
        filled, self._filled = self._filled, 0
        count, self._count = self._count, 0
        self._written(count, filled)
