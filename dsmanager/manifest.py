"""The manifest ``datasets.json``: which archives are expected, with size and sha256.

Schema 2 is written; Armory's ``cached_datasets.json`` (schema 1: an object keyed by name) is read
wherever a manifest is expected and written by :func:`to_armory` alone. Made to live in git: sorted,
two-space indent, one entry a ref, merged on write.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dsmanager.errors import DsmanagerError, UsageError
from dsmanager.files import remove_leftovers, write_json
from dsmanager.hashing import is_sha256
from dsmanager.locks import locked
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import COMPRESSION_SUFFIXES, Ref
from dsmanager.text import plain

__all__ = ["Entry", "Manifest", "read_manifest", "to_armory", "update_manifest"]

SCHEMA = 2
_MAX_BYTES = 64 << 20
_MAX_SIZE = (1 << 63) - 1
_SUFFIXES = tuple(COMPRESSION_SUFFIXES.values())


class Entry(NamedTuple):
    """One expected archive. ``subdir`` holds folders relative to the data dir, ``.config`` last."""

    ref: Ref
    archive: str
    size: int
    sha256: str
    subdir: tuple[str, ...]
    remote: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "archive": self.archive,
            "size": self.size,
            "sha256": self.sha256,
            "subdir": list(self.subdir),
            "remote": self.remote,
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """Entries by ref, sorted. ``is_armory`` says that the file has Armory's format."""

    entries: Mapping[Ref, Entry] = field(default_factory=dict)
    is_armory: bool = False

    def to_json(self) -> dict[str, Any]:
        datasets = {str(ref): self.entries[ref].to_json() for ref in sorted(self.entries)}
        return {"schema": SCHEMA, "datasets": datasets}


def read_manifest(path: Path) -> Manifest:
    """Reads either format; an absent file is an empty manifest.

    Raises UsageError with file and line for anything that is not a manifest.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _bad(path, f"is larger than {_MAX_BYTES >> 20} MiB")
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Manifest()
    except UnicodeDecodeError as error:
        raise _bad(path, f"is not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    return parse_manifest(text, path)


def parse_manifest(text: str, path: Path) -> Manifest:
    """Reads the text of a manifest; ``path`` is for messages. Raises UsageError."""
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise _bad(path, f"line {error.lineno} is not valid JSON: {error.msg}") from error
    except _RepeatedKeyError as error:
        raise _bad(path, str(error)) from error
    except RecursionError as error:
        raise _bad(path, "is nested too deeply") from error
    except ValueError as error:
        raise _bad(path, "holds a number that is too long") from error
    if not isinstance(value, dict):
        raise _bad(path, "is not a JSON object")
    if "schema" not in value and "datasets" not in value:
        armory = sorted(_armory_entries(value, path), key=lambda entry: entry.ref)
        return Manifest({entry.ref: entry for entry in armory}, is_armory=bool(value))
    schema = value.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise _bad(path, f"has schema {ascii(schema)[:40]}, and this version reads {SCHEMA}")
    datasets = value.get("datasets")
    if not isinstance(datasets, dict):
        raise _bad(path, "has no object 'datasets'")
    entries = [_entry(key, entry, path) for key, entry in datasets.items()]
    return Manifest({entry.ref: entry for entry in sorted(entries, key=lambda e: e.ref.sort_key)})


def update_manifest(
    path: Path,
    change: Callable[[dict[Ref, Entry]], None],
    *,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Manifest:
    """Reads, changes and replaces the manifest under its lock, so that no other writer is lost.

    Raises UsageError for a manifest of Armory's format, which is never written.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    lock = path.with_name(path.name + ".lock")
    with locked(lock, purpose=f"write {path.name}", progress=progress, cancel=cancel):
        remove_leftovers(path)
        manifest = read_manifest(path)
        if manifest.is_armory:
            raise UsageError(
                f"{path} has Armory's format, which is read and never written",
                hint=f"take it over: dsmanager manifest import {path}",
            )
        entries = dict(manifest.entries)
        change(entries)
        changed = Manifest({ref: entries[ref] for ref in sorted(entries)})
        if changed.entries != manifest.entries or not path.exists():
            write_json(path, changed.to_json())
        return changed


def to_armory(manifest: Manifest) -> dict[str, Any]:
    """Armory's ``cached_datasets.json``: one version a name, the newest; configs joined.

    Raises UsageError where a name has several archives of its newest version, or one that is not
    named ``<name>__<version>__cache.tar.gz``: that format cannot say either.
    """
    newest: dict[str, list[Entry]] = {}
    for ref, entry in sorted(manifest.entries.items()):
        others = newest.get(ref.name, [])
        if not others or ref.version_key > others[0].ref.version_key:
            newest[ref.name] = [entry]
        elif ref.version == others[0].ref.version:
            others.append(entry)
    return {name: _armory_value(*entries) for name, entries in sorted(newest.items())}


def _armory_value(entry: Entry, *others: Entry) -> dict[str, Any]:
    ref = entry.ref
    for other in others:
        raise UsageError(
            f"{ref} and {other.ref} are two archives, and Armory's format has one a name",
            hint=f"pack them in one: dsmanager package {ref.name} --together",
        )
    if entry.archive != Ref(ref.name, None, ref.version).archive_name():
        raise UsageError(
            f"{entry.archive} is not named as Armory's format names the archive of {ref.name}",
            hint=f"pack it so: dsmanager package {ref.name} --together",
        )
    return {
        "sha256": entry.sha256,
        "size": entry.size,
        "subdir": entry.subdir[0] if len(entry.subdir) == 1 else list(entry.subdir),
        "url": None,
        "version": entry.ref.version,
    }


def _armory_entries(value: Mapping[str, Any], path: Path) -> list[Entry]:
    entries = []
    for name, item in value.items():
        if not isinstance(item, dict) or not isinstance(item.get("version"), str):
            raise _bad(
                path, f"entry '{plain(name[:200])}' is neither Armory's nor of schema {SCHEMA}"
            )
        subdir = item.get("subdir")
        listed = [subdir] if isinstance(subdir, str) else subdir
        ref = f"{name}:{item['version']}"
        archive = f"{name}__{item['version']}__cache.tar.gz"
        entries.append(_entry(ref, {**item, "subdir": listed, "archive": archive}, path))
    return entries


def _entry(key: str, value: Any, path: Path) -> Entry:
    try:
        ref = Ref.parse(key)
        problem = _problem(ref, value)
    except DsmanagerError as error:
        problem = error.message
    if problem is not None:
        raise _bad(path, f"entry '{plain(key[:200])}': {problem}")
    subdir = tuple(value["subdir"])
    return Entry(ref, value["archive"], value["size"], value["sha256"], subdir, value.get("remote"))


def _problem(ref: Ref, value: Any) -> str | None:
    """What is wrong with the entry of ``ref``, in words. A chain: a listing checks thousands."""
    if ref.version is None:
        return "the ref has no version"
    if not isinstance(value, dict):
        return "is not an object"
    archive, size, subdir = value.get("archive"), value.get("size"), value.get("subdir")
    if not isinstance(archive, str) or not _is_archive_name(archive):
        return "archive is no archive's file name"
    if type(size) is not int or not 0 <= size <= _MAX_SIZE:
        return "size is not a number of bytes"
    if not is_sha256(value.get("sha256")):
        return "sha256 is not 64 hexadecimal digits"
    if not isinstance(subdir, list) or not subdir:
        return "subdir is not a list of folders"
    folders = [folder if isinstance(folder, str) else "" for folder in subdir]
    refs = [Ref.of_subdir(folder) for folder in folders]
    for folder, of_folder in zip(folders, refs, strict=True):
        if of_folder.name != ref.name if of_folder else folder != f"{ref.name}/.config":
            return "subdir leaves the dataset"
    if not any(refs):
        return "subdir has no version"
    if len(set(folders)) < len(folders):
        return "subdir has a folder twice"
    remote = value.get("remote")
    if remote is not None and not (isinstance(remote, str) and remote.isprintable()):
        return "remote is neither a name nor null"
    return None


def _is_archive_name(text: str) -> bool:
    is_plain = text.isprintable() and "/" not in text and not text.startswith(".")
    return is_plain and text.endswith(_SUFFIXES) and len(text.encode()) <= 255


class _RepeatedKeyError(ValueError):
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = next(key for key, count in counts.items() if count > 1)
        raise _RepeatedKeyError(f"has the key '{plain(repeated[:200])}' twice")
    return table


def _bad(path: Path, problem: str) -> UsageError:
    return UsageError(
        f"{path} {problem}", hint=f"mend it, then look: dsmanager manifest show --manifest {path}"
    )
