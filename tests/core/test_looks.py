"""What records said is remembered, and never longer than it holds."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsmanager.archives import sidecar as sidecars
from dsmanager.errors import VerificationError
from dsmanager.library import looks as looking
from dsmanager.library.library import Library
from dsmanager.refs import Ref

DIGIT = Ref.parse("digit:1.0.8")
ARCHIVE = "digit__1.0.8__cache.tar.gz"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Tests do not wait until their files have settled."""
    monkeypatch.setattr(looking, "_SETTLED_NS", -60_000_000_000)


@pytest.fixture
def listed(make_library, make_built) -> Library:
    """A library with a dataset built and cached, that was listed once."""
    library = make_library()
    make_built(library.data_dir, "digit:1.0.8")
    library.package("digit")
    assert [row.state for row in library.survey().rows] == ["ok"]
    return library


@pytest.fixture
def looked(listed, make_library) -> Library:
    """Another library on the same places, as the next command has."""
    return make_library()


def replaced_in_place(path: Path, old: bytes, new: bytes) -> None:
    """Same size, same inode, same mtime: as ``rsync --inplace --times`` may leave it."""
    assert len(old) == len(new)
    status = path.stat()
    content = path.read_bytes()
    assert old in content
    with open(path, "r+b") as file:
        file.write(content.replace(old, new))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def count_readings(monkeypatch) -> list[str]:
    """The names of the records that are read from here on."""
    readings: list[str] = []
    real_built, real_sidecar = looking.built_presence, sidecars.read_sidecar

    def built(found):
        readings.append(str(found.ref))
        return real_built(found)

    def sidecar(archive):
        readings.append(archive.name)
        return real_sidecar(archive)

    monkeypatch.setattr(looking, "built_presence", built)
    monkeypatch.setattr(sidecars, "read_sidecar", sidecar)
    return readings


def test_a_second_listing_reads_no_record_and_says_the_same(listed, looked, monkeypatch):
    before = [row.to_json() for row in listed.survey().rows]
    readings = count_readings(monkeypatch)
    assert [row.to_json() for row in looked.survey().rows] == before
    assert readings == []


def test_a_record_that_has_just_changed_is_not_remembered(
    make_library, make_built, monkeypatch, tmp_path
):
    monkeypatch.setattr(looking, "_SETTLED_NS", 60_000_000_000)
    library = make_library()
    make_built(library.data_dir, "digit:1.0.8")
    library.survey()
    readings = count_readings(monkeypatch)
    library.survey()
    assert readings == ["digit:1.0.8"]


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_record_of_a_build_changed_in_place_is_read_again(looked, name):
    path = looked.version_folder(DIGIT) / name
    content = path.read_bytes()
    replaced_in_place(path, content, b" " * len(content))
    (row,) = looked.survey().rows
    assert row.state == "damaged"
    assert name in row.problem


@pytest.mark.parametrize("change", ["truncate", "delete", "empty"])
def test_a_shard_that_is_not_as_it_was_is_seen(looked, change):
    shard = looked.version_folder(DIGIT) / "digit-train.tfrecord-00000-of-00001"
    if change == "delete":
        shard.unlink()
    else:
        os.truncate(shard, 0 if change == "empty" else 5)
    (row,) = looked.survey().rows
    assert row.state == ("ok" if change == "truncate" else "damaged"), "as a listing always did"
    assert row.built.size_bytes == sum(looked_at.stat().st_size for looked_at in
                                       looked.version_folder(DIGIT).iterdir())  # fmt: skip


def test_other_splits_are_seen(looked):
    path = looked.version_folder(DIGIT) / "dataset_info.json"
    replaced_in_place(path, b'["3"]', b'["2"]')
    (row,) = looked.survey().rows
    assert row.built.splits == {"train": {"examples": 2, "shards": 1}}


def test_a_sidecar_changed_in_place_is_read_again(looked):
    sidecar = looked.settings.cache_dir / f"{ARCHIVE}.json"
    sha256 = json.loads(sidecar.read_bytes())["sha256"]
    replaced_in_place(sidecar, f'"sha256": "{sha256}"'.encode(), f'"sha256": "{"0" * 64}"'.encode())
    (row,) = looked.survey().rows
    assert (row.state, row.problem) == (
        "damaged",
        f"{ARCHIVE} has other bytes than its record says",
    )


def test_a_broken_sidecar_is_told_each_time(looked, make_library):
    sidecar = looked.settings.cache_dir / f"{ARCHIVE}.json"
    sidecar.write_text("{")
    for library in (looked, make_library()):
        (row,) = library.survey().rows
        assert row.state == "damaged"
        with pytest.raises(VerificationError):
            library.looks.record(str(library.settings.cache_dir / ARCHIVE), sidecar.stat())


def test_a_sidecar_that_is_gone_is_gone(looked):
    (looked.settings.cache_dir / f"{ARCHIVE}.json").unlink()
    looked.memory.forget_file(looked.settings.cache_dir / ARCHIVE)
    (row,) = looked.survey().rows
    assert row.cached.sha256 is None


def facts_on_disk(library: Library) -> set[str]:
    return {Path(path).name for path in library.memory.facts()}


def test_what_is_no_longer_there_is_forgotten(listed, looked, make_built):
    assert facts_on_disk(looked) == {"1.0.8", f"{ARCHIVE}.json"}
    make_built(looked.data_dir, "other:2.0.0")
    (looked.settings.cache_dir / f"{ARCHIVE}.json").unlink()
    (looked.settings.cache_dir / ARCHIVE).unlink()
    looked.survey()
    assert facts_on_disk(looked) == {"1.0.8", "2.0.0"}


def test_another_data_dir_with_the_same_state_is_left_alone(listed, tmp_path):
    from dataclasses import replace

    other = Library(settings=replace(listed.settings, data_dir=tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    other.survey()
    assert facts_on_disk(listed) == {"1.0.8", f"{ARCHIVE}.json"}


@pytest.mark.parametrize("facts", ["", "{", "[]", "5", '["digit:1.0.8"]', '["../x", 1, "a", []]'])
def test_memories_that_are_spoilt_cost_a_reading(listed, make_library, facts):
    before = [row.to_json() for row in listed.survey().rows]
    database = listed.settings.state_dir / "fingerprints.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE facts SET facts = ?", (facts,))
    connection.close()
    assert [row.to_json() for row in make_library().survey().rows] == before


def test_several_threads_may_look_with_one_library(make_library, make_built):
    library = make_library()
    for number in range(50):
        make_built(library.data_dir, f"d{number}:1.0.0")
    surveys = []

    def look(_: int) -> None:
        surveys.append([row.to_json() for row in library.survey().rows])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(40)))
    assert len(surveys) == 40
    assert all(each == surveys[0] for each in surveys)
    assert len(library.memory.facts()) == 50


def test_files_from_the_future_are_read_each_time(make_library, make_built, monkeypatch):
    monkeypatch.setattr(looking, "_SETTLED_NS", 2_000_000_000)
    library = make_library()
    built = make_built(library.data_dir, "digit:1.0.8")
    later_ns = time.time_ns() + 3_600_000_000_000
    for path in built.path.iterdir():
        os.utime(path, ns=(later_ns, later_ns))
    library.survey()
    assert facts_on_disk(library) == set()


@pytest.mark.parametrize("facts", [None, b"\xff", "no JSON", "1, 2", "[1"])
def test_one_damaged_fact_is_read_again_and_the_others_are_kept(
    listed, make_library, monkeypatch, facts
):
    before = [row.to_json() for row in listed.survey().rows]
    with sqlite3.connect(listed.settings.state_dir / "fingerprints.sqlite") as connection:
        named = "WHERE path LIKE '%1.0.8'"
        assert connection.execute(f"UPDATE facts SET facts = ? {named}", (facts,)).rowcount == 1
    connection.close()
    readings = count_readings(monkeypatch)
    assert [row.to_json() for row in make_library().survey().rows] == before
    assert readings == ["digit:1.0.8"]
    assert [row.to_json() for row in make_library().survey().rows] == before
    assert readings == ["digit:1.0.8"]


def test_a_sidecar_that_comes_while_the_cache_is_listed_is_seen(listed, make_library, monkeypatch):
    sidecar = listed.settings.cache_dir / f"{ARCHIVE}.json"
    sidecar.unlink()
    real = os.scandir

    @contextmanager
    def scandir(folder):
        with real(folder) as entries:
            yield list(entries)
        if Path(folder) == listed.settings.cache_dir:
            sidecar.write_text("{")

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        (row,) = make_library().survey(local_only=True).rows
    assert row.state == "damaged"
