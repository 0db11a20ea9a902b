"""Examples as the nested NumPy values that ``tfds.as_numpy`` gives, without TensorFlow.

Owns the way from TFDS's feature classes to plain decoders, which know nothing of TFDS any more and
can be pickled. A feature that cannot be decoded without TensorFlow is refused when the decoder is
made, not at the first example.

Sequences inside sequences are what TensorFlow calls ragged: ``as_numpy`` leaves them as
``tf.RaggedTensor``, here they are lists (of lists) of arrays, equal to its ``to_list()`` level by
level. A nested ``features.Dataset`` is a :class:`NestedDataset`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import numpy as np

from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.loading.arrays import Array, Field, Ragged, Raw, nest
from dsmanager.loading.images import ImageCodec
from dsmanager.records.example import RawFeature, scan_example

__all__ = ["Decoder", "NestedDataset", "make_decoder"]

_Example = dict[str, RawFeature]


class _Node(Protocol):
    """One feature. ``read`` takes what belongs to it out of an example, ``decode`` finishes it."""

    def read(self, example: _Example) -> Any: ...

    def decode(self, raw: Any, level: int) -> Any:
        """``level`` is how many nested datasets the raw value has already been taken out of."""

    def rows(self, raw: Any) -> int: ...

    def row(self, raw: Any, index: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Dict:
    children: tuple[tuple[str, _Node], ...]

    def read(self, example: _Example) -> dict[str, Any]:
        return {name: child.read(example) for name, child in self.children}

    def decode(self, raw: dict[str, Any], level: int) -> dict[str, Any]:
        return {name: child.decode(raw[name], level) for name, child in self.children}

    def rows(self, raw: dict[str, Any]) -> int:
        counts = {child.rows(raw[name]) for name, child in self.children}
        if len(counts) > 1:
            raise VerificationError("a nested dataset has features of unequal length")
        return counts.pop() if counts else 0

    def row(self, raw: dict[str, Any], index: int) -> dict[str, Any]:
        return {name: child.row(raw[name], index) for name, child in self.children}


@dataclass(frozen=True, slots=True)
class _Values:
    """Numbers and strings as they are stored."""

    field: Field

    def read(self, example: _Example) -> Raw:
        return self.field.read(example)

    def decode(self, raw: Any, level: int) -> Any:
        if isinstance(raw, Ragged):
            return nest(raw)
        return raw if np.ndim(raw) or not isinstance(raw, np.ndarray) else raw[()]

    def rows(self, raw: Raw) -> int:
        return len(raw)

    def row(self, raw: Raw, index: int) -> Any:
        return raw[index]


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Values that are bytes in the example; ``codec`` turns each into an array."""

    field: Field
    codec: Callable[[bytes], Array]
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def read(self, example: _Example) -> Raw:
        return self.field.read(example)

    def decode(self, raw: Any, level: int) -> Any:
        if isinstance(raw, Ragged):
            return nest(Ragged(self._stacked(raw.values), raw.lengths))
        if self.field.rank == level:
            return self.codec(raw if isinstance(raw, bytes) else raw[()])
        return self._stacked(raw)

    def _stacked(self, raw: Any) -> Any:
        """One array; a list where the elements have different shapes."""
        return _stack([self.codec(data) for data in raw], self.shape, self.dtype)

    def rows(self, raw: Raw) -> int:
        return len(raw)

    def row(self, raw: Raw, index: int) -> Any:
        return raw[index]


@dataclass(frozen=True, slots=True)
class _Shaped:
    """Packed tensors with several open sizes: their shape is stored beside them."""

    value: Field
    size: Field
    codec: _Unpack

    def read(self, example: _Example) -> tuple[Raw, Raw]:
        return self.value.read(example), self.size.read(example)

    def decode(self, raw: tuple[Any, Any], level: int) -> Any:
        values, sizes = raw
        if isinstance(values, Ragged):
            flat = self._stacked(values.values, sizes.values)
            return nest(Ragged(flat, values.lengths))
        if self.value.rank == level:
            return self.codec(values if isinstance(values, bytes) else values[()], sizes)
        return self._stacked(values, sizes)

    def _stacked(self, values: Any, sizes: Any) -> Any:
        arrays = [self.codec(data, size) for data, size in zip(values, sizes, strict=True)]
        return _stack(arrays, self.codec.shape, self.codec.dtype)

    def rows(self, raw: tuple[Raw, Raw]) -> int:
        return len(raw[0])

    def row(self, raw: tuple[Raw, Raw], index: int) -> tuple[Any, Any]:
        return raw[0][index], raw[1][index]


@dataclass(frozen=True, slots=True)
class _Unpack:
    """Raw little-endian values of a tensor, compressed with zlib or not."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    compressed: bool

    def __call__(self, data: bytes, sizes: Array | None = None) -> Array:
        shape = [-1 if size is None else size for size in self.shape]
        if sizes is not None:
            shape = [int(size) for size in sizes]
        try:
            if self.compressed:
                data = self._inflated(data, shape)
            values = np.frombuffer(data, self.dtype.newbyteorder("<"))
            return values.astype(self.dtype).reshape(shape)
        except (OverflowError, ValueError, zlib.error) as error:
            raise VerificationError(f"a packed tensor cannot be read: {error}") from error

    def _inflated(self, data: bytes, shape: list[int]) -> bytes:
        """Never more than the shape takes, where it is known."""
        if any(size < 0 for size in shape):
            return zlib.decompress(data)
        expected = math.prod(shape) * self.dtype.itemsize
        return zlib.decompressobj().decompress(data, expected + 1)


@dataclass(frozen=True, slots=True)
class _Dataset:
    inner: _Node

    def read(self, example: _Example) -> Any:
        return self.inner.read(example)

    def decode(self, raw: Any, level: int) -> NestedDataset:
        return NestedDataset(self.inner, raw, level + 1, self.inner.rows(raw))

    def rows(self, raw: Any) -> int:
        return self.inner.rows(raw)

    def row(self, raw: Any, index: int) -> Any:
        return self.inner.row(raw, index)


class NestedDataset(Sequence[Any]):
    """The elements of a ``features.Dataset`` inside one example; each is decoded when asked for."""

    def __init__(self, inner: _Node, raw: Any, level: int, count: int) -> None:
        self._inner = inner
        self._raw = raw
        self._level = level
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"element {index} of {self._count}")
        row = self._inner.row(self._raw, index % self._count)
        return self._inner.decode(row, self._level)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(self._count))


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns the bytes of one example into its nested values."""

    root: _Node

    def __call__(self, record: bytes) -> Any:
        """Raises VerificationError for a record that is not what the features say."""
        return self.root.decode(self.root.read(scan_example(record)), 0)


def make_decoder(features: Any) -> Decoder:
    """From the features of a ``tfds.core.DatasetInfo``.

    Raises DsmanagerError, naming the feature, when one needs TensorFlow.
    """
    return Decoder(_node(features, "", ()))


def _node(feature: Any, key: str, lengths: tuple[int | None, ...]) -> _Node:
    """``lengths`` are those of the sequences around the feature, outermost first."""
    from tensorflow_datasets.core import features as tfds

    if isinstance(feature, tfds.FeaturesDict):
        names = sorted(feature.keys())  # the order in which TensorFlow gives them
        return _Dict(tuple((n, _node(feature[n], _join(key, n), lengths)) for n in names))
    if isinstance(feature, tfds.Dataset):
        return _Dataset(_node(feature.feature, key, (*lengths, feature._length)))
    if isinstance(feature, tfds.Sequence):
        return _node(feature.feature, key, (*lengths, feature._length))
    if isinstance(feature, tfds.Image):
        field = _field(key, feature.get_serialized_info(), lengths)
        shape, dtype = feature._shape, np.dtype(feature._dtype)
        return _Encoded(field, ImageCodec(shape, dtype), shape, dtype)
    if isinstance(feature, tfds.Audio) and feature._lazy_decode:
        raise _needs_tensorflow(key, "audio that is decoded when it is read")
    if isinstance(feature, tfds.Tensor):
        return _tensor(feature, key, lengths)
    raise _needs_tensorflow(key, type(feature).__name__)


def _tensor(feature: Any, key: str, lengths: tuple[int | None, ...]) -> _Node:
    info = feature.get_serialized_info()
    if not feature._encoded_to_bytes:
        if feature._dynamic_shape:
            raise _needs_tensorflow(key, "a tensor with several open sizes that is not packed")
        return _Values(_field(key, info, lengths))
    codec = _Unpack(
        feature._shape, np.dtype(feature._dtype), compressed=feature._encoding.value == "zlib"
    )
    if feature._dynamic_shape:
        value, size = (_field(_join(key, part), info[part], lengths) for part in ("value", "shape"))
        return _Shaped(value, size, codec)
    return _Encoded(_field(key, info, lengths), codec, codec.shape, codec.dtype)


def _field(key: str, info: Any, lengths: tuple[int | None, ...]) -> Field:
    shape = (*lengths, *info.shape)
    inner = info.shape if lengths else info.shape[1:]
    if None in inner and (lengths or info.shape.count(None) > 1):
        raise _needs_tensorflow(key, "a sequence of tensors with an open size")
    dtype = np.dtype(info.np_dtype)
    if dtype.kind not in "biufO":
        raise _needs_tensorflow(key, f"the dtype {dtype}")
    default = (
        None
        if dtype.kind == "O" and not isinstance(info.default_value, bytes)
        else (info.default_value)
    )
    return Field(key, dtype, shape, len(lengths), default)


def _join(key: str, name: str) -> str:
    return f"{key}/{name}" if key else name


def _stack(arrays: list[Array], shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> Any:
    if not arrays:
        return np.empty((0, *(size or 0 for size in shape)), dtype)
    if len({array.shape for array in arrays}) > 1:
        return arrays
    return np.stack(arrays)


def _needs_tensorflow(key: str, what: str) -> DsmanagerError:
    return DsmanagerError(
        f"the feature '{key}' cannot be decoded with NumPy: it is {what}",
        hint="dsmanager.load(REF, framework=\"tf\") does it, after: pip install 'dsmanager[tf]'",
    )
