"""Tars and images that tests convert."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def image(seed: int, *, form: str = "JPEG", mode: str = "RGB") -> bytes:
    """Its height is 20 + seed, its width 30."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    pixels = np.random.default_rng(seed).integers(0, 255, (20 + seed, 30, channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(), mode).save(buffer, form)
    return buffer.getvalue()


def write_tar(
    path: Path, members: Iterable[tuple[str, bytes]], compression: str = "", form: int = 0
) -> Path:
    """A tar of files in the order given."""
    kind = form or tarfile.USTAR_FORMAT
    with tarfile.open(path, f"w:{compression}", format=kind) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def photos(first: int, count: int) -> list[tuple[str, bytes]]:
    """Records with an image and a label, as tar2tf's examples have them."""
    members = []
    for number in range(first, first + count):
        members += [
            (f"train/{number:04d}.cls", str(number % 10).encode()),
            (f"train/{number:04d}.jpg", image(number % 16)),
        ]
    return members


def examples(path: Path) -> list[Mapping[str, list]]:
    """Every example of a TFRecord file, by the reader of the project."""
    from dsmanager.records.example import parse_example
    from dsmanager.records.tfrecord import read_records

    return [parse_example(record) for record in read_records(path)]


def tree_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
