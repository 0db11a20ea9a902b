"""The process that looks: what is built, cached, recorded and on the remote, for the screens.

It is a process of its own, so that ten thousand files to read, boto3 to import and a remote that
does not answer cost the screens nothing. It reads settings and then one command a line (``look``,
``all``, ``remote``) from stdin, writes what changed as JSON lines to stdout, and ends with stdin.

    {"rows": [[…], …]}   rows that are new or have changed
    {"gone": ["ref", …]}
    {"local": {…}}       ends a look at the disk: what has been told until here holds
    {"remote": {…}}      the same of the remote

No Textual in here.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import sys
import threading
import time
from calendar import timegm
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.built import find_built
from dsmanager.errors import DsmanagerError, from_os_error
from dsmanager.library.looks import Looks
from dsmanager.library.memory import Memory
from dsmanager.library.presence import Built, OnRemote, Presence, joined
from dsmanager.library.remote_listing import remote_archives
from dsmanager.library.survey import cached_archives
from dsmanager.manifest import Manifest, read_manifest
from dsmanager.refs import Ref
from dsmanager.screens.rows import Row, encoded
from dsmanager.screens.snapshot import Snapshot, read_snapshot, snapshot_path, write_snapshot
from dsmanager.screens.watch import Watch, mtime_ns
from dsmanager.settings import RemoteConfig, Settings
from dsmanager.text import plain, redact

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["Surveyor", "main"]

_LOOK_EVERY_S = 2.0
_LOOK_SHARE = 0.04  # of one core, at most, goes into looking for changes
_REMOTE_EVERY_S = 60.0
_ROWS_A_LINE = 100
_NICENESS = 5  # keys and jobs come first
_CACHE = "cache/"  # no name of a dataset


class Surveyor:
    """Keeps what it saw, looks again at what may have changed, and tells the differences."""

    def __init__(self, settings: Settings, tell: Any) -> None:
        self._settings = settings
        self._tell = tell
        self._watch = Watch(settings)
        self._looks = Looks(Memory(settings.state_dir))
        self._lock = threading.Lock()
        self._built: dict[str, dict[Ref, Built]] = {}
        self._errors: dict[str, DsmanagerError] = {}
        self._cached: dict[Ref, Any] = {}
        self._manifest = Manifest()
        self._told: dict[str, list[Any]] = {}
        self._snapshot_path = snapshot_path(settings)
        known = read_snapshot(self._snapshot_path)
        self._remote_at = known.remote_at
        self._on_remote: dict[Ref, OnRemote] = {}
        if known.remote_at is not None:
            rows = (Row(raw).presence for raw in known.rows if raw[7])
            self._on_remote = {row.ref: row.remote for row in rows if row.remote is not None}
        self._has_looked = False

    def look(self) -> None:
        """Looks at what may have changed on disk, and tells it."""
        with self._lock:
            error = self._look()
            if self._has_looked:
                self._publish()
            errors = [told(each) for each in ([error] if error else self._errors.values())]
            self._tell({"local": {"is_whole": self._has_looked, "errors": errors}})

    def has_changed(self) -> bool:
        """Whether :meth:`look` would see anything; cheap."""
        with self._lock:
            names = self._watch.changed_names()
            return bool(names) or self._watch.have_records_changed()

    def look_at_remote(self) -> None:
        """Lists the remote and tells what is there, or why nobody can say."""
        try:
            config = self._settings.current_remote()
            if config is None:
                return
            self._tell({"remote": {"name": config.name, "looking": True, "at": self._remote_at}})
            manifest = read_manifest(self._settings.manifest_path)
            with _asked(config) as asked:
                found = remote_archives(asked, manifest, self._looks.memory)
        except DsmanagerError as error:
            self._tell({"remote": {"looking": False, "at": self._remote_at, "error": told(error)}})
            return
        with self._lock:
            self._on_remote, self._remote_at = found, time.time()
            if self._has_looked:
                self._publish()
            self._tell({"remote": {"looking": False, "at": self._remote_at, "error": None}})

    def _look(self) -> DsmanagerError | None:
        """Brings what is known of the disk up to date; returns what kept it from that."""
        started_ns = time.time_ns()
        names = self._watch.changed_names()
        try:
            if self._watch.have_records_changed() or not self._has_looked:
                self._look_at_records()
            self._look_at(names, started_ns)
        except DsmanagerError as error:
            self._watch.forget_records()
            return error
        self._looks.keep()
        self._has_looked = True
        return None

    def _look_at_records(self) -> None:
        """The cache and the manifest, read again."""
        settings, errors = self._settings, list[DsmanagerError]()
        self._watch.remember_records()
        self._manifest = read_manifest(settings.manifest_path)
        self._cached = cached_archives(settings.cache_dir, self._manifest, self._looks, errors)
        self._errors.pop(_CACHE, None)
        for error in errors:
            self._errors[_CACHE] = error

    def forget(self) -> None:
        """Makes the next look read everything again."""
        with self._lock:
            self._watch = Watch(self._settings)
            self._looks.forget()

    def _look_at(self, names: set[str], started_ns: int) -> None:
        """Builds of these names, read again."""
        unreadable: list[OSError] = []
        found: dict[str, dict[Ref, Built]] = {name: {} for name in names}
        folders: dict[str, set[Path]] = {name: set() for name in names}
        data_dir = self._settings.data_dir
        for each in find_built(data_dir, unreadable, names=names):
            found[each.ref.name][each.ref] = self._looks.built(each)
            above = len(each.ref.subdir.parts) - 1
            folders[each.ref.name] |= {each.path, *list(each.path.parents)[:above]}
        for name in names:
            self._watch.remember(name, folders[name], started_ns)
            self._errors.pop(name, None)
            self._built.pop(name, None)
            if found[name]:
                self._built[name] = found[name]
        for error in unreadable:
            with suppress(ValueError):
                path = Path(os.fsdecode(error.filename or "")).relative_to(data_dir)
                self._errors[path.parts[0]] = from_os_error(error, "look into a dataset")

    def _publish(self) -> None:
        """Tells what differs from what was told before, and keeps it for the next start."""
        built = {ref: each for own in self._built.values() for ref, each in own.items()}
        rows = joined(
            built,
            self._cached,
            self._on_remote,
            self._manifest,
            has_remote=self._remote_at is not None,
        )
        now = {str(row.ref): encoded(row, times(row)) for row in rows}
        changed = [raw for ref, raw in now.items() if self._told.get(ref) != raw]
        gone = [ref for ref in self._told if ref not in now]
        for start in range(0, len(changed), _ROWS_A_LINE):
            self._tell({"rows": changed[start : start + _ROWS_A_LINE]})
        if gone:
            self._tell({"gone": gone})
        is_first = not self._told
        self._told = now
        if changed or gone or is_first:
            write_snapshot(
                self._snapshot_path, Snapshot(list(now.values()), time.time(), self._remote_at)
            )


def _asked(config: RemoteConfig) -> Remote:
    from dsmanager.remotes.remote import Remote

    return Remote(config)


def times(row: Presence) -> dict[str, float | None]:
    """When each place got what it has, in seconds of the epoch."""
    remote = None
    if row.remote is not None:
        with suppress(ValueError):
            remote = float(timegm(time.strptime(row.remote.last_modified[:19], _ISO)))
    return {
        "built": _made_at(row.built.path) if row.built else None,
        "cached": _made_at(row.cached.path) if row.cached else None,
        "remote": remote,
    }


_ISO = "%Y-%m-%dT%H:%M:%S"


def _made_at(path: Path) -> float | None:
    time_ns = mtime_ns(path)
    return None if time_ns is None else time_ns // 1_000_000_000


def told(error: DsmanagerError) -> dict[str, str | None]:
    """An error as plain words."""
    message = plain(redact(" ".join(error.message.split())))
    hint = plain(redact(" ".join(error.hint.split()))) if error.hint else None
    return {"code": error.code, "message": message, "hint": hint}


def main() -> None:
    """Looks for as long as somebody holds its stdin open."""
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    assert isinstance(settings, Settings)
    out, lock = sys.stdout.buffer, threading.Lock()

    def tell(message: Mapping[str, Any]) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with lock:
            out.write(line)
            out.flush()

    os.nice(_NICENESS)
    surveyor = Surveyor(settings, tell)
    asked_remote = threading.Event()
    threading.Thread(target=_look_at_remote, args=(surveyor, asked_remote), daemon=True).start()
    with suppress(BrokenPipeError, KeyboardInterrupt):
        _look_at_disk(surveyor, asked_remote)
    os._exit(0)  # a remote that does not answer must not keep it


def _look_at_disk(surveyor: Surveyor, asked_remote: threading.Event) -> None:
    surveyor.look()
    pause_s = _LOOK_EVERY_S
    while True:
        if select.select([0], [], [], pause_s)[0]:
            commands = os.read(0, 4096).split()
            if not commands:
                return
            if b"remote" in commands:
                asked_remote.set()
            if b"all" in commands:
                surveyor.forget()
                surveyor.look()
        started_s = time.thread_time()
        if surveyor.has_changed():
            surveyor.look()
        pause_s = max(_LOOK_EVERY_S, (time.thread_time() - started_s) / _LOOK_SHARE)


def _look_at_remote(surveyor: Surveyor, asked: threading.Event) -> None:
    while True:
        asked.clear()
        try:
            surveyor.look_at_remote()
        except BrokenPipeError:
            os._exit(0)
        asked.wait(_REMOTE_EVERY_S)


if __name__ == "__main__":
    main()
