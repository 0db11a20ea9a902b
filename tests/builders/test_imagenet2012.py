"""imagenet2012: TFDS's name, features and bytes, from every layout of the source."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dsmanager.building.options import BuildOptions
from dsmanager.building.run import build
from dsmanager.built import BuiltDataset
from dsmanager.catalog.find import find_builder
from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.example import parse_example
from dsmanager.records.tfrecord import read_records
from dsmanager.sources.images import rgb_jpeg

Build = Callable[..., BuiltDataset]
SYNSETS = ("n01440764", "n01443537", "n15075141")


def photo(number: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    rng = np.random.default_rng(number)
    channels = {"RGB": 3, "L": 1, "CMYK": 4}[mode]
    size = (16, 12) if channels == 1 else (16, 12, channels)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, size, np.uint8), mode).save(buffer, kind)
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked: train/<synset>, val, test."""
    root = tmp_path_factory.mktemp("imagenet") / "tree"
    for place, synset in enumerate(SYNSETS):
        folder = root / "train" / synset
        folder.mkdir(parents=True)
        for number in range(4):
            mode = "L" if number == 3 else "RGB"
            (folder / f"{synset}_{number}.JPEG").write_bytes(photo(place * 10 + number, mode))
    for name, count in (("val", 5), ("test", 3)):
        (root / name).mkdir()
        for number in range(count):
            file = root / name / f"ILSVRC2012_{name}_{number + 1:08}.JPEG"
            file.write_bytes(photo(100 + number))
    return root


@pytest.fixture(scope="module")
def tars(tree: Path) -> Path:
    folder = tree.parent / "tars"
    folder.mkdir()
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as outer:
        for synset in reversed(SYNSETS):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as inner:
                for path in sorted((tree / "train" / synset).iterdir(), reverse=True):
                    add(inner, path.name, path.read_bytes())
            add(outer, f"{synset}.tar", buffer.getvalue())
    for name in ("val", "test"):
        with tarfile.open(folder / f"ILSVRC2012_img_{name}.tar", "w") as tar:
            for path in sorted((tree / name).iterdir(), reverse=True):
                add(tar, path.name, path.read_bytes())
    return folder


@pytest.fixture
def build_imagenet(tmp_path: Path) -> Build:
    def run(manual_dir: Path, name: str = "imagenet2012", **options: Any) -> BuiltDataset:
        stage = tmp_path / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        staged = build(
            find_builder(name),
            config=None,
            options=BuildOptions(manual_dir=manual_dir, **options),
            data_dir=tmp_path / "data",
            stage=stage,
            log_path=tmp_path / "log.txt",
            progress=Progress(),
            cancel=CancelToken(),
        )
        staged.remove_partitions()
        return BuiltDataset(staged.ref, staged.tree)

    return run


def _shards(built: BuiltDataset) -> dict[str, bytes]:
    return {name: (built.path / name).read_bytes() for name in built.files if "tfrecord" in name}


def _examples(built: BuiltDataset, split: str) -> dict[str, dict[str, Any]]:
    found = {}
    for shard in built.splits[split].shard_names("imagenet2012", "tfrecord"):
        for record in read_records(built.path / shard):
            example = {key: value[0] for key, value in parse_example(record).items()}
            found[example["file_name"].decode()] = example  # type: ignore[union-attr]
    return found


def test_the_bytes_are_those_of_tfds_builder(build_imagenet: Build, tars: Path) -> None:
    theirs = build_imagenet(tars, "tfds:imagenet2012")
    shards, features = _shards(theirs), theirs.features
    ours = build_imagenet(tars)
    assert str(ours.ref) == "imagenet2012:5.1.0"
    assert _shards(ours) == shards
    assert len(shards) == 3
    assert ours.features == features


def test_every_layout_gives_the_same_bytes(
    build_imagenet: Build, tars: Path, tree: Path, tmp_path: Path
) -> None:
    expected = _shards(build_imagenet(tars))
    kaggle = tmp_path / "kaggle" / "ILSVRC" / "Data"
    kaggle.mkdir(parents=True)
    (kaggle / "CLS-LOC").symlink_to(tree)
    for manual in (tree, tmp_path / "kaggle"):
        assert _shards(build_imagenet(manual, workers=2)) == expected


def test_one_split_alone_is_enough(build_imagenet: Build, tars: Path, tmp_path: Path) -> None:
    manual = tmp_path / "manual"
    manual.mkdir()
    with pytest.raises(DsmanagerError, match="fetch yourself"):
        build_imagenet(manual)
    (manual / "notes.txt").touch()
    with pytest.raises(DsmanagerError, match="holds no split of ImageNet"):
        build_imagenet(manual)
    (manual / "ILSVRC2012_img_train.tar").symlink_to(tars / "ILSVRC2012_img_train.tar")
    assert {name: each.examples for name, each in build_imagenet(manual).splits.items()} == {
        "train": 12
    }


def test_labels_are_those_of_labels_txt(build_imagenet: Build, tree: Path) -> None:
    built = build_imagenet(tree)
    names = (built.path / "label.labels.txt").read_text().split()
    for name, example in _examples(built, "train").items():
        assert names[example["label"]] == name.partition("_")[0]
    assert {example["label"] for example in _examples(built, "test").values()} == {-1}
    assert len({example["label"] for example in _examples(built, "validation").values()}) > 1


def test_a_cmyk_and_a_png_image_become_rgb_jpeg_and_are_named(
    build_imagenet: Build, tmp_path: Path
) -> None:
    folder = tmp_path / "manual" / "train" / SYNSETS[0]
    folder.mkdir(parents=True)
    contents = {"a": photo(1), "b": photo(2, "CMYK"), "c": photo(3, kind="PNG")}
    for name, content in contents.items():
        (folder / f"{name}.JPEG").write_bytes(content)
    examples = _examples(build_imagenet(tmp_path / "manual"), "train")
    assert examples["a.JPEG"]["image"] == contents["a"]
    for name in ("b", "c"):
        image = Image.open(io.BytesIO(examples[f"{name}.JPEG"]["image"]))
        assert (image.format, image.mode) == ("JPEG", "RGB")
    log = (tmp_path / "log.txt").read_text()
    assert "b.JPEG is CMYK: stored as RGB JPEG" in log
    assert "c.JPEG is PNG: stored as RGB JPEG" in log


def test_colours_of_cmyk_are_kept() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 1:3] = 255  # magenta and yellow: red
    buffer = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(buffer, "JPEG", quality=95)
    made = rgb_jpeg(buffer.getvalue())
    red = np.asarray(Image.open(io.BytesIO(made.content)))[8, 8]
    assert made.was == "CMYK"
    assert red[0] > 240
    assert max(red[1:]) < 20


def test_an_image_that_is_none_ends_the_build_or_is_left_out(
    build_imagenet: Build, tmp_path: Path
) -> None:
    folder = tmp_path / "manual" / "train" / SYNSETS[0]
    folder.mkdir(parents=True)
    (folder / "good.JPEG").write_bytes(photo(1))
    (folder / "bad.JPEG").write_bytes(photo(2)[:-50])
    with pytest.raises(VerificationError, match=r"train: the image 'bad.JPEG' cannot be used"):
        build_imagenet(tmp_path / "manual")
    (tmp_path / "manual" / "skip-bad").touch()
    assert list(_examples(build_imagenet(tmp_path / "manual"), "train")) == ["good.JPEG"]
    assert "train: bad.JPEG is left out: it cannot be" in (tmp_path / "log.txt").read_text()
