"""Sync as one call: plan, and carry the plan out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.errors import UsageError
from dsmanager.progress import CancelToken
from dsmanager.syncing.apply import SyncResult, SyncRow, apply, stale
from dsmanager.syncing.board import Board
from dsmanager.syncing.document import read_plan
from dsmanager.syncing.facts import look
from dsmanager.syncing.plan import Line, Options, Plan, plan_all

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.syncing.document import PlanFile

__all__ = ["apply_file", "apply_plan_file", "make_plan", "sync"]


def make_plan(
    library: LibraryPlaces,
    requests: Sequence[str] = (),
    options: Options | None = None,
    *,
    cancel: CancelToken | None = None,
) -> Plan:
    """What a sync of ``requests`` (none: of everything) would do; changes nothing.

    Raises the remote's error when it cannot be listed, NotFoundError for a request that means
    nothing, UsageError for ``delete`` with a manifest that records nothing.
    """
    asked = options or Options()
    if asked.delete and not library.manifest.entries:
        raise UsageError(
            f"{library.settings.manifest_path} records nothing, and --delete would remove all",
            hint="name another manifest with --manifest, or remove refs one by one: dsmanager rm",
        )
    facts = look(
        library,
        requests,
        push=asked.push,
        verify=asked.verify,
        cancel=cancel or CancelToken(),
    )
    return plan_all(facts, asked)


def sync(
    library: LibraryPlaces,
    requests: Sequence[str] = (),
    options: Options | None = None,
    *,
    jobs: int = 4,
    board: Board | None = None,
    cancel: CancelToken | None = None,
) -> SyncResult:
    """Plans and carries out; raises as :func:`make_plan`. Errors of refs are in the result."""
    token = cancel or CancelToken()
    plan = make_plan(library, requests, options, cancel=token)
    return apply(library, plan, jobs=jobs, board=board, cancel=token)


def apply_file(
    library: LibraryPlaces,
    path: Path,
    *,
    jobs: int = 4,
    board: Board | None = None,
    cancel: CancelToken | None = None,
) -> SyncResult:
    """Carries out exactly the plan in ``path``.

    A ref that is not as it was planned gets an error and is left alone; one whose steps an earlier
    try has done is unchanged. Raises UsageError for a file that is no plan, or of other places.
    """
    return apply_plan_file(library, read_plan(path), jobs=jobs, board=board, cancel=cancel)


def apply_plan_file(
    library: LibraryPlaces,
    file: PlanFile,
    *,
    jobs: int = 4,
    board: Board | None = None,
    cancel: CancelToken | None = None,
) -> SyncResult:
    """As :func:`apply_file`, of a plan file that was read already."""
    token = cancel or CancelToken()
    file.require_places(library)
    options = file.options
    facts = look(library, (), push=options.push, verify=options.verify, cancel=token)
    plan, broken, done = file.match(facts)
    rows = list(apply(library, plan, jobs=jobs, board=board, cancel=token).rows)
    for ref in (*broken, *done):
        for index, (action, size_bytes) in enumerate(file.steps[ref]):
            if ref in done:
                line = Line(action, ref, "done before", size_bytes)
                rows.append(SyncRow(line, "unchanged"))
            else:
                line = Line(action, ref, f"changed since: {broken[ref]}", size_bytes, "*")
                error = stale(ref, broken[ref]) if index == 0 else None
                rows.append(SyncRow(line, "failed" if error else "skipped", error))
    return SyncResult(tuple(sorted(rows, key=lambda row: row.line.ref.sort_key)))
