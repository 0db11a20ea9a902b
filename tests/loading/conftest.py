from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dsmanager.locks import locked

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Built:
    """Datasets of :mod:`make_datasets`, and what TensorFlow read from each split of them."""

    folder: Path
    expected: dict[str, list[Any]]

    def version_dir(self, file_format: str = "tfrecord") -> Path:
        return self.folder / file_format / "everything" / "1.0.0"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow makes the datasets to compare with, and is not installed")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # what all workers share
    folder = folder / "built"
    with locked(folder.with_suffix(".lock"), purpose="build the datasets of the tests"):
        if not (folder / "expected.pickle").exists():
            command = [sys.executable, str(HERE / "make_datasets.py"), str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr[-4000:]
    return Built(folder, pickle.loads((folder / "expected.pickle").read_bytes()))


@pytest.fixture
def without_tensorflow(tmp_path: Path) -> Callable[[str], str]:
    """Runs a program where importing TensorFlow fails; returns what it prints."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "tensorflow.py").write_text("raise ImportError('TensorFlow is not there')\n")

    def run(program: str) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{blocked}:{ROOT}"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run


FEATURE = "tensorflow_datasets.core.features"


@pytest.fixture
def plain_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes a version folder by hand: one split of integers, and whatever JSON the test wants."""

    def make(
        *,
        features: Any = None,
        info: dict[str, Any] | None = None,
        split: dict[str, Any] | None = None,
        records: int = 3,
    ) -> Path:
        from dsmanager.records.tfrecord import TFRecordWriter

        folder = tmp_path / "small" / "1.0.0"
        folder.mkdir(parents=True)
        number = {
            "pythonClassName": f"{FEATURE}.tensor_feature.Tensor",
            "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
        }
        if features is None:
            features = {
                "pythonClassName": f"{FEATURE}.features_dict.FeaturesDict",
                "featuresDict": {"features": {"n": number}},
            }
        train = {
            "name": "train",
            "shardLengths": [str(records)],
            "numBytes": "10",
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            **(split or {}),
        }
        whole = {"name": "small", "version": "1.0.0", "fileFormat": "tfrecord", "splits": [train]}
        (folder / "dataset_info.json").write_text(json.dumps({**whole, **(info or {})}))
        text = features if isinstance(features, str) else json.dumps(features)
        (folder / "features.json").write_text(text)
        with TFRecordWriter(folder / "small-train.tfrecord-00000-of-00001") as writer:
            for number_of in range(records):
                value = bytes([0x1A, 3, 0x0A, 1, number_of])
                entry = b"\x0a\x01n\x12" + bytes([len(value)]) + value
                features_message = b"\x0a" + bytes([len(entry)]) + entry
                writer.write(b"\x0a" + bytes([len(features_message)]) + features_message)
        return folder

    return make
