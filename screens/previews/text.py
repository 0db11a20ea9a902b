"""Text values as text: folded at words, all of it up to a bound."""

from __future__ import annotations

from dsmanager.loading.schema import Leaf
from dsmanager.records.example import RawFeature
from dsmanager.screens.previews.lines import Line, bounded, wrapped

__all__ = ["draw_text", "long_text"]

_SHORT_LETTERS = 60
_MOST_BYTES = 100_000
_MOST_LINES = 400


def long_text(leaf: Leaf, raw: RawFeature | None) -> str | None:
    """The text of a value that deserves more than one line; None for all others."""
    if raw is None or raw.kind != "bytes" or raw.count != 1 or leaf.rank or leaf.shape:
        return None
    if leaf.kind in ("Image", "LabeledImage", "Audio") or leaf.packed:
        return None
    content = bytes(raw.chunks[0][:_MOST_BYTES])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(content) - 4 or len(content) < _MOST_BYTES:
            return None
        text = content[: error.start].decode("utf-8")
    if len(text) <= _SHORT_LETTERS and "\n" not in text.rstrip("\n"):
        return None
    return text if raw.chunks[0].nbytes <= _MOST_BYTES else text + " …"


def draw_text(text: str, columns: int) -> list[Line]:
    return bounded(wrapped(text, columns, indent=2), _MOST_LINES)
