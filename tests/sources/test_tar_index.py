"""A tar is listed by its headers alone: what it holds is found, and nothing else is read."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmanager.errors import VerificationError
from dsmanager.sources.tar_index import Member, members

names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=120).filter(
    lambda name: name not in (".", "..")
)
FORMATS = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def tar_bytes(files: dict[str, bytes], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1.5
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def listed(content: bytes, offset: int = 0, size: int | None = None) -> list[Member]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        whole = len(content) - offset if size is None else size
        return list(members(file.fileno(), offset, whole, what="this tar"))


@pytest.mark.parametrize("tar_format", FORMATS)
@given(files=st.dictionaries(names, st.binary(max_size=2000), max_size=6), before=st.integers(0, 9))
def test_offsets_and_sizes_are_those_of_the_content(
    tar_format: int, files: dict[str, bytes], before: int
) -> None:
    content = bytes(before) + tar_bytes(files, tar_format)
    found = listed(content, before)
    assert {each.path: content[each.offset : each.offset + each.size] for each in found} == files
    assert [each.path for each in found] == list(files)


def test_a_tar_within_a_tar_is_a_range_of_it(tmp_path: Path) -> None:
    files = {f"{number}.JPEG": bytes([number]) * 700 * number for number in range(5)}
    outer = tar_bytes({"a.tar": tar_bytes({}), "b.tar": tar_bytes(files)})
    inner = listed(outer)[1]
    found = listed(outer, inner.offset, inner.size)
    assert {each.path: outer[each.offset : each.offset + each.size] for each in found} == files


def test_a_hole_of_terabytes_is_stepped_over(tmp_path: Path) -> None:
    """Only a tar that is not read can be that large here."""
    size = 1 << 40
    entry = tarfile.TarInfo("huge")
    entry.size = size
    with open(tmp_path / "tar", "wb+") as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        file.truncate(512 + size + 10_240)
        found = list(members(file.fileno(), 0, 512 + size + 10_240, what="this tar"))
    assert found == [Member("huge", 512, size)]


def with_link() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    return buffer.getvalue()


@pytest.mark.parametrize("end", [0, 512, 700, 1024, 1536])
def test_one_that_ends_too_early_is_cut_off(end: int) -> None:
    content = tar_bytes({"a": b"x" * 100, "b": b"y" * 100})[:end]
    with pytest.raises(VerificationError, match=rf"cut off: its content ends at byte {end:,}"):
        listed(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(512),
        b"no tar" * 200,
        tar_bytes({"a": bytes(5000)})[:-11_000],
        tar_bytes({"a": bytes(5000)})[:700],
        tar_bytes({"../a": b"x"}),
        with_link(),
    ],
    ids=["empty", "half an end", "text", "cut", "cut early", "path", "link"],
)
def test_what_is_no_plain_tar_is_refused_and_named(content: bytes) -> None:
    with pytest.raises(VerificationError, match="this tar is damaged"):
        listed(content)
