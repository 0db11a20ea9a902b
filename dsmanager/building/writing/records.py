"""Encoded examples as records of a spill. Of those whose images are still being made some wait."""

from __future__ import annotations

from collections import deque
from typing import Any

from tensorflow_datasets.core import example_serializer, hashing

from dsmanager.building.writing.pending import Pending, owned
from dsmanager.building.writing.serializer import make_serializer
from dsmanager.building.writing.spill import PLACE_BYTES, Spill
from dsmanager.progress import Progress

__all__ = ["Records"]

_INTEGER_OFFSET = 1 << 127  # integer keys may be negative; a place has no sign
_WAITING_BYTES = 64 << 20
_WAITING_EXAMPLES = 256


class Records:
    """Turns encoded examples into records of a spill, each with the place that its key decides.

    ``specs`` are what TFDS's serializer is made from: ``features.get_serialized_info()``. With
    ``keep_order`` keys are numbers, and the places.
    """

    def __init__(
        self,
        specs: Any,
        split: str | bytes,
        keep_order: bool,
        spill: Spill,
        progress: Progress,
    ) -> None:
        self._serialize = make_serializer(example_serializer.ExampleSerializer(specs))
        self._salted = hashing.Hasher(split)._md5
        self._keep_order = keep_order
        self._spill = spill
        self._progress = progress
        self._waiting: deque[tuple[int | str | bytes, Any, list[Pending]]] = deque()
        self._waiting_bytes = 0

    def add(self, key: int | str | bytes, example: Any) -> None:
        """Takes one encoded example in."""
        record = self._serialize(example)
        if self._keep_order:
            place = (int(key) + _INTEGER_OFFSET).to_bytes(PLACE_BYTES, "big")
        else:
            hashed = self._salted.copy()
            hashed.update(hashing._to_bytes(key))
            place = hashed.digest()
        self._spill.add(place, ascii(key).encode(), record)
        self._progress.add_records(1, record[1])

    def add_later(self, key: int | str | bytes, example: Any, pending: list[Pending]) -> None:
        """Takes in an encoded example with values that are to come: ``pending``."""
        self._waiting.append((key, owned(example), pending))
        self._waiting_bytes += sum(each.size_bytes for each in pending)
        while self._waiting_bytes > _WAITING_BYTES or len(self._waiting) > _WAITING_EXAMPLES:
            self._store_first()

    def finish(self) -> None:
        while self._waiting:
            self._store_first()
        self._spill.finish()

    def _store_first(self) -> None:
        key, example, pending = self._waiting.popleft()
        self._waiting_bytes -= sum(each.size_bytes for each in pending)
        self.add(key, example)
