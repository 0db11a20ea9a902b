"""A kill is made by a process that dies right before one of its system calls."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from dsmanager.archives import commits
from dsmanager.archives.commits import commit, recover
from dsmanager.archives.sidecar import Member, Sidecar, read_sidecar, sidecar_path
from dsmanager.files import temporary_path
from dsmanager.refs import Ref

NAME = "digit__1.0.8__cache.tar.gz"

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

OLD, NEW = b"the old archive", b"the new archive"


def sidecar_of(content: bytes) -> Sidecar:
    return Sidecar(
        ref=Ref("digit", None, "1.0.8"),
        archive=NAME,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        tar_sha256="0" * 64,
        compression={"format": "gz"},
        subdir=("digit/1.0.8",),
        members=(Member("digit/1.0.8/a", 1, "0" * 64),),
        created="2025",
        dsmanager_version="0",
        tfds_version=None,
        builder_sha256=None,
        sources=(),
        license=None,
        citation=None,
        splits={},
    )


def put(archive: Path, content: bytes | None, sidecar: Sidecar | None) -> None:
    if content is not None:
        archive.write_bytes(content)
    if sidecar is not None:
        sidecar_path(archive).write_bytes(sidecar.to_bytes())


def state(archive: Path) -> tuple[bytes | None, Sidecar | None]:
    """What is visible; nothing else may be in the folder."""
    allowed = {archive.name, sidecar_path(archive).name}
    assert set(os.listdir(archive.parent)) <= allowed
    return archive.read_bytes() if archive.exists() else None, read_sidecar(archive)


CALLS = ("open", "replace", "unlink", "fsync")


def run_until(
    name: str, nth: int, temporary: Path, archive: Path, new: Sidecar | None
) -> int | None:
    """A process that commits and dies right before its nth call of ``os.<name>`` (0: after all)."""

    def commit_and_die() -> None:
        real, calls = getattr(os, name), [0]

        def deadly(*arguments: object, **options: object) -> object:
            calls[0] += 1
            if calls[0] == nth:
                os._exit(9)
            return real(*arguments, **options)

        setattr(os, name, deadly)
        commit(temporary, archive, None if new is None else new.to_bytes())
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=commit_and_die)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("old", ["nothing", "with sidecar", "without sidecar", "orphan sidecar"])
@pytest.mark.parametrize("has_sidecar", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_call_nothing_is_lost(
    tmp_path: Path, old: str, has_sidecar: bool, call: str
) -> None:
    old_content = OLD if old.startswith("with") else None
    old_sidecar = sidecar_of(OLD) if old in ("with sidecar", "orphan sidecar") else None
    new_sidecar = sidecar_of(NEW) if has_sidecar else None
    before = (old_content, old_sidecar if old_content else None)
    after = (NEW, new_sidecar)
    for nth in range(1, 30):
        archive = tmp_path / str(nth) / NAME
        archive.parent.mkdir()
        put(archive, old_content, old_sidecar)
        temporary = temporary_path(archive)
        temporary.write_bytes(NEW)
        exit_code = run_until(call, nth, temporary, archive, new_sidecar)
        if exit_code == 0:
            assert state(archive) == after
            return
        recover(archive)
        found = state(archive)
        assert found in (before, after), nth
        recover(archive)
        assert state(archive) == found
    pytest.fail("the commit never ended")


@pytest.mark.parametrize("has_sidecar", [True, False])
def test_lost_new_archive_brings_the_old_sidecar_back(tmp_path: Path, has_sidecar: bool) -> None:
    archive = tmp_path / NAME
    put(archive, OLD, sidecar_of(OLD) if has_sidecar else None)
    temporary = temporary_path(archive)
    temporary.write_bytes(NEW)
    assert run_until("replace", 3, temporary, archive, sidecar_of(NEW)) == 9
    assert read_sidecar(archive) == sidecar_of(NEW)
    temporary.unlink()
    recover(archive)
    assert state(archive) == (OLD, sidecar_of(OLD) if has_sidecar else None)


def test_a_commit_that_fails_leaves_the_old_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / NAME
    put(archive, OLD, sidecar_of(OLD))
    temporary = temporary_path(archive)
    temporary.write_bytes(NEW)
    real = os.replace

    def fail(source: Path, target: Path) -> None:
        if Path(target) == archive:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(commits.os, "replace", fail)
    with pytest.raises(Exception, match="No space left"):
        commit(temporary, archive, sidecar_of(NEW).to_bytes())
    temporary.unlink()
    assert state(archive) == (OLD, sidecar_of(OLD))


def test_recover_removes_leftovers_and_orphans_only(tmp_path: Path) -> None:
    archive, other = tmp_path / NAME, tmp_path / f"{NAME}.json.tar.gz"
    put(archive, OLD, sidecar_of(OLD))
    others = [temporary_path(other), tmp_path / f".{NAME}.part", tmp_path / f"{NAME}.tmp"]
    for path in others:
        path.write_bytes(b"not of this archive")
    for path in (archive, sidecar_path(archive)):
        temporary_path(path).write_bytes(b"half")
    recover(archive)
    assert sorted(os.listdir(tmp_path)) == sorted(
        [NAME, f"{NAME}.json", *(path.name for path in others)]
    )
    archive.unlink()
    recover(archive)
    assert not sidecar_path(archive).exists()


def test_recover_leaves_a_damaged_archive_and_its_sidecar(tmp_path: Path) -> None:
    archive = tmp_path / NAME
    put(archive, b"damaged", sidecar_of(OLD))
    recover(archive)
    assert state(archive) == (b"damaged", sidecar_of(OLD))
    sidecar_path(archive).write_bytes(b"{broken")
    recover(archive)
    assert archive.read_bytes() == b"damaged"
    assert sidecar_path(archive).read_bytes() == b"{broken"


def test_recover_of_a_missing_folder_does_nothing(tmp_path: Path) -> None:
    recover(tmp_path / "missing" / NAME)
    assert os.listdir(tmp_path) == []


def test_same_size_temporary_is_not_taken_for_the_new_archive(tmp_path: Path) -> None:
    archive = tmp_path / NAME
    put(archive, OLD, sidecar_of(OLD))
    temporary_path(archive).write_bytes(NEW[: len(OLD)])
    recover(archive)
    assert state(archive) == (OLD, replace(sidecar_of(OLD)))
