"""Everything is read once in n days, and it is remembered when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import UsageError
from dsmanager.library.library import Library
from dsmanager.library.schedule import Subset, readings
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.refs import Ref
from dsmanager.settings import RemoteConfig, Settings

ROOT = Path(__file__).parents[2]

versions = st.tuples(*[st.integers(0, 99)] * 3).map(lambda numbers: ".".join(map(str, numbers)))
names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
refs = st.builds(Ref, names, st.none() | names, versions)


@settings(deadline=None, max_examples=200)
@given(refs, st.integers(1, 40))
def test_every_ref_is_in_exactly_one_subset(ref, count):
    assert sum(ref in Subset(number, count) for number in range(1, count + 1)) == 1


def test_a_ref_stays_in_its_subset_for_ever_on_every_machine():
    pinned = {"digit:1.0.8": 1, "coco/2017:1.1.0": 4, "imagenet2012:5.1.0": 3}
    assert {
        text: next(n for n in range(1, 8) if Ref.parse(text) in Subset(n, 7)) for text in pinned
    } == pinned


def test_subsets_are_about_equal():
    refs = [Ref(f"d{number}", None, "1.0.0") for number in range(7000)]
    for number in range(1, 8):
        assert 850 < sum(ref in Subset(number, 7) for ref in refs) < 1150


@pytest.mark.parametrize("text", ["", "1", "0/7", "8/7", "1/0", "-1/7", "a/b", "1/7/2", "1/99999"])
def test_what_is_no_subset_is_told(text):
    with pytest.raises(UsageError, match="no subset"):
        Subset.parse(text)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=12))
def test_any_text_is_a_subset_or_a_usage_error(text):
    try:
        subset = Subset.parse(text)
    except UsageError:
        return
    assert Subset.parse(str(subset)) == subset


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return _library(tmp_path / "machine", None)


def _library(root: Path, remote: RemoteConfig | None) -> Library:
    return Library(
        settings=Settings(
            data_dir=root / "data",
            state_dir=root / "state",
            config_file=root / "config.toml",
            manifest=root / "data" / "datasets.json",
            remotes={remote.name: remote} if remote else {},
            working_dir=root,
        )
    )


@pytest.fixture
def package() -> Callable[[Library, str], Path]:
    """A dataset written by hand, packed; returns the archive."""

    def make(library: Library, text: str) -> Path:
        ref = Ref.parse(text)
        folder = library.data_dir / ref.subdir
        folder.mkdir(parents=True)
        split = {"name": "train", "shardLengths": ["1"], "numBytes": "10"}
        (folder / "dataset_info.json").write_text(json.dumps({"splits": [split]}))
        (folder / "features.json").write_text("{}")
        with TFRecordWriter(folder / f"{ref.name}-train.tfrecord-00000-of-00001") as writer:
            writer.write(text.encode())
        return library.package(text)[0].path

    return make


def forget(library: Library) -> None:
    for path in library.memory.files():
        library.memory.forget_file(path)


def verified_at(library: Library, ref: str) -> str | None:
    (row,) = [row for row in library.survey(local_only=True).rows if str(row.ref) == ref]
    return row.to_json()["cached"]["verified_at"]


@pytest.mark.parametrize("verb", ["package", "verify", "extract", "upload", "download", "record"])
def test_every_verb_that_reads_an_archive_in_full_is_remembered(
    tmp_path, package, remote_config, verb
):
    library = _library(tmp_path, remote_config)
    archive = package(library, "digit:1.0.0")
    if verb == "download":
        library.upload("digit")
        archive.unlink()
    if verb != "package":
        forget(library)
    if verb == "extract":
        library.extract("digit", overwrite=True)
    elif verb != "package":
        getattr(library, verb)("digit")
    moment = datetime.fromisoformat(verified_at(library, "digit:1.0.0"))
    assert datetime.now(UTC) - moment < timedelta(minutes=5)


def test_an_archive_that_changed_was_not_read(library, package):
    archive = package(library, "digit:1.0.0")
    assert verified_at(library, "digit:1.0.0") is not None
    os.utime(archive, (1, 1))
    assert verified_at(library, "digit:1.0.0") is None


def test_the_longest_unread_and_the_never_read_are_known(library, package):
    assert readings(library).oldest is None
    for name in ("a", "b", "c"):
        package(library, f"{name}:1.0.0")
    library.memory.forget_file(library.settings.cache_dir / "c__1.0.0__cache.tar.gz")
    old = library.settings.cache_dir / "b__1.0.0__cache.tar.gz"
    with _database(library) as connection:
        connection.execute(
            "UPDATE files SET read_at = '2020-01-02T03:04:05Z' WHERE path = ?", (str(old),)
        )
        connection.commit()
    found = readings(library)
    assert (found.archives, found.never) == (3, (Ref("c", None, "1.0.0"),))
    assert found.oldest == (Ref("b", None, "1.0.0"), "2020-01-02T03:04:05Z")


def _database(library: Library) -> Any:
    import sqlite3
    from contextlib import closing

    return closing(sqlite3.connect(library.settings.state_dir / "fingerprints.sqlite"))


@pytest.fixture
def run(library: Library, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        root = tmp_path / "machine"
        own = {
            "DSMANAGER_CONFIG": str(root / "config.toml"),
            "DSMANAGER_STATE_DIR": str(root / "state"),
            "DSMANAGER_DATA_DIR": str(root / "data"),
            "PYTHONPATH": str(ROOT),
            "HOME": str(root),
        }
        done = subprocess.run(
            [sys.executable, "-m", "dsmanager", "--json", *arguments],
            env={**os.environ, **own},
            cwd=root,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout)

    return run


def test_the_parts_of_verify_all_read_everything_once(library, package, run):
    for name in "abcdef":
        package(library, f"{name}:1.0.0")
    forget(library)
    read = [
        row["ref"] for n in (1, 2, 3) for row in run("verify", "--all", f"--subset={n}/3")["data"]
    ]
    assert sorted(read) == [f"{name}:1.0.0" for name in "abcdef"]
    assert readings(library).never == ()
    (library.settings.cache_dir / "d__1.0.0__cache.tar.gz").write_bytes(b"damaged")
    assert run("verify", "--all", code=3)["errors"][0]["ref"] == "d:1.0.0"
    assert run("verify", "a", "--subset", "7/7", code=0)["status"] == "success"
    run("verify", code=2)
    run("verify", "a", "--all", code=2)
    run("verify", "--all", "--subset", "8/7", code=2)


def findings(envelope: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in envelope["data"]}


def test_the_doctor_says_what_was_not_read_and_what_is_left(library, package, run):
    archive = package(library, "digit:1.0.0")
    found = findings(run("doctor"))
    assert found["verified"]["status"] == found["leftovers"]["status"] == "ok"
    assert found["file system"]["status"] in ("ok", "note")
    assert found["tarfile"]["status"] in ("ok", "note")
    archive.with_name(f".{archive.name}.part").write_bytes(b"1234")
    forget(library)
    found = findings(run("doctor"))
    assert "never read in full here: digit:1.0.0" in found["verified"]["text"]
    assert found["verified"]["hint"].endswith("dsmanager verify --all --subset 1/7")
    assert "4 bytes" in found["leftovers"]["text"]
    assert found["leftovers"]["hint"].endswith("dsmanager gc")
