"""Rows, settings and data dirs for the screens' tests; everything is real but small."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsmanager.library.presence import Built, Cached, OnRemote, Presence
from dsmanager.manifest import Entry
from dsmanager.refs import Ref
from dsmanager.screens.app import DsmanagerApp
from dsmanager.screens.model import Model
from dsmanager.screens.rows import Row, encoded
from dsmanager.settings import RemoteConfig, Settings, add_remote

SHA = "a" * 64


def make_dataset(data_dir: Path, name: str, size: int = 1) -> None:
    folder = data_dir / name / "1.0.0"
    folder.mkdir(parents=True)
    split = {"name": "train", "shardLengths": ["1"], "numBytes": "1"}
    info = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
    features = {"pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features))
    (folder / f"{name}-train.tfrecord-00000-of-00001").write_bytes(b"x" * size)


@pytest.fixture
def dataset() -> Callable[..., None]:
    return make_dataset


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data dir with three built datasets, an empty state dir, no remote."""
    data_dir = tmp_path / "data"
    for name, size in (("apple", 30), ("banana", 2000), ("cherry", 1)):
        make_dataset(data_dir, name, size)
    return Settings(
        data_dir=data_dir,
        state_dir=tmp_path / "state",
        config_file=tmp_path / "config.toml",
        manifest=data_dir / "datasets.json",
        working_dir=tmp_path,
    )


@pytest.fixture
def with_remote(
    settings: Settings, remote_config: RemoteConfig, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The same with a remote on a real server, in the config file that jobs read, too."""
    monkeypatch.setenv("DSMANAGER_CONFIG", str(settings.config_file))
    add_remote(settings.config_file, remote_config)
    return replace(settings, remotes={remote_config.name: remote_config})


@pytest.fixture
def presence() -> Callable[..., Presence]:
    return make_presence


def make_presence(
    name: str,
    *,
    config: str | None = None,
    version: str = "1.0.0",
    built: int | None = None,
    cached: int | None = None,
    remote: int | None = None,
    recorded: int | None = None,
    **more: Any,
) -> Presence:
    """A presence with these sizes; equal sizes have equal hashes."""
    ref = Ref(name, config, version)
    built_at, cached_at = f"/data/{ref.subdir}", f"/data/cache/{ref.archive_name()}"

    def sha(size: int) -> str:
        return hashlib.sha256(str(size).encode()).hexdigest()

    splits = {"train": {"examples": 5, "shards": 1}}
    return Presence(
        ref,
        None
        if built is None
        else Built(built_at, built, 3, "tfrecord", splits, more.pop("problem", None)),
        None if cached is None else Cached(cached_at, cached, sha(cached), None),
        None
        if remote is None
        else OnRemote(f"s3://b/{ref.stem}", ref.archive_name(), remote, sha(remote), "2026-01-01"),
        None
        if recorded is None
        else Entry(ref, ref.archive_name(), recorded, sha(recorded), (str(ref.subdir),)),
        **{"has_remote": True} | more,
    )


@pytest.fixture
def row() -> Callable[..., Row]:
    """A row of a presence as the screens get it: through JSON."""

    def make(name: str, **places: Any) -> Row:
        times = {"built": 1.0e9, "cached": 1.1e9, "remote": 1.2e9}
        raw = encoded(make_presence(name, **places), times)
        return Row(json.loads(json.dumps(raw)))

    return make


class Driver:
    """Drives the app without a terminal; waits for what it shows, never for a time."""

    def __init__(self, app: DsmanagerApp, pilot: Any) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """What stands on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        names = {" ": "space", ":": "colon", ">": "greater_than_sign", "-": "minus"}
        for letter in text:
            await self.pilot.press(names.get(letter, letter))
        await self.pilot.pause()

    async def sees(self, *words: str, timeout_s: float = 20) -> None:
        until_s = time.monotonic() + timeout_s
        while not all(word in self.text for word in words):
            missing = [word for word in words if word not in self.text]
            assert time.monotonic() < until_s, f"{missing} is not on the screen:\n{self.text}"
            await self.pilot.pause(0.02)

    async def holds(self, what: Callable[[], bool], words: str, timeout_s: float = 20) -> None:
        until_s = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < until_s, f"{words}; the screen:\n{self.text}"
            await self.pilot.pause(0.02)


@pytest.fixture
def drive() -> Iterator[Callable[..., None]]:
    """``drive(settings, steps, size=(80, 24), …)`` runs ``steps(driver)`` in the app."""
    models: list[Model] = []

    def run(
        settings: Settings,
        steps: Callable[[Driver], Any],
        *,
        size: tuple[int, int] = (80, 24),
        **options: Any,
    ) -> None:
        async def main() -> None:
            app = DsmanagerApp(settings, **options)
            models.append(app.model)
            async with app.run_test(size=size, notifications=True) as pilot:
                await pilot.pause()
                await steps(Driver(app, pilot))

        asyncio.run(main())

    yield run
    for model in models:
        model.stop()
