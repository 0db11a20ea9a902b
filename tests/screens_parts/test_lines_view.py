"""The view of lines: it folds for the room that it has, never for one that it had or may get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import Screen

from dsmanager.screens.previews.lines import line
from dsmanager.screens.previews.lines_view import LinesView


class OneView(Screen[None]):
    """A view that is not there at first, and keeps the rooms that it was drawn in."""

    DEFAULT_CSS = "OneView LinesView { width: 1fr; height: 1fr; display: none; }"

    def __init__(self) -> None:
        super().__init__()
        self.rooms: list[Size] = []
        self.told = 0

    @property
    def view(self) -> LinesView:
        return self.query_one(LinesView)

    def compose(self) -> ComposeResult:
        yield LinesView(widget_id="view")

    def on_lines_view_room_changed(self) -> None:
        self.told += 1

    def draw(self) -> None:
        def drawn(room: Size) -> list[Any]:
            self.rooms.append(room)
            return [line(f"{len(self.rooms)} at {room.width}")]

        self.view.draw(drawn)

    async def be_shown_and_hidden(self, on: Any) -> None:
        self.view.display = True
        self.draw()
        await on.until(lambda: self.told == 1, "room")
        self.view.display = False
        await on.until(lambda: not self.view.room, "that it has none any more")


def test_it_draws_once_it_is_laid_out_and_again_for_another_room(play: Callable[..., None]) -> None:
    screen = OneView()

    async def act(on: Any) -> None:
        screen.draw()
        screen.view.display = True
        screen.draw()  # it will have room in a moment; it has none now
        assert not screen.rooms
        assert not screen.view.room
        await on.until(lambda: screen.told == 1, "room")
        assert on.lines("view") == "1 at 77"
        screen.draw()
        assert on.lines("view") == "2 at 77"
        await on.pilot.resize_terminal(50, 10)
        await on.until(lambda: screen.told == 2, "another room")
        assert on.lines("view") == "3 at 47"
        assert screen.rooms == [Size(77, 24), Size(77, 24), Size(47, 10)]

    play(screen, act)


def test_what_is_drawn_while_it_is_hidden_waits_for_its_new_room(play: Callable[..., None]) -> None:
    screen = OneView()

    async def act(on: Any) -> None:
        await screen.be_shown_and_hidden(on)
        await on.pilot.resize_terminal(50, 10)
        screen.draw()
        screen.view.display = True
        screen.draw()
        await on.until(lambda: screen.told == 2, "another room")
        assert screen.rooms == [Size(77, 24), Size(47, 10)]

    play(screen, act)


def test_what_is_shown_again_in_the_same_room_is_not_drawn_again(play: Callable[..., None]) -> None:
    screen = OneView()

    async def act(on: Any) -> None:
        await screen.be_shown_and_hidden(on)
        screen.view.display = True
        await on.until(lambda: screen.told == 2, "the same room")
        assert screen.rooms == [Size(77, 24)]

    play(screen, act)
