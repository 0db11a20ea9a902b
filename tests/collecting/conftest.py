"""A library with real archives on folders of one test, and processes that hold its locks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Zygote

from dsmanager.library.collecting import Collection, collect, plan_collection
from dsmanager.library.garbage import Request
from dsmanager.library.library import Library
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.refs import Ref
from dsmanager.settings import RemoteConfig, Settings

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from dsmanager.locks import locked
with locked(Path(sys.argv[1]), purpose="test digit"):
    print("held", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Place:
    """One machine's folders."""

    root: Path
    library: Library
    zygote: Zygote

    @property
    def data_dir(self) -> Path:
        return self.library.data_dir

    @property
    def cache(self) -> Path:
        return self.data_dir / "cache"

    def build(self, ref: str) -> Path:
        """A version folder that loads, written by hand."""
        parsed = Ref.parse(ref)
        folder = self.data_dir / parsed.subdir
        folder.mkdir(parents=True)
        split = {"name": "train", "shardLengths": ["2"], "numBytes": "10"}
        info = {"name": parsed.name, "fileFormat": "tfrecord", "splits": [split]}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        (folder / "features.json").write_text("{}")
        with TFRecordWriter(folder / f"{parsed.name}-train.tfrecord-00000-of-00001") as writer:
            for number in range(2):
                writer.write(f"{ref} {number}".encode())
        return folder

    def package(self, ref: str) -> Path:
        """Builds and packs; returns the archive."""
        self.build(ref)
        (done,) = self.library.package(ref)
        return done.path

    def plan(self, **options: Any) -> Collection:
        return plan_collection(self.library, Request(**options))

    def gc(self, **options: Any) -> list[tuple[str, str, str]]:
        """Collects everything that is found: (kind, name, outcome) of each."""
        plan = self.plan(**options)
        assert not plan.errors
        return [
            (
                each.kind,
                each.target.rpartition("/")[2],
                collect(self.library, each, progress=Progress(), cancel=CancelToken()),
            )
            for each in plan.garbage
        ]

    def everything(self) -> set[str]:
        return {str(path.relative_to(self.data_dir)) for path in self.data_dir.rglob("*")}

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "DSMANAGER_CONFIG": str(self.root / "config.toml"),
            "DSMANAGER_STATE_DIR": str(self.root / "state"),
            "DSMANAGER_DATA_DIR": str(self.data_dir),
            "HOME": str(self.root),
        }
        return {**os.environ, **own}

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The real program; its envelope."""
        ended = self.zygote.run(self, "--json", *arguments)
        assert ended.code == code, ended
        return ended.json


@pytest.fixture
def make_place(tmp_path: Path, zygote: Zygote) -> Callable[..., Place]:
    def make(remote: RemoteConfig | None = None, *, name: str = "machine") -> Place:
        root = tmp_path / name
        root.mkdir()
        settings = Settings(
            data_dir=root / "data",
            state_dir=root / "state",
            config_file=root / "config.toml",
            manifest=root / "data" / "datasets.json",
            remotes={remote.name: remote} if remote else {},
            working_dir=root,
        )
        return Place(root, Library(settings=settings), zygote)

    return make


@pytest.fixture
def place(make_place: Callable[..., Place]) -> Place:
    return make_place()


@pytest.fixture
def remote_place(make_place: Callable[..., Place], remote_config: RemoteConfig) -> Place:
    return make_place(remote_config)


@pytest.fixture
def holding() -> Callable[[Path], Any]:
    """``with holding(lock) as process``: another process holds the lock meanwhile."""

    @contextmanager
    def hold(lock: Path) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(lock)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()
        process.wait()
        process.stdout.close()

    return hold
