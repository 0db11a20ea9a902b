"""The few images of ImageNet that are not what their names say, found by their bytes.

22 training images are CMYK and one is a PNG. TFDS and the scripts store them as RGB JPEG through
TensorFlow's encoder; here Pillow does it with the same settings, so that pixels agree and bytes
need not. Nothing else is decoded, save an image whose end is missing: only that tells whether it
can be.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from dsmanager.errors import VerificationError
from dsmanager.sources.jpeg import Frame, frame_of, is_ended

__all__ = ["MAX_IMAGE_BYTES", "BadImageError", "RgbJpeg", "bad_image", "rgb_jpeg"]

MAX_IMAGE_BYTES = 64 << 20
_PNG = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _CMYK = 1, 3, 4


class BadImageError(ValueError):
    """An image that cannot be stored; the text says why, not which."""


@dataclass(frozen=True, slots=True)
class RgbJpeg:
    """An image to store: its bytes, its size, and what it was ("CMYK", "PNG") if it was mended."""

    content: bytes
    height: int
    width: int
    was: str = ""


def rgb_jpeg(content: bytes) -> RgbJpeg:
    """The image as a JPEG that is not CMYK, as it is wherever it can be.

    Raises BadImageError for what is neither JPEG nor PNG, or cannot be read to its end.
    """
    if content.startswith(_PNG):
        return _mended(content, "PNG")
    frame = frame_of(content)
    if frame is None:
        raise BadImageError("it is empty" if not content else "it has no JPEG header")
    if not (frame.height and frame.width):
        raise BadImageError("its header gives no size")
    if frame.components == _CMYK:
        return _mended(content, "CMYK")
    if frame.components not in (_GRAY, _RGB):
        raise BadImageError(f"it has {frame.components} colour components")
    if not is_ended(content):
        _decoded(content)
    return RgbJpeg(content, frame.height, frame.width)


def bad_image(split: str, name: str, error: BadImageError) -> VerificationError:
    """What is said where such an image ends the work."""
    return VerificationError(
        f"{split}: the image {name[:200]!a} cannot be used: {error}",
        hint="to leave such ones out, and be told which: dsmanager convert … --skip-bad",
    )


def _mended(content: bytes, was: str) -> RgbJpeg:
    made = _converted(content)
    frame = frame_of(made) or Frame(0, 0, 0)
    return RgbJpeg(made, frame.height, frame.width, was)


def _converted(content: bytes) -> bytes:
    image = _decoded(content)
    rgb = _without_black(image) if image.mode == "CMYK" else image.convert("RGB")
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=100, subsampling="4:2:0", dpi=(300, 300))
    return buffer.getvalue()


def _decoded(content: bytes) -> Any:
    """The image with its pixels. Raises BadImageError."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
            image.load()
    except (OSError, SyntaxError, ValueError, OverflowError, Warning) as error:
        raise BadImageError(f"it cannot be decoded: {_first_line(error)}") from error
    except Image.DecompressionBombError as error:
        raise BadImageError("it is larger than any photograph") from error
    return image


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _without_black(image: Any) -> Any:
    """RGB as TensorFlow reads CMYK: what each ink and the black together leave of the light."""
    import numpy as np
    from PIL import Image

    light = 255 - np.asarray(image, np.uint32)
    return Image.fromarray((light[..., :3] * light[..., 3:] // 255).astype(np.uint8))
