"""Headers say what Pillow finds by decoding; only what must be mended is decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsmanager.sources.images import BadImageError, rgb_jpeg
from dsmanager.sources.jpeg import Frame, frame_of

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "imagenet-sample"
TOLERANCE, MEAN_TOLERANCE = 8, 2
"""Of 255, between pixels that TFDS stores of a CMYK image and ours; docs/imagenet.md names them."""


def encoded(
    mode: str, kind: str = "JPEG", size: tuple[int, int] = (33, 21), **how: object
) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    smooth = np.stack([x * 2 + y * (band + 1) for band in range(channels)], -1)
    pixels = smooth.astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode).save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
def test_the_frame_of_a_jpeg(mode: str, components: int, progressive: bool) -> None:
    data = encoded(mode, progressive=progressive, comment=b"c" * 9000)
    assert frame_of(data) == Frame(21, 33, components)
    assert frame_of(memoryview(data)) == Frame(21, 33, components)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=64), st.integers(0, 700), st.integers(0, 700))
def test_any_bytes_have_a_frame_or_none(noise: bytes, cut: int, at: int) -> None:
    data = bytearray(encoded("RGB", quality=20))
    data[at : at + len(noise)] = noise
    for tried in (noise, b"\xff\xd8" + noise, bytes(data[:cut])):
        frame = frame_of(tried)
        assert frame is None or 0 < frame.height + frame.width + frame.components < 1 << 18


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the shared photos are not here")
def test_real_photos_are_stored_as_they_are() -> None:
    for path in SAMPLE.glob("*.JPEG"):
        content = path.read_bytes()
        made = rgb_jpeg(content)
        with Image.open(path) as image:
            assert (made.width, made.height) == image.size
        assert made.content is content
        assert made.was == ""


@pytest.mark.parametrize(
    ("mode", "kind", "was"), [("CMYK", "JPEG", "CMYK"), ("RGBA", "PNG", "PNG"), ("L", "PNG", "PNG")]
)
def test_what_is_mended_is_rgb(mode: str, kind: str, was: str) -> None:
    made = rgb_jpeg(encoded(mode, kind))
    assert (made.was, made.height, made.width) == (was, 21, 33)
    assert frame_of(made.content) == Frame(21, 33, 3)


@pytest.mark.parametrize("method", ["INTEGER_ACCURATE", "INTEGER_FAST"])
@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("RGB", "PNG")])
def test_mended_pixels_are_tensorflows(mode: str, kind: str, method: str) -> None:
    """All equal with its accurate decoder; TFDS uses the fast one, and rounds otherwise."""
    tf = pytest.importorskip("tensorflow", reason="compared with TensorFlow's own decoder")
    original = encoded(mode, kind, (64, 48))
    if kind == "PNG":
        pixels = tf.image.decode_png(original, 3)
    else:
        pixels = tf.io.decode_jpeg(original, dct_method=method)
    theirs = tf.io.decode_jpeg(tf.io.encode_jpeg(pixels, format="rgb", quality=100))
    ours = tf.io.decode_jpeg(rgb_jpeg(original).content)
    difference = np.abs(theirs.numpy().astype(int) - ours.numpy())
    if kind == "PNG" or method == "INTEGER_ACCURATE":
        assert not difference.any()
    else:
        assert difference.mean() <= MEAN_TOLERANCE
        assert difference.max() <= TOLERANCE


def test_a_bomb_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(buffer, "PNG")
    with pytest.raises(BadImageError, match=r"larger|decoded"):
        rgb_jpeg(buffer.getvalue())
