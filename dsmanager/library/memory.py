"""What is remembered about files and objects that were read, so that they need not be read again.

A local file is known by size, mtime in nanoseconds and inode; a remote object by its ETag. Kept in
``<state_dir>/fingerprints.sqlite``; it is a cache: losing it costs time, never correctness, so a
state dir that cannot be written only means that nothing is remembered.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Fingerprint", "Identity", "Memory", "utc_now"]

_TABLES = """
CREATE TABLE IF NOT EXISTS files (
  path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, sha256 TEXT, read_at TEXT);
CREATE TABLE IF NOT EXISTS objects (url TEXT PRIMARY KEY, etag TEXT, sha256 TEXT);
CREATE TABLE IF NOT EXISTS facts (path TEXT PRIMARY KEY, signature TEXT, facts TEXT);
"""
_BUSY_S = 5.0
_MAX_INTEGER = (1 << 63) - 1


def utc_now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Identity = tuple[int, int, int]
"""(size in bytes, mtime in nanoseconds, inode) of a file."""


class Fingerprint(NamedTuple):
    """The sha256 that a file had when it was last read in full, and when that was (UTC)."""

    sha256: str
    read_at: str


class Memory:
    """Remembers sha256 values of files and of remote objects, and what records said."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "fingerprints.sqlite"

    def files(self) -> dict[str, tuple[Identity, Fingerprint]]:
        """Everything known of files by path: what :func:`identity_of` gave, and the fingerprint."""
        rows = self._read("SELECT path, size, mtime_ns, inode, sha256, read_at FROM files")
        return {
            path: ((size, mtime_ns, inode), Fingerprint(sha256, read_at))
            for path, size, mtime_ns, inode, sha256, read_at in rows
        }

    def file(self, path: Path) -> Fingerprint | None:
        """The fingerprint of ``path`` if the file is still the one that was read."""
        rows = self._read(
            "SELECT size, mtime_ns, inode, sha256, read_at FROM files WHERE path = ?", (str(path),)
        )
        for *identity, sha256, read_at in rows:
            with suppress(OSError):
                if tuple(identity) == identity_of(path):
                    return Fingerprint(sha256, read_at)
        return None

    def remember_file(self, path: Path, sha256: str, identity: Identity | None = None) -> None:
        """Call it for a file that was read in full just now.

        ``identity`` is :func:`identity_of` before it was read; whoever holds the lock that keeps
        the file as it is may leave it out.
        """
        with suppress(OSError):  # it has gone meanwhile
            values = (str(path), *(identity or identity_of(path)), sha256, utc_now())
            self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", [values])

    def forget_file(self, path: str | Path) -> None:
        self._write("DELETE FROM files WHERE path = ?", [(str(path),)])

    def objects(self) -> dict[str, tuple[str, str]]:
        """Everything known of remote objects: place → (etag, sha256)."""
        rows = self._read("SELECT url, etag, sha256 FROM objects")
        return {url: (etag, sha256) for url, etag, sha256 in rows}

    def remember_objects(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Rows of (place, etag, sha256)."""
        self._write("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", list(rows))

    def facts(self) -> dict[str, tuple[str, str]]:
        """What records said (:mod:`dsmanager.library.looks`): path → (signature, facts as JSON)."""
        rows = self._read("SELECT path, signature, facts FROM facts")
        return {path: (signature, facts) for path, signature, facts in rows}

    def remember_facts(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Rows of (path, signature, facts as JSON)."""
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", list(rows))

    def forget_facts(self, paths: Iterable[str]) -> None:
        self._write("DELETE FROM facts WHERE path = ?", [(path,) for path in paths])

    def _read(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        if not os.path.exists(self._path):
            return []
        try:
            with closing(self._connect()) as connection:
                return list(connection.execute(query, values))
        except (sqlite3.Error, UnicodeError):
            return []

    def _write(self, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.executescript(_TABLES)
                with connection:
                    connection.executemany(query, rows)
        except (sqlite3.OperationalError, OSError, UnicodeError):
            return
        except sqlite3.DatabaseError:  # it is no database any more: the next write makes a new one
            with suppress(OSError):
                self._path.unlink()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_BUSY_S)


def identity_of(file: Path | os.stat_result) -> Identity:
    """What tells whether it is still the same file."""
    status = file if isinstance(file, os.stat_result) else os.stat(file)
    return (status.st_size, status.st_mtime_ns, status.st_ino & _MAX_INTEGER)
