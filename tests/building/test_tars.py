"""A builder gets of a tar what TFDS gives, and an error where TFDS would leave the rest out."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_datasets.core.download import extractor

from dsmanager.building.child import tars
from dsmanager.building.child.tars import files_of
from dsmanager.building.writing.file_part import FilePart
from dsmanager.sources.tar_index import CutOffError

Found = list[tuple[str, bytes]]

FORMATS = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)
KINDS = {
    tarfile.REGTYPE: 20,
    tarfile.AREGTYPE: 2,
    tarfile.CONTTYPE: 1,
    tarfile.DIRTYPE: 5,
    tarfile.SYMTYPE: 1,
    tarfile.LNKTYPE: 1,
    tarfile.FIFOTYPE: 1,
}
"""What a member is, and how often of 31 times."""
PACKERS = {"plain": bytes, "gzip": gzip.compress}

words = st.sampled_from(["a", "b", "c.d", ".hidden", "back~", "ünï", "x" * 90, "y" * 150, "..", ""])
names = st.lists(words, min_size=1, max_size=4).map("/".join).filter(lambda name: name.strip("/"))
members = st.lists(
    st.tuples(
        names,
        st.sampled_from([kind for kind, count in KINDS.items() for _ in range(count)]),
        st.binary(max_size=1200),
        names,
    ),
    max_size=12,
)


def tar_of(entries: list[Any], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of (name, kind, content, what it links to); what a format cannot hold is left out."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, kind, content, linkname in entries:
            if kind == tarfile.AREGTYPE:  # tarfile takes it for a folder where the field ends in /
                name = name[:40].rstrip("/") + "1"
            member = tarfile.TarInfo(name)
            member.type, member.mtime = kind, 1.5
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname = linkname
            elif kind in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
                member.size = len(content)
            try:
                tar.addfile(member, io.BytesIO(content))
            except ValueError:
                assert tar_format == tarfile.USTAR_FORMAT
    return buffer.getvalue()


def files(*names: str) -> bytes:
    return tar_of([(name, tarfile.REGTYPE, name.encode() * 300, "") for name in names])


def ours(path: Path, *, is_stream: bool = False) -> Found:
    return [(name, file.read()) for name, file in files_of(path, is_stream=is_stream)]


def theirs(content: bytes, *, is_stream: bool) -> Found:
    walk = extractor.iter_tar(io.BytesIO(content), stream=is_stream)
    return [(name, file.read()) for name, file in walk]


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("is_stream", [False, True])
@given(entries=members, tar_format=st.sampled_from(FORMATS))
def test_names_and_contents_are_those_of_tfds(
    entries: list[Any], tar_format: int, is_stream: bool, packer: Any
) -> None:
    content = packer(tar_of(entries, tar_format))
    try:
        expected: Any = theirs(content, is_stream=is_stream)
    except RecursionError:  # links that lead to one another
        expected = RecursionError
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        if expected is RecursionError:
            with pytest.raises(RecursionError):
                ours(Path(file.name), is_stream=is_stream)
        else:
            assert ours(Path(file.name), is_stream=is_stream) == expected


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.tar"


def test_what_is_given_of_a_plain_tar_is_ranges_of_it(path: Path) -> None:
    content = files("a", "b/c", ".hidden", "d")
    path.write_bytes(content)
    found = dict(files_of(path, is_stream=False))
    assert list(found) == ["a", "b/c", "d"]
    for name, part in found.items():
        assert type(part) is FilePart
        assert content[part.offset : part.offset + part.size_bytes] == name.encode() * 300
        assert part.name == str(path)
        assert part.read() == name.encode() * 300  # the walk has ended


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_files_can_be_read_when_the_walk_is_over(path: Path, packer: Any) -> None:
    """As with TensorFlow, whose files open themselves again."""
    path.write_bytes(packer(files("a", "b", "c")))
    kept = dict(files_of(path, is_stream=False))
    name, first = next(files_of(path, is_stream=False))
    assert (name, first.read()) == ("a", b"a" * 300)
    assert {name: file.read() for name, file in kept.items()} == {
        n: n.encode() * 300 for n in "abc"
    }


def test_what_takes_the_place_of_a_tar_meanwhile_is_not_read(path: Path) -> None:
    entries: list[Any] = [(f"{n}", tarfile.REGTYPE, bytes([n]) * 999, "") for n in range(9)]
    entries.insert(5, ("link", tarfile.LNKTYPE, b"", "2"))
    path.write_bytes(tar_of(entries))
    walk = files_of(path, is_stream=False)
    found = [next(walk)]
    path.unlink()
    path.write_bytes(files(*"abcdefghijklmn"))
    found += walk
    assert [name for name, _ in found] == [*"01234", "link", *"5678"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_headers_that_tarfile_reads_in_its_own_way(path: Path, is_stream: bool) -> None:
    """More times than one stand where others have a folder's name (``tar -G``)."""
    names = ["a", ".d/x", "b", "c"]
    content = bytearray(tar_of([(name, tarfile.REGTYPE, b"", "") for name in names]))
    for at in range(512, 2048, 512):
        content[at + 345 : at + 357] = b"15302223326\0"
        content[at + 148 : at + 156] = b" " * 8
        content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    path.write_bytes(content)
    expected = theirs(bytes(content), is_stream=is_stream)
    assert len(expected) == 4
    assert ours(path, is_stream=is_stream) == expected


def test_a_member_that_tarfile_takes_for_a_folder_is_not_counted_against_others(path: Path) -> None:
    """Its name goes on beyond the field for it, which ends in a slash."""
    odd = tarfile.TarInfo("d" * 99 + "/f")
    odd.type = tarfile.AREGTYPE
    rest = tar_of([("b", tarfile.REGTYPE, b"b", ""), ("ln", tarfile.LNKTYPE, b"", "a")])
    path.write_bytes(files("a")[:1024] + odd.tobuf(tarfile.GNU_FORMAT) + rest)
    assert [name for name, _ in ours(path)] == ["a", odd.name, "b", "ln"]


def test_a_file_object_is_walked_like_a_path(path: Path) -> None:
    content = files("a", "b")
    found = [(name, file.read()) for name, file in files_of(io.BytesIO(content), is_stream=False)]
    assert found == theirs(content, is_stream=False)


@pytest.mark.parametrize("most_remembered", [0, 1, 29, 30, 31, 39, 40, 41, 100])
def test_a_link_far_behind_leads_to_what_was_before(
    path: Path, most_remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [(f"{n}", tarfile.REGTYPE, bytes([n]) * 999, "") for n in range(50)]
    entries.insert(30, ("hard", tarfile.LNKTYPE, b"", "7"))
    entries.insert(40, ("soft", tarfile.SYMTYPE, b"", "49"))
    monkeypatch.setattr(tars, "_MOST_REMEMBERED", most_remembered)
    for packer in PACKERS.values():
        path.write_bytes(packer(tar_of(entries)))
        found = ours(path)
        assert len(found) == 52
        assert dict(found) == {
            **{f"{n}": bytes([n]) * 999 for n in range(50)},
            "hard": bytes([7]) * 999,
            "soft": bytes([49]) * 999,
        }


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_a_file_can_be_read_until_the_last_one_has_come(
    path: Path, packer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another walk has gone on since."""
    monkeypatch.setattr(tars, "_MOST_REMEMBERED", 3)
    entries: list[Any] = [(f"{n}", tarfile.REGTYPE, bytes([n]) * 999, "") for n in range(9)]
    entries.insert(5, ("link", tarfile.LNKTYPE, b"", "2"))
    path.write_bytes(packer(tar_of(entries)))
    kept = {}
    for name, file in files_of(path, is_stream=False):
        kept[name] = file
        if len(kept) == 10:
            found = {each: opened.read() for each, opened in kept.items()}
    assert found == {**{f"{n}": bytes([n]) * 999 for n in range(9)}, "link": bytes([2]) * 999}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_a_header_that_is_damaged_is_not_the_end(path: Path, is_stream: bool, packer: Any) -> None:
    content = bytearray(files("a", "b", "c"))
    third = 2 * (512 + 512)
    content[third] ^= 1
    assert len(theirs(packer(content), is_stream=is_stream)) == 2  # and that is all it says
    path.write_bytes(packer(content))
    walk = files_of(path, is_stream=is_stream)
    assert [next(walk)[0], next(walk)[0]] == ["a", "b"]
    with pytest.raises(tarfile.ReadError, match=r"bad checksum at byte 2,048"):
        next(walk)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_tar_that_is_cut_off_is_named_before_a_part_of_a_member_is_given(
    path: Path, is_stream: bool
) -> None:
    path.write_bytes(files("a", "b", "c")[:1700])
    walk = files_of(path, is_stream=is_stream)
    assert next(walk)[0] == "a"
    with pytest.raises(CutOffError, match=r"some\.tar is damaged: it is cut off: .* byte 1,700"):
        next(walk)


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_a_tar_without_an_end_is_whole_if_its_last_member_is(path: Path, packer: Any) -> None:
    path.write_bytes(packer(files("a", "b")[: 2 * 1024]))
    assert [name for name, _ in ours(path)] == ["a", "b"]


def test_what_is_no_tar_is_said(path: Path) -> None:
    for content in (b"", b"text" * 1000):
        path.write_bytes(content)
        with pytest.raises(tarfile.ReadError):
            ours(path)


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_memory_does_not_grow_with_the_members(
    path: Path, is_stream: bool, packer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "_MOST_REMEMBERED", 500)

    def peak_bytes(count: int) -> int:
        noise = [(f"{n}", tarfile.REGTYPE, os.urandom(400), "") for n in range(count)]
        path.write_bytes(packer(tar_of(noise)))
        tracemalloc.start()
        try:
            assert sum(1 for _ in files_of(path, is_stream=is_stream)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak_bytes(2000)
    assert peak_bytes(8000) < few + 1_500_000  # tarfile keeps 475 bytes of each


CONTENT = b"".join(b"%d\n" % n for n in range(4000))


@pytest.fixture
def part(tmp_path: Path) -> Iterator[FilePart]:
    path = tmp_path / "whole"
    path.write_bytes(b"before" + CONTENT + b"after")
    with io.FileIO(path) as file:
        yield FilePart(file, len(b"before"), len(CONTENT))


counts = st.one_of(st.integers(0, 30_000), st.just(-1))
calls = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["read", "readline"]), st.tuples(counts)),
        st.tuples(st.just("seek"), st.tuples(st.integers(0, 30_000), st.just(0))),
        st.tuples(st.just("seek"), st.tuples(st.integers(-100, 100), st.sampled_from([1, 2]))),
        st.tuples(st.sampled_from(["tell", "readlines", "seekable"]), st.just(())),
    ),
    max_size=20,
)


@given(calls)
def test_a_part_of_a_file_reads_as_tarfile_has_it(calls: list[Any]) -> None:
    with tempfile.NamedTemporaryFile() as whole:
        whole.write(tar_of([("a", tarfile.REGTYPE, CONTENT, ""), ("b", tarfile.REGTYPE, b"b", "")]))
        whole.flush()
        part = dict(files_of(whole.name, is_stream=False))["a"]
        with tarfile.open(whole.name) as tar:
            expected = tar.extractfile("a")
            for name, arguments in calls:
                assert _outcome(part, name, arguments) == _outcome(expected, name, arguments)


def _outcome(file: Any, name: str, arguments: tuple[int, ...]) -> Any:
    try:
        return getattr(file, name)(*arguments)
    except (OSError, ValueError) as error:
        return type(error)


def test_a_part_is_read_by_whatever_reads_files(part: FilePart) -> None:
    assert part.peek(3)[:3] == b"0\n1"
    assert part.read1(5) == CONTENT[:5]
    raw = FilePart(part.file, part.offset, part.size_bytes).raw  # the buffer does not hear of it
    for file in (part, raw):
        buffer = bytearray(10)
        file.seek(5)
        assert file.readinto(buffer) == 10
        assert buffer == CONTENT[5:15]
        assert file.read(7) == CONTENT[15:22]
    values = np.zeros(6, np.int16)
    assert raw.readinto(values) == 12
    assert values.tobytes() == CONTENT[22:34]
    assert not zipfile.is_zipfile(FilePart(part.file, 0, 4))
    part.seek(0)
    assert list(io.TextIOWrapper(part, "ascii")) == CONTENT.decode().splitlines(keepends=True)


def test_parts_of_one_file_do_not_disturb_each_other(part: FilePart) -> None:
    other = FilePart(part.file, part.offset + 2, 2)
    assert part.read(4) == CONTENT[:4]
    assert other.read() == CONTENT[2:4]
    assert part.read() == CONTENT[4:]
    assert part.read() == other.read() == b""


def test_a_part_that_is_gone_is_no_shorter_part(part: FilePart) -> None:
    whole = Path(part.name)
    with open(whole, "r+b") as file:
        file.truncate(len(b"before") + 9000)
    assert part.read(9000) == CONTENT[:9000]
    with pytest.raises(OSError, match=r"whole ends before byte 18,896"):
        part.read(100)
    with pytest.raises(OSError, match="ends before"):
        part.read()
    part.file.close()
    with pytest.raises(ValueError, match="closed file"):
        part.read()
