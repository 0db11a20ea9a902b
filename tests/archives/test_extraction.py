from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
import resource
import signal
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from isal import igzip

from dsmanager.archives.extraction import (
    Expected,
    Extracted,
    Inspected,
    inspect_archive,
    verify_archive,
)
from dsmanager.archives.sidecar import Sidecar, read_sidecar
from dsmanager.errors import (
    CancelledError,
    ExitCode,
    NoSpaceError,
    NotFoundError,
    VerificationError,
)
from dsmanager.progress import CancelToken, Progress

NAME = "digit__1.0.8__cache.tar.gz"

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

SUFFIXES = {"gz": ".tar.gz", "zst": ".tar.zst", "none": ".tar"}
Pack = Callable[..., Sidecar]
Unpack = Callable[..., Extracted]
Tree = Callable[[Path], dict[str, bytes]]
Write = Callable[[Path, dict[str, bytes]], Path]


@pytest.mark.parametrize("kind", SUFFIXES)
@pytest.mark.parametrize("known", ["sidecar", "manifest", "both", "nothing"])
def test_round_trip(
    tmp_path: Path,
    data_dir: Path,
    digit_files: dict[str, bytes],
    pack_archive: Pack,
    unpack: Unpack,
    tree_of: Tree,
    kind: str,
    known: str,
) -> None:
    archive = tmp_path / f"digit__1.0.8__cache{SUFFIXES[kind]}"
    sidecar = pack_archive(data_dir, archive, compression=kind)
    records: dict[str, object] = {}
    if known in ("sidecar", "both"):
        records["sidecar"] = read_sidecar(archive)
    if known in ("manifest", "both"):
        subdir = frozenset({"digit/1.0.8"})
        records |= {"subdir": subdir, "size": sidecar.size, "sha256": sidecar.sha256}
    out = tmp_path / "out"
    found = unpack(archive, out, **records)
    assert tree_of(out) == digit_files
    total = sum(map(len, digit_files.values()))
    assert found == Extracted(("digit/1.0.8",), len(digit_files), total, sidecar.sha256)


def test_files_are_not_executable(
    tmp_path: Path, data_dir: Path, pack_archive: Pack, unpack: Unpack
) -> None:
    pack_archive(data_dir, tmp_path / NAME)
    unpack(tmp_path / NAME, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o777 & ~0o644 == 0


def test_long_and_foreign_names(
    tmp_path: Path, write_files: Write, pack_archive: Pack, unpack: Unpack, tree_of: Tree
) -> None:
    files = {
        f"digit/1.0.8/{'x' * 255}": b"1",
        "digit/1.0.8/größe 名前 'quoted'": b"2",
        "digit/1.0.8/-flag": b"3",
    }
    pack_archive(write_files(tmp_path / "data", files), tmp_path / NAME)
    unpack(tmp_path / NAME, tmp_path / "out", sidecar=read_sidecar(tmp_path / NAME))
    assert tree_of(tmp_path / "out") == files


# --- archives that others made ---------------------------------------------------------------

SO2SAT = {
    "so2sat/.config/metadata.json": b'{"defaultConfigName": "rgb"}',
    "so2sat/rgb/2.1.0/features.json": b"{}",
    "so2sat/rgb/2.1.0/data": b"rgb" * 10_000,
    "so2sat/all/2.1.0/features.json": b"{}",
}
SO2SAT_SUBDIR = frozenset({"so2sat/rgb/2.1.0", "so2sat/all/2.1.0", "so2sat/.config"})


@pytest.mark.parametrize("top", ["so2sat", "./so2sat", "."])
@pytest.mark.parametrize("options", [(), ("--format=pax",), ("--format=ustar",)])
def test_gnu_tar_archive_in_armorys_way(
    tmp_path: Path,
    write_files: Write,
    unpack: Unpack,
    tree_of: Tree,
    top: str,
    options: tuple[str, ...],
) -> None:
    data = write_files(tmp_path / "data", SO2SAT)
    archive = tmp_path / "so2sat__2.1.0__cache.tar.gz"
    subprocess.run(["tar", *options, "-czf", archive, "-C", data, top], check=True)
    found = unpack(archive, tmp_path / "out", name="so2sat", subdir=SO2SAT_SUBDIR)
    assert tree_of(tmp_path / "out") == SO2SAT
    assert found.subdir == ("so2sat/all/2.1.0", "so2sat/rgb/2.1.0", "so2sat/.config")


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_python_tarfile_archive(
    tmp_path: Path,
    data_dir: Path,
    digit_files: dict[str, bytes],
    unpack: Unpack,
    tree_of: Tree,
    kind: int,
) -> None:
    with tarfile.open(tmp_path / NAME, "w:gz", format=kind) as archive:
        archive.add(data_dir / "digit/1.0.8", "digit/1.0.8")
    unpack(tmp_path / NAME, tmp_path / "out", subdir=frozenset({"digit/1.0.8"}))
    assert tree_of(tmp_path / "out") == digit_files


def test_long_names_of_gnu_tar(
    tmp_path: Path, write_files: Write, unpack: Unpack, tree_of: Tree
) -> None:
    files = {f"digit/1.0.8/{'long' * 40}": b"1", "digit/1.0.8/ä": b"2"}
    data = write_files(tmp_path / "data", files)
    subprocess.run(["tar", "czf", tmp_path / NAME, "-C", data, "digit"], check=True)
    unpack(tmp_path / NAME, tmp_path / "out")
    assert tree_of(tmp_path / "out") == files


def test_several_gzip_members(
    tmp_path: Path,
    data_dir: Path,
    digit_files: dict[str, bytes],
    pack_archive: Pack,
    unpack: Unpack,
    tree_of: Tree,
) -> None:
    pack_archive(data_dir, tmp_path / "plain.tar", compression="none")
    data = (tmp_path / "plain.tar").read_bytes()
    members = [gzip.compress(data[at : at + 60_000]) for at in range(0, len(data), 60_000)]
    (tmp_path / NAME).write_bytes(b"".join([*members, gzip.compress(b"")]))
    unpack(tmp_path / NAME, tmp_path / "out")
    assert tree_of(tmp_path / "out") == digit_files


def test_one_large_zstandard_frame(
    tmp_path: Path,
    data_dir: Path,
    digit_files: dict[str, bytes],
    pack_archive: Pack,
    unpack: Unpack,
    tree_of: Tree,
) -> None:
    pack_archive(data_dir, tmp_path / "plain.tar", compression="none")
    data = (tmp_path / "plain.tar").read_bytes()
    writer = zstandard.ZstdCompressor(level=10).compressobj()
    archive = tmp_path / "digit__1.0.8__cache.tar.zst"
    archive.write_bytes(writer.compress(data) + writer.flush())
    unpack(archive, tmp_path / "out")
    assert tree_of(tmp_path / "out") == digit_files


# --- layout without a sidecar ----------------------------------------------------------------


def make_tar_gz(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(info)
    return path


RGB = ["so2sat/rgb/2.1.0/a", "so2sat/.config/metadata.json"]
LAYOUTS: dict[str, tuple[list[str], frozenset[str] | None]] = {
    "another top folder": (["other/1.0.0/a"], None),
    "two top folders": (["so2sat/1.0.0/a", "other/1.0.0/a"], None),
    "a file at the top": (["so2sat"], None),
    "a file beside the versions": (["so2sat/1.0.0/a", "so2sat/b"], None),
    "a folder in a version folder": (["so2sat/1.0.0/a", "so2sat/1.0.0/b/c"], None),
    "an empty folder in a version folder": (["so2sat/1.0.0/a", "so2sat/1.0.0/b/"], None),
    "no version folder": (["so2sat/.config/metadata.json"], None),
    "no file": (["so2sat/", "so2sat/1.0.0/"], None),
    "no config metadata": (["so2sat/rgb/2.1.0/a"], None),
    "no config metadata, recorded": (["so2sat/rgb/2.1.0/a"], frozenset({"so2sat/rgb/2.1.0"})),
    "another version": (["so2sat/1.0.0/a"], frozenset({"so2sat/2.0.0"})),
    "one version too many": (["so2sat/1.0.0/a", "so2sat/2.0.0/a"], frozenset({"so2sat/2.0.0"})),
    "one version too few": (RGB, frozenset({"so2sat/rgb/2.1.0", "so2sat/all/2.1.0"})),
    "an empty version folder too many": (
        ["so2sat/2.0.0/a", "so2sat/1.0.0/"],
        frozenset({"so2sat/2.0.0"}),
    ),
    "something else at the second level": ([*RGB, "so2sat/notes/a"], None),
    "config metadata that is a folder": (
        ["so2sat/rgb/2.1.0/a", "so2sat/.config/metadata.json/"],
        None,
    ),
    "another hidden folder": (["so2sat/1.0.0/a", "so2sat/.git/config"], None),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layout_without_a_sidecar_is_armorys(tmp_path: Path, unpack: Unpack, case: str) -> None:
    names, subdir = LAYOUTS[case]
    archive = make_tar_gz(tmp_path / "so2sat__2.1.0__cache.tar.gz", names)
    with pytest.raises(VerificationError):
        unpack(archive, tmp_path / "out", name="so2sat", subdir=subdir)


def test_inspect_tells_what_an_archive_holds(tmp_path: Path) -> None:
    archive = make_tar_gz(tmp_path / "so2sat__2.1.0__cache.tar.gz", RGB)
    found = inspect_archive(archive, name="so2sat", progress=Progress(), cancel=CancelToken())
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    subdir = ("so2sat/rgb/2.1.0", "so2sat/.config")
    assert found == Inspected(archive.stat().st_size, sha256, subdir)
    assert os.listdir(tmp_path) == [archive.name]
    with pytest.raises(VerificationError):
        inspect_archive(archive, name="digit", progress=Progress(), cancel=CancelToken())


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SUFFIXES)
def test_every_flipped_byte_is_noticed(
    tmp_path: Path,
    write_files: Write,
    pack_archive: Pack,
    unpack: Unpack,
    kind: str,
    make_noise: Callable[..., bytes],
) -> None:
    files = {"digit/1.0.8/a": make_noise(30_000), "digit/1.0.8/b": b"b" * 9000}
    archive = tmp_path / f"digit__1.0.8__cache{SUFFIXES[kind]}"
    sidecar = pack_archive(write_files(tmp_path / "data", files), archive, compression=kind)
    good = archive.read_bytes()
    for number, at in enumerate([*range(20), *range(20, len(good), 997), len(good) - 1]):
        data = bytearray(good)
        data[at] ^= 0x10
        archive.write_bytes(data)
        with pytest.raises(VerificationError):
            unpack(archive, tmp_path / f"out{number}", sidecar=sidecar)


@pytest.mark.parametrize("kind", SUFFIXES)
def test_truncation_is_noticed_without_any_record(
    tmp_path: Path,
    write_files: Write,
    pack_archive: Pack,
    unpack: Unpack,
    kind: str,
    make_noise: Callable[..., bytes],
) -> None:
    files = {"digit/1.0.8/a": make_noise(20_000), "digit/1.0.8/b": b"b" * 3000}
    archive = tmp_path / f"digit__1.0.8__cache{SUFFIXES[kind]}"
    pack_archive(write_files(tmp_path / "data", files), archive, compression=kind)
    good = archive.read_bytes()
    # A plain tar is whole as soon as its two zero blocks are there.
    end = len(good.rstrip(b"\0")) + 1024 if kind == "none" else len(good)
    lengths = [*range(0, end, 512), end - 1]
    for length in lengths:
        archive.write_bytes(good[:length])
        with pytest.raises(VerificationError):
            unpack(archive, tmp_path / f"out{length}")


def test_records_that_disagree_are_told_with_both_values(
    tmp_path: Path, data_dir: Path, pack_archive: Pack, unpack: Unpack
) -> None:
    archive = tmp_path / NAME
    sidecar = pack_archive(data_dir, archive)
    wrong: list[dict[str, object]] = [
        {"size": sidecar.size + 1},
        {"sha256": "0" * 64},
        {"sidecar": replace(sidecar, sha256="1" * 64)},
        {"sidecar": replace(sidecar, tar_sha256="1" * 64)},
        {"sidecar": replace(sidecar, size=1)},
        {"sidecar": sidecar, "subdir": frozenset({"digit/2.0.0"})},
        {"sidecar": sidecar, "name": "other"},
        {"sidecar": replace(sidecar, members=sidecar.members[1:])},
        {"sidecar": replace(sidecar, members=(replace(sidecar.members[0], size=1),))},
        {
            "sidecar": replace(
                sidecar, members=(*sidecar.members, replace(sidecar.members[0], path="digit/x"))
            )
        },
        {
            "sidecar": replace(
                sidecar,
                members=(replace(sidecar.members[0], sha256="2" * 64), *sidecar.members[1:]),
            )
        },
    ]
    for number, known in enumerate(wrong):
        with pytest.raises(VerificationError) as raised:
            unpack(archive, tmp_path / f"out{number}", **known)
        assert raised.value.exit_code is ExitCode.VERIFICATION
        assert NAME in raised.value.message
        assert raised.value.hint
    with pytest.raises(VerificationError, match=f"{sidecar.sha256}.*{'0' * 64}"):
        unpack(archive, tmp_path / "out", sha256="0" * 64)


def test_verify_compares_with_every_record(
    tmp_path: Path, data_dir: Path, pack_archive: Pack
) -> None:
    archive = tmp_path / NAME
    sidecar = pack_archive(data_dir, archive)

    def verify(**known: object) -> str:
        expected = Expected(
            **{"name": "digit", "subdir": None, "size": None, "sha256": None, "sidecar": None}
            | known
        )
        progress = Progress()
        sha256 = verify_archive(archive, expected=expected, progress=progress, cancel=CancelToken())
        assert progress.snapshot().bytes_done == archive.stat().st_size
        return sha256

    assert verify() == verify(sidecar=sidecar, size=sidecar.size) == sidecar.sha256
    for known in (
        {"size": 1},
        {"sha256": "0" * 64},
        {"sha256": sidecar.sha256, "sidecar": replace(sidecar, sha256="0" * 64)},
    ):
        with pytest.raises(VerificationError, match="its record says"):
            verify(**known)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    with pytest.raises(VerificationError, match=sidecar.sha256):
        verify(sidecar=sidecar)
    archive.unlink()
    with pytest.raises(NotFoundError):
        verify()


# --- interruptions ---------------------------------------------------------------------------


def test_missing_archive(tmp_path: Path, unpack: Unpack) -> None:
    with pytest.raises(NotFoundError):
        unpack(tmp_path / NAME, tmp_path / "out")


def test_cancel_stops_extraction(tmp_path: Path, data_dir: Path, pack_archive: Pack) -> None:
    archive = tmp_path / NAME
    pack_archive(data_dir, archive)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        inspect_archive(archive, name="digit", progress=Progress(), cancel=cancel)


def test_full_disk(
    tmp_path: Path, small_disk: Path, write_files: Write, pack_archive: Pack, unpack: Unpack
) -> None:
    data = write_files(tmp_path / "data", {"digit/1.0.8/a": b"a" * (3 << 20)})
    archive = tmp_path / NAME
    sidecar = pack_archive(data, archive)
    with pytest.raises(NoSpaceError):
        unpack(archive, small_disk / "out", sidecar=sidecar)


def test_write_that_fails_half_way_is_a_clear_error(
    tmp_path: Path, data_dir: Path, pack_archive: Pack, unpack: Unpack
) -> None:
    archive = tmp_path / NAME
    pack_archive(data_dir, archive)

    def child() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            unpack(archive, tmp_path / "out")
        except NoSpaceError as error:
            os._exit(int(error.exit_code))
        os._exit(1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == ExitCode.NO_SPACE


def test_nothing_outside_the_folder_is_opened_for_writing(
    tmp_path: Path, data_dir: Path, pack_archive: Pack, unpack: Unpack
) -> None:
    """A folder inside that turned into a link meanwhile is not followed."""
    archive = tmp_path / NAME
    pack_archive(data_dir, archive)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/digit").symlink_to(elsewhere)
    with pytest.raises(Exception, match="could not extract"):
        unpack(archive, tmp_path / "out")
    assert os.listdir(elsewhere) == []


def test_bombs_end_early(tmp_path: Path, unpack: Unpack) -> None:
    archive = tmp_path / NAME
    with igzip.open(archive, "wb", compresslevel=3) as file:
        with tarfile.open(fileobj=file, mode="w|") as tar:
            info = tarfile.TarInfo("digit/1.0.8/a")
            tar.addfile(info)
        for _ in range(64):
            file.write(bytes(1 << 20))
    progress = Progress()
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(VerificationError, match="after the end"):
        inspect_archive(archive, name="digit", progress=progress, cancel=CancelToken())
