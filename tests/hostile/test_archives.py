"""Archives that somebody made to harm are refused; nothing is left, nothing is outside."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsmanager.archives import reading
from dsmanager.archives.extraction import Expected, extract
from dsmanager.archives.paths import MalformedError
from dsmanager.errors import VerificationError
from dsmanager.progress import CancelToken, Progress

EXTRACT_ALL = Path(__file__).with_name("extract_all.py")
MOST_GROWTH_BYTES = 192 << 20  # a Zstandard window may have 128 MiB
HANG_S = 300


def test_every_malicious_archive_is_refused_leaves_nothing_and_takes_no_memory(
    tmp_path: Path,
) -> None:
    """One test for all of them: they share a process whose memory and files are limited."""
    outside = ("/digit", "/x", "/tmp/c", "/tmp/d")
    before = [os.path.lexists(path) for path in outside]
    outcomes = _extract_all(tmp_path)
    assert [os.path.lexists(path) for path in outside] == before
    for outcome in outcomes["good"]:
        assert outcome["code"] == 0, "each attack starts from an archive that can be extracted"
    kinds = {outcome["name"].removesuffix(", sidecar") for outcome in outcomes["attacks"]}
    assert len([kind for kind in kinds if not kind.startswith("cut at")]) > 150
    wrong = [each for each in outcomes["attacks"] if each["code"] != 4 or each["left"]]
    assert not wrong
    for outcome in outcomes["attacks"]:
        told = outcome["message"]
        assert told.isprintable(), outcome
        assert "is not what it should be" in told or "sidecar" in told, outcome
    assert outcomes["grown_bytes"] < MOST_GROWTH_BYTES


def _extract_all(folder: Path) -> dict[str, Any]:
    """What ``library.extraction.extract`` makes of every archive."""
    for step in ("prepare", "extract"):
        command = [sys.executable, str(EXTRACT_ALL), step, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
    top = {path.name.split()[0] for path in folder.iterdir()}
    assert top == {"good", "attack"}, "something was written beside the data dirs"
    return json.loads(done.stdout)


def test_the_program_refuses_with_exit_code_4(victim: Any, tmp_path: Path) -> None:
    """The same through the real command, records and all, for a few kinds."""
    victim.add_built()
    victim.run("package", "small")
    archive = victim.data_dir / "cache" / "small__1.0.0__cache.tar.gz"
    stream = gzip.decompress(archive.read_bytes())
    link = bytearray(stream[:512])
    link[156:157], link[157:163] = b"2", b"/etc/x"
    link[148:156] = b"%06o\0 " % (sum(link[:148]) + 256 + sum(link[156:]))
    before = sorted(tmp_path.rglob("*"))
    for attack in (bytes(link) + stream, stream[:1024], stream + b"x" * 512):
        archive.write_bytes(gzip.compress(attack))
        archive.with_name(f"{archive.name}.json").unlink(missing_ok=True)
        content = archive.read_bytes()
        entry = {"archive": archive.name, "size": len(content), "subdir": ["small/1.0.0"]}
        entry["sha256"] = hashlib.sha256(content).hexdigest()
        manifest = {"schema": 2, "datasets": {"small:1.0.0": entry}}
        (victim.data_dir / "datasets.json").write_text(json.dumps(manifest))
        refused = victim.run("extract", "small", "--overwrite", code=4)
        assert "small__1.0.0__cache.tar.gz is not what it should be" in refused.stderr
        found = sorted(path for path in tmp_path.rglob("*") if "state" not in path.parts)
        assert set(found) <= set(before)
        assert (victim.data_dir / "small" / "1.0.0" / "features.json").exists()


def test_any_archive_is_extracted_or_refused_inside_its_folder(
    tmp_path: Path, parser: Callable[[str], Any]
) -> None:
    """Damaged archives with good checksums, and scripts of members, through real files."""
    tar_seeds = [seed for _, seed in parser("tar").seeds() if len(seed) > 512]
    from fuzz.structure import Script, tar_stream, with_checksums

    changes = st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=8)), max_size=5)
    scripted = st.binary(max_size=60).map(lambda script: tar_stream(Script(script)))
    numbers = itertools.count()

    @settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(tar_seeds) | scripted, changes, st.sampled_from([".tar", ".tar.gz"]))
    def check(stream: bytes, edits: list[tuple[int, bytes]], suffix: str) -> None:
        damaged = bytearray(stream)
        for at, content in edits:
            damaged[at : at + len(content)] = content
        fixed = with_checksums(bytes(damaged))
        folder = tmp_path / str(next(numbers))
        into = folder / "data" / "into"
        into.mkdir(parents=True)
        archive = folder / f"digit__1.0.8__cache{suffix}"
        archive.write_bytes(gzip.compress(fixed, 1) if suffix == ".tar.gz" else fixed)
        expected = Expected("digit", None, None, None, None)
        with suppress(VerificationError):
            extract(archive, into, expected=expected, progress=Progress(), cancel=CancelToken())
        for path in into.rglob("*"):
            assert not path.is_symlink()
            assert path.is_dir() or path.is_file()
            assert path.relative_to(into).parts[0] == "digit"
        assert sorted(os.listdir(folder)) == ["data", archive.name]
        assert os.listdir(folder / "data") == ["into"]

    check()
    assert len(os.listdir(tmp_path)) == next(numbers)


def test_a_bomb_stops_at_what_its_sidecar_allows() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9, -15)
    data = b"\x1f\x8b\x08\x00\0\0\0\0\0\xff" + bomb + bytes(8)
    chunks = reading.tar_chunks("gz", iter([data]), max_bytes=1 << 20)
    assert len(next(chunks)) <= 1 << 20
    with pytest.raises(MalformedError, match="unpacks to more"):
        next(chunks)


@pytest.mark.parametrize(
    ("kind", "part"),
    [("zst", b"\x28\xb5\x2f\xfd\x20\0\x01\0\0"), ("gz", gzip.compress(b"", mtime=0))],
)
def test_parts_that_hold_nothing_are_counted(kind: str, part: bytes) -> None:
    """Each costs time of its own, and a small file would hold very many."""
    with pytest.raises(MalformedError, match="too many tiny"):
        list(reading.tar_chunks(kind, iter([part * 1100]), max_bytes=1 << 20))


@pytest.mark.parametrize(
    "frame",
    [b"\x28\xb5\x2f\xfd\x40\0\0\x01\x01\0\0", b"\x28\xb5\x2f\xfd\x20\x01\x04\0\0\x09\0\0a"],
    ids=["less content than it says", "a compressed block without content"],
)
def test_frames_that_the_library_takes_only_in_pieces_are_refused(frame: bytes) -> None:
    with pytest.raises(zstandard.ZstdError):
        zstandard.ZstdDecompressor().decompress(frame, max_output_size=1000)
    with pytest.raises(MalformedError, match="Zstandard data is damaged"):
        list(reading.tar_chunks("zst", iter([frame]), max_bytes=1 << 20))


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
