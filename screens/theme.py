"""The theme: what the config says, else what was chosen last, else Textual's own."""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from dsmanager.errors import DsmanagerError
from dsmanager.files import write_bytes
from dsmanager.settings import Settings

__all__ = ["read_theme", "write_theme"]


def read_theme(settings: Settings, available: Container[str], default: str) -> str:
    """The name of the theme to start with; one that there is not counts for nothing."""
    chosen = settings.theme
    if chosen is None:
        with suppress(OSError, UnicodeError):
            chosen = _path(settings).read_text("utf-8").strip()
    return chosen if chosen in available and chosen else default


def write_theme(settings: Settings, theme: str) -> None:
    """Remembers ``theme`` for the next start."""
    with suppress(DsmanagerError):
        write_bytes(_path(settings), theme.encode())


def _path(settings: Settings) -> Path:
    return settings.state_dir / "screens" / "theme"
