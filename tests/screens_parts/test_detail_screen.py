"""The detail screen: facts, examples, labels, files; what is absent, slow, damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dsmanager.library.library import Library
from dsmanager.library.presence import Presence
from dsmanager.screens.detail_screen import DetailScreen

Play = Callable[..., None]
RowOf = Callable[..., Presence]


def test_built_data_shows_facts_examples_labels_and_files(
    everyday: Library, row_of: RowOf, play: Play
) -> None:
    async def act(on: Any) -> None:
        await on.until(lambda: "train" in on.lines("about"), "the facts")
        about = on.lines("about")
        for part in ("12 examples", "CC0 [1]", "Audio int64", "sha256", "A [b]description[/b]."):
            assert part in about
        await on.press("n")
        await on.until(lambda: "example 1 of 12" in on.lines("examples"), "an example")
        assert "▀" in on.lines("examples")
        assert "0.10 s at 8,000 Hz" in on.lines("examples")
        assert "]story" in on.lines("examples")
        assert "\x1b" not in on.lines("examples")
        await on.press("n")
        await on.until(lambda: "example 2 of 12" in on.lines("examples"), "the next one")
        await on.press("p", "p")
        await on.until(lambda: "example 12 of 12" in on.lines("examples"), "the last one")
        await on.press("s")
        await on.until(lambda: "test, example 1 of 3" in on.lines("examples"), "the next split")
        await on.press("l")
        await on.until(lambda: "all 3 examples of test" in on.lines("labels"), "the labels")
        assert "[red]x" in on.lines("labels")
        assert "never" in on.lines("labels")
        await on.press("4")
        await on.until(lambda: "dataset_info.json" in on.lines("files"), "the files")
        await on.press("escape")
        assert on.app.returned == [None]

    play(DetailScreen(everyday.settings, row_of(everyday)), act)


@pytest.mark.parametrize("size", [(120, 40), (200, 60), (30, 8)])
def test_every_size_shows_an_example(
    everyday: Library, row_of: RowOf, play: Play, size: tuple[int, int]
) -> None:
    async def act(on: Any) -> None:
        await on.press("2")
        await on.until(lambda: "1 of 12" in on.lines("examples"), "an example")
        if size[0] >= 110:
            await on.until(lambda: "CC0" in on.lines("about"), "the facts beside it")
        await on.pilot.resize_terminal(80, 24)
        await on.until(lambda: "1 of 12" in on.lines("examples"), "the example after a resize")

    play(DetailScreen(everyday.settings, row_of(everyday)), act, size)


def test_without_colours_images_are_told_and_not_drawn(
    everyday: Library, row_of: RowOf, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(on: Any) -> None:
        await on.press("2")
        await on.until(lambda: "too few colours" in on.lines("examples"), "the fallback")
        assert "▀" not in on.lines("examples")
        assert "PNG 6\N{MULTIPLICATION SIGN}4" in on.lines("examples")

    play(DetailScreen(everyday.settings, row_of(everyday)), act)


def test_what_is_only_cached_is_told_from_its_sidecar(
    copied: Library, row_of: RowOf, play: Play
) -> None:
    shutil.rmtree(copied.data_dir / "everyday")

    async def act(on: Any) -> None:
        await on.until(lambda: "12 examples" in on.lines("about"), "the sidecar's splits")
        assert "dsmanager extract everyday:1.0.0" in " ".join(on.lines("about").split())
        await on.press("2")
        await on.until(lambda: "only of what is built" in on.lines("examples"), "why there is none")
        await on.press("l")
        await on.until(lambda: "what is built" in on.lines("labels"), "why there are none")
        await on.press("4")
        await on.until(lambda: "features.json" in on.lines("files"), "the members")

    play(DetailScreen(copied.settings, row_of(copied)), act)


def test_what_is_only_recorded_says_how_to_get_it(
    copied: Library, row_of: RowOf, play: Play
) -> None:
    row = row_of(copied)._replace(built=None, cached=None)

    async def act(on: Any) -> None:
        await on.until(lambda: "dsmanager build" in on.lines("about"), "what to do")
        assert "recorded" in on.lines("about")

    shutil.rmtree(copied.data_dir / "everyday")
    play(DetailScreen(copied.settings, row), act)


def test_what_is_only_on_the_remote_is_told_from_the_sidecar_there(
    everyday: Library, row_of: RowOf, play: Play, remote_config: Any, settings: Any
) -> None:
    remotes = {remote_config.name: remote_config}
    Library(settings=replace(everyday.settings, remotes=remotes)).upload("everyday")
    elsewhere = Library(settings=replace(settings, remotes=remotes))

    async def act(on: Any) -> None:
        await on.until(lambda: "12 examples" in on.lines("about"), "the splits")
        assert "dsmanager download" in on.lines("about")
        await on.press("4")
        await on.until(lambda: "features.json" in on.lines("files"), "the members")

    play(DetailScreen(elsewhere.settings, row_of(elsewhere)), act)


def test_damaged_data_shows_the_error_and_the_screen_lives_on(
    copied: Library, row_of: RowOf, play: Play
) -> None:
    row = row_of(copied)
    folder = row.ref.subdir
    (copied.data_dir / folder / "everyday-train.tfrecord-00000-of-00001").write_bytes(b"\0" * 400)

    async def act(on: Any) -> None:
        await on.until(lambda: "12 examples" in on.lines("about"), "the facts")
        await on.press("2")
        await on.until(lambda: "damaged" in on.lines("examples"), "the error")
        await on.press("l")
        await on.until(lambda: "damaged" in on.lines("labels"), "the error")
        await on.press("2", "s")
        await on.until(lambda: "test, example 1 of 3" in on.lines("examples"), "the whole split")

    play(DetailScreen(copied.settings, row), act)


def test_features_that_name_foreign_code_are_refused(
    copied: Library, row_of: RowOf, play: Play
) -> None:
    row = row_of(copied)
    path = copied.data_dir / row.ref.subdir / "features.json"
    path.write_text(path.read_text().replace("tensorflow_datasets.core", "evil.core"))

    async def act(on: Any) -> None:
        await on.press("2")
        await on.until(lambda: "feature class" in on.lines("examples"), "the refusal")

    play(DetailScreen(copied.settings, row), act)


def test_a_disk_that_never_answers_blocks_no_key(
    copied: Library, row_of: RowOf, play: Play
) -> None:
    row = row_of(copied)
    shard = copied.data_dir / row.ref.subdir / "everyday-train.tfrecord-00000-of-00001"
    shard.unlink()
    os.mkfifo(shard)  # whoever opens it waits for a writer that never comes

    async def act(on: Any) -> None:
        await on.press("2", "n", "n", "l", "4", "1")
        await on.until(lambda: "12 examples" in on.lines("about"), "the facts")
        await on.press("escape")
        assert on.app.returned == [None]

    try:
        play(DetailScreen(copied.settings, row), act)
    finally:
        os.close(os.open(shard, os.O_RDWR | os.O_NONBLOCK))  # lets the threads go


def test_a_click_on_a_view_shows_it(everyday: Library, row_of: RowOf, play: Play) -> None:
    async def act(on: Any) -> None:
        for offset, name in ((11, "examples"), (24, "labels"), (35, "files"), (3, "about")):
            await on.pilot.click("#detail-views", offset=(offset, 0))
            await on.until(lambda name=name: on.app.screen.query_one(f"#{name}").display, name)

    play(DetailScreen(everyday.settings, row_of(everyday)), act)


def test_looking_at_examples_loads_neither_tfds_nor_tensorflow(everyday: Library) -> None:
    code = """
import sys
from dsmanager.built import BuiltDataset
from dsmanager.progress import CancelToken
from dsmanager.refs import Ref
from pathlib import Path
import dsmanager.screens.detail_screen
assert not {"numpy", "PIL", "boto3"} & set(sys.modules), "loaded before they are needed"
from dsmanager.screens.previews.example import example_lines
from dsmanager.screens.previews.reading import ExampleReader
reader = ExampleReader(BuiltDataset(Ref("everyday", None, "1.0.0"), Path(sys.argv[1])))
assert len(example_lines(reader.example("train", 3), 60, 30, in_colour=True)) > 10
leaf = reader.label_leaves[0]
reader.count_labels(reader.labels("train", leaf), leaf, CancelToken())
assert not {"tensorflow_datasets", "tensorflow"} & set(sys.modules)
"""
    folder = everyday.data_dir / "everyday" / "1.0.0"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
