"""Asks what to sync, shows the plan, and has exactly that plan carried out.

The plan is made in a background thread, and made again when an option changes. What is confirmed is
written to a plan file, and the job applies that file: what was shown is what is done.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from textual import on
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Select, Static

from dsmanager.cli.output import size_text
from dsmanager.errors import DsmanagerError
from dsmanager.progress import CancelToken
from dsmanager.screens.background import Background
from dsmanager.screens.dialogs.base import Choice, Dialog, text
from dsmanager.screens.dialogs.fields import Tick, complaint, said, set_text
from dsmanager.screens.previews.lines import Line, Piece, Role, line, shortened
from dsmanager.screens.previews.lines_view import LinesView
from dsmanager.screens.requests import JobRequest
from dsmanager.settings import Settings

if TYPE_CHECKING:
    from dsmanager.syncing.plan import Line as PlanLine
    from dsmanager.syncing.plan import Plan

__all__ = ["SyncDialog"]

_MOST_LINES = 2000
_KEPT_PLANS = 50
_ROLES: dict[str, Role] = {"delete": "bad", "conflict": "bad", "keep": "muted"}
_OPTIONS = {
    "push": "push: upload what is cached and recorded, instead of fetching",
    "verify": "verify: read everything in full again",
    "no-extract": "no-extract: only fill the cache",
    "delete": "delete: remove what the manifest does not record",
}


class SyncDialog(Dialog[JobRequest]):
    """Returns the sync of a plan file as a job. Without ``refs`` it is about everything."""

    AUTO_FOCUS = ""  # Start has the focus as soon as there is a plan to start
    DEFAULT_CSS = """
    SyncDialog > #dialog { width: 110; height: 96%; }
    SyncDialog #dialog-body { height: 1fr; max-height: 100%; }
    SyncDialog #plan { height: 1fr; min-height: 4; border-top: solid $panel; padding: 0; }
    SyncDialog Select { width: 40; }
    """

    class Planned(Message):
        """The plan was made."""

        def __init__(self, outcome: Plan | DsmanagerError) -> None:
            super().__init__()
            self.outcome = outcome

    class Written(Message):
        """The plan file is there."""

        def __init__(self, outcome: Path | DsmanagerError) -> None:
            super().__init__()
            self.outcome = outcome

    def __init__(self, settings: Settings, refs: Sequence[object] = ()) -> None:
        self._settings = settings
        self._refs = tuple(map(str, refs))
        whom = self._refs[0] if len(self._refs) == 1 else f"{len(self._refs) or 'all'} datasets"
        super().__init__(f"Sync {whom}", [Choice("start", "Start", "primary")])
        self._plan: Plan | None = None
        self._planning: Background[Plan] = Background(
            "plan", lambda outcome: self.post_message(self.Planned(outcome))
        )
        self._writing: Background[Path] = Background(
            "plan file", lambda outcome: self.post_message(self.Written(outcome))
        )

    def body(self) -> Iterable[Widget]:
        for name, words in _OPTIONS.items():
            yield Tick(words, name)
        choices = [(Content(f"{place} wins a conflict"), place) for place in _PREFERENCES]
        yield Select[str](choices, prompt="conflicts stay as they are", id="prefer", compact=True)
        yield text("", widget_id="summary")
        yield complaint()
        yield LinesView(widget_id="plan")

    def on_mount(self) -> None:
        self._replan()

    def on_unmount(self) -> None:
        self._planning.cancel()

    def chosen(self, choice_id: str) -> None:
        if self._plan is None or self.query_one("#start", Button).disabled:
            return
        self.query_one("#start", Button).disabled = True
        self._writing.ask(partial(_write, self._settings, self._plan))

    @on(Checkbox.Changed)
    @on(Select.Changed)
    def _replan(self) -> None:
        self._plan = None
        self.query_one("#start", Button).disabled = True
        set_text(self.query_one("#complaint", Static), "")
        set_text(self.query_one("#summary", Static), "planning …")
        self.query_one("#plan", LinesView).show([])
        ticked = {box.id for box in self.query(Checkbox) if box.value}
        prefer = self.query_one("#prefer", Select).selection
        flags = [name in ticked for name in ("push", "verify", "delete")]
        asked = (*flags, "no-extract" not in ticked, prefer)
        self._planning.ask(partial(_make, self._settings, self._refs, asked))

    @on(Planned)
    def _show_plan(self, message: Planned) -> None:
        message.stop()
        outcome = message.outcome
        if isinstance(outcome, DsmanagerError):
            set_text(self.query_one("#summary", Static), "")
            set_text(self.query_one("#complaint", Static), said(outcome))
            return
        self._plan = outcome
        steps = [each for each in outcome.all_lines if each.action not in _NO_STEPS]
        self.query_one("#plan", LinesView).draw(
            lambda room: _shown(outcome.all_lines, room.width), keep_scroll=False
        )
        set_text(self.query_one("#summary", Static), _summary(outcome))
        start = self.query_one("#start", Button)
        start.disabled = not steps
        doomed = len(outcome.deletes)
        start.label = Content(f"Delete {doomed} and start" if doomed else "Start")
        start.variant = "error" if doomed else "primary"
        if self.focused is None and steps:
            start.focus()

    @on(Written)
    def _on_written(self, message: Written) -> None:
        message.stop()
        if isinstance(message.outcome, DsmanagerError):
            self.query_one("#start", Button).disabled = False
            set_text(self.query_one("#complaint", Static), said(message.outcome))
        else:
            self.dismiss(JobRequest("sync", ("--apply", str(message.outcome), "--yes")))


_PREFERENCES = ("manifest", "local", "remote")
_NO_STEPS = ("keep", "conflict")


def _make(
    settings: Settings,
    refs: Sequence[str],
    asked: tuple[bool | str | None, ...],
    cancel: CancelToken,
) -> Plan:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.syncing.plan import Options
    from dsmanager.syncing.sync import make_plan

    push, verify, delete, extract, prefer = asked
    wins = prefer if isinstance(prefer, str) else None
    options = Options(bool(push), bool(verify), bool(delete), bool(extract), wins)
    return make_plan(LibraryPlaces(settings=settings), refs, options, cancel=cancel)


def _write(settings: Settings, plan: Plan, _cancel: CancelToken) -> Path:
    """Writes the plan below the state dir; the newest few stay, for jobs that are tried again."""
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.syncing.document import write_plan

    folder = settings.state_dir / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("sync-*.json"))[: -_KEPT_PLANS + 1]:
        with suppress(OSError):
            old.unlink()
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = folder / f"sync-{moment}-{secrets.token_hex(3)}.json"
    write_plan(LibraryPlaces(settings=settings), plan, path)
    return path


def _shown(lines: Sequence[PlanLine], width: int) -> list[Line]:
    """Steps first, then what is kept; the mark, what is done, to which ref, bytes, and why."""
    ordered = sorted(lines, key=lambda each: each.action == "keep")
    ref_width = min(max((cell_len(str(each.ref)) for each in lines), default=0), width // 3)
    shown = [_line(each, ref_width, width) for each in ordered[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(line(f"… and {len(lines) - _MOST_LINES:,} more", "muted"))
    return shown


def _line(each: PlanLine, ref_width: int, width: int) -> Line:
    role = _ROLES.get(str(each.action), "text")
    ref = set_cell_size(shortened(str(each.ref), ref_width), ref_width)
    size = size_text(each.size_bytes) if each.size_bytes else ""
    head = f"{each.mark} {each.action!s:<9}{ref} {size:>9}  "
    return (
        Piece(head, role),
        Piece(shortened(each.reason, max(4, width - cell_len(head))), "muted"),
    )


def _summary(plan: Plan) -> str:
    moved: dict[str, tuple[int, int]] = {}
    for each in plan.all_lines:
        count, size_bytes = moved.get(str(each.action), (0, 0))
        moved[str(each.action)] = (count + 1, size_bytes + each.size_bytes)
    parts = [
        f"{action} {count:,}" + (f" ({size_text(size_bytes)})" if size_bytes else "")
        for action, (count, size_bytes) in moved.items()
    ]
    return "plan: " + (", ".join(parts) or "nothing to do")
