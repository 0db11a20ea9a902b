"""Lines of character cells, before a terminal's colours: what every preview is drawn as.

Owns wrapping by the width of characters. What comes from data passes :func:`dsmanager.text.plain`
here, so that nothing in it can steer the terminal, and is never parsed as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich.cells import cell_len, chop_cells, set_cell_size

from dsmanager.text import plain

__all__ = ["Colour", "Line", "Piece", "Role", "bounded", "line", "pair", "shortened", "wrapped"]

Role: TypeAlias = Literal["text", "title", "name", "muted", "bad", "good", "bar"]
Colour: TypeAlias = tuple[int, int, int]

_INDENT = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Cells of one look: a role that the theme colours, or colours of a picture."""

    text: str
    role: Role = "text"
    colour: Colour | None = None
    background: Colour | None = None


Line: TypeAlias = tuple[Piece, ...]


def line(text: str = "", role: Role = "text") -> Line:
    """One line, as long as it is."""
    return (Piece(plain(text), role),)


def wrapped(text: str, width: int, role: Role = "text", indent: int = 0) -> Iterator[Line]:
    """Paragraphs folded at words, and inside words that are longer than a line."""
    room = max(1, width - indent)
    for paragraph in text.split("\n"):
        for folded in _folded(plain(paragraph.expandtabs(4)), room):
            yield (Piece(" " * indent + folded, role),)


def pair(
    name: str, value: str, width: int, *, name_width: int = 12, role: Role = "text"
) -> Iterator[Line]:
    """A name and its value beside it, which folds in its own column; below it where that is thin.

    Empty values give nothing.
    """
    if not value:
        return
    shown_name = shortened(name, max(1, width))
    beside = cell_len(shown_name) <= name_width and width - name_width >= 2 * name_width
    if not beside:
        yield (Piece(shown_name, "name"),)
        yield from wrapped(value, width, role, indent=_INDENT)
        return
    start, *more = wrapped(value, width, role, indent=name_width + 1)
    name_piece = Piece(set_cell_size(shown_name, name_width) + " ", "name")
    yield (name_piece, Piece(start[0].text[name_width + 1 :], role))
    yield from more


def shortened(text: str, width: int) -> str:
    """Plain text of ``width`` cells at most; what is cut off leaves an ellipsis."""
    text = plain(text)
    if cell_len(text) <= width:
        return text
    return chop_cells(text, max(1, width - 1))[0] + "…"


def bounded(lines: Iterable[Line], most: int) -> list[Line]:
    """The first lines, and a word on how many more there are."""
    shown = list(lines)
    if len(shown) <= most:
        return shown
    return [*shown[:most], line(f"… and {len(shown) - most:,} more lines", "muted")]


def _folded(paragraph: str, width: int) -> Iterator[str]:
    current = ""
    for word in paragraph.split(" "):
        longer = f"{current} {word}" if current else word
        if cell_len(longer) <= width:
            current = longer
            continue
        if current:
            yield current
        *full, current = chop_cells(word, width) or [""]
        yield from full
    yield current
