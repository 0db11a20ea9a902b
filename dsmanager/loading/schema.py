"""The leaves of a ``features.json``, read as plain JSON for showing examples.

Owns the two forms in which TFDS has written features. Never imports TFDS; :func:`leaves` takes
only what :func:`~dsmanager.loading.safety.check_features` has passed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dsmanager.loading.allowlist import CONTENT_FIELDS, FEATURE_CLASSES

__all__ = ["Leaf", "leaves"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One feature without parts: its path, class, dtype, shape (None is open) and sequences."""

    names: tuple[str, ...]
    kind: str
    dtype: str
    shape: tuple[int | None, ...]
    packed: bool
    rank: int
    rate_hz: int | None = None
    """Samples a second, of audio that says so."""

    @property
    def key(self) -> str:
        """Its name in an Example, and what a reader sees."""
        return "/".join(self.names)

    @property
    def labels_file(self) -> str:
        """Where TFDS keeps the names of a ClassLabel."""
        return "-".join(name.replace("/", ".") for name in self.names) + ".labels.txt"


def leaves(
    feature: Mapping[str, Any], names: tuple[str, ...] = (), rank: int = 0
) -> Iterator[Leaf]:
    """Every leaf in the order of the file; ``rank`` counts the sequences around one."""
    kind = FEATURE_CLASSES[feature.get("type") or feature["pythonClassName"]]
    content = _content(feature)
    if kind == "FeaturesDict":
        features = content.get("features", content) if _is_message(feature) else content
        for name, inner in features.items():
            yield from leaves(inner, (*names, name), rank)
    elif kind in ("Sequence", "Dataset"):
        yield from leaves(content["feature"], names, rank + 1)
    elif kind == "Translation":
        for language in content.get("languages") or []:
            yield Leaf((*names, str(language)), "Text", "string", (), False, rank)
    elif kind == "TranslationVariableLanguages":
        for name in ("language", "translation"):
            yield Leaf((*names, name), "Text", "string", (), False, rank + 1)
    elif kind == "Video":
        yield Leaf(names, "Image", "uint8", _shape(content)[1:], False, rank + 1)
    else:
        yield _leaf(kind, content, names, rank)


def _leaf(kind: str, content: Mapping[str, Any], names: tuple[str, ...], rank: int) -> Leaf:
    dtype = {"ClassLabel": "int64", "Text": "string"}.get(kind) or str(content.get("dtype") or "")
    packed = str(content.get("encoding") or "none").lower() != "none"
    shape = (4,) if kind == "BBoxFeature" else _shape(content)
    rate_hz = _size(content.get("sampleRate", content.get("sample_rate"))) or None
    return Leaf(names, kind, dtype, shape, packed, rank, rate_hz)


def _is_message(feature: Mapping[str, Any]) -> bool:
    if "type" in feature:
        return bool(feature.get("proto_cls"))
    return feature.get("jsonFeature") is None


def _content(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    if "type" in feature:
        content = feature.get("content")
    else:
        field = next(name for name in CONTENT_FIELDS if feature.get(name) is not None)
        content = feature[field]["json"] if field == "jsonFeature" else feature[field]
    parsed = json.loads(content) if isinstance(content, str) else content
    return parsed if isinstance(parsed, Mapping) else {}


def _shape(content: Mapping[str, Any]) -> tuple[int | None, ...]:
    shape = content.get("shape")
    sizes = shape.get("dimensions") if isinstance(shape, Mapping) else shape
    if not isinstance(sizes, list):
        return ()
    return tuple(_size(size) for size in sizes)


def _size(value: Any) -> int | None:
    try:
        size = int(value)
    except (TypeError, ValueError):
        return None
    return size if size >= 0 else None
