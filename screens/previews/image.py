"""Images drawn in the terminal: two pixels a cell, an upper half block over a background.

Owns decoding to a thumbnail, and its cells. Pixels of other depths than eight bits are stretched
over the range that they have; segments get a colour each. What cannot be decoded raises
VerificationError with the reason.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING

from dsmanager.errors import VerificationError
from dsmanager.loading.imagesize import image_size
from dsmanager.loading.schema import Leaf
from dsmanager.screens.previews.lines import Colour, Line, Piece

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_image", "thumbnail"]

_FORMATS = ("PNG", "JPEG", "GIF", "BMP")
_UPPER_HALF = "▀"
_MOST_ENLARGED = 4
_MOST_PIXELS = 80_000_000  # a decoded image of this size takes 240 MB for a moment
_BEHIND: Colour = (128, 128, 128)  # both black and white stand out from it


def thumbnail(data: bytes, leaf: Leaf, columns: int, rows: int) -> Image:
    """The image in RGB, fitted into cells; a small one enlarged by a whole number.

    Raises VerificationError for bytes that are no image, and for one too large to decode here.
    """
    from PIL import Image, UnidentifiedImageError

    measured = image_size(data)
    if measured is not None and measured[1] * measured[2] > _MOST_PIXELS:
        raise VerificationError(f"it is too large to draw: {measured[1]:,} by {measured[2]:,}")
    box = (max(1, columns), max(2, 2 * rows))
    try:
        if leaf.dtype in ("uint16", "float32"):
            image = _stretched(data, leaf)
        else:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
                opened.draft("RGB", box)
                image = _rgb(opened, has_segments=leaf.kind == "LabeledImage")
    except UnidentifiedImageError as error:
        raise VerificationError("it cannot be decoded: it is of an unknown format") from error
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise VerificationError(f"it cannot be decoded: {error}") from error
    except Image.DecompressionBombError as error:
        raise VerificationError(f"it is too large to draw: {error}") from error
    enlarged = min(box[0] // image.width, box[1] // image.height, _MOST_ENLARGED)
    if enlarged > 1:
        size = (image.width * enlarged, image.height * enlarged)
        return image.resize(size, Image.Resampling.NEAREST)
    is_mask = leaf.kind == "LabeledImage"  # colours between two segments would be a third one
    image.thumbnail(box, Image.Resampling.NEAREST if is_mask else Image.Resampling.BICUBIC)
    return image


def draw_image(image: Image) -> list[Line]:
    """Lines of half blocks: the colour is the upper pixel, the background the lower one."""
    width, height = image.size
    data = image.tobytes()
    pixels: list[Colour] = list(zip(data[::3], data[1::3], data[2::3], strict=True))
    lines: list[Line] = []
    for top in range(0, height, 2):
        upper = pixels[top * width : (top + 1) * width]
        lower = pixels[(top + 1) * width : (top + 2) * width]
        cells: Iterable[tuple[Colour, Colour | None]] = zip_longest(upper, lower)
        lines.append(tuple(Piece(_UPPER_HALF, "text", above, below) for above, below in cells))
    return lines


def _rgb(image: Image, *, has_segments: bool) -> Image:
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if has_segments and image.mode == "L":
        image = image.copy()
        image.putpalette([part for index in range(256) for part in _segment_colour(index)])
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        behind = Image.new("RGBA", layered.size, (*_BEHIND, 255))
        return Image.alpha_composite(behind, layered).convert("RGB")
    return image.convert("RGB")


def _segment_colour(index: int) -> Colour:
    """Background is black; neighbours in number are far apart in hue."""
    import colorsys

    if index == 0:
        return (0, 0, 0)
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, 0.95)
    return (round(red * 255), round(green * 255), round(blue * 255))


def _stretched(data: bytes, leaf: Leaf) -> Image:
    import numpy as np
    from PIL import Image

    from dsmanager.loading.images import ImageCodec

    array = ImageCodec(leaf.shape, np.dtype(leaf.dtype))(data).astype(np.float64)
    array = np.nan_to_num(array[0] if array.ndim == 4 else array)
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    eight = ((array - low) * (255 / (high - low or 1))).astype(np.uint8)
    if eight.shape[-1] not in (3, 4):
        return Image.fromarray(eight[..., 0]).convert("RGB")
    return Image.fromarray(np.ascontiguousarray(eight[..., :3]))
