"""Memory to read into: as large as was asked for, at the start of a page, writable."""

from __future__ import annotations

import ctypes
import mmap

import pytest

from dsmanager.buffers import buffer


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, 100_001, 1 << 20])
def test_a_buffer_begins_where_a_page_does(size_bytes: int) -> None:
    found = buffer(size_bytes)
    assert len(found) == size_bytes
    assert not any(found)
    if size_bytes:
        found[-1] = 255
        assert ctypes.addressof(ctypes.c_char.from_buffer(found)) % mmap.PAGESIZE == 0
