"""The few images of ImageNet that are not what their names say, found by their bytes.

22 training images are CMYK and one is a PNG. TFDS stores them as RGB JPEG through TensorFlow's
encoder; here Pillow does it with the same settings, so that pixels agree and bytes need not.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

__all__ = ["as_rgb_jpeg"]

_PNG = b"\x89PNG\r\n\x1a\n"
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_CMYK_COMPONENTS = 4


def as_rgb_jpeg(content: bytes) -> tuple[bytes, str]:
    """The image to store, and what it was ("CMYK", "PNG"), empty for all that stay as they are."""
    if content.startswith(_PNG):
        return _converted(content), "PNG"
    if _components(content) == _CMYK_COMPONENTS:
        return _converted(content), "CMYK"
    return content, ""


def _components(content: bytes) -> int:
    """How many colour components the frame header of a JPEG names; 0 when there is none."""
    position = 2 if content.startswith(b"\xff\xd8") else len(content)
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            return 0
        marker = content[position + 1]
        if marker == 0xFF:  # padding
            position += 1
        elif marker in _ALONE:
            position += 2
        elif marker in _START_OF_FRAME:
            return content[position + 9] if position + 9 < len(content) else 0
        else:
            position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return 0


def _converted(content: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        rgb = _without_black(image) if image.mode == "CMYK" else image.convert("RGB")
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=100, subsampling="4:2:0", dpi=(300, 300))
    return buffer.getvalue()


def _without_black(image: Any) -> Any:
    """RGB as TensorFlow reads CMYK: what each ink and the black together leave of the light."""
    from PIL import Image

    light = 255 - np.asarray(image, np.uint32)
    return Image.fromarray((light[..., :3] * light[..., 3:] // 255).astype(np.uint8))
