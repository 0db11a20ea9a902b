"""Refuses a version folder whose files could make TFDS run code or read files elsewhere.

Owns the rules; looks at parsed JSON only, before anything of TFDS is imported, and never imports
what the JSON names. The ways in, as TFDS 4.9.10 reads a folder, and what closes each:

- ``features.json``: the module of every ``pythonClassName`` is imported, at any depth, in the
  message form, in the older ``type``/``content`` form, and in JSON written as a string inside
  (``jsonFeature.json``, a ``content`` string). Only the classes of the allowlist pass.
- ``dataset_info.json`` may carry the same message in its field ``features``.
- Older content becomes keyword arguments: ``names_file`` and a ``labels`` string would read any
  file. Refused, as are objects where TFDS writes plain values.
- ``dtype`` strings reach ``np.dtype`` and TensorFlow; a short list passes.
- ``filepathTemplate`` goes through ``str.format`` and joins a path: file-name letters and TFDS's
  own placeholders pass. Dataset, config and split names take no separators either.
- protobuf takes ``python_class_name`` for ``pythonClassName``: other spellings are refused, so
  that all readers see one thing.
- Label, text and metadata files are read by name: :func:`check_folder` wants ordinary files.
"""

from __future__ import annotations

import json
import os
import re
import reprlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from dsmanager.errors import VerificationError, os_errors
from dsmanager.loading.allowlist import CONTENT_FIELDS, DTYPES, FEATURE_CLASSES, PROTO_CLASSES
from dsmanager.text import plain

__all__ = ["check_dataset_info", "check_features", "check_folder"]

_MAX_DEPTH = 32
_MAX_NODES = 200_000
_MAX_OPTIONAL_VALUES = 1 << 24  # TFDS fills an array of this many as the default of one tensor
_MAX_METADATA_BYTES = 64 << 20
_MAX_SHOWN_LETTERS = 120

_CONTAINERS = {"Dataset", "FeaturesDict", "Sequence"}
_TEXT_FIELDS = {"dtype", "encoding", "encoding_format", "file_format", "bbox_format"}
_PLACEHOLDER = r"\{(?:DATASET|SPLIT|FILEFORMAT|SHARD_INDEX|NUM_SHARDS|SHARD_X_OF_Y)\}"
_TEMPLATE = re.compile(rf"(?!\.)(?:[A-Za-z0-9_.=+,@-]|{_PLACEHOLDER})+")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,=@-]*")
_CONFIG = re.compile(rf"{_NAME.pattern}(?:/{_NAME.pattern})*")


def check_features(features: Mapping[str, Any], where: str = "features.json") -> None:
    """Raises VerificationError, naming the class or field, unless all of it is TFDS's own."""
    _Walk(where).feature(features, 0)


def check_dataset_info(info: Mapping[str, Any], where: str = "dataset_info.json") -> None:
    """Raises VerificationError when names, templates or features in it are not safe to follow."""
    walk = _Walk(where)
    walk.no_other_spellings(info)
    walk.name(info.get("name"), "name", _NAME)
    if info.get("configName"):
        walk.name(info["configName"], "configName", _CONFIG)
    if info.get("fileFormat"):
        walk.name(info["fileFormat"], "fileFormat", _NAME)
    if info.get("features") is not None:
        walk.feature(info["features"], 0)
    splits = info.get("splits") or []
    if not isinstance(splits, list):
        walk.refuse("has splits that are no list")
    for split in splits:
        walk.split(split)


def check_folder(version_dir: Path) -> None:
    """Raises VerificationError when a label, text or metadata file is no ordinary file."""
    with os_errors("read the version folder"), os.scandir(version_dir) as entries:
        for entry in entries:
            if not entry.name.endswith((".json", ".txt")) and ".text" not in entry.name:
                continue
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise _refusal(entry.name, "is not an ordinary file")
            if status.st_size > _MAX_METADATA_BYTES:
                raise _refusal(entry.name, "is larger than any that TFDS writes")


@dataclass
class _Walk:
    """One pass over a JSON file; counts what it has seen, so that it ends."""

    where: str
    nodes: Iterator[int] = field(default_factory=lambda: iter(range(_MAX_NODES)))

    def feature(self, value: Any, depth: int) -> None:
        if depth > _MAX_DEPTH:
            self.refuse(f"is nested more than {_MAX_DEPTH} deep")
        if next(self.nodes, None) is None:
            self.refuse(f"has more than {_MAX_NODES:,} features")
        if not isinstance(value, Mapping):
            self.refuse(f"has {_shown(value)} where a feature belongs")
        if "type" in value:
            self.older_feature(value, depth)
        else:
            self.message_feature(value, depth)

    def message_feature(self, value: Mapping[str, Any], depth: int) -> None:
        """The form of TFDS 4.5 and later: the message ``tensorflow_datasets.Feature``."""
        short = self.class_name(value.get("pythonClassName"))
        known = {"pythonClassName", "description", "valueRange", *CONTENT_FIELDS}
        if unknown := set(value) - known:
            self.refuse(f"has the field {_shown(min(unknown, key=str))} in a feature")
        contents = [name for name in CONTENT_FIELDS if value.get(name) is not None]
        if len(contents) != 1:
            self.refuse(f"has a {short} with {len(contents)} contents")
        self.content(short, CONTENT_FIELDS[contents[0]], value[contents[0]], depth)

    def older_feature(self, value: Mapping[str, Any], depth: int) -> None:
        """The form before: ``{"type": class, "content": …, "proto_cls": …}``."""
        short = self.class_name(value["type"])
        if unknown := set(value) - {"type", "content", "proto_cls"}:
            self.refuse(f"has the field {_shown(min(unknown, key=str))} in a feature")
        content, message = value.get("content"), value.get("proto_cls")
        if not message:
            self.arguments(short, content, depth)
        elif isinstance(message, str) and message in PROTO_CLASSES:
            content = self.parsed(content) if isinstance(content, str) else content
            self.content(short, PROTO_CLASSES[message], content, depth)
        else:
            self.refuse(f"names the message {_shown(message)}")

    def content(self, short: str, message: str, content: Any, depth: int) -> None:
        """The fields of one content message; only three kinds hold other features."""
        if not isinstance(content, Mapping):
            self.refuse(f"has {_shown(content)} as the content of a {short}")
        self.no_other_spellings(content)
        if message == "JsonFeature":
            self.arguments(short, self.parsed(content.get("json")), depth)
        elif message == "FeaturesDict":
            features = content.get("features") or {}
            if not isinstance(features, Mapping):
                self.refuse("has a FeaturesDict without features")
            for feature in features.values():
                self.feature(feature, depth + 1)
        elif message == "Sequence":
            self.feature(content.get("feature"), depth + 1)
        else:
            self.dtype(content.get("dtype"))
            self.default_size(content)

    def arguments(self, short: str, content: Any, depth: int) -> None:
        """Content that TFDS hands to a class as keyword arguments."""
        if not isinstance(content, Mapping):
            self.refuse(f"has {_shown(content)} as the content of a {short}")
        if short == "FeaturesDict":
            for feature in content.values():
                self.feature(feature, depth + 1)
        elif short in _CONTAINERS:
            self.feature(content.get("feature"), depth + 1)
            self.plain_value(short, "length", content.get("length"))
        else:
            for name, argument in content.items():
                self.plain_value(short, name, argument)
            self.dtype(content.get("dtype"))
            self.default_size(content)

    def plain_value(self, short: str, name: str, value: Any) -> None:
        values = value if isinstance(value, list) else [value]
        if any(isinstance(item, (Mapping, list)) for item in values):
            self.refuse(f"has an object as {_shown(name)} of a {short}")
        if isinstance(value, str) and name not in _TEXT_FIELDS:
            self.refuse(f"has text as {_shown(name)} of a {short}")

    def dtype(self, value: Any) -> None:
        if value is not None and not (isinstance(value, str) and value in DTYPES):
            self.refuse(f"names the dtype {_shown(value)}")

    def default_size(self, content: Mapping[str, Any]) -> None:
        shape = content.get("shape")
        dimensions = shape.get("dimensions") if isinstance(shape, Mapping) else shape
        if not content.get("optional") or not isinstance(dimensions, list):
            return
        try:
            sizes = [max(1, int(size)) for size in dimensions if size is not None]
        except (OverflowError, TypeError, ValueError):
            self.refuse(f"has the shape {_shown(dimensions)}")
        values = 1
        for size in sizes:  # each step is small: the product of many long numbers never ends
            values *= size
            if values > _MAX_OPTIONAL_VALUES:
                self.refuse(f"has an optional tensor of shape {_shown(dimensions)}")

    def class_name(self, value: Any) -> str:
        if not (isinstance(value, str) and value in FEATURE_CLASSES):
            self.refuse(
                f"names {_shown(value)} as a feature class, and only those of tensorflow_datasets"
                " are allowed: opening it would import that module"
            )
        return FEATURE_CLASSES[value]

    def parsed(self, text: Any) -> Any:
        try:
            return json.loads(text, object_pairs_hook=self.unique)
        except (TypeError, ValueError, RecursionError):
            self.refuse("has JSON inside a string that cannot be read")

    def unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if len(unique) != len(pairs):
            self.refuse("has a key twice in JSON inside a string")
        return unique

    def split(self, split: Any) -> None:
        if not isinstance(split, Mapping):
            self.refuse("has a split that is no object")
        self.no_other_spellings(split)
        self.name(split.get("name"), "split name", _NAME)
        template = split.get("filepathTemplate")
        if template and not (isinstance(template, str) and _TEMPLATE.fullmatch(template)):
            self.refuse(f"has the filepathTemplate {_shown(template)}")

    def name(self, value: Any, what: str, pattern: re.Pattern[str]) -> None:
        if not (isinstance(value, str) and pattern.fullmatch(value)):
            self.refuse(f"has the {what} {_shown(value)}")

    def no_other_spellings(self, message: Mapping[str, Any]) -> None:
        for key in message:
            if "_" in key or key.startswith("["):
                self.refuse(f"has the field {_shown(key)}, which TFDS does not write")

    def refuse(self, problem: str) -> NoReturn:
        raise _refusal(self.where, problem)


def _refusal(where: str, problem: str) -> VerificationError:
    return VerificationError(
        f"{plain(where)} {problem}",
        hint="do not load it, and ask where it comes from; builders that you trust are built again"
        " with: dsmanager build",
    )


def _shown(value: Any) -> str:
    text = plain(value[: 2 * _MAX_SHOWN_LETTERS] if isinstance(value, str) else reprlib.repr(value))
    return f"'{text[:_MAX_SHOWN_LETTERS]}…'" if len(text) > _MAX_SHOWN_LETTERS else f"'{text}'"
