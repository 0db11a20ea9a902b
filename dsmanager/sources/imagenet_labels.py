"""The lists of ILSVRC 2012 that TFDS carries: its 1,000 synsets, and the validation labels.

They are read from the installed package's files; TFDS itself is never imported.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

from dsmanager.errors import DsmanagerError, VerificationError, os_errors

__all__ = ["CLASSES", "IMAGES", "SPLITS", "synsets", "validation_synset", "validation_synsets"]

SPLITS = ("train", "validation")
CLASSES = 1000
IMAGES = {"train": 1_281_167, "validation": 50_000}
_FOLDER = "datasets/imagenet2012"
_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)


@cache
def synsets() -> tuple[str, ...]:
    """The 1,000 synsets, sorted: TFDS's label is the place in it, the scripts' is one more."""
    return _list("labels.txt")


@cache
def validation_synsets() -> tuple[str, ...]:
    """The synset of each validation image, in the order of the images' numbers."""
    return _list("validation_labels.txt")


def validation_synset(name: str) -> str:
    """The synset of ``ILSVRC2012_val_00000001.JPEG`` and so on, by the number in its name.

    Raises VerificationError for another name or number.
    """
    match = _NUMBERED.fullmatch(name)
    labels = validation_synsets()
    if match is None or not 0 < int(match[1]) <= len(labels):
        raise VerificationError(
            f"the label of the validation image {name[:200]!a} is not known: names are "
            f"ILSVRC2012_val_00000001.JPEG to {len(labels):08}",
            hint="name it so, or put images into a folder for each synset: val/n01440764/",
        )
    return labels[int(match[1]) - 1]


def _list(name: str) -> tuple[str, ...]:
    found = importlib.util.find_spec("tensorflow_datasets")
    if found is None or found.origin is None:
        raise DsmanagerError(
            "the lists of ImageNet's labels come with tensorflow-datasets, which is not installed",
            hint="pip install tensorflow-datasets",
        )
    with os_errors("read ImageNet's labels"):
        return tuple((Path(found.origin).parent / _FOLDER / name).read_text("utf-8").split())
