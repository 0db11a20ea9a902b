"""Asks for a name and a folder, and has a dataset definition made there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from textual import on
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from dsmanager.errors import DsmanagerError
from dsmanager.progress import CancelToken
from dsmanager.screens.background import Background
from dsmanager.screens.dialogs.base import Choice, Dialog, text
from dsmanager.screens.dialogs.fields import Field, complaint, folder_of, said, set_text
from dsmanager.settings import Settings

__all__ = ["NewDatasetDialog"]


class NewDatasetDialog(Dialog[str]):
    """Returns where it is and how it is built, in words."""

    AUTO_FOCUS = "#name"

    class Done(Message):
        """The folder was made, or could not be."""

        def __init__(self, outcome: str | DsmanagerError) -> None:
            super().__init__()
            self.outcome = outcome

    def __init__(self, settings: Settings) -> None:
        super().__init__("New dataset", [Choice("create", "Create", "primary")])
        self._folder = settings.builders[0] if settings.builders else settings.working_dir
        self._making: Background[str] = Background(
            "scaffold", lambda outcome: self.post_message(self.Done(outcome))
        )

    def body(self) -> Iterable[Widget]:
        yield Field("Name", "name", hint="my_words")
        yield Field("Below folder", "folder", value=str(self._folder))
        yield text(
            "Makes a builder with its test and dummy data, which builds at once without network.",
            classes="dialog-note",
        )
        yield complaint()

    def on_mount(self) -> None:
        set_text(self.query_one("#complaint", Static), "")

    def chosen(self, choice_id: str) -> None:
        if self.query_one("#create", Button).disabled:  # Enter in a field comes here, too
            return
        name = self.query_one("#name", Input).value.strip()
        folder = folder_of(self.query_one("#folder", Input)) or self._folder
        self.query_one("#create", Button).disabled = True
        self._making.ask(partial(_make, name, folder))

    @on(Done)
    def _on_done(self, message: Done) -> None:
        message.stop()
        if not isinstance(message.outcome, DsmanagerError):
            self.dismiss(message.outcome)
            return
        self.query_one("#create", Button).disabled = False
        set_text(self.query_one("#complaint", Static), said(message.outcome))

    @on(Input.Changed)
    def _forget_complaint(self) -> None:
        set_text(self.query_one("#complaint", Static), "")


def _make(name: str, folder: Path, _cancel: CancelToken) -> str:
    from dsmanager.catalog.scaffold import scaffold

    made = scaffold(name, folder)
    return f"{made.name} is in {made.folder}; build it with the path {made.builder}"
