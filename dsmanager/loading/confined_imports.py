"""Keeps what TFDS does to ``import`` to the thread that imports TFDS.

While its modules are imported, ``etils.epy.lazy_imports`` takes the place of Python's own import,
for all threads: one that imports something else meanwhile, such as the front end that shows how far
the work is, gets modules that stand for others, or a ValueError for a relative import.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["install"]


def install() -> None:
    """To be called before TFDS is imported; more calls change nothing."""
    from etils import epy

    epy.lazy_imports = _lazy_imports


@contextmanager
def _lazy_imports(**callbacks: Any) -> Iterator[None]:
    """In place of etils's, which is at work below it."""
    from etils.epy import lazy_imports_utils

    thread = threading.get_ident()
    ordinary = builtins.__import__
    with lazy_imports_utils.lazy_imports(**callbacks):
        lazy = builtins.__import__

        def chosen(*arguments: Any, **options: Any) -> Any:
            is_ours = threading.get_ident() == thread
            return (lazy if is_ours else ordinary)(*arguments, **options)

        builtins.__import__ = chosen
        yield
