from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.archives import tar
from dsmanager.archives.paths import MalformedError, check_path

letters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/")
component = st.text(letters, min_size=1, max_size=80).filter(
    lambda part: part not in (".", "..") and len(part.encode()) <= 255
)
paths = st.lists(component, min_size=1, max_size=8).map("/".join)
sizes = st.one_of(st.integers(0, 5000), st.sampled_from([8**11 - 1, 8**11, 1 << 40, (1 << 63) - 1]))


def read_header(data: bytes, size: int) -> tar.Entry:
    """Reads one header whose content is not there."""
    stream = tar.ByteStream(iter([data]))
    entry = next(tar.entries(stream))
    assert not stream.more()
    return entry


@settings(deadline=None, max_examples=150)
@given(paths, sizes)
def test_file_header_reads_back(path: str, size: int) -> None:
    data = tar.file_header(path, size)
    assert len(data) % 512 == 0
    assert read_header(data, size) == tar.Entry(path, size, is_folder=False)


@settings(deadline=None, max_examples=100)
@given(paths)
def test_folder_header_reads_back(path: str) -> None:
    assert read_header(tar.folder_header(path), 0) == tar.Entry(path, 0, is_folder=True)


@settings(deadline=None, max_examples=100)
@given(paths, st.binary(max_size=2000))
def test_python_tarfile_reads_what_is_written(path: str, content: bytes) -> None:
    data = tar.folder_header("top") + tar.file_header(path, len(content)) + content
    data += tar.padding(len(content))
    data += tar.stream_end(len(data))
    assert len(data) % 10_240 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        folder, member = archive.getmembers()
        assert folder.isdir()
        assert (folder.name, folder.mode) == ("top", 0o755)
        assert (member.name, member.size, member.mode) == (path, len(content), 0o644)
        assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
        assert (member.uname, member.gname) == ("", "")
        file = archive.extractfile(member)
        assert file is not None
        assert file.read() == content


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 1 << 42])
def test_python_tarfile_reads_sizes_over_8_gib(size: int) -> None:
    data = tar.file_header("digit/1.0.8/huge", size)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        first = archive.firstmember
    assert first is not None
    assert (first.name, first.size) == ("digit/1.0.8/huge", size)


def test_pax_header_only_where_it_is_needed() -> None:
    assert len(tar.file_header("d/" + "x" * 98, 8**11 - 1)) == 512
    assert len(tar.file_header("p" * 100 + "/" + "x" * 100, 5)) == 512
    assert len(tar.file_header("d/" + "x" * 101, 5)) == 1536
    assert len(tar.file_header("d/é", 5)) == 1536
    assert len(tar.file_header("d/x", 8**11)) == 1536


@settings(deadline=None, max_examples=100)
@given(paths, sizes, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_headers_of_other_programs_read_back(path: str, size: int, kind: int) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mtime, info.uname = size, 1.5, "somebody"
    assert read_header(info.tobuf(kind), size) == tar.Entry(path, size, is_folder=False)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=3000), st.integers(1, 600))
def test_arbitrary_bytes_are_refused_or_read(data: bytes, chunk: int) -> None:
    chunks = (data[at : at + chunk] for at in range(0, len(data), chunk))
    with pytest.raises(MalformedError):
        consume(tar.ByteStream(chunks))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 3071), st.integers(0, 255)), min_size=1, max_size=4),
    st.booleans(),
)
def test_damaged_headers_are_refused_or_read(
    changes: list[tuple[int, int]], mend_checksum: bool
) -> None:
    data = bytearray(tar.file_header("digit/1.0.8/" + "x" * 150, 700) + bytes(1024))
    data += bytes(3072 - len(data))
    for at, value in changes:
        data[at] = value
    if mend_checksum:
        for start in (0, 1024):
            block = data[start : start + 148] + b" " * 8 + data[start + 156 : start + 512]
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    with contextlib.suppress(MalformedError):
        consume(tar.ByteStream(iter([bytes(data)])))


def consume(stream: tar.ByteStream) -> None:
    for entry in tar.entries(stream):
        check_path(entry.path)
        for _ in stream.pieces(entry.size):
            pass


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.lists(st.integers(0, 1500), max_size=6))
def test_chunk_size_does_not_matter(chunk: int, file_sizes: list[int]) -> None:
    data = b""
    for index, size in enumerate(file_sizes):
        data += tar.file_header(f"digit/{index}", size) + bytes([index]) * size + tar.padding(size)
    data += tar.stream_end(len(data))
    stream = tar.ByteStream(data[at : at + chunk] for at in range(0, len(data), chunk))
    found = []
    for entry in tar.entries(stream):
        content = b"".join(stream.pieces(entry.size))
        assert content == bytes([len(found)]) * entry.size
        found.append(entry.size)
    assert found == file_sizes
    assert stream.offset == len(data)


def test_long_pax_value_is_bounded(raw_header: Callable[..., bytes]) -> None:
    stream = tar.ByteStream(iter([raw_header(b"x", 1 << 30, b"x")]))
    with pytest.raises(MalformedError, match="too large"):
        consume(stream)
