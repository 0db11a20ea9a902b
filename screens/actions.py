"""The one table of actions: bindings, footer, help, palette and docs all come from it.

An action on rows applies to the marked rows, else to the one under the cursor. ``why_not`` says in
words why an action cannot be done now; nothing is ever just dead. No Textual in here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dsmanager.errors import UsageError
from dsmanager.screens.rows import Row
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job

__all__ = ["ACTIONS", "AREAS", "Action", "Facts", "by_id", "footer_words", "key_words", "keys_of"]

Scope = Literal["rows", "row", "global", "view", "jobs"]
AREAS = ("Datasets", "Places", "View", "Marks", "Copy", "Jobs", "Program")


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides whether something can be done."""

    is_read_only: bool = False
    has_remote: bool = False
    has_rows: bool = False
    job: Job | None = None
    """The job under the cursor of the jobs pane."""


def _needs_nothing(row: Row, facts: Facts) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a key does.

    ``job`` names the verb of the job that it starts at once; ``fits`` says of one row why not.
    """

    id: str
    area: str
    verb: str
    key: str
    """Textual's names of keys, several parted by commas; empty: only in the palette."""
    help: str
    scope: Scope
    changes: bool = False
    needs_rows: bool = True
    needs_remote: bool = False
    footer: int = 0
    """The place in the footer's order of importance, 1 first; 0: not in the footer."""
    job: str | None = None
    arguments: tuple[str, ...] = ()
    fits: Callable[[Row, Facts], str | None] = _needs_nothing

    def why_not(self, rows: Sequence[Row], facts: Facts) -> str | None:
        """Why this cannot be done to any of ``rows`` now; None when it can."""
        if self.changes and facts.is_read_only:
            return f"{self.verb}: this was started with --read-only"
        if self.needs_remote and not facts.has_remote:
            return f"{self.verb}: no remote is configured"
        if self.scope == "jobs":
            return _why_not_job(self, facts.job)
        if self.scope not in ("rows", "row"):
            return None
        if not rows and not self.needs_rows:
            return None
        if not rows:
            return f"{self.verb}: there is no dataset here"
        reasons = [self.fits(row, facts) for row in rows]
        return None if None in reasons else f"{self.verb}: {reasons[0]}"

    def able(self, rows: Sequence[Row], facts: Facts) -> tuple[Row, ...]:
        """Those of ``rows`` that this can be done to."""
        return tuple(row for row in rows if self.fits(row, facts) is None)

    def skipped(self, rows: Sequence[Row], facts: Facts) -> str | None:
        """Why it cannot be done to the first of ``rows`` that it does not fit."""
        return next((why for row in rows if (why := self.fits(row, facts))), None)


def _why_not_job(action: Action, job: Job | None) -> str | None:
    if job is None:
        return f"{action.verb}: there is no job here"
    if action.id == "job-cancel" and not job.is_active:
        return f"{action.verb}: job {job.id} has ended"
    if action.id in ("job-retry", "job-forget") and job.is_active:
        return f"{action.verb}: job {job.id} has not ended"
    return None


def _named(row: Row) -> str:
    return plain(row.ref)


def _is_built(row: Row, facts: Facts) -> str | None:
    return None if row.size_bytes("built") is not None else f"{_named(row)} is not built here"


def _is_cached(row: Row, facts: Facts) -> str | None:
    return None if row.size_bytes("cached") is not None else f"{_named(row)} is not cached here"


def _is_here(row: Row, facts: Facts) -> str | None:
    if row.size_bytes("built") is None and row.size_bytes("cached") is None:
        return f"{_named(row)} is neither built nor cached here"
    return None


def _is_remote(row: Row, facts: Facts) -> str | None:
    return None if row.size_bytes("remote") is not None else f"{_named(row)} is not on the remote"


def _can_package(row: Row, facts: Facts) -> str | None:
    if row.size_bytes("cached") is not None and row.marker("cached") not in "!*":
        return f"{_named(row)} is cached already; P packs it again"
    return _is_built(row, facts)


def _can_extract(row: Row, facts: Facts) -> str | None:
    if row.size_bytes("built") is not None and row.marker("built") != "!":
        return f"{_named(row)} is built already; X extracts it again"
    return _is_cached(row, facts)


def _can_download(row: Row, facts: Facts) -> str | None:
    if row.size_bytes("cached") is not None and row.marker("cached") not in "!*":
        return f"{_named(row)} is cached already"
    return _is_remote(row, facts)


def _has_path(row: Row, facts: Facts) -> str | None:
    return None if row.path else f"{_named(row)} is neither built nor cached here"


def _has_url(row: Row, facts: Facts) -> str | None:
    return None if row.url else f"{_named(row)} is not on the remote"


def _has_sha256(row: Row, facts: Facts) -> str | None:
    return None if row.sha256 else f"no sha256 is known of {_named(row)}"


ACTIONS: tuple[Action, ...] = (
    Action("details", "Datasets", "Details", "enter", "Splits, features, files, examples of one",
           "row", footer=13),
    Action("build", "Datasets", "Build", "b", "Build with a builder's configs and options",
           "rows", changes=True, needs_rows=False, footer=3),
    Action("package", "Datasets", "Package", "p", "Pack what is built as an archive",
           "rows", changes=True, footer=4, job="package", fits=_can_package),
    Action("verify", "Datasets", "Verify", "v", "Read the bytes again and compare checksums",
           "rows", footer=5, job="verify", fits=_is_here),
    Action("extract", "Datasets", "Extract", "x", "Unpack the cached archive",
           "rows", changes=True, footer=6, job="extract", fits=_can_extract),
    Action("upload", "Datasets", "Upload", "u", "Send the cached archive to the remote",
           "rows", changes=True, needs_remote=True, footer=7, job="upload", fits=_is_cached),
    Action("download", "Datasets", "Download", "d", "Fetch the archive from the remote",
           "rows", changes=True, needs_remote=True, footer=8, job="download", fits=_can_download),
    Action("sync", "Datasets", "Sync", "y", "Show what sync would do, then do it",
           "rows", changes=True, needs_rows=False, footer=11),
    Action("sync-all", "Datasets", "Sync everything", "Y", "The same for all that is recorded",
           "global", changes=True),
    Action("remove", "Datasets", "Remove", "D,delete", "Remove from one of the places",
           "rows", changes=True, footer=9),
    Action("package-again", "Datasets", "Package again", "P", "Pack, replacing the archive",
           "rows", changes=True, job="package", arguments=("--overwrite",), fits=_is_built),
    Action("extract-again", "Datasets", "Extract again", "X", "Unpack, replacing what is built",
           "rows", changes=True, job="extract", arguments=("--overwrite",), fits=_is_cached),
    Action("upload-again", "Datasets", "Upload again", "U", "Send, replacing what the remote has",
           "rows", changes=True, needs_remote=True, job="upload", arguments=("--overwrite",),
           fits=_is_cached),
    Action("upload-public", "Datasets", "Upload publicly", "", "Send, readable for everybody",
           "rows", changes=True, needs_remote=True, job="upload", arguments=("--public",),
           fits=_is_cached),
    Action("download-again", "Datasets", "Download again", "", "Fetch, replacing what is cached",
           "rows", changes=True, needs_remote=True, job="download", arguments=("--overwrite",),
           fits=_is_remote),
    Action("verify-deep", "Datasets", "Verify every record", "", "Check the CRC of every record",
           "rows", job="verify", arguments=("--in", "built", "--deep"),
           fits=_is_built),
    Action("new", "Places", "New dataset", "N", "Scaffold a builder with its test",
           "global", changes=True),
    Action("remote-add", "Places", "Add a remote", "R", "Configure an S3 bucket and prefix",
           "global", changes=True),
    Action("server", "Places", "Start the embedded server", "E", "An S3 server on this machine",
           "global", changes=True),
    Action("filter", "View", "Filter", "slash", "Words, globs, predicates such as size>1g in:built",
           "view", footer=10),
    Action("clear", "View", "Clear", "escape", "Clear the filter, else the marks", "view"),
    Action("sort", "View", "Sort by the next column", "s", "By name, version, state, place, …",
           "view"),
    Action("reverse", "View", "Reverse the order", "S", "Turn the order of the sort round", "view"),
    Action("group", "View", "Group by the next column", "g", "A heading for each value", "view"),
    Action("refresh", "View", "Look again", "ctrl+r,f5", "Read all, list the remote again",
           "view"),
    Action("theme", "View", "Change the theme", "t", "Colours of the whole program", "view"),
    Action("mark", "Marks", "Mark", "space", "Mark or unmark the row and move on",
           "view", footer=12),
    Action("mark-all", "Marks", "Mark all", "a", "Mark every row that is shown", "view"),
    Action("mark-invert", "Marks", "Invert marks", "i", "Mark what is not marked", "view"),
    Action("mark-range", "Marks", "Mark range", "m", "From the last mark to the cursor", "view"),
    Action("unmark", "Marks", "Unmark all", "A", "Take every mark away", "view"),
    Action("copy-path", "Copy", "Copy path", "c", "The folder, else the archive", "row",
           fits=_has_path),
    Action("copy-url", "Copy", "Copy URL", "l", "Where it is on the remote", "row", fits=_has_url),
    Action("copy-sha256", "Copy", "Copy sha256", "h", "That of the archive", "row",
           fits=_has_sha256),
    Action("switch", "Jobs", "Switch panes", "tab", "Between datasets and jobs", "view"),
    Action("job-log", "Jobs", "Log", "enter", "Show that of the job, live", "jobs"),
    Action("job-cancel", "Jobs", "Cancel job", "c", "Stop it and clean up",
           "jobs", changes=True),
    Action("job-retry", "Jobs", "Retry job", "r", "Ask for the same again",
           "jobs", changes=True),
    Action("job-forget", "Jobs", "Forget job", "delete", "Take an ended job off the list",
           "jobs", changes=True),
    Action("palette", "Program", "Command palette", "ctrl+p", "Find an action or a dataset",
           "global"),
    Action("help", "Program", "Help", "question_mark,f1", "Keys, markers, predicates", "global",
           footer=1),
    Action("quit", "Program", "Quit", "q,ctrl+q", "Jobs may go on", "global", footer=2),
)  # fmt: skip

_BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}


def by_id(action_id: str) -> Action:
    return _BY_ID[action_id]


def keys_of(chosen: Mapping[str, str]) -> dict[str, str]:
    """The keys of every action, with those that the user chose in the config's ``[keys]``.

    Raises UsageError for an action that there is not, or one key for two actions of one screen.
    """
    for name in chosen:
        if name not in _BY_ID:
            near = difflib.get_close_matches(name, _BY_ID, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"keys.{plain(name)} in the configuration is no action{meant}",
                hint="mend it, then look: dsmanager config",
            )
    keys = {action.id: chosen.get(action.id, action.key) for action in ACTIONS}
    taken: dict[tuple[bool, str], str] = {}
    for action in ACTIONS:
        for key in filter(None, (key.strip() for key in keys[action.id].split(","))):
            other = taken.setdefault((action.scope == "jobs", key), action.id)
            if other != action.id:
                raise UsageError(
                    f"the configuration gives the key {plain(key)} to {other} and {action.id}",
                    hint="mend [keys], then look: dsmanager config",
                )
    return keys


_KEY_WORDS = {
    "slash": "/",
    "question_mark": "?",
    "space": "Space",
    "enter": "Enter",
    "escape": "Esc",
    "delete": "Del",
    "tab": "Tab",
}


def key_words(keys: str) -> str:
    """``ctrl+r,f5`` → ``Ctrl+R F5``: as a person reads it."""
    words = []
    for key in filter(None, keys.split(",")):
        *modifiers, last = key.strip().split("+")
        shown = _KEY_WORDS.get(last, last.upper() if modifiers or len(last) > 1 else last)
        words.append("+".join([*(each.capitalize() for each in modifiers), shown]))
    return " ".join(words)


def footer_words(keys: Mapping[str, str], width: int) -> list[tuple[Action, str, str]]:
    """(action, key, verb) of what the footer has room for, the least important left out."""
    listed = [action for action in ACTIONS if action.footer]
    shown = {action.id: key_words(keys[action.id].split(",")[0]) for action in listed}
    while listed and sum(len(shown[a.id]) + len(a.verb) + 2 for a in listed) - 1 > width:
        listed.remove(max(listed, key=lambda action: action.footer))
    return [(action, shown[action.id], action.verb) for action in listed]
