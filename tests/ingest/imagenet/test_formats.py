"""What a reader written from the description alone finds: names, counts, features, labels, boxes.

The reader is TensorFlow's own; it knows nothing of dsmanager.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import PLACES, SAMPLE, SYNSETS, Convert, Ilsvrc, contents

COUNTS = {"train": 1024, "validation": 128}
TPU = {
    "image/channels": "int64_list",
    "image/class/label": "int64_list",
    "image/class/synset": "bytes_list",
    "image/colorspace": "bytes_list",
    "image/encoded": "bytes_list",
    "image/filename": "bytes_list",
    "image/format": "bytes_list",
    "image/height": "int64_list",
    "image/width": "int64_list",
}
SLIM = TPU | {
    "image/class/text": "bytes_list",
    "image/object/bbox/label": "int64_list",
    "image/object/bbox/xmax": "float_list",
    "image/object/bbox/xmin": "float_list",
    "image/object/bbox/ymax": "float_list",
    "image/object/bbox/ymin": "float_list",
}


@pytest.fixture(scope="session")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="the reader is TensorFlow's")


def names_of(split: str) -> list[str]:
    return [f"{split}-{number:05}-of-{COUNTS[split]:05}" for number in range(COUNTS[split])]


def examples(tf: Any, folder: Path, split: str) -> Iterator[Any]:
    """Every example of a split, in the order of its shards."""
    paths = [folder / name for name in names_of(split)]
    filled = [str(path) for path in paths if path.stat().st_size]
    for record in tf.data.TFRecordDataset(filled).as_numpy_iterator():
        yield tf.train.Example.FromString(record)


def value(example: Any, name: str) -> Any:
    feature = example.features.feature[name]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


def kinds(example: Any) -> dict[str, str]:
    return {name: each.WhichOneof("kind") for name, each in example.features.feature.items()}


def by_name(tf: Any, folder: Path, split: str) -> dict[str, Any]:
    found = list(examples(tf, folder, split))
    named = {value(each, "image/filename")[0].decode(): each for each in found}
    assert len(named) == len(found)
    return named


def check_image(example: Any, original: bytes) -> None:
    """Bytes as they were, or RGB JPEG of the same picture; sizes are the image's."""
    stored = value(example, "image/encoded")[0]
    with Image.open(io.BytesIO(original)) as image:
        is_odd = image.format == "PNG" or image.mode == "CMYK"
        size = image.size
    assert (stored != original) == is_odd
    with Image.open(io.BytesIO(stored)) as image:
        assert image.format == "JPEG"
        assert image.mode in ("RGB", "L")
        assert image.size == size
    assert value(example, "image/width") == [size[0]]
    assert value(example, "image/height") == [size[1]]
    assert value(example, "image/channels") == [3]
    assert value(example, "image/colorspace") == [b"RGB"]
    assert value(example, "image/format") == [b"JPEG"]


def test_tpu_shards(tf: Any, tars: Path, ilsvrc: Ilsvrc, tmp_path: Path, convert: Convert) -> None:
    result = convert(tars, tmp_path / "out", "tpu")
    assert sorted(contents(tmp_path / "out")) == [
        f"{split}/{name}" for split in COUNTS for name in names_of(split)
    ]
    train = by_name(tf, tmp_path / "out" / "train", "train")
    assert sorted(train) == sorted(name for files in ilsvrc.train.values() for name in files)
    for place, synset in zip(PLACES, SYNSETS, strict=True):
        for name, content in ilsvrc.train[synset].items():
            example = train[name]
            assert kinds(example) == TPU
            assert value(example, "image/class/label") == [place]
            assert value(example, "image/class/synset") == [synset.encode()]
            check_image(example, content)
    assert result.fixed == {
        "CMYK": ("n01440764_3.JPEG", "n01443537_3.JPEG"),
        "PNG": ("n02105855_4.JPEG",),
    }
    assert {split: each.images for split, each in result.splits.items()} == {
        "train": 24,
        "validation": 5,
    }


def test_validation_labels_are_those_of_tfds_list(
    tf: Any, tars: Path, ilsvrc: Ilsvrc, tmp_path: Path, convert: Convert
) -> None:
    import tensorflow_datasets as tfds

    folder = Path(tfds.__file__).parent / "datasets" / "imagenet2012"
    labels = (folder / "validation_labels.txt").read_text().split()
    synsets = (folder / "labels.txt").read_text().split()
    for to, place in (("tpu", "validation"), ("slim", ".")):
        convert(tars, tmp_path / to, to, only="val")
        found = by_name(tf, tmp_path / to / place, "validation")
        assert sorted(found) == sorted(ilsvrc.validation)
        for name, example in found.items():
            synset = labels[int(name[-13:-5]) - 1]
            assert value(example, "image/class/synset") == [synset.encode()]
            assert value(example, "image/class/label") == [1 + synsets.index(synset)]


def test_tpu_order_is_the_scripts(
    tf: Any, tars: Path, ilsvrc: Ilsvrc, tmp_path: Path, convert: Convert
) -> None:
    """Training images shuffled with seed 0, validation images by name; one image a shard here."""
    import random

    convert(tars, tmp_path / "out", "tpu")
    expected = sorted(name for files in ilsvrc.train.values() for name in files)
    random.Random(0).shuffle(expected)
    found = examples(tf, tmp_path / "out" / "train", "train")
    assert [value(each, "image/filename")[0].decode() for each in found] == expected
    sizes = [(tmp_path / "out" / "train" / name).stat().st_size for name in names_of("train")]
    assert all(sizes[:24])
    assert not any(sizes[24:])
    found = examples(tf, tmp_path / "out" / "validation", "validation")
    assert [value(each, "image/filename")[0].decode() for each in found] == sorted(
        ilsvrc.validation
    )


def test_slim_order_and_spread_are_the_scripts(
    tf: Any, tars: Path, ilsvrc: Ilsvrc, tmp_path: Path, convert: Convert
) -> None:
    import random

    convert(tars, tmp_path / "out", "slim", only="train")
    expected = sorted(name for files in ilsvrc.train.values() for name in files)
    random.Random(12345).shuffle(expected)
    threads = np.linspace(0, len(expected), 8 + 1).astype(int)
    ranges: list[tuple[int, int]] = []
    for start, end in itertools.pairwise(threads):
        edges = np.linspace(start, end, 1024 // 8 + 1).astype(int)
        ranges += itertools.pairwise(edges)
    for name, (start, end) in zip(names_of("train"), ranges, strict=True):
        path = tmp_path / "out" / name
        assert bool(path.stat().st_size) == bool(end > start)
    found = [value(each, "image/filename") for each in examples(tf, tmp_path / "out", "train")]
    assert [name.decode() for (name,) in found] == expected


def annotation(width: int, height: int, *boxes: tuple[int, int, int, int]) -> str:
    objects = "".join(
        f"<object><name>n01440764</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for x0, y0, x1, y1 in boxes
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><folder>x</folder><filename>%s</filename>{size}{objects}</annotation>"


BOXES = {
    "n01440764_0": ((100, 200), [(10, 20, 60, 120)], [(0.1, 0.1, 0.6, 0.6)]),
    "n01440764_1": ((100, 200), [(60, 120, 10, 20)], [(0.1, 0.1, 0.6, 0.6)]),  # reversed
    "n01440764_2": ((100, 100), [(-5, 50, 130, 150)], [(0.0, 0.5, 1.0, 1.0)]),  # out of range
    "n01440764_3": ((100, 100), [(30, 10, 30, 20), (200, 0, 300, 9)], []),  # nothing is left
    "n01440764_4": (
        (500, 375),
        [(0, 0, 500, 375), (5, 5, 5, 5), (250, 75, 375, 150)],
        [(0.0, 0.0, 1.0, 1.0), (0.5, 0.2, 0.75, 0.4)],
    ),
}


def test_slim_shards_of_kaggles_tree(
    tf: Any, ilsvrc: Ilsvrc, tmp_path: Path, convert: Convert
) -> None:
    source = ilsvrc.write_kaggle(tmp_path / "kaggle")
    places = source / "ILSVRC" / "Annotations" / "CLS-LOC"
    (places / "train" / SYNSETS[0]).mkdir(parents=True)
    (places / "val").mkdir()
    for stem, (size, boxes, _) in BOXES.items():
        (places / "train" / SYNSETS[0] / f"{stem}.xml").write_text(annotation(*size, *boxes))
    inside = annotation(10, 10, (1, 2, 3, 4))
    (places / "val" / "ILSVRC2012_val_00000002.xml").write_text(inside)

    result = convert(source, tmp_path / "out", "slim")
    assert sorted(contents(tmp_path / "out")) == sorted(
        name for split in COUNTS for name in names_of(split)
    )
    train = by_name(tf, tmp_path / "out", "train")
    for place, synset in zip(PLACES, SYNSETS, strict=True):
        for name, content in ilsvrc.train[synset].items():
            example = train[name]
            assert kinds(example) == SLIM
            assert value(example, "image/class/label") == [place]
            assert value(example, "image/class/text") == [f"words of {synset}, and more".encode()]
            check_image(example, content)
            expected = BOXES.get(name.removesuffix(".JPEG"), (None, None, []))[2]
            found = zip(
                *(value(example, f"image/object/bbox/{edge}") for edge in EDGES), strict=True
            )
            assert [pytest.approx(box) for box in expected] == list(found)
            assert value(example, "image/object/bbox/label") == [place] * len(expected)
    boxed = by_name(tf, tmp_path / "out", "validation")["ILSVRC2012_val_00000002.JPEG"]
    assert value(boxed, "image/object/bbox/xmin") == [pytest.approx(0.1)]
    assert result.boxed_images == len(BOXES) + 1


EDGES = ("xmin", "ymin", "xmax", "ymax")


def test_slim_without_annotations_has_every_feature(
    tf: Any, tars: Path, tmp_path: Path, convert: Convert
) -> None:
    result = convert(tars, tmp_path / "out", "slim")
    for split in COUNTS:
        for example in examples(tf, tmp_path / "out", split):
            assert kinds(example) == SLIM
            assert value(example, "image/class/text") == [b""]
            for edge in (*EDGES, "label"):
                assert value(example, f"image/object/bbox/{edge}") == []
    assert any("image/class/text is empty" in each for each in result.warnings)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the shared photos are not here")
def test_real_photos_keep_their_bytes_and_sizes(tf: Any, tmp_path: Path, convert: Convert) -> None:
    made = Ilsvrc()
    for path in sorted(SAMPLE.glob("*.JPEG")):
        made.train[path.name.partition("_")[0]] = {path.name: path.read_bytes()}
    for number, path in enumerate(sorted(SAMPLE.glob("*.JPEG"))[:20], 1):
        made.validation[f"ILSVRC2012_val_{number:08}.JPEG"] = path.read_bytes()
    result = convert(made.write_tars(tmp_path / "tars"), tmp_path / "out", "tpu")
    assert result.fixed == {}
    train = by_name(tf, tmp_path / "out" / "train", "train")
    assert len(train) == len(made.train) > 50
    for files in made.train.values():
        for name, content in files.items():
            check_image(train[name], content)
