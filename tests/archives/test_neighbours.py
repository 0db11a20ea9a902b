"""Members that look like attacks and are none: what is refused is refused for its own reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dsmanager.archives.extraction import Extracted

Header = Callable[..., bytes]
END = bytes(10_240)
GNU = b"ustar  \x00"
V = b"digit/1.0.8/"


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    for digits in range(1, 7):
        length = len(body) + digits
        if len(b"%d" % length) == digits:
            return b"%d" % length + body
    raise AssertionError


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


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
