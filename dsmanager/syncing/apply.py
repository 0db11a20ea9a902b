"""Carrying a plan out: several refs at once, the steps of each in order, each step a verb.

A ref that fails stops alone; the others go on. Everything can be interrupted: what a verb had not
finished is not visible, and the next sync plans what is left.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.archives.sidecar import sidecar_path
from dsmanager.errors import (
    AlreadyExistsError,
    CancelledError,
    DsmanagerError,
    VerificationError,
    from_os_error,
)
from dsmanager.library.extraction import extract
from dsmanager.library.recording import entry_of_sidecar, record, write_entry
from dsmanager.library.removal import Removal, remove
from dsmanager.library.transfer import download, upload
from dsmanager.manifest import Entry
from dsmanager.progress import CancelToken, Progress
from dsmanager.syncing.board import Board
from dsmanager.syncing.examine import examine
from dsmanager.syncing.facts import Facts, Health
from dsmanager.syncing.plan import Action, Line, Options, Plan, plan_ref
from dsmanager.syncing.unfinished import Unfinished

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.refs import Ref

__all__ = ["MOST_JOBS", "OUTCOMES", "SyncResult", "SyncRow", "apply", "stale"]

MOST_JOBS = 64
OUTCOMES = (
    "kept",
    "verified",
    "damaged",
    "differs",
    "downloaded",
    "extracted",
    "uploaded",
    "deleted",
    "unchanged",
    "conflict",
    "failed",
    "skipped",
    "cancelled",
)


@dataclass(frozen=True, slots=True)
class SyncRow:
    """A plan line and what became of it, one of :data:`OUTCOMES`; None before it is applied."""

    line: Line
    outcome: str | None = None
    error: DsmanagerError | None = None

    def to_json(self) -> dict[str, Any]:
        row = self.line.to_json()
        return row if self.outcome is None else {**row, "outcome": self.outcome}


@dataclass(frozen=True, slots=True)
class SyncResult:
    """Every line with its outcome, sorted by ref. ``errors`` holds one error a ref that failed."""

    rows: tuple[SyncRow, ...]

    @property
    def errors(self) -> tuple[DsmanagerError, ...]:
        return tuple(row.error for row in self.rows if row.error is not None)

    @property
    def refs(self) -> tuple[Ref, ...]:
        return tuple(dict.fromkeys(row.line.ref for row in self.rows))

    @property
    def conflicts(self) -> tuple[Ref, ...]:
        return tuple(row.line.ref for row in self.rows if row.outcome == "conflict")


def apply(
    library: LibraryPlaces,
    plan: Plan,
    *,
    jobs: int = 4,
    board: Board | None = None,
    cancel: CancelToken,
) -> SyncResult:
    """Carries ``plan`` out, ``jobs`` refs at a time; raises nothing of a single ref."""
    board = board or Board()
    runs = [
        _RefRun(library, facts, plan.options, lines, cancel)
        for facts, lines in zip(plan.facts, plan.lines, strict=True)
    ]
    board.expect(sum(run.has_work for run in runs))
    with ThreadPoolExecutor(max(1, min(jobs, MOST_JOBS)), thread_name_prefix="sync") as pool:
        rows = list(pool.map(lambda run: run.rows(board), runs))
    return SyncResult(tuple(row for each in rows for row in each))


class _RefRun:
    """The steps of one ref."""

    def __init__(
        self,
        library: LibraryPlaces,
        facts: Facts,
        options: Options,
        lines: tuple[Line, ...],
        cancel: CancelToken,
    ) -> None:
        self._library = library
        self._facts = facts
        self._ref = facts.ref
        self._options = options
        self._lines = lines
        self._cancel = cancel
        self._unfinished = Unfinished(library.settings.state_dir, library.data_dir)
        self._downloaded_sha256: str | None = None

    @property
    def has_work(self) -> bool:
        return any(line.action is not Action.KEEP for line in self._lines)

    def rows(self, board: Board) -> list[SyncRow]:
        if not self.has_work:
            return [SyncRow(line, "kept") for line in self._lines]
        with board.running(str(self._ref)) as progress:
            return self._steps(progress)

    def _steps(self, progress: Progress) -> list[SyncRow]:
        rows: list[SyncRow] = []
        todo = deque(self._lines)
        while todo:
            line = todo.popleft()
            try:
                self._cancel.check()
                outcome, follow = self._step(line, todo, progress)
            except CancelledError:
                return [*rows, *(SyncRow(each, "cancelled") for each in (line, *todo))]
            except Exception as error:
                ours = _as_ours(error, self._ref)
                failed = "conflict" if line.action is Action.CONFLICT else "failed"
                return [
                    *rows,
                    SyncRow(line, failed, ours),
                    *(SyncRow(each, "skipped") for each in todo),
                ]
            rows.append(SyncRow(line, outcome))
            if follow is not None:
                todo = deque(each for each in follow if each.action is not Action.KEEP)
        return rows

    def _step(
        self, line: Line, todo: deque[Line], progress: Progress
    ) -> tuple[str, tuple[Line, ...] | None]:
        """Carries out one line; returns its outcome, and new lines where it found out more."""
        if line.action is Action.VERIFY:
            return self._verify(line, progress)
        match line.action:
            case Action.KEEP:
                return "kept", None
            case Action.CONFLICT:
                raise _conflict(line)
            case Action.DOWNLOAD:
                return self._download(line, todo, progress), None
            case Action.EXTRACT:
                return self._extract(line, progress), None
            case Action.UPLOAD:
                return self._upload(line, progress), None
            case Action.DELETE:
                return self._delete(line, progress), None

    def _verify(self, line: Line, progress: Progress) -> tuple[str, tuple[Line, ...]]:
        if self._facts.examined:
            raise VerificationError(
                f"{self._ref} is {line.reason}",
                hint=f"build it again, or take it away: dsmanager rm {self._ref} --from cached",
                ref=str(self._ref),
            )
        self._facts = examine(self._library, self._facts, progress=progress, cancel=self._cancel)
        follow = plan_ref(self._facts, self._options)
        if Health.DAMAGED in (self._facts.cached, self._facts.built):
            return "damaged", follow
        differs = any(each.action is Action.CONFLICT for each in follow)
        return ("differs" if differs else "verified"), follow

    def _download(self, line: Line, todo: deque[Line], progress: Progress) -> str:
        if any(each.action is Action.EXTRACT for each in todo):
            self._unfinished.add(self._ref)
        if line.record_first == "remote":
            self._record_remote(progress)
        done = download(
            self._library,
            self._ref,
            overwrite=line.overwrite,
            progress=progress,
            cancel=self._cancel,
        )
        self._downloaded_sha256 = done.sha256
        return "unchanged" if done.was_there else "downloaded"

    def _extract(self, line: Line, progress: Progress) -> str:
        try:
            extract(
                self._library,
                self._ref,
                overwrite=line.overwrite,
                downloaded_sha256=self._downloaded_sha256,
                progress=progress,
                cancel=self._cancel,
            )
        except AlreadyExistsError:
            if not self._is_built():  # and if it is, another sync was quicker
                raise
            self._unfinished.discard(self._ref)
            return "unchanged"
        self._unfinished.discard(self._ref)
        return "extracted"

    def _is_built(self) -> bool:
        rows = {row.ref: row for row in self._library.survey(local_only=True).rows}
        row = rows.get(self._ref)
        return bool(row and row.built and not row.built.problem)

    def _upload(self, line: Line, progress: Progress) -> str:
        if line.record_first == "local":
            record(self._library, self._ref, progress=progress, cancel=self._cancel)
        done = upload(
            self._library,
            self._ref,
            overwrite=line.overwrite,
            progress=progress,
            cancel=self._cancel,
        )
        return "unchanged" if done.was_there else "uploaded"

    def _delete(self, line: Line, progress: Progress) -> str:
        row, place = self._facts.row, str(line.place)
        entries = self._library.manifest.entries.values()
        covered = {subdir for entry in entries for subdir in entry.subdir}
        if any(entry.ref == self._ref for entry in entries) or (
            place == "built" and str(self._ref.subdir) in covered
        ):
            raise stale(self._ref, "the manifest records it now")
        if place == "remote" and row.remote:
            target = row.remote.url
        elif place == "cached" and row.cached:
            target = str(row.cached.path)
        else:
            target = str(self._library.version_folder(self._ref))
        if place != "remote" and not Path(target).exists():
            return "unchanged"
        removal = Removal(self._ref, place, target, line.size_bytes)
        remove(self._library, removal, progress=progress, cancel=self._cancel)
        return "deleted"

    def _record_remote(self, progress: Progress) -> None:
        """Lets the manifest say what the remote has: everything must agree with it from now on."""
        there, recorded, listing = self._facts.row.remote, self._facts.recorded, self._facts.listing
        if there is None or recorded is None or listing is None:
            return
        sidecar = listing.sidecar_of(there.name)
        head = listing.remote.head(there.name)
        if sidecar is not None and head is not None and sidecar.size == head.size:
            entry = entry_of_sidecar(self._library, sidecar)._replace(remote=recorded.remote)
        elif head is not None and head.sha256 is not None:
            entry = Entry(
                self._ref, there.name, head.size, head.sha256, recorded.subdir, recorded.remote
            )
        else:
            raise VerificationError(
                f"nothing says what {there.url} must be, and so it cannot be preferred",
                hint=f"prefer another: dsmanager sync {self._ref} --prefer manifest",
                ref=str(self._ref),
            )
        if entry.ref != self._ref:
            raise VerificationError(
                f"{sidecar_path(Path(there.name)).name} is of {entry.ref}", ref=str(self._ref)
            )
        write_entry(self._library, entry, progress, self._cancel)


def stale(ref: Ref, why: str) -> DsmanagerError:
    """Of a line whose ground has changed since it was planned."""
    return DsmanagerError(
        f"{ref} changed since the plan was made: {why}; nothing was touched",
        hint=f"make a new plan: dsmanager sync {ref}",
        ref=str(ref),
    )


def _conflict(line: Line) -> VerificationError:
    return VerificationError(
        f"{line.ref}: {line.reason}; nothing was touched",
        hint=f"say which one is right: dsmanager sync {line.ref} --prefer manifest|local|remote",
        ref=str(line.ref),
    )


def _as_ours(error: Exception, ref: Ref) -> DsmanagerError:
    if isinstance(error, OSError):
        ours: DsmanagerError = from_os_error(error, "finish")
    elif isinstance(error, DsmanagerError):
        ours = error
    else:
        ours = DsmanagerError(
            f"unexpected {type(error).__name__}: {error}",
            hint="see where: DSMANAGER_DEBUG=1 dsmanager …",
        )
        ours.__cause__ = error
    ours.ref = ours.ref or str(ref)
    return ours
