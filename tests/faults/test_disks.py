"""Full disks and read-only folders, on real file systems of their own."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from harness.faults import Fault
from harness.goodness import local_state, one_clear_line
from harness.machine import Machine
from harness.starts import ARCHIVE, RANGES_PAYLOAD_BYTES
from harness.transfers import SMALL

MIB = 1 << 20


def fill(folder: Path) -> None:
    """Leaves no byte free."""
    with suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
        for piece in (MIB, 4096, 1):
            with suppress(OSError):
                while file.write(b"x" * piece) == piece:
                    continue


@pytest.fixture
def on_disk(disk, starts_with):
    """A machine in a start state whose data dir lies on a disk of its own."""

    def make(start: str, root: Path, size: str) -> Machine:
        machine, _ = starts_with(RANGES_PAYLOAD_BYTES).make(start, root)
        folder = disk(f"size={size}")
        if machine.data_dir.exists():
            shutil.copytree(machine.data_dir, folder / "data")
        machine.extra["DSMANAGER_DATA_DIR"] = str(folder / "data")
        return Machine(machine.root, machine.extra)

    return make


FULL = {
    "package": ("built", ("package", "tiny")),
    "package --overwrite": ("packaged", ("package", "tiny", "--overwrite")),
    "extract": ("cached", ("extract", "tiny")),
    "extract --overwrite": ("packaged", ("extract", "tiny", "--overwrite")),
    "download": ("remote", ("download", "tiny")),
    "download --overwrite": ("remote and other", ("download", "tiny", "--overwrite")),
    "sync": ("remote", ("sync",)),
    "manifest record": ("unrecorded", ("manifest", "record", "tiny")),
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_9_and_nothing_is_lost(name, on_disk, zygote, tmp_path):
    start, arguments = FULL[name]
    machine = on_disk(start, tmp_path / "machine", "8m")
    folder = Path(machine.extra["DSMANAGER_DATA_DIR"]).parent
    before = local_state_of(machine)
    fill(folder)
    ended = zygote.run(machine, *arguments)
    assert (ended.code, one_clear_line(ended.code, ended.stderr)) == (9, [])
    (folder / "filler").unlink()
    after = local_state_of(machine)
    assert before.good <= after.good
    assert after.damaged == ()
    again = zygote.run(machine, *arguments)
    assert again.code == 0, again.stderr
    assert temporary_files(folder) == []


def test_a_disk_that_fills_up_while_an_archive_arrives_is_9(on_disk, zygote, proxy, tmp_path):
    from dataclasses import replace

    machine = on_disk("remote", tmp_path / "machine", "8m")
    folder = Path(machine.extra["DSMANAGER_DATA_DIR"]).parent
    direct = machine.library.settings.current_remote()
    machine.use(replace(direct, endpoint_url=proxy.url))
    proxy.inject(Fault.CHANGE, match="^GET.* bytes=", skip=1, times=1, action=lambda: fill(folder))
    ended = zygote.run(machine, "download", "tiny", settings=SMALL)
    proxy.clear()
    assert ended.code in (0, 9), ended.stderr
    assert one_clear_line(ended.code, ended.stderr) == []
    (folder / "filler").unlink()
    assert zygote.run(machine, "download", "tiny").code == 0
    assert zygote.run(machine, "verify", "tiny").code == 0
    assert temporary_files(folder) == []


def test_a_disk_that_fills_up_while_unpacking_or_packing_keeps_what_was_there(
    on_disk, zygote, tmp_path
):
    machine = on_disk("packaged", tmp_path / "machine", "4m")  # room for two copies, not for three
    before = local_state_of(machine)
    for verb in ("package", "extract"):
        ended = zygote.run(machine, verb, "tiny", "--overwrite")
        assert (ended.code, one_clear_line(ended.code, ended.stderr)) == (9, [])
        assert local_state_of(machine) == before
        assert temporary_files(Path(machine.extra["DSMANAGER_DATA_DIR"])) == []


def test_on_a_read_only_disk_reading_works_and_changing_says_why(on_disk, disk, zygote, tmp_path):
    machine = on_disk("packaged", tmp_path / "machine", "16m")
    before = local_state_of(machine)
    disk("ro")
    try:
        for verb in (("list",), ("info", "tiny"), ("verify", "tiny"), ("load", "tiny")):
            ended = zygote.run(machine, *verb)
            assert ended.code == 0, ended.stderr
        for verb in ("package", "extract", "download"):
            ended = zygote.run(machine, verb, "tiny", "--overwrite")
            assert ended.code in (1, 6), ended.stderr  # 6: there is nothing on the remote
            assert one_clear_line(ended.code, ended.stderr) == []
        uploaded = zygote.run(machine, "upload", "tiny")
        assert (uploaded.code, one_clear_line(uploaded.code, uploaded.stderr)) == (1, [])
        assert "Read-only" in uploaded.stderr
    finally:
        disk("rw")
    assert local_state_of(machine) == before
    assert (Path(machine.extra["DSMANAGER_DATA_DIR"]) / "cache" / ARCHIVE).exists()


def local_state_of(machine: Machine):
    return local_state(machine)


def temporary_files(folder: Path) -> list[str]:
    ends = (".tmp", ".lock", ".part", ".part.json")
    return [path.name for path in folder.rglob("*") if path.name.endswith(ends)]
