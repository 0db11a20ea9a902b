"""Asks for a remote: name, URL, and how to reach it. No secret is asked for or written."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from textual import on
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Input, Static

from dsmanager.errors import DsmanagerError
from dsmanager.progress import CancelToken
from dsmanager.screens.background import Background
from dsmanager.screens.dialogs.base import Choice, Dialog, text
from dsmanager.screens.dialogs.fields import Field, Tick, complaint, said, set_text, value_of
from dsmanager.settings import RemoteConfig, Settings, add_remote

__all__ = ["RemoteDialog"]


class RemoteDialog(Dialog[str]):
    """Returns what was done, in words."""

    AUTO_FOCUS = "#name"

    class Done(Message):
        """The configuration was written, or could not be."""

        def __init__(self, outcome: str | DsmanagerError) -> None:
            super().__init__()
            self.outcome = outcome

    def __init__(self, settings: Settings) -> None:
        super().__init__("Add a remote", [Choice("add", "Add", "primary")])
        self._settings = settings
        self._replaces: str | None = None
        self._writing: Background[str] = Background(
            "remote", lambda outcome: self.post_message(self.Done(outcome))
        )

    def body(self) -> Iterable[Widget]:
        yield Field("Name", "name", hint="team")
        yield Field("URL", "url", hint="s3://bucket/prefix")
        yield Field("Endpoint", "endpoint", hint="https://minio.example:9000, unless it is AWS")
        yield Field("Region", "region", hint="optional")
        yield Field("Profile", "profile", hint="of the AWS configuration; optional")
        yield Tick("anonymous: send unsigned requests", "anonymous")
        yield Tick("make it the current remote", "current", value=not self._settings.remotes)
        yield text(
            "Credentials come from the environment or the profile, and are never stored here.",
            classes="dialog-note",
        )
        yield complaint()

    def on_mount(self) -> None:
        self._complain("")

    def chosen(self, choice_id: str) -> None:
        if self.query_one("#add", Button).disabled:  # Enter in a field comes here, too
            return
        try:
            remote = self._entered()
        except DsmanagerError as error:
            self._complain(said(error))
            return
        if remote.name in self._settings.remotes and self._replaces != remote.name:
            self._replaces = remote.name
            self._complain(f"'{remote.name}' is configured already; Add once more replaces it")
            return
        self._writable(False)
        current = self.query_one("#current", Checkbox).value
        self._writing.ask(partial(_write, self._settings, remote, current))

    def _entered(self) -> RemoteConfig:
        """Raises UsageError for a URL that is none; the rest is checked where it is written."""
        values = {name: value_of(self.query_one(f"#{name}", Input)) for name in _FIELDS}
        return RemoteConfig(
            values["name"] or "",
            values["url"] or "",
            values["endpoint"],
            values["region"],
            values["profile"],
            self.query_one("#anonymous", Checkbox).value,
        )

    @on(Done)
    def _on_done(self, message: Done) -> None:
        message.stop()
        if isinstance(message.outcome, DsmanagerError):
            self._writable(True)
            self._complain(said(message.outcome))
        else:
            self.dismiss(message.outcome)

    @on(Input.Changed)
    def _forget_complaint(self) -> None:
        self._complain("")

    def _writable(self, yes: bool) -> None:
        self.query_one("#add", Button).disabled = not yes

    def _complain(self, words: str) -> None:
        set_text(self.query_one("#complaint", Static), words)


_FIELDS = ("name", "url", "endpoint", "region", "profile")


def _write(settings: Settings, remote: RemoteConfig, current: bool, _cancel: CancelToken) -> str:
    add_remote(settings.config_file, remote, make_current=current)
    return f"{remote.name} added to {settings.config_file}"
