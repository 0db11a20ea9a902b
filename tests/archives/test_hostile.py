"""Archives that somebody made to harm: each is refused, and nothing is left outside its folder."""

from __future__ import annotations

import functools
import gzip
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from dsmanager.archives import reading
from dsmanager.archives.extraction import Extracted
from dsmanager.archives.paths import MalformedError
from dsmanager.archives.sidecar import Member, Sidecar
from dsmanager.errors import VerificationError
from dsmanager.refs import Ref

Header = Callable[..., bytes]
END = bytes(10_240)
GNU = b"ustar  \x00"
V = b"digit/1.0.8/"
GOOD_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    for digits in range(1, 7):
        length = len(body) + digits
        if len(b"%d" % length) == digits:
            return b"%d" % length + body
    raise AssertionError


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def cases(h: Header) -> dict[str, bytes]:
    """Name of the attack -> a tar stream."""

    def pax(content: bytes, kind: bytes = b"x") -> bytes:
        return h(b"././@PaxHeader", len(content), kind) + padded(content)

    def long_name(content: bytes, kind: bytes = b"L") -> bytes:
        return h(b"././@LongLink", len(content), kind, magic=GNU) + padded(content)

    good = h(V + b"a")
    return {
        "hard link": good + h(V + b"b", kind=b"1", link=V + b"a") + END,
        "symbolic link": h(V + b"b", kind=b"2", link=b"/etc/passwd") + END,
        "symbolic link to a folder, then a file through it": (
            h(V + b"b", kind=b"2", link=b"/tmp") + h(V + b"b/c") + END
        ),
        "character device": h(V + b"b", kind=b"3") + END,
        "block device": h(V + b"b", kind=b"4") + END,
        "fifo": h(V + b"b", kind=b"6") + END,
        "contiguous file": h(V + b"b", kind=b"7") + END,
        "GNU sparse file": h(V + b"b", kind=b"S", magic=GNU) + END,
        "GNU long link name": long_name(b"/etc/passwd\0", b"K") + good + END,
        "GNU multi-volume": h(V + b"b", kind=b"M", magic=GNU) + END,
        "GNU volume label": h(V + b"b", kind=b"V", magic=GNU) + END,
        "GNU dump folder": h(V + b"b", kind=b"D", magic=GNU) + END,
        "unknown type": h(V + b"b", kind=b"Z") + END,
        "global PAX header": pax(record(b"path", V + b"b"), b"g") + good + END,
        "Solaris extended header": pax(record(b"path", V + b"b"), b"X") + good + END,
        "absolute name": h(b"/digit/1.0.8/a") + END,
        "absolute name after ./": h(b".//digit/1.0.8/a") + END,
        "climbing name": h(b"digit/1.0.8/../../../a") + END,
        "climbing folder": h(b"digit/../../x/", kind=b"5") + END,
        "only ..": h(b"..", kind=b"5") + END,
        "dot inside": h(b"digit/./1.0.8/a") + END,
        "two leading dots": h(b"././digit/1.0.8/a") + END,
        "empty name": h(b"") + END,
        "empty folder name": h(b"", kind=b"5") + END,
        "only a slash": h(b"/", kind=b"5") + END,
        "empty component": h(b"digit//1.0.8/a") + END,
        "file with a trailing slash": h(V + b"a/") + END,
        "folder with two trailing slashes": h(V + b"/", kind=b"5") + END,
        "control character": h(V + b"a\x1b[2J") + END,
        "line feed": h(V + b"a\nb") + END,
        "delete character": h(V + b"a\x7f") + END,
        "C1 control character": h(V + "a\x9b".encode()) + END,
        "line separator": h(V + "a\u2028".encode()) + END,
        "name that is not UTF-8": h(V + b"\xff\xfe") + END,
        "surrogates in UTF-8": h(V + b"\xed\xa0\x80") + END,
        "component over 255 bytes": pax(record(b"path", V + b"x" * 256)) + good + END,
        "deeper than eight": h(b"digit/" + b"d/" * 8 + b"a") + END,
        "prefix that climbs": h(b"a", prefix=b"digit/..") + END,
        "prefix that is absolute": h(b"1.0.8/a", prefix=b"/digit") + END,
        "duplicate": good + good + END,
        "duplicate through ./": good + h(b"./" + V + b"a") + END,
        "case collision": good + h(V + b"A") + END,
        "case collision of folders": good
        + h(b"digit/1.0.8/B/", kind=b"5")
        + h(b"Digit/", kind=b"5")
        + END,
        "Unicode collision": h(V + "é".encode()) + h(V + "e\u0301".encode()) + END,
        "sharp s collision": h(V + "ß".encode()) + h(V + b"SS") + END,
        "file and folder of one name": good + h(V + b"a/", kind=b"5") + END,
        "file below a file": good + h(V + b"a/b") + END,
        "another top folder": good + h(b"other/1.0.8/a") + END,
        "file at the top": good + h(b"digit") + END,
        "member beside the version": good + h(b"digit/a") + END,
        "bad checksum": h(V + b"a", checksum=b"000000\0 ") + END,
        "checksum that is no number": h(V + b"a", checksum=b"zzzzzz\0 ") + END,
        "no magic": h(V + b"a", magic=bytes(8)) + END,
        "garbage instead of a header": good + b"garbage!" * 64 + END,
        "size that is not octal": h(V + b"a", b"0000000000x\0") + END,
        "empty size": h(V + b"a", bytes(12)) + END,
        "signed size": h(V + b"a", b"-0000000001\0") + END,
        "negative base-256 size": h(V + b"a", b"\xff" * 12) + END,
        "absurd base-256 size": h(V + b"a", b"\x80" + b"\xff" * 11) + END,
        "size beyond the end": h(V + b"a", 8**11 - 1) + END,
        "base-256 size beyond the end": h(V + b"a", b"\x80" + (1 << 60).to_bytes(11, "big")) + END,
        "folder with content": h(V, 512, b"5") + bytes(512) + END,
        "PAX size of a folder": pax(record(b"size", b"512")) + h(V, kind=b"5") + END,
        "PAX link path": pax(record(b"linkpath", b"/etc")) + good + END,
        "PAX sparse": pax(record(b"GNU.sparse.major", b"1")) + good + END,
        "PAX sparse name": pax(record(b"GNU.sparse.name", V + b"b")) + good + END,
        "PAX character set": pax(record(b"hdrcharset", b"BINARY")) + good + END,
        "unknown PAX key": pax(record(b"vendor.key", b"1")) + good + END,
        "PAX path that climbs": pax(record(b"path", b"digit/1.0.8/../../../a")) + good + END,
        "empty PAX path": pax(record(b"path", b"")) + good + END,
        "PAX path with NUL": pax(record(b"path", V + b"a\0b")) + good + END,
        "PAX path twice": pax(record(b"path", V + b"a") * 2) + good + END,
        "PAX size negative": pax(record(b"size", b"-1")) + good + END,
        "PAX size absurd": pax(record(b"size", b"9" * 19)) + good + END,
        "PAX size of many digits": pax(record(b"size", b"9" * 5000)) + good + END,
        "PAX record without length": pax(b"path=a\n") + good + END,
        "PAX record of length 0": pax(b"0 path=a\n") + good + END,
        "PAX record cut off": pax(b"99 path=a\n") + good + END,
        "PAX record without value": pax(b"7 path\n") + good + END,
        "two PAX headers": pax(record(b"path", V + b"a")) * 2 + good + END,
        "PAX header over 64 KiB": pax(record(b"comment", b"x" * (64 << 10))) + good + END,
        "PAX header of 8 GiB": h(b"x", 8**11 - 1, b"x") + END,
        "PAX header without a member": good + pax(record(b"path", V + b"b")) + END,
        "long name over 64 KiB": long_name(b"x" * (65 << 10) + b"\0") + good + END,
        "long name without NUL": long_name(V + b"b") + good + END,
        "long name with NUL inside": long_name(V + b"b\0c\0") + good + END,
        "empty long name": long_name(b"") + good + END,
        "two long names": long_name(V + b"b\0") * 2 + good + END,
        "long name and PAX path": (
            long_name(V + b"b\0") + pax(record(b"path", V + b"c")) + good + END
        ),
        "one zero block, then a member": good + bytes(512) + h(V + b"b") + END,
        "one zero block only": good + bytes(512),
        "no end": good,
        "a member after the end": good + bytes(1024) + h(V + b"b") + END,
        "garbage after the end": good + END + b"x" * 512,
        "half a block after the end": good + END + bytes(100),
        "endless zeros after the end": good + END + bytes(2 << 20),
        "nothing but zeros": END,
        "nothing": b"",
    }


CASES = sorted(cases(lambda *_, **__: bytes(512)))


@pytest.mark.parametrize("with_sidecar", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_hostile_tar_is_refused(
    tmp_path: Path,
    raw_header: Header,
    unpack: Callable[..., Extracted],
    case: str,
    with_sidecar: bool,
) -> None:
    data = cases(raw_header)[case]
    archive = tmp_path / "digit__1.0.8__cache.tar"
    archive.write_bytes(data)
    out = tmp_path / "inner" / "out"
    tracemalloc.start()
    with pytest.raises(VerificationError) as raised:
        unpack(archive, out, sidecar=sidecar_for(data) if with_sidecar else None)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert raised.value.message.isprintable()
    assert peak_bytes < 16 << 20
    assert sorted(os.listdir(tmp_path)) == [archive.name, "inner"]
    assert os.listdir(out.parent) == ["out"]
    for path in out.rglob("*"):
        assert path.is_dir() or path.is_file()
        assert not path.is_symlink()


def sidecar_for(data: bytes) -> Sidecar:
    """One that goes along with everything but the members' names."""
    return Sidecar(
        ref=Ref("digit", None, "1.0.8"),
        archive="digit__1.0.8__cache.tar",
        size=len(data),
        sha256="0" * 64,
        tar_sha256="0" * 64,
        compression={"format": "none"},
        subdir=("digit/1.0.8",),
        members=(Member("digit/1.0.8/a", 0, GOOD_SHA256),),
        created="2025",
        dsmanager_version="0",
        tfds_version=None,
        builder_sha256=None,
        sources=(),
        license=None,
        citation=None,
        splits={},
    )


def test_the_harmless_neighbours_of_the_attacks_are_read(
    tmp_path: Path, raw_header: Header, unpack: Callable[..., Extracted]
) -> None:
    """So that the table above fails for the reason that its names tell."""
    h = raw_header
    times = record(b"mtime", b"1.5") + record(b"atime", b"1") + record(b"path", V + b"p")
    long = V + b"L" * 200
    data = b"".join(
        (
            h(b"./", kind=b"5"),
            h(b"digit/", kind=b"5"),
            h(b"./digit/1.0.8/", kind=b"5"),
            h(V + b"a", kind=b"\0"),
            h(b"x", len(times), b"x") + padded(times) + h(b"ignored"),
            h(b"y", len(long) + 1, b"L", magic=GNU) + padded(long + b"\0") + h(b"cut", magic=GNU),
            h(V + b"n", b"\x80" + (3).to_bytes(11, "big"), magic=GNU) + padded(b"abc"),
            h(b"q", prefix=b"digit/1.0.8"),
            END,
        )
    )
    archive = tmp_path / "digit__1.0.8__cache.tar"
    archive.write_bytes(data)
    unpack(archive, tmp_path / "out")
    names = sorted(os.listdir(tmp_path / "out/digit/1.0.8"))
    assert names == sorted(["a", "p", "L" * 200, "n", "q"])
    assert (tmp_path / "out/digit/1.0.8/n").read_bytes() == b"abc"


# --- compressed streams ----------------------------------------------------------------------


@functools.cache
def compressed_cases(tar: bytes) -> dict[str, tuple[str, bytes]]:
    """Name -> (suffix, archive bytes)."""
    gz, zst = gzip.compress(tar), zstandard.ZstdCompressor(write_checksum=True).compress(tar)
    empty = gzip.compress(b"")
    dictionary = zstandard.ZstdCompressionDict(tar[:1024])
    return {
        "empty gz": (".tar.gz", b""),
        "plain tar named gz": (".tar.gz", tar),
        "zst named gz": (".tar.gz", zst),
        "gz named zst": (".tar.zst", gz),
        "gz named tar": (".tar", gz),
        "zst named tar": (".tar", zst),
        "unknown suffix": (".zip", gz),
        "text after gz": (".tar.gz", gz + b"text"),
        "zeros after gz": (".tar.gz", gz + bytes(512)),
        "half a magic after gz": (".tar.gz", gz + b"\x1f\x8b"),
        "half a member after gz": (".tar.gz", gz + gz[:20]),
        "a second archive after gz": (".tar.gz", gz + gz),
        "cut in the gz trailer": (".tar.gz", gz[:-1]),
        "wrong gz checksum": (".tar.gz", gz[:-8] + b"abcd" + gz[-4:]),
        "wrong gz length": (".tar.gz", gz[:-4] + b"abcd"),
        "gz of another method": (".tar.gz", gz[:2] + b"\x07" + gz[3:]),
        "gz of invalid deflate": (".tar.gz", gz[:10] + b"\x07" + gz[11:]),
        "gz distance too far back": (".tar.gz", gz[:10] + b"\x03\x02\x00" + gz[13:]),
        "many empty gz members": (".tar.gz", empty * 2000 + gz),
        "endless gz header": (".tar.gz", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 100_000),
        "gz bomb": (".tar.gz", isal_zlib.compress(tar + bytes(64 << 20), 1, 31)),
        "empty zst": (".tar.zst", b""),
        "text after zst": (".tar.zst", zst + b"text"),
        "cut in the zst checksum": (".tar.zst", zst[:-1]),
        "wrong zst checksum": (".tar.zst", zst[:-4] + b"abcd"),
        "zst skippable frame": (".tar.zst", b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zst),
        "zst with a dictionary": (
            ".tar.zst",
            zstandard.ZstdCompressor(dict_data=dictionary).compress(tar),
        ),
        "zst window of 2 GiB": (
            ".tar.zst",
            b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\x01\x00\x00",
        ),
        "zst reserved block": (".tar.zst", b"\x28\xb5\x2f\xfd\x00\x58" + b"\x07\x00\x00"),
        "zst block over 128 KiB": (
            ".tar.zst",
            b"\x28\xb5\x2f\xfd\x00\x58" + struct.pack("<I", 1 | (1 << 20) << 3)[:3],
        ),
        "zst bomb of repeated bytes": (
            ".tar.zst",
            b"\x28\xb5\x2f\xfd\x00\x58"
            + (struct.pack("<I", 2 | (128 << 10) << 3)[:3] + b"\0") * 2000
            + b"\x01\x00\x00",
        ),
    }


GOOD_TAR = bytes(10_240)
COMPRESSED = sorted(compressed_cases(GOOD_TAR))


@pytest.mark.parametrize("case", COMPRESSED)
def test_hostile_compressed_stream_is_refused(
    tmp_path: Path, raw_header: Header, unpack: Callable[..., Extracted], case: str
) -> None:
    content = bytes(range(256)) * 20
    tar = raw_header(V + b"a", len(content)) + padded(content) + END
    suffix, data = compressed_cases(tar)[case]
    archive = tmp_path / f"digit__1.0.8__cache{suffix}"
    archive.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(VerificationError) as raised:
        unpack(archive, tmp_path / "out")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert raised.value.message.isprintable()
    assert peak_bytes < 32 << 20


def test_a_bomb_stops_at_what_its_sidecar_allows() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9, -15)
    data = b"\x1f\x8b\x08\x00\0\0\0\0\0\xff" + bomb + bytes(8)
    chunks = reading.tar_chunks("gz", iter([data]), max_bytes=1 << 20)
    assert len(next(chunks)) <= 1 << 20
    with pytest.raises(MalformedError, match="unpacks to more"):
        next(chunks)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["gz", "zst", "none"]),
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
)
def test_arbitrary_compressed_bytes_never_crash(
    kind: str, content: bytes, changes: list[tuple[int, int]]
) -> None:
    encode: dict[str, Callable[[bytes], Any]] = {
        "gz": gzip.compress,
        "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
        "none": bytes,
    }
    data = bytearray(encode[kind](content * 3))
    for at, value in changes:
        if at < len(data):
            data[at] = value
    pieces = iter([bytes(data[:7]), bytes(data[7:])])
    try:
        found = b"".join(reading.tar_chunks(kind, pieces, max_bytes=1 << 20))
    except MalformedError:
        assert changes or (kind == "none" and content)
    else:
        assert changes or found == content * 3
