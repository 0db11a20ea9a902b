from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FEATURE = "tensorflow_datasets.core.features"
NUMBER = {
    "pythonClassName": f"{FEATURE}.tensor_feature.Tensor",
    "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
}


@dataclass
class Victim:
    """A data dir with settings and state of its own, and the real program on it."""

    root: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DSMANAGER_CONFIG": str(self.root / "config.toml"),
            "DSMANAGER_STATE_DIR": str(self.root / "state"),
            "DSMANAGER_DATA_DIR": str(self.data_dir),
            "HOME": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.extra,
        }

    def run(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "dsmanager", *arguments],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        assert code is None or done.returncode == code, (arguments, done.returncode, done.stderr)
        return done

    def add_built(self, features: Any = None) -> Path:
        """Writes ``small:1.0.0`` by hand: three integers, with any ``features.json``."""
        from dsmanager.records.tfrecord import TFRecordWriter

        folder = self.data_dir / "small" / "1.0.0"
        folder.mkdir(parents=True)
        if features is None:
            features = {
                "pythonClassName": f"{FEATURE}.features_dict.FeaturesDict",
                "featuresDict": {"features": {"n": NUMBER}},
            }
        split = {
            "name": "train",
            "shardLengths": ["3"],
            "numBytes": "10",
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        info = {"name": "small", "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        (folder / "features.json").write_text(json.dumps(features))
        with TFRecordWriter(folder / "small-train.tfrecord-00000-of-00001") as writer:
            for number in range(3):
                writer.write(b"\x0a\x0c\x0a\x0a\x0a\x01n\x12\x05\x1a\x03\x0a\x01" + bytes([number]))
        return folder


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    root = tmp_path / "victim"
    root.mkdir()
    return Victim(root)


@pytest.fixture(scope="session")
def parser() -> Callable[[str], ModuleType]:
    """The fuzz target of a parser by name: ``run(data)`` holds its properties."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return lambda name: importlib.import_module(f"fuzz.targets.{name}")
