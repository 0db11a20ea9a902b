"""Starts and stops the embedded S3 server, and says whether it runs.

The dialog stays open while the server comes up; leaving it meanwhile gives that up.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from dsmanager.remotes.server import ServerStatus

__all__ = ["ServerDialog"]

_DEFAULT_NAME = "local"


class ServerDialog(Dialog[str]):
    """Returns what was done, in words."""

    AUTO_FOCUS = "#start"

    class Done(Message):
        """A thread has looked, started or stopped; ``verb`` says which."""

        def __init__(self, verb: str, outcome: tuple[ServerStatus, ...] | DsmanagerError) -> None:
            super().__init__()
            self.verb = verb
            self.outcome = outcome

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            "Embedded S3 server",
            [Choice("start", "Start", "primary"), Choice("stop", "Stop", "warning")],
        )
        self._settings = settings
        self._known: dict[str, ServerStatus] | None = None
        self._works = {verb: self._background(verb) for verb in ("look", "start", "stop")}

    def body(self) -> Iterable[Widget]:
        yield text("looking …", widget_id="status", classes="dialog-note")
        yield Field("Name", "name", value=_DEFAULT_NAME)
        yield Field("Data folder", "folder", hint="in the state folder, unless you name one")
        yield text(
            "It listens on this machine only, goes on when this program ends, and becomes a "
            "remote of that name. Stopping it keeps its data.",
            classes="dialog-note",
        )
        yield complaint()

    def on_mount(self) -> None:
        set_text(self.query_one("#complaint", Static), "")
        self._works["look"].ask(partial(_look, self._settings.state_dir))

    def on_unmount(self) -> None:
        self._works["start"].cancel()

    def chosen(self, choice_id: str) -> None:
        if self.query_one(f"#{choice_id}", Button).disabled:
            return
        name = self.query_one("#name", Input).value.strip()
        self._busy(f"{'starting' if choice_id == 'start' else 'stopping'} {name} …")
        if choice_id == "start":
            folder = folder_of(self.query_one("#folder", Input))
            self._works["start"].ask(partial(_start, self._settings, name, folder))
        else:
            self._works["stop"].ask(partial(_stop, self._settings.state_dir, name))

    @on(Done)
    def _on_done(self, message: Done) -> None:
        message.stop()
        outcome = message.outcome
        if isinstance(outcome, DsmanagerError):
            self._known = self._known or {}
            set_text(self.query_one("#complaint", Static), said(outcome))
            self._show_known()
        elif message.verb == "look":
            self._known = {status.name: status for status in outcome}
            self._take_name_of_one()
            self._show_known()
        else:
            self.dismiss(_described(outcome[0]))

    def _take_name_of_one(self) -> None:
        """A server of another name than the usual one is more likely meant than a new one."""
        field = self.query_one("#name", Input)
        if self._known and field.value == _DEFAULT_NAME and _DEFAULT_NAME not in self._known:
            running = [name for name, status in self._known.items() if status.running]
            field.value = (running or list(self._known))[0]

    @on(Input.Changed)
    def _show_known(self) -> None:
        name = self.query_one("#name", Input).value.strip()
        known = (self._known or {}).get(name)
        told = _described(known) if known else f"{name or 'it'} was never started here"
        if self._known is None:
            told = "looking …"
        set_text(self.query_one("#status", Static), told)
        self.query_one("#start", Button).disabled = not name or (
            known is not None and known.running
        )
        self.query_one("#stop", Button).disabled = known is None or not known.running

    def _busy(self, words: str) -> None:
        set_text(self.query_one("#status", Static), words)
        set_text(self.query_one("#complaint", Static), "")
        for verb in ("start", "stop"):
            self.query_one(f"#{verb}", Button).disabled = True

    def _background(self, verb: str) -> Background[tuple[ServerStatus, ...]]:
        return Background(verb, lambda outcome: self.post_message(self.Done(verb, outcome)))


def _described(found: ServerStatus) -> str:
    if found.running:
        return f"{found.name} runs at {found.endpoint_url}, bucket {found.bucket}"
    return f"{found.name} does not run; its data is in {found.folder}"


def _look(state_dir: Path, _cancel: CancelToken) -> tuple[ServerStatus, ...]:
    from dsmanager.remotes.server import statuses
    from dsmanager.remotes.weed import find_weed

    found = statuses(state_dir=state_dir)
    if not any(each.running for each in found):
        find_weed()  # says at once what to install
    return found


def _start(
    settings: Settings, name: str, folder: Path | None, cancel: CancelToken
) -> tuple[ServerStatus, ...]:
    from dsmanager.library.serving import serve

    return (serve(settings, name, folder=folder, cancel=cancel),)


def _stop(state_dir: Path, name: str, _cancel: CancelToken) -> tuple[ServerStatus, ...]:
    from dsmanager.remotes.server import stop

    return (stop(name, state_dir=state_dir),)
