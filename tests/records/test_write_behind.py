"""Everything is written in order by another thread, and what goes wrong there is told here."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.records.write_behind import WriteBehind


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0, 1, 700, 300_000, 3 << 20]), max_size=20))
def test_pieces_are_written_in_their_order_in_another_thread(sizes: list[int]) -> None:
    written = bytearray()
    threads = set()

    def write(pieces: Sequence[bytes], size_bytes: int) -> None:
        assert sum(map(len, pieces)) == size_bytes
        threads.add(threading.get_ident())
        written.extend(b"".join(pieces))

    writer = WriteBehind(write)
    expected = [bytes([number]) * size for number, size in enumerate(sizes)]
    for piece in expected:
        writer.append([piece], len(piece))
    writer.finish()
    assert written == b"".join(expected)
    assert threading.get_ident() not in threads


def _append(writer: WriteBehind, count: int) -> None:
    for _ in range(count):
        writer.append([bytes(3 << 20)], 3 << 20)


@pytest.mark.parametrize("error", [OSError("no room"), MemoryError()])
def test_what_writing_raises_is_raised_where_pieces_come_from(error: BaseException) -> None:
    def write(_: Sequence[bytes], __: int) -> None:
        raise error

    before = threading.active_count()
    writer = WriteBehind(write)
    with pytest.raises(type(error)):
        _append(writer, count=5)
    writer.close()
    assert threading.active_count() == before


def test_the_end_tells_of_the_last_piece() -> None:
    def write(_: Sequence[bytes], __: int) -> None:
        raise OSError("no room")

    writer = WriteBehind(write)
    writer.append([b"last"], 4)
    with pytest.raises(OSError, match="no room"):
        writer.finish()
    writer.close()
