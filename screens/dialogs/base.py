"""What all dialogs share: a title, a body, a row of buttons, Esc that cancels.

A dialog returns its result, or None when it was cancelled; it must never do the work itself.
Nothing shown here is parsed as markup: make texts with :func:`text`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from dsmanager.text import plain

__all__ = ["CANCEL", "Choice", "Dialog", "text"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Choice:
    """One button: its id, what it says, and how it looks."""

    id: str
    label: str
    variant: Literal["default", "primary", "success", "warning", "error"] = "default"


CANCEL = Choice("cancel", "Cancel")


def text(words: str, *, widget_id: str | None = None, classes: str | None = None) -> Static:
    """A line or paragraph of plain text, safe for names from outside; newlines part lines."""
    safe = "\n".join(plain(line) for line in words.split("\n"))
    return Static(safe, markup=False, id=widget_id, classes=classes)


class Dialog(ModalScreen[ResultT | None], Generic[ResultT]):
    """A box in the middle of the screen.

    Subclasses give :meth:`body` and :meth:`chosen`, and call ``dismiss(result)``. Cancel and Esc
    dismiss None. The first button has the focus, or in a destructive dialog always Cancel; a body
    with fields may say otherwise with ``AUTO_FOCUS``.
    """

    is_destructive: ClassVar[bool] = False
    """Focus starts on Cancel, and Enter in a field chooses nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", show=False),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]
    DEFAULT_CSS = """
    Dialog { align: center middle; }
    Dialog > #dialog {
        width: 72; max-width: 96%; height: auto; max-height: 96%;
        padding: 0 1; border: round $primary; background: $surface;
    }
    Dialog #dialog-title { text-style: bold; color: $text-primary; height: auto; }
    Dialog #dialog-body { height: auto; max-height: 16; margin: 1 0; }
    Dialog #dialog-buttons { height: 1; align-horizontal: right; }
    Dialog #dialog-buttons Button { margin-left: 2; min-width: 10; padding: 0 1; }
    Dialog .dialog-error { color: $text-error; }
    Dialog .dialog-note { color: $text-muted; }
    """

    def __init__(
        self, title: str, buttons: Iterable[Choice], *, cancel: str = CANCEL.label
    ) -> None:
        """``buttons`` without Cancel: it is added as the last one, and says ``cancel``."""
        super().__init__()
        self.dialog_title = title
        self.choices = (*buttons, Choice(CANCEL.id, cancel))

    def body(self) -> Iterable[Widget]:
        """The widgets between title and buttons."""
        return ()

    def chosen(self, choice_id: str) -> None:
        """A button other than Cancel was pressed: dismiss with the result, or complain and stay."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield text(self.dialog_title, widget_id="dialog-title")
            with VerticalScroll(id="dialog-body", can_focus=False):
                yield from self.body()
            with Horizontal(id="dialog-buttons"):
                for choice in self.choices:
                    label = Content(plain(choice.label))
                    yield Button(label, choice.variant, id=choice.id, compact=True)

    def on_mount(self) -> None:
        if self.is_destructive:
            self.set_focus(self.query_one("#cancel", Button))
        elif self.AUTO_FOCUS is None:
            self.set_focus(self.query_one(f"#{self.choices[0].id}", Button))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == CANCEL.id:
            self.dismiss(None)
        elif event.button.id is not None:
            self.chosen(event.button.id)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.is_destructive:
            self.focus_next()
        else:
            self.chosen(self.choices[0].id)

    def action_cancel(self) -> None:
        self.dismiss(None)
