"""The lines of words around the table: places, remote, the row under the cursor, keys."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from dsmanager.screens.actions import ACTIONS, Action, Facts, footer_words, key_words
from dsmanager.screens.cells import age_text, cut_middle, fit
from dsmanager.screens.model import Model, RemoteLook
from dsmanager.screens.rows import Row
from dsmanager.screens.view import COLUMNS, View
from dsmanager.text import plain

__all__ = ["Footer", "Line", "row_words", "top_words"]


class Line(Widget):
    """One line of words; drawn again only when they change."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Line { height: 1; padding: 0 1; }
    Line.-two { height: 2; }
    #remote { color: $text-muted; }
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002 - as every widget has it
        super().__init__(id=id)
        self._content = Content("")

    def show(self, content: Content) -> None:
        if content.markup != self._content.markup:
            self._content = content
            self.set_class(content.cell_length > max(self.size.width, 1), "-two")
            self.refresh()

    def render(self) -> Content:
        return self._content


class Footer(Widget):
    """The keys that matter most; what cannot be done now is dim. A click is as good as the key."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Footer { height: 1; background: $panel; dock: bottom; }"

    def __init__(self, *, id: str) -> None:  # noqa: A002 - as every widget has it
        super().__init__(id=id)
        self._shown: tuple[tuple[str, str, str, bool], ...] = ()
        self._content = Content("")

    class Pressed(Message):
        """An action of the footer was clicked."""

        def __init__(self, action_id: str) -> None:
            super().__init__()
            self.action_id = action_id

    def show(
        self, keys: Mapping[str, str], rows: Sequence[Row], facts: Facts, is_in_jobs: bool
    ) -> None:
        """``rows``: what actions would apply to."""
        listed = _job_words(keys) if is_in_jobs else footer_words(keys, self.size.width)
        parts: list[tuple[str, str]] = []
        state = []
        for action, key, verb in listed:
            can = action.why_not(rows[:_ASKED], facts) is None
            state.append((action.id, key, verb, can))
            parts += [
                (" " if parts else "", ""),
                (key, "bold $text-accent" if can else "$text-disabled"),
                (f" {verb}", "" if can else "$text-disabled"),
            ]
        if tuple(state) != self._shown:
            self._shown = tuple(state)
            self._content = Content.assemble(*parts)
            self.refresh()

    def render(self) -> Content:
        return self._content

    def on_click(self, event: events.Click) -> None:
        x = event.x
        for action_id, key, verb, _ in self._shown:
            if x <= len(key) + len(verb):
                self.post_message(self.Pressed(action_id))
                return
            x -= len(key) + len(verb) + 2


_ASKED = 100  # of so many rows at most the footer knows whether one fits


def _job_words(keys: Mapping[str, str]) -> list[tuple[Action, str, str]]:
    wanted = [action for action in ACTIONS if action.scope == "jobs" or action.id == "switch"]
    return [(action, key_words(keys[action.id].split(",")[0]), action.verb) for action in wanted]


def top_words(model: Model, width: int, *, is_read_only: bool) -> tuple[Content, Content]:
    """Where this is, and how current what is shown of the remote is."""
    settings = model.settings
    read_only = "  read-only" if is_read_only else ""
    looking = "  looking…" if model.is_looking else ""
    room = width - 14 - len(read_only) - len(looking)
    data_dir = cut_middle(plain(str(settings.data_dir)), max(room, 10))
    top = Content.assemble(
        ("dsmanager", "bold $text-primary"),
        f"  {data_dir}",
        (read_only, "bold $text-warning"),
        (looking, "$text-muted"),
    )
    if model.local_errors:
        error = cut_middle(plain(model.local_errors[0]), width - 3)
        return top if not error else Content.styled(f"! {error}", "$text-error"), _remote_words(
            model.remote, width
        )
    return top, _remote_words(model.remote, width)


def _remote_words(remote: RemoteLook | None, width: int) -> Content:
    if remote is None:
        return Content.styled("Remote: none is configured; R adds one, E starts one here", "")
    name = f"Remote {plain(remote.name)}"
    seen = "not listed yet"
    if remote.looked_at_s is not None:
        seen = f"listed {age_text(time.time() - remote.looked_at_s)} ago"
    if remote.error:
        words = f"{name} ! {plain(remote.error)} ({seen})"
        return Content.styled(cut_middle(words, 2 * width - 10), "bold $text-error")
    looking = ", listing…" if remote.is_looking else ""
    return Content.styled(f"{name}: {seen}{looking}", "")


def row_words(model: Model, view: View, width: int) -> Content:
    """The row under the cursor in words, and how many rows and marks there are."""
    counts = f"{len(view.shown):,}"
    if len(view.shown) != len(view.rows):
        counts += f" of {len(view.rows):,}"
    counts += " datasets" if len(view.rows) != 1 else " dataset"
    if view.marks:
        counts += f", {len(view.marks):,} marked"
    if view.group:
        counts += f", by {COLUMNS[view.group].title}"
    row = view.row
    left = _why(row) if row is not None else _nothing(model, view)
    room = max(width - 4 - len(counts), 10)
    left = cut_middle(left, room)
    return Content.assemble(fit(left, room), "  ", (counts, "$text-muted"))


def _why(row: Row) -> str:
    presence = row.presence
    words = f"{plain(row.ref)}: {row.state}"
    if why := presence.problem or presence.difference:
        words += f", {plain(why)}"
    return words


def _nothing(model: Model, view: View) -> str:
    if model.is_looking and not model.rows:
        return "Looking at the disk…"
    if view.filter_text and view.rows:
        return "Nothing matches the filter; Esc clears it"
    return "Nothing here yet: b builds a dataset, y syncs with the manifest"
