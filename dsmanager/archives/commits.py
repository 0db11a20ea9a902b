"""Putting an archive and its sidecar in place, so that a kill at any instruction loses nothing.

Two files cannot be replaced at once. The order is: keep the old sidecar under a temporary name,
write the new one, rename the archive, drop what was kept. :func:`recover` finds an interrupted
order by what it left, and either finishes it (the new archive is whole) or takes it back.

Archives and their sidecars must be cleaned up here and never by ``files.remove_leftovers``: the
sidecar of ``x`` is named ``x.json``, and so its temporary files look like leftovers of ``x``.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from dsmanager.archives.record_index import index_path, remove_index
from dsmanager.archives.sidecar import MAX_SIDECAR_BYTES, Sidecar, sidecar_path
from dsmanager.errors import DsmanagerError, from_os_error, os_errors
from dsmanager.files import (
    flush_file,
    fsync_folder,
    read_at_most,
    remove_leftovers,
    remove_path,
    temporary_path,
    write_bytes,
)
from dsmanager.hashing import sha256_file

__all__ = ["commit", "is_interrupted", "recover"]

_KEPT = ".kept.tmp"
_NO_SIDECAR = b"{}"
"""Content of what is kept where the old archive had no sidecar."""


def commit(temporary: Path, archive: Path, sidecar: bytes | None) -> None:
    """Makes the finished file ``temporary`` visible as ``archive``, with its sidecar.

    ``sidecar`` None: an archive without one; the sidecar of an older archive is removed.
    The caller holds the lock of ``archive``. When this raises, the old pair is as it was.
    """
    beside = sidecar_path(archive)
    kept: Path | None = None
    try:
        flush_file(temporary)
        kept = _keep_old(archive, beside, replaced=sidecar is not None)
        if sidecar is not None:
            write_bytes(beside, sidecar)
        else:
            remove_path(beside)
        os.replace(temporary, archive)
    except BaseException as error:
        with suppress(OSError):
            if temporary.exists():
                _take_back(kept, archive, beside)
        if isinstance(error, OSError):
            raise from_os_error(error, f"put {archive.name} in place") from error
        raise
    with os_errors(f"put {archive.name} in place"):
        fsync_folder(archive.parent)
        if kept is not None:
            remove_path(kept)


def recover(archive: Path) -> None:
    """Finishes or takes back an interrupted :func:`commit` and removes what it left.

    The caller holds the lock of ``archive``. Reads an archive only where a commit was interrupted.
    Afterwards there are no temporary files of the archive or its sidecar, and no sidecar or index
    without an archive. What was visible and good stays.
    """
    beside = sidecar_path(archive)
    with os_errors(f"clean up after {archive.name}"):
        temporaries, kept, unfinished = _leftovers(archive)
        finished = bool(temporaries) and _finish(temporaries, archive, _read(beside))
        if kept and not finished and archive.exists():
            _restore_matching(kept, archive, beside)
        for path in (*temporaries, *kept, *unfinished):
            remove_path(path)
        if not archive.exists():
            remove_path(beside)
            remove_index(archive)
        remove_leftovers(index_path(archive))


def is_interrupted(archive: Path) -> bool:
    """Whether a commit of ``archive`` was cut off between its two files: :func:`recover` mends."""
    return bool(_leftovers(archive)[1])


def _keep_old(archive: Path, beside: Path, *, replaced: bool) -> Path | None:
    """Saves the visible sidecar under a temporary name; None where nothing could be lost."""
    if not archive.exists():
        return None
    try:
        content = beside.read_bytes()
    except FileNotFoundError:
        if not replaced:
            return None
        content = _NO_SIDECAR
    kept = temporary_path(beside).with_suffix(_KEPT)
    write_bytes(kept, content)
    return kept


def _take_back(kept: Path | None, archive: Path, beside: Path) -> None:
    if kept is not None and kept.exists():
        _put_back(kept, beside)
    elif not archive.exists():
        remove_path(beside)


def _put_back(kept: Path, beside: Path) -> None:
    if kept.read_bytes() == _NO_SIDECAR:
        remove_path(beside)
        remove_path(kept)
    else:
        os.replace(kept, beside)
    fsync_folder(beside.parent)


def _finish(temporaries: list[Path], archive: Path, sidecar: Sidecar | None) -> bool:
    """Renames the temporary file that is what the visible sidecar describes, if there is one."""
    if sidecar is None:
        return False
    for path in temporaries:
        if path.stat().st_size == sidecar.size and sha256_file(path) == sidecar.sha256:
            flush_file(path)
            os.replace(path, archive)
            fsync_folder(archive.parent)
            return True
    return False


def _restore_matching(kept: list[Path], archive: Path, beside: Path) -> None:
    """Of the visible sidecar and the kept ones, leaves the one that describes the archive."""
    sha256 = sha256_file(archive)
    visible = _read(beside)
    if visible is not None and visible.sha256 == sha256:
        return
    had_none = [path for path in kept if path.read_bytes() == _NO_SIDECAR]
    described = [path for path in kept if (old := _read(path)) and old.sha256 == sha256]
    for path in (*described, *had_none)[:1]:
        _put_back(path, beside)


def _read(path: Path) -> Sidecar | None:
    """The sidecar at ``path``; None when it is not there or not usable."""
    try:
        return Sidecar.from_bytes(read_at_most(path, MAX_SIDECAR_BYTES), path.name)
    except (FileNotFoundError, DsmanagerError):
        return None


def _leftovers(archive: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Temporary archives, kept sidecars, and sidecars that were not finished."""
    name = re.escape(archive.name)
    eight = "[0-9a-f]{8}"
    patterns = (
        rf"\.{name}\.{eight}\.tmp",
        rf"\.{name}\.json\.{eight}\.kept\.tmp",
        rf"\.{name}\.json\.{eight}\.tmp|\.\.{name}\.json\.{eight}\.kept\.tmp\.{eight}\.tmp",
    )
    try:
        names = sorted(os.listdir(archive.parent))
    except FileNotFoundError:
        names = []
    temporaries, kept, unfinished = (
        [archive.with_name(entry) for entry in names if re.fullmatch(pattern, entry)]
        for pattern in patterns
    )
    return temporaries, kept, unfinished
