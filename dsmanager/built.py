"""One built version folder as it lies on disk, read without TFDS.

``dataset_info.json`` says which splits there are and how many examples each shard holds; the shard
files carry the names ``<name>-<split>.<format>-00000-of-00001``. TFDS looks only at the JSON files;
a shard that is missing is noticed here.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.files import read_at_most
from dsmanager.refs import Ref, is_version
from dsmanager.text import plain

__all__ = ["PROVENANCE", "BuiltDataset", "Split", "find_built", "is_version_folder"]

DATASET_INFO = "dataset_info.json"
FEATURES = "features.json"
PROVENANCE = "provenance.json"

_DEFAULT_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_MAX_JSON_BYTES = 64 << 20
_MAX_NAME_LETTERS = 255
_MAX_SHARDS = 200_000  # as many members as an archive may have


class Split(NamedTuple):
    """One split: its name, the examples in each shard, and its payload (not file) bytes."""

    name: str
    shard_lengths: tuple[int, ...]
    payload_bytes: int
    filename_template: str

    @property
    def examples(self) -> int:
        return sum(self.shard_lengths)

    def shard_names(self, dataset: str, file_format: str) -> tuple[str, ...]:
        """File names of the shards in order, by TFDS's template."""
        total = len(self.shard_lengths)
        return tuple(self._shard_name(index, dataset, file_format) for index in range(total))

    def can_be_named(self, dataset: str, file_format: str) -> bool:
        """Whether a file system has room for the names; looks at no more than the last one.

        Of longer parts every shard would have a name of megabytes.
        """
        parts = (self.name, self.filename_template, file_format)
        last = len(self.shard_lengths) - 1
        return (
            max(map(len, parts)) <= _MAX_NAME_LETTERS
            and last < _MAX_SHARDS
            and len(self._shard_name(last, dataset, file_format)) <= _MAX_NAME_LETTERS
        )

    def _shard_name(self, index: int, dataset: str, file_format: str) -> str:
        total = len(self.shard_lengths)
        return (
            self.filename_template.replace("{DATASET}", dataset)
            .replace("{SPLIT}", self.name)
            .replace("{FILEFORMAT}", file_format)
            .replace("{SHARD_X_OF_Y}", f"{index:05d}-of-{total:05d}")
            .replace("{SHARD_INDEX}", f"{index:05d}")
            .replace("{NUM_SHARDS}", f"{total:05d}")
        )


class BuiltDataset:
    """A version folder. Reading is lazy; every property that reads may raise VerificationError."""

    def __init__(self, ref: Ref, location: str | os.PathLike[str]) -> None:
        self.ref = ref
        self.location = os.fspath(location)

    @cached_property
    def path(self) -> Path:
        return Path(self.location)

    @cached_property
    def dataset_info(self) -> dict[str, Any]:
        """The parsed ``dataset_info.json``."""
        return self._read_json(DATASET_INFO)

    @cached_property
    def features(self) -> dict[str, Any]:
        """The parsed ``features.json``, as it stands: nothing in it is trusted or imported."""
        return self._read_json(FEATURES)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the build left for the sidecar; empty for datasets that others built."""
        if not os.path.lexists(f"{self.location}/{PROVENANCE}"):
            return {}
        return self._read_json(PROVENANCE)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """What the build downloaded: ``url``, ``size``, ``sha256``; odd entries are left out."""
        listed = self.provenance.get("sources")
        entries = listed if isinstance(listed, list) else []
        return [each for each in entries if isinstance(each, dict) and "url" in each]

    @property
    def builder_sha256(self) -> str | None:
        """Hash of the builder's code, where the build left it."""
        builder = self.provenance.get("builder")
        return builder.get("code_sha256") if isinstance(builder, dict) else None

    @cached_property
    def file_format(self) -> str:
        """``tfrecord``, ``array_record``, …"""
        return str(self.dataset_info.get("fileFormat") or "tfrecord")

    @cached_property
    def splits(self) -> dict[str, Split]:
        """Splits by name, in the order of ``dataset_info.json``."""
        splits = {}
        try:
            for entry in self.dataset_info.get("splits", []):
                template = entry.get("filepathTemplate") or _DEFAULT_TEMPLATE
                lengths = tuple(int(length) for length in entry.get("shardLengths", []))
                if min(lengths, default=0) < 0 or entry["name"] in splits:
                    raise ValueError("a negative length, or a split twice")
                split = Split(
                    name=str(entry["name"]),
                    shard_lengths=lengths,
                    payload_bytes=int(entry.get("numBytes", 0)),
                    filename_template=str(template),
                )
                if not split.can_be_named(self.ref.name, self.file_format):
                    raise ValueError("names that no file can have, or too many shards")
                splits[entry["name"]] = split
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._damaged(f"{DATASET_INFO} has splits that cannot be read") from error
        return splits

    @property
    def files(self) -> dict[str, int]:
        """Size in bytes of every regular file of the folder, by name, sorted."""
        return self._scanned[0]

    @property
    def records(self) -> dict[str, os.stat_result]:
        """What the disk says of the JSON files, links not followed, by name."""
        return self._scanned[1]

    @cached_property
    def _scanned(self) -> tuple[dict[str, int], dict[str, os.stat_result]]:
        files, records = {}, {}
        try:
            with os.scandir(self.location) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        files[entry.name] = status.st_size
                        if entry.name.endswith(".json"):
                            records[entry.name] = status
        except OSError as error:
            raise self._damaged(f"the folder cannot be read: {error.strerror}") from error
        return dict(sorted(files.items())), records

    @property
    def size_bytes(self) -> int:
        return sum(self.files.values())

    def problems(self, elsewhere: Mapping[str, int] | None = None) -> Iterator[str]:
        """What keeps this folder from being loaded: unreadable JSON, missing or empty shards.

        ``elsewhere`` has the sizes in bytes of files that are not in the folder, by name.
        """
        try:
            splits, _, files = self.splits, self.features, {**self.files, **(elsewhere or {})}
        except DsmanagerError as error:
            yield error.message
            return
        if not splits:
            yield f"{DATASET_INFO} names no splits"
        for split in splits.values():
            if not split.examples:
                yield plain(f"split {split.name} has no examples")
            for shard in split.shard_names(self.ref.name, self.file_format):
                if not files.get(shard):
                    yield plain(f"{shard} is {'empty' if shard in files else 'missing'}")

    def require_complete(self, elsewhere: Mapping[str, int] | None = None) -> None:
        """Raises VerificationError that names the first of :meth:`problems`."""
        for problem in self.problems(elsewhere):
            raise self._damaged(problem)

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = read_at_most(f"{self.location}/{name}", _MAX_JSON_BYTES)
            if len(content) > _MAX_JSON_BYTES:
                raise self._damaged(f"{name} is larger than any that TFDS writes")
            value = json.loads(content)
        except FileNotFoundError as error:
            raise self._damaged(f"{name} is missing") from error
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(f"{name} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise self._damaged(f"{name} is not a JSON object")
        return value

    def _damaged(self, problem: str) -> VerificationError:
        return VerificationError(
            f"{self.ref} at {self.location} is damaged: {problem}",
            hint=f"build it again: dsmanager build {self.ref} --clean",
            ref=str(self.ref),
        )


def is_version_folder(path: Path) -> bool:
    """Whether ``path`` is named like a version and holds a TFDS dataset."""
    return is_version(path.name) and (path / DATASET_INFO).is_file()


_NOT_DATASETS = {"cache", "downloads"}
_DEPTH = 4  # folders above the version


def find_built(
    data_dir: Path, unreadable: list[OSError] | None = None, *, names: Iterable[str] | None = None
) -> Iterator[BuiltDataset]:
    """Every version folder below ``data_dir``, sorted by ref; links to folders are followed.

    Looks at ``<name>/<version>`` and ``<name>/<config…>/<version>``, at most four folders above the
    version. A folder that no ref can name is no dataset. Errors of folders that cannot be read are
    added to ``unreadable``. With ``names`` only those datasets are looked for.
    Raises OSError when ``data_dir`` itself cannot be read.
    """
    errors = [] if unreadable is None else unreadable
    if names is None:
        found = list(_walk(str(data_dir), "", errors))
    else:
        wanted = [name for name in names if not _is_skipped(name)]
        folders = [(data_dir / name, name) for name in wanted if name not in _NOT_DATASETS]
        found = [
            each
            for folder, name in folders
            if folder.is_dir()
            for each in _walk(str(folder), f"{name}/", errors)
        ]
    yield from sorted(found, key=lambda built: built.ref.sort_key)


def _walk(folder: str, above: str, unreadable: list[OSError]) -> Iterator[BuiltDataset]:
    """Texts instead of paths: of thousands of folders most of the time would go into these.

    ``above`` names ``folder`` within the data dir, with a slash behind every part.
    """
    try:
        with os.scandir(folder) as scanned:
            entries = list(scanned)
    except OSError as error:
        if not above:
            raise
        unreadable.append(error)
        return
    for entry in entries:
        name = entry.name
        if _is_skipped(name) or not _is_folder(entry):
            continue
        if above and is_version(name):
            ref = Ref.of_subdir(above + name)
            if ref is not None and _may_hold_dataset(entry.path):
                yield BuiltDataset(ref, entry.path)
        elif above.count("/") < _DEPTH and (above or name not in _NOT_DATASETS):
            yield from _walk(entry.path, f"{above}{name}/", unreadable)


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()  # follows links, and asks the disk for nothing else
    except OSError:
        return False


def _may_hold_dataset(folder: str) -> bool:
    """A folder that cannot be looked into counts: it is shown as damaged, not left out.

    Its files are looked at when they are asked for: who wants refs does without them, and what was
    seen before a lock was waited for is not what is there after it.
    """
    try:
        os.stat(f"{folder}/{DATASET_INFO}")
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    return True
