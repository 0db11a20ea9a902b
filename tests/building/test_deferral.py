"""Which files are read later, and what stands for them until then."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from dsmanager.building.writing.deferral import Deferral, _is_near, _is_spinning
from dsmanager.building.writing.file_bytes import (
    ChangedFileError,
    FileBytes,
    packed,
    state_of,
    unpacked,
)
from dsmanager.building.writing.file_part import FilePart
from dsmanager.building.writing.opened import tell_part
from dsmanager.building.writing.shard import NO_CRC
from dsmanager.building.writing.spill import Places, Spill
from dsmanager.records.tfrecord import masked_crc32c


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Files of 0 to 40 KB. No decoder looks at them."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}").write_bytes(_content(number))
    return folder


def _content(number: int) -> bytes:
    return bytes([number]) * (number * 211)


def test_what_is_deferred_has_been_there_unchanged(tmp_path: Path, sources: Path) -> None:
    old = sources / "150"
    status = old.stat()
    while time.time_ns() - status.st_ctime_ns < 30_000_000:
        pass  # until the clock of files has gone on
    deferral = Deferral(sources)
    for _ in range(64):  # on trial
        assert deferral.of_path(old) is None
    found = deferral.of_path(old)
    assert found is not None
    assert found.read() == _content(150)
    assert len(found) == status.st_size
    young = tmp_path / "young"
    young.write_bytes(bytes(30_000))
    for other in (young, sources / "003", sources, sources / "none", b"bytes", "s3://a/b", "\0"):
        assert deferral.of_path(other) is None
    deferral.close()

    again = list(unpacked(packed([b"before", found, b"", b"after"])))
    assert [len(piece) for piece in again] == [6, len(found), 0, 5]
    copy = again[1]
    assert isinstance(copy, FileBytes)
    assert copy.read() == _content(150)

    os.utime(old)  # the same content, but who knows
    with pytest.raises(
        ChangedFileError, match=r"/150 does not hold what its example was made from"
    ):
        copy.read()
    old.unlink()
    with pytest.raises(ChangedFileError):
        found.read()


def test_content_is_deferred_when_it_is_of_the_only_file_of_its_length(sources: Path) -> None:
    same = sources / "of the same length"
    same.write_bytes(_content(150))
    _wait_for_the_clock_of(sources)
    deferral = Deferral(sources)

    def found(content: bytes, *opened: Path | str) -> FileBytes | None:
        for path in opened:
            os.close(os.open(path, os.O_RDONLY))
        file = deferral.of_content(content)
        deferral.opened.clear()
        return file

    some = sources / "150"
    content = _content(150)
    for _ in range(64):  # on trial
        assert found(content, some) is None
    file = found(content, sources / "100", some, some)
    assert file is not None
    assert file.crc == google_crc32c.value(content)
    assert found(content) is None
    assert found(content, sources / "151") is None
    assert found(content, some, same) is None
    assert found(_content(3), sources / "003") is None
    young = sources / "young"
    young.write_bytes(content)
    assert found(content, young) is None
    deferral.close()
    assert found(content, some) is None
    assert file.read() == content


def test_content_is_deferred_when_it_is_the_only_part_of_its_length(sources: Path) -> None:
    _wait_for_the_clock_of(sources)
    deferral = Deferral(sources)
    whole = str(sources / "150")
    part = _content(150)[100:20_100]

    def found(content: bytes, *parts: tuple[int, int]) -> FileBytes | None:
        for offset, size_bytes in parts:
            tell_part(whole, offset, size_bytes)
        file = deferral.of_content(content)
        deferral.opened.clear()
        return file

    for _ in range(64):  # on trial
        assert found(part, (100, 20_000)) is None
    file = found(part, (100, 20_000), (100, 20_001))
    assert file is not None
    assert len(file) == 20_000
    assert file.read() == part
    (copy,) = unpacked(packed([file]))
    assert isinstance(copy, FileBytes)
    assert copy.read() == part
    assert pickle.loads(pickle.dumps(file)).read() == part
    assert found(part, (100, 20_000), (200, 20_000)) is None
    assert found(part, (100, 20_001)) is None
    behind = found(part, (150 * 211 - 10_000, 20_000))
    assert behind is not None
    with pytest.raises(ChangedFileError):
        behind.read()
    deferral.close()
    assert found(part, (100, 20_000)) is None


def test_a_part_that_nobody_has_read_is_not_read(sources: Path) -> None:
    _wait_for_the_clock_of(sources)
    deferral = Deferral(sources)
    content = _content(150)[100:20_100]
    with FileIO(sources / "150") as file, FileIO(sources / "young", "x") as young:

        def given(offset: int = 100, size_bytes: int = 20_000, *, opened: FileIO = file) -> Any:
            part = FilePart(opened, offset, size_bytes)
            tell_part(part.name, offset, size_bytes)
            value = deferral.image(part)
            assert part.read() == b""
            deferral.end_example()
            return value

        for _ in range(64):  # on trial
            assert given() == content
        found = given()
        assert isinstance(found, FileBytes)
        assert (found.crc, found.part) == (None, (100, 20_000))
        assert found.read() == content
        assert given(0, 16_000) == _content(150)[:16_000]  # too small to be worth it
        young.truncate(50_000)
        with FileIO(young.name) as opened:
            assert given(opened=opened) == bytes(20_000)

        part = FilePart(file, 100, 20_000)
        part.read(3)
        assert deferral.image(part) == content[3:]
    deferral.close()


def test_a_builder_that_reads_no_whole_files_is_not_watched_for_long(sources: Path) -> None:
    deferral = Deferral(sources)
    for _ in range(64):
        os.close(os.open(sources / "150", os.O_RDONLY))
        assert deferral.opened
        assert deferral.of_content(bytes(20_000)) is None
    os.close(os.open(sources / "150", os.O_RDONLY))
    assert not deferral.opened
    deferral.close()


def test_what_was_read_goes_into_a_record_with_a_file_that_is_named(
    sources: Path, spill: Spill
) -> None:
    """Nothing would tell whether it was the right file: the CRC is of the whole record."""
    read, named = (_file_bytes(sources / name) for name in ("150", "160"))
    read.crc = google_crc32c.value(_content(150))
    length = 4 + 6 + 150 * 211 + 160 * 211
    spill.add(b"p" * 16, b"key", ([b"head", read, b"middle", named], length))
    spill.add(b"q" * 16, b"key", ([b"head", read, b"z"], 4 + 150 * 211 + 1))
    spill.finish()
    first, second = Places([spill]).records(0, 2)
    assert first == b"head" + _content(150) + b"middle" + _content(160)
    assert second == b"head" + _content(150) + b"z"
    assert spill.crcs().tolist() == [NO_CRC, masked_crc32c(second)]
    read.crc = 0
    with pytest.raises(ChangedFileError):
        spill.add(b"p" * 16, b"key", ([b"head", read, b"middle", named], length))


def test_files_that_other_threads_open_do_not_matter(sources: Path) -> None:
    _wait_for_the_clock_of(sources)
    deferral = Deferral(sources)
    content = _content(150)
    stopped = threading.Event()

    def open_others() -> None:
        while not stopped.is_set():
            os.close(os.open(sources / "151", os.O_RDONLY))

    thread = threading.Thread(target=open_others)
    thread.start()
    try:
        for _ in range(5000):  # fails nearly always where a copy is not made
            os.close(os.open(sources / "150", os.O_RDONLY))
            found = deferral.of_content(content)
            assert found is None or found.path == str(sources / "150")
            deferral.opened.clear()
        os.close(os.open(sources / "150", os.O_RDONLY))
        assert deferral.opened  # it has been watched all the time
    finally:
        stopped.set()
        thread.join()
        deferral.close()


def test_whoever_says_that_a_file_is_opened_is_not_disturbed(tmp_path: Path) -> None:
    deferral = Deferral(tmp_path)
    for arguments in [(), ("path",), ("path", "r", None), (5, "r", 0), (b"path", "r", os.O_RDWR)]:
        sys.audit("open", *arguments)
    assert not deferral.opened
    sys.audit("open", "path", "r", os.O_RDONLY)
    assert list(deferral.opened) == ["path"]
    deferral.close()


@pytest.mark.parametrize("change", ["a folder", "a loop", "gone"])
def test_a_file_that_cannot_be_read_again_has_changed(sources: Path, change: str) -> None:
    path = sources / "150"
    file = _file_bytes(path)
    path.unlink()
    if change == "a folder":
        path.mkdir()
    elif change == "a loop":
        path.symlink_to(path)
    with pytest.raises(ChangedFileError):
        file.read()


def test_files_of_other_machines_are_not_read_again() -> None:
    assert _is_near(os.makedev(8, 1))
    assert not _is_near(os.stat("/proc").st_dev)
    assert not _is_near(os.makedev(0, 1 << 19))  # unknown


def test_whether_a_disk_spins_is_what_the_system_says() -> None:
    for told in Path("/sys/block").glob("*/queue/rotational"):
        disk = told.parents[1]
        for block in (disk, *(path.parent for path in disk.glob("*/partition"))):
            major, minor = map(int, (block / "dev").read_text().split(":"))
            assert _is_spinning(os.makedev(major, minor)) == (told.read_text().strip() == "1")
    assert not _is_spinning(os.stat("/proc").st_dev)


@pytest.mark.parametrize(("folder", "is_found"), [("sources", True), ("/proc", False)])
def test_content_is_not_looked_for_on_a_spinning_disk_that_is_not_the_datasets(
    sources: Path, monkeypatch: pytest.MonkeyPatch, folder: str, is_found: bool
) -> None:
    monkeypatch.setattr("dsmanager.building.writing.deferral._is_spinning", lambda _: True)
    _wait_for_the_clock_of(sources)
    deferral = Deferral(sources.parent / folder)
    found = []
    for _ in range(65):
        os.close(os.open(sources / "150", os.O_RDONLY))
        found.append(deferral.of_content(_content(150)))
        deferral.opened.clear()
    assert found[:64] == [None] * 64
    assert (found[64] is not None) == is_found
    deferral.close()


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[Spill]:
    with open(tmp_path / "spill", "xb+", buffering=0) as file:
        spill = Spill(file)
        yield spill
        spill.close()


def _file_bytes(path: Path) -> FileBytes:
    return FileBytes(str(path), state_of(path.stat()))


def _wait_for_the_clock_of(folder: Path) -> None:
    changed_ns = max(path.stat().st_ctime_ns for path in folder.iterdir())
    while time.time_ns() - changed_ns < 30_000_000:
        pass  # until the clock of files has gone on
