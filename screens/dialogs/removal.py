"""Asks from which places datasets are removed, and says how many bytes that frees.

Nothing is ticked for you, Cancel has the focus, and what goes from a remote has to be named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Input, Static

from dsmanager.cli.output import size_text
from dsmanager.library.presence import Presence
from dsmanager.screens.dialogs.base import Choice, Dialog, text
from dsmanager.screens.dialogs.fields import Field, Tick, complaint, set_text
from dsmanager.screens.requests import JobRequest

__all__ = ["RemovalDialog"]

_PLACES = ("built", "cached", "remote", "recorded")
_MOST_NAMES = 4


class RemovalDialog(Dialog[JobRequest]):
    """Returns the removal as a job, or None. ``rows`` are what it is about."""

    is_destructive: ClassVar[bool] = True
    DEFAULT_CSS = """
    RemovalDialog > #dialog { border: round $error; }
    """

    def __init__(self, rows: Sequence[Presence]) -> None:
        title = f"Remove {rows[0].ref}" if len(rows) == 1 else f"Remove {len(rows)} datasets"
        super().__init__(title, [Choice("remove", "Remove", "error")])
        self._rows = tuple(rows)
        self._held = {place: _bytes_in(self._rows, place) for place in _PLACES}

    @property
    def word(self) -> str:
        """What has to be typed before something goes from the remote."""
        names = sorted({row.ref.name for row in self._rows if row.remote})
        return names[0] if len(names) == 1 else f"{len(names)} names"

    def body(self) -> Iterable[Widget]:
        if len(self._rows) > 1:
            yield text(self._names(), classes="dialog-note")
        for place, sizes in self._held.items():
            if sizes:
                yield Tick(f"{place:<9}{_described(place, sizes)}", place)
        yield text("", widget_id="total")
        if self._held["remote"]:
            yield Field("Type its name", "typed", hint=f"{self.word}, to remove it for everybody")
        yield complaint()

    def on_mount(self) -> None:
        self._look()

    def chosen(self, choice_id: str) -> None:
        if self._objection() is None:
            self.dismiss(self._request())

    @on(Checkbox.Changed)
    @on(Input.Changed)
    def _look(self) -> None:
        """What would go, and whether the button may be pressed."""
        sizes = [size for place in self._ticked for size in self._held[place]]
        total = f"{len(sizes)} to remove, {size_text(sum(sizes))}" if sizes else ""
        set_text(self.query_one("#total", Static), total)
        asks = "remote" in self._ticked
        for field in self.query(Field):
            field.display = asks
        objection = self._objection()
        set_text(self.query_one("#complaint", Static), objection or "")
        self.query_one("#remove", Button).disabled = objection is not None

    @property
    def _ticked(self) -> tuple[str, ...]:
        return tuple(box.id for box in self.query(Checkbox) if box.value and box.id)

    def _objection(self) -> str | None:
        if not any(self._held.values()):
            return "it is nowhere any more"
        if not self._ticked:
            return "tick where to remove it"
        if "remote" in self._ticked and self.query_one("#typed", Input).value != self.word:
            return f"others use the remote, too: type {self.word} to go on"
        return None

    def _request(self) -> JobRequest:
        """Only refs that are in a ticked place: others would be an error of the job."""
        ticked = self._ticked
        refs = [str(row.ref) for row in self._rows if any(_has(row, place) for place in ticked)]
        places = [word for place in ticked for word in ("--from", place)]
        return JobRequest("rm", (*refs, *places, "--yes"))

    def _names(self) -> str:
        names = [str(row.ref) for row in self._rows[:_MOST_NAMES]]
        more = len(self._rows) - len(names)
        return ", ".join(names) + (f" and {more:,} more" if more else "")


def _has(row: Presence, place: str) -> bool:
    return getattr(row, place) is not None


def _bytes_in(rows: Sequence[Presence], place: str) -> list[int]:
    """The bytes of each thing there; an entry of the manifest has none."""
    found = [getattr(row, place) for row in rows]
    return [getattr(held, "size_bytes", 0) for held in found if held is not None]


def _described(place: str, sizes: Sequence[int]) -> str:
    if place == "recorded":
        return f"{len(sizes)} in the manifest" if len(sizes) > 1 else "its entry in the manifest"
    count = f"{len(sizes)}, " if len(sizes) > 1 else ""
    return f"{count}{size_text(sum(sizes))}"
