"""Asks what to build and how: builder, config, options.

Names come from the files of builders, and configs from the builder itself, which runs in a child
and may take seconds: both are asked for in background threads, and the dialog is usable meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Input, OptionList, Select, Static
from textual.widgets.option_list import Option

from dsmanager.errors import DsmanagerError
from dsmanager.progress import CancelToken
from dsmanager.screens.background import Background
from dsmanager.screens.dialogs.base import Choice, Dialog, text
from dsmanager.screens.dialogs.fields import Field, Tick, complaint, folder_of, said, set_text
from dsmanager.screens.requests import JobRequest
from dsmanager.settings import Settings
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.library.building import BuildPlan

__all__ = ["BuildDialog"]

_MOST_NAMES = 100
_ASK_AFTER_S = 0.3  # of quiet: a child for each letter would be too much
_MOST_INSTRUCTION_LINES = 4
_ALL = "*"


class BuildDialog(Dialog[JobRequest]):
    """Returns the build as a job. Without ``refs`` a name or a path is asked for."""

    AUTO_FOCUS = "#name, #build"
    DEFAULT_CSS = """
    BuildDialog #names { height: 5; display: none; }
    BuildDialog #config { display: none; }
    """

    class Told(Message):
        """A thread has brought the names, or what a builder says of itself."""

        def __init__(self, outcome: tuple[str, ...] | BuildPlan | DsmanagerError) -> None:
            super().__init__()
            self.outcome = outcome

    def __init__(self, settings: Settings, refs: Sequence[object] = ()) -> None:
        self._settings = settings
        self._refs = tuple(map(str, refs))
        whom = self._refs[0] if len(self._refs) == 1 else f"{len(self._refs)} datasets"
        title = f"Build {whom}" if self._refs else "Build a dataset"
        super().__init__(title, [Choice("build", "Build", "primary")])
        self._names: tuple[str, ...] = ()
        self._asked: str | None = None
        self._quiet: Timer | None = None
        self._listing: Background[tuple[str, ...]] = Background("names", self._tell)
        self._describing: Background[BuildPlan] = Background("describe", self._tell)

    def body(self) -> Iterable[Widget]:
        if not self._refs:
            yield Field("Name or path", "name", hint="digit, ./my_words/my_words.py")
            yield OptionList(id="names", markup=False, compact=True)
        else:
            yield Field("Builder", "path", hint="its file or folder; without it, found by name")
        yield text("", widget_id="about", classes="dialog-note")
        yield Select[str]([], prompt="the default config", id="config", compact=True)
        yield Tick("clean: download and build afresh, replaces what is built", "clean")
        yield Tick("no-verify: do not read the shards again after the build", "no-verify")
        yield Field("Manual files", "manual-dir", hint="folder of sources that you downloaded")
        yield Field("Downloads", "download-dir", hint=str(self._settings.download_dir))
        yield complaint()

    def on_mount(self) -> None:
        for name in ("#about", "#complaint"):
            set_text(self.query_one(name, Static), "")
        if not self._refs:
            self._listing.ask(partial(_available, self._settings))
            self.query_one("#build", Button).disabled = True
        elif len(self._refs) == 1:
            self._describe(self._refs[0])

    def on_unmount(self) -> None:
        self._listing.cancel()
        self._describing.cancel()

    def chosen(self, choice_id: str) -> None:
        if self.query_one("#build", Button).disabled:
            return
        self.dismiss(JobRequest("build", (*self._what(), *self._options())))

    # what is built

    @property
    def _request(self) -> str:
        """The one ref, name or path that this is about; empty for several and for none yet."""
        if self._refs:
            return self._refs[0] if len(self._refs) == 1 else ""
        return self.query_one("#name", Input).value.strip()

    @property
    def _path(self) -> Path | None:
        """The builder's file or folder, where one was typed."""
        if self._refs:
            return folder_of(self.query_one("#path", Input))
        return Path(self._request).expanduser().absolute() if _is_path(self._request) else None

    def _what(self) -> tuple[str, ...]:
        path = ("--path", str(self._path)) if self._path else ()
        if self._refs:
            return (*self._refs, *path)
        return path or (self._request,)

    def _options(self) -> tuple[str, ...]:
        given: list[str] = []
        config = self.query_one("#config", Select)
        if config.display and config.selection is not None:
            given += ["--config", str(config.selection)]
        given += [f"--{box.id}" for box in self.query(Checkbox) if box.value]
        for name in ("manual-dir", "download-dir"):
            folder = folder_of(self.query_one(f"#{name}", Input))
            given += [f"--{name}", str(folder)] if folder else []
        return tuple(given)

    # names as one types

    @on(Input.Changed, "#name")
    def _filter(self) -> None:
        self.query_one("#build", Button).disabled = not self._request
        self._wait_for_quiet()
        self._show_names()

    @on(Input.Changed, "#path")
    def _wait_for_quiet(self) -> None:
        """What was told is of something else now; asks again when nothing is typed for a while."""
        self._asked = None
        self._describing.cancel()
        self._show_config(())
        for name in ("#about", "#complaint"):
            set_text(self.query_one(name, Static), "")
        if self._quiet is not None:
            self._quiet.stop()
        self._quiet = self.set_timer(_ASK_AFTER_S, self._ask_when_it_is_one)

    def _show_names(self) -> None:
        typed = self._request
        near = sorted(
            (name for name in self._names if typed in name),
            key=lambda name: (not name.startswith(typed), name),
        )
        options = self.query_one("#names", OptionList)
        options.clear_options()
        options.add_options([Option(Content(plain(name))) for name in near[:_MOST_NAMES]])
        options.display = bool(near) and near != [typed] and not _is_path(typed)

    @on(OptionList.OptionSelected)
    def _take_name(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        name = self.query_one("#name", Input)
        name.value = str(event.option.prompt)
        name.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a name that is none yet goes to the names that begin like it."""
        options = self.query("#names")
        is_open = bool(options) and options.first().display
        if event.input.id == "name" and is_open and self._request not in self._names:
            event.prevent_default()  # of the base class, whose handler would build it
            event.stop()
            options.first(OptionList).highlighted = 0
            options.first(OptionList).focus()

    def _ask_when_it_is_one(self) -> None:
        typed = self._request
        name = typed.removeprefix("tfds:").partition(":")[0].partition("/")[0]
        is_one = self._path is not None or name in self._names or bool(self._refs)
        if typed and is_one:
            self._describe(typed)

    # what the builder says

    def _describe(self, request: str) -> None:
        self._asked = request
        set_text(self.query_one("#about", Static), "asking the builder …")
        self._describing.ask(partial(_described, self._settings, request, self._path))

    def _tell(self, outcome: tuple[str, ...] | BuildPlan | DsmanagerError) -> None:
        """Called in a thread."""
        self.post_message(self.Told(outcome))

    @on(Told)
    def _on_told(self, message: Told) -> None:
        message.stop()
        outcome = message.outcome
        if isinstance(outcome, tuple):
            self._names = outcome
            self._show_names()
            self._ask_when_it_is_one()
        elif self._asked != self._request:
            pass  # something else was typed meanwhile
        elif isinstance(outcome, DsmanagerError):
            set_text(self.query_one("#about", Static), "")
            set_text(self.query_one("#complaint", Static), said(outcome))
        else:
            self._show_description(outcome)

    def _show_description(self, plan: BuildPlan) -> None:
        described = plan.description
        lines = [f"makes {', '.join(map(str, plan.refs[:3]))} ({plan.source.origin})"]
        instructions = [line.strip() for line in described.manual_instructions.splitlines()]
        lines += [line for line in instructions if line][:_MOST_INSTRUCTION_LINES]
        set_text(self.query_one("#about", Static), "\n".join(lines))
        has_config = "/" in self._request and not _is_path(self._request)
        self._show_config(() if has_config else described.configs, described.default_config)

    def _show_config(self, configs: Sequence[str], default: str | None = None) -> None:
        select = self.query_one("#config", Select)
        every = [(Content(f"all {len(configs)} configs"), _ALL)] if len(configs) > 1 else []
        select.prompt = f"the default config, {plain(default)}" if default else "the default config"
        select.set_options([*every, *((Content(plain(each)), each) for each in configs)])
        select.display = bool(configs)


def _is_path(typed: str) -> bool:
    """A builder's file or folder; a ref has a slash, too, but neither of these beginnings."""
    return typed.startswith(("/", "./", "../", "~")) or typed.endswith(".py")


def _available(settings: Settings, _cancel: CancelToken) -> tuple[str, ...]:
    from dsmanager.catalog.find import available

    return tuple(source.name for source in available(settings.builders))


def _described(
    settings: Settings, request: str, path: Path | None, cancel: CancelToken
) -> BuildPlan:
    from dsmanager.catalog.find import name_of_path
    from dsmanager.library.building import plan_build
    from dsmanager.library.places import LibraryPlaces

    name = name_of_path(path) if path is not None and _is_path(request) else request
    library = LibraryPlaces(settings=settings)
    return plan_build(library, name, path=path, config=None, cancel=cancel)
