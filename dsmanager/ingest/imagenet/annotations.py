"""Bounding boxes of ILSVRC's XML annotations, as the slim script had them.

A box is relative to the size that its XML names, clamped to 0..1, swapped where it is reversed, and
left out where nothing of it remains. Annotations come from outside: no document types, no entities,
bounded size, depth and number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from dsmanager.files import read_at_most

__all__ = ["BadAnnotationError", "Box", "annotation_of", "boxes"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_BOXES = 10_000
_SIZE = ["annotation", "size"]
_BOX = ["annotation", "object", "bndbox"]
_SIDES = ("xmin", "xmax", "ymin", "ymax")


class BadAnnotationError(ValueError):
    """An annotation that says nothing about boxes; the text says why, not which."""


class Box(NamedTuple):
    """Edges from 0 to 1, of the width or the height; the smaller one first."""

    xmin: float
    xmax: float
    ymin: float
    ymax: float


def annotation_of(folder: Path, split: str, synset: str, stem: str) -> bytes | None:
    """The XML of an image, from where Kaggle's tree or image-net.org's archives have it.

    Raises BadAnnotationError for one that is too large, OSError for one that cannot be read.
    """
    for place in _places(split, synset):
        try:
            content = read_at_most(os.path.join(folder, *place, f"{stem}.xml"), MAX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if len(content) > MAX_BYTES:
            raise BadAnnotationError(f"it has more than {MAX_BYTES:,} bytes")
        return content
    return None


def _places(split: str, synset: str) -> Iterator[tuple[str, ...]]:
    name = {"validation": "val"}.get(split, split)
    yield from ((name, synset), (name,), (synset,), ())


def boxes(content: bytes) -> list[Box]:
    """The boxes of one annotation, in its order. Raises BadAnnotationError."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.text
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(content, True)
    except BadAnnotationError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter: its encoding
        raise BadAnnotationError(f"it is no XML: {error}") from None
    width, height = reader.sizes["width"], reader.sizes["height"]
    if reader.found and not (width > 0 and height > 0):
        raise BadAnnotationError("it gives no size of the image")
    scaled = (_scaled(each, width, height) for each in reader.found)
    return [box for box in scaled if box.xmin < box.xmax and box.ymin < box.ymax]


def _scaled(box: Box, width: float, height: float) -> Box:
    left, right = sorted((_clamped(box.xmin / width), _clamped(box.xmax / width)))
    top, bottom = sorted((_clamped(box.ymin / height), _clamped(box.ymax / height)))
    return Box(left, right, top, bottom)


def _clamped(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _refuse(*_: object) -> None:
    raise BadAnnotationError("it has a document type")


class _Reader:
    """Takes sizes and edges out of the elements as they come."""

    def __init__(self) -> None:
        self.sizes = {"width": 0.0, "height": 0.0}
        self.found: list[Box] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._edges: dict[str, float] = {}

    def start(self, name: str, _: object) -> None:
        self._path.append(name)
        self._text.clear()
        if len(self._path) > MAX_DEPTH:
            raise BadAnnotationError("it is too deep")

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, name: str) -> None:
        self._path.pop()
        if name in self.sizes and self._path == _SIZE:
            self.sizes[name] = self._number(name)
        elif name in _SIDES and self._path == _BOX:
            self._edges[name] = self._number(name)
        elif name == _BOX[-1] and self._path == _BOX[:-1]:
            self._take_box()
        self._text.clear()

    def _take_box(self) -> None:
        if len(self._edges) < len(_SIDES):
            raise BadAnnotationError("a box lacks an edge")
        if len(self.found) >= MAX_BOXES:
            raise BadAnnotationError(f"it has more than {MAX_BOXES:,} boxes")
        self.found.append(Box(**self._edges))
        self._edges.clear()

    def _number(self, name: str) -> float:
        text = "".join(self._text).strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadAnnotationError(f"its {name} is no number: {text[:40]!a}")
        return value
