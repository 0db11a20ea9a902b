"""What a builder forks, and what comes back from its code in a second process, ends there.

Such a process would go on with the build beside the first: write the same files, and take away
those of the other when it fails. One that ends by itself, as those of ``multiprocessing``, is not
concerned.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["guard", "guarded", "one_process"]

Item = TypeVar("Item")


@contextmanager
def one_process() -> Iterator[None]:
    """Whoever leaves this and did not enter it was forked inside, and ends at once."""
    pid = os.getpid()
    try:
        yield
    finally:
        _end_unless(pid)


def guarded(items: Iterable[Item]) -> Generator[Item]:
    """The same items; a process that was forked while one was made gets none."""
    pid = os.getpid()
    try:
        for item in items:
            if os.getpid() != pid:
                break
            yield item
            del item
    finally:
        _end_unless(pid)


def _end_unless(pid: int) -> None:
    if os.getpid() != pid:
        sys.stderr.write("a process that the builder forked came back from it, and was ended\n")
        os._exit(0)


def guard(builder: Any) -> None:
    """Makes what TFDS calls to get a builder's generators run in :func:`one_process`."""
    for method in ("_split_generators", "_shard_iterators_per_split"):
        if hasattr(builder, method):
            setattr(builder, method, _in_one_process(getattr(builder, method)))


def _in_one_process(method: Any) -> Any:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with one_process():
            return method(*args, **kwargs)

    return call
