"""What may be wrong with the ground that dsmanager stands on: interpreter and file systems.

Catalogues and probes for ``doctor``; every probe removes what it made.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from dsmanager.files import temporary_path

__all__ = ["file_system", "ignores_case", "is_network", "locks_work", "tarfile_holes"]

_TARFILE = {
    # CVE: the first patch release of each minor version that has the fix (CPython's CVE records)
    "CVE-2024-12718": {(3, 11): 13, (3, 12): 11, (3, 13): 4},
    "CVE-2025-4138": {(3, 11): 13, (3, 12): 11, (3, 13): 4},
    "CVE-2025-4330": {(3, 11): 13, (3, 12): 11, (3, 13): 4},
    "CVE-2025-4435": {(3, 11): 13, (3, 12): 11, (3, 13): 4},
    "CVE-2025-4517": {(3, 11): 13, (3, 12): 11, (3, 13): 4},
    "CVE-2025-8194": {(3, 11): 14, (3, 12): 12, (3, 13): 6},
}
_NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.cephfs", "fuse.gcsfuse", "fuse.glusterfs"),
    *("fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs"),
    *("lustre", "ncpfs", "nfs", "nfs4", "orangefs", "panfs", "smb3", "smbfs", "virtiofs", "wekafs"),
}


def tarfile_holes(version: Sequence[int] | None = None) -> list[str]:
    """The known holes of the standard library's ``tarfile`` in this interpreter, by CVE.

    Distributions repair older versions without a new number: it is a note and no verdict.
    """
    major, minor_number, patch = (version or sys.version_info[:3])[:3]
    minor = (major, minor_number)
    newest = max(minor for fixed in _TARFILE.values() for minor in fixed)
    return [
        cve
        for cve, fixed in sorted(_TARFILE.items())
        if minor <= newest and (minor not in fixed or patch < fixed[minor])
    ]


def file_system(folder: Path, mounts: str | None = None) -> str | None:
    """The type of the file system of ``folder``, as Linux names it; None where nothing tells."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
        except OSError:
            return None
    real = os.path.realpath(folder)
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        point = _unescaped(fields[1]) if len(fields) > 2 else ""
        is_above = point and (real + "/").startswith(point.rstrip("/") + "/")
        if is_above and (best is None or len(point) >= best[0]):  # of two at one point the later
            best = (len(point), fields[2])
    return best[1] if best else None


def is_network(kind: str | None) -> bool:
    return kind in _NETWORK


def ignores_case(folder: Path) -> bool:
    """Whether ``A`` and ``a`` are one file there. Raises OSError where nothing can be written."""
    path = temporary_path(folder / "Case")
    path.touch(exist_ok=False)
    try:
        return os.path.lexists(path.with_name(path.name.replace("Case", "CASE")))
    finally:
        path.unlink(missing_ok=True)


def locks_work(folder: Path) -> bool:
    """Whether a lock there excludes others. Raises OSError where nothing can be written."""
    path = temporary_path(folder / "lock")
    path.touch(exist_ok=False)
    try:
        with open(path, "r+b") as first, open(path, "r+b") as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return not _can_lock(second)
    except OSError:  # no locks at all
        return False
    finally:
        path.unlink(missing_ok=True)


def _can_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unescaped(text: str) -> str:
    """White space by its octal number, as the kernel writes it in mount points."""
    for octal, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, letter)
    return text
