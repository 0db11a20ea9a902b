"""ImageNet (ILSVRC 2012) as TFDS has it, from the tars, unpacked trees or Kaggle's layout."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import tensorflow_datasets as tfds

from dsmanager.builders.partitioned import PartitionedBuilder
from dsmanager.builders.standard.imagenet2012.images import as_rgb_jpeg

_OF_TFDS = "datasets/imagenet2012"
_TARS = {
    "train": "ILSVRC2012_img_train.tar",
    "validation": "ILSVRC2012_img_val.tar",
    "test": "ILSVRC2012_img_test.tar",
}
_TREES = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
_ROOTS = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_PARTITIONS = 125  # of a split: each keeps a file open when the shards are written
_NO_LABEL = -1


class Imagenet2012(PartitionedBuilder):
    """1.28 million photographs of 1,000 classes."""

    VERSION = tfds.core.Version("5.1.0")
    RELEASE_NOTES = {  # noqa: RUF012 - TFDS's form
        "5.1.0": "Test split.",
        "5.0.0": "Labels 0 to 999 in the order of labels.txt.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Register on https://image-net.org/download-images. The manual folder may hold
    ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_img_test.tar, or the unpacked
    folders train/<synset>, val and test, or Kaggle's ILSVRC/Data/CLS-LOC. One split is enough.
    """

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            description=(
                "ILSVRC 2012, commonly known as ImageNet: photographs of 1,000 synsets of WordNet. "
                "The labels of the test split were never published; they are -1 here."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names_file=_packaged("labels.txt")),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://image-net.org/",
            citation="https://doi.org/10.1007/s11263-015-0816-y",
        )

    def _partitions(self, dl_manager: Any) -> dict[str, list[dict[str, Any]]]:
        manual = Path(dl_manager.manual_dir)
        found = {split: _source(manual, split) for split in _TARS}
        partitions = {
            split: _of_tar(source, split) if source.is_file() else _of_tree(source, split)
            for split, source in found.items()
            if source is not None
        }
        if not partitions:
            raise FileNotFoundError(
                f"{manual} holds no split of ImageNet: neither {', '.join(_TARS.values())} "
                "nor the folders train, val or test"
            )
        return partitions

    def _generate_partition(
        self, split: str, partition: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (file name, example); a CMYK or PNG image is stored as RGB JPEG, and named."""
        for name, label, content in _images(partition):
            image, was = as_rgb_jpeg(content)
            if was:
                print(f"{split}: {name} is {was}: stored as RGB JPEG")  # noqa: T201 - to the log
            yield name, {"image": image, "label": label, "file_name": name}


def _packaged(name: str) -> Any:
    """A file of lists that TFDS carries."""
    return tfds.core.tfds_path(f"{_OF_TFDS}/{name}")


def _source(manual: Path, split: str) -> Path | None:
    """The tar or the folder of one split."""
    tar = manual / _TARS[split]
    if tar.is_file():
        return tar
    for root in _ROOTS:
        for name in _TREES[split]:
            if (manual / root / name).is_dir():
                return manual / root / name
    return None


def _of_tar(path: Path, split: str) -> list[dict[str, Any]]:
    with tarfile.open(path, "r:") as tar:
        members = [(each.name, each.offset_data, each.size) for each in tar if each.isreg()]
    members = [(name.removeprefix("./"), offset, size) for name, offset, size in members]
    if split == "train":
        inner = [[name.removesuffix(".tar"), offset, size] for name, offset, size in members]
        return [{"tar": str(path), "inner": part} for part in _divided(inner)]
    labels = _labels(split, [name for name, _, _ in members])
    images = [[name, labels[name], offset, size] for name, offset, size in members]
    return [{"tar": str(path), "images": part} for part in _divided(images)]


def _of_tree(folder: Path, split: str) -> list[dict[str, Any]]:
    synsets = sorted(each.name for each in folder.iterdir() if each.is_dir())
    if synsets and split != "test":
        folders = [[synset, str(folder / synset)] for synset in synsets]
        return [{"folders": part} for part in _divided(folders)]
    names = sorted(each.name for each in folder.iterdir() if each.suffix.upper() == ".JPEG")
    labels = _labels(split, names)
    images = [[name, labels[name]] for name in names]
    return [{"folder": str(folder), "images": part} for part in _divided(images)]


def _labels(split: str, names: Sequence[str]) -> dict[str, str | int]:
    """The labels of validation images stand in the order of the images' names."""
    if split == "test":
        return dict.fromkeys(names, _NO_LABEL)
    labels = _packaged("validation_labels.txt").read_text().split()
    if len(names) > len(labels):
        raise ValueError(f"there are {len(names):,} validation images for {len(labels):,} labels")
    return dict(zip(sorted(names), labels, strict=False))


def _divided(items: list[Any]) -> Iterator[list[Any]]:
    """Runs of about the same length."""
    size = max(1, -(-len(items) // _PARTITIONS))
    return (items[start : start + size] for start in range(0, len(items), size))


def _images(partition: dict[str, Any]) -> Iterator[tuple[str, str | int, bytes]]:
    """(file name, label, content) of every image of a partition."""
    if "folders" in partition:
        for synset, folder in partition["folders"]:
            for path in sorted(Path(folder).iterdir()):
                if path.suffix.upper() == ".JPEG":
                    yield path.name, synset, path.read_bytes()
    elif "folder" in partition:
        for name, label in partition["images"]:
            yield name, label, (Path(partition["folder"]) / name).read_bytes()
    else:
        with open(partition["tar"], "rb") as file:
            for name, label, offset, size in partition.get("images", ()):
                yield name, label, _content(file, name, offset, size)
            for synset, offset, size in partition.get("inner", ()):
                for name, start, length in _inner(file, offset, size):
                    yield name, synset, _content(file, name, start, length)


def _inner(file: BinaryIO, offset: int, size: int) -> list[tuple[str, int, int]]:
    """(name, offset in ``file``, size) of each image of a tar within the tar."""
    file.seek(offset)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        return [
            (member.name.removeprefix("./"), member.offset_data, member.size)
            for member in tar
            if member.isreg() and member.offset_data + member.size <= offset + size
        ]


def _content(file: BinaryIO, name: str, offset: int, size: int) -> bytes:
    file.seek(offset)
    content = file.read(size)
    if len(content) < size:
        raise ValueError(f"the tar ends inside {name}")
    return content
