"""What the process of a job writes down about itself: counters as it goes, a result at its end.

Counters are worth nothing after a crash, and so nobody waits for a disk: they are replaced by a
rename, a few times a second. What cannot be written (a full disk) must never stop the work.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsmanager import files
from dsmanager.jobs.job import PROGRESS, RESULT
from dsmanager.jobs.request import now
from dsmanager.progress import Snapshot, Speed
from dsmanager.text import plain, redact

__all__ = ["Recorder", "flush", "replace_json"]

_EVERY_S = 0.25


class Recorder:
    """Writes ``progress.json`` and ``result.json`` of one job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: str | None = None
        self._last: dict[str, Any] = {}
        self._written_s = -_EVERY_S
        self._speed = Speed()

    def queued(self, phase: str) -> None:
        """It waits for its turn."""
        self._write({"state": "queued", "started": None, "phase": phase})

    def started(self) -> None:
        self._started = now()
        self._write({"state": "running", "started": self._started, "phase": "look"})

    def sample(self, label: str, snapshot: Snapshot, waiting: str = "") -> None:
        """Writes the counters down, unless that was done a moment ago.

        ``waiting`` says for whom it waits, shown while no phase has begun.
        """
        bytes_per_s, eta_s = self._speed.of(snapshot)
        self._last = {
            "state": "running",
            "started": self._started,
            "phase": snapshot.phase or plain(redact(waiting)) or "look",
            "label": plain(redact(label)),
            "bytes_done": snapshot.bytes_done,
            "bytes_total": snapshot.bytes_total,
            "items_done": snapshot.items_done,
            "items_total": snapshot.items_total,
            "item_unit": snapshot.item_unit,
            "bytes_per_s": round(bytes_per_s, 1),
            "eta_s": round(eta_s, 1) if eta_s is not None else None,
        }
        if time.monotonic() >= self._written_s + _EVERY_S:
            self._write(self._last)

    def finish(self, exit_code: int, envelope: Mapping[str, Any], *, cancelled: bool) -> None:
        """The last word; the job has ended for everybody who looks."""
        if self._last:
            self._write(self._last)
        errors = envelope.get("errors") or [None]
        state = "cancelled" if cancelled else "failed" if exit_code else "done"
        result = {
            "state": state,
            "exit_code": exit_code,
            "finished": now(),
            "error": _redacted(errors[0]),
            "envelope": _redacted(envelope),
        }
        place = self._folder / RESULT
        try:
            replace_json(place, result)
        except OSError:  # a full disk has more often room for a little than for much
            replace_json(place, result | {"envelope": None})
        flush(place)  # others have seen it by now: a busy disk keeps nobody waiting

    def _write(self, table: Mapping[str, Any]) -> None:
        self._written_s = time.monotonic()
        with suppress(OSError):
            replace_json(self._folder / PROGRESS, table)


def replace_json(path: Path, value: Any) -> None:
    """Replaces a file that only this process writes, by a rename, and waits for no disk.

    Raises OSError; then the old one is as it was.
    """
    content = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    temporary = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with open(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def flush(path: Path) -> None:
    """Puts a file and its name on disk, as far as the disk can."""
    with suppress(OSError):
        files.flush_file(path)
        files.fsync_folder(path.parent)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value
