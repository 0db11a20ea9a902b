"""CRCs are those that google-crc32c gives, however they come about."""

from __future__ import annotations

import ctypes
import os
from typing import NoReturn

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmanager.records import checksum
from dsmanager.records.checksum import crc32c_at, joined


@given(st.binary(max_size=300), st.one_of(st.binary(max_size=300), st.integers(0, 1 << 20)))
def test_joined_crcs_are_the_crc_of_both_pieces(first: bytes, second: bytes | int) -> None:
    if isinstance(second, int):
        second = bytes(range(256)) * (second >> 8) + bytes(second & 0xFF)
    crcs = google_crc32c.value(first), google_crc32c.value(second)
    assert joined(*crcs, len(second)) == google_crc32c.value(first + second)


def test_pieces_of_many_gigabytes_can_be_joined() -> None:
    """In whichever order; they grow by being joined with themselves."""
    large, length = google_crc32c.value(b"x"), 1
    while length < 1 << 36:
        large, length = joined(large, large, length), 2 * length
        if length == 1 << 20:
            assert large == google_crc32c.value(b"x" * length)
    first, last = google_crc32c.value(b"first"), google_crc32c.value(b"last")
    from_the_front = joined(joined(first, large, length), last, 4)
    assert from_the_front == joined(first, joined(large, last, 4), length + 4)
    assert from_the_front not in (large, first, last)


@pytest.mark.parametrize("has_function", [True, False])
def test_the_crc_of_bytes_in_memory(has_function: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> NoReturn:
        raise OSError

    if not has_function:
        monkeypatch.setattr(ctypes, "CDLL", fails)
    checksum._function.cache_clear()
    try:
        for content in (b"", b"abc", os.urandom(100_000)):
            buffer = bytearray(content + b".")
            address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            assert crc32c_at(address, len(content)) == google_crc32c.value(content)
    finally:
        checksum._function.cache_clear()
