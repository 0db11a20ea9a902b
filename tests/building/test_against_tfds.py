"""Shards compared with those of TFDS itself, built with TensorFlow in a process of its own.

TFDS serialises examples in protobuf's order of the day, which differs from process to process; for
the comparison of bytes it is told to sort, and without that the records are compared as values.
"""

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

import dsmanager
from dsmanager.building.writing.images import encode_jpeg, encode_png
from dsmanager.demo.source import make_digit_source
from dsmanager.locks import locked
from dsmanager.records.tfrecord import read_records

Write = Callable[..., Path]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)

REFERENCE = """
import importlib, json, pathlib, pickle, sys
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

requests = json.loads(sys.argv[1])
for file, cls, data_dir, manual_dir, is_sorted, file_format, limit in requests["builds"]:
    serialize = example_serializer.ExampleSerializer.serialize_example
    if is_sorted:
        example_serializer.ExampleSerializer.serialize_example = (
            lambda self, example: self.get_tf_example(example).SerializeToString(deterministic=True)
        )
    if file:
        home = pathlib.Path(file).parent
        sys.path.insert(0, str(home.parent))
        with tfds.core.registered.skip_registration():
            module = importlib.import_module(f"{home.name}.{home.name}")
        builder = getattr(module, cls)(data_dir=data_dir)
    else:
        builder = tfds.builder(cls, data_dir=data_dir)
    builder.download_and_prepare(file_format=file_format,
        download_config=tfds.download.DownloadConfig(
            manual_dir=manual_dir, try_download_gcs=False, max_examples_per_split=limit))
    example_serializer.ExampleSerializer.serialize_example = serialize
if requests["images"]:
    images = pickle.loads(open(requests["images"], "rb").read())
    def jpeg(image):
        fits = image.dtype == np.uint8 and image.shape[2] in (1, 3)
        return tf.io.encode_jpeg(image).numpy() if fits else b""
    encoded = [(tf.io.encode_png(image).numpy(), jpeg(image)) for image in images]
    open(requests["images"], "wb").write(pickle.dumps(encoded))
"""

VARIED = {
    "name": "varied",
    "features": """{
        'scalar': np.int64, 'real': np.float32, 'flag': np.bool_, 'text': tfds.features.Text(),
        'label': tfds.features.ClassLabel(names=['a', 'b']),
        'tensor': tfds.features.Tensor(shape=(2, 3), dtype=np.float32),
        'zipped': tfds.features.Tensor(shape=(4,), dtype=np.int64, encoding='zlib'),
        'list': tfds.features.Sequence(np.int64),
        'nested': tfds.features.Sequence(tfds.features.Sequence(tfds.features.Text())),
        'objects': tfds.features.Sequence(
            {'box': tfds.features.BBoxFeature(), 'id': np.int64}),
        'picture': tfds.features.Image(shape=(None, None, 3)),
        'photo': tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg'),
        'depth': tfds.features.Image(shape=(None, None, 1), dtype=np.float32),
        'sound': tfds.features.Audio(dtype=np.int32),
        'stereo': tfds.features.Audio(shape=(None, 2), dtype=np.float32),
        'film': tfds.features.Video(shape=(None, 6, 5, 3)),
        'mask': tfds.features.LabeledImage(labels=3, shape=(None, None, 1)),
    }""",
    "top": "from tensorflow_datasets.core.utils.shard_utils import ShardConfig\n"
    "ShardConfig.min_shard_size = 20_000\n",
    "body": """
    rng = np.random.default_rng(0)
    for i in range(120):
        size = (5 + i % 7, 9, 3)
        yield f'key-{i}', {
            'scalar': i, 'real': i / 3, 'flag': i % 2 == 0, 'text': f'Wört {i}',
            'label': 'ab'[i % 2], 'tensor': rng.random((2, 3), np.float32),
            'zipped': np.arange(4) * i, 'list': list(range(i % 5)),
            'nested': [['x'] * (i % 3), [], ['y']],
            'objects': [{'box': tfds.features.BBox(.1, .2, .5, .6), 'id': n} for n in range(i % 4)],
            'picture': rng.integers(0, 256, size, np.uint8),
            'photo': rng.integers(0, 256, size, np.uint8),
            'depth': rng.random((4, 5, 1), np.float32),
            'sound': rng.integers(-9, 9, i, np.int32),
            'stereo': rng.random((i, 2), np.float32),
            'film': rng.integers(0, 256, (i % 4, 6, 5, 3), np.uint8),
            'mask': rng.integers(0, 3, (4, 3, 1), np.uint8),
        }
    """,
}
PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "imagenet-sample"
PHOTO = {
    "name": "photo",
    "features": """{
        'image': tfds.features.Image(encoding_format='jpeg'),
        'label': tfds.features.ClassLabel(num_classes=100), 'file_name': tfds.features.Text(),
    }""",
    "body": """
    import io, pathlib
    photos = sorted(pathlib.Path(FOLDER).iterdir())
    for i in range(2000):
        name = f'{i:06}_{photos[i % 100].name}'
        photo = photos[i % 100]
        image = [io.BytesIO(photo.read_bytes()), photo, str(photo)][i % 3]
        yield name, {'image': image, 'label': i % 100, 'file_name': name}
    """.replace("FOLDER", repr(str(PHOTOS))),
}
MNIST_EXAMPLES = 300
ORDERED = {
    "name": "ordered",
    "top": VARIED["top"],
    "features": "{'x': tfds.features.Tensor(shape=(700,), dtype=np.int64)}",
    "body": "for i in range(999, -1, -1):\n    yield i * i, {'x': np.arange(700) + i}",
}


@pytest.fixture(scope="module")
def images() -> list[Any]:
    import numpy as np

    rng = np.random.default_rng(1)
    shapes = [(28, 28, 1), (1, 1, 1), (1, 5, 3), (5, 1, 3), (2, 2, 1), (7, 9, 2), (127, 129, 1)]
    shapes += [(64, 48, 4), (200, 150, 3), (128, 128, 1), (600, 3, 3)]
    found = []
    for shape in shapes:
        noise = rng.integers(0, 256, shape).astype(np.uint8)
        smooth = (np.cumsum(noise // 100, axis=1)).astype(np.uint8)
        sparse = np.where(rng.random(shape) < 0.8, 0, noise).astype(np.uint8)
        found += [noise, smooth, sparse, noise.astype(np.uint16) * 200]
    return found


@dataclass(frozen=True)
class Reference:
    """What TFDS built, sorted and not, from which files; and the images it encoded."""

    folder: Path
    homes: dict[str, Path]
    manual: Path
    encoded: list[tuple[bytes, bytes]]

    def shards(self, name: str, *, in_order_of_names: bool) -> dict[str, bytes]:
        kind = "sorted" if in_order_of_names else "unsorted"
        return _shards(next((self.folder / kind / name).iterdir()))


@pytest.fixture(scope="module")
def reference(
    tmp_path_factory: pytest.TempPathFactory,
    images: list[Any],
    write_builder_in: Write,
    make_mnist: Callable[[Path], tuple[Path, Path]],
    worker_id: str,
) -> Reference:
    """Made once for all the processes that run these tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "reference"
    catalogue = Path(dsmanager.__file__).parent / "builders" / "standard"
    homes = {"digit": catalogue / "digit"}  # first: the others change TFDS's shard sizes
    homes |= {each["name"]: folder / each["name"] for each in (VARIED, ORDERED, PHOTO)}
    pictures = folder / "images"
    with locked(folder.with_suffix(".lock"), purpose="make the reference"):
        if not folder.exists():
            _make_reference(folder, homes, images, write_builder_in, make_mnist)
    return Reference(folder, homes, folder / "manual", pickle.loads(pictures.read_bytes()))


def _make_reference(
    folder: Path,
    homes: dict[str, Path],
    images: list[Any],
    write_builder_in: Write,
    make_mnist: Callable[[Path], tuple[Path, Path]],
) -> None:
    manual = make_digit_source(folder / "manual")
    mnist, package = make_mnist(folder / "mnist-source")
    for each in (VARIED, ORDERED, PHOTO):
        (write_builder_in(folder, **each) / "__init__.py").touch()
    code = (homes["ordered"] / "ordered.py").read_text()
    (homes["ordered"] / "ordered.py").write_text(
        code.replace("builder=self,", "builder=self, disable_shuffling=True,")
    )
    builds: list[tuple[Any, ...]] = [
        (None, "mnist", folder / "sorted", mnist, True, "tfrecord", MNIST_EXAMPLES)
    ]
    if PHOTOS.is_dir():
        file = homes["photo"] / "photo.py"
        builds.append((file, "Photo", folder / "sorted", manual, True, "tfrecord", None))
    builds += [
        (
            homes[name] / f"{name}.py",
            name.capitalize(),
            folder / kind,
            manual,
            is_sorted,
            form,
            None,
        )
        for name in ("digit", "varied", "ordered")
        for kind, is_sorted, form in (
            ("sorted", True, "tfrecord"),
            ("unsorted", False, "tfrecord"),
            ("array_record", True, "array_record"),
        )
    ]
    pictures = folder / "images"
    pictures.write_bytes(pickle.dumps(images))
    request = json.dumps({"builds": builds, "images": str(pictures)}, default=str)
    done = subprocess.run(
        [sys.executable, "-c", REFERENCE, request],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(package)},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _shards(tree: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(tree.glob("*.tfrecord-*"))}


@pytest.mark.parametrize(
    ("name", "count", "workers"),
    [("varied", 16, 1), ("varied", 16, 3), ("ordered", 64, 2), ("digit", 2, 1), ("digit", 2, 2)],
)
def test_shards_are_those_of_tfds_byte_for_byte(
    bench: Any, reference: Reference, name: str, count: int, workers: int, no_tensorflow: Path
) -> None:
    tree = bench.build(reference.homes[name], manual_dir=reference.manual, workers=workers)
    shards = _shards(tree)
    assert len(shards) == count
    assert shards == reference.shards(name, in_order_of_names=True)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"the photos are not at {PHOTOS}")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shards_of_photos_are_those_of_tfds_byte_for_byte(
    bench: Any, reference: Reference, workers: int, no_tensorflow: Path
) -> None:
    shards = _shards(bench.build(reference.homes["photo"], workers=workers))
    assert len(shards) == 2
    assert shards == reference.shards("photo", in_order_of_names=True)


@pytest.mark.parametrize("workers", [1, 3])
def test_shards_of_mnist_are_those_of_tfds_byte_for_byte(
    bench: Any, reference: Reference, workers: int, no_tensorflow: Path
) -> None:
    source = reference.folder / "mnist-source"
    package = source / "package" / "tensorflow_datasets"
    (no_tensorflow / "tensorflow_datasets").symlink_to(package)
    tree = bench.build(
        "tfds:mnist",
        manual_dir=source / "manual",
        max_examples=MNIST_EXAMPLES,
        workers=workers,
    )
    assert _shards(tree) == reference.shards("mnist", in_order_of_names=True)


@pytest.mark.parametrize("name", ["varied", "digit"])
def test_array_records_are_those_of_tfds_in_their_order(
    bench: Any, reference: Reference, name: str, no_tensorflow: Path
) -> None:
    tree = bench.build(
        reference.homes[name], manual_dir=reference.manual, file_format="array_record"
    )
    theirs = next((reference.folder / "array_record" / name).iterdir())
    assert _array_records(tree) == _array_records(theirs)
    infos = [json.loads((each / "dataset_info.json").read_text()) for each in (tree, theirs)]
    assert infos[0]["splits"] == infos[1]["splits"]


def _array_records(tree: Path) -> dict[str, list[bytes]]:
    from array_record.python import array_record_module

    found = {}
    for path in sorted(tree.glob("*.array_record-*")):
        reader = array_record_module.ArrayRecordReader(str(path))
        found[path.name] = list(reader.read_all())
        reader.close()
    assert found
    return found


@pytest.mark.parametrize("name", ["varied", "digit"])
def test_records_are_those_of_tfds_left_as_it_is(
    bench: Any, reference: Reference, name: str
) -> None:
    from tensorflow_datasets.proto import tf_example_pb2

    tree = bench.build(reference.homes[name], manual_dir=reference.manual)
    theirs = next((reference.folder / "unsorted" / name).iterdir())
    assert _shards(tree).keys() == _shards(theirs).keys()
    for shard in _shards(tree):
        ours = [tf_example_pb2.Example.FromString(each) for each in read_records(tree / shard)]
        assert ours == [
            tf_example_pb2.Example.FromString(each) for each in read_records(theirs / shard)
        ]


def test_features_and_splits_are_described_as_tfds_describes_them(
    bench: Any, reference: Reference
) -> None:
    tree = bench.build(reference.homes["varied"])
    theirs = next((reference.folder / "sorted" / "varied").iterdir())
    features = [json.loads((each / "features.json").read_text()) for each in (tree, theirs)]
    assert features[0] == features[1]
    infos = [json.loads((each / "dataset_info.json").read_text()) for each in (tree, theirs)]
    assert infos[0] | {"moduleName": ""} == infos[1] | {"moduleName": ""}


def test_png_is_what_tensorflow_encodes(reference: Reference, images: list[Any]) -> None:
    for image, (expected, _) in zip(images, reference.encoded, strict=True):
        assert encode_png(image) == expected


def test_jpeg_is_what_tensorflow_encodes(reference: Reference, images: list[Any]) -> None:
    compared = 0
    for image, (_, expected) in zip(images, reference.encoded, strict=True):
        if expected:
            assert encode_jpeg(image) == expected
            compared += 1
    assert compared
