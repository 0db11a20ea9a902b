"""The widget that shows lines of previews: scrolled by keys, coloured by the theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
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

    class RoomChanged(Message):
        """There is other room for lines than before, or room for the first time."""

    def __init__(self, *, widget_id: str) -> None:
        super().__init__(id=widget_id)
        self._lines: Sequence[Line] = ()
        self._draw: Callable[[Size], Sequence[Line]] = _nothing
        self._room = Size()
        self._drawn_in: Size | None = None

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown, for the clipboard and for tests."""
        return self._lines

    @property
    def room(self) -> Size:
        """Cells for lines: what is inside the padding, with a column kept for the scrollbar.

        Empty, and so false, while the view is not laid out: nothing can be folded to fit then.
        """
        return self._room

    def show(self, lines: Sequence[Line], *, keep_scroll: bool = True) -> None:
        """Shows ``lines``, whatever the room."""
        self.draw(lambda _: lines, keep_scroll=keep_scroll)

    def draw(self, draw: Callable[[Size], Sequence[Line]], *, keep_scroll: bool = True) -> None:
        """Shows the lines that ``draw`` makes for the room, once there is some; again for another.

        ``draw`` is called on the event loop: it computes, and reads nothing.
        """
        self._draw, self._drawn_in = draw, None
        if not keep_scroll:
            self.scroll_home(animate=False)
        self._redraw()

    def on_resize(self, event: events.Resize) -> None:
        width, height = self.container_size
        before, self._room = self._room, Size(max(8, width - 1), max(1, height))
        self._redraw()
        if self._room != before:
            self.post_message(self.RoomChanged())

    def on_hide(self) -> None:
        self._room = Size()

    def _redraw(self) -> None:
        if self._room and self._room != self._drawn_in:
            self._drawn_in = self._room
            self._lines = self._draw(self._room)
            self.virtual_size = Size(self._room.width, len(self._lines))
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


def _nothing(room: Size) -> Sequence[Line]:
    return ()


@lru_cache(maxsize=1 << 16)
def _coloured(colour: Colour, background: Colour | None) -> Style:
    behind = "#{:02x}{:02x}{:02x}".format(*background) if background is not None else None
    return Style(color="#{:02x}{:02x}{:02x}".format(*colour), bgcolor=behind)
