"""kill -9 of a conversion: the next run finishes what is missing, and the bytes are the same."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from harness.machine import Machine, new_machine
from harness.processes import Zygote
from harness.tars import photos, tree_bytes, write_tar

POINTS = 10
LAYOUTS = {
    "one shard a tar": (),
    "shuffled": ("--shuffle", "7", "--shards", "3"),
    "array_record": ("--to", "array_record", "--max-shard-size", "20k"),
}


def prepared(root: Path) -> Machine:
    machine = new_machine(root)
    for number in range(4):
        tar = write_tar(root / f"train-{number}.tar.gz", photos(20 * number, 9), "gz")
        assert tar.exists()
    return machine


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_killed_conversion_goes_on_and_gives_the_same_bytes(
    layout: str, zygote: Zygote, tmp_path: Path
) -> None:
    arguments = ("convert", "train-{0..3}.tar.gz", "out", "--name", "photos", "--json")
    arguments += ("--workers", "1", *LAYOUTS[layout])
    machine = prepared(tmp_path / "whole")
    whole = zygote.run(machine, *arguments)
    assert whole.code == 0, whole.stderr
    assert whole.changes is not None
    expected = tree_bytes(machine.root / "out")
    index = json.loads(expected.pop("index.json"))
    reused = []
    for point in range(POINTS):
        machine = prepared(tmp_path / str(point))
        kill_at = 2 + point * (whole.changes - 2) // POINTS
        ended = zygote.run(machine, *arguments, kill_at=kill_at)
        assert ended.code == -signal.SIGKILL
        out = machine.root / "out"
        assert not out.exists() or tree_bytes(out).keys() == {*expected, "index.json"}
        again = zygote.run(machine, *arguments)
        assert again.code == 0, again.stderr
        row = json.loads(again.stdout)["data"][0]
        reused.append(4 if row["outcome"] == "unchanged" else row["reused"])
        found = tree_bytes(out)
        again_index = json.loads(found.pop("index.json"))
        assert found == expected
        for value in (index, again_index):  # tars of its own have times of their own
            value.pop("fingerprint", None)
        assert again_index == index
        assert [path.name for path in machine.root.iterdir() if path.name.startswith(".out")] == []
    assert reused == sorted(reused)
    assert {0, 4} <= set(reused)


def test_a_tar_that_changed_meanwhile_is_converted_again(zygote: Zygote, tmp_path: Path) -> None:
    machine = prepared(tmp_path / "machine")
    arguments = ("convert", "train-{0..3}.tar.gz", "out", "--workers", "1", "--json")
    write_tar(machine.root / "train-3.tar.gz", [("lonely.cls", b"1")], "gz")
    failed = zygote.run(machine, *arguments)
    assert failed.code == 4, failed.stderr
    assert not (machine.root / "out").exists()
    write_tar(machine.root / "train-1.tar.gz", photos(50, 3), "gz")
    write_tar(machine.root / "train-3.tar.gz", photos(60, 3), "gz")
    again = zygote.run(machine, *arguments)
    row = json.loads(again.stdout)["data"][0]
    assert (row["records"], row["reused"]) == (24, 2)
