"""Examples as a builder yields them, as what the serializer takes: TFDS's encoding, decided once.

TFDS looks at every value of every example in the most general way. Here a plain value of a common
feature (text, bytes, a number, a file object that holds an image, an array as the feature wants it)
goes the short way; every other value goes to TFDS's own feature, whose conversions and errors
therefore stay.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from tensorflow_datasets.core import features as feature_lib
from tensorflow_datasets.core import utils

from dsmanager.building.writing.file_bytes import FileBytes

__all__ = ["has_images", "make_encoder"]

_Encode = Callable[[Any], Any]
_REMEMBERED = 4096


def make_encoder(features: Any, image: _Encode | None = None) -> _Encode:
    """A function that gives what ``features.encode_example`` gives, and raises what it raises.

    ``image`` gets what is given for an image first, unless that is in a sequence, and may return
    what stands for a file that is read later: it stays what it is.
    """
    whole: _Encode = features.encode_example
    if type(features) is not feature_lib.FeaturesDict:
        return whole
    fields = [(name, feature, _encoder(feature, image)) for name, feature in features.items()]
    names = {name for name, _, _ in fields}

    def encode(example: Any) -> Any:
        if type(example) is not dict or example.keys() != names:
            return whole(example)
        encoded = {}
        for name, feature, encode_value in fields:
            try:
                encoded[name] = encode_value(example[name])
            except Exception as error:
                utils.reraise(error, prefix=f'In <{type(feature).__name__}> with name "{name}":\n')
        return encoded

    return encode


def has_images(features: Any) -> bool:
    """Whether there are some that are not in sequences."""
    if type(features) is feature_lib.FeaturesDict:
        return any(map(has_images, features.values()))
    return type(features) is feature_lib.Image


def _encoder(feature: Any, image: _Encode | None) -> _Encode:
    kind = type(feature)
    if kind is feature_lib.FeaturesDict:
        return make_encoder(feature, image)
    if kind is feature_lib.Image:
        return _image_encoder(feature, image)
    if kind is feature_lib.ClassLabel:
        return _label_encoder(feature)
    general: _Encode = feature.encode_example
    if kind not in (feature_lib.Tensor, feature_lib.Scalar, feature_lib.Text):
        return general
    info, stored = feature.get_tensor_info(), feature.get_serialized_info()
    if info.optional or getattr(feature, "encoder", None):  # a default cannot be compared
        return general
    if isinstance(stored, dict) or stored != info:  # beside its shape, or as bytes
        return general
    dtype, shape = np.dtype(info.np_dtype), tuple(info.shape)
    return _array_encoder(feature, dtype, shape) if shape else _scalar_encoder(feature, dtype)


def _image_encoder(feature: Any, image: _Encode | None) -> _Encode:
    general: _Encode = feature.encode_example

    def encode(value: Any) -> Any:
        if image is not None:
            value = image(value)
        kind = type(value)
        if kind is bytes or kind is FileBytes:
            return value
        if kind is io.BytesIO or kind is io.BufferedReader:
            return value.read()
        return general(value)

    return encode


def _label_encoder(feature: Any) -> _Encode:
    """The same names and numbers come again and again."""
    general: _Encode = feature.encode_example
    remembered = lru_cache(maxsize=_REMEMBERED, typed=True)(general)
    return lambda value: (remembered if type(value) in (int, str) else general)(value)


def _scalar_encoder(feature: Any, dtype: np.dtype[Any]) -> _Encode:
    """Plain values stay as they are: the serializer knows how they are stored."""
    general: _Encode = feature.encode_example
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
        return lambda value: (
            value if type(value) is int and low <= value <= high else general(value)
        )
    plain = {"O": (str, bytes), "b": (bool,), "f": (float,)}.get(dtype.kind, ())
    if dtype == np.float16:
        plain = ()  # rounded once, by TFDS
    return lambda value: value if type(value) in plain else general(value)


def _array_encoder(feature: Any, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> _Encode:
    general: _Encode = feature.encode_example

    def encode(value: Any) -> Any:
        if (
            type(value) is np.ndarray
            and value.dtype == dtype
            and value.ndim == len(shape)
            and all(
                expected in (None, size) for size, expected in zip(value.shape, shape, strict=True)
            )
        ):
            return value
        return general(value)

    return encode
