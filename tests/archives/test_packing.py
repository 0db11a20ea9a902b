from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dsmanager.archives import compression
from dsmanager.archives.sidecar import Sidecar, read_sidecar, sidecar_path
from dsmanager.errors import (
    CancelledError,
    DsmanagerError,
    NoSpaceError,
    NotFoundError,
    UsageError,
)
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

NAME = "digit__1.0.8__cache.tar.gz"
Pack = Callable[..., Sidecar]
Write = Callable[[Path, dict[str, bytes]], Path]


@pytest.mark.parametrize("kind", ["gz", "zst", "none"])
def test_same_bytes_for_any_number_of_threads(
    tmp_path: Path, data_dir: Path, pack_archive: Pack, kind: str
) -> None:
    found = set()
    for threads in (1, 2, 4, None):
        archive = tmp_path / f"{threads}" / NAME
        sidecar = pack_archive(data_dir, archive, compression=kind, threads=threads)
        assert sidecar.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
        assert sidecar.size == archive.stat().st_size
        found.add((sidecar.sha256, sidecar.tar_sha256))
    assert len(found) == 1


def test_same_bytes_whatever_folder_time_mode_and_order(
    tmp_path: Path, digit_files: dict[str, bytes], write_files: Write, pack_archive: Pack
) -> None:
    first = write_files(tmp_path / "one", digit_files)
    second = write_files(tmp_path / "twö and mòre", dict(reversed(list(digit_files.items()))))
    for index, path in enumerate(sorted(second.rglob("*"))):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (index, 1_000_000 + index))
    one, two = (pack_archive(place, place / "cache" / NAME) for place in (first, second))
    assert one == two
    assert (first / "cache" / NAME).read_bytes() == (second / "cache" / NAME).read_bytes()


def test_bytes_are_fixed_for_good(
    tmp_path: Path, write_files: Write, pack_archive: Pack, make_noise: Callable[..., bytes]
) -> None:
    """Whoever changes these has changed the format of every archive that exists."""
    files = {
        "digit/1.0.8/digit-train.tfrecord-00000-of-00001": make_noise((3 << 20) - 100_000),
        "digit/1.0.8/größe.txt": b"",
    }
    sidecar = pack_archive(write_files(tmp_path, files), tmp_path / "cache" / NAME)
    assert sidecar.tar_sha256 == TAR_SHA256
    assert sidecar.sha256 == STORED_SHA256
    assert sidecar.size == STORED_SIZE


TAR_SHA256 = "3131015a3cfbd030965bc12462bd90b5596582025feabae2682463296402a954"
STORED_SHA256 = "d7411c2e553650faaca6bc9c5ef39c03c34b6d2a1e79ab2e2591d8dc88249212"
STORED_SIZE = 3_051_785


def test_tar_stream_is_what_gnu_tar_writes(
    tmp_path: Path, digit_files: dict[str, bytes], write_files: Write, pack_archive: Pack
) -> None:
    files = {f"digit/{path}": content for path, content in digit_files.items()}
    long_config = "c" * 70 + "/" + "d" * 60
    files[f"digit/{long_config}/1.0.8/features.json"] = b"{}"
    files[f"digit/{long_config}/1.0.8/{'f' * 90}"] = b"{}"
    data_dir = write_files(tmp_path / "data", files)
    subdirs = ("digit/digit/1.0.8", f"digit/{long_config}/1.0.8")
    sidecar = pack_archive(data_dir, tmp_path / "cache" / NAME, subdirs)
    for path in data_dir.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    command = "tar --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -c"
    version = subprocess.run(["tar", "--version"], capture_output=True, text=True).stdout
    if "GNU" not in version:
        pytest.skip("tar is not GNU tar")
    made = subprocess.run(
        [*command.split(), "-C", data_dir, "digit"], check=True, capture_output=True
    )
    assert hashlib.sha256(made.stdout).hexdigest() == sidecar.tar_sha256


def test_sidecar_describes_the_archive(
    tmp_path: Path, data_dir: Path, digit_files: dict[str, bytes], pack_archive: Pack
) -> None:
    archive = tmp_path / "cache" / NAME
    sidecar = pack_archive(data_dir, archive)
    assert read_sidecar(archive) == sidecar
    assert sidecar.archive == NAME
    assert sidecar.subdir == ("digit/1.0.8",)
    assert sidecar.splits == {"train": {"examples": 2, "shards": 1}}
    tar_bytes = gzip.decompress(archive.read_bytes())
    assert sidecar.tar_sha256 == hashlib.sha256(tar_bytes).hexdigest()
    members = {member.path: (member.size, member.sha256) for member in sidecar.members}
    assert members == {
        path: (len(content), hashlib.sha256(content).hexdigest())
        for path, content in digit_files.items()
    }
    assert sorted(os.listdir(archive.parent)) == [NAME, f"{NAME}.json"]


@pytest.mark.parametrize(("kind", "flag"), [("gz", "z"), ("none", "")])
def test_ordinary_tools_read_it(
    tmp_path: Path,
    data_dir: Path,
    digit_files: dict[str, bytes],
    pack_archive: Pack,
    tree_of: Callable[[Path], dict[str, bytes]],
    kind: str,
    flag: str,
) -> None:
    archive = tmp_path / "cache" / NAME
    pack_archive(data_dir, archive, compression=kind)
    if kind == "gz":
        subprocess.run(["gzip", "-t", archive], check=True)
    listed = subprocess.run(
        ["tar", f"t{flag}f", archive], check=True, capture_output=True, text=True
    )
    assert listed.stderr == ""
    assert listed.stdout.split() == ["digit/", "digit/1.0.8/", *sorted(digit_files)]
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", f"x{flag}f", archive, "-C", out], check=True)
    assert tree_of(out) == digit_files
    with tarfile.open(archive) as opened:
        assert [member.name for member in opened if member.isfile()] == sorted(digit_files)


def test_configs_are_packed_with_their_metadata_first(
    tmp_path: Path, write_files: Write, pack_archive: Pack
) -> None:
    write_files(
        tmp_path,
        {
            "so2sat/rgb/2.1.0/features.json": b"{}",
            "so2sat/all/2.1.0/features.json": b"{}",
            "so2sat/.config/metadata.json": b"{}",
        },
    )
    subdirs = ("so2sat/rgb/2.1.0", "so2sat/.config", "so2sat/all/2.1.0")
    archive = tmp_path / "cache" / "so2sat__2.1.0__cache.tar.gz"
    sidecar = pack_archive(tmp_path, archive, subdirs, Ref("so2sat", None, "2.1.0"))
    assert sidecar.subdir == ("so2sat/all/2.1.0", "so2sat/rgb/2.1.0", "so2sat/.config")
    with tarfile.open(archive) as opened:
        assert opened.getnames() == [
            "so2sat",
            "so2sat/.config",
            "so2sat/.config/metadata.json",
            "so2sat/all",
            "so2sat/all/2.1.0",
            "so2sat/all/2.1.0/features.json",
            "so2sat/rgb",
            "so2sat/rgb/2.1.0",
            "so2sat/rgb/2.1.0/features.json",
        ]


def test_incompressible_blocks_are_stored(make_noise: Callable[..., bytes]) -> None:
    compressor = compression.compressor_for("gz")
    block = make_noise(1 << 20)
    data = compressor.compress(memoryview(block)).data
    assert len(data) == len(block) + 17 * 5
    assert data[:5] == b"\x00\xff\xff\x00\x00"
    assert data[5 : 5 + 65_535] == block[:65_535]


@pytest.mark.parametrize("size", [1, 511, 16_384, 16_385, (1 << 20) - 1, 1 << 20])
@pytest.mark.parametrize("compressible", [True, False])
def test_every_block_is_readable_gzip(
    size: int, compressible: bool, make_noise: Callable[..., bytes]
) -> None:
    block = b"abcdefgh" * (size // 8) + b"x" * (size % 8) if compressible else make_noise(size)
    compressor = compression.compressor_for("gz")
    first, second = (compressor.compress(memoryview(block)) for _ in range(2))
    data = [compressor.start(), compressor.add(first), compressor.add(second), compressor.end()]
    assert gzip.decompress(b"".join(data)) == block * 2


def test_replaces_an_existing_archive(tmp_path: Path, data_dir: Path, pack_archive: Pack) -> None:
    archive = tmp_path / "cache" / NAME
    pack_archive(data_dir, archive)
    (data_dir / "digit/1.0.8/more.txt").write_bytes(b"more")
    sidecar = pack_archive(data_dir, archive)
    assert read_sidecar(archive) == sidecar
    assert sidecar.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert len(os.listdir(archive.parent)) == 2


def test_progress_counts_payload_and_files(
    tmp_path: Path, data_dir: Path, digit_files: dict[str, bytes], pack_archive: Pack
) -> None:
    progress = Progress()
    pack_archive(data_dir, tmp_path / "cache" / NAME, progress=progress)
    seen = progress.snapshot()
    assert seen.bytes_done == seen.bytes_total == sum(map(len, digit_files.values()))
    assert seen.items_done == seen.items_total == len(digit_files)


def refused(
    tmp_path: Path,
    pack_archive: Pack,
    data_dir: Path,
    error: type[DsmanagerError],
    **options: object,
) -> DsmanagerError:
    archive = tmp_path / "cache" / NAME
    with pytest.raises(error) as raised:
        pack_archive(data_dir, archive, **options)
    assert not archive.parent.exists() or os.listdir(archive.parent) == []
    assert raised.value.hint
    return raised.value


def test_refuses_nested_folders(tmp_path: Path, data_dir: Path, pack_archive: Pack) -> None:
    (data_dir / "digit/1.0.8/nested").mkdir()
    error = refused(tmp_path, pack_archive, data_dir, DsmanagerError)
    assert "digit/1.0.8/nested" in error.message


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_refuses_what_is_no_regular_file(
    tmp_path: Path, data_dir: Path, pack_archive: Pack, kind: str
) -> None:
    path = data_dir / "digit/1.0.8/odd"
    if kind == "link":
        path.symlink_to("features.json")
    else:
        os.mkfifo(path)
    refused(tmp_path, pack_archive, data_dir, DsmanagerError)


def test_refuses_names_that_collide_elsewhere(
    tmp_path: Path, data_dir: Path, pack_archive: Pack
) -> None:
    (data_dir / "digit/1.0.8/EMPTY.txt").write_bytes(b"")
    with pytest.raises(DsmanagerError, match="case"):
        pack_archive(data_dir, tmp_path / "cache" / NAME)


def test_refuses_an_empty_or_missing_folder(
    tmp_path: Path, data_dir: Path, pack_archive: Pack
) -> None:
    (data_dir / "digit/1.0.9").mkdir()
    refused(tmp_path, pack_archive, data_dir, NotFoundError, subdirs=("digit/1.0.9",))
    refused(tmp_path, pack_archive, data_dir, NotFoundError, subdirs=("digit/2.0.0",))
    refused(tmp_path, pack_archive, data_dir, UsageError, subdirs=("other/1.0.0",))
    refused(tmp_path, pack_archive, data_dir, UsageError, compression="bz2")


class OnFirstBytes(Progress):
    """Does something as soon as a file begins to be read."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self._action: Callable[[], object] | None = action

    def add_bytes(self, count: int) -> None:
        super().add_bytes(count)
        if self._action is not None:
            action, self._action = self._action, None
            action()


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_file_that_changes_meanwhile_is_an_error(
    tmp_path: Path, data_dir: Path, pack_archive: Pack, change: str
) -> None:
    path = data_dir / "digit/1.0.8/digit-train.tfrecord-00000-of-00001"

    def act() -> None:
        if change == "grow":
            with open(path, "ab") as file:
                file.write(b"x")
        elif change == "shrink":
            os.truncate(path, 1000)
        else:
            os.utime(path, (1, 1))

    error = refused(tmp_path, pack_archive, data_dir, DsmanagerError, progress=OnFirstBytes(act))
    assert "changed while it was packed" in error.message


def test_cancel_leaves_nothing(tmp_path: Path, data_dir: Path, pack_archive: Pack) -> None:
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        pack_archive(
            data_dir,
            tmp_path / "cache" / NAME,
            cancel=cancel,
            progress=OnFirstBytes(cancel.cancel),
        )
    assert os.listdir(tmp_path / "cache") == []


def test_full_disk_is_a_clear_error_and_keeps_the_old_archive(
    small_disk: Path, data_dir: Path, pack_archive: Pack, make_noise: Callable[..., bytes]
) -> None:
    archive = small_disk / NAME
    old = pack_archive(data_dir, archive)
    (data_dir / "digit/1.0.8/big").write_bytes(make_noise(3 << 20))
    with pytest.raises(NoSpaceError):
        pack_archive(data_dir, archive)
    assert read_sidecar(archive) == old
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == old.sha256
    assert sorted(os.listdir(small_disk)) == [NAME, sidecar_path(archive).name]
