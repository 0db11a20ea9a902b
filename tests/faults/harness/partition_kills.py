"""kill -9 of a build in partitions: what is finished is kept, and the next build ends as any other.

The builder itself says when: as soon as it comes to a certain example of a certain partition, in
whatever process, it kills the dsmanager that runs it. What follows the partitions is killed before
a change of the file system, as in :mod:`harness.kills`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.goodness import Findings, local_state
from harness.kills import leftovers
from harness.machine import Machine, new_machine
from harness.processes import KILLED, Zygote

PARTITIONS = 10
BUILDER = """
import os, pathlib, signal, threading
import numpy as np
import tensorflow_datasets as tfds
from dsmanager.builders.partitioned import PartitionedBuilder

HERE = pathlib.Path(__file__).parent.parent  # what lies beside this file is part of the code
REAPER = os.getppid()  # of the first process that imports this; the others are its forks
STATUS = pathlib.Path(f"/proc/{{REAPER}}/status").read_text().split()
DSMANAGER = int(STATUS[STATUS.index("PPid:") + 1])


class Parted(PartitionedBuilder):
    VERSION = tfds.core.Version({version!r})
    RELEASE_NOTES = {{"1.0.0": "First.", "1.1.0": "Second."}}

    def _info(self):
        features = {{"number": tfds.features.Scalar(np.int64), "word": tfds.features.Text()}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _partitions(self, dl_manager):
        return {{"train": list(range({partitions}))}}

    def _generate_partition(self, split, partition):
        with open(HERE / "made.txt", "a") as file:
            file.write(str(partition) + "\\n")
        for number in range(partition * 20, partition * 20 + 20):
            if (HERE / "deadly.txt").exists() and (HERE / "deadly.txt").read_text() == str(number):
                os.kill(DSMANAGER, signal.SIGKILL)
                threading.Event().wait()  # for the end that follows
            yield number, {{"number": number, "word": "word " * number}}
"""


@dataclass(frozen=True)
class Point:
    """Before this example is made, or before this change of the process that is called."""

    example: int | None = None
    change: int = 0

    def __str__(self) -> str:
        return f"at change {self.change}" if self.change else f"at example {self.example}"


class PartitionKills:
    """Builds of ``parted:1.1.0`` on machines that have ``parted:1.0.0``, killed and run again."""

    def __init__(self, zygote: Zygote, root: Path) -> None:
        self._zygote = zygote
        self._root = root
        self._home = root / "parted"
        self._home.mkdir(parents=True)
        self._write("1.0.0")
        start = new_machine(root / "start")
        first = self._build(start)
        self._write("1.1.0")
        whole = Machine(shutil.copytree(start.root, root / "whole"))
        second = self._build(whole)
        assert first.code == second.code == 0, first.stderr + second.stderr
        assert second.changes is not None
        self.changes = second.changes
        self._start = start
        self._files = shards(whole)

    def points(self, count: int) -> Iterator[Point]:
        """Half of them among the examples, the others among the changes, each evenly."""
        examples = count // 2
        for number in range(examples):
            yield Point(example=(PARTITIONS * 20 - 1) * (2 * number + 1) // (2 * examples))
        for number in range(count - examples):
            yield Point(change=1 + self.changes * (2 * number + 1) // (2 * (count - examples)))

    def run(self, point: Point) -> Findings:
        machine = Machine(shutil.copytree(self._start.root, self._root / "machine"))
        deadly, made = self._root / "deadly.txt", self._root / "made.txt"
        if point.example is not None:
            deadly.write_text(str(point.example))
        killed = self._build(machine, kill_at=point.change)
        deadly.unlink(missing_ok=True)
        findings, what = Findings(tries=int(killed.code == KILLED)), f"killed {point}"
        state = local_state(machine)
        findings.damaged += [f"{what}: {each}" for each in state.damaged]
        if "parted:1.0.0 built" not in state.good or self._load(machine):
            findings.lost.append(f"{what}: the earlier build")
        kept = finished(machine)
        made.unlink(missing_ok=True)
        again = self._build(machine)
        if again.code or shards(machine) != self._files:
            findings.failed.append(f"{what}: other shards, or {again.code}: {again.stderr}")
        remade = made.read_text().split() if made.exists() else []
        twice = kept & set(map(int, remade))
        if twice or len(remade) > PARTITIONS - len(kept):
            findings.failed.append(f"{what}: {sorted(kept)} were finished, made were {remade}")
        findings.left += [f"{what}: {each}" for each in leftovers(self._zygote, machine, None)]
        shutil.rmtree(machine.root)
        return findings

    def _write(self, version: str) -> None:
        code = BUILDER.format(version=version, partitions=PARTITIONS)
        (self._home / "parted.py").write_text(code)

    def _build(self, machine: Machine, kill_at: int = 0):
        arguments = ("build", "parted", "--path", str(self._home), "--workers", "2")
        return self._zygote.run(machine, *arguments, kill_at=kill_at)

    def _load(self, machine: Machine) -> int:
        return self._zygote.run(machine, "load", "parted:1.0.0", "--take", "1").code


def shards(machine: Machine) -> dict[str, bytes]:
    """What is named like a shard, anywhere below the data dir."""
    found = machine.data_dir.rglob("*tfrecord*")
    return {str(path.relative_to(machine.data_dir)): path.read_bytes() for path in found}


def finished(machine: Machine) -> set[int]:
    """The partitions that lie in a folder of partitions, with their index; removal takes either."""
    indexes = machine.data_dir.rglob("*.index")
    whole = [path for path in indexes if path.with_suffix(".spill").exists()]
    return {int(path.name.split(".")[1]) for path in whole}
