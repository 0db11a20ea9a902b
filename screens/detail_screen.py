"""One dataset: everything that is known of it, its examples, its labels, its files.

Renders what background threads have read; it never reads itself, and leaving it cancels them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Static

from dsmanager.errors import DsmanagerError
from dsmanager.library.presence import Presence
from dsmanager.loading.schema import Leaf
from dsmanager.progress import CancelToken
from dsmanager.screens.background import Background
from dsmanager.screens.previews.about import Facts, about_lines, error_lines, files_lines
from dsmanager.screens.previews.about import how_to_get as how_to_get_it
from dsmanager.screens.previews.histogram import LabelCounts, draw_histogram
from dsmanager.screens.previews.lines import Line, line, wrapped
from dsmanager.screens.previews.lines_view import LinesView
from dsmanager.screens.previews.reading import Example, ExampleReader
from dsmanager.settings import Settings
from dsmanager.text import plain

__all__ = ["DetailScreen"]

VIEWS = ("about", "examples", "labels", "files")
_WIDE_COLUMNS = 110
_SAMPLES_PER_S = 6


class _Views(Static):
    """The names of the views in a row; those that are shown stand out. A click takes one."""

    DEFAULT_CSS = "_Views { height: 1; color: $text-muted; padding: 0 1; }"

    def show(self, shown: set[str]) -> None:
        parts = [
            Content.styled(words, "reverse" if name in shown else "")
            for name, words in self._words().items()
        ]
        self.update(Content(" ").join(parts))

    async def on_click(self, event: events.Click) -> None:
        start = 1  # the padding
        for name, words in self._words().items():
            if start <= event.x < start + len(words):
                await self.screen.run_action(f"view('{name}')")
            start += len(words) + 1

    def _words(self) -> dict[str, str]:
        return {name: f" {number} {name.capitalize()} " for number, name in enumerate(VIEWS, 1)}


@dataclass(frozen=True, slots=True)
class _Drawn:
    """An example and its lines, for one size of the pane."""

    example: Example
    lines: list[Line]


class DetailScreen(Screen[None]):
    """Facts to the left and examples, labels or files to the right; one at a time when narrow."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="detail.back"),
        Binding("n,right", "step(1)", "Next example", key_display="n", id="detail.next"),
        Binding("p,left", "step(-1)", "Previous", key_display="p", id="detail.previous"),
        Binding("s", "next_split", "Next split", id="detail.split"),
        Binding("l", "next_label", "Labels", id="detail.label"),
        Binding("tab", "next_view", "Next view", id="detail.view", priority=True),
        *(
            Binding(str(number), f"view('{name}')", name.capitalize(), show=False)
            for number, name in enumerate(VIEWS, 1)
        ),
    ]
    DEFAULT_CSS = """
    DetailScreen #detail-title {
        height: 1; text-style: bold; background: $panel; padding: 0 1;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    DetailScreen Horizontal { height: 1fr; }
    DetailScreen LinesView { width: 1fr; height: 1fr; display: none; }
    DetailScreen LinesView.shown { display: block; }
    DetailScreen.wide #about { max-width: 80; border-right: solid $panel; }
    """

    class Read(Message):
        """A background thread has brought something; ``show`` shows it."""

        def __init__(self, show: Callable[[], None]) -> None:
            super().__init__()
            self.show = show

    def __init__(self, settings: Settings, row: Presence) -> None:
        super().__init__()
        self._settings = settings
        self._row = row
        self._reader = _reader_of(settings, row)
        self._facts: Facts | None = None
        self._view = "about"
        self._split: str | None = None
        self._index = 0
        self._label = 0
        self._drawn: _Drawn | None = None
        self._counted: LabelCounts | None = None
        self._counted_at: tuple[str, int] | None = None
        self._about: Background[Facts] = self._background("about", self._show_facts)
        self._remote: Background[Facts | None] = self._background("remote", self._show_remote)
        self._examples: Background[_Drawn] = self._background("example", self._show_example)
        self._labels: Background[LabelCounts] = self._background("labels", self._show_counted)
        self._sampling: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static(plain(f"{self._row.ref}  {self._row.state}"), markup=False, id="detail-title")
        yield _Views(id="detail-views")
        with Horizontal():
            for name in VIEWS:
                yield LinesView(widget_id=name)
        yield Footer()

    def on_mount(self) -> None:
        self._sampling = self.set_interval(1 / _SAMPLES_PER_S, self._sample, pause=True)
        for name in VIEWS:
            self._pane(name).show([line("reading …", "muted")])
        self._about.ask(partial(_read_facts, self._settings, self._row, self._reader))
        if self.is_wide:
            self._view = "examples" if self._reader else "files"
        self._arrange()

    def on_unmount(self) -> None:
        for background in (self._about, self._remote, self._examples, self._labels):
            background.cancel()

    def on_screen_suspend(self) -> None:
        if self._sampling is not None:
            self._sampling.pause()

    def on_screen_resume(self) -> None:
        if self._sampling is not None and self._counted is not None:
            self._sampling.resume()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._arrange)

    @property
    def is_wide(self) -> bool:
        return self.app.size.width >= _WIDE_COLUMNS

    # keys

    def action_leave(self) -> None:
        self.dismiss()

    def action_view(self, name: str) -> None:
        if name == "about" and self.is_wide:
            self._pane("about").focus()
            return
        self._view = name
        self._arrange()

    def action_next_view(self) -> None:
        names = VIEWS[1:] if self.is_wide else VIEWS
        at = names.index(self._view) if self._view in names else -1
        self.action_view(names[(at + 1) % len(names)])

    def action_step(self, count: int) -> None:
        """Goes on by examples; from another view it goes to the examples first."""
        if self._view != "examples":
            self.action_view("examples")
        elif self._split is not None:
            self._index += count
            self._read_example()

    def action_next_split(self) -> None:
        names = list(self._facts.description.splits) if self._facts else []
        if not names or self._reader is None:
            return
        at = names.index(self._split) if self._split in names else -1
        self._split, self._index = names[(at + 1) % len(names)], 0
        self._arrange()

    def action_next_label(self) -> None:
        """Goes to the labels; there, to the next feature that has some."""
        if self._view == "labels":
            self._label += 1
        self.action_view("labels")

    # showing

    def _arrange(self) -> None:
        """Shows the panes of this width and view, and asks for what is missing in them."""
        wide = self.is_wide
        self.set_class(wide, "wide")
        if wide and self._view == "about":
            self._view = "examples"
        shown = {"about", self._view} if wide else {self._view}
        for name in VIEWS:
            self._pane(name).set_class(name in shown, "shown")
        if self.focused is None or self.focused.id not in shown:
            self._pane(self._view).focus(scroll_visible=False)
        self._show_views()
        self._fill()

    @on(LinesView.RoomChanged)
    def _fill(self) -> None:
        """Asks for what the shown view lacks; again whenever there is other room for it."""
        if self._view == "examples":
            self._read_example()
        elif self._view == "labels":
            self._count_labels()

    def _show_views(self) -> None:
        shown = {self._view, "about"} if self.is_wide else {self._view}
        self.query_one(_Views).show(shown)

    def _show_facts(self, outcome: Facts | DsmanagerError) -> None:
        if isinstance(outcome, DsmanagerError):
            for name in VIEWS:
                self._pane(name).draw(lambda room: error_lines(outcome, room.width))
            return
        self._facts = outcome
        self._show_about()
        if self._split is None:
            self._split = next(iter(outcome.description.splits), None)
        if self._reader is None and self._row.cached is None and self._row.remote is not None:
            self._remote.ask(partial(_read_remote, self._settings, self._row))
        self._fill()

    def _show_remote(self, outcome: Facts | DsmanagerError | None) -> None:
        """What the remote's sidecar tells; without one, what is known stays."""
        if isinstance(outcome, Facts):
            self._facts = outcome
            self._show_about()

    def _show_about(self) -> None:
        assert self._facts is not None
        facts = self._facts
        self._pane("about").draw(lambda room: about_lines(facts, room.width))
        self._pane("files").draw(lambda room: files_lines(facts, room.width))

    def _read_example(self) -> None:
        pane = self._pane("examples")
        if self._reader is None:
            told = f"There are examples only of what is built; {how_to_get_it(self._row)}"
            pane.draw(lambda room: list(wrapped(told, room.width, "muted")))
        elif self._split is not None and pane.room:
            in_colour = self._has_colours
            self._examples.ask(
                partial(_draw_example, self._reader, self._split, self._index, pane.room, in_colour)
            )
        elif self._split is None and self._facts is not None:
            pane.show([line("it has no splits", "muted")])

    @property
    def _has_colours(self) -> bool:
        return not self.app.no_color and self.app.console.color_system in ("256", "truecolor")

    def _show_example(self, outcome: _Drawn | DsmanagerError) -> None:
        pane = self._pane("examples")
        if isinstance(outcome, DsmanagerError):
            head = line(f"{self._split}, example {self._index + 1:,}", "title")
            pane.draw(lambda room: [head, *error_lines(outcome, room.width)], keep_scroll=False)
            return
        moved = self._drawn is None or (
            (outcome.example.split, outcome.example.index)
            != (self._drawn.example.split, self._drawn.example.index)
        )
        self._drawn, self._index = outcome, outcome.example.index
        pane.show(outcome.lines, keep_scroll=not moved)

    def _count_labels(self) -> None:
        pane = self._pane("labels")
        if self._reader is None:
            told = f"Labels are counted in what is built; {how_to_get_it(self._row)}"
            pane.draw(lambda room: list(wrapped(told, room.width, "muted")))
        elif self._split is not None and self._counted_at != (self._split, self._label):
            self._counted_at = (self._split, self._label)
            self._counted = None
            self._labels.ask(
                partial(_count_labels, self._reader, self._split, self._label, self._began)
            )
            if self._sampling is not None:
                self._sampling.resume()

    def _began(self, counted: LabelCounts) -> None:
        """Called in the counting thread."""
        self._counted = counted

    def _sample(self) -> None:
        if self._view == "labels" and self._counted is not None:
            self._show_counted(self._counted, is_end=False)

    def _show_counted(
        self, outcome: LabelCounts | DsmanagerError | None, *, is_end: bool = True
    ) -> None:
        pane = self._pane("labels")
        if is_end and self._sampling is not None and outcome is not None:
            self._sampling.pause()
        if isinstance(outcome, DsmanagerError):
            pane.draw(lambda room: error_lines(outcome, room.width))
        elif outcome is not None:
            pane.draw(partial(_histogram, outcome))

    # reading

    def _background(self, name: str, show: Callable[..., None]) -> Background:  # type: ignore[type-arg]
        return Background(
            name, lambda outcome: self.post_message(self.Read(partial(show, outcome)))
        )

    @on(Read)
    def _on_read(self, message: Read) -> None:
        message.stop()
        if self.is_attached:
            message.show()

    def _pane(self, name: str) -> LinesView:
        return self.query_one(f"#{name}", LinesView)


def _reader_of(settings: Settings, row: Presence) -> ExampleReader | None:
    from dsmanager.built import BuiltDataset

    folder = settings.data_dir / row.ref.subdir
    if row.built is None or row.built.path != folder:  # an archive of several configs has no one
        return None
    return ExampleReader(BuiltDataset(row.ref, folder))


def _read_facts(
    settings: Settings, row: Presence, reader: ExampleReader | None, cancel: CancelToken
) -> Facts:
    from dsmanager.archives.sidecar import read_sidecar
    from dsmanager.library.describing import describe_row
    from dsmanager.library.places import LibraryPlaces

    description = describe_row(LibraryPlaces(settings=settings), row)
    errors: list[DsmanagerError] = []
    sidecar = None
    leaves: tuple[Leaf, ...] = ()
    try:
        sidecar = read_sidecar(row.cached.path) if row.cached else None
        leaves = reader.leaves if reader else ()
    except DsmanagerError as error:
        errors.append(error)
    return Facts(description, sidecar, leaves, tuple(errors))


def _read_remote(settings: Settings, row: Presence, cancel: CancelToken) -> Facts | None:
    """What the sidecar beside an archive on the remote tells; None where there is none."""
    from pathlib import Path

    from dsmanager.archives.sidecar import MAX_SIDECAR_BYTES, Sidecar, sidecar_path
    from dsmanager.library.describing import describe_sidecar
    from dsmanager.remotes.remote import Remote

    assert row.remote is not None
    name = sidecar_path(Path(row.remote.name)).name
    with Remote(settings.require_remote()) as remote:
        content = remote.read_bytes(name, max_bytes=MAX_SIDECAR_BYTES)
    if content is None:
        return None
    sidecar = Sidecar.from_bytes(content, name)
    return Facts(describe_sidecar(sidecar, row), sidecar)


def _draw_example(
    reader: ExampleReader, split: str, index: int, room: Size, in_colour: bool, cancel: CancelToken
) -> _Drawn:
    from dsmanager.screens.previews.example import example_lines

    example = reader.example(split, index)
    cancel.check()
    head = line(f"{split}, example {example.index + 1:,} of {example.total:,}", "title")
    drawn = example_lines(example, room.width, room.height - 1, in_colour=in_colour)
    return _Drawn(example, [head, *drawn])


def _histogram(counted: LabelCounts, room: Size) -> list[Line]:
    head = line(f"{counted.key}: {counted.said}", "title")
    return [head, line(), *draw_histogram(counted, room.width, room.height - 2)]


def _count_labels(
    reader: ExampleReader,
    split: str,
    number: int,
    began: Callable[[LabelCounts], None],
    cancel: CancelToken,
) -> LabelCounts:
    from dsmanager.errors import NotFoundError

    found = reader.label_leaves
    if not found:
        raise NotFoundError("it has no labels: no feature is a ClassLabel")
    leaf = found[number % len(found)]
    counted = reader.labels(split, leaf)
    began(counted)
    reader.count_labels(counted, leaf, cancel)
    return counted
