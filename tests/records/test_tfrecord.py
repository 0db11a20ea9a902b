"""TFRecord framing: what is written is read, and every damage is found where it is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import CancelledError, DsmanagerError, VerificationError
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import (
    PiecesWriter,
    TFRecordWriter,
    masked_crc32c,
    read_records,
    scan,
)


def _write(path: Path, records: list[bytes]) -> bytes:
    with TFRecordWriter(path) as writer:
        writer.write_all(records)
    assert writer.count == len(records)
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=3000), max_size=20))
def test_what_is_written_is_read(folder: Path, records: list[bytes]) -> None:
    path = folder / "written"
    data = _write(path, records)
    assert len(data) == sum(16 + len(record) for record in records)
    assert list(read_records(path)) == records
    assert scan(path) == len(records)


def test_framing_is_that_of_tensorflow(tmp_path: Path) -> None:
    # Made with tf.io.TFRecordWriter.
    made = "0300000000000000b099490e6162636e57f121" + "000000000000000029039807d8ea82a2"
    assert _write(tmp_path / "file", [b"abc", b""]).hex() == made
    # The check value of CRC-32C for "123456789" is 0xE3069283 (RFC 3720).
    crc = 0xE3069283
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_changed_byte_is_found(folder: Path, data: st.DataObject) -> None:
    path = folder / "changed"
    records = [b"first record", b"", b"third" * 10]
    content = bytearray(_write(path, records))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(VerificationError, match=r"changed is damaged at byte \d+"):
        scan(path)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 200))
def test_any_truncation_is_found_unless_it_ends_between_records(folder: Path, cut: int) -> None:
    path = folder / "cut"
    content = _write(path, [bytes(20)] * 6)
    kept = max(0, len(content) - cut)
    path.write_bytes(content[:kept])
    if kept % 36 == 0:
        assert scan(path) == kept // 36
    else:
        with pytest.raises(VerificationError, match=f"at byte {kept // 36 * 36}:"):
            scan(path)


def test_a_huge_length_is_refused_and_never_allocated(tmp_path: Path) -> None:
    length = struct.pack("<Q", 1 << 62)
    path = tmp_path / "huge"
    path.write_bytes(length + struct.pack("<I", masked_crc32c(length)) + bytes(100))
    with pytest.raises(VerificationError, match="ends inside a record of 4,611,"):
        scan(path)


def test_payload_checks_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = bytearray(_write(path, [b"abc"]))
    content[13] ^= 1
    path.write_bytes(content)
    assert len(list(read_records(path, check_crc=False))) == 1


def test_a_missing_file_is_one_of_our_errors(tmp_path: Path) -> None:
    with pytest.raises(DsmanagerError, match="could not read records"):
        scan(tmp_path / "none")


def test_scan_counts_bytes_and_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size_bytes = len(_write(path, [b"abc", b"de"]))
    progress, cancel = Progress(), CancelToken()
    assert scan(path, progress=progress, cancel=cancel) == 2
    assert progress.snapshot().bytes_done == size_bytes
    cancel.cancel()
    with pytest.raises(CancelledError):
        scan(path, cancel=cancel)


def test_pieces_are_framed_as_their_records(tmp_path: Path) -> None:
    records = [b"", b"small", bytes(range(256)) * 300, b"end"]
    with PiecesWriter(tmp_path / "pieces") as writer:
        for record in records:
            writer.write([record[:3], record[3:]])
    assert writer.count == len(records)
    assert writer.size_bytes == (tmp_path / "pieces").stat().st_size
    with TFRecordWriter(tmp_path / "whole") as whole:
        whole.write_all(records)
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    with PiecesWriter(tmp_path / "many") as writer:
        for number in range(3000):
            writer.write([number.to_bytes(2, "big")] * 4)
    found = [int.from_bytes(each[:2], "big") for each in read_records(tmp_path / "many")]
    assert found == list(range(3000))
    with pytest.raises(FileExistsError):
        PiecesWriter(tmp_path / "many")
