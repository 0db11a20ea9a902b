"""The sidecar ``<archive>.json``: what an archive holds, where it comes from, what it must hash to.

Schema 1. Reading trusts nothing: types, names and sizes are checked, unknown keys are tolerated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from dsmanager.archives.paths import MAX_MEMBERS, MalformedError, PathRegistry, check_path, sort_key
from dsmanager.errors import UsageError, VerificationError, from_os_error
from dsmanager.files import read_at_most
from dsmanager.hashing import is_sha256
from dsmanager.refs import Ref, parse_archive_name
from dsmanager.text import plain

__all__ = [
    "MAX_SIDECAR_BYTES",
    "SCHEMA",
    "Member",
    "Sidecar",
    "SidecarFacts",
    "download_again",
    "read_sidecar",
    "sidecar_path",
    "subdir_order",
]

SCHEMA = 1
MAX_SIDECAR_BYTES = 64 << 20
_MAX_SIZE = (1 << 63) - 1
_MAX_LETTERS = 1 << 20
_MAX_ENTRIES = 10_000
_MAX_DEPTH = 32

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive: its posix path, bytes of content and their sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SidecarFacts:
    """What only the caller of :func:`~dsmanager.archives.packing.pack` knows."""

    created: str
    """When the archive was made, ISO 8601 in UTC."""
    tfds_version: str | None = None
    builder_sha256: str | None = None
    sources: tuple[dict[str, Any], ...] = ()
    """``{"url", "size", "sha256"}`` of each; size and sha256 may be None."""
    license: str | None = None
    citation: str | None = None
    splits: Mapping[str, dict[str, int]] = field(default_factory=dict)
    """``{"train": {"examples": 1350, "shards": 1}}``"""


@dataclass(frozen=True)
class Sidecar:
    """One archive described. ``subdir`` is as in the manifest: sorted, ``<name>/.config`` last."""

    ref: Ref
    archive: str
    size: int
    sha256: str
    tar_sha256: str
    compression: dict[str, Any]
    subdir: tuple[str, ...]
    members: tuple[Member, ...]
    created: str
    dsmanager_version: str
    tfds_version: str | None
    builder_sha256: str | None
    sources: tuple[dict[str, Any], ...]
    license: str | None
    citation: str | None
    splits: dict[str, dict[str, int]]

    def to_bytes(self) -> bytes:
        """JSON, two-space indent, keys in one fixed order, a final newline."""
        value = {
            "schema": SCHEMA,
            "ref": str(self.ref),
            "archive": self.archive,
            "size": self.size,
            "sha256": self.sha256,
            "tar_sha256": self.tar_sha256,
            "compression": self.compression,
            "subdir": list(self.subdir),
            "splits": self.splits,
            "created": self.created,
            "dsmanager_version": self.dsmanager_version,
            "tfds_version": self.tfds_version,
            "builder_sha256": self.builder_sha256,
            "sources": list(self.sources),
            "license": self.license,
            "citation": self.citation,
        }
        text = json.dumps(value, indent=2, ensure_ascii=False).removesuffix("\n}")
        members = ",\n".join(map(_member_json, self.members))
        return f'{text},\n  "members": [\n{members}\n  ]\n}}\n'.encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Sidecar:
        """Reads and checks a sidecar; ``where`` names it in errors. Raises VerificationError."""
        try:
            if len(data) > MAX_SIDECAR_BYTES:
                raise MalformedError(f"it has more than {MAX_SIDECAR_BYTES:,} bytes")
            text = data.decode("utf-8")
            return _parse(_DECODER.decode(text))
        except json.JSONDecodeError as error:
            problem = f"line {error.lineno}: {error.msg}"
        except RecursionError:
            problem = "it is nested too deeply"
        except UsageError as error:
            problem = error.message
        except ValueError as error:
            problem = str(error)
        raise VerificationError(
            f"the sidecar {plain(where)} cannot be used: {problem}",
            hint=f"get archive and sidecar again: {download_again(where.removesuffix('.json'))}",
        )


def _member_json(member: Member) -> str:
    """As ``json.dumps`` with indent 2 writes it, which is ten times slower for many members."""
    path = json.dumps(member.path, ensure_ascii=False)
    return (
        f'    {{\n      "path": {path},\n      "size": {member.size},\n'
        f'      "sha256": "{member.sha256}"\n    }}'
    )


def sidecar_path(archive: Path) -> Path:
    """``<archive>.json``, beside the archive."""
    return archive.with_name(f"{archive.name}.json")


def read_sidecar(archive: Path) -> Sidecar | None:
    """The sidecar of ``archive``, or None where there is none.

    Raises VerificationError when it is there and cannot be used.
    """
    path = sidecar_path(archive)
    try:
        data = read_at_most(path, MAX_SIDECAR_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, "read the sidecar") from error
    return Sidecar.from_bytes(data, path.name)


def download_again(archive_name: str) -> str:
    """The command that fetches an archive once more, for hints."""
    found = parse_archive_name(archive_name)
    return f"dsmanager download {found[0] if found else 'REF'} --overwrite"


def subdir_order(subdir: str) -> tuple[bool, tuple[bytes, ...]]:
    """Sorts version folders by path and puts ``<name>/.config`` last."""
    return subdir.endswith("/.config"), sort_key(subdir)


# --- checking --------------------------------------------------------------------------------


def _parse(value: object) -> Sidecar:
    top = _object(value, "the sidecar")
    if _integer(top, "schema") != SCHEMA:
        raise MalformedError(f"schema {top['schema']} is not known, only schema {SCHEMA}")
    ref = Ref.parse(_text(top, "ref"))
    subdir = tuple(_strings(top, "subdir"))
    return Sidecar(
        ref=ref,
        archive=_file_name(top, "archive"),
        size=_integer(top, "size"),
        sha256=_digest(top, "sha256"),
        tar_sha256=_digest(top, "tar_sha256"),
        compression=_writable(_object(_get(top, "compression", dict), "compression")),
        subdir=subdir,
        members=_members(top, ref.name, subdir),
        created=_text(top, "created"),
        dsmanager_version=_text(top, "dsmanager_version"),
        tfds_version=_optional_text(top, "tfds_version"),
        builder_sha256=_optional_text(top, "builder_sha256"),
        sources=_sources(top),
        license=_optional_text(top, "license"),
        citation=_optional_text(top, "citation"),
        splits=_splits(top),
    )


def _members(top: dict[str, Any], name: str, subdir: tuple[str, ...]) -> tuple[Member, ...]:
    entries = _get(top, "members", list)
    if not 0 < len(entries) <= MAX_MEMBERS:
        raise MalformedError(f"members has {len(entries):,} entries, not 1 to {MAX_MEMBERS:,}")
    registry, members, used = PathRegistry(), [], set()
    for entry in entries:
        member = _object(entry, "a member")
        path = check_path(_text(member, "path"))
        folder = path.rpartition("/")[0]
        if folder not in subdir:
            raise MalformedError(f"member {path[:200]!a} is in no folder of subdir")
        registry.add_file(path)
        used.add(folder)
        members.append(Member(path, _integer(member, "size"), _digest(member, "sha256")))
    if len(subdir) != len(used) or any(folder.split("/")[0] != name for folder in used):
        raise MalformedError(f"subdir is not the set of its members' folders below {name}")
    return tuple(members)


def _sources(top: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    sources = _get(top, "sources", list)
    if len(sources) > _MAX_ENTRIES:
        raise MalformedError("it has too many sources")
    for entry in sources:
        source = _object(entry, "a source")
        _text(source, "url")
        if source.get("size") is not None:
            _integer(source, "size")
        if source.get("sha256") is not None:
            _digest(source, "sha256")
    return tuple(_writable(sources))


def _splits(top: dict[str, Any]) -> dict[str, dict[str, int]]:
    splits = _object(_get(top, "splits", dict), "splits")
    for split in splits.values():
        counts = _object(split, "a split")
        _integer(counts, "examples")
        _integer(counts, "shards")
    return _writable(splits)


def _get(owner: dict[str, Any], key: str, kind: type[_T]) -> _T:
    value = owner.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedError(f"{key} is {'missing' if value is None else 'of the wrong type'}")
    return value


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not a JSON object")
    return value


def _text(owner: dict[str, Any], key: str) -> str:
    text = _get(owner, key, str)
    if len(text) > _MAX_LETTERS:
        raise MalformedError(f"{key} is too long")
    return _writable(text)


def _optional_text(owner: dict[str, Any], key: str) -> str | None:
    return None if owner.get(key) is None else _text(owner, key)


def _integer(owner: dict[str, Any], key: str) -> int:
    number = _get(owner, key, int)
    if not 0 <= number <= _MAX_SIZE:
        raise MalformedError(f"{key} is out of range")
    return number


def _digest(owner: dict[str, Any], key: str) -> str:
    digest = _get(owner, key, str)
    if not is_sha256(digest):
        raise MalformedError(f"{key} is no sha256")
    return digest


def _strings(owner: dict[str, Any], key: str) -> list[str]:
    values = _get(owner, key, list)
    if not 0 < len(values) <= _MAX_ENTRIES or not all(isinstance(value, str) for value in values):
        raise MalformedError(f"{key} is no list of texts")
    return [check_path(value) for value in values]


def _file_name(owner: dict[str, Any], key: str) -> str:
    name = _text(owner, key)
    if "/" in name or name.startswith(".") or check_path(name) != name:
        raise MalformedError(f"{key} is no plain file name")
    return name


def _writable(value: _T, depth: int = 0) -> _T:
    """Returns ``value``, which JSON gave, when it can be written as JSON and read again."""
    if depth > _MAX_DEPTH:
        raise MalformedError("it is nested too deeply")
    if (
        isinstance(value, str)
        and not value.isascii()
        and any("\ud800" <= x <= "\udfff" for x in value)
    ):
        raise MalformedError("it has half a character in a text")
    if isinstance(value, (dict, list)):
        for each in (*value, *value.values()) if isinstance(value, dict) else value:
            _writable(each, depth + 1)
    return value


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _refuse_number(number)


def _refuse_number(text: str) -> NoReturn:
    raise MalformedError(f"{text[:40]} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_number, parse_float=_finite)
"""Made once: ``list`` reads a thousand sidecars."""
