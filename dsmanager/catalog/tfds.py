"""TFDS's own datasets, listed from the files of the installed package without importing it.

``tensorflow_datasets/datasets/<name>/`` holds one dataset each. Older ones are classes in topic
packages; those count that descend, within these files, from one of TFDS's builder classes. The
list equals ``tfds.core.registered.list_imported_builders()`` and takes about 50 ms to make.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dsmanager.catalog.scan import BUILDER_SUFFIX, snake_case

__all__ = ["tfds_builders", "tfds_folder"]

# The packages that TFDS imports to fill its registry (core/registered.py).
_TOPICS = (
    "audio", "graphs", "image", "image_classification", "object_detection", "nearest_neighbors",
    "question_answering", "d4rl", "ranking", "recommendation", "rl_unplugged", "rlds/datasets",
    "robotics", "robomimic", "structured", "summarization", "text", "text_simplification",
    "time_series", "translate", "video", "vision_language",
)  # fmt: skip
_BASES = {
    "BeamBasedBuilder",
    "ConllDatasetBuilder",
    "ConllUDatasetBuilder",
    "GeneratorBasedBuilder",
    "ShardBasedBuilder",
}
_CLASS = re.compile(r"^ *class\s+(\w+)\s*\(([^)]*)\)\s*:", re.MULTILINE)


def tfds_folder() -> Path | None:
    """Where the package is installed; None when it is not."""
    spec = importlib.util.find_spec("tensorflow_datasets")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


@cache
def tfds_builders() -> dict[str, Path]:
    """The file of each of TFDS's datasets, by name."""
    root = tfds_folder()
    if root is None:
        return {}
    return dict(sorted({**_topic_builders(root), **_package_builders(root)}.items()))


def _package_builders(root: Path) -> dict[str, Path]:
    return {
        entry.name: Path(entry.path, f"{entry.name}{BUILDER_SUFFIX}.py")
        for entry in os.scandir(root / "datasets")
        if entry.is_dir() and not entry.name.startswith("_")
    }


def _topic_builders(root: Path) -> dict[str, Path]:
    classes = [found for path in _topic_files(root) for found in _classes(path)]
    builders = set(_BASES)
    while more := {name for name, bases, _ in classes if bases & builders} - builders:
        builders |= more
    return {
        snake_case(name): path
        for name, bases, path in classes
        if bases & builders and "skip_registration=True" not in bases
    }


def _topic_files(root: Path) -> Iterator[Path]:
    for topic in _TOPICS:
        for folder, _, names in os.walk(root / topic):
            for name in names:
                if name.endswith(".py") and not name.endswith("_test.py"):
                    yield Path(folder, name)


def _classes(path: Path) -> Iterator[tuple[str, set[str], Path]]:
    """(class, last parts of its bases, file); keyword arguments stand among the bases as text."""
    for match in _CLASS.finditer(path.read_text("utf-8", "replace")):
        bases = (re.sub(r"\s", "", base) for base in match[2].split(","))
        yield match[1], {base if "=" in base else base.rpartition(".")[2] for base in bases}, path
