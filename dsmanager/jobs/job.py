"""One job, as the files of its folder tell it.

    job.json       what was asked, frozen (:mod:`dsmanager.jobs.request`)
    progress.json  counters, replaced a few times a second by the job's process
    result.json    exit code and JSON envelope, written once, at the end
    log.txt        what the verb said
    pid            locked as long as the process lives (:mod:`dsmanager.jobs.liveness`)
    cancel         there once somebody asked to cancel

Whatever stands in these files, reading them yields a Job: what makes no sense counts as absent.
This module only reads.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmanager.files import read_at_most
from dsmanager.jobs.request import JobRequest, is_time
from dsmanager.text import plain, redact

__all__ = ["ACTIVE", "CANCEL", "LOG", "PROGRESS", "RESULT", "STATES", "Job", "job_of", "read_table"]

STATES = ("queued", "running", "cancelling", "cancelled", "failed", "done", "lost")
ACTIVE = ("queued", "running", "cancelling")

CANCEL, LOG, PROGRESS, RESULT = "cancel", "log.txt", "progress.json", "result.json"

_MOST_BYTES = 256 << 20
_MOST_LETTERS = 500
_MOST = 2**63
_CODE = re.compile(r"[a-z-]{1,40}")


@dataclass(frozen=True, slots=True)
class Job:
    """A look at one job. Counters are those of the phase that runs, or of the last one."""

    id: int
    kind: str
    """The verb: build, package, …; ``?`` when nobody can read what was asked."""
    slot: str
    """What it takes a turn for: build, disk or transfer."""
    ref: str
    """Refs as asked, joined by spaces; "all" for everything."""
    state: str
    created: str | None
    started: str | None
    finished: str | None
    phase: str
    label: str
    """What it works on now: one ref of several."""
    bytes_done: int
    bytes_total: int | None
    items_done: int
    items_total: int | None
    item_unit: str
    bytes_per_s: float
    eta_s: float | None
    exit_code: int | None
    error: Mapping[str, str | None] | None
    """``code``, ``message`` and ``hint`` of the first error."""
    arguments: tuple[str, ...]
    folder: Path
    pid: int | None

    @property
    def is_active(self) -> bool:
        """Whether its process lives and has not finished: queued, running or cancelling."""
        return self.state in ACTIVE

    @property
    def log(self) -> Path:
        return self.folder / LOG

    def to_json(self) -> dict[str, Any]:
        """The row of ``jobs --json``."""
        return {
            "id": self.id,
            "kind": self.kind,
            "ref": self.ref,
            "state": self.state,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "phase": self.phase,
            "label": self.label,
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "items_done": self.items_done,
            "items_total": self.items_total,
            "item_unit": self.item_unit,
            "bytes_per_s": self.bytes_per_s,
            "eta_s": self.eta_s,
            "exit_code": self.exit_code,
            "error": dict(self.error) if self.error else None,
            "slot": self.slot,
            "arguments": list(self.arguments),
            "pid": self.pid,
            "log": str(self.log),
        }


def job_of(
    folder: Path,
    job_id: int,
    request: JobRequest | None,
    *,
    is_alive: bool,
    is_cancelled: bool,
    pid: int | None,
) -> Job:
    """Puts together what the files say. ``is_alive`` must have been looked at before."""
    result = read_table(folder / RESULT)
    seen = read_table(folder / PROGRESS) or {}
    state = _state(result, seen, is_alive=is_alive, is_cancelled=is_cancelled)
    is_active = state in ACTIVE
    ended = result or {}
    return Job(
        id=job_id,
        kind=request.verb if request else "?",
        slot=request.slot if request else "disk",
        ref=request.ref if request else "",
        state=state,
        created=request.created if request else None,
        started=_time(seen.get("started")),
        finished=_time(ended.get("finished")),
        phase=_text(seen.get("phase")),
        label=_text(seen.get("label")),
        bytes_done=_count(seen.get("bytes_done")) or 0,
        bytes_total=_count(seen.get("bytes_total")),
        items_done=_count(seen.get("items_done")) or 0,
        items_total=_count(seen.get("items_total")),
        item_unit=_text(seen.get("item_unit")),
        bytes_per_s=(_number(seen.get("bytes_per_s")) or 0.0) if is_active else 0.0,
        eta_s=_number(seen.get("eta_s")) if is_active else None,
        exit_code=_exit_code(ended.get("exit_code")),
        error=_error(ended.get("error")),
        arguments=request.arguments if request else (),
        folder=folder,
        pid=pid if is_active else None,
    )


def read_table(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None for anything else. Raises nothing."""
    try:
        content = read_at_most(path, _MOST_BYTES)
        value = json.loads(content) if len(content) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None


def _state(
    result: dict[str, Any] | None, seen: dict[str, Any], *, is_alive: bool, is_cancelled: bool
) -> str:
    if result is not None:
        state = result.get("state")
        return state if state in ("done", "failed", "cancelled") else "failed"
    if not is_alive:
        return "cancelled" if is_cancelled else "lost"
    if is_cancelled:
        return "cancelling"
    return "running" if seen.get("state") == "running" else "queued"


def _text(value: Any) -> str:
    return plain(redact(value[:_MOST_LETTERS])) if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value < _MOST else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
        return None  # NaN fails every comparison
    return float(value) if math.isfinite(value) else None


def _time(value: Any) -> str | None:
    return value if is_time(value) else None


def _exit_code(value: Any) -> int | None:
    code = _count(value)
    return code if code is not None and code < 256 else None


def _error(value: Any) -> dict[str, str | None] | None:
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return None
    code, hint = value.get("code"), value.get("hint")
    return {
        "code": code if isinstance(code, str) and _CODE.fullmatch(code) else "failed",
        "message": plain(redact(value["message"][:2000])),
        "hint": plain(redact(hint[:2000])) if isinstance(hint, str) else None,
    }
