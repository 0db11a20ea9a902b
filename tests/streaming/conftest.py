"""A dataset with records of many sizes, packed without compression and sent to a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmanager.library.library import Library
from dsmanager.records.encoding import bytes_feature, example_pieces, int64_feature
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.settings import RemoteConfig, Settings

FEATURE = "tensorflow_datasets.core.features"
FEATURES = {
    "pythonClassName": f"{FEATURE}.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "n": {
                "pythonClassName": f"{FEATURE}.tensor_feature.Tensor",
                "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
            },
            "data": {"pythonClassName": f"{FEATURE}.text_feature.Text", "text": {}},
        }
    },
}
SHARDS = (31, 40, 9)
EXAMPLES = sum(SHARDS)


def size_of(number: int) -> int:
    """Bytes of an example: a few, or some hundred thousand."""
    return (number * 7919) % 300_000 if number % 3 else number * 10


def write_dataset(data_dir: Path, *, seed: int = 0) -> Path:
    """``blobs:1.0.0`` with the splits train and test, written by hand."""
    folder = data_dir / "blobs" / "1.0.0"
    folder.mkdir(parents=True)
    splits = [
        {"name": name, "shardLengths": [str(n) for n in lengths], "numBytes": "10"}
        for name, lengths in (("test", (3,)), ("train", SHARDS))
    ]
    info = {"name": "blobs", "version": "1.0.0", "fileFormat": "tfrecord", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(FEATURES))
    rng = np.random.default_rng(seed)
    number = 0
    for name, lengths in (("test", (3,)), ("train", SHARDS)):
        for shard, count in enumerate(lengths):
            path = folder / f"blobs-{name}.tfrecord-{shard:05d}-of-{len(lengths):05d}"
            with TFRecordWriter(path) as writer:
                for _ in range(count):
                    data = bytes_feature(rng.bytes(size_of(number)))
                    pieces = example_pieces({"n": int64_feature(number), "data": data})
                    writer.write(b"".join(pieces))
                    number += 1
    return folder


@dataclass(frozen=True)
class Store:
    """One machine that has built and sent ``blobs``, and a cache to stream into."""

    library: Library
    cache_dir: Path

    @property
    def archive(self) -> Path:
        return self.library.settings.cache_dir / "blobs__1.0.0__cache.tar"

    def local(self, split: str = "train") -> Any:
        return self.library.load("blobs:1.0.0", split=split, framework="numpy")[1]

    def stream(self, split: str | None = "train", **options: Any) -> Any:
        options = {"framework": "numpy", "cache_dir": self.cache_dir, **options}
        return self.library.load("blobs:1.0.0", split=split, stream=True, **options)[1]

    def send(self, *, compression: str = "none", overwrite: bool = False) -> None:
        self.library.package("blobs", compression=compression, overwrite=overwrite)
        self.library.upload("blobs", overwrite=overwrite)


@pytest.fixture
def make_library(tmp_path: Path) -> Callable[..., Library]:
    def make(remote: RemoteConfig, name: str = "machine") -> Library:
        root = tmp_path / name
        settings = Settings(
            data_dir=root / "data",
            state_dir=root / "state",
            config_file=root / "config.toml",
            manifest=root / "data" / "datasets.json",
            remotes={remote.name: remote},
            working_dir=root,
        )
        return Library(settings=settings)

    return make


@pytest.fixture
def make_built(make_library: Callable[..., Library]) -> Callable[[RemoteConfig], Store]:
    def make(remote: RemoteConfig) -> Store:
        library = make_library(remote)
        write_dataset(library.data_dir)
        return Store(library, library.data_dir.parent / "blocks here")

    return make


@pytest.fixture
def built(make_built: Callable[[RemoteConfig], Store], remote_config: RemoteConfig) -> Store:
    return make_built(remote_config)


@pytest.fixture
def store(built: Store) -> Store:
    built.send()
    return built
