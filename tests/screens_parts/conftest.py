"""A small app around one screen, and datasets that were really built."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.color import ColorSystem
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from dsmanager.library.library import Library
from dsmanager.library.presence import Presence
from dsmanager.screens.previews.lines_view import LinesView
from dsmanager.settings import Settings

BUILDER = """
import io
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

f = tfds.features


class Everyday(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="A [b]description[/b].",
            license="CC0 [1]",
            features=f.FeaturesDict({
                "image": f.Image(encoding_format="png"),
                "depth": f.Image(shape=(None, None, 1), dtype=np.uint16, encoding_format="png"),
                "audio": f.Audio(sample_rate=8000),
                "label": f.ClassLabel(names=["[red]x", "a[/b]", "never"]),
                "story": f.Text(),
            }),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(12), "test": self._generate_examples(3)}

    def _generate_examples(self, count):
        for number in range(count):
            image = np.zeros((4, 6, 3), np.uint8)
            image[:2] = (255, 0, 0)
            yield number, {
                "image": image,
                "depth": np.full((2, 2, 1), 1000, np.uint16),
                "audio": (1000 * np.sin(np.arange(800) / 8)).astype(np.int64),
                "label": number % 2,
                "story": f"[b]story {number}[/b] \\x1b[31m and more words of it " * 3,
            }
"""


def _settings(folder: Path) -> Settings:
    return Settings.load(
        environ={
            "DSMANAGER_CONFIG": str(folder / "config.toml"),
            "DSMANAGER_DATA_DIR": str(folder / "data"),
            "DSMANAGER_STATE_DIR": str(folder / "state"),
        },
        working_dir=folder,
    )


@pytest.fixture(scope="session")
def everyday(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library with ``everyday:1.0.0`` built and packaged; tests do not change it."""
    folder = tmp_path_factory.mktemp("everyday")
    home = folder / "builders" / "everyday"
    home.mkdir(parents=True)
    (home / "everyday.py").write_text(textwrap.dedent(BUILDER))
    library = Library(settings=replace(_settings(folder), builders=(home.parent,)))
    library.build("everyday")
    library.package("everyday")
    return library


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Places of this test alone."""
    folder = tmp_path / "places"
    (folder / "data").mkdir(parents=True)
    return _settings(folder)


@pytest.fixture
def copied(everyday: Library, settings: Settings) -> Library:
    """A copy of ``everyday``'s data dir that a test may damage."""
    import shutil

    shutil.copytree(everyday.data_dir, settings.data_dir, dirs_exist_ok=True)
    return Library(settings=settings)


@pytest.fixture
def row_of() -> Callable[..., Presence]:
    def find(library: Library, ref: str = "everyday:1.0.0") -> Presence:
        return next(row for row in library.survey().rows if str(row.ref) == ref)

    return find


class Stage(App[Any]):
    """Shows one screen and keeps what it returned."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self._first = screen
        self.returned: list[Any] = []
        self.console._color_system = ColorSystem.TRUECOLOR  # no terminal says so here

    def on_mount(self) -> None:
        self.push_screen(self._first, self.returned.append)


class Acting:
    """A pilot with waiting for what background threads bring."""

    def __init__(self, app: Stage, pilot: Pilot[Any]) -> None:
        self.app, self.pilot = app, pilot
        self.press = pilot.press

    async def until(self, holds: Callable[[], object], what: str, timeout_s: float = 20) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
            await self.pilot.pause(0.01)

    def lines(self, name: str) -> str:
        """What a pane of lines shows, as text."""
        view = self.app.screen.query_one(f"#{name}", LinesView)
        return "\n".join("".join(piece.text for piece in line) for line in view.lines)

    def shown(self, selector: str) -> str:
        return str(self.app.screen.query_one(selector).render())

    @property
    def result(self) -> Any:
        return self.app.returned[0]


Act = Callable[[Acting], Awaitable[None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``play(screen, act, size=(80, 24))``: runs ``act`` with the screen in a terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(screen: Screen[Any], act: Act, size: tuple[int, int] = (80, 24)) -> None:
        async def main() -> None:
            app = Stage(screen)
            async with app.run_test(size=size) as pilot:
                await act(Acting(app, pilot))

        asyncio.run(main())

    return run
