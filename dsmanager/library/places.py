"""The places of one library: its data dir, its manifest, its remote and what it remembers.

Every verb stands on this; it knows where things are and what is there, and changes nothing.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.errors import NotFoundError, UsageError, VerificationError
from dsmanager.library.looks import Looks
from dsmanager.library.memory import Memory
from dsmanager.library.survey import Survey, cached_archives, survey
from dsmanager.locks import locked
from dsmanager.manifest import Entry, Manifest, read_manifest
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from dsmanager.settings import Settings

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["LibraryPlaces"]


class LibraryPlaces:
    """One data dir with its manifest and its remote."""

    def __init__(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        remote: str | None = None,
        manifest: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Places that are not named come from the settings (files, then environment).

        Raises UsageError for settings that cannot be read and for a data dir that is no folder.
        """
        self.settings = settings or Settings.load(
            data_dir=data_dir, remote=remote, manifest=manifest
        )
        if self.data_dir.exists() and not self.data_dir.is_dir():
            raise UsageError(
                f"the data dir {self.data_dir} is not a folder", hint="use another: --data-dir DIR"
            )
        self.memory = Memory(self.settings.state_dir)
        self._named_remotes: dict[str, Remote] = {}

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    @cached_property
    def looks(self) -> Looks:
        """What records said when they were read last."""
        return Looks(self.memory)

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is on disk now. Raises UsageError for a broken one."""
        return read_manifest(self.settings.manifest_path)

    @cached_property
    def remote(self) -> Remote:
        """The current remote. Raises UsageError when there is none."""
        from dsmanager.remotes.remote import Remote

        return Remote(self.settings.require_remote())

    @property
    def has_remote(self) -> bool:
        return self.settings.current_remote() is not None

    def remote_of(self, entry: Entry | None) -> Remote:
        """The chosen remote, else the one that a manifest entry names, else the current one."""
        from dsmanager.remotes.remote import Remote

        named = entry.remote if entry is not None else None
        if named in self.settings.remotes and not self.settings.remote:
            new = Remote(self.settings.remote_named(str(named)))
            return self._named_remotes.setdefault(str(named), new)
        return self.remote

    def lock_path(self, ref: Ref) -> Path:
        """The lock that every verb holds which changes files of ``ref``."""
        return self.data_dir / f"{ref.stem}.lock"

    def locked(
        self, ref: Ref, verb: str, progress: Progress, cancel: CancelToken
    ) -> AbstractContextManager[None]:
        """Holds the lock of ``ref``; waits for another holder and says for whom.

        Of an archive of several configs its own lock comes first, then its parts' in order.
        """
        return locked(
            self.lock_path(ref), purpose=f"{verb} {ref}", progress=progress, cancel=cancel
        )

    def version_folder(self, ref: Ref) -> Path:
        return self.data_dir / ref.subdir

    def survey(self, *, local_only: bool = False) -> Survey:
        """Presence of everything that is built, cached, remote or recorded."""
        asks = self.has_remote and not local_only
        return survey(
            self.settings, self.manifest, self.looks, (lambda: self.remote) if asks else None
        )

    def cached_path(self, ref: Ref) -> Path:
        """The archive of ``ref`` in the cache. Raises NotFoundError."""
        manifest = self.manifest
        if (recorded := self._recorded_path(ref, manifest.entries.get(ref))) is not None:
            return recorded
        found = cached_archives(self.settings.cache_dir, manifest, self.looks, [])
        if ref not in found:
            raise NotFoundError(
                f"there is no cached archive of {ref}",
                hint=f"make one: dsmanager package {ref}, or fetch one: dsmanager download {ref}",
                ref=str(ref),
            )
        return found[ref].path

    def _recorded_path(self, ref: Ref, entry: Entry | None) -> Path | None:
        """Where the manifest says it is, unless a sidecar there is of another ref.

        Spares a look at every archive of the cache, which many refs in a row would pay for.
        """
        if entry is None:
            return None
        from dsmanager.archives.sidecar import read_sidecar

        path = self.settings.cache_dir / entry.archive
        try:
            sidecar = read_sidecar(path) if path.is_file() else None
        except VerificationError:
            return path
        return path if path.is_file() and (sidecar is None or sidecar.ref == ref) else None
