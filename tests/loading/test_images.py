"""Images decode to the arrays they were made of, whatever their channels and depth."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.loading.images import ImageCodec
from dsmanager.loading.imagesize import image_size

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "imagenet-sample"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def decoded(data: bytes, channels: int, dtype: Any = np.uint8) -> np.ndarray:
    return ImageCodec((None, None, channels), np.dtype(dtype))(data)


def paeth(left: int, above: int, corner: int) -> int:
    distances = [abs(left + above - corner - value) for value in (left, above, corner)]
    return (left, above, corner)[distances.index(min(distances))]


def png16(samples: np.ndarray, filters: list[int]) -> bytes:
    """A PNG of 16 bits a sample with these row filters, by the book (RFC 2083, 6)."""
    height, width, channels = samples.shape
    step = 2 * channels
    rows = [row.astype(">u2").tobytes() for row in samples]
    data, above = b"", bytes(width * step)
    for row, kind in zip(rows, filters, strict=True):
        out = bytearray([kind])
        for index, value in enumerate(row):
            a = row[index - step] if index >= step else 0
            b, c = above[index], above[index - step] if index >= step else 0
            out.append((value - [0, a, b, (a + b) // 2, paeth(a, b, c)][kind]) % 256)
        data, above = data + bytes(out), row

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    packed = zlib.compress(data)
    parts = [chunk(b"IDAT", packed[:7]), chunk(b"IDAT", packed[7:])]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(parts) + chunk(b"IEND", b"")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_sixteen_bit_png_of_any_filter_is_exact(data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from([1, 2, 3, 4]))
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    filters = data.draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    seed = data.draw(st.integers(0, 99))
    samples = np.random.default_rng(seed).integers(0, 65536, (height, width, channels), np.uint16)
    png = png16(samples, filters)
    np.testing.assert_array_equal(decoded(png, channels, np.uint16), samples)
    np.testing.assert_array_equal(decoded(png, channels), (samples >> 8).astype(np.uint8))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_channels_are_dropped_or_added_as_libpng_does(mode: str) -> None:
    count = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, count), np.uint8)
    png = encoded(Image.fromarray(pixels[..., 0] if count == 1 else pixels, mode))
    np.testing.assert_array_equal(decoded(png, count), pixels)
    colour = pixels[..., :-1] if count in (2, 4) else pixels
    alpha = pixels[..., -1] if count in (2, 4) else np.full((4, 5), 255)
    rgb, rgba = decoded(png, 3), decoded(png, 4)
    np.testing.assert_array_equal(rgb, np.broadcast_to(colour, (4, 5, 3)))
    np.testing.assert_array_equal(rgba[..., :3], rgb)
    np.testing.assert_array_equal(rgba[..., 3], alpha)
    assert decoded(png, 1).shape == (4, 5, 1)


def test_palettes_and_single_bits_become_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    palette = Image.fromarray(pixels).quantize(8)
    np.testing.assert_array_equal(decoded(encoded(palette), 3), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(pixels[..., 0] > 127)
    np.testing.assert_array_equal(decoded(encoded(bits), 1)[..., 0], np.asarray(bits) * 255)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the shared photos are not here")
def test_photos_equal_the_accurate_decoder() -> None:
    for path in sorted(SAMPLE.iterdir())[:5]:
        data = path.read_bytes()
        with Image.open(path) as image:
            np.testing.assert_array_equal(decoded(data, 3), np.asarray(image.convert("RGB")))
            assert image_size(data) == ("JPEG", *image.size)
        assert decoded(data, 1).shape == (*image.size[::-1], 1)


def test_cmyk_becomes_rgb() -> None:
    cmyk = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    red = decoded(cmyk, 3)[0, 0].astype(int)
    assert red[0] > 240
    assert red[1] < 15


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an image",
        encoded(Image.effect_noise((9, 9), 9))[:70],
        encoded(Image.new("RGB", (64, 64)), "JPEG")[:300],
        encoded(Image.new("RGB", (9, 9)), "TIFF"),
        png16(np.arange(27, dtype=np.uint16).reshape(3, 3, 3), [0, 0, 0])[:60],
    ],
)
def test_what_is_no_image_is_a_verification_error(data: bytes) -> None:
    with pytest.raises(VerificationError):
        decoded(data, 3)


def test_another_shape_than_recorded_is_an_error() -> None:
    png = encoded(Image.new("RGB", (4, 3)))
    with pytest.raises(VerificationError, match="shape"):
        ImageCodec((4, 3, 3), np.dtype(np.uint8))(png)


def test_an_image_bomb_is_refused_unread() -> None:
    bomb = png16(np.zeros((1, 1, 3), np.uint16), [0])
    header = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(DsmanagerError):
        decoded(bomb[:16] + header + bomb[24:], 3, np.uint16)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "BMP"])
def test_the_size_is_in_the_header(image_format: str) -> None:
    data = encoded(Image.new("RGB", (37, 21)), image_format)
    assert image_size(data) == (image_format, 37, 21)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(
        [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"BM", b"GIF89a", b"\x89PNG\r\n\x1a\n"]
    ),
    st.binary(max_size=40),
)
def test_a_size_is_found_or_not_in_any_bytes(start: bytes, rest: bytes) -> None:
    found = image_size(start + rest)
    assert found is None or len(found) == 3
