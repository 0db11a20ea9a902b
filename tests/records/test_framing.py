"""Files that are framed in place are those that records written one by one give."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import CancelledError
from dsmanager.records.framing import FramedFile
from dsmanager.records.tfrecord import TFRecordWriter, masked_crc32c

MEGABYTE = 1 << 20
LENGTHS = st.one_of(
    st.integers(0, 3000),
    st.integers(MEGABYTE - 40, MEGABYTE + 40),
    st.sampled_from([MEGABYTE // 2 - 16, 3 * MEGABYTE]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("framed")


def _framed(
    path: Path, records: list[bytes], tell: Callable[[int, int], None] = lambda *_: None
) -> None:
    path.write_bytes(b"")
    with FramedFile(path, offset=0, written=tell) as file:
        for record in records:
            room = file.room(len(record))
            assert len(room) == len(record)
            room[:] = record
            file.frame()


@settings(deadline=None, max_examples=25)
@given(st.lists(LENGTHS, max_size=8))
def test_it_is_what_a_writer_of_records_writes(folder: Path, lengths: list[int]) -> None:
    records = [os.urandom(length) for length in lengths]
    told: list[tuple[int, int]] = []
    _framed(folder / "framed", records, lambda *counts: told.append(counts))
    with TFRecordWriter(folder / "written") as writer:
        writer.write_all(records)
    content = (folder / "framed").read_bytes()
    assert content == (folder / "written").read_bytes()
    assert sum(count for count, _ in told) == len(records)
    assert sum(size_bytes for _, size_bytes in told) == len(content)


def test_whoever_is_told_may_stop_it(tmp_path: Path) -> None:
    def stop(_: int, __: int) -> NoReturn:
        raise CancelledError("cancelled")

    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(CancelledError):
        _framed(tmp_path / "file", [bytes(MEGABYTE)] * 2, stop)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_it_tells_the_crc_of_each_record(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with FramedFile(tmp_path / "file", offset=0, written=lambda *_: None) as file:
        for record in (b"abc", b""):
            file.room(len(record))[:] = record
            assert file.frame() == masked_crc32c(record)


def test_parts_of_a_file_are_written_in_any_order(tmp_path: Path) -> None:
    records = [os.urandom(length) for length in (5, 0, 2 * MEGABYTE, 700)]
    _framed(tmp_path / "whole", records)
    whole = (tmp_path / "whole").read_bytes()
    start = 16 + 5 + 16 + 0
    path = tmp_path / "in parts"
    path.touch()
    for offset, part in ((start, records[2:]), (0, records[:2])):
        with FramedFile(path, offset=offset, written=lambda *_: None) as file:
            for record in part:
                file.room(len(record))[:] = record
                file.frame()
    assert path.read_bytes() == whole
