"""Fields of dialogs: an input with its name before it, a box to tick, words that say what is wrong.

Compact, so that a dialog fits 80 by 24. Nothing is parsed as markup.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Checkbox, Input, Static

from dsmanager.errors import DsmanagerError
from dsmanager.screens.dialogs.base import text
from dsmanager.text import plain, redact

__all__ = ["Field", "Tick", "complaint", "folder_of", "said", "set_text", "value_of"]


_UP_AND_DOWN: list[BindingType] = [
    Binding("up", "app.focus_previous", "Previous", show=False),
    Binding("down", "app.focus_next", "Next", show=False),
]


class Field(Horizontal):
    """One line: a name, and an input whose id is the field's own."""

    BINDINGS: ClassVar[list[BindingType]] = _UP_AND_DOWN
    DEFAULT_CSS = """
    Field { height: 1; }
    Field > Static { width: 16; color: $text-primary; }
    Field > Input { width: 1fr; background: $panel; }
    """

    def __init__(self, name: str, field_id: str, *, value: str = "", hint: str = "") -> None:
        super().__init__()
        self._name_text = name
        self._input = Input(value, placeholder=hint, id=field_id, compact=True)

    def compose(self) -> ComposeResult:
        yield text(self._name_text)
        yield self._input


class Tick(Checkbox):
    """A box whose state is a letter, not a colour alone."""

    BINDINGS: ClassVar[list[BindingType]] = _UP_AND_DOWN

    def __init__(self, words: str, box_id: str, *, value: bool = False) -> None:
        super().__init__(Content(plain(words)), value, id=box_id, compact=True)

    @property
    def _button(self) -> Content:
        return Content("[x]" if self.value else "[ ]")


def complaint() -> Static:
    """Where a dialog says what is wrong; empty and without height until then."""
    return text("", widget_id="complaint", classes="dialog-error")


def said(error: DsmanagerError) -> str:
    """The message and the hint of an error, a line each."""
    return "\n".join(filter(None, (error.message, error.hint)))


def set_text(widget: Static, words: str) -> None:
    """Shows ``words`` as plain text, without addresses' secrets; without any it takes no room."""
    widget.update(Content("\n".join(plain(redact(line)) for line in words.split("\n"))))
    widget.display = bool(words)


def value_of(field: Input) -> str | None:
    """What was typed; None for nothing."""
    return field.value.strip() or None


def folder_of(field: Input) -> Path | None:
    """The folder that was typed, absolute, with ``~`` expanded."""
    typed = value_of(field)
    return Path(typed).expanduser().absolute() if typed else None
