"""The values of one feature as arrays, straight from the bytes of a ``tf.train.Example``.

Owns dtypes, shapes and sequences of unequal length. Never looks at what the values mean: images
and packed tensors stay bytes here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dsmanager.errors import VerificationError
from dsmanager.records.example import RawFeature

__all__ = ["Array", "Field", "Ragged", "Raw", "nest"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
_MAX_VARINT_BYTES = 10
# the seven low bits of the first n bytes of a number
_SEVENS = np.array([sum(0x7F << 8 * i for i in range(n)) for n in range(9)], np.uint64)
_KIND_OF = {"b": "int", "i": "int", "u": "int", "f": "float", "O": "bytes"}


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences of unequal length inside each other: all values, and the lengths level by level."""

    values: Any
    lengths: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.lengths[0])

    def __getitem__(self, index: int) -> Raw:
        """One outer element: an array where no more than one level is left."""
        row = self.rows(index, index + 1)
        inner: Raw = Ragged(row.values, row.lengths[1:]) if row.lengths[1:] else row.values
        return inner

    def rows(self, start: int, stop: int) -> Ragged:
        """The outer elements from ``start`` to ``stop``."""
        lengths = []
        for level in self.lengths:
            lengths.append(level[start:stop])
            start, stop = int(level[:start].sum()), int(level[:stop].sum())
        return Ragged(self.values[start:stop], tuple(lengths))


Raw: TypeAlias = "Array | Ragged"


def nest(ragged: Ragged) -> list[Any]:
    """Lists in lists of what ``ragged.values`` holds for each innermost sequence."""
    nested: Any = ragged.values
    for lengths in reversed(ragged.lengths):
        ends = np.cumsum(lengths)
        nested = [nested[end - n : end] for end, n in zip(ends, lengths, strict=True)]
    return list(nested)


@dataclass(frozen=True, slots=True)
class Field:
    """How one feature lies in an Example: its key, dtype and shape, all sequences included.

    ``rank`` counts the sequences it is in; they are the first dimensions of ``shape``.
    """

    key: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    rank: int = 0
    default: Any = None

    def read(self, example: dict[str, RawFeature]) -> Raw:
        """Raises VerificationError when the feature is missing or of another kind or size."""
        if self.rank > 1:
            return self._read_ragged(example)
        values = self._values(example.get(self.key), self.dtype)
        if values is None:
            return self._missing()
        return self._shaped(values, self.shape)

    def _missing(self) -> Array:
        if self.default is not None:
            return np.full(self.shape, self.default, self.dtype)
        if None in self.shape:
            return np.empty([size or 0 for size in self.shape], self.dtype)
        if math.prod(size or 0 for size in self.shape) == 0:
            return np.empty([size or 0 for size in self.shape], self.dtype)
        raise VerificationError(f"an example has no feature '{self.key}'")

    def _read_ragged(self, example: dict[str, RawFeature]) -> Ragged:
        flat = self._values(example.get(f"{self.key}/ragged_flat_values"), self.dtype)
        inner = self.shape[self.rank :]
        if flat is None:
            flat = np.empty(0, self.dtype)
        values = self._shaped(flat, (None, *inner))
        lengths = [self._row_lengths(example, level) for level in range(self.rank - 1)]
        for row_lengths, following in zip(lengths, [*lengths[1:], values], strict=True):
            if (row_lengths < 0).any() or int(row_lengths.sum()) != len(following):
                raise VerificationError(f"the sequences of '{self.key}' do not add up")
        return Ragged(values, tuple(lengths))

    def _row_lengths(self, example: dict[str, RawFeature], level: int) -> Array:
        raw = example.get(f"{self.key}/ragged_row_lengths_{level}")
        lengths = self._values(raw, np.dtype(np.int64))
        return np.empty(0, np.int64) if lengths is None else lengths

    def _values(self, raw: RawFeature | None, dtype: np.dtype[Any]) -> Array | None:
        """One dimension of values; None when there are none."""
        if raw is None or not raw.chunks:
            return None
        if raw.kind != _KIND_OF[dtype.kind]:
            raise VerificationError(f"the feature '{self.key}' holds {raw.kind} values")
        if raw.kind == "bytes":
            values = np.empty(len(raw.chunks), object)
            values[:] = [bytes(chunk) for chunk in raw.chunks]
            return values
        if raw.kind == "float":
            return np.concatenate([np.frombuffer(c, "<f4") for c in raw.chunks]).astype(dtype)
        integers = np.concatenate([_int64s(chunk) for chunk in raw.chunks])
        return integers.astype(dtype)

    def _shaped(self, values: Array, shape: tuple[int | None, ...]) -> Array:
        try:
            return values.reshape([-1 if size is None else size for size in shape])
        except ValueError as error:
            if not values.size:  # an open size beside a zero
                return np.empty([size or 0 for size in shape], values.dtype)
            raise VerificationError(
                f"the feature '{self.key}' has {values.size} values, and its shape is {shape}"
            ) from error


def _int64s(chunk: memoryview) -> Array:
    """Varints, all at once: eight bytes of each number together, then the ninth and the tenth."""
    data = np.zeros(len(chunk) + 8, np.uint8)
    data[: len(chunk)] = chunk
    ends = np.flatnonzero(data[: len(chunk)] < 0x80)
    if len(ends) == len(chunk):
        return data[: len(chunk)].astype(np.int64)
    if not len(ends) or ends[-1] != len(chunk) - 1:
        raise VerificationError("a record is no tf.train.Example: a number in it does not end")
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if int(sizes.max()) > _MAX_VARINT_BYTES:
        raise VerificationError("a record is no tf.train.Example: a number in it is too long")
    eights = np.ndarray((len(chunk),), "<u8", data.data, strides=(1,))
    numbers = _joined(eights[starts] & _SEVENS[np.minimum(sizes, 8)])
    for index in range(8, _MAX_VARINT_BYTES):
        longer = np.flatnonzero(sizes > index)
        part = data[starts[longer] + index].astype(np.uint64) & np.uint64(0x7F)
        if index == _MAX_VARINT_BYTES - 1 and (part > 1).any():
            raise VerificationError("a record is no tf.train.Example: a number in it is too long")
        numbers[longer] |= part << np.uint64(7 * index)
    return numbers.view(np.int64)


def _joined(sevens: Array) -> Array:
    """Closes the gaps between eight groups of seven bits: by pairs, fours and eights."""
    for groups, mask in ((1, 0x007F007F007F007F), (2, 0x00003FFF00003FFF), (4, 0x0FFFFFFF)):
        low, bits = np.uint64(mask), np.uint64(8 * groups)
        high = (sevens >> bits) & low
        sevens = (sevens & low) | (high << np.uint64(7 * groups))
    return sevens
