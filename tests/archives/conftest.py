from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from dsmanager.archives.extraction import Expected, Extracted, extract
from dsmanager.archives.packing import pack
from dsmanager.archives.sidecar import Sidecar, SidecarFacts
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

REF = Ref("digit", None, "1.0.8")
FACTS = SidecarFacts(
    created="2025-01-02T03:04:05Z",
    tfds_version="4.9.10",
    sources=({"url": "https://example.org/digit.tar.gz", "size": 3, "sha256": "0" * 64},),
    license="CC BY-SA 4.0",
    citation="@misc{digit}",
    splits={"train": {"examples": 2, "shards": 1}},
)


def noise(size: int, seed: str = "noise") -> bytes:
    """Bytes that do not compress, the same everywhere."""
    return hashlib.shake_256(seed.encode()).digest(size)


@pytest.fixture
def write_files() -> Callable[[Path, dict[str, bytes]], Path]:
    """Writes ``{path: content}`` below a folder and returns the folder."""

    def write(root: Path, files: dict[str, bytes]) -> Path:
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return root

    return write


@pytest.fixture
def digit_files() -> dict[str, bytes]:
    return {
        "digit/1.0.8/dataset_info.json": b'{"name": "digit"}\n',
        "digit/1.0.8/digit-test.tfrecord-00000-of-00001": noise(40_000),
        "digit/1.0.8/digit-train.tfrecord-00000-of-00001": b"a compressible shard " * 120_000,
        "digit/1.0.8/empty.txt": b"",
        "digit/1.0.8/features.json": b"{}",
    }


@pytest.fixture
def data_dir(
    tmp_path: Path,
    digit_files: dict[str, bytes],
    write_files: Callable[[Path, dict[str, bytes]], Path],
) -> Path:
    return write_files(tmp_path / "data", digit_files)


@pytest.fixture
def pack_archive() -> Callable[..., Sidecar]:
    """``pack_archive(data_dir, archive, subdirs=…, ref=…, **options)``"""

    def call(
        data_dir: Path,
        archive: Path,
        subdirs: tuple[str, ...] = ("digit/1.0.8",),
        ref: Ref = REF,
        **options: object,
    ) -> Sidecar:
        options = {
            "facts": FACTS,
            "progress": Progress(),
            "cancel": CancelToken(),
            **options,
        }
        return pack(data_dir, ref, [PurePosixPath(each) for each in subdirs], archive, **options)

    return call


@pytest.fixture
def unpack() -> Callable[..., Extracted]:
    """``unpack(archive, into, name=…, subdir=…, size=…, sha256=…, sidecar=…)``; makes ``into``."""

    def call(archive: Path, into: Path, **known: object) -> Extracted:
        known = {
            "name": "digit",
            "subdir": None,
            "size": None,
            "sha256": None,
            "sidecar": None,
            **known,
        }
        into.mkdir(parents=True, exist_ok=True)
        expected = Expected(**known)
        return extract(archive, into, expected=expected, progress=Progress(), cancel=CancelToken())

    return call


@pytest.fixture
def tree_of() -> Callable[[Path], dict[str, bytes]]:
    """All files below a folder: ``{path: content}``."""

    def read(root: Path) -> dict[str, bytes]:
        return {
            os.path.relpath(os.path.join(folder, name), root): Path(folder, name).read_bytes()
            for folder, _, names in os.walk(root)
            for name in names
        }

    return read


@pytest.fixture
def make_noise() -> Callable[..., bytes]:
    return noise


@pytest.fixture
def raw_header() -> Callable[..., bytes]:
    """One tar header with any field wrong on purpose, made without the code under test."""

    def header(
        name: bytes = b"digit/1.0.8/a",
        size: bytes | int = 0,
        kind: bytes = b"0",
        *,
        magic: bytes = b"ustar\x0000",
        prefix: bytes = b"",
        link: bytes = b"",
        checksum: bytes | None = None,
    ) -> bytes:
        size_field = b"%011o\0" % size if isinstance(size, int) else size
        fields = [
            (name, 100),
            (b"0000644\0", 8),
            (b"0000000\0", 8),
            (b"0000000\0", 8),
            (size_field, 12),
            (b"00000000000\0", 12),
            (b" " * 8, 8),
            (kind, 1),
            (link, 100),
            (magic, 8),
            (b"", 80),
            (prefix, 155),
            (b"", 12),
        ]
        block = b"".join(value.ljust(width, b"\0") for value, width in fields)
        assert len(block) == 512
        checksum = b"%06o\0 " % sum(block) if checksum is None else checksum
        return block[:148] + checksum + block[156:]

    return header


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    disk = tmp_path / "small disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root on Linux")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)
