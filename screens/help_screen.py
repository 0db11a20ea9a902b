"""``?``: every key, what the markers mean, how to filter. Made from the table of actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from dsmanager.screens.actions import ACTIONS, AREAS, key_words
from dsmanager.screens.rows import MARKERS

__all__ = ["HelpScreen", "help_lines"]

_FILTERS = (
    ("digit", "the word is anywhere in the ref"),
    ("coco/*", "a glob over name and config"),
    ("state:not-built", "state: damaged, differs, partial, not-built, not-cached, …"),
    ("in:built,remote", "in one of these places: built, cached, remote, recorded"),
    ("size>1g  examples>=1000", "numbers; k, m, g, t are powers of 1000"),
    ("not:in:remote", "not: before a term turns it round; all terms must hold"),
)
_MOVES = "Up Down PgUp PgDn Home End, also j and k; a click moves, a second one opens"


def help_lines(keys: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(area, key or sign, meaning): everything that the help shows, in order."""
    for marker, words in MARKERS.items():
        yield "Markers", marker, words
    yield "Move", "", _MOVES
    for area in AREAS:
        for action in ACTIONS:
            if action.area == area:
                key = key_words(keys[action.id]) or "palette"
                yield area, key, f"{action.verb}: {action.help}"
    for term, words in _FILTERS:
        yield "Filter", term, words


class HelpScreen(ModalScreen[None]):
    """Keys, markers and predicates; Esc or ? closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q", "dismiss", "Close", show=False)
    ]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll {
        width: 78; max-width: 98%; max-height: 96%; height: auto;
        padding: 0 1; border: round $primary; background: $surface;
    }
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        with VerticalScroll() as scroll:
            scroll.border_title = "Help"
            scroll.border_subtitle = "Esc closes"
            yield Static(self._content())

    def _content(self) -> Content:
        parts: list[tuple[str, str]] = []
        area = ""
        for title, key, words in help_lines(self._keys):
            if title != area:
                parts.append((f"{chr(10) if area else ''}{title}\n", "bold $text-primary"))
                area = title
            if key:
                parts.append((f"  {key:<12} ", "bold $text-accent"))
            parts.append((f"{'' if key else '  '}{words}\n", ""))
        return Content.assemble(*parts)

    async def action_dismiss(self, result: None = None) -> None:
        self.dismiss(result)
