"""Encoded examples as the bytes of ``tf.train.Example``, without a message in between.

Gives what TFDS's ``ExampleSerializer`` gives with its features in a fixed order, in a fraction of
the time: how each feature is written is decided once, from its spec. A value that is not as its
spec leads to expect, and every feature that is not written here, goes to TFDS's own serializer,
whose errors and conversions therefore stay. The wire format is described in ``records/example.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from tensorflow_datasets.core import example_serializer
from tensorflow_datasets.core.features import feature as feature_lib
from tensorflow_datasets.proto import tf_feature_pb2

from dsmanager.building.writing.file_bytes import (
    WORTH_DEFERRING_BYTES,
    FileBytes,
    Piece,
    Record,
)
from dsmanager.building.writing.pending import Pending, resolved
from dsmanager.records.encoding import varint

__all__ = ["make_serializer"]

_Parts = list[bytes]
_Encode = Callable[[Any], _Parts]
_Entry = bytes | tuple[Piece, ...]
"""Of one feature: whole, or in parts when some of them are large."""
_FLOAT = struct.Struct("<f")
_LARGE_BYTES = WORTH_DEFERRING_BYTES
_REMEMBERED = 4096  # labels and lengths, which come again and again
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = b"\x0a", b"\x12", b"\x1a"
_UNUSUAL = (AttributeError, KeyError, OverflowError, TypeError, ValueError, struct.error)


class _UnusualError(ValueError):
    """A value that TFDS's serializer has to judge."""


def make_serializer(serializer: Any) -> Callable[[Any], Record]:
    """A function from encoded examples to records, equal to those of TFDS's ``serializer``.

    A large value is a piece of its own, so that it is not copied.
    """

    def slow(example: Any) -> Record:
        found = serializer.get_tf_example(resolved(example)).features.feature
        names = sorted(found, key=_rank)
        return _record(_entry(_head(name), [found[name].SerializeToString()]) for name in names)

    features = _features(serializer.example_specs)
    if features is None:
        return slow
    if not any(isinstance(feature, _Ragged) for feature in features):
        return _flat_serializer(features, slow)
    names = sorted((name for feature in features for name in feature.names), key=_rank)
    heads = {name: _head(name) for name in names}
    slots = {name: index for index, name in enumerate(names)}

    def fast(example: Any) -> Record:
        entries: list[_Entry | None] = [None] * len(names)
        try:
            for feature in features:
                value = example
                for key in feature.path:
                    value = value[key]
                for name, parts in feature.entries(value):
                    entries[slots[name]] = _entry(heads[name], parts)
        except _UNUSUAL:
            return slow(example)
        return _record(entry for entry in entries if entry is not None)

    return fast


def _flat_serializer(
    features: Sequence[_Feature], slow: Callable[[Any], Record]
) -> Callable[[Any], Record]:
    """Of features that are one entry each: they are written in their order, one after the other."""
    fields = [
        (feature.path[0], feature.path[1:], feature.optional, feature.make_entry)
        for feature in sorted(features, key=lambda feature: _rank(feature.name))
    ]

    def fast(example: Any) -> Record:
        entries = []
        try:
            for first, rest, is_optional, make_entry in fields:
                value = example[first]
                for key in rest:
                    value = value[key]
                if value is not None:
                    entries.append(make_entry(value))
                elif not is_optional:
                    raise _UnusualError
        except _UNUSUAL:
            return slow(example)
        return _record(entries)

    return fast


def _rank(name: str) -> tuple[int, ...]:
    """The order of features: by the bytes of their names, a name after those that it begins.

    That is how protobuf's deterministic serialization sorts; without it TFDS leaves the order open.
    """
    return (*name.encode(), 256)


def _record(entries: Iterable[_Entry]) -> Record:
    """An example of these entries."""
    pieces: list[Piece] = []
    small: list[bytes] = []
    length = 0
    for entry in entries:
        if isinstance(entry, bytes):
            small.append(entry)
            continue
        for part in entry:
            if isinstance(part, bytes) and len(part) < _LARGE_BYTES:
                small.append(part)
                continue
            joined = b"".join(small)
            pieces += (joined, part)
            length += len(joined) + len(part)
            small = []
    last = b"".join(small)
    length += len(last)
    start = b"\x0a" + varint(length)
    if pieces:
        pieces[0] = start + cast(bytes, pieces[0])  # what stands before the first large one
        pieces.append(last)
    else:
        pieces.append(start + last)
    return pieces, length + len(start)


@dataclass(frozen=True, slots=True)
class _Feature:
    """One feature: where it is in an example, and how its value becomes entries."""

    name: str
    path: tuple[str, ...]
    encode: _Encode
    optional: bool
    is_string: bool = False
    """A single string: the commonest feature, and the largest."""

    @property
    def make_entry(self) -> Callable[[Any], _Entry]:
        """From a value to the whole entry, for a feature that is one entry."""
        head, encode = _head(self.name), self.encode

        @lru_cache(maxsize=_REMEMBERED)
        def of_plain_int(value: int) -> _Entry:
            return _entry(head, encode(value))

        @lru_cache(maxsize=_REMEMBERED)
        def start_of_string(length: int) -> bytes:
            return _string_start(head, length)

        def string_entry(value: Any) -> _Entry:
            if type(value) is str:
                value = value.encode()
            elif type(value) is not bytes:
                value = _string(value)
            length = len(value)
            if length < _LARGE_BYTES:
                return start_of_string(length) + cast(bytes, value)
            return _string_start(head, length), value

        def entry(value: Any) -> _Entry:
            if type(value) is int:
                return of_plain_int(value)
            return _entry(head, encode(value))

        return string_entry if self.is_string else entry

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def entries(self, value: Any) -> Iterator[tuple[str, _Parts]]:
        if value is not None:
            yield self.name, self.encode(value)
        elif not self.optional:
            raise _UnusualError


@dataclass(frozen=True, slots=True)
class _Ragged(_Feature):
    """Sequences in sequences: their values in a row, and how many each one has."""

    spec: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        lengths = range(self.spec.sequence_rank - 1)
        rows = (f"{self.name}/ragged_row_lengths_{level}" for level in lengths)
        return (f"{self.name}/ragged_flat_values", *rows)

    def entries(self, value: Any) -> Iterator[tuple[str, _Parts]]:
        flat, lengths = example_serializer._extract_ragged_attributes(resolved(value), self.spec)
        yield self.names[0], self.encode(flat)
        for name, row in zip(self.names[1:], lengths, strict=True):
            yield name, _int64s(np.array(row, np.int64))


def _features(specs: Any) -> list[_Feature] | None:
    """None when some feature is better left to TFDS."""
    features: list[_Feature] = []
    for path, spec in _flat(specs, ()):
        dtype = np.dtype(spec.np_dtype)
        name = "/".join(path)
        if dtype.kind not in "biufO" or dtype.itemsize > 8 or not name:
            return None
        if spec.sequence_rank > 1:
            shape = (None, *spec.shape[spec.sequence_rank :])
            flat = feature_lib.TensorInfo(shape=shape, dtype=spec.dtype)
            features.append(_Ragged(name, path, _encoder(flat, dtype), False, spec=spec))
        else:
            is_string = dtype.kind == "O" and not spec.sequence_rank and not spec.shape
            features.append(_Feature(name, path, _encoder(spec, dtype), spec.optional, is_string))
    return features


def _flat(specs: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(specs, Mapping):
        for key, inner in specs.items():
            yield from _flat(inner, (*path, key))
    else:
        yield path, specs


def _encoder(spec: Any, dtype: np.dtype[Any]) -> _Encode:
    shape = tuple(spec.shape)
    if spec.sequence_rank:
        array = _array_encoder(dtype)
        return lambda value: array(_sequence(value, shape, dtype))
    if not shape:
        return _scalar_encoder(dtype)
    array = _array_encoder(dtype)
    return lambda value: array(_checked(value, shape, dtype))


def _array_encoder(dtype: np.dtype[Any]) -> Callable[[Any], _Parts]:
    if dtype.kind == "O":
        return lambda values: _strings([_string(value) for value in _items(values)])
    if dtype.kind == "f":
        return _floats
    return _int64s if dtype.kind in "iu" else _booleans


def _scalar_encoder(dtype: np.dtype[Any]) -> _Encode:
    if dtype.kind == "O":
        return lambda value: _strings([_string(value)])
    plain: type = {"b": bool, "f": float}.get(dtype.kind, int)
    if dtype == np.float16:
        plain = np.float16  # a float would have to be rounded twice
    low, high = _range(dtype)

    def fits(value: Any) -> bool:
        return plain is not int or low <= value <= high

    def encode(value: Any) -> _Parts:
        if isinstance(value, (np.ndarray, np.generic)):
            if value.dtype != dtype or value.shape != ():
                raise _UnusualError
            value = value.item()
        elif type(value) is not plain or not fits(value):
            raise _UnusualError
        if dtype.kind == "f":
            return [b"\x12\x06\x0a\x04" + _FLOAT.pack(value)]
        number = varint(int(value) & 0xFFFFFFFFFFFFFFFF)
        return [_INT64_LIST + bytes((len(number) + 2, 0x0A, len(number))) + number]

    return encode


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind not in "iu":
        return 0, 0
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _checked(value: Any, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> Any:
    """``value`` when it is an array of that dtype and shape; None is any size."""
    if type(value) is not np.ndarray or value.dtype != dtype or value.ndim != len(shape):
        raise _UnusualError
    for size, expected in zip(value.shape, shape, strict=True):
        if expected is not None and size != expected:
            raise _UnusualError
    return value


def _sequence(value: Any, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> Any:
    """The elements of a sequence as one array, or as a list of scalars and strings."""
    if shape[0] is not None and len(value) != shape[0]:
        raise _UnusualError
    if type(value) is np.ndarray:
        return _checked(value, shape, dtype) if len(value) else value
    if type(value) is not list:
        raise _UnusualError
    if not value:
        return np.empty(0, dtype)
    if len(shape) == 1 and dtype.kind == "O":
        return value
    if len(shape) == 1 and type(value[0]) is int and dtype == np.int64:  # labels
        return np.array([_plain_int(each) for each in value], dtype)
    arrays = [_checked(each, shape[1:], dtype) for each in value]
    return np.stack(arrays)


def _plain_int(value: Any) -> int:
    if type(value) is not int:
        raise _UnusualError
    return value


def _items(values: Any) -> Any:
    return values.flat if isinstance(values, np.ndarray) else values


def _string(value: Any) -> Any:
    """Bytes, or a FileBytes, which only a single string can be."""
    if type(value) is bytes:
        return value
    if type(value) is np.ndarray and value.shape == () and value.dtype.kind == "O":
        value = value.item()
    if type(value) is Pending:
        value = value.result()
    if type(value) is str:
        return value.encode()
    if type(value) is not bytes and type(value) is not FileBytes:
        raise _UnusualError
    return value


def _strings(values: list[bytes]) -> _Parts:
    parts: _Parts = []
    for value in values:
        parts += (b"\x0a", varint(len(value)), value)
    length = sum(map(len, parts))
    return [_BYTES_LIST, varint(length), *parts]


def _floats(values: Any) -> _Parts:
    with np.errstate(over="ignore", invalid="ignore"):
        if values.size and np.isnan(values).any():
            values = values.astype(np.float64)  # as messages do: signalling NaNs become quiet
        return _packed(_FLOAT_LIST, values.astype("<f4").tobytes())


def _booleans(values: Any) -> _Parts:
    return _packed(_INT64_LIST, values.astype(np.uint8).tobytes())


def _int64s(values: Any) -> _Parts:
    if values.dtype == np.uint64:
        values = values.view(np.int64)
    if values.size and values.min() >= 0 and values.max() < 0x80:
        return _packed(_INT64_LIST, values.astype(np.uint8).tobytes())
    content = tf_feature_pb2.Int64List(value=values.ravel().tolist()).SerializeToString()
    return [_INT64_LIST, varint(len(content)), content]


def _packed(kind: bytes, values: bytes) -> _Parts:
    if not values:
        return [kind, b"\0"]
    length = varint(len(values))
    return [kind, varint(1 + len(length) + len(values)), b"\x0a", length, values]


def _head(name: str) -> bytes:
    """The key of a map entry."""
    key = name.encode()
    return b"\x0a" + varint(len(key)) + key + b"\x12"


def _entry(head: bytes, feature: _Parts) -> _Entry:
    lengths = [len(part) for part in feature]
    length = sum(lengths)
    size = varint(length)
    start = b"".join((b"\x0a", varint(len(head) + len(size) + length), head, size))
    if max(lengths) < _LARGE_BYTES:
        return start + b"".join(feature)
    return (start, *feature)


def _string_start(head: bytes, length: int) -> bytes:
    """What stands before a string of that length, its lengths from the inside out.

    They are those of string, list, feature and entry.
    """
    string = varint(length)
    length += 1 + len(string)
    strings = varint(length)
    length += 1 + len(strings)
    feature = varint(length)
    entry = varint(len(head) + len(feature) + length)
    return b"".join((b"\x0a", entry, head, feature, _BYTES_LIST, strings, b"\x0a", string))
