"""What was known when somebody looked last: read for the first paint, replaced after each look.

One file in the state dir for each data dir, manifest and remote. It is a cache: whatever is wrong
with it, it is as if there were none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmanager.errors import DsmanagerError
from dsmanager.files import read_at_most, write_bytes
from dsmanager.settings import Settings

__all__ = ["Snapshot", "read_snapshot", "snapshot_path", "write_snapshot"]

SCHEMA = 1
_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Snapshot:
    """Rows as :func:`dsmanager.screens.rows.encoded` makes them, sorted by ref."""

    rows: Sequence[Sequence[Any]] = ()
    local_at: float | None = None
    remote_at: float | None = None
    """When the remote was listed, in seconds of the epoch; None if it never was."""


def snapshot_path(settings: Settings) -> Path:
    """The file for these places."""
    try:
        remote = settings.current_remote()
    except DsmanagerError:
        remote = None
    where = [
        str(settings.data_dir),
        str(settings.manifest_path),
        remote.url if remote else "",
        (remote.endpoint_url or "") if remote else "",
    ]
    key = hashlib.sha256(json.dumps(where).encode()).hexdigest()[:16]
    return settings.state_dir / "screens" / f"{key}.json"


def read_snapshot(path: Path) -> Snapshot:
    """The snapshot at ``path``; an empty one where there is none that can be read."""
    try:
        content = read_at_most(path, _MAX_BYTES)
        value = json.loads(content)
        if value["schema"] != SCHEMA or not all(_is_row(row) for row in value["rows"]):
            return Snapshot()
        return Snapshot(value["rows"], value["local_at"], value["remote_at"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return Snapshot()


def _is_row(row: Any) -> bool:
    return (
        len(row) == 11
        and type(row[0]) is str
        and type(row[4]) is str
        and len(row[4]) == 4
        and all(part is None or type(part) is list for part in row[5:9])
    )


def write_snapshot(path: Path, snapshot: Snapshot) -> bool:
    """Replaces the snapshot; False where the state dir cannot be written."""
    value = {
        "schema": SCHEMA,
        "local_at": snapshot.local_at,
        "remote_at": snapshot.remote_at,
        "rows": snapshot.rows,
    }
    try:
        write_bytes(path, json.dumps(value, separators=(",", ":")).encode())
    except DsmanagerError:
        return False
    return True
