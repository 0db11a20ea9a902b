"""A machine with jobs on it, and work that lasts as long as a test wants."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import machine as machines
from harness.machine import Machine

from dsmanager.built import BuiltDataset
from dsmanager.jobs import liveness
from dsmanager.jobs.job import Job
from dsmanager.jobs.registry import Jobs
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.refs import Ref
from dsmanager.settings import Settings

SLOW_BUILDER = '''
import os
import time
import numpy as np
import tensorflow_datasets as tfds


class {name}(tfds.core.GeneratorBasedBuilder):
    """Lasts until a file is there."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {{"1.0.0": "First."}}

    def _info(self):
        features = {{"number": tfds.features.Scalar(np.int64)}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples()}}

    def _generate_examples(self):
        yield 0, {{"number": 0}}
        number = 1
        while not os.path.exists({go!r}):
            yield number, {{"number": number}}
            number += 1
            time.sleep(0.01)
'''


@dataclass
class Workplace:
    """A machine, its jobs, and how to wait for them."""

    machine: Machine
    wait_until: Callable[[Callable[[], bool], str], None]

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.machine.root / "state")

    @property
    def settings(self) -> Settings:
        return Settings.load(environ=self.machine.environment, working_dir=self.machine.root)

    @property
    def go(self) -> Path:
        """The file that slow builders wait for."""
        return self.machine.root / "go"

    def slow_builder(self, name: str = "slow") -> str:
        folder = self.machine.root / "builders" / name
        folder.mkdir(parents=True)
        text = SLOW_BUILDER.format(name=name.capitalize(), go=str(self.go))
        (folder / f"{name}.py").write_text(text)
        return str(folder)

    def start(self, verb: str, *arguments: str) -> Job:
        return self.jobs.start(self.settings, verb, arguments)

    def until(self, job: Job, holds: Callable[[Job], bool], what: str) -> Job:
        """Waits for a condition of a job; returns the job as it was then."""
        jobs = self.jobs

        def is_so() -> bool:
            found = jobs.get(job.id)
            assert found.state != "lost" or what == "lost", found.log.read_text()
            return holds(found)

        self.wait_until(is_so, f"job {job.id} {what}: {jobs.get(job.id)}")
        return jobs.get(job.id)

    def until_state(self, job: Job, *states: str) -> Job:
        return self.until(job, lambda found: found.state in states, " or ".join(states))

    def until_building(self, job: Job) -> Job:
        """Its builder makes examples."""
        return self.until(job, lambda found: found.items_done > 0, "makes examples")

    def until_dead(self, job: Job) -> None:
        self.wait_until(lambda: not liveness.is_alive(job.folder), f"job {job.id} has ended")

    def make_built(self, name: str, *, records: int, content: bytes = b"") -> BuiltDataset:
        """Writes ``name:1.0.0`` by hand, a mebibyte a record."""
        return make_built(self.machine.data_dir, f"{name}:1.0.0", records, content)


@pytest.fixture
def place(
    tmp_path: Path, wait_until: Callable[[Callable[[], bool], str], None]
) -> Iterator[Workplace]:
    workplace = Workplace(machines.new_machine(tmp_path / "machine"), wait_until)
    yield workplace
    for job in workplace.jobs.all():
        if job.is_active:
            liveness.send(job.folder, signal.SIGKILL)
            workplace.until_dead(job)


@pytest.fixture
def tiny_builder(tmp_path: Path) -> str:
    return str(machines.write_builders(tmp_path / "builders") / "tiny")


def make_built(data_dir: Path, ref: str, records: int, content: bytes) -> BuiltDataset:
    import json

    parsed = Ref.parse(ref)
    folder = data_dir / parsed.subdir
    folder.mkdir(parents=True)
    feature = "tensorflow_datasets.core.features"
    text = {"pythonClassName": f"{feature}.text_feature.Text", "text": {}}
    features = {
        "pythonClassName": f"{feature}.features_dict.FeaturesDict",
        "featuresDict": {"features": {"t": text}},
    }
    split = {"name": "train", "shardLengths": [str(records)], "numBytes": "10"}
    info: dict[str, Any] = {"name": parsed.name, "version": parsed.version}
    info |= {"fileFormat": "tfrecord", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features))
    with TFRecordWriter(folder / f"{parsed.name}-train.tfrecord-00000-of-00001") as writer:
        for _ in range(records):
            writer.write(content or secrets.token_bytes(1 << 20))
    return BuiltDataset(parsed, folder)


@pytest.fixture
def leftovers() -> Callable[[Path], list[str]]:
    """Everything below a data dir that is not finished data."""

    def find(data_dir: Path) -> list[str]:
        return [
            str(path.relative_to(data_dir))
            for path in data_dir.rglob("*")
            if path.name.startswith(".") or path.name.endswith((".tmp", ".lock", ".part"))
        ]

    return find


@pytest.fixture
def children() -> Callable[[int], list[int]]:
    """The numbers of a process's children."""

    def find(pid: int) -> list[int]:
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    status = Path("/proc", entry, "stat").read_text()
                except OSError:
                    continue
                if int(status.rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry))
        return found

    return find
