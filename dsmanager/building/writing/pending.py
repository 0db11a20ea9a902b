"""Values of an example that are still being made: images that are encoded beside the generator.

An encoder takes a copy of what it is given, so that a builder may reuse its arrays, and hands out a
:class:`Pending` in place of the bytes. How many of them wait is the business of the writer. Outside
of :func:`encode` nothing is deferred: builder code that encodes an image itself gets bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from dsmanager.building.writing.file_bytes import FileBytes

__all__ = ["Pending", "encode", "encoded_later", "owned", "resolved", "use_threads"]

_WORTH_A_THREAD_BYTES = 4096


class Pending:
    """Bytes to come. ``size_bytes`` is what is held in memory for them until then."""

    __slots__ = ("_future", "size_bytes")

    def __init__(self, future: Future[bytes], size_bytes: int) -> None:
        self._future = future
        self.size_bytes = size_bytes

    def result(self) -> bytes:
        """Waits; raises what the encoder raised."""
        return self._future.result()


_threads = 1
_deferred: list[Pending] | None = None


def encode(encoder: Callable[[Any], Any], example: Any) -> tuple[Any, list[Pending]]:
    """What ``encoder`` makes of an example, and the values in it that are to come."""
    global _deferred
    pending: list[Pending] = []
    _deferred = pending
    try:
        return encoder(example), pending
    finally:
        _deferred = None


def encoded_later(encoder: Callable[[Any], bytes], array: Any) -> bytes | Pending:
    """The bytes of ``array``, or the promise of them where that is of use."""
    if _deferred is None or array.nbytes < _WORTH_A_THREAD_BYTES:
        return encoder(array)
    copy = np.array(array)
    pending = Pending(_pool().submit(encoder, copy), copy.nbytes)
    _deferred.append(pending)
    return pending


def resolved(value: Any) -> Any:
    """The same example with every value in place that is to come."""

    def in_place(each: Any) -> Any:
        if type(each) is Pending:
            return each.result()
        return each.read() if type(each) is FileBytes else each

    return _mapped(in_place, value)


def owned(value: Any) -> Any:
    """The same example with copies of its arrays, which the builder may change meanwhile."""
    return _mapped(lambda each: each.copy() if isinstance(each, np.ndarray) else each, value)


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """An example with every value in its dicts and lists changed."""
    if isinstance(value, dict):
        return {key: _mapped(change, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(change, inner) for inner in value]
    return change(value)


def use_threads(count: int) -> None:
    """How many threads encode; to be said before the first example."""
    global _threads
    _threads = count


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads, thread_name_prefix="encode")
