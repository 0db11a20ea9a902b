"""Encoded images to arrays, as TensorFlow's ``decode_image`` gives them, with Pillow.

Owns channels and sample depths. PNG, BMP and GIF come out equal to TensorFlow's bytes. JPEG comes
out equal to TensorFlow's accurate transform (``dct_method="INTEGER_ACCURATE"``); TensorFlow's
default is a faster approximation of it, from which single samples may differ by 20 of 255. Never
resizes, rotates or scales.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dsmanager.errors import DsmanagerError, VerificationError

__all__ = ["ImageCodec"]

_FORMATS = ("PNG", "JPEG", "GIF", "BMP")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
# what libpng makes of TensorFlow's weights of red, green and blue, in 1/32768
_RED, _GREEN, _BLUE = 9797, 19234, 3737


@dataclass(frozen=True, slots=True)
class ImageCodec:
    """Decodes one image to ``shape`` (height, width, channels; None is open) and ``dtype``.

    A shape of four is an animation: frames first.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def __call__(self, data: bytes) -> np.ndarray[Any, Any]:
        """Raises VerificationError for bytes that are no such image."""
        try:
            array = self._decode(data)
        except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
            reason = "of an unknown format" if isinstance(error, UnidentifiedImageError) else error
            raise VerificationError(f"an image cannot be decoded: it is {reason}") from error
        except Image.DecompressionBombError as error:
            raise DsmanagerError(
                f"an image is too large to decode: {error}",
                hint="raise PIL.Image.MAX_IMAGE_PIXELS before loading it",
            ) from error
        expected = self.shape
        if array.ndim != len(expected) or any(
            size is not None and size != actual
            for size, actual in zip(expected, array.shape, strict=False)
        ):
            raise VerificationError(
                f"an image has the shape {array.shape}, and {expected} was recorded"
            )
        return array

    def _decode(self, data: bytes) -> np.ndarray[Any, Any]:
        channels = self.shape[-1] or 0
        if self.dtype == np.float32:  # four channels of bytes hold one of floats
            return _samples8(data, 4).view("<f4").astype(np.float32, copy=False)
        if self.dtype == np.uint16:
            return _samples16(data, channels)
        if len(self.shape) == 4:
            return _frames(data, channels)
        return _samples8(data, channels)


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=_FORMATS)


def _samples8(data: bytes, channels: int) -> np.ndarray[Any, Any]:
    if _png_depth(data) == 16:
        return (_samples16(data, channels) >> 8).astype(np.uint8)
    with _open(data) as image:
        if image.format == "JPEG" and channels == 1:
            image.draft("L", None)  # the luma as it is stored, not one computed from RGB
        return _with_channels(image, channels)


def _frames(data: bytes, channels: int) -> np.ndarray[Any, Any]:
    with _open(data) as image:
        frames = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(_with_channels(image, channels or 3))
        return np.stack(frames)


def _with_channels(image: Image.Image, channels: int) -> np.ndarray[Any, Any]:
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("1", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if channels == 4 and "transparency" in image.info:
        image = image.convert("RGBA")
    array = np.asarray(image)
    return _adapt(array[..., None] if array.ndim == 2 else array, channels)


def _adapt(array: np.ndarray[Any, Any], channels: int) -> np.ndarray[Any, Any]:
    """Drops or adds colour and alpha; 0 keeps what there is."""
    if channels in (0, array.shape[-1]):
        return np.array(array)
    colour, alpha = array, None
    if array.shape[-1] in (2, 4):
        colour, alpha = array[..., :-1], array[..., -1:]
    if channels >= 3 and colour.shape[-1] == 1:
        colour = np.repeat(colour, 3, axis=-1)
    elif channels <= 2 and colour.shape[-1] == 3:
        colour = _gray(colour)
    if channels in (1, 3):
        return np.ascontiguousarray(colour)
    if alpha is None:
        alpha = np.full_like(colour[..., :1], np.iinfo(array.dtype).max)
    return np.concatenate([colour, alpha], axis=-1)


def _gray(colour: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    red, green, blue = np.moveaxis(colour.astype(np.uint32), -1, 0)
    half = 1 << 14 if colour.dtype == np.uint16 else 0  # libpng rounds only sixteen bits
    gray = (_RED * red + _GREEN * green + _BLUE * blue + half) >> 15
    return np.asarray(gray.astype(colour.dtype))[..., None]


def _png_depth(data: bytes) -> int | None:
    return data[24] if data[:8] == _PNG and len(data) > 24 else None


def _samples16(data: bytes, channels: int) -> np.ndarray[Any, Any]:
    """PNG of 16 bits a sample as it is; eight bits are spread over sixteen."""
    if _png_depth(data) is None:
        raise ValueError("no PNG, as images of 16 bits a sample have to be")
    if _png_depth(data) != 16:
        return _samples8(data, channels).astype(np.uint16) * 257
    width, height, _, colour_type, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if interlace or colour_type not in _PNG_CHANNELS:
        raise DsmanagerError("an interlaced PNG of 16 bits a sample cannot be decoded")
    planes = _png16_planes(data, width, height, 2 * _PNG_CHANNELS[colour_type])
    samples = planes.reshape(height, width, -1, 2).astype(np.uint16)
    return _adapt(samples[..., 0] << 8 | samples[..., 1], channels)


def _png16_planes(data: bytes, width: int, height: int, lanes: int) -> np.ndarray[Any, Any]:
    """The bytes of a PNG of 16 bits a sample: (height, width, ``lanes`` bytes a pixel).

    Pillow cuts colour to eight bits. PNG's filters look at a byte and at the same byte of the
    pixels around it, so each byte of a pixel is an eight-bit gray image of its own with the same
    filters; those Pillow decodes.
    """
    if width * height > (Image.MAX_IMAGE_PIXELS or width * height) * 2:
        raise Image.DecompressionBombError(f"{width} by {height} pixels")
    row_bytes = 1 + width * lanes
    inflate = zlib.decompressobj()
    raw = inflate.decompress(b"".join(_png_chunks(data, b"IDAT")), height * row_bytes)
    if len(raw) != height * row_bytes:
        raise ValueError("a PNG without all its rows")
    rows = np.frombuffer(raw, np.uint8).reshape(height, row_bytes)
    filters, pixels = rows[:, :1], rows[:, 1:].reshape(height, width, lanes)
    planes = []
    for lane in range(lanes):
        filtered = np.concatenate([filters, pixels[..., lane]], axis=1).tobytes()
        with _open(_gray_png(width, height, filtered)) as image:
            planes.append(np.asarray(image))
    return np.stack(planes, axis=-1)


def _png_chunks(data: bytes, kind: bytes) -> list[bytes]:
    chunks, position = [], len(_PNG)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        if data[position + 4 : position + 8] == kind:
            chunks.append(data[position + 8 : position + 8 + length])
        position += 12 + length
    return chunks


def _gray_png(width: int, height: int, filtered: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return len(content).to_bytes(4) + kind + content + crc.to_bytes(4)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(filtered, 1))
    return _PNG + body + chunk(b"IEND", b"")
