"""A list of lines with a cursor, drawn line by line: as quick with ten thousand as with ten.

Subclasses say how many lines there are and of which cells one is made. A moved cursor redraws two
lines. Text is drawn as it is, never parsed as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dsmanager.screens.cells import Cell

__all__ = ["LineList"]


class LineList(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines, one of them under the cursor."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "top", "First", show=False),
        Binding("end", "bottom", "Last", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line--{name}"
        for name in (
            "cursor", "blurred", "text", "name", "version", "mark", "marked", "job", "group",
            "marker-same", "marker-here", "marker-absent", "marker-differs", "marker-damaged",
            "marker-unknown", "bad", "good", "dim",
        )
    }  # fmt: skip
    DEFAULT_CSS = """
    LineList { scrollbar-size-vertical: 1; scrollbar-gutter: stable; overflow-x: hidden; }
    LineList > .line--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold;
    }
    LineList > .line--blurred { background: $block-cursor-blurred-background; }
    LineList > .line--version { color: $text-muted; }
    LineList > .line--mark { color: $text-accent; text-style: bold; }
    LineList > .line--marked { color: $text-accent; }
    LineList > .line--job { color: $text-primary; text-style: bold; }
    LineList > .line--group { color: $text-secondary; text-style: bold; }
    LineList > .line--marker-same { color: $text-success; }
    LineList > .line--marker-here { color: $text-primary; }
    LineList > .line--marker-absent { color: $text-muted; }
    LineList > .line--marker-differs { color: $text-warning; text-style: bold; }
    LineList > .line--marker-damaged { color: $text-error; text-style: bold; }
    LineList > .line--marker-unknown { color: $text-muted; }
    LineList > .line--bad { color: $text-error; }
    LineList > .line--good { color: $text-success; }
    LineList > .line--dim { color: $text-muted; }
    """

    class Moved(Message):
        """The cursor stands on another line."""

    class Chosen(Message):
        """A line was clicked that had the cursor already."""

        def __init__(self, source: LineList) -> None:
            super().__init__()
            self.source = source

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - as every widget has it
        super().__init__(id=id)
        self._styles_of: dict[tuple[str, str], Style] = {}

    # what subclasses say

    @property
    def count(self) -> int:
        raise NotImplementedError

    @property
    def cursor(self) -> int:
        raise NotImplementedError

    def put_cursor(self, line: int) -> None:
        """Moves the cursor to ``line`` or near it; it may be outside."""
        raise NotImplementedError

    def cells(self, line: int, width: int) -> Sequence[Cell]:
        """The cells of one line, ``width`` wide together."""
        raise NotImplementedError

    # drawing

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        line = y + self.scroll_offset.y
        if line >= self.count:
            return Strip.blank(width, self._style("", "text"))
        place = "" if line != self.cursor else "cursor" if self.has_focus else "blurred"
        segments = [
            Segment(cell.text, self._style(place, cell.role)) for cell in self.cells(line, width)
        ]
        return Strip(segments, width)

    def _style(self, place: str, role: str) -> Style:
        """The style of a role on an ordinary line or on the one with the cursor."""
        key = (place, role)
        if key not in self._styles_of:
            name = f"line--{role}"
            known = name if name in self.COMPONENT_CLASSES else "line--text"
            style = self.get_component_rich_style(known)
            if place == "cursor":
                style = self.get_component_rich_style("line--cursor")
            elif place:
                style += Style(bgcolor=self.get_component_rich_style("line--blurred").bgcolor)
            self._styles_of[key] = style
        return self._styles_of[key]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_of.clear()

    def on_focus(self) -> None:
        self.refresh_line(self.cursor)

    def on_blur(self) -> None:
        self.refresh_line(self.cursor)

    # moving

    def lines_changed(self) -> None:
        """There are other lines now: draw them, with the cursor in sight."""
        region = self.scrollable_content_region
        size = Size(region.width, self.count)
        if (self.count > region.height) == self.show_vertical_scrollbar:
            # Not by assignment: a layout of the whole screen for a scrollbar's sake takes a frame.
            self.set_reactive(LineList.virtual_size, size)
            if self.show_vertical_scrollbar:
                self.vertical_scrollbar.window_virtual_size = self.count
        else:
            self.virtual_size = size
        if self.scroll_offset.y > self.max_scroll_y:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)
        self.show_cursor()
        self.refresh()

    def show_cursor(self) -> None:
        """Scrolls as little as is needed to see the cursor."""
        height = max(self.scrollable_content_region.height, 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=max(self.cursor, 0), animate=False, force=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, force=True)

    def move_cursor(self, line: int) -> None:
        before = self.cursor
        self.put_cursor(line)
        self.cursor_moved(before)

    def cursor_moved(self, before: int) -> None:
        """Draws what a moved cursor changes."""
        self.refresh_line(before)
        self.refresh_line(self.cursor)
        self.show_cursor()
        self.post_message(self.Moved())

    def action_move(self, lines: int) -> None:
        self.move_cursor(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        height = max(self.scrollable_content_region.height - 1, 1)
        self.move_cursor(max(0, min(self.cursor + pages * height, self.count - 1)))

    def action_top(self) -> None:
        self.move_cursor(0)
        self.scroll_to(y=0, animate=False, force=True)

    def action_bottom(self) -> None:
        self.move_cursor(self.count - 1)

    def on_resize(self, event: events.Resize) -> None:
        self.lines_changed()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        if line >= self.count:
            return
        if line == self.cursor and event.chain > 1:
            self.post_message(self.Chosen(self))
        else:
            self.move_cursor(line)
