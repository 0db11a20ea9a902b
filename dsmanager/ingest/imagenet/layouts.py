"""What the two scripts make of ILSVRC 2012: names of shards, order of images, features.

``tpu`` is ``imagenet_to_gcs.py`` of tensorflow/tpu: a folder for each split, training images
shuffled with seed 0, validation images in the order of their names, shards of equal length until
the images end. ``slim`` is ``build_imagenet_data.py`` of tensorflow/models with its eight threads:
one folder, both splits shuffled with seed 12345, images spread over all shards, boxes.
Both write every shard, empty ones too, and call every image RGB with three channels.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePosixPath

from dsmanager.ingest.imagenet.annotations import Box
from dsmanager.records.encoding import Feature, bytes_feature, float_feature, int64_feature
from dsmanager.sources.images import RgbJpeg

__all__ = ["LAYOUTS", "SHARDS", "Labelled", "Layout"]

SHARDS = {"train": 1024, "validation": 128}
_SLIM_THREADS = 8
_SAME = {
    "image/channels": int64_feature(3),
    "image/colorspace": bytes_feature(b"RGB"),
    "image/format": bytes_feature(b"JPEG"),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is known of an image beside its bytes."""

    name: str
    synset: str
    label: int
    text: str
    boxes: Sequence[Box]


@dataclass(frozen=True, slots=True)
class Layout:
    """One script's output."""

    name: str
    seed: int
    shuffled: tuple[str, ...]
    """The splits that are shuffled; the others come by name."""
    has_folders: bool
    has_boxes: bool

    def folder(self, split: str) -> PurePosixPath:
        """Where the shards of a split lie, below the whole."""
        return PurePosixPath(split if self.has_folders else ".")

    def shard(self, split: str, number: int) -> PurePosixPath:
        return self.folder(split) / f"{split}-{number:05}-of-{SHARDS[split]:05}"

    def order(self, split: str, count: int) -> list[int]:
        """Places of the images in the order in which they are written."""
        places = list(range(count))
        if split in self.shuffled:
            random.Random(self.seed).shuffle(places)  # noqa: S311 - the scripts' order, no secret
        return places

    def ranges(self, split: str, count: int) -> list[tuple[int, int]]:
        """Start and end in that order, for each shard."""
        shards = SHARDS[split]
        if not self.has_folders:
            return _spread(count, shards)
        length = -(-count // shards)
        starts = [min(number * length, count) for number in range(shards + 1)]
        return list(pairwise(starts))

    def features(self, image: RgbJpeg, about: Labelled) -> Mapping[str, Feature]:
        common = _SAME | {
            "image/class/label": int64_feature(about.label),
            "image/class/synset": _words(about.synset),
            "image/encoded": bytes_feature(image.content),
            "image/filename": bytes_feature(about.name.encode("utf-8", "surrogateescape")),
            "image/height": int64_feature(image.height),
            "image/width": int64_feature(image.width),
        }
        if not self.has_boxes:
            return common
        return common | {
            "image/class/text": _words(about.text),
            "image/object/bbox/label": int64_feature(*[about.label] * len(about.boxes)),
            "image/object/bbox/xmax": float_feature([box.xmax for box in about.boxes]),
            "image/object/bbox/xmin": float_feature([box.xmin for box in about.boxes]),
            "image/object/bbox/ymax": float_feature([box.ymax for box in about.boxes]),
            "image/object/bbox/ymin": float_feature([box.ymin for box in about.boxes]),
        }


@lru_cache(maxsize=4096)
def _words(text: str) -> Feature:
    return bytes_feature(text.encode("utf-8", "surrogateescape"))


def _spread(count: int, shards: int) -> list[tuple[int, int]]:
    """Divided among threads first, then among the shards of each, as ``np.linspace`` rounds."""
    per_thread = shards // _SLIM_THREADS
    ranges: list[tuple[int, int]] = []
    threads = _steps(0, count, _SLIM_THREADS)
    for start, end in pairwise(threads):
        steps = _steps(start, end, per_thread)
        ranges += pairwise(steps)
    return ranges


def _steps(start: int, end: int, parts: int) -> list[int]:
    step = (end - start) / parts
    return [int(number * step + start) for number in range(parts)] + [end]


LAYOUTS = {
    "tpu": Layout("tpu", 0, ("train",), has_folders=True, has_boxes=False),
    "slim": Layout("slim", 12345, ("train", "validation"), has_folders=False, has_boxes=True),
}
