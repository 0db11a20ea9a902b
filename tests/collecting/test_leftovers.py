"""``gc`` takes away every leftover of a dead process, and nothing else."""

from __future__ import annotations

import os
import string
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsmanager import files
from dsmanager.archives.sidecar import sidecar_path
from dsmanager.library.leftovers import find_leftovers

ARCHIVE = "lost__2.0.0__cache.tar.gz"


def litter(data_dir: Path) -> None:
    """One of every kind that a kill can leave."""
    cache, name = data_dir / "cache", data_dir / "digit"
    for final in (cache / ARCHIVE, cache / f"{ARCHIVE}.json", data_dir / "datasets.json"):
        files.temporary_path(final).write_bytes(b"12345")
    kept = files.temporary_path(cache / f"{ARCHIVE}.json").with_suffix(".kept.tmp")
    kept.write_bytes(b"{}")
    files.temporary_path(kept).write_bytes(b"{")
    for part in (f".{ARCHIVE}.part", f".{ARCHIVE}.part.json", ".my.own.tar.part"):
        (cache / part).write_bytes(b"1")
    files.temporary_path(cache / f".{ARCHIVE}.part.json").write_bytes(b"1")
    (cache / "other__1.0.0__cache.tar.zst.json").write_text("{}")
    for tree in (
        files.temporary_path(name / "1.0.0"),
        files.temporary_path(name / "3.0.0"),
        files.temporary_path(data_dir / "half" / "config" / "1.0.0"),
        data_dir / "empty" / "config",
        data_dir / "unbuilt" / ".config",
        data_dir / "downloads" / "x.zip.tmp",
    ):
        tree.mkdir(parents=True)
    for tree in (*name.glob(".*.tmp"), *data_dir.glob("half/config/.*.tmp")):
        (tree / "deep").mkdir()
        (tree / "deep" / "shard").write_bytes(b"1" * 100)
    (data_dir / "unbuilt" / ".config" / "metadata.json").write_text("{}")
    files.temporary_path(data_dir / "unbuilt" / ".config" / "metadata.json").write_text("{}")
    (data_dir / "downloads" / "y.tmp").write_text("half")
    (data_dir / "gone__1.0.0.lock").write_text("1 build gone:1.0.0")


def test_every_leftover_goes_and_everything_good_stays(place):
    archive = place.package("digit:1.0.0")
    place.build("coco/2017:1.1.0")
    (place.data_dir / "downloads").mkdir()
    (place.data_dir / "downloads" / "kept.zip").write_text("whole")
    (place.data_dir / "downloads" / "kept.tmp").write_text("whole, and named so by its server")
    (place.data_dir / "downloads" / "kept.tmp.INFO").write_text("{}")
    (place.data_dir / "notes.txt").write_text("somebody's")
    (place.cache / ".hidden").write_text("somebody's")
    before = place.everything()
    content = archive.read_bytes()
    litter(place.data_dir)
    found = place.gc()
    assert place.everything() == before
    assert archive.read_bytes() == content
    assert {outcome for _, _, outcome in found} <= {"removed", "kept"}
    assert {kind for kind, _, _ in found} == {
        "leftover",
        "partial-download",
        "orphan-sidecar",
        "empty-folder",
        "lock",
    }
    assert place.gc() == []


def test_bytes_are_counted_and_holes_are_none(place):
    place.cache.mkdir(parents=True)
    (place.cache / f".{ARCHIVE}.{'0' * 8}.tmp").write_bytes(b"1" * 1000)
    part = place.cache / f".{ARCHIVE}.part"
    part.touch()
    os.truncate(part, 1 << 30)
    plan = place.plan()
    assert {each.kind: each.size_bytes for each in plan.garbage} == {
        "leftover": 1000,
        "partial-download": 0,
    }
    assert plan.size_bytes == 1000


def test_what_a_living_process_holds_stays_until_it_is_killed(place, holding):
    place.package("digit:1.0.0")
    own = [
        files.temporary_path(place.cache / "digit__1.0.0__cache.tar.gz"),
        place.cache / ".digit__1.0.0__cache.tar.gz.part",
        files.temporary_path(place.data_dir / "digit" / "1.0.0"),
        files.temporary_path(place.data_dir / "digit" / ".config" / "metadata.json"),
        place.data_dir / "digit" / "config",
        place.data_dir / "downloads" / "x.tmp",
    ]
    for path in own:
        path.mkdir(parents=True)
    with holding(place.data_dir / "digit__1.0.0.lock") as process:
        plan = place.plan(keep=1)
        assert plan.garbage == ()
        assert f"process {process.pid} (test digit)" in plan.notes[0]
        process.kill()
        process.wait()
        place.gc()
    assert not any(path.exists() for path in own)
    assert place.gc() == []


def test_another_version_of_the_same_dataset_is_no_reason_to_stay(place, holding):
    leftover = files.temporary_path(place.data_dir / "digit" / "1.0.0")
    leftover.mkdir(parents=True)
    with holding(place.data_dir / "digit__2.0.0.lock"):
        assert [kind for kind, _, _ in place.gc()] == ["leftover"]


def test_what_is_taken_up_between_looking_and_removing_stays(place, holding):
    part = place.data_dir / "cache" / f".{ARCHIVE}.part"
    part.parent.mkdir(parents=True)
    part.write_text("half")
    plan = place.plan()
    from dsmanager.library.collecting import collect
    from dsmanager.progress import CancelToken, Progress

    with holding(place.data_dir / "lost__2.0.0.lock"):
        (item,) = plan.garbage
        assert collect(place.library, item, progress=Progress(), cancel=CancelToken()) == "kept"
    assert part.exists()


def test_a_commit_that_was_cut_off_at_its_end_is_finished(place):
    archive = place.package("digit:1.0.0")
    content = archive.read_bytes()
    archive.rename(files.temporary_path(archive))
    assert next(outcome for _, _, outcome in place.gc()) == "recovered"
    assert archive.read_bytes() == content
    assert place.gc() == []
    assert place.library.verify("digit")[0].place == "cached"


def test_a_sidecar_alone_goes_and_one_beside_its_archive_stays(place):
    archive = place.package("digit:1.0.0")
    alone = place.cache / "gone__1.0.0__cache.tar.gz.json"
    alone.write_bytes(sidecar_path(archive).read_bytes())
    assert place.gc() == [("orphan-sidecar", alone.name, "removed")]
    assert sidecar_path(archive).exists()


def test_a_swap_that_was_cut_off_is_put_back(place):
    folder = place.build("digit:1.0.0")
    old = folder.with_name(f".1.0.0.{'0' * 8}.old.tmp")
    folder.rename(old)
    place.gc()
    assert (folder / "dataset_info.json").exists()


@pytest.mark.parametrize("age_days", [0, 2])
def test_what_tfds_left_goes_when_it_is_a_day_old(place, age_days):
    folder = place.data_dir / "downloads" / f"host_x.zip.tmp.{'ab' * 16}"
    folder.mkdir(parents=True)
    (folder / "x.zip").write_text("half")
    then = time.time() - age_days * 86_400
    for path in (folder / "x.zip", folder):
        os.utime(path, (then, then))
    place.gc()
    assert folder.exists() == (age_days == 0)


names = st.text(string.ascii_lowercase + ".-_0123456789", min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and not name.endswith((".tmp", ".lock"))
)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(names, min_size=1, max_size=3), st.sampled_from(["", "cache", "digit", "a/b"]))
def test_a_file_of_somebody_is_no_leftover(place, parts, folder):
    """Whatever it is called, unless it has a temporary name or lies as a part in the cache."""
    path = place.data_dir.joinpath(folder, *parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_text("somebody's")
    except (FileExistsError, NotADirectoryError):
        return
    found = {each.path for each in find_leftovers(place.library)}
    is_part = folder == "cache" and len(parts) == 1 and ".part" in parts[0]
    assert is_part or path.is_dir() or path not in found
    assert not any(each in path.parents for each in found)


def test_the_program_shows_then_removes_and_tells_the_same(place):
    place.package("digit:1.0.0")
    before = place.everything()
    litter(place.data_dir)
    littered = place.everything()
    planned = place.run("gc", "--dry-run", "--read-only")
    assert place.everything() == littered
    assert {row["outcome"] for row in planned["data"]} == {"planned"}
    assert set(planned["data"][0]) == {"kind", "ref", "target", "bytes", "reason", "outcome"}
    place.run("gc", "--read-only", code=2)
    done = place.run("gc")
    assert place.everything() == before | {"downloads"}
    gone = {row["target"] for row in planned["data"] if row["kind"] != "lock"}
    assert gone == {row["target"] for row in done["data"]}, "locks go as with every verb"
    assert place.run("gc")["data"] == []
