"""What is remembered of bytes that were read: a cache that is never believed too long."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dsmanager.library.memory import Memory

SHA = "ab" * 32


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "state")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.write_bytes(b"12345")
    return path


def test_what_was_read_is_remembered_by_everyone_with_that_state_dir(memory, archive, tmp_path):
    assert memory.file(archive) is None
    assert not (tmp_path / "state").exists(), "looking makes nothing"
    memory.remember_file(archive, SHA)
    found = Memory(tmp_path / "state").file(archive)
    assert found is not None
    assert found.sha256 == SHA
    assert found.read_at.endswith("Z")
    assert list(memory.files()) == [str(archive)]


def change(archive: Path, how: str) -> None:
    status = archive.stat()
    if how == "size":
        archive.write_bytes(b"123456")
        os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "mtime":
        os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif how == "inode":
        other = archive.with_name("other")
        other.write_bytes(b"12345")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(archive)
    elif how == "gone":
        archive.unlink()


@pytest.mark.parametrize("how", ["size", "mtime", "inode", "gone"])
def test_another_identity_is_another_file(memory, archive, how):
    memory.remember_file(archive, SHA)
    change(archive, how)
    assert memory.file(archive) is None


def test_forgetting_and_remembering_what_is_gone_are_harmless(memory, archive):
    memory.remember_file(archive, SHA)
    memory.forget_file(archive)
    assert memory.file(archive) is None
    archive.unlink()
    memory.remember_file(archive, SHA)
    assert memory.files() == {}


def test_objects_are_remembered_by_place(memory):
    memory.remember_objects([("e s3://b/a", "etag", SHA), ("e s3://b/b", "other", "")])
    memory.remember_objects([("e s3://b/a", "new", SHA)])
    assert memory.objects() == {"e s3://b/a": ("new", SHA), "e s3://b/b": ("other", "")}


@pytest.mark.parametrize("blocked_by", ["file", "folder in its place"])
def test_a_state_dir_that_cannot_be_written_only_means_nothing_is_remembered(
    tmp_path, archive, blocked_by
):
    if blocked_by == "file":
        (tmp_path / "state").touch()
    else:
        (tmp_path / "state" / "fingerprints.sqlite").mkdir(parents=True)
    memory = Memory(tmp_path / "state")
    memory.remember_file(archive, SHA)
    memory.remember_objects([("place", "etag", SHA)])
    memory.forget_file(archive)
    assert memory.file(archive) is None
    assert memory.files() == {}
    assert memory.objects() == {}


def test_a_state_dir_of_somebody_else_is_harmless(
    memory, archive, root_only, run_program, tmp_path
):
    memory.remember_file(archive, SHA)
    (tmp_path / "state").chmod(0o700)
    tmp_path.chmod(0o755)
    done = run_program(
        """
        import os
        from pathlib import Path
        from dsmanager.library.memory import Memory
        memory = Memory(Path("state"))
        os.seteuid(65534)
        memory.remember_file(Path("archive"), "cd" * 32)
        print(memory.file(Path("archive")), memory.files(), memory.objects())
        """
    )
    assert done.stdout == "None {} {}\n", done.stderr
    assert memory.file(archive).sha256 == SHA


def test_a_file_that_is_no_database_is_replaced(memory, archive, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "fingerprints.sqlite").write_bytes(b"no database" * 100)
    assert memory.files() == {}
    memory.remember_file(archive, SHA)
    memory.remember_file(archive, SHA)
    assert memory.file(archive).sha256 == SHA


def test_a_name_that_is_no_text_is_harmless(memory, tmp_path):
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.touch()
    memory.remember_file(odd, SHA)
    memory.forget_file(odd)
    assert memory.file(odd) is None


WRITER = """
import sys
from pathlib import Path
from dsmanager.library.memory import Memory
sys.stdin.readline()
for number in range(20):
    Memory(Path(sys.argv[1])).remember_objects([(f"{sys.argv[2]} {number}", "etag", "ab" * 32)])
"""


def test_processes_that_remember_at_once_lose_nothing(memory, tmp_path, program, environment):
    writers = [
        subprocess.Popen(
            program(WRITER, tmp_path / "state", name), env=environment, stdin=subprocess.PIPE
        )
        for name in "ab"
    ]
    for writer in writers:
        writer.communicate(b"go\n", timeout=60)
    assert len(memory.objects()) == 40
