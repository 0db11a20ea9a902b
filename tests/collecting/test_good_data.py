"""Good data goes only where it was asked for, and what is safe elsewhere is looked at closely."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.archives.sidecar import sidecar_path
from dsmanager.errors import UsageError
from dsmanager.library.collecting import _older, collect
from dsmanager.manifest import update_manifest
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref


def test_the_newest_versions_stay_built_and_cached_apart(place):
    for version in ("1.9.0", "1.10.0", "2.0.0"):
        place.package(f"digit:{version}")
    place.build("coco/a:1.0.0")
    place.build("coco/b:1.1.0")
    (place.cache / "digit__2.0.0__cache.tar.gz").unlink()
    assert "old-version" not in {kind for kind, _, _ in place.gc(keep=3)}
    assert place.gc(keep=1) == [
        ("old-version", "1.9.0", "removed"),
        ("old-version", "1.10.0", "removed"),
        ("old-version", "digit__1.9.0__cache.tar.gz", "removed"),
    ]
    assert {str(row.ref) for row in place.library.survey().rows if row.built} == {
        "digit:2.0.0",
        "coco/a:1.0.0",
        "coco/b:1.1.0",
    }
    assert [path.name for path in place.cache.iterdir() if path.suffix != ".json"] == [
        "digit__1.10.0__cache.tar.gz"
    ]
    with pytest.raises(UsageError, match="at least one"):
        place.plan(keep=0)


@dataclass(frozen=True)
class Found:
    problem: str | None


versions = st.tuples(*[st.integers(0, 12)] * 3).map(lambda numbers: ".".join(map(str, numbers)))
refs = st.builds(Ref, st.sampled_from("ab"), st.sampled_from([None, "x", "y"]), versions)


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(refs, st.builds(Found, st.sampled_from([None, "damaged"]))), st.integers(1, 4)
)
def test_of_each_name_and_config_the_newest_whole_ones_stay(there, keep):
    old = set(_older(there, keep))
    for ref in there:
        newer = [
            other
            for other in there
            if (other.name, other.config) == (ref.name, ref.config)
            and other.version_key > ref.version_key
            and there[other].problem is None
        ]
        assert (ref in old) == (len(newer) >= keep)


def test_nothing_good_goes_without_a_yes(place):
    for version in ("1.0.0", "2.0.0"):
        place.package(f"digit:{version}")
    before = place.everything()
    refused = place.run("gc", "--keep", "1", code=2)
    assert "--yes" in refused["errors"][0]["hint"]
    assert place.everything() == before
    done = place.run("gc", "--keep", "1", "--yes")
    assert {row["kind"] for row in done["data"]} == {"old-version"}
    assert not (place.data_dir / "digit" / "1.0.0").exists()


@pytest.fixture
def uploaded(remote_place):
    """A machine whose archive is recorded and on the remote."""
    archive = remote_place.package("digit:1.0.0")
    remote_place.library.upload("digit")
    return remote_place, archive


def kinds(place, **options):
    return [each.kind for each in place.plan(**options).garbage]


def test_what_is_safe_on_the_remote_goes_and_can_be_fetched_again(uploaded):
    place, archive = uploaded
    content = archive.read_bytes()
    assert kinds(place) == []
    assert place.gc(not_needed_here=True) == [("not-needed-here", archive.name, "removed")]
    assert not archive.exists()
    assert not sidecar_path(archive).exists()
    place.library.download("digit")
    assert archive.read_bytes() == content


@pytest.mark.parametrize("lacking", ["object", "sidecar", "record", "same record", "same bytes"])
def test_what_is_not_wholly_safe_stays(uploaded, lacking):
    place, archive = uploaded
    ref = Ref.parse("digit:1.0.0")
    if lacking == "object":
        place.library.remote.delete(archive.name)
    elif lacking == "sidecar":
        place.library.remote.delete(sidecar_path(archive).name)
    elif lacking == "record":
        update_manifest(place.library.settings.manifest_path, lambda entries: entries.clear())
    elif lacking == "same record":

        def change(entries):
            entries[ref] = entries[ref]._replace(sha256="ab" * 32)

        update_manifest(place.library.settings.manifest_path, change)
    else:
        archive.write_bytes(archive.read_bytes() + b"more")
    assert "not-needed-here" not in kinds(place, not_needed_here=True)


def test_the_remote_is_asked_again_before_the_archive_goes(uploaded):
    place, archive = uploaded
    (item,) = place.plan(not_needed_here=True).garbage
    place.library.remote.delete(archive.name)
    assert collect(place.library, item, progress=Progress(), cancel=CancelToken()) == "kept"
    assert archive.exists()


def test_without_a_remote_nothing_is_safe_there(place):
    with pytest.raises(UsageError, match="no remote"):
        place.plan(not_needed_here=True)


def test_a_remote_that_is_away_leaves_the_rest_to_do(make_place, remote_config):
    away = replace(remote_config, endpoint_url="http://127.0.0.1:9")
    place = make_place(away)
    (place.data_dir / "empty").mkdir(parents=True)
    plan = place.plan()
    assert [each.kind for each in plan.garbage] == ["empty-folder"]
    assert [error.code for error in plan.errors] == ["temporary"]


def test_old_logs_and_fingerprints_of_files_that_are_gone_go(place):
    logs = place.root / "state" / "logs"
    logs.mkdir(parents=True)
    for day in range(1, 14):
        (logs / f"build-digit__1.0.0-202601{day:02}T101112131415.log").write_text("1")
    (logs / "build-coco__1.0.0-20260101T101112131415.log").write_text("1")
    (logs / "mine.log").write_text("1")
    archive = place.package("digit:1.0.0")
    lost = place.cache / "gone__1.0.0__cache.tar.gz"
    lost.write_text("1")
    place.library.memory.remember_file(lost, "ab" * 32)
    away = place.root / "away" / "x__1.0.0__cache.tar.gz"
    away.parent.mkdir()
    away.write_text("1")
    place.library.memory.remember_file(away, "ab" * 32)
    lost.unlink()
    away.unlink()
    away.parent.rmdir()
    assert [kind for kind, _, _ in place.gc()] == ["log"] * 3 + ["fingerprints"]
    assert sorted(path.name for path in logs.iterdir())[0:2] == [
        "build-coco__1.0.0-20260101T101112131415.log",
        "build-digit__1.0.0-20260104T101112131415.log",
    ]
    assert set(place.library.memory.files()) == {str(archive), str(away)}
    assert place.gc() == []


def test_what_dead_processes_left_in_the_state_dir_goes(place):
    import os
    import subprocess
    import sys

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    logs = place.root / "state" / "logs"
    dead, living = (logs / f".scratch.{pid}.x.tmp" for pid in (gone.pid, os.getpid()))
    young, old = (place.root / "state" / f".jobs.json.{n * 8}.tmp" for n in "01")
    for folder in (dead, living):
        folder.mkdir(parents=True)
    for path in (young, old):
        path.write_text("{")
    os.utime(old, (1, 1))
    assert sorted(name for _, name, _ in place.gc()) == sorted([dead.name, old.name])
    assert living.exists()
    assert young.exists()
