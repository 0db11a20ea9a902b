"""The working folder of a conversion: plan and finished parts; one conversion into DEST at a time.

It is hidden, and lies beside DEST, or in it where DEST is a file system of its own or its parent
may not be written. A killed run leaves it, and the next one with the same fingerprint goes on from
it: a part counts as finished when the journal says so and every CRC in it is right. How all parts
become DEST is ``publishing.py``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from dsmanager.errors import AlreadyExistsError, DsmanagerError, VerificationError, os_errors
from dsmanager.files import is_temporary_name, make_folders, remove_leftovers, remove_path
from dsmanager.ingest.imagenet.layouts import SHARDS, Layout
from dsmanager.ingest.imagenet.plan import Plan
from dsmanager.ingest.imagenet.shards import Made, part_path
from dsmanager.locks import locked
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import scan

__all__ = ["Shard", "Work"]

_JOURNAL = "journal"

Shard: TypeAlias = tuple[str, int]
"""A split and the number of a shard."""


class Work:
    """The place of one request: a layout and one or both splits into one DEST."""

    def __init__(self, dest: Path, layout: Layout, splits: Sequence[str]) -> None:
        self.dest = dest
        self.layout = layout
        self.splits = tuple(splits)
        self._home, self._stem = _home(dest)
        self.folder = self._home / self._name(self.splits)
        self.tree = self.folder / "tree"

    @contextmanager
    def locked(self, progress: Progress, cancel: CancelToken) -> Iterator[None]:
        """One conversion into DEST at a time. Removes what killed ones left half removed."""
        lock = self._home / f".{self._stem}.lock"
        purpose = f"convert into {self.dest}"
        with (
            os_errors(f"write {self.dest.name}"),
            locked(lock, purpose=purpose, progress=progress, cancel=cancel),
        ):
            remove_leftovers(self.dest)
            for split in self.splits:
                if self.dest.is_dir() and self.layout.has_folders:
                    remove_leftovers(self.dest / split)
            yield

    def begin(self) -> None:
        """An empty folder, whatever was there."""
        remove_path(self.folder)
        make_folders(self.folder)

    def plan(self, fingerprint: str) -> Plan | None:
        """The plan of an earlier run of the very same request."""
        plan = Plan.load(self.folder)
        return plan if plan is not None and plan.fingerprint == fingerprint else None

    def require_free_names(self) -> None:
        """Raises AlreadyExistsError when DEST has a shard of these splits, or is a file."""
        taken = next(self._taken(), None)
        if taken is not None:
            raise AlreadyExistsError(
                f"{taken} is there already",
                hint="name another folder, or replace what is there: dsmanager convert … "
                "--overwrite",
            )

    def _taken(self) -> Iterator[Path]:
        if self.dest.exists() and not self.dest.is_dir():
            yield self.dest
            return
        for split in self.splits:
            if self.layout.has_folders:
                if os.path.lexists(self.dest / split):
                    yield self.dest / split
            else:
                yield from sorted(self.dest.glob(f"{split}-*-of-{SHARDS[split]:05}"))

    # --- parts ---

    def finished(
        self, progress: Progress, cancel: CancelToken, *, skip_bad: bool, in_dest: bool
    ) -> dict[Shard, Made]:
        """The parts of an earlier run, read again in full; the others are made afresh.

        Those that left something out are, too, unless ``skip_bad``. With ``in_dest`` some have
        been moved into DEST.
        """
        kept: dict[Shard, Made] = {}
        for shard, made in self.journal().items():
            name = self.layout.shard(*shard)
            places = [part_path(self.folder, *shard), self.tree / name]
            if in_dest:
                places.append(self.dest / name)
            is_wanted = skip_bad or not made.skipped
            if is_wanted and any(_is_whole(path, made, cancel) for path in places):
                kept[shard] = made
                progress.add_items(made.images)
                progress.add_found_bytes(made.source_bytes)
        return kept

    @contextmanager
    def recording(self) -> Iterator[Callable[[Shard, Made], None]]:
        """Gives a function that notes a finished part.

        What a power cut or a full disk leaves of a note or of a part is found out by the next run.
        """
        with open(self.folder / _JOURNAL, "ab", buffering=0) as journal:

            def record(shard: Shard, made: Made) -> None:
                line = json.dumps([*shard, asdict(made)]).encode()
                line = b"\n" + line + b"\n"  # what is before may have been cut off
                if journal.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            yield record

    def journal(self) -> dict[Shard, Made]:
        """What came of each part that is finished."""
        with suppress(FileNotFoundError):
            lines = (self.folder / _JOURNAL).read_bytes().splitlines()
            return dict(found for line in lines if (found := _entry(line)) is not None)
        return {}

    def remove_unfinished(self) -> None:
        """Removes parts that were being written when an earlier run was killed."""
        for name in os.listdir(self.folder):
            if is_temporary_name(name):
                remove_path(self.folder / name)

    def remove_if_useless(self) -> None:
        """After a failure: keeps the folder for the next run where a part is finished."""
        with suppress(OSError, DsmanagerError):
            if not self.journal():
                remove_path(self.folder)

    def remove(self) -> None:
        """After success: this folder, and those of other requests that are now without a purpose.

        The other half of the same layout stays, if one was begun.
        """
        remove_path(self.folder)
        other = tuple(split for split in SHARDS if split not in self.splits)
        keep = self._name(other) if other else None
        start = f".{self._stem}.imagenet."
        for name in os.listdir(self._home):
            if name.startswith(start) and is_temporary_name(name) and name != keep:
                remove_path(self._home / name)

    def _name(self, splits: Sequence[str]) -> str:
        token = hashlib.sha256(" ".join((self.layout.name, *splits)).encode()).hexdigest()[:8]
        return f".{self._stem}.imagenet.{token}.tmp"


def _home(dest: Path) -> tuple[Path, str]:
    """The folder for working folder and lock, and how their names start."""
    parent = dest.parent
    if dest.is_dir():
        apart = os.stat(dest).st_dev != os.stat(parent).st_dev
        if apart or not os.access(parent, os.W_OK):
            return dest, "convert"
    return parent, dest.name


def _entry(line: bytes) -> tuple[Shard, Made] | None:
    """A line of the journal; None for one that was cut off."""
    try:
        split, shard, made = json.loads(line)
        return (split, shard), Made(**made)
    except (ValueError, TypeError):
        return None


def _is_whole(path: Path, made: Made, cancel: CancelToken) -> bool:
    cancel.check()
    try:
        return path.stat().st_size == made.size_bytes and scan(path, cancel=cancel) == made.images
    except (OSError, VerificationError):
        return False
