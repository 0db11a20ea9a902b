"""Writing: old content stays until the new is whole, whatever kills, fills or forbids it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dsmanager import files
from dsmanager.errors import DsmanagerError, NoSpaceError
from dsmanager.progress import Progress

DRIVER = Path(__file__).with_name("crash_driver.py")


def content_of(path: Path) -> str | None:
    """ "old", "new" or None; anything else is a mixture."""
    if not path.exists():
        return None
    if path.is_file():
        return path.read_text()[:3] if len(path.read_bytes()) == 3000 else "damaged"
    texts = {name: (path / name) for name in ("a", "b", "deeper/c")}
    found = {each.read_text() if each.exists() else "missing" for each in texts.values()}
    return found.pop() if len(found) == 1 else f"mixture of {found}"


@pytest.mark.parametrize(
    ("scenario", "before"),
    [
        ("new file", None),
        ("file", "old"),
        ("new tree", None),
        ("tree", "old"),
        ("tree without exchange", "old"),
    ],
)
def test_a_writer_killed_at_any_step_leaves_old_or_new_and_its_leftovers_go(
    scenario, before, environment, tmp_path
):
    done = subprocess.run(
        [sys.executable, str(DRIVER), scenario, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = int(done.stdout)
    assert runs >= 4
    seen = []
    for step in range(1, runs + 1):
        folder = tmp_path / f"{step:03}"
        final = folder / "thing"
        visible = content_of(final)
        assert visible in {before, "new", None}, f"killed at step {step}"
        if scenario != "tree without exchange":
            assert visible in {before, "new"}, f"killed at step {step}"
        files.remove_leftovers(final)
        kept = content_of(final)
        assert kept in {before, "new"}, f"killed at step {step}, then cleaned up"
        assert visible in {None, kept}
        assert os.listdir(folder) == (["thing"] if kept else []), f"killed at step {step}"
        seen.append(kept)
    assert seen[0] == before
    assert seen[-1] == "new"
    assert seen.index("new") == len(seen) - seen.count("new"), "once new, it stays new"


def test_half_removed_old_content_is_never_put_back(tmp_path):
    """The old tree loses the name that is put back before its files are removed."""
    final = tmp_path / "thing"
    doomed = files.temporary_path(final)
    doomed.mkdir()
    (doomed / "half").touch()
    files.remove_leftovers(final)
    assert os.listdir(tmp_path) == []


def test_a_failing_second_rename_puts_the_old_tree_back(tmp_path, monkeypatch):
    final = tmp_path / "thing"
    final.mkdir()
    (final / "old").touch()
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    monkeypatch.setattr(files, "flush_tree", lambda _: None)  # the tree is not there at all
    with pytest.raises(FileNotFoundError):
        files.move_tree_into_place(tmp_path / "tree", final)
    assert os.listdir(tmp_path) == ["thing"]
    assert os.listdir(final) == ["old"]


def test_the_drive_empties_its_cache_while_files_are_written(tmp_path, monkeypatch):
    flushed = threading.Semaphore(0)
    monkeypatch.setattr(files, "fsync_folder", lambda folder: flushed.release())
    progress = Progress()
    with files.flushing(tmp_path, progress):
        for _ in range(3):
            progress.add_bytes(64 << 20)
            assert flushed.acquire(timeout=60)
        progress.add_bytes(1 << 20)
    assert not flushed.acquire(blocking=False)
    assert "flushing" not in [thread.name for thread in threading.enumerate()]


def test_a_drive_that_fails_to_flush_is_told_by_the_flush_at_the_end(tmp_path, monkeypatch):
    tried = threading.Event()

    def fail(folder: Path) -> None:
        tried.set()
        raise OSError(errno.EIO, "it is broken")

    monkeypatch.setattr(files, "fsync_folder", fail)
    progress = Progress()
    with files.flushing(tmp_path, progress):
        progress.add_bytes(64 << 20)
        assert tried.wait(60)
    (tmp_path / "tree").mkdir()
    with pytest.raises(OSError, match="it is broken"):
        files.move_tree_into_place(tmp_path / "tree", tmp_path / "final")
    assert not (tmp_path / "final").exists()


def test_leftovers_of_others_stay(tmp_path):
    """``digit`` is the start of ``digit.v2``, and of the sidecar ``digit.json``."""
    others = [files.temporary_path(tmp_path / name) for name in ("digit.v2", "digit.json", "digi")]
    own = files.temporary_path(tmp_path / "digit")
    for path in (*others, own, tmp_path / ".digit.notes.tmp", tmp_path / "digit.00000000.tmp"):
        path.touch()
    files.remove_leftovers(tmp_path / "digit")
    left = set(os.listdir(tmp_path))
    assert own.name not in left
    assert {path.name for path in others} <= left
    assert {".digit.notes.tmp", "digit.00000000.tmp"} <= left


@pytest.mark.parametrize("name", ["1.0.8", "a.b.c", ".config", "ä\nb", "x.tar.gz.json"])
def test_a_temporary_name_tells_its_final_one(name, tmp_path):
    temporary = files.temporary_path(tmp_path / name)
    assert files.is_temporary_name(temporary.name)
    assert files.final_name_of(temporary.name) == name
    assert files.final_name_of(name) is None


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    final = tmp_path / "thing"
    final.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise KeyError("in the middle")

    with pytest.raises(KeyError), files.staged_file(final) as temporary:
        fail(temporary)
    assert final.read_text() == "old"
    assert os.listdir(tmp_path) == ["thing"]


def test_a_failing_staged_folder_removes_the_parents_it_made(tmp_path):
    def fail(stage: Path) -> None:
        (stage / "file").touch()
        raise KeyError("in the middle")

    with pytest.raises(KeyError), files.staged_folder(tmp_path / "a" / "b" / "1.0.0") as stage:
        fail(stage)
    assert os.listdir(tmp_path) == []


def test_a_secret_file_is_never_readable_by_others(tmp_path):
    files.write_bytes(tmp_path / "secret", b"x", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_file_in_the_place_of_a_folder_is_one_clear_error(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(DsmanagerError, match=r"could not write x\.json at .*data") as raised:
        files.write_json(tmp_path / "data" / "x.json", {})
    assert "--data-dir" in str(raised.value.hint)


@pytest.fixture
def tiny_disk(tmp_path: Path, root_only: None) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount program")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_no_space_and_the_old_file_stays(tiny_disk):
    files.write_bytes(tiny_disk / "thing", b"old")
    with pytest.raises(NoSpaceError) as raised:
        files.write_bytes(tiny_disk / "thing", bytes(200_000))
    assert raised.value.exit_code == 9
    assert "--data-dir" in str(raised.value.hint)
    assert (tiny_disk / "thing").read_bytes() == b"old"
    assert os.listdir(tiny_disk) == ["thing"]


def test_work_that_cannot_fit_is_refused_before_it_starts(tiny_disk):
    files.require_free_bytes(tiny_disk / "not" / "there", 1000, "x")
    with pytest.raises(NoSpaceError, match=r"build needs 100,000 bytes in .*are free"):
        files.require_free_bytes(tiny_disk / "not" / "there", 100_000, "build")


def test_a_lock_and_a_removal_work_on_a_full_disk(tiny_disk):
    from dsmanager.locks import locked

    (tiny_disk / "tree").mkdir()
    with (
        open(tiny_disk / "tree" / "big", "wb") as file,
        pytest.raises(OSError, match="No space left"),
    ):
        os.posix_fallocate(file.fileno(), 0, 200_000)
    with suppress(OSError):
        (tiny_disk / "tree" / "rest").write_bytes(bytes(200_000))
    assert files.free_bytes(tiny_disk) == 0
    with locked(tiny_disk / "x.lock", purpose="remove"):
        files.remove_path(tiny_disk / "tree")
    assert os.listdir(tiny_disk) == []


def test_a_folder_of_somebody_else_is_one_clear_error(root_only, run_program, tmp_path):
    (tmp_path / "thing").write_text("old")
    tmp_path.chmod(0o755)
    done = run_program(
        """
        import os, sys
        from pathlib import Path
        from dsmanager import files
        from dsmanager.errors import DsmanagerError
        os.seteuid(65534)
        try:
            files.write_bytes(Path("thing"), b"new")
        except DsmanagerError as error:
            print(error.exit_code.value, error.message, "|", error.hint)
        """
    )
    assert done.stdout.startswith("1 could not write thing at "), done.stderr
    assert "Permission denied | check owner and mode" in done.stdout
    assert (tmp_path / "thing").read_text() == "old"
