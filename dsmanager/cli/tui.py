"""The one place that reaches the screens, and only when somebody sits at a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsmanager.settings import Settings

__all__ = ["can_open", "open_bare", "open_tui"]


def can_open() -> bool:
    """Whether this is a terminal that can be drawn on and typed at."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    is_terminal = all(stream is not None and stream.isatty() for stream in streams)
    return is_terminal and os.environ.get("TERM", "") not in ("", "dumb")


def open_tui(load: Callable[[], Settings], *, read_only: bool = False) -> int:
    """Runs the TUI until it is left; returns the exit code. ``load`` reads the settings."""
    settings = load()
    from dsmanager.screens.app import DsmanagerApp

    app = DsmanagerApp(settings, is_read_only=read_only, reload=load)
    try:
        app.run()
    finally:
        app.model.stop()
    return app.return_code or 0


def open_bare() -> int:
    """The TUI for somebody who gave no arguments."""
    from dsmanager.cli.output import Output
    from dsmanager.errors import DsmanagerError
    from dsmanager.settings import Settings

    try:
        return open_tui(Settings.load)
    except DsmanagerError as error:
        Output().error(error)
        return int(error.exit_code)
