"""Content that no process looks at arrives where it belongs, in order, by whatever way it must."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmanager.records.framing import FramedFile
from dsmanager.records.splicing import CAN_SPLICE, Pipe
from dsmanager.records.tfrecord import masked_crc32c, read_records

pytestmark = pytest.mark.skipif(not CAN_SPLICE, reason="splice is a call of Linux")


class Source:
    """The content of a file, moved."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.path, self._length = path, len(content)

    def use(self, take: Callable[[int, int], None]) -> None:
        with open(self.path, "rb", buffering=0) as file:
            take(file.fileno(), self._length)


@contextmanager
def _pipe(target: Path, flags: int = 0) -> Iterator[Pipe]:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | flags)
    pipe = Pipe(descriptor)
    try:
        yield pipe
    finally:
        pipe.close()
        os.close(descriptor)


def _content(length: int) -> bytes:
    return (b"%08x" % length * (length // 8 + 1))[:length]


_PIECES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0, 1, 100, 4095, 4096, 4097, 70_000, 3_000_000])),
    max_size=12,
)


@given(pieces=_PIECES, flags=st.sampled_from([0, os.O_APPEND]))
def test_all_arrives_in_order(pieces: list[tuple[bool, int]], flags: int) -> None:
    """A file that is appended to cannot be spliced to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _pipe(folder / "target", flags) as pipe:
            for number, (is_moved, length) in enumerate(pieces):
                if is_moved:
                    Source(folder / str(number), _content(length)).use(pipe.move)
                else:
                    pipe.write(_content(length))
            pipe.drain()
        expected = b"".join(_content(length) for _, length in pieces)
        assert (folder / "target").read_bytes() == expected


@given(records=st.lists(st.tuples(st.booleans(), _PIECES), max_size=8))
def test_records_that_are_moved_stand_between_others(
    records: list[tuple[bool, list[tuple[bool, int]]]],
) -> None:
    told = [0, 0]

    def written(count: int, size_bytes: int) -> None:
        told[0] += count
        told[1] += size_bytes

    expected = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "shard"
        path.touch()
        with FramedFile(path, offset=0, written=written) as shard:
            for number, (is_moved, pieces) in enumerate(records):
                record = b"".join(_content(length) for _, length in pieces)
                expected.append(record)
                if is_moved:
                    given = [
                        Source(Path(name) / f"{number}-{index}", _content(length))
                        if is_file
                        else _content(length)
                        for index, (is_file, length) in enumerate(pieces)
                    ]
                    shard.move(given, len(record), masked_crc32c(record))
                else:
                    shard.room(len(record))[:] = record
                    assert shard.frame() == masked_crc32c(record)
        assert list(read_records(path)) == expected
        assert told == [len(records), path.stat().st_size]


def test_where_it_is_forbidden_all_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some sandboxes forbid it."""

    def forbidden(*_: object, **__: object) -> int:
        raise PermissionError(errno.EPERM, "splice")

    monkeypatch.setattr("dsmanager.records.splicing._splice", forbidden)
    contents = [_content(length) for length in (5, 3_000_000, 70_000, 6)]
    with _pipe(tmp_path / "target") as pipe:
        pipe.write(contents[0])
        Source(tmp_path / "1", contents[1]).use(pipe.move)
        Source(tmp_path / "2", contents[2]).use(pipe.move)
        pipe.write(contents[3])
        pipe.drain()
    assert (tmp_path / "target").read_bytes() == b"".join(contents)


def test_what_cannot_be_spliced_is_copied(tmp_path: Path) -> None:
    """The environment of a process cannot."""
    environ = Path("/proc/self/environ")
    content = environ.read_bytes()
    assert content
    with _pipe(tmp_path / "target") as pipe, open(environ, "rb", buffering=0) as file:
        pipe.write(b"before")
        pipe.move(file.fileno(), len(content))
        pipe.write(b"after")
        pipe.drain()
    assert (tmp_path / "target").read_bytes() == b"before" + content + b"after"


def test_a_source_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    source = Source(tmp_path / "source", bytes(10_000))
    os.truncate(source.path, 9_999)
    with _pipe(tmp_path / "target") as pipe, pytest.raises(EOFError):
        source.use(pipe.move)


def test_a_source_that_becomes_shorter_on_the_way_arrives_in_its_length(tmp_path: Path) -> None:
    """What it held, or zeros: whoever has its CRC will know."""
    source = Source(tmp_path / "source", _content(10_000))
    with _pipe(tmp_path / "target") as pipe:
        source.use(pipe.move)
        os.truncate(source.path, 0)
        pipe.drain()
    assert (tmp_path / "target").stat().st_size == 10_000


@pytest.mark.parametrize("can_splice", [True, False])
@pytest.mark.parametrize("length", [100, 3 << 20])
def test_a_full_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, can_splice: bool
) -> None:
    """Of the file that is written, and nothing waits for what is still in the pipe."""
    if not can_splice:
        monkeypatch.setattr("os.O_WRONLY", os.O_WRONLY | os.O_APPEND)
    source = Source(tmp_path / "source", bytes(length))
    with (
        pytest.raises(OSError, match=os.strerror(errno.ENOSPC)),
        FramedFile(Path("/dev/full"), offset=0, written=lambda *_: None) as shard,
    ):
        shard.move([b"before", source], length + 6, 0)


def test_what_is_given_up_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    path.touch()
    short = Source(tmp_path / "source", bytes(100))
    os.truncate(short.path, 99)
    with (
        pytest.raises(EOFError),
        FramedFile(path, offset=0, written=lambda *_: None) as shard,
    ):
        shard.move([b"before", short], 106, 0)
    assert path.read_bytes() == b""
