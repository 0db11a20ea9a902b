"""The words of ``gc``: what is asked for, and one thing that can go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.library.removal import Removal
from dsmanager.manifest import Entry
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job
    from dsmanager.library.leftovers import Leftover
    from dsmanager.remotes.remote import Remote
    from dsmanager.remotes.unfinished import UnfinishedUpload

__all__ = ["Garbage", "RemoteFile", "Request", "SafeArchive"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be found beside leftovers. ``keep`` and ``not_needed_here`` find good data."""

    keep: int | None = None
    """Newest versions that stay, of each name and config, built and cached each."""
    not_needed_here: bool = False
    all_uploads: bool = False
    """Leftovers of other machines on the remote, too, whatever their age."""
    keep_logs: int = 10
    """Newest logs that stay, of each dataset and kind."""
    use_remote: bool = True


@dataclass(frozen=True, slots=True)
class SafeArchive:
    """A cached archive, its record, and the remote that has it."""

    removal: Removal
    entry: Entry
    remote: Remote


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An object that a dead process left."""

    name: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing to take away, and the bytes that it holds."""

    kind: str
    """leftover, partial-download, orphan-sidecar, orphan-index, empty-folder, lock, upload, log,
    job, fingerprints;
    of good data: old-version, not-needed-here."""
    target: str
    size_bytes: int
    reason: str
    ref: Ref | None = None
    source: (
        Leftover
        | Removal
        | SafeArchive
        | UnfinishedUpload
        | RemoteFile
        | Job
        | tuple[Path, ...]
        | None
    ) = field(default=None, repr=False)
    """What the removal works on; None: the file ``target`` and no more."""

    @property
    def is_good_data(self) -> bool:
        return self.kind in ("old-version", "not-needed-here")
