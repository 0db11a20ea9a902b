"""The app: one model, the library screen, and what is the same on every screen.

It starts jobs that dialogs ask for, and ends cleanly on signals; it never does the work itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.command import CommandPalette

from dsmanager.errors import DsmanagerError
from dsmanager.screens import actions
from dsmanager.screens.library_screen import LibraryScreen
from dsmanager.screens.model import Model
from dsmanager.screens.theme import read_theme, write_theme
from dsmanager.screens.type_ahead import TypeAheadApp
from dsmanager.settings import Settings
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.screens.requests import JobRequest
    from dsmanager.screens.rows import Row

__all__ = ["DsmanagerApp"]

_SAMPLE_S = 0.2
_MUST_END_WITHIN_S = 3.0


class DsmanagerApp(TypeAheadApp[None]):
    """Everything about datasets on one terminal."""

    TITLE = "dsmanager"
    ENABLE_COMMAND_PALETTE = False  # ours has its own entries, and is imported when it is opened
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+c", "interrupt", "Quit", show=False, system=True),
        *(
            Binding(action.key, f"do('{action.id}')", action.verb, show=False, id=action.id)
            for action in actions.ACTIONS
            if action.area == "Program"
        ),
    ]

    CSS = """
    ToastRack { dock: top; align: right top; margin-top: 3; }
    Toast { width: auto; min-width: 30; max-width: 95%; }
    """

    def __init__(
        self,
        settings: Settings,
        *,
        is_read_only: bool = False,
        reload: Callable[[], Settings] | None = None,
    ) -> None:
        """``reload`` reads the settings again, after a dialog has changed the configuration.

        Raises UsageError for keys in the settings that name no action.
        """
        self.keys = actions.keys_of(settings.keys)
        super().__init__()
        self.is_read_only = is_read_only
        self.model = Model(settings)
        self._reload = reload
        chosen = {action: keys for action, keys in settings.keys.items() if keys}
        self.set_keymap(chosen)
        self.theme = read_theme(settings, self.available_themes, self.theme)
        self.library = LibraryScreen(self.model)

    def get_default_screen(self) -> LibraryScreen:
        return self.library

    def on_mount(self) -> None:
        self._heed_signals()
        self.set_interval(_SAMPLE_S, self._sample)
        self.theme_changed_signal.subscribe(self, lambda _: self._remember_theme())
        self.call_after_refresh(self.model.start)  # after the first paint

    def _sample(self) -> None:
        if not self.is_running:
            return  # it ends: its screens go first, its timers last
        while self.model.notices:
            notice = self.model.notices.popleft()
            self.notify(
                notice.message,
                severity="error" if notice.is_error else "information",
                timeout=10 if notice.is_error else 4,
                markup=False,
            )
        if self.screen is self.library or self.screen.is_modal:
            self.library.sample()

    # ending

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end, 128 + number)

    def _end(self, return_code: int) -> None:
        """Ends and restores the terminal; a terminal that is gone cannot keep it from ending."""
        self.model.stop()
        if not self.is_headless:
            watchdog = threading.Timer(_MUST_END_WITHIN_S, os._exit, (return_code,))
            watchdog.daemon = True
            watchdog.start()
        self.exit(return_code=return_code)

    async def action_quit(self) -> None:
        jobs = self.model.active_jobs
        if not jobs:
            self._end(0)
            return
        from dsmanager.screens.dialogs.quit import QuitDialog

        if not isinstance(self.screen, QuitDialog):
            dialog = QuitDialog(jobs, may_cancel=not self.is_read_only)
            self.push_screen(dialog, self._quit_as_chosen)

    def _quit_as_chosen(self, choice: str | None) -> None:
        if choice == "cancel-jobs":
            self.run_worker(self._cancel_and_end(), exclusive=True)
        elif choice is not None:
            self._end(0)

    async def _cancel_and_end(self) -> None:
        done = self.model.cancel_all()
        for _ in range(40):
            if done.is_set():
                break
            await asyncio.sleep(0.05)
        self._end(0)

    async def action_interrupt(self) -> None:
        await self.action_quit()

    # doing

    async def action_do(self, action_id: str) -> None:
        if actions.by_id(action_id).area == "Program":
            self.do(action_id)
        else:
            self.library.action_do(action_id)

    def do(self, action_id: str) -> None:
        """What is the same on every screen."""
        if action_id == "quit":
            self.run_worker(self.action_quit())
        elif action_id == "help":
            from dsmanager.screens.help_screen import HelpScreen

            if not isinstance(self.screen, HelpScreen):
                self.push_screen(HelpScreen(self.keys))
        elif action_id == "palette":
            from dsmanager.screens.palette import PROVIDERS

            if not isinstance(self.screen, CommandPalette):
                self.push_screen(CommandPalette(PROVIDERS, placeholder="An action or a dataset…"))
        elif action_id == "theme":
            self.search_themes()
        else:
            self.ask(action_id, (), "")

    def ask(self, action_id: str, rows: tuple[Row, ...], about: str) -> None:
        """Opens the dialog of an action and carries out what it returns."""
        dialog = self._dialog(action_id, rows)

        def done(result: Any) -> None:
            self._answered(result, about)

        self.push_screen(dialog, done)

    def _dialog(self, action_id: str, rows: tuple[Row, ...]) -> Any:
        settings = self.model.settings
        refs = tuple(row.ref for row in rows)
        if action_id == "build":
            from dsmanager.screens.dialogs.build import BuildDialog

            return BuildDialog(settings, refs)
        if action_id in ("sync", "sync-all"):
            from dsmanager.screens.dialogs.sync import SyncDialog

            return SyncDialog(settings, refs)
        if action_id == "remove":
            from dsmanager.screens.dialogs.removal import RemovalDialog

            return RemovalDialog([row.presence for row in rows])
        if action_id == "remote-add":
            from dsmanager.screens.dialogs.remote import RemoteDialog

            return RemoteDialog(settings)
        if action_id == "server":
            from dsmanager.screens.dialogs.server import ServerDialog

            return ServerDialog(settings)
        if action_id == "new":
            from dsmanager.screens.dialogs.new_dataset import NewDatasetDialog

            return NewDatasetDialog(settings)
        raise ValueError(f"no dialog belongs to {action_id}")

    def _answered(self, result: JobRequest | str | None, about: str) -> None:
        if result is None:
            return
        if isinstance(result, str):
            self.notify(plain(result), markup=False)
            self._read_settings_again()
            return
        told = f"{result.verb.capitalize()} of {about or 'everything'}"
        self.model.start_job(result, told)
        self.library.view.unmark()
        self.library.table.refresh()

    def _read_settings_again(self) -> None:
        if self._reload is None:
            return
        try:
            self.model.change_settings(self._reload())
        except DsmanagerError as error:
            self.notify(error.message, severity="error", markup=False)

    def _remember_theme(self) -> None:
        write_theme(self.model.settings, self.theme)
