"""Small version folders written by hand, libraries on them, and programs in child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.built import BuiltDataset
from dsmanager.library.library import Library
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.refs import Ref
from dsmanager.settings import RemoteConfig, Settings

ROOT = Path(__file__).parents[2]
FEATURE = "tensorflow_datasets.core.features"
FEATURES = {
    "pythonClassName": f"{FEATURE}.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "n": {
                "pythonClassName": f"{FEATURE}.tensor_feature.Tensor",
                "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
            }
        }
    },
}


@pytest.fixture
def make_built() -> Callable[..., BuiltDataset]:
    """Writes a version folder: one split of integers, with ``info`` and ``split`` on top."""

    def make(data_dir: Path, ref: str, *, records: int = 3, **more: Any) -> BuiltDataset:
        parsed = Ref.parse(ref)
        folder = data_dir / parsed.subdir
        folder.mkdir(parents=True)
        split = {"name": "train", "shardLengths": [str(records)], "numBytes": "10"}
        split |= more.get("split", {})
        whole = {"name": parsed.name, "version": parsed.version, "fileFormat": "tfrecord"}
        whole |= {"splits": [split]} | more.get("info", {})
        (folder / "dataset_info.json").write_text(json.dumps(whole))
        (folder / "features.json").write_text(json.dumps(FEATURES))
        with TFRecordWriter(folder / f"{parsed.name}-train.tfrecord-00000-of-00001") as writer:
            for number in range(records):
                value = bytes([0x1A, 3, 0x0A, 1, number])
                entry = b"\x0a\x01n\x12" + bytes([len(value)]) + value
                message = b"\x0a" + bytes([len(entry)]) + entry
                writer.write(b"\x0a" + bytes([len(message)]) + message)
        return BuiltDataset(parsed, folder)

    return make


@pytest.fixture
def make_library(tmp_path: Path) -> Callable[..., Library]:
    """A library on folders of this test, with a remote where one is given."""

    def make(remote: RemoteConfig | None = None, **more: Any) -> Library:
        settings = Settings(
            data_dir=tmp_path / "data",
            state_dir=tmp_path / "state",
            config_file=tmp_path / "config.toml",
            manifest=tmp_path / "data" / "datasets.json",
            remotes={remote.name: remote} if remote else {},
            working_dir=tmp_path,
            **more,
        )
        return Library(settings=settings)

    return make


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., list[str]]:
    """The command line that runs a piece of Python with the arguments after it."""

    def command(source: str, *arguments: object) -> list[str]:
        return [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)]

    return command


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment for child processes that write to folders of this test alone."""
    own = {
        "DSMANAGER_CONFIG": str(tmp_path / "config.toml"),
        "DSMANAGER_STATE_DIR": str(tmp_path / "state"),
        "DSMANAGER_DATA_DIR": str(tmp_path / "data"),
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**os.environ, **own}


@pytest.fixture
def run_program(
    program: Callable[..., list[str]], environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a piece of Python to its end and returns the finished process."""

    def run(source: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            program(source, *arguments),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts, or takes another user's part")
