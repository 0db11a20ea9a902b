"""``dsmanager convert`` as people and scripts call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness.goodness import one_clear_line
from harness.processes import ForkingMachine, Zygote
from harness.tars import photos, write_tar


@pytest.fixture
def machine(tmp_path: Path, zygote: Zygote) -> ForkingMachine:
    machine = zygote.new_machine(tmp_path / "machine")
    for number in range(2):
        write_tar(machine.root / f"val-{number}.tar", photos(10 * number, 5))
    return machine


def test_a_conversion_into_the_data_dir_is_a_dataset_like_any_other(
    machine: ForkingMachine,
) -> None:
    place = str(machine.data_dir / "photos" / "2.1.0")
    done = machine.run("convert", "val-0.tar", "val-1.tar", place, "--name", "photos", "--json")
    row = json.loads(done.stdout)["data"][0]
    assert (row["outcome"], row["records"], row["shards"]) == ("converted", 10, 2)
    listed = json.loads(machine.run("list", "--json").stdout)["data"][0]
    assert (listed["ref"], listed["state"]) == ("photos:2.1.0", "not-cached")
    assert listed["built"]["splits"] == {"val": {"examples": 10, "shards": 2}}
    assert "val: 10 examples" in machine.run("load", place, "--take", "1").stdout
    machine.run("package", "photos")
    machine.run("verify", "photos", "--deep")
    again = machine.run("convert", "val-{0..1}.tar", place, "--name", "photos")
    assert "is converted already" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("val-0.tar",), 2, "a source and a destination"),
        (("val-0.tar", "out", "--to", "csv"), 2, "nothing to convert to"),
        (("val-{0..2}.tar", "out"), 6, "val-2.tar is not there"),
        (("val-0.tar", "full"), 7, "--overwrite"),
        (("val-0.tar", "full/file"), 2, "is no folder"),
        (("val-0.tar", ".", "--overwrite"), 2, "is where val-0.tar is read from"),
        (("full", "out"), 2, "convert DIR OUT --to tpu"),
        (("full/file", "out"), 4, "this is no tar"),
        (("val-0.tar", "out", "--only", "train"), 2, "no meaning with --to tfrecord"),
        (("val-0.tar", "out", "--cluster", "scheduler"), 2, "no address"),
        (("val-0.tar", "out", "--cluster", "tcp://127.0.0.1:1", "--workers", "0"), 2, "workers"),
    ],
)
def test_what_goes_wrong_has_its_exit_code(machine: ForkingMachine, arguments, code, said) -> None:
    (machine.root / "full").mkdir()
    (machine.root / "full" / "file").write_text("mine" * 200)
    done = machine.run("convert", *arguments, code=code)
    assert said in done.stderr
    assert one_clear_line(code, done.stderr) == []
    assert (machine.root / "full" / "file").read_text() == "mine" * 200
    assert (machine.root / "val-0.tar").exists()
    assert not (machine.root / "out").exists()


def test_a_conversion_can_be_a_job(machine: ForkingMachine) -> None:
    started = machine.run("convert", "val-0.tar", "out", "--shards", "2", "--detach", "--json")
    job = json.loads(started.stdout)["data"][0]
    assert (job["kind"], job["ref"]) == ("convert", "val-0.tar out")
    machine.run("attach", str(job["id"]))
    assert len(list((machine.root / "out").glob("val-0.tfrecord-*-of-00002"))) == 2


def test_of_two_at_once_one_works_and_the_other_finds_it_done(machine: ForkingMachine) -> None:
    command = ("convert", "val-{0..1}.tar", "out", "--shuffle", "1", "--json")
    both = [machine.zygote.start(machine, *command) for _ in range(2)]
    ended = [machine.zygote.wait(running) for running in both]
    assert sorted(each.json["data"][0]["outcome"] for each in ended) == ["converted", "unchanged"]
    names = {path.name for path in machine.root.iterdir()}
    assert not [name for name in names if name.startswith(".out")]
