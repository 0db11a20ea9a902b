"""What every verb gets: the global options, the library, the output, and a way to run work."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from dsmanager.cli.output import Output
from dsmanager.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dsmanager.library.library import Library
    from dsmanager.progress import Snapshot
    from dsmanager.settings import Settings

__all__ = ["Context", "Watcher"]


class Watcher(Protocol):
    """Told what a command works on: the process of a job writes it down."""

    def begins(self, label: str) -> None: ...

    def sample(self, label: str, snapshot: Snapshot, waiting: str = "") -> None: ...


class Context:
    """Global options of one command. Settings and library are read when they are first used."""

    def __init__(self, output: Output | None = None, watcher: Watcher | None = None) -> None:
        self.output = output or Output()
        self.watcher = watcher
        self.data_dir: str | None = None
        self.remote: str | None = None
        self.manifest: str | None = None
        self.no_progress = self.read_only = False
        self.detach = False
        """Whether a job is to be started instead of the work."""
        self.verb = ""
        self.arguments: list[str] = []
        """As they were given, all of them."""
        self.asked = 1
        """How many items the command works on; the exit code depends on whether all failed."""
        self.exit_code: ExitCode | None = None
        """The exit code, for a verb whose errors do not decide it."""

    @cached_property
    def settings(self) -> Settings:
        from dsmanager.settings import Settings

        return Settings.load(data_dir=self.data_dir, remote=self.remote, manifest=self.manifest)

    @cached_property
    def library(self) -> Library:
        from dsmanager.library.library import Library

        return Library(settings=self.settings)

    def begin(self, command: str, *, changes: bool = False) -> None:
        """Names the command. Raises UsageError when it changes things under ``--read-only``."""
        self.output.command = command
        if changes and self.read_only:
            raise UsageError(
                f"--read-only forbids '{command}'", hint=f"without it: dsmanager {command} …"
            )
        if changes:
            from dsmanager.locks import remove_dead_locks

            remove_dead_locks(self.settings.data_dir)

    def refuse_detach(self, option: str) -> None:
        """Raises UsageError where a job was asked for with an option that leaves nothing to do."""
        if self.detach:
            raise UsageError(
                f"{option} only shows what would be done: that is no job",
                hint=f"without --detach: dsmanager {self.verb} {option}",
            )

    @property
    def is_interactive(self) -> bool:
        """Whether somebody can be asked."""
        if self.detach or self.output.as_json:
            return False
        return sys.stdin.isatty() and sys.stderr.isatty()
