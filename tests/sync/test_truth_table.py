"""Every row of (recorded, built, cached, remote), for every direction, on real folders."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dsmanager.library.library import Library
from dsmanager.manifest import update_manifest
from dsmanager.settings import RemoteConfig, Settings
from dsmanager.syncing.plan import Options
from dsmanager.syncing.sync import make_plan

REF = "digit:1.0.8"
PLACES = ("recorded", "built", "cached", "remote")
ROWS = [
    frozenset(place for place, held in zip(PLACES, row, strict=True) if held)
    for row in itertools.product((True, False), repeat=4)
    if any(row)
]


@dataclass
class World:
    """A data dir that has everything, and remotes that have the archive, another one, or none."""

    whole: Path
    other: Path
    full: RemoteConfig
    different: RemoteConfig
    empty: RemoteConfig

    def library(
        self, root: Path, held: frozenset[str], *, other_cached=False, remote=None
    ) -> Library:
        """A new library that holds only these places."""
        data = root / "data"
        data.mkdir(parents=True)
        if "recorded" in held:
            shutil.copy2(self.whole / "datasets.json", data)
        if "built" in held:
            shutil.copytree(self.whole / "digit", data / "digit")
        if "cached" in held:
            source = self.other if other_cached else self.whole
            shutil.copytree(source / "cache", data / "cache")
        remote = remote or (self.full if "remote" in held else self.empty)
        return self.on(root, remote)

    def on(self, root: Path, remote: RemoteConfig | None) -> Library:
        settings = Settings(
            data_dir=root / "data",
            state_dir=root / "state",
            config_file=root / "config.toml",
            manifest=root / "data" / "datasets.json",
            remotes={remote.name: remote} if remote else {},
            working_dir=root,
        )
        return Library(settings=settings)


@pytest.fixture
def world(tmp_path, seaweedfs, build) -> World:
    """The archive ``whole`` on the remote ``full``, the archive ``other`` on ``different``."""
    world = World(
        tmp_path / "whole" / "data",
        tmp_path / "other" / "data",
        seaweedfs.config(),
        seaweedfs.config(),
        seaweedfs.config(),
    )
    for data, salt, remote in ((world.whole, 0, world.full), (world.other, 9, world.different)):
        build(data, REF, records=3 + salt, salt=salt)
        world.on(data.parent, remote).publish(REF)
    return world


def actions(library: Library, options: Options) -> list[str]:
    plan = make_plan(library, (), options)
    for line in plan.all_lines:
        assert list(line.to_json()) == ["action", "ref", "reason", "bytes"]
        assert line.reason
        assert (line.size_bytes == 0) == (line.action in ("keep", "verify", "conflict")) or (
            line.action == "download" and "not on the remote" in line.reason
        )
    return [str(line.action) for line in plan.all_lines]


def expected_pull(held: frozenset[str], options: Options) -> list[str]:
    wants = "recorded" in held and "cached" not in held
    if wants and ("built" not in held or not options.extract):
        # What is nowhere is planned, too: carrying it out says that it is missing.
        return ["download", "extract"] if options.extract and "remote" in held else ["download"]
    return ["keep"]


def test_every_row_of_a_pull(world, tmp_path):
    for index, held in enumerate(ROWS):
        library = world.library(tmp_path / f"row {index}", held)
        for extract in (True, False):
            options = Options(extract=extract)
            assert actions(library, options) == expected_pull(held, options), (held, extract)


def test_every_row_of_a_push(world, tmp_path):
    for index, held in enumerate(ROWS):
        library = world.library(tmp_path / f"row {index}", held)
        is_missing = {"recorded", "cached"} <= held and "remote" not in held
        expected = ["upload"] if is_missing else ["keep"]
        assert actions(library, Options(push=True)) == expected, held


def test_every_row_with_verify_reads_what_is_here_first(world, tmp_path):
    for index, held in enumerate(ROWS):
        library = world.library(tmp_path / f"row {index}", held)
        is_here = held & {"built", "cached"}
        for options in (Options(), Options(extract=False), Options(push=True)):
            plain = [each for each in actions(library, options) if each != "keep"]
            verified = actions(library, replace(options, verify=True))
            assert verified == (["verify", *plain] if is_here else plain or ["keep"]), held


def test_every_row_with_delete_removes_only_what_is_not_recorded(world, tmp_path, build):
    for index, held in enumerate(ROWS):
        root = tmp_path / f"row {index}"
        library = world.library(root, held)

        def record_another(entries):
            (entry,) = world.on(world.whole.parent, None).manifest.entries.values()
            ref = type(entry.ref).parse("mnist:3.0.1")
            entries[ref] = entry._replace(ref=ref, archive="m__cache.tar", subdir=("mnist/3.0.1",))

        update_manifest(library.settings.manifest_path, record_another)
        pull = make_plan(library, (), Options(delete=True)).deletes
        push = make_plan(library, (), Options(delete=True, push=True)).deletes
        if "recorded" in held:
            assert not pull, held
            assert not push, held
        else:
            assert {line.place for line in pull} == held & {"built", "cached"}, held
            assert {line.place for line in push} == held & {"remote"}, held


CONFLICTS = {
    # (held, another archive is cached, another archive is remote)
    "cache": (frozenset({"recorded", "cached", "remote"}), True, False),
    "cache, built": (frozenset({"recorded", "built", "cached", "remote"}), True, False),
    "cache, no remote": (frozenset({"recorded", "cached"}), True, False),
    "remote": (frozenset({"recorded", "cached", "remote"}), False, True),
    "remote, nothing here": (frozenset({"recorded", "remote"}), False, True),
    "not recorded": (frozenset({"cached", "remote"}), True, False),
    "both agree, manifest differs": (frozenset({"recorded", "cached", "remote"}), True, True),
}
RESOLUTIONS = {
    # name: {(push, prefer): actions}; what is not named stays a conflict
    "cache": {
        (False, "manifest"): ["download"],
        (False, "remote"): ["download"],
        (False, "local"): ["keep"],
        (True, "remote"): ["keep"],
        (True, "local"): ["upload"],
    },
    "cache, built": {
        (False, "manifest"): ["download", "extract"],
        (False, "remote"): ["download", "extract"],
        (False, "local"): ["keep"],
        (True, "remote"): ["keep"],
        (True, "local"): ["upload"],
    },
    "cache, no remote": {(False, "local"): ["keep"], (True, "local"): ["upload"]},
    "remote": {
        (False, "manifest"): ["keep"],
        (False, "remote"): ["download"],
        (False, "local"): ["keep"],
        (True, "manifest"): ["upload"],
        (True, "remote"): ["keep"],
        (True, "local"): ["upload"],
    },
    "remote, nothing here": {
        (False, "remote"): ["download", "extract"],
        (True, "remote"): ["keep"],
    },
    "not recorded": {
        (False, "remote"): ["download"],
        (False, "local"): ["keep"],
        (True, "remote"): ["keep"],
        (True, "local"): ["upload"],
    },
    "both agree, manifest differs": {
        (False, "remote"): ["download"],
        (False, "local"): ["keep"],
        (True, "remote"): ["keep"],
        (True, "local"): ["upload"],
    },
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_conflict_is_one_until_somebody_is_preferred(world, tmp_path, name):
    held, other_cached, other_remote = CONFLICTS[name]
    remote = world.different if other_remote else None
    library = world.library(tmp_path / "x", held, other_cached=other_cached, remote=remote)
    for push in (False, True):
        assert actions(library, Options(push=push)) == ["conflict"]
        for prefer in ("manifest", "local", "remote"):
            found = actions(library, Options(push=push, prefer=prefer))
            assert found == RESOLUTIONS[name].get((push, prefer), ["conflict"]), (push, prefer)


def test_without_a_remote_what_is_here_is_kept(world, tmp_path):
    for index, held in enumerate(ROWS):
        root = tmp_path / f"row {index}"
        world.library(root, held)
        here = held - {"remote"}
        if here:
            library = world.on(root, None)
            assert actions_without_remote(library) == (
                ["download"] if here == {"recorded"} else ["keep"]
            )


def actions_without_remote(library: Library) -> list[str]:
    return [str(line.action) for line in make_plan(library, (), Options()).all_lines]
