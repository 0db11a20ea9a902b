"""Framed records from open files into a new one, as they are, through one buffer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from dsmanager.buffers import buffer
from dsmanager.files import reserve, write_pieces

__all__ = ["copy_ranges"]

_BUFFER_BYTES = 1 << 20


def copy_ranges(
    ranges: Iterable[tuple[int, int, int]],
    path: Path,
    *,
    size_bytes: int,
    copied: Callable[[int], None],
) -> None:
    """Writes ``path`` from ranges (descriptor, offset, length) of files, one after the other.

    ``size_bytes`` is what they come to; ``copied`` is told every few hundred kilobytes how many
    more are written, and may raise to stop. Raises OSError, also for a range that ends too early.
    """
    waiting = buffer(_BUFFER_BYTES)
    filled = 0
    with open(path, "wb", buffering=0) as file:
        reserve(file.fileno(), 0, size_bytes)
        for descriptor, offset, length in ranges:
            while length:
                if filled == _BUFFER_BYTES or (filled and length > _BUFFER_BYTES - filled):
                    write_pieces(file.fileno(), [waiting[:filled]])
                    copied(filled)
                    filled = 0
                read = os.preadv(descriptor, [waiting[filled : filled + length]], offset)
                if not read:
                    raise OSError("a file of records became shorter while it was read")
                filled, offset, length = filled + read, offset + read, length - read
        write_pieces(file.fileno(), [waiting[:filled]])
        copied(filled)
