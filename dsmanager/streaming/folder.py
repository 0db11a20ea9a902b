"""The small files of a version folder, brought from an archive on a remote.

A folder without shards, in the cache, that is checked and opened as a built one is. Its members are
read by ranges and must have the sha256 that the sidecar says. Owns also the index of the records,
which is kept beside it and belongs to the archive by its sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dsmanager.archives.offsets import member_offsets
from dsmanager.archives.record_index import SUFFIX, open_index
from dsmanager.archives.sidecar import Member, Sidecar
from dsmanager.errors import DsmanagerError, NotFoundError, VerificationError, os_errors
from dsmanager.files import (
    make_folders,
    move_tree_into_place,
    read_at_most,
    remove_leftovers,
    staged_folder,
)
from dsmanager.locks import locked
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.ranges import ObjectRanges
from dsmanager.remotes.remote import Remote

__all__ = ["MAX_SMALL_BYTES", "fetch_folder", "fetch_index", "read_member"]

MAX_SMALL_BYTES = 64 << 20
"""Of one file that is no shard; those of TFDS are far smaller."""

_MAX_FOLDER_BYTES = 256 << 20
_MAX_INDEX_HEADER_BYTES = 64 << 20


def fetch_folder(
    folder: Path, sidecar: Sidecar, subdir: str, ranges: ObjectRanges, cancel: CancelToken
) -> Mapping[str, int]:
    """Makes ``folder`` hold what is not a shard of ``subdir``; returns sizes of the rest by name.

    A folder that is whole is used as it is. Raises VerificationError for a member that is not what
    the sidecar says.
    """
    members = {m.path.rpartition("/")[2]: m for m in sidecar.members if _is_in(m, subdir)}
    small = {name: member for name, member in members.items() if not _is_shard(name)}
    if (total := sum(member.size for member in small.values())) > _MAX_FOLDER_BYTES:
        raise _damaged(ranges, f"its files that are no shards have {total:,} bytes")
    with locked(folder.with_name(f"{folder.name}.lock"), purpose=f"fetch {sidecar.ref}"):
        if not all(_is_there(folder / name, member) for name, member in small.items()):
            remove_leftovers(folder)
            with staged_folder(folder) as staged, Crew(1, cancel) as crew:
                for name, member in small.items():
                    (staged / name).write_bytes(read_member(member, sidecar, ranges, crew))
                move_tree_into_place(staged, folder)
    return {name: member.size for name, member in members.items() if name not in small}


def read_member(member: Member, sidecar: Sidecar, ranges: ObjectRanges, crew: Crew) -> bytes:
    """A small member, with the sha256 that the sidecar says. Raises VerificationError."""
    if member.size > MAX_SMALL_BYTES:
        raise _damaged(ranges, f"{member.path} has {member.size:,} bytes, too many to be loaded")
    start = member_offsets(sidecar)[member.path]
    content = b""
    if member.size:
        fetched = crew.submit(lambda: ranges.read(crew, start, start + member.size))
        content = bytes(crew.result(fetched))
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise _damaged(ranges, f"{member.path} has another sha256 than the sidecar says")
    return content


def fetch_index(path: Path, sidecar: Sidecar, remote: Remote, cancel: CancelToken) -> None:
    """Makes ``path`` the index of the archive, from the remote unless it is there.

    Raises NotFoundError where the remote has none, VerificationError for one that is damaged or of
    another archive.
    """
    with suppress(DsmanagerError):
        if open_index(path).archive_sha256 == sidecar.sha256:
            return
    name = f"{sidecar.archive}{SUFFIX}"
    found = remote.head(name)
    again = f"send it again: dsmanager upload {sidecar.ref}"
    if found is None:
        raise NotFoundError(f"{remote.url_of(name)} does not exist", hint=again)
    if found.size > sidecar.size + _MAX_INDEX_HEADER_BYTES:  # a record takes more than 8 bytes
        raise VerificationError(f"{remote.url_of(name)} has {found.size:,} bytes", hint=again)
    with locked(path.with_name(f"{path.name}.lock"), purpose=f"fetch {name}"):
        with os_errors(f"write {path}"):
            make_folders(path.parent)
        temporary = path.with_name(f".{path.name}.part")
        remote.download_file(found, temporary, progress=Progress(), cancel=cancel)
        index = open_index(temporary)
        if index.archive_sha256 != sidecar.sha256:
            raise VerificationError(
                f"{remote.url_of(name)} is the index of another archive", hint=again
            )
        with os_errors(f"write {path}"):
            temporary.replace(path)


def _is_in(member: Member, subdir: str) -> bool:
    return member.path.rpartition("/")[0] == subdir


def _is_shard(name: str) -> bool:
    """By TFDS's names: what is not JSON, text or labels is records."""
    return not name.endswith((".json", ".txt")) and ".text" not in name


def _is_there(path: Path, member: Member) -> bool:
    try:
        content = read_at_most(path, MAX_SMALL_BYTES)
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == member.sha256


def _damaged(ranges: ObjectRanges, problem: str) -> VerificationError:
    return VerificationError(
        f"{ranges.url} cannot be streamed: {problem}",
        hint="look at it: dsmanager verify REF --in remote",
    )
