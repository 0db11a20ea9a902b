"""Which names a member may have: one set of rules for packing, sidecars and extraction.

What is packed here can be extracted everywhere, case-folding file systems included.
"""

from __future__ import annotations

import unicodedata

__all__ = ["MAX_MEMBERS", "MalformedError", "PathRegistry", "check_path", "sort_key"]

MAX_DEPTH = 8
MAX_COMPONENT_BYTES = 255
MAX_MEMBERS = 200_000

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}


class MalformedError(ValueError):
    """An archive, or the description of one, breaks a rule; the text says which and where."""


def check_path(path: str) -> str:
    """Returns ``path``, a relative posix path without ``.``, ``..`` or empty components.

    Raises MalformedError for those, for control characters, components over 255 bytes, and paths of
    more than eight components.
    """
    if not path.isascii() or not path.isprintable():
        _check_letters(path)
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        raise MalformedError(f"{path[:200]!a} is deeper than {MAX_DEPTH} folders")
    for part in parts:
        if part in ("", ".", ".."):
            kind = {"": "an empty name", ".": "a '.'", "..": "a '..'"}[part]
            raise MalformedError(f"{path[:200]!a} has {kind} in its path")
        if len(part) > 63 and len(part.encode()) > MAX_COMPONENT_BYTES:
            raise MalformedError(f"{path[:200]!a}… has a name over {MAX_COMPONENT_BYTES} bytes")
    return path


def _check_letters(path: str) -> None:
    if any(unicodedata.category(letter) in _UNSAFE for letter in path):
        raise MalformedError(f"{path[:200]!a} has control characters in its name")


def sort_key(path: str) -> tuple[bytes, ...]:
    """Orders members: component by component, each by its UTF-8 bytes; folders before contents."""
    return tuple(part.encode() for part in path.split("/"))


class PathRegistry:
    """The paths of one archive; refuses any that a file system could take for another one."""

    def __init__(self) -> None:
        self._claimed: dict[str, str] = {}
        self._folders: set[str] = {""}

    def add_folder(self, path: str) -> None:
        """Registers a folder and its parents; no error when it is known already."""
        if path not in self._folders:
            self.add_folder(path.rpartition("/")[0])
            self._claim(path)
            self._folders.add(path)

    def add_file(self, path: str) -> None:
        self.add_folder(path.rpartition("/")[0])
        self._claim(path)

    def _claim(self, path: str) -> None:
        key = _folded(path)
        other = self._claimed.get(key)
        if other == path:
            raise MalformedError(f"{path!a} is there twice")
        if other is not None:
            raise MalformedError(f"{path!a} and {other!a} are one name where case does not count")
        self._claimed[key] = path
        if len(self._claimed) > MAX_MEMBERS:
            raise MalformedError(f"more than {MAX_MEMBERS:,} members")


def _folded(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
