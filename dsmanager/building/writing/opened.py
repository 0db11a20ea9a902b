"""Which files the builder's Python code has opened of late, and which parts of archives.

What C code opens is not told.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from functools import cache
from typing import Any, TypeAlias

__all__ = ["Opened", "listen", "tell_part"]

Opened: TypeAlias = "str | tuple[str, int, int]"
"""The path of a file; or of one with where a part of it begins, and how many bytes it has."""

_opened: deque[Opened] | None = None


def listen(opened: deque[Opened] | None) -> deque[Opened] | None:
    """From now on the path of each file that this process opens to read it is put there.

    By whichever thread opens it. Returns where they were put before.
    """
    global _opened
    before, _opened = _opened, opened
    if opened is not None:
        _install()
    return before


def tell_part(path: str, offset: int, size_bytes: int) -> None:
    """That bytes which the builder gets may be those of a part of a file."""
    if _opened is not None:
        _opened.append((path, offset, size_bytes))


@cache
def _install() -> None:
    """Whoever has been told once is told for good: Python takes no hook back."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Must never raise: whatever opens the file would."""
    opened = _opened
    if opened is None or event != "open" or len(arguments) != 3:
        return
    path, _, flags = arguments
    if type(path) is str and type(flags) is int and not flags & os.O_ACCMODE:
        opened.append(path)
