"""Which members an archive may have: those of its sidecar, or those that Armory's rules allow.

Nothing here reads bytes: rules are told of each member in order and refuse it, or find at the end
that something is missing. What is refused raises MalformedError.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from dsmanager.archives.paths import MalformedError, PathRegistry
from dsmanager.archives.sidecar import Sidecar, subdir_order
from dsmanager.archives.tar import Entry
from dsmanager.refs import is_version

__all__ = ["ArmoryLayout", "Layout", "SidecarLayout"]

CONFIG_FOLDER = ".config"
CONFIG_FILE = "metadata.json"


class Layout(Protocol):
    """Judges the members of one archive."""

    def admit(self, entry: Entry) -> None:
        """Raises MalformedError when ``entry`` may not be in this archive."""

    def sha256_of(self, path: str) -> str | None:
        """What the content of an admitted file must hash to, where that is known."""

    def finish(self) -> tuple[str, ...]:
        """Raises MalformedError when something is missing; returns subdir, ``.config`` last."""


class SidecarLayout:
    """Exactly the members of the sidecar, with their sizes, and the folders above them."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._missing = {member.path: member for member in sidecar.members}
        self._members = dict(self._missing)
        self._folders = {above for folder in sidecar.subdir for above in _with_parents(folder)}
        self._subdir = sidecar.subdir

    def admit(self, entry: Entry) -> None:
        if entry.is_folder:
            if entry.path not in self._folders:
                raise MalformedError(f"the folder {entry.path!a} is not in the sidecar")
            return
        member = self._missing.pop(entry.path, None)
        if member is None:
            problem = "there twice" if entry.path in self._members else "not in the sidecar"
            raise MalformedError(f"{entry.path!a} is {problem}")
        if member.size != entry.size:
            raise MalformedError(
                f"{entry.path!a} has {entry.size:,} bytes, the sidecar says {member.size:,}"
            )

    def sha256_of(self, path: str) -> str | None:
        return self._members[path].sha256

    def finish(self) -> tuple[str, ...]:
        for path in self._missing:
            raise MalformedError(f"{path!a} is in the sidecar and not in the archive")
        return self._subdir


class ArmoryLayout:
    """The rules for archives without a sidecar.

    One top folder, named like the dataset; files only directly in version folders and in
    ``.config``; exactly the recorded version folders where they are recorded; with configs,
    ``.config/metadata.json``.
    """

    def __init__(self, name: str, subdir: Iterable[str] | None) -> None:
        self._name = name
        self._recorded = None if subdir is None else frozenset(subdir)
        self._registry = PathRegistry()
        self._folders: set[str] = set()
        self._with_files: set[str] = set()
        self._has_config_file = False

    def admit(self, entry: Entry) -> None:
        parts = entry.path.split("/")
        if parts[0] != self._name:
            raise MalformedError(f"{entry.path!a} is not in the folder {self._name}/")
        if entry.is_folder:
            self._registry.add_folder(entry.path)
            self._folders.add(entry.path)
            return
        self._registry.add_file(entry.path)
        folder = entry.path.rpartition("/")[0]
        if folder not in self._with_files and not self._may_hold_files(folder):
            raise MalformedError(f"{entry.path!a} is not in a recorded version folder")
        self._with_files.add(folder)
        if parts[1:] == [CONFIG_FOLDER, CONFIG_FILE]:
            self._has_config_file = True

    def sha256_of(self, path: str) -> str | None:
        return None

    def finish(self) -> tuple[str, ...]:
        expected = self._with_files if self._recorded is None else self._recorded
        config = f"{self._name}/{CONFIG_FOLDER}"
        for folder in sorted(expected - self._with_files - {config}):
            raise MalformedError(f"the version folder {folder} is missing or empty")
        versions = self._with_files - {config}
        if not versions:
            raise MalformedError("it holds no version folder")
        if any(folder.count("/") > 1 for folder in versions) and not self._has_config_file:
            raise MalformedError(f"{config}/{CONFIG_FILE} is missing; configs need it")
        allowed = {above for folder in self._with_files for above in _with_parents(folder)}
        for folder in sorted(self._folders - allowed):
            raise MalformedError(f"the folder {folder!a} is not a recorded version folder")
        return tuple(sorted(self._with_files, key=subdir_order))

    def _may_hold_files(self, folder: str) -> bool:
        if folder == f"{self._name}/{CONFIG_FOLDER}":
            return self._recorded is None or folder in self._recorded or self._records_configs()
        if self._recorded is not None:
            return folder in self._recorded
        parts = folder.split("/")
        return len(parts) > 1 and is_version(parts[-1]) and not any(map(is_version, parts[1:-1]))

    def _records_configs(self) -> bool:
        return any(folder.count("/") > 1 for folder in self._recorded or ())


def _with_parents(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
