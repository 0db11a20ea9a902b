"""What a build stores: arrays, media, records of any size, in each format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.built import BuiltDataset
from dsmanager.errors import (
    UsageError,
    VerificationError,
)
from dsmanager.progress import CancelToken
from dsmanager.records.tfrecord import read_records
from dsmanager.refs import Ref

pytestmark = pytest.mark.usefixtures("no_tensorflow")
Write = Callable[..., Path]


def test_an_array_that_the_builder_uses_again_is_stored_as_it_was(
    bench: Any, write_builder: Write
) -> None:
    """Images are encoded later than they are given."""
    body = """
    image = np.zeros((64, 64, 3), np.uint8)
    for i in range(40):
        image[:] = i
        yield i, {'image': image, 'images': [image, image], 'i': i}
    """
    features = (
        "{'image': tfds.features.Image(), 'images': tfds.features.Sequence(tfds.features.Image()),"
        " 'i': np.int64}"
    )
    tree = bench.build(write_builder(body=body, features=features), workers=2)
    import numpy as np

    from dsmanager.building.writing.images import encode_png
    from dsmanager.records.example import parse_example

    count = 0
    for record in read_records(tree / "sample-train.tfrecord-00000-of-00001"):
        example = parse_example(record)
        number = example["i"][0]
        expected = encode_png(np.full((64, 64, 3), number, np.uint8))
        assert example["image"] == [expected]
        assert example["images"] == [expected, expected]
        count += 1
    assert count == 40


def test_audio_video_and_images_are_built_without_tensorflow(
    bench: Any, write_builder: Write
) -> None:
    from dsmanager.building.writing.images import encode_png
    from dsmanager.records.example import parse_example

    features = """{
        'film': tfds.features.Video(shape=(None, 40, 40, 3)),
        'sound': tfds.features.Audio(dtype=np.int16),
        'kept': tfds.features.Audio(file_format='wav', lazy_decode=True),
        'file': tfds.features.Image(), 'path': tfds.features.Image(),
        'mask': tfds.features.LabeledImage(labels=3, shape=(None, None, 1)),
    }"""
    body = """
    import io, pathlib
    from dsmanager.building.writing.images import encode_png
    image = encode_png(np.zeros((3, 4, 3), np.uint8))
    pathlib.Path('image.png').write_bytes(image)
    yield 0, {
        'film': [np.full((40, 40, 3), n, np.uint8) for n in range(3)],
        'sound': np.arange(-5, 5, dtype=np.int16), 'kept': io.BytesIO(b'RIFF'),
        'file': io.BytesIO(image),
        'path': 'image.png', 'mask': np.ones((2, 2, 1), np.uint8),
    }
    """
    tree = bench.build(write_builder(features=features, body=body))
    (record,) = read_records(tree / "sample-train.tfrecord-00000-of-00001")
    example = parse_example(record)
    import numpy as np

    frames = [encode_png(np.full((40, 40, 3), number, np.uint8)) for number in range(3)]
    assert example["film"] == frames
    assert example["sound"] == list(range(-5, 5))
    assert example["kept"] == [b"RIFF"]
    assert example["file"] == example["path"] == [encode_png(np.zeros((3, 4, 3), np.uint8))]


def test_a_record_larger_than_every_buffer_is_stored(bench: Any, write_builder: Write) -> None:
    body = "for i in range(3):\n    yield i, {'x': bytes([i]) * (9_000_000 + i)}"
    home = write_builder(body=body, features="{'x': tfds.features.Text()}")
    for file_format in ("tfrecord", "array_record"):
        tree = bench.build(home, file_format=file_format)
        built = BuiltDataset(Ref("sample", None, "1.0.0"), tree)
        assert sum(split.examples for split in built.splits.values()) == 3
        assert built.splits["train"].payload_bytes > 27_000_000


def test_array_record_holds_the_records_of_tfrecord_in_their_order(
    bench: Any, write_builder: Write
) -> None:
    pytest.importorskip("array_record", reason="array_record is for Linux only")
    from dsmanager.building.verify import verify_records
    from dsmanager.loading.shards import open_shard
    from dsmanager.progress import Progress

    home = write_builder(body="for i in range(100):\n    yield i, {'x': i}")
    records = list(read_records(bench.build(home) / "sample-train.tfrecord-00000-of-00001"))
    tree = bench.build(home, file_format="array_record")
    path = tree / "sample-train.array_record-00000-of-00001"
    assert list(open_shard(path, "array_record", 100).records(0, 100)) == records
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VerificationError):
        verify_records(
            BuiltDataset(Ref("sample", None, "1.0.0"), tree),
            progress=Progress(),
            cancel=CancelToken(),
        )


def test_an_image_that_cannot_be_read_back_is_told(bench: Any, write_builder: Write) -> None:
    home = write_builder(
        features="{'x': tfds.features.Image()}", body="yield 0, {'x': b'no image'}"
    )
    with pytest.raises(VerificationError, match="split train: an example cannot be read back"):
        bench.build(home)
    bench.build(home, verify=False)


def test_a_format_that_is_not_known_is_refused(bench: Any, write_builder: Write) -> None:
    with pytest.raises(UsageError, match="tfrecord or array_record"):
        bench.build(write_builder(), file_format="parquet")
