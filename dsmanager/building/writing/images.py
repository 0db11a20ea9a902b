"""Images as PNG and JPEG bytes without TensorFlow, byte for byte as ``tf.io.encode_*`` makes them.

TFDS stores an image that a builder gives as an array through TensorFlow. PNG is made here as
libpng does with its defaults and the deflate memory level of TensorFlow's build; JPEG is made by
Pillow with TensorFlow's defaults (quality 95, 4:2:0, 300 dpi). Tests compare both with TensorFlow.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np

__all__ = ["encode_jpeg", "encode_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: gray, gray + alpha, RGB, RGBA
_IDAT_BYTES = 8192
_SMALL_BYTES = 16384
_MEMORY_LEVEL = 9


def encode_png(image: Any) -> bytes:
    """PNG of an array of shape (height, width, 1 to 4 channels) of uint8 or uint16."""
    height, width, channels = image.shape
    depth_bits = image.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, depth_bits, _COLOR_TYPES[channels], 0, 0, 0)
    data = _deflate(_filtered(image))
    parts = [data[start : start + _IDAT_BYTES] for start in range(0, len(data), _IDAT_BYTES)]
    chunks = [(b"IHDR", header), *((b"IDAT", part) for part in parts), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def encode_jpeg(image: Any) -> bytes:
    """JPEG of an array of shape (height, width, 1 or 3 channels) of uint8."""
    from PIL import Image

    gray = image.shape[2] == 1
    picture = Image.fromarray(image[..., 0] if gray else image)
    buffer = io.BytesIO()
    subsampling = {} if gray else {"subsampling": "4:2:0"}
    picture.save(buffer, "JPEG", quality=95, dpi=(300, 300), **subsampling)
    return buffer.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _filtered(image: Any) -> bytes:
    """Each row behind the number of its filter: of none, sub, up, average and Paeth, the one with
    the least sum of absolute (signed) bytes, the first of equals, as libpng chooses.
    """
    height, width, channels = image.shape
    step = channels * image.dtype.itemsize
    big_endian = np.ascontiguousarray(image, image.dtype.newbyteorder(">"))
    rows = big_endian.view(np.uint8).reshape(height, width * step).astype(np.int16)
    left, up, corner = np.zeros_like(rows), np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    up[1:] = rows[:-1]
    corner[1:, step:] = rows[:-1, :-step]
    filters = {0: rows}
    if width > 1:
        filters[1] = rows - left
    if height > 1:
        filters[2] = rows - up
    if width > 1 and height > 1:
        filters[3] = rows - ((left + up) >> 1)
        filters[4] = rows - _paeth(left, up, corner)
    candidates = np.stack(list(filters.values())).astype(np.uint8)
    magnitudes = np.minimum(candidates, -candidates)  # of a byte taken as signed
    best = magnitudes.sum(axis=2, dtype=np.uint64).argmin(axis=0)
    lines = np.empty((height, 1 + width * step), np.uint8)
    lines[:, 0] = np.array(list(filters))[best]
    lines[:, 1:] = candidates[best, np.arange(height)]
    return lines.tobytes()


def _paeth(left: Any, up: Any, corner: Any) -> Any:
    by_left, by_up = np.abs(up - corner), np.abs(left - corner)
    by_corner = np.abs(left + up - 2 * corner)
    nearest_up = np.where(by_up <= by_corner, up, corner)
    return np.where((by_left <= by_up) & (by_left <= by_corner), left, nearest_up)


def _deflate(data: bytes) -> bytes:
    """Deflates as libpng does: the window no larger than the data need, and the header says so."""
    window_bits = 15
    if len(data) <= _SMALL_BYTES:
        while len(data) + 262 <= 1 << (window_bits - 1):
            window_bits -= 1
    deflater = zlib.compressobj(-1, zlib.DEFLATED, window_bits, _MEMORY_LEVEL, zlib.Z_FILTERED)
    compressed = bytearray(deflater.compress(data) + deflater.flush())
    if len(data) <= _SMALL_BYTES:
        _shrink_window(compressed, len(data))
    return bytes(compressed)


def _shrink_window(stream: bytearray, size_bytes: int) -> None:
    """Writes the smallest window that holds ``size_bytes`` into a zlib header, with its check."""
    exponent = stream[0] >> 4
    while exponent > 0 and size_bytes <= 1 << (exponent + 7):
        exponent -= 1
    stream[0] = exponent << 4 | 8
    flags = stream[1] & 0xE0
    stream[1] = flags + 31 - ((stream[0] << 8) + flags) % 31
