"""Partitions: the same files whatever makes them, and what is finished is not made again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import DsmanagerError

BUILDER = """
import os, pathlib, signal, time
import numpy as np
import tensorflow_datasets as tfds
from dsmanager.builders.partitioned import PartitionedBuilder

NOTES = pathlib.Path({notes!r})
MAIN = os.getpid()  # a helper is a fork of the process that imported this


class Parted(PartitionedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {{"1.0.0": "First."}}

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(
            {{"x": np.int64, "text": tfds.features.Text()}}))

    def _partitions(self, dl_manager):
        return {{"train": [{{"first": n * 10, "file": {source!r}}} for n in range(8)],
                "test": [{{"first": 0, "file": {source!r}}}]}}

    def _generate_partition(self, split, partition):
        first = partition["first"]
        (NOTES / f"{{split}}-{{first}}-{{os.getpid()}}").touch()
        text = pathlib.Path(partition["file"]).read_text()
        for number in range(first, first + 10):
{body}
            yield f"key {{number}}", {{"x": number, "text": text}}
"""
NOTHING = "            pass"
TOGETHER = """
            end = time.monotonic() + 20  # until another process has begun a partition, too
            while len({note.name.split("-")[2] for note in NOTES.glob("train-*")}) < 2:
                assert time.monotonic() < end
                time.sleep(0.01)
"""


class Parted:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source.txt"
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.home = folder / "parted"
        self.home.mkdir()
        self.source.write_text("the source")

    def write(self, body: str = NOTHING) -> Path:
        code = BUILDER.format(notes=str(self.notes), source=str(self.source), body=body)
        (self.home / "parted.py").write_text(code)
        return self.home

    def runs(self) -> list[str]:
        """The partitions that ran, since the last time."""
        names = sorted(note.name.rpartition("-")[0] for note in self.notes.iterdir())
        for note in self.notes.iterdir():
            note.unlink()
        return names


@pytest.fixture
def parted(tmp_path: Path) -> Parted:
    return Parted(tmp_path)


def _files(tree: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tree.iterdir()}


def test_the_result_does_not_depend_on_the_number_of_workers(bench: Any, parted: Parted) -> None:
    built = [_files(bench.build(parted.write(), workers=1))]
    pids = {note.name.split("-")[2] for note in parted.notes.iterdir()}
    assert len(parted.runs()) == 9
    assert len(pids) == 1
    file = parted.home / "parted.py"
    kept = file.read_text()
    for workers in (2, 3):
        file.write_text(kept.replace(NOTHING, TOGETHER))
        files = _files(bench.build(parted.home, workers=workers))
        assert len({note.name.split("-")[2] for note in parted.notes.iterdir()}) > 1
        assert len(parted.runs()) == 9
        built.append(files)
    for files in built:
        files.pop("provenance.json")  # it tells the code apart
    assert built[0] == built[1] == built[2]
    assert bench.leftovers == []


def test_helpers_are_started_afresh_where_a_fork_is_not_safe(bench: Any, parted: Parted) -> None:
    """A thread that runs when the builder is loaded would be missing in a fork."""
    built = _files(bench.build(parted.write(), workers=1))
    file = parted.home / "parted.py"
    thread = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    file.write_text(f"{thread}\n{file.read_text().replace(NOTHING, TOGETHER)}")
    parted.runs()
    files = _files(bench.build(parted.home, workers=2))
    assert len({note.name.split("-")[2] for note in parted.notes.iterdir()}) == 2
    for each in (built, files):
        each.pop("provenance.json")  # it tells the code apart
    assert files == built


def test_finished_partitions_are_not_made_again(bench: Any, parted: Parted) -> None:
    flag = parted.folder / "broken"
    flag.touch()
    body = f"            assert first != 50 or not os.path.exists({str(flag)!r}), 'broken'"
    home = parted.write(body)
    with pytest.raises(DsmanagerError, match="AssertionError: broken"):
        bench.build(home, workers=1)
    assert parted.runs() == [f"train-{first}" for first in (0, 10, 20, 30, 40, 50)]
    assert bench.leftovers
    flag.unlink()
    resumed = _files(bench.build(home, workers=1))
    assert parted.runs() == ["test-0", "train-50", "train-60", "train-70"]
    assert bench.leftovers == []
    assert resumed == _files(bench.build(home, workers=1))
    assert len(parted.runs()) == 9


@pytest.mark.parametrize("change", ["source", "code", "clean", "damage"])
def test_what_partitions_were_made_from_must_be_the_same(
    bench: Any, parted: Parted, change: str
) -> None:
    flag = parted.folder / "broken"
    flag.touch()
    home = parted.write(f"            assert first < 20 or not os.path.exists({str(flag)!r})")
    with pytest.raises(DsmanagerError):
        bench.build(home, workers=1)
    assert parted.runs() == ["train-0", "train-10", "train-20"]
    flag.unlink()
    options: dict[str, Any] = {"workers": 1}
    if change == "source":
        parted.source.write_text("another source")
    elif change == "code":
        code = (home / "parted.py").read_text()
        (home / "parted.py").write_text(code + "\n# another code\n")
    elif change == "clean":
        options["clean"] = True
    else:
        for index in bench.data_dir.rglob("*.index"):
            spill = index.with_suffix(".spill")
            content = bytearray(spill.read_bytes())
            content[-1] ^= 1
            spill.write_bytes(content)
    bench.build(home, **options)
    assert len(parted.runs()) == 9
    assert bench.leftovers == []


def test_what_a_helper_raises_is_told(bench: Any, parted: Parted) -> None:
    body = TOGETHER + "\n            raise KeyError(f'in {os.getpid()}')"
    with pytest.raises(DsmanagerError, match="KeyError: 'in "):
        bench.build(parted.write(body), workers=2)


def test_a_killed_helper_is_told_and_what_is_finished_stays(bench: Any, parted: Parted) -> None:
    body = f"""
            if os.getpid() != MAIN:
                if first == 20 and not os.path.exists({str(parted.folder / "once")!r}):
                    pathlib.Path({str(parted.folder / "once")!r}).touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            else:
                end = time.monotonic() + 20
                while not os.path.exists({str(parted.folder / "once")!r}):
                    assert time.monotonic() < end
                    time.sleep(0.01)
"""
    if sys.platform != "linux":
        pytest.skip("helpers are forked on Linux")
    home = parted.write(body)
    with pytest.raises(DsmanagerError, match="helper process was killed by SIGKILL"):
        bench.build(home, workers=2)
    assert "train-10" in parted.runs()
    bench.build(home, workers=2)
    assert "train-10" not in parted.runs()


def test_a_duplicate_key_in_two_partitions_is_named(bench: Any, parted: Parted) -> None:
    home = parted.write('            yield "same", {"x": 1, "text": ""}')
    with pytest.raises(DsmanagerError, match="duplicate key 'same'"):
        bench.build(home, workers=1)


def test_a_number_of_examples_is_taken_in_order(bench: Any, parted: Parted) -> None:
    tree = bench.build(parted.write(), workers=2, max_examples=15)
    info = json.loads((tree / "dataset_info.json").read_text())
    assert [split["shardLengths"] for split in info["splits"]] == [["15"], ["10"]]


SCRIPT = """
import pathlib, sys
from dsmanager.building.options import BuildOptions
from dsmanager.building.run import build
from dsmanager.catalog.find import builders_at
from dsmanager.progress import CancelToken, Progress
folder, home = map(pathlib.Path, sys.argv[1:])
(folder / "stage").mkdir(parents=True)
build(builders_at(home)[0], config=None, options=BuildOptions(workers=1),
      data_dir=folder / "data", stage=folder / "stage", log_path=folder / "log.txt",
      progress=Progress(), cancel=CancelToken())
"""


def test_a_killed_build_goes_on_where_it_was(bench: Any, parted: Parted, tmp_path: Path) -> None:
    body = f"""
            if first == 40 and not os.path.exists({str(tmp_path / "killed")!r}):
                pathlib.Path({str(tmp_path / "here")!r}).touch()
                time.sleep(600)
"""
    home = parted.write(body)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(bench.folder), str(home)])
    end = time.monotonic() + 30
    while not (tmp_path / "here").exists():
        assert time.monotonic() < end
        threading.Event().wait(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (tmp_path / "killed").touch()
    parted.runs()
    bench.build(home, workers=1)
    assert parted.runs() == ["test-0", "train-40", "train-50", "train-60", "train-70"]
    assert bench.leftovers == []
