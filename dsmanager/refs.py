"""Refs: how a dataset is named, ``name[/config][:version]``, and the file names made of one.

Parsed and printed here and nowhere else.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from pathlib import PurePosixPath
from typing import NamedTuple

from dsmanager.errors import UsageError

__all__ = ["COMPRESSION_SUFFIXES", "Ref", "RefPattern", "is_version", "parse_archive_name"]

COMPRESSION_SUFFIXES = {"gz": ".tar.gz", "zst": ".tar.zst", "none": ".tar"}

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_CONFIG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,=\-]*(/[A-Za-z0-9_][A-Za-z0-9_.+,=\-]*)*")
_NUMBER = r"(0|[1-9][0-9]{0,17})"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
_GLOB = re.compile(r"[*?\[]")
_MAX_LETTERS = 200
_LONGEST = 3 * _MAX_LETTERS  # of a ref: nothing longer is looked at, nor remembered
_REMEMBERED = 1 << 15
"""Texts whose refs are kept: a listing reads the same ref from a folder, a sidecar, a manifest and
a key, and sorts by it several times."""


def is_version(text: str) -> bool:
    """Whether ``text`` is a TFDS version: three decimal numbers without leading zeros."""
    return _VERSION.fullmatch(text) is not None


@lru_cache(_REMEMBERED)
def _version_key(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")) if version else ()


@total_ordering
@dataclass(frozen=True, slots=True)
class Ref:
    """One dataset, its config and its version; the last two may be open (None)."""

    name: str
    config: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        version = f":{self.version}" if self.version else ""
        return f"{self.name}{config}{version}"

    def __lt__(self, other: Ref) -> bool:
        return self.sort_key < other.sort_key

    @property
    def is_proper(self) -> bool:
        """Whether its parts are such that it can be printed and parsed back."""
        try:
            return Ref.parse(str(self)) == self
        except UsageError:
            return False

    @property
    def sort_key(self) -> tuple[str, str, tuple[int, ...]]:
        """Orders by name, then config, then version as numbers (1.9.0 before 1.10.0)."""
        return (self.name, self.config or "", _version_key(self.version))

    @property
    def version_key(self) -> tuple[int, ...]:
        return _version_key(self.version)

    @property
    def stem(self) -> str:
        """The start of every file name of this ref, such as ``coco__2017__1.1.0``."""
        parts = [self.name]
        if self.config:
            parts.append(self.config.replace("/", "-"))
        if self.version:
            parts.append(self.version)
        return "__".join(parts)

    @property
    def subdir(self) -> PurePosixPath:
        """The version folder relative to the data dir."""
        parts = [self.name, *(self.config.split("/") if self.config else [])]
        return PurePosixPath(*parts, *([self.version] if self.version else []))

    def archive_name(self, compression: str = "gz") -> str:
        """``<name>[__<config>]__<version>__cache.tar.gz``, as Armory names its archives."""
        return f"{self.stem}__cache{COMPRESSION_SUFFIXES[compression]}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Reads ``name[/config][:version]``.

        Raises UsageError when ``text`` is no ref, globs included.
        """
        return _parsed(text)

    @classmethod
    def of_subdir(cls, subdir: str) -> Ref | None:
        """The ref whose version folder is ``name[/config…]/version``; None where none can be."""
        return _of_subdir(subdir) if len(subdir) <= _LONGEST else None


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> Ref:
    match = re.fullmatch(r"([^/:]+)(?:/([^:]+))?(?::([^:]+))?", text)
    if match is None or len(text) > _LONGEST:
        raise _bad_ref(text, "it is not of the form name[/config][:version]")
    name, config, version = match.groups()
    if not _NAME.fullmatch(name) or len(name) > _MAX_LETTERS:
        raise _bad_ref(text, "a name has letters, digits, '_', '.' and '-'")
    if config is not None and not _CONFIG.fullmatch(config):
        raise _bad_ref(text, "a config has letters, digits and _ . + , = - between slashes")
    if version is not None and not is_version(version):
        raise _bad_ref(text, "a version has three numbers, such as 1.0.8")
    return Ref(name, config, version)


@lru_cache(_REMEMBERED)
def _of_subdir(subdir: str) -> Ref | None:
    folders, slash, version = subdir.rpartition("/")
    try:
        return _parsed(f"{folders}:{version}") if slash else None
    except UsageError:
        return None


class RefPattern(NamedTuple):
    """What a user asks for: a ref whose parts may be globs; an open part matches everything."""

    name: str
    config: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> RefPattern:
        """Reads a ref or a pattern. Raises UsageError."""
        if not isinstance(text, str):
            raise UsageError(
                f"a ref is a text, not {type(text).__name__}", hint="several: one call each"
            )
        if not _GLOB.search(text):
            ref = Ref.parse(text)
            return cls(ref.name, ref.config, ref.version)
        match = re.fullmatch(r"([^/:]+)(?:/([^:]+))?(?::([^:]+))?", text)
        if match is None or not all(part is None or part.isprintable() for part in match.groups()):
            raise _bad_ref(text, "it is not of the form name[/config][:version]")
        return cls(*match.groups())

    @property
    def is_glob(self) -> bool:
        return any(_GLOB.search(part or "") for part in (self.name, self.config, self.version))

    def matches(self, ref: Ref) -> bool:
        """Whether ``ref`` is meant. A part that is open here matches any."""
        if self.config is not None and ref.config is None:
            return False  # ``NAME/*`` asks for configs
        pairs = ((self.name, ref.name), (self.config, ref.config), (self.version, ref.version))
        return all(
            pattern is None or fnmatch.fnmatchcase(value or "", pattern) for pattern, value in pairs
        )

    def __str__(self) -> str:
        return str(Ref(self.name, self.config, self.version))


def parse_archive_name(file_name: str) -> tuple[Ref, str] | None:
    """Reads ``<name>[__<config>]__<version>__cache.tar.gz`` back into (ref, compression).

    None when it is no archive of ours. Where a name or a config itself contains ``__`` or a config
    contained ``/`` the answer is a guess; a sidecar or a manifest knows better.
    """
    for compression, suffix in COMPRESSION_SUFFIXES.items():
        if not file_name.endswith(f"__cache{suffix}"):
            continue
        parts = file_name[: -len(f"__cache{suffix}")].split("__")
        if len(parts) < 2 or not is_version(parts[-1]) or not all(parts) or "/" in file_name:
            return None
        ref = Ref(parts[0], "__".join(parts[1:-1]) or None, parts[-1])
        return (ref, compression) if ref.is_proper else None
    return None


def _bad_ref(text: str, why: str) -> UsageError:
    shown = text if text.isprintable() and len(text) <= _MAX_LETTERS else ascii(text[:60])
    return UsageError(f"'{shown}' is not a ref: {why}", hint="see what there is: dsmanager list")
