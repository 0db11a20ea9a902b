"""ImageNet (ILSVRC 2012) as TFDS has it, from the tars, unpacked trees or Kaggle's layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from dsmanager.builders.partitioned import PartitionedBuilder
from dsmanager.sources import imagenet
from dsmanager.sources.imagenet import Group, Image, ImageReader, SplitSource
from dsmanager.sources.images import BadImageError, bad_image, rgb_jpeg

_PARTITIONS = 125  # of a split: each keeps a file open when the shards are written
_NO_LABEL = -1
_NAMES_FILE = tfds.core.tfds_path("datasets/imagenet2012/labels.txt")


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
    Images that cannot be read are left out where it also holds a file named skip-bad.
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
                    "label": tfds.features.ClassLabel(names_file=_NAMES_FILE),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://image-net.org/",
            citation="https://doi.org/10.1007/s11263-015-0816-y",
        )

    def _partitions(self, dl_manager: Any) -> dict[str, list[dict[str, Any]]]:
        manual = Path(dl_manager.manual_dir)
        found = imagenet.find_splits(manual)
        if not found:
            raise FileNotFoundError(
                f"{manual} holds no split of ImageNet: neither {', '.join(imagenet.TARS.values())} "
                "nor the folders train, val or test"
            )
        skip_bad = (manual / imagenet.SKIP_BAD).exists()
        return {
            split: [part | {"skip_bad": skip_bad} for part in _of(source)]
            for split, source in found.items()
        }

    def _generate_partition(
        self, split: str, partition: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (file name, example); a CMYK or PNG image is stored as RGB JPEG, and named.

        An image that cannot be read ends the build, unless such are to be left out.
        """
        for image, content in _read(_source(partition), partition):
            try:
                jpeg = rgb_jpeg(content)
            except BadImageError as error:
                if not partition["skip_bad"]:
                    raise bad_image(split, image.name, error) from error
                print(f"{split}: {image.name} is left out: {error}")  # noqa: T201 - to the log
                continue
            if jpeg.was:
                print(f"{split}: {image.name} is {jpeg.was}: stored as RGB JPEG")  # noqa: T201
            label = image.synset or _NO_LABEL
            yield image.name, {"image": jpeg.content, "label": label, "file_name": image.name}


def _of(source: SplitSource) -> Iterator[dict[str, Any]]:
    """Runs of about the same length: of synsets, or of images where they are not apart."""
    groups = imagenet.groups(source)
    is_apart = any(group.synset for group in groups)
    items: Sequence[Any] = groups if is_apart else imagenet.images_of(source, groups[0])
    described = {"source": [source.split, source.form, os.path.realpath(source.path)]}
    size = max(1, -(-len(items) // _PARTITIONS))
    for start in range(0, len(items), size):
        yield described | {"groups" if is_apart else "images": items[start : start + size]}


def _source(partition: dict[str, Any]) -> SplitSource:
    split, form, path = partition["source"]
    return SplitSource(split, form, Path(path))


def _read(source: SplitSource, partition: dict[str, Any]) -> Iterator[tuple[Image, bytes]]:
    """Every image of a partition with its content."""
    with ImageReader(source) as reader:
        for image in partition.get("images", ()):
            yield Image(*image), reader.read(Image(*image))
        for group in partition.get("groups", ()):
            for image in imagenet.images_of(source, Group(*group)):
                yield image, reader.read(image)
