"""ImageNet's shards are the same from a Dask cluster of two workers, one of which is killed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dsmanager.errors import UsageError, VerificationError
from dsmanager.ingest.imagenet.convert import convert_imagenet
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.progress import CancelToken, Progress

pytest.importorskip("distributed", reason="needs the extra dask")


def photo(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "val"
    folder.mkdir(parents=True)
    for number in range(1, 9):
        (folder / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(photo(number))
    return folder.parent


def convert(source: Path, dest: Path, progress: Progress | None = None, **options: Any) -> None:
    request = ImagenetRequest(source=source, dest=dest, to="slim", only="val", **options)
    convert_imagenet(request, progress=progress or Progress(), cancel=CancelToken())


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_cluster_gives_the_same_bytes(source: Path, tmp_path: Path, dask_cluster: Any) -> None:
    first, _ = dask_cluster.start_worker(), dask_cluster.start_worker()

    class Killing(Progress):
        def add_items(self, count: int = 1) -> None:
            super().add_items(count)
            if self.snapshot().phase == "convert":
                first.kill()

    convert(source, tmp_path / "here")
    convert(source, tmp_path / "there", Killing(), cluster=dask_cluster.address, workers=2)
    assert first.wait() != 0
    assert shards(tmp_path / "there") == shards(tmp_path / "here")
    assert len(shards(tmp_path / "there")) == 128
    (source / "val" / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"bad")
    with pytest.raises(VerificationError, match="ILSVRC2012_val_00000003"):
        convert(source, tmp_path / "bad", cluster=dask_cluster.address)


def test_what_is_no_address_is_refused_before_anything_is_listed(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no address"):
        convert(source, tmp_path / "out", cluster="here")
    assert not (tmp_path / "out").exists()
