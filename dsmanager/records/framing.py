"""A TFRecord file whose payloads are read straight to where they are framed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from dsmanager.files import reserve, write_pieces
from dsmanager.records.checksum import crc32c_at
from dsmanager.records.tfrecord import FRAMING_BYTES, HEADER_BYTES, RecordFile, header, masked

__all__ = ["FramedFile"]

_BUFFER_BYTES = 1 << 20


class FramedFile(RecordFile):
    """A new file of records, one after the other, through a buffer of a megabyte. To be closed.

    For each record ask for :meth:`room`, fill all of it, and call :meth:`frame`. ``size_bytes`` is
    what the file comes to; ``written`` is told how many more records and bytes are, and may raise
    to stop.
    """

    def __init__(self, path: Path, *, size_bytes: int, written: Callable[[int, int], None]) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._written = written
        self._filled = self._length = self._count = 0
        self._use(bytearray(_BUFFER_BYTES))
        reserve(self._descriptor, 0, size_bytes)

    def room(self, length: int) -> memoryview:
        """Where the payload of the next record goes, of ``length`` bytes."""
        if self._filled + length + FRAMING_BYTES > len(self._buffer):
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

    def close(self) -> None:
        """Hands over what is in the buffer; the disk is not waited for."""
        try:
            self._flush()
        finally:
            os.close(self._descriptor)

    def _use(self, buffer: bytearray) -> None:
        self._buffer = memoryview(buffer)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))

    def _flush(self) -> None:
        filled, self._filled = self._filled, 0
        count, self._count = self._count, 0
        write_pieces(self._descriptor, [self._buffer[:filled]])
        self._written(count, filled)
