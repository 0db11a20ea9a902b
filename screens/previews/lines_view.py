"""The widget that shows lines of previews: scrolled by keys, coloured by the theme."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dsmanager.screens.previews.lines import Colour, Line, Piece

__all__ = ["LinesView"]


class LinesView(ScrollView, can_focus=True):
    """Lines as they are: nothing is folded, measured or parsed here."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "lines--text",
        "lines--title",
        "lines--name",
        "lines--muted",
        "lines--bad",
        "lines--good",
        "lines--bar",
    }
    DEFAULT_CSS = """
    LinesView { padding: 0 1; scrollbar-size-vertical: 1; overflow-x: hidden; }
    LinesView > .lines--title { text-style: bold; color: $text-accent; }
    LinesView > .lines--name { color: $text-primary; }
    LinesView > .lines--muted { color: $text-muted; }
    LinesView > .lines--bad { color: $text-error; }
    LinesView > .lines--good { color: $text-success; }
    LinesView > .lines--bar { color: $primary; }
    """

    def __init__(self, *, widget_id: str) -> None:
        super().__init__(id=widget_id)
        self._lines: Sequence[Line] = ()

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown, for the clipboard and for tests."""
        return self._lines

    @property
    def room(self) -> Size:
        """Cells for lines: what is inside the padding, with a column kept for the scrollbar."""
        width, height = self.container_size
        return Size(max(8, width - 1), max(1, height))

    def show(self, lines: Sequence[Line], *, keep_scroll: bool = True) -> None:
        self._lines = lines
        self.virtual_size = Size(self.room.width, len(lines))
        if not keep_scroll:
            self.scroll_home(animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        index = y + self.scroll_offset.y
        if index >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        segments = [Segment(piece.text, self._style(piece)) for piece in self._lines[index]]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _style(self, piece: Piece) -> Style:
        if piece.colour is not None:
            return self.rich_style + _coloured(piece.colour, piece.background)
        return self.get_component_rich_style(f"lines--{piece.role}")


@lru_cache(maxsize=1 << 16)
def _coloured(colour: Colour, background: Colour | None) -> Style:
    behind = "#{:02x}{:02x}{:02x}".format(*background) if background is not None else None
    return Style(color="#{:02x}{:02x}{:02x}".format(*colour), bgcolor=behind)
