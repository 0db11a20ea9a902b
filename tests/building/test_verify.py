"""Reading a build again, in one process and shared with others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.building import verify
from dsmanager.building.verify import verify_records
from dsmanager.built import BuiltDataset
from dsmanager.errors import VerificationError
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.refs import Ref

SHARDS = (
    "from tensorflow_datasets.core.utils.shard_utils import ShardConfig\n"
    "ShardConfig.min_shard_size = 40_000\n"
)


@pytest.fixture(params=[1, 3])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """With helpers, these are started for the little that is here, too."""
    monkeypatch.setattr(verify, "_LONG_BYTES", 0)
    count: int = request.param
    return count


@pytest.fixture
def built(bench: Any, write_builder: Callable[..., Path]) -> BuiltDataset:
    body = "for i in range(400):\n    yield i, {'x': f'{i:01000}'}"
    home = write_builder(top=SHARDS, features="{'x': tfds.features.Text()}", body=body)
    return BuiltDataset(Ref("sample", None, "1.0.0"), bench.build(home))


def shards(built: BuiltDataset) -> list[Path]:
    found = sorted(built.path.glob("*.tfrecord-*"))
    assert len(found) > 4
    return found


def read_again(built: BuiltDataset, workers: int) -> Progress:
    progress = Progress()
    verify_records(built, workers=workers, progress=progress, cancel=CancelToken())
    return progress


def test_every_byte_of_every_shard_is_read(built: BuiltDataset, workers: int) -> None:
    done = read_again(built, workers).snapshot()
    assert done.bytes_done == sum(path.stat().st_size for path in shards(built))


def test_a_changed_byte_of_any_shard_is_found(built: BuiltDataset, workers: int) -> None:
    for path in shards(built):
        good = path.read_bytes()
        path.write_bytes(good[:-5] + bytes([good[-5] ^ 1]) + good[-4:])
        with pytest.raises(VerificationError, match=f"{path.name} is damaged"):
            read_again(built, workers)
        path.write_bytes(good)
    read_again(built, workers)


def test_a_shard_with_fewer_records_is_found(built: BuiltDataset, workers: int) -> None:
    path = shards(built)[-1]
    path.unlink()
    with TFRecordWriter(path) as writer:
        writer.write(b"one")
    with pytest.raises(VerificationError, match=f"{path.name} holds 1 records"):
        read_again(built, workers)
