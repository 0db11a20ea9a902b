"""What lies beside ILSVRC's images: words for the synsets, and annotations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dsmanager.errors import NotFoundError, UsageError, os_errors
from dsmanager.files import read_at_most

__all__ = ["find_annotations", "find_texts", "read_texts"]

_TEXTS = "LOC_synset_mapping.txt"
_ANNOTATIONS = (
    "ILSVRC/Annotations/CLS-LOC",
    "Annotations/CLS-LOC",
    "Annotations",
    "Annotation",
)
_KAGGLE = ("ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC")
_MAX_BYTES = 4 << 20


def find_texts(source: Path) -> Path | None:
    """Kaggle's file of words in ``source``, or above it where it is a part of Kaggle's tree."""
    for root in _roots(source):
        if (root / _TEXTS).is_file():
            return root / _TEXTS
    return None


def find_annotations(source: Path, named: Path | None) -> Path | None:
    """The folder of XML files. Raises NotFoundError when the one that was named is none."""
    if named is not None:
        if not named.is_dir():
            raise NotFoundError(
                f"there is no folder of annotations {named}",
                hint="name the folder that holds the XML files or their folders: --annotations DIR",
            )
        return named / "CLS-LOC" if (named / "CLS-LOC").is_dir() else named
    for root in _roots(source):
        for place in _ANNOTATIONS:
            if (root / place).is_dir():
                return root / place
    return None


def read_texts(path: Path) -> dict[str, str]:
    """Words by synset: a line each, the synset first, then a space or a tab.

    That is Kaggle's file and the slim script's ``imagenet_metadata.txt``. Raises UsageError for
    anything else.
    """
    with os_errors("read the words for synsets"):
        content = read_at_most(path, _MAX_BYTES)
    texts = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        synset, *text = line.split(maxsplit=1)
        if not text or len(content) > _MAX_BYTES:
            raise UsageError(
                f"{path} does not give words for synsets: line {number} is {line[:80]!a}",
                hint="each line is a synset and its words: --synset-text LOC_synset_mapping.txt",
            )
        texts[synset] = text[0].strip()
    return texts


def _roots(source: Path) -> Iterator[Path]:
    folder = source if source.is_dir() else source.parent
    yield folder
    whole = folder.resolve()
    for part in _KAGGLE:
        depth = part.count("/") + 1
        if "/".join(whole.parts[-depth:]) == part:
            yield whole.parents[depth - 1]
