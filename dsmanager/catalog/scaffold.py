"""A dataset definition to start from: a builder, its test, dummy data, an empty ``checksums.tsv``.

Owns what the files say. They build at once, without network and without TensorFlow; nothing is
imported or run here. Never touches a folder that exists.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from dsmanager import files
from dsmanager.catalog.find import available
from dsmanager.catalog.scan import BUILDER_SUFFIX, snake_case
from dsmanager.errors import AlreadyExistsError, UsageError, os_errors
from dsmanager.text import plain

__all__ = ["RESERVED", "Scaffold", "check_name", "scaffold"]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MOST_LETTERS = 100
RESERVED = frozenset({"cache", "downloads", "builders", "dsmanager", "tensorflow_datasets", "test"})
"""Folders of a data dir that are no datasets, and modules that a builder's file would hide."""


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What was made."""

    name: str
    folder: Path
    builder: Path
    files: tuple[Path, ...]


def check_name(name: str) -> None:
    """Raises UsageError, with a name that would do, unless a new dataset may be called so."""
    if not _NAME.fullmatch(name) or len(name) > _MOST_LETTERS or keyword.iskeyword(name):
        raise _bad_name(name, "names are in snake_case, as in my_words", _near(name))
    if name in RESERVED or name.endswith((BUILDER_SUFFIX, "_test")):
        raise _bad_name(name, "that name has another meaning", f"my_{_near(name)}")
    for source in available():
        if source.name == name:
            whose = "TFDS" if source.origin == "tfds" else "the catalogue"
            raise _bad_name(name, f"{whose} has a dataset of that name", f"my_{name}")


def scaffold(name: str, folder: Path | None = None) -> Scaffold:
    """Makes ``<folder>/<name>/`` (default: below the current folder), whole or not at all.

    Raises UsageError for a bad name, AlreadyExistsError when that folder is there.
    """
    check_name(name)
    home = (folder or Path.cwd()).expanduser().absolute() / name
    contents = _contents(name)
    with os_errors("make the folder"):
        if home.exists() or home.is_symlink():
            raise _exists(name, home)
        home.parent.mkdir(parents=True, exist_ok=True)
        with files.staged_folder(home) as stage:
            tree = stage / name
            for relative, text in contents.items():
                path = tree / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
            files.move_tree_into_place(tree, home)
    made = tuple(home / relative for relative in contents)
    return Scaffold(name, home, home / f"{name}.py", made)


def _contents(name: str) -> Mapping[str, str]:
    """Texts by path below the dataset's folder."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    own_name = "" if snake_case(camel) == name else f'    name = "{name}"\n'
    values = {"name": name, "camel": camel, "own_name": own_name}
    return {
        f"{name}.py": Template(_BUILDER).substitute(values),
        f"{name}_test.py": Template(_TEST).substitute(values),
        "__init__.py": "",
        "checksums.tsv": _CHECKSUMS,
        "dummy_data/train.csv": "text,label\nas it was in the beginning,good\nor was it,bad\n",
        "dummy_data/test.csv": "text,label\nit is now,good\n",
    }


def _near(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", snake_case(name)).strip("_")
    words = re.sub(rf"^[0-9_]+|({BUILDER_SUFFIX}|_?test)+$", "", words)[:_MOST_LETTERS].strip("_")
    if not words:
        return "my_words"
    return f"my_{words}" if keyword.iskeyword(words) else words


def _bad_name(name: str, why: str, other: str) -> UsageError:
    return UsageError(
        f"{plain(name)!r} cannot be the name of a new dataset: {why}",
        hint=f"for example: dsmanager new {other}",
    )


def _exists(name: str, home: Path) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"{plain(str(home))} exists already, and is left as it is",
        hint=f"use another folder: dsmanager new {name} --dir FOLDER",
    )


_CHECKSUMS = """\
# One line for each source: URL, size in bytes, sha256, file name, with tabs between them.
"""

_BUILDER = '''\
"""${name}: say here in one line what it is."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

_DUMMY_DATA = Path(__file__).parent / "dummy_data"


class ${camel}(tfds.core.GeneratorBasedBuilder):
    """Short texts, each with a label."""

${own_name}    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="What the examples are, where they come from, who made them.",
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=["bad", "good"]),
                }
            ),
            supervised_keys=("text", "label"),
            homepage="https://example.org/${name}",
            citation="",
            license="Say under which licence the data may be used.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        # The real source instead, with a line in checksums.tsv:
        #     source = dl_manager.download_and_extract("https://example.org/${name}.zip")
        source = _DUMMY_DATA
        return {
            "train": self._generate_examples(source / "train.csv"),
            "test": self._generate_examples(source / "test.csv"),
        }

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields (key, example). Keys differ within a split, and are the same on every machine."""
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                yield number, {"text": row["text"], "label": row["label"]}
'''

_TEST = '''\
"""Builds ${name} into a temporary folder and looks at what comes out."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import dsmanager

_BUILDER = Path(__file__).parent / "${name}.py"


class ${camel}Test(unittest.TestCase):
    def test_builds_and_loads(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            library = dsmanager.Library(data_dir=folder)
            (built,) = library.build("${name}", path=_BUILDER)
            self.assertEqual(built.splits, {"train": 2, "test": 1})
            _, examples = library.load("${name}", framework="numpy")
            self.assertEqual(set(examples["train"][0]), {"text", "label"})


if __name__ == "__main__":
    unittest.main()
'''
