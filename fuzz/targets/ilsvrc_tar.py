"""ILSVRC's tars by their headers, tars within a tar too: every image is a range of the file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from dsmanager.errors import VerificationError
from dsmanager.sources.imagenet import TARS, ImageReader, SplitSource, groups, images_of
from fuzz.checks import refusing_with, scratch_folder
from fuzz.structure import END, GNU, Script, padded, tar_header, tar_stream, with_checksums

_SYNSETS = (b"n01440764.tar", b"n01443537.tar", b"x/n01440764.tar", b".tar", b"n1", b"\xff.tar")
_IMAGES = (
    b"a.JPEG",
    b"b.JPEG",
    b"ILSVRC2012_val_00000001.JPEG",
    b"val/ILSVRC2012_val_00000002.JPEG",
)
_IMAGES += (b"ILSVRC2012_val_00050001.JPEG", b"./ILSVRC2012_val_00000001.JPEG", "é.JPEG".encode())


def run(data: bytes) -> None:
    """Blocks of a tar, a script of one that may lie, or of one that holds tars of images."""
    for content in _tars(data):
        for split in ("train", "validation"):
            path = _folder() / TARS[split]
            path.write_bytes(content)
            with refusing_with(VerificationError):
                _check(SplitSource(split, "tar", path), content)


def _check(source: SplitSource, content: bytes) -> None:
    taken: list[tuple[int, int]] = []
    for group in groups(source):
        names = set()
        with ImageReader(source) as reader:
            for image in images_of(source, group):
                assert image.name not in names
                names.add(image.name)
                assert group.offset < image.offset <= group.offset + group.size - image.size
                assert reader.read(image) == content[image.offset : image.offset + image.size]
                assert image.synset
                assert image.synset == group.synset or source.split == "validation"
                taken.append((image.offset, image.offset + image.size))
    taken.sort()
    assert all(one[1] <= other[0] for one, other in pairwise(taken))


def _tars(data: bytes) -> set[bytes]:
    if data[257:262] == b"ustar":
        return {data, with_checksums(data)}
    if data[:1] and data[0] & 1:
        return {tar_stream(Script(data[1:]))}
    return {_nested(Script(data[1:]))}


def _nested(script: Script) -> bytes:
    parts = []
    while script and len(parts) < 20:
        name, flags = script.pick(_SYNSETS), script.byte()
        inner = tar_stream(script) if flags & 7 == 7 else _images(script)
        if flags & 0x38 == 0x38:
            inner = inner[: script.number()]
        size = script.number() if flags & 0xC0 == 0xC0 else len(inner)
        parts.append(tar_header(name, size, magic=GNU) + padded(inner))
    return b"".join(parts) + END


def _images(script: Script) -> bytes:
    parts = []
    for _ in range(script.byte() % 5):
        name, content = script.pick(_IMAGES), script.bytes(script.byte() % 40)
        parts.append(tar_header(name, len(content), magic=GNU) + padded(content))
    return b"".join(parts) + END


@cache
def _folder() -> Path:
    return scratch_folder()


def seeds() -> Iterator[tuple[str, bytes]]:
    h = tar_header
    images = h(b"a.JPEG", 3) + padded(b"abc") + h(b"b.JPEG", 1) + padded(b"d") + END
    yield "nested", h(b"n01440764.tar", len(images)) + images + END
    yield "twice", (h(b"n01440764.tar", len(images)) + images) * 2 + END
    yield "cut-within", h(b"n01440764.tar", 1100) + padded(images[:1100]) + END
    yield "flat", h(b"ILSVRC2012_val_00000001.JPEG", 3) + padded(b"abc") + END
    yield "no-label", h(b"photo.JPEG", 3) + padded(b"abc") + END
    yield "no-synset", h(b".tar", len(images)) + images + END
    yield "link", h(b"ILSVRC2012_val_00000001.JPEG", 0, b"2", link=b"/etc/passwd") + END
    yield "script-nested", bytes([0, 0, 0, 2, 0, 3, 1, 2, 3, 1, 2, 9, 9, 1, 7, 0, 0, 0, 3, 1, 1])
    yield "script-lies", bytes([1, 0, 0, 0, 3, 97, 98, 99, 0, 1, 0, 0, 19])
