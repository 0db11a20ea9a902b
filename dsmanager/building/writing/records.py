"""Examples on their way into a spill: encoded, serialized, each with the place of its key.

Images that are given as arrays are encoded beside the generator; as many of them wait as a bound
allows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from tensorflow_datasets.core import hashing

from dsmanager.building.writing.encoder import make_encoder
from dsmanager.building.writing.pending import Pending, encode, owned
from dsmanager.building.writing.serializer import make_serializer
from dsmanager.building.writing.spill import PLACE_BYTES, Spill
from dsmanager.progress import Progress

__all__ = ["fill"]

_INTEGER_OFFSET = 1 << 127  # integer keys may be negative; a place has no sign
_WAITING_BYTES = 64 << 20
_WAITING_EXAMPLES = 256


def fill(
    spill: Spill,
    features: Any,
    split: str,
    examples: Iterable[Any],
    *,
    keep_order: bool,
    beside: bool,
    progress: Progress,
) -> None:
    """Puts examples of a split into ``spill``, and finishes it; ``beside``: threads encode images.

    With ``keep_order`` the place of a record is its key, where that is a number, or else how many
    came before. Raises what TFDS's features refuse, with the key.
    """
    from tensorflow_datasets.core import example_serializer, utils

    encoder = make_encoder(features)
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    records = _Records(serializer, split, keep_order, spill, progress)
    number = -1
    for pair in examples:
        number += 1
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"a generator yields (key, example), not {type(pair).__name__}")
        key, example = pair
        try:
            if beside:
                encoded, pending = encode(encoder, example)
            else:
                encoded, pending = encoder(example), []
        except Exception as error:
            utils.reraise(error, prefix=f"Failed to encode the example {key!r}:\n")
        place = number if keep_order and not isinstance(key, int) else key
        if pending:
            records.add_later(place, encoded, pending)
        else:
            records.add(place, encoded)
        del pair, example, encoded  # the next one finds their memory free
    records.finish()


class _Records:
    """Turns examples into records of a spill, each with the place that its key decides."""

    def __init__(
        self,
        serializer: Any,
        split: str | bytes,
        keep_order: bool,
        spill: Spill,
        progress: Progress,
    ) -> None:
        self._serialize = make_serializer(serializer)
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
