"""Archives of every format are unpacked without TensorFlow, to what TFDS makes of them with it."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import VerificationError

Write = Callable[..., Path]
TREE = {
    "top.txt": b"top",
    "a/b/c/deep.bin": bytes(range(256)) * 300,
    "a/empty": b"",
    "ünï cödé/fïle.txt": "ä".encode(),
    "./dotted/x": b"x",
    ".hidden": b"left out, as in TFDS",
    "a/back~": b"left out, as in TFDS",
}
EXPECTED = {
    "top.txt": 3,
    "a/b/c/deep.bin": 76_800,
    "a/empty": 0,
    "ünï cödé/fïle.txt": 2,
    "dotted/x": 1,
    "to-top": 3,
    "as-top": 3,
}
OF_ZIP = {name: size for name, size in EXPECTED.items() if name not in ("to-top", "as-top")}


def _tar(mode: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as tar:
        for name, content in TREE.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, kind in (("to-top", tarfile.SYMTYPE), ("as-top", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "top.txt"
            tar.addfile(member)
        folder = tarfile.TarInfo("empty folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    return buffer.getvalue()


def _zip(compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in TREE.items():
            archive.writestr(name, content)
        archive.writestr("empty folder/", b"")
    return buffer.getvalue()


TREES = {
    "plain.tar": lambda: _tar("w"),
    "old.tar": lambda: _tar("w", format=tarfile.GNU_FORMAT),
    "a.tar.gz": lambda: _tar("w:gz"),
    "a.tgz": lambda: _tar("w:gz"),
    "a.tar.bz2": lambda: _tar("w:bz2"),
    "a.tbz2": lambda: _tar("w:bz2"),
    "stored.zip": lambda: _zip(zipfile.ZIP_STORED),
    "deflated.zip": lambda: _zip(zipfile.ZIP_DEFLATED),
    "bzip2.zip": lambda: _zip(zipfile.ZIP_BZIP2),
    "lzma.zip": lambda: _zip(zipfile.ZIP_LZMA),
}
"""What TFDS knows by its name."""
OWN_TREES = {"a.tar.xz": lambda: _tar("w:xz"), "a.txz": lambda: _tar("w:xz")}
"""What TFDS leaves packed."""
TEXT = b"line\n" * 40_000
FILES = {
    "one.txt.gz": gzip.compress(TEXT),
    "twice.gz": gzip.compress(TEXT[:100_000]) + gzip.compress(TEXT[100_000:]),
    "one.txt.bz2": bz2.compress(TEXT),
}
OWN_FILES = {"one.txt.xz": lzma.compress(TEXT), "one.json.xz": lzma.compress(TEXT)}
UNPACK_ALL = """
import hashlib, os, pathlib
def seen(path):
    path = pathlib.Path(path)
    files = [path] if path.is_file() else sorted(p for p in path.rglob('*') if p.is_file())
    return {
        os.fspath(each.relative_to(path)): hashlib.sha256(each.read_bytes()).hexdigest()
        for each in files
    }
def unpack_all(manager, folder):
    return {
        each.name: seen(manager.extract(each)) for each in sorted(pathlib.Path(folder).iterdir())
    }
"""


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    folder = tmp_path / "manual"
    folder.mkdir()
    for name, make in (TREES | OWN_TREES).items():
        (folder / name).write_bytes(make())
    for name, content in (FILES | OWN_FILES).items():
        (folder / name).write_bytes(content)
    return folder


def _unpacked(bench: Any, write_builder: Write, archives: Path) -> dict[str, dict[str, str]]:
    """What a build sees: by archive, the sha256 of each file in it."""
    body = """
    import json
    print('SEES', json.dumps(unpack_all(dl_manager, dl_manager.manual_dir)))
    yield 0, {'x': 1}
    """
    extra = "MANUAL_DOWNLOAD_INSTRUCTIONS = 'archives'"
    bench.build(write_builder(top=UNPACK_ALL, body=body, extra=extra), manual_dir=archives)
    lines = bench.log_path.read_text().splitlines()
    line = next(each for each in lines if each.startswith("SEES "))
    seen: dict[str, dict[str, str]] = json.loads(line.removeprefix("SEES "))
    return seen


def test_every_format_is_unpacked_and_nothing_of_it_is_left(
    bench: Any, write_builder: Write, archives: Path, no_tensorflow: Path
) -> None:
    seen = _unpacked(bench, write_builder, archives)
    for name in TREES | OWN_TREES:
        assert set(seen[name]) == set(OF_ZIP if name.endswith(".zip") else EXPECTED), name
    assert all(
        seen[name] == seen["plain.tar"] for name in seen if ".t" in name and "txt" not in name
    )
    assert {tuple(seen[name]) for name in FILES | OWN_FILES} == {(".",)}
    assert len({seen[name]["."] for name in FILES | OWN_FILES}) == 1
    assert bench.leftovers == []


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)
def test_what_is_unpacked_is_what_tfds_unpacks_with_tensorflow(
    bench: Any, write_builder: Write, archives: Path, tmp_path: Path, no_tensorflow: Path
) -> None:
    ours = _unpacked(bench, write_builder, archives)
    for name in OWN_TREES | OWN_FILES:
        (archives / name).unlink()
    script = f"""{UNPACK_ALL}
import json, sys
import tensorflow_datasets as tfds
manager = tfds.download.DownloadManager(download_dir=sys.argv[1])
with manager._extractor.tqdm():
    print(json.dumps(unpack_all(manager, sys.argv[2])))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "theirs"), str(archives)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert set(theirs) == set(TREES) | set(FILES)
    assert {name: ours[name] for name in theirs} == theirs


def test_xz_is_known_by_the_name_that_it_was_fetched_under(
    bench: Any, write_builder: Write, server: Any, archives: Path
) -> None:
    names = ["a.tar.xz", "a.txz", "one.txt.xz"]
    server.files |= {f"/{name}": (archives / name).read_bytes() for name in names}
    body = f"""
    import pathlib
    for name in {names}:
        url = '{server.url}/' + name
        path = pathlib.Path(dl_manager.download_and_extract(url))
        packed = dl_manager.download(url)
        inside = {{name: file.read() for name, file in dl_manager.iter_archive(packed)}}
        if path.is_file():
            assert name == 'one.txt.xz'
            assert inside == {{'': path.read_bytes()}}
        else:
            files = [each for each in path.rglob('*') if each.is_file()]
            found = {{each.relative_to(path).as_posix(): each.read_bytes() for each in files}}
            assert inside == found, (name, inside, found)
            assert len(found) == {len(EXPECTED)}
        left = tfds.download.Resource(
            path=packed, extract_method=tfds.download.ExtractMethod.NO_EXTRACT)
        assert dl_manager.extract(left) == packed
        yield name, {{'x': 1}}
    """
    bench.build(write_builder(body=body))
    assert server.requests == [f"/{name}" for name in names]


@pytest.mark.parametrize("name", ["one.txt.xz", "a.zip", "one.txt.bz2"])
def test_an_archive_that_was_cut_short_is_named(
    bench: Any, write_builder: Write, archives: Path, tmp_path: Path, name: str
) -> None:
    shutil.move(archives / "deflated.zip", archives / "a.zip")
    content = (archives / name).read_bytes()
    (archives / name).write_bytes(content[: len(content) // 2])
    body = f"dl_manager.extract(dl_manager.manual_dir / '{name}')\nyield 0, {{'x': 1}}"
    home = write_builder(body=body, extra="MANUAL_DOWNLOAD_INSTRUCTIONS = 'archives'")
    with pytest.raises(VerificationError, match=rf"{name} cannot be unpacked"):
        bench.build(home, manual_dir=archives)
    assert bench.leftovers == []
