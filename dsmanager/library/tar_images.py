"""Encoded images to arrays of one size from 0 to 1, with NumPy and Pillow.

Resizes as ``tf.image.resize`` does without antialiasing, so that pairs agree with TensorFlow's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dsmanager.errors import VerificationError
from dsmanager.loading.images import ImageCodec

__all__ = ["unit_image"]

_COLOUR = ImageCodec((None, None, 3), np.dtype(np.uint8))


def unit_image(content: bytes, size: tuple[int, int], key: str) -> np.ndarray[Any, Any]:
    """float32 of shape (height, width, 3). Raises VerificationError, with the key, for no image."""
    try:
        pixels = _COLOUR(content)
    except VerificationError as error:
        raise VerificationError(f"record {key}: {error.message}", hint=error.hint) from error
    image = pixels.astype(np.float32) / np.float32(255)
    for axis, length in enumerate(size):
        image = _resized(image, axis, length)
    return image


def _resized(image: np.ndarray[Any, Any], axis: int, length: int) -> np.ndarray[Any, Any]:
    """Linear between the two nearest; centres of pixels lie at halves."""
    before = image.shape[axis]
    places = (np.arange(length, dtype=np.float32) + 0.5) * np.float32(before / length) - 0.5
    low = np.floor(places).astype(np.int64)
    weight = (places - low).astype(np.float32)
    shape = [1, 1, 1]
    shape[axis] = length
    weight = weight.reshape(shape)
    first = np.take(image, np.clip(low, 0, before - 1), axis)
    second = np.take(image, np.clip(low + 1, 0, before - 1), axis)
    mixed: np.ndarray[Any, Any] = first + (second - first) * weight
    return mixed
