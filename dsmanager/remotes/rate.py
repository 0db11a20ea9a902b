"""A limit of bytes a second, shared by all threads and transfers that are given it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

from dsmanager.errors import UsageError
from dsmanager.text import plain

__all__ = ["RateLimit", "rate_limit"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_RATE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([kmg]?)", re.ASCII)
_PAUSE_S = 0.1
_MIN_PIECE_BYTES = 1 << 10


class RateLimit:
    """``bytes_per_s`` for everything together. Safe between threads."""

    def __init__(self, bytes_per_s: int) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at_s = 0.0

    def piece_bytes(self, at_most: int) -> int:
        """How much to move at a time, so that no pause is long."""
        return min(at_most, max(_MIN_PIECE_BYTES, int(self.bytes_per_s * _PAUSE_S)))

    def take(self, count: int, check: Callable[[], None]) -> None:
        """Waits until ``count`` bytes may move. ``check`` raises once nobody wants them."""
        with self._lock:
            starts_s = max(self._free_at_s, time.monotonic())
            self._free_at_s = starts_s + count / self.bytes_per_s
        while (pause_s := starts_s - time.monotonic()) > 0:
            check()
            time.sleep(min(pause_s, _PAUSE_S))


def rate_limit(rate: str | int | None) -> RateLimit | None:
    """``10M`` → 10,000,000 bytes a second; k, m and g are powers of 1000. Raises UsageError.

    A number counts bytes a second; None and nothing are no limit.
    """
    if rate is None or rate == "":
        return None
    match = _RATE.fullmatch(str(rate).strip().lower())
    bytes_per_s = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not bytes_per_s:
        raise UsageError(
            f"'{plain(str(rate))}' is no rate: a number of bytes a second with k, m or g behind",
            hint="for example: dsmanager download --limit-rate 10M",
        )
    return RateLimit(bytes_per_s)
