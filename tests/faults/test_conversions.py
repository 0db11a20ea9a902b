"""Conversions whose disk becomes full in the middle, and whose sources end or change there."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.goodness import one_clear_line
from harness.machine import Machine, new_machine
from harness.objects import ObjectServer, serving
from harness.processes import Ended
from harness.tars import image, photos, write_tar

MIB = 1 << 20
PATIENCE = {"dsmanager.ingest.web:PATIENCE_S": 0.5}
TARS = ("t-{0..2}.tar.gz", "--fields", "all")
SHARD_SPLITS = {"train": 1024, "validation": 128}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path / "machine")


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with serving() as server:
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="session")
def large_tars(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three of 2 MB each, which gzip makes half as large: what is asked for before is too little.

    As letters of 16 kinds, so that neither Zstandard nor anybody else makes more of them.
    """
    folder = tmp_path_factory.mktemp("large-tars")
    letters = random.Random(1)
    return [
        write_tar(
            folder / f"t-{number}.tar.gz",
            [
                (f"{number}{key}.bin", bytes(letters.choices(range(16), k=250_000)))
                for key in range(8)
            ],
            "gz",
        )
        for number in range(3)
    ]


def write_tree(folder: Path) -> None:
    """Images so small that a shard takes more of a disk than they do."""
    (folder / "train" / "n01440764").mkdir(parents=True)
    (folder / "val").mkdir()
    for number in range(60):
        (folder / "train" / "n01440764" / f"{number}.JPEG").write_bytes(image(number % 9))
    for number in range(1, 41):
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        (folder / "val" / name).write_bytes(image(number % 9))


def assert_full(ended: Ended, disk: Path) -> None:
    """One clear line that names what helps, and nothing to be seen."""
    assert (ended.code, one_clear_line(ended.code, ended.stderr)) == (9, [])
    assert "No space left on device" in ended.stderr
    assert ended.stderr.rstrip().endswith("free some space, or name another DEST")
    assert [name for name in os.listdir(disk) if not name.startswith(".")] == []


@pytest.mark.parametrize(
    ("kilobytes", "reused", "options"),
    [
        (4400, 2, ()),
        (4400, 2, ("--workers", "1")),
        (7600, 3, ("--shards", "2")),
        (7600, 3, ("--shuffle", "1", "--workers", "1")),
        (7600, 3, ("--to", "array_record")),
    ],
    ids=lambda value: " ".join(value) or "plain" if isinstance(value, tuple) else str(value),
)
def test_a_disk_that_fills_up_while_tars_are_converted_is_9_and_the_next_run_goes_on(
    kilobytes: int, reused: int, options: tuple[str, ...], machine, zygote, disk, large_tars
) -> None:
    for tar in large_tars:
        shutil.copy(tar, machine.root)
    place = disk(f"size={kilobytes}k")
    assert_full(
        zygote.run(machine, "convert", *TARS[:1], f"{place}/out", *TARS[1:], *options), place
    )
    disk("size=40m")
    again = zygote.run(machine, "convert", *TARS[:1], f"{place}/out", *TARS[1:], *options)
    assert again.code == 0, again.stderr
    assert f"{reused} of 3 tars were converted before" in again.stderr
    assert os.listdir(place) == ["out"]
    fresh = zygote.run(machine, "convert", *TARS[:1], "fresh", *TARS[1:], *options)
    assert fresh.code == 0, fresh.stderr
    assert contents(place / "out") == contents(machine.root / "fresh")


def test_a_plan_that_does_not_fit_is_no_space_and_one_that_fits_is_a_file_of_numpy(disk) -> None:
    import numpy as np

    from dsmanager.errors import NoSpaceError
    from dsmanager.ingest.tars.shards import _RECORD, _save

    records = np.zeros(1000, _RECORD)
    records["offset"] = range(1000)
    path = disk("size=16k") / "plan.npy"
    with pytest.raises(NoSpaceError, match="could not write the plan"):
        _save(path, records)
    disk("size=64k")
    _save(path, records)
    assert np.array_equal(np.load(path), records)


@pytest.mark.parametrize("to", ["tpu", "slim"])
@pytest.mark.parametrize("options", [(), ("--workers", "1")], ids=["any", "one"])
def test_a_disk_that_fills_up_while_imagenet_is_converted_is_9_and_the_next_run_goes_on(
    to: str, options: tuple[str, ...], machine, zygote, disk
) -> None:
    write_tree(machine.root / "in")
    place = disk("size=300k")
    command = ("convert", "in", f"{place}/out", "--to", to, *options)
    assert_full(zygote.run(machine, *command), place)
    parts = [path for path in place.rglob("*.part") if path.stat().st_size]
    assert 0 < len(parts) < 100
    kept = {path.name: path.stat().st_ino for path in parts}
    disk("size=40m")
    again = zygote.run(machine, *command)
    assert again.code == 0, again.stderr
    assert "train 60 images in 1,024 shards" in again.stdout
    assert "validation 40 images in 128 shards" in again.stdout
    assert os.listdir(place) == ["out"]
    inodes = {path.stat().st_ino for path in (place / "out").rglob("*-of-*")}
    assert len(inodes & set(kept.values())) > len(kept) // 2, "finished shards are used again"
    fresh = zygote.run(machine, "convert", "in", "fresh", "--to", to)
    assert fresh.code == 0, fresh.stderr
    assert contents(place / "out") == contents(machine.root / "fresh")


@pytest.mark.parametrize("to", ["tpu", "slim"])
def test_a_disk_that_has_no_room_for_one_more_file_is_9_and_the_next_run_goes_on(
    to: str, machine, zygote, disk
) -> None:
    """All parts are made, and about half of all names are in the tree that would become DEST."""
    write_tree(machine.root / "in")
    place = disk("size=40m,nr_inodes=700")
    command = ("convert", "in", f"{place}/out", "--to", to)
    assert_full(zygote.run(machine, *command), place)
    assert 500 < len([path for path in place.rglob("*-of-*") if "tree" in path.parts]) < 700
    disk("size=40m,nr_inodes=5000")
    again = zygote.run(machine, *command)
    assert again.code == 0, again.stderr
    assert os.listdir(place) == ["out"]
    fresh = zygote.run(machine, "convert", "in", "fresh", "--to", to)
    assert fresh.code == 0, fresh.stderr
    assert contents(place / "out") == contents(machine.root / "fresh")


def test_a_cut_tar_is_4_and_named_and_the_others_are_not_read_again(machine, zygote) -> None:
    for number in range(3):
        write_tar(machine.root / f"t-{number}.tar", photos(10 * number, 6))
    whole = (machine.root / "t-2.tar").read_bytes()
    (machine.root / "t-2.tar").write_bytes(whole[: len(whole) // 2])
    command = ("convert", "t-{0..2}.tar", "out", "--workers", "1")
    ended = zygote.run(machine, *command)
    assert (ended.code, one_clear_line(ended.code, ended.stderr)) == (4, [])
    assert "t-2.tar: it is cut off" in ended.stderr
    assert not (machine.root / "out").exists()
    (machine.root / "t-2.tar").write_bytes(whole)
    again = zygote.run(machine, *command)
    assert again.code == 0, again.stderr
    assert "2 of 3 tars were converted before" in again.stderr


def test_a_connection_that_breaks_for_good_is_5_and_the_others_are_not_fetched_again(
    machine, zygote, server
) -> None:
    for number in range(3):
        path = write_tar(machine.root / f"t-{number}.tar", photos(10 * number, 6))
        server.objects[f"/t-{number}.tar"] = path.read_bytes()
    size = len(server.objects["/t-1.tar"])
    server.break_after = [size, size, *[3000] + [0] * 1000]
    command = ("convert", f"{server.url}/t-{{0..2}}.tar", "out", "--workers", "1")
    ended = zygote.run(machine, *command, settings=PATIENCE)
    assert (ended.code, one_clear_line(ended.code, ended.stderr)) == (5, [])
    assert "/t-2.tar: the connection broke after 3,000 bytes" in ended.stderr
    assert not (machine.root / "out").exists()
    server.break_after = []
    before = len(server.requests)
    again = zygote.run(machine, *command)
    assert again.code == 0, again.stderr
    fetched = [path for verb, path, _ in server.requests[before:] if verb == "GET"]
    assert fetched == ["/t-2.tar"]
    disk = zygote.run(machine, "convert", "t-{0..2}.tar", "disk")
    assert disk.code == 0, disk.stderr
    out, same = contents(machine.root / "out"), contents(machine.root / "disk")
    shards = [name for name in same if ".tfrecord-" in name]
    assert len(shards) == 3
    assert [out[name] for name in shards] == [same[name] for name in shards]


def test_a_cut_tar_of_imagenet_is_4_and_named(machine, zygote) -> None:
    members = [(f"ILSVRC2012_val_{number:08}.JPEG", image(number)) for number in range(1, 9)]
    (machine.root / "in").mkdir()
    tar = write_tar(machine.root / "in" / "ILSVRC2012_img_val.tar", members)
    whole = tar.read_bytes()
    tar.write_bytes(whole[:5000])
    command = ("convert", "in", "out", "--to", "tpu", "--only", "val")
    ended = zygote.run(machine, *command)
    assert (ended.code, one_clear_line(ended.code, ended.stderr)) == (4, [])
    assert "ILSVRC2012_img_val.tar is damaged: it is cut off" in ended.stderr
    assert sorted(os.listdir(machine.root)) == ["in"]
    tar.write_bytes(whole)
    assert zygote.run(machine, *command).code == 0
