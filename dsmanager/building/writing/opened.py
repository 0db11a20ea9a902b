"""Which files the builder's code has opened of late: Python tells of every one that it opens."""

from __future__ import annotations

import os
import sys
from collections import deque
from functools import cache
from typing import Any

__all__ = ["listen"]

_opened: deque[str] | None = None


def listen(opened: deque[str] | None) -> None:
    """From now on the paths of files that this process opens to read them are put there."""
    global _opened
    _opened = opened
    if opened is not None:
        _install()


@cache
def _install() -> None:
    """Whoever has been told once is told for good: Python takes no hook back."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None:
        path, _, flags = arguments
        if type(path) is str and not flags & os.O_ACCMODE:
            _opened.append(path)
