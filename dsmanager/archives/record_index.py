"""The index ``<archive>.index``: where each record of each TFRecord file of an archive starts.

Made from an uncompressed archive alone, so that who has the archive can always make it again, byte
for byte. It names the sha256 of its archive: an index of another archive is found. Layout, fixed
for good (docs/archive-format.md): one line of JSON, filled up with spaces to a multiple of 8 bytes,
then for each shard of that line its offsets, little-endian 64-bit numbers of bytes from the start
of the member: one for each record, and the end of the last.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dsmanager.archives.offsets import is_uncompressed, member_offsets
from dsmanager.archives.sidecar import Sidecar
from dsmanager.errors import DsmanagerError, VerificationError, os_errors
from dsmanager.files import remove_leftovers, remove_path, staged_file
from dsmanager.progress import Progress
from dsmanager.records.offsets import scan_offsets
from dsmanager.text import plain

__all__ = [
    "SUFFIX",
    "RecordIndex",
    "ensure_index",
    "index_path",
    "open_index",
    "remove_index",
    "verify_index",
    "verify_pieces",
]

SUFFIX = ".index"
_SCHEMA = 1
_MAX_HEADER_BYTES = 64 << 20
_ALIGNMENT = 8


def index_path(archive: Path) -> Path:
    """``<archive>.index``, beside the archive."""
    return archive.with_name(f"{archive.name}{SUFFIX}")


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """The offsets of every shard of one archive; the file is mapped, not read."""

    path: Path
    archive_sha256: str
    _content: memoryview
    _places: Mapping[str, tuple[int, int]]
    """By member: where its offsets start in ``_content``, and how many records it has."""

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._places)

    def offsets(self, member: str) -> memoryview | None:
        """Of each record, and the end of the last; None for a member that is not indexed."""
        place = self._places.get(member)
        if place is None:
            return None
        start, records = place
        return self._content[start : start + 8 * (records + 1)].cast("Q")


def ensure_index(archive: Path, sidecar: Sidecar, progress: Progress) -> Path | None:
    """The index of an uncompressed ``archive``, made unless it is there; None for a compressed one.

    The caller holds the lock of the archive, whose bytes are those that ``sidecar`` describes.
    A file that is no readable TFRecord file is left out, with a note on ``progress``.
    """
    path = index_path(archive)
    if not is_uncompressed(sidecar):
        return None
    remove_leftovers(path)
    try:
        if open_index(path).archive_sha256 == sidecar.sha256:
            return path
    except DsmanagerError:
        pass  # missing, damaged, or of another schema: made again
    header, tables = _made(archive, sidecar, progress)
    with staged_file(path) as temporary, open(temporary, "xb") as file:
        file.write(header)
        for table in tables:
            file.write(table)
    return path


def verify_index(archive: Path, sidecar: Sidecar) -> None:
    """Compares an index with what the records of its archive say; nothing where there is none.

    Raises VerificationError.
    """
    path = index_path(archive)
    if not is_uncompressed(sidecar) or not os.path.lexists(path):
        return
    with os_errors(f"read {path.name}"):
        header, tables = _made(archive, sidecar, Progress())
        with open(path, "rb") as file:
            is_same = all(file.read(len(part)) == bytes(part) for part in (header, *tables))
            is_same = is_same and not file.read(1)
    if not is_same:
        raise _damaged(path.name, f"it does not say where the records of {archive.name} are")


def verify_pieces(pieces: Iterable[memoryview], sidecar: Sidecar, where: str) -> None:
    """Checks an index that comes in pieces: whole, and that of the archive of ``sidecar``.

    ``where`` names it. Raises VerificationError.
    """
    line, digest = b"", hashlib.sha256()
    for piece in pieces:
        if line.endswith(b"\n"):
            digest.update(piece)
            continue
        end = bytes(piece).find(b"\n") + 1 or len(piece)
        line += piece[:end]
        digest.update(piece[end:])
        if len(line) > _MAX_HEADER_BYTES:
            break
    described = _described(line, where)
    if described["sha256"] != sidecar.sha256:
        raise _damaged(where, f"it is not of this {sidecar.archive}")
    if described["offsets_sha256"] != digest.hexdigest():
        raise _damaged(where, "its offsets are not what its first line says")


def remove_index(archive: Path) -> None:
    """Removes the index and what killed processes left of it; no error where there is none."""
    remove_leftovers(index_path(archive))
    remove_path(index_path(archive))


def open_index(path: Path, *, check: bool = True) -> RecordIndex:
    """Maps an index; with ``check`` compares all of it with the digest that it carries.

    Raises NotFoundError without one, VerificationError for one that is damaged.
    """
    with os_errors(f"read {path.name}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise _damaged(path.name, "it is empty") from error
        finally:
            os.close(descriptor)
    content, end = memoryview(mapped), mapped.find(b"\n", 0, _MAX_HEADER_BYTES) + 1
    described = _described(bytes(content[:end]), path.name)
    places = dict(_places(described["shards"], end))
    archive_sha256, sha256 = described["sha256"], described["offsets_sha256"]
    length = max((start + 8 * (records + 1) for start, records in places.values()), default=end)
    is_whole = length == len(content)
    if not is_whole or (check and hashlib.sha256(content[end:]).hexdigest() != sha256):
        raise _damaged(path.name, "its offsets are not what its first line says")
    return RecordIndex(path, archive_sha256, content, places)


def _described(line: bytes, where: str) -> dict[str, Any]:
    """The first line, with everything in it that is used. Raises VerificationError."""
    try:
        described = json.loads(line)
        if described["schema"] != _SCHEMA:
            raise _damaged(where, f"schema {described['schema']!r} is not known")
        digests = described["sha256"], described["offsets_sha256"]
        shards = [(shard["path"], shard["records"]) for shard in described["shards"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(where, "its first line cannot be read") from error
    are_right = all(isinstance(p, str) and type(n) is int and 0 <= n < 1 << 48 for p, n in shards)
    are_right = are_right and len({path for path, _ in shards}) == len(shards)
    if not are_right or not all(isinstance(digest, str) for digest in digests):
        raise _damaged(where, "its first line cannot be read")
    return {"sha256": digests[0], "offsets_sha256": digests[1], "shards": shards}


def _places(shards: list[tuple[str, int]], start: int) -> Iterator[tuple[str, tuple[int, int]]]:
    for path, records in shards:
        yield path, (start, records)
        start += 8 * (records + 1)


def _made(archive: Path, sidecar: Sidecar, progress: Progress) -> tuple[bytes, list[memoryview]]:
    """First line and tables of the index."""
    places = member_offsets(sidecar)
    tables: dict[str, array[int]] = {}
    with os_errors(f"read {archive.name}"), open(archive, "rb", buffering=0) as file:
        for member in sidecar.members:
            if ".tfrecord" not in PurePosixPath(member.path).name:
                continue
            name = Path(f"{archive.name}/{member.path}")
            try:
                tables[member.path] = scan_offsets(
                    file.fileno(), name, start=places[member.path], size_bytes=member.size
                )
            except VerificationError as error:
                progress.note(f"{error.message}; it cannot be streamed")
    if sys.byteorder == "big":
        for table in tables.values():
            table.byteswap()
    views = [memoryview(table).cast("B") for table in tables.values()]
    return _header(sidecar, tables, views), views


def _header(sidecar: Sidecar, tables: dict[str, array[int]], views: list[memoryview]) -> bytes:
    digest = hashlib.sha256()
    for view in views:
        digest.update(view)
    described = {
        "schema": _SCHEMA,
        "archive": sidecar.archive,
        "sha256": sidecar.sha256,
        "offsets_sha256": digest.hexdigest(),
        "shards": [{"path": path, "records": len(table) - 1} for path, table in tables.items()],
    }
    line = json.dumps(described, ensure_ascii=False).encode()
    return line + b" " * (-(len(line) + 1) % _ALIGNMENT) + b"\n"


def _damaged(where: str, problem: str) -> VerificationError:
    return VerificationError(
        f"the index {plain(where)} cannot be used: {problem}",
        hint="make and send it again: dsmanager upload REF",
    )
