"""Finds the builder of a name: ``--path``, configured folders, our catalogue, TFDS, in that order.

Nothing of a builder is imported or run here.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dsmanager.catalog.scan import builder_file, builders_in, name_by_file, name_of_file
from dsmanager.catalog.tfds import tfds_builders
from dsmanager.errors import DsmanagerError, NotFoundError, UsageError
from dsmanager.text import plain

__all__ = [
    "CATALOGUE",
    "BuilderSource",
    "available",
    "builders_at",
    "every_builder",
    "find_builder",
    "hints_reach",
    "name_of_path",
    "source_of_file",
]

TFDS_PREFIX = "tfds:"
CATALOGUE = Path(__file__).absolute().parents[1] / "builders"

Origin = Literal["path", "folder", "catalogue", "tfds"]


@dataclass(frozen=True, slots=True)
class BuilderSource:
    """A builder that is known to exist; whether its code works shows when it runs."""

    origin: Origin
    name: str
    file: Path | None

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"

    def reached_in(self, hint: str) -> str:
        """A hint in which ``dsmanager build NAME`` is the command that builds this one."""
        name = f"{TFDS_PREFIX}{self.name}" if self.origin == "tfds" else self.name
        path = f" --path {shlex.quote(str(self.file))}" if self.origin == "path" else ""
        named = rf"dsmanager build (?:NAME|{re.escape(self.name)})(?![\w-])((?:[:/][\w.+-]+)*)"
        return re.sub(named, lambda found: f"dsmanager build {name}{found[1]}{path}", hint)


@contextmanager
def hints_reach(source: BuilderSource) -> Iterator[None]:
    """What goes wrong in the block need not know whether ``source`` was found by ``--path``."""
    try:
        yield
    except DsmanagerError as error:
        error.hint = error.hint and source.reached_in(error.hint)
        raise


def find_builder(
    name: str, *, folders: Sequence[Path] = (), path: Path | None = None
) -> BuilderSource:
    """The first builder of ``name``; ``tfds:NAME`` takes TFDS's, whatever else has that name.

    Raises NotFoundError with near names, and UsageError for a file that cannot be one.
    """
    if path is not None:
        return _choose(name, builders_at(path), path)
    wanted = name.removeprefix(TFDS_PREFIX)
    for source in every_builder(folders):
        if source.name == wanted and (source.origin == "tfds" or wanted == name):
            return _checked(source)
    raise _unknown(name, [source.name for source in every_builder(folders)])


def builders_at(path: Path) -> tuple[BuilderSource, ...]:
    """The builders of ``--path``: of a file or a dataset's folder one, of a folder of those all.

    Raises NotFoundError when there is none, UsageError for a file that is none.
    """
    path = path.expanduser().absolute()
    if path.is_file():
        return (BuilderSource("path", name_of_file(path), path),)
    if not path.is_dir():
        raise NotFoundError(
            f"{plain(str(path))} does not exist",
            hint="name a builder's file or folder, or see: dsmanager list --available",
        )
    own = builder_file(path)
    if own is not None:
        return (BuilderSource("path", name_of_file(own), own),)
    sources = tuple(BuilderSource("path", name, file) for name, file in builders_in(path))
    if not sources:
        raise NotFoundError(
            f"{plain(str(path))} holds no builder",
            hint="a builder's folder x has x_dataset_builder.py or x.py; see docs/builders.md",
        )
    return sources


def source_of_file(file: Path) -> BuilderSource:
    """A file as a builder, whether it is sound or not; one of ours is the catalogue's."""
    name = name_by_file(file)
    ours, own = CATALOGUE.resolve(), file.resolve()
    if own.is_relative_to(ours):
        return BuilderSource("catalogue", name, CATALOGUE / own.relative_to(ours))
    return BuilderSource("path", name, file)


def name_of_path(path: Path) -> str:
    """The name of the one builder that ``--path`` holds.

    Raises UsageError when it holds several, and what :func:`builders_at` raises.
    """
    sources = builders_at(path)
    if len(sources) == 1:
        return sources[0].name
    names = ", ".join(source.name for source in sources)
    raise UsageError(
        f"{plain(str(path))} holds several builders: {names}",
        hint=f"name those that you want: dsmanager build {sources[0].name} --path '{path}'",
    )


def available(folders: Sequence[Path] = ()) -> list[BuilderSource]:
    """Every builder that a name reaches, sorted by name; of equal names the one that is found."""
    first: dict[str, BuilderSource] = {}
    for source in every_builder(folders):
        first.setdefault(source.name, source)
    return [first[name] for name in sorted(first)]


def every_builder(folders: Sequence[Path]) -> Iterator[BuilderSource]:
    """Every builder that there is, in the order in which a name is looked for."""
    for folder in folders:
        for name, file in builders_in(folder.expanduser().absolute()):
            yield BuilderSource("folder", name, file)
    for name, file in builders_in(CATALOGUE):
        yield BuilderSource("catalogue", name, file)
    for name, file in tfds_builders().items():
        yield BuilderSource("tfds", name, file)


def _checked(source: BuilderSource) -> BuilderSource:
    if source.origin == "folder" and source.file is not None:
        name_of_file(source.file)
    return source


def _choose(name: str, sources: tuple[BuilderSource, ...], path: Path) -> BuilderSource:
    for source in sources:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in sources)
    raise UsageError(
        f"{plain(str(path))} holds the builder of {names}, not of {plain(name)!r}",
        hint=f"dsmanager build {sources[0].name} --path '{path}'",
    )


def _unknown(name: str, names: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(name.removeprefix(TFDS_PREFIX), sorted(set(names)), n=3)
    also = f"; near names: {', '.join(near)}" if near else ""
    return NotFoundError(
        f"no builder is named {plain(name)!r}{also}",
        hint="see all of them: dsmanager list --available",
        ref=name,
    )
