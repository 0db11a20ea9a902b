"""Which files the builder's Python code has opened of late. What C code opens is not told."""

from __future__ import annotations

import os
import sys
from collections import deque
from functools import cache
from typing import Any

__all__ = ["listen"]

_paths: deque[str] | None = None


def listen(paths: deque[str] | None) -> deque[str] | None:
    """From now on the path of each file that this process opens to read it is put there.

    By whichever thread opens it. Returns where they were put before.
    """
    global _paths
    before, _paths = _paths, paths
    if paths is not None:
        _install()
    return before


@cache
def _install() -> None:
    """Whoever has been told once is told for good: Python takes no hook back."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Must never raise: whatever opens the file would."""
    paths = _paths
    if paths is None or event != "open" or len(arguments) != 3:
        return
    path, _, flags = arguments
    if type(path) is str and type(flags) is int and not flags & os.O_ACCMODE:
        paths.append(path)
