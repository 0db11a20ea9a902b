"""The states of a ref, each made with real folders, archives, sidecars and a real remote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from dsmanager.errors import NotFoundError, VerificationError
from dsmanager.library.describing import describe
from dsmanager.library.library import Library
from dsmanager.library.presence import STATES, Presence
from dsmanager.library.removal import plan_removal, remove
from dsmanager.manifest import update_manifest
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

DIGIT = Ref.parse("digit:1.0.8")


@pytest.fixture
def packed(make_library, make_built) -> Library:
    """A library with one dataset built, cached and recorded."""
    library = make_library()
    make_built(library.data_dir, "digit:1.0.8")
    library.package("digit")
    return library


def row_of(library: Library, ref: str = "digit:1.0.8") -> Presence:
    survey = library.survey()
    assert not survey.errors
    return {str(row.ref): row for row in survey.rows}[ref]


def drop(library: Library, *places: str) -> None:
    for thing in plan_removal(library, ["digit"], places):
        remove(library, thing, progress=Progress(), cancel=CancelToken())


def flip_a_byte(library: Library, at: int = 200) -> None:
    """Changes one byte in place; size, inode and sidecar stay."""
    path = library.cached_path(DIGIT)
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def lose_a_shard(library: Library) -> None:
    (library.version_folder(DIGIT) / "digit-train.tfrecord-00000-of-00001").unlink()


def truncate_the_archive(library: Library) -> None:
    path = library.cached_path(DIGIT)
    path.write_bytes(path.read_bytes()[:-1])


def break_the_sidecar(library: Library) -> None:
    path = library.cached_path(DIGIT)
    path.with_name(f"{path.name}.json").write_text("{")


def flip_and_verify(library: Library) -> None:
    flip_a_byte(library)
    with pytest.raises(VerificationError):
        library.verify("digit", places=("cached",))


def record_another(library: Library) -> None:

    def change(entries):
        entries[DIGIT] = entries[DIGIT]._replace(sha256="ab" * 32)

    update_manifest(library.settings.manifest_path, change)


CHANGES: list[tuple[str, Callable[[Library], None]]] = [
    ("damaged", lose_a_shard),
    ("damaged", truncate_the_archive),
    ("damaged", break_the_sidecar),
    ("damaged", flip_and_verify),
    ("differs", record_another),
    ("not-built", lambda library: drop(library, "built")),
    ("not-cached", lambda library: drop(library, "cached")),
    ("not-recorded", lambda library: drop(library, "recorded")),
    ("not-built", lambda library: drop(library, "built", "cached")),
    ("not-cached", lambda library: drop(library, "cached", "recorded")),
    ("ok", lambda library: None),
]


@pytest.mark.parametrize(
    ("state", "change"), CHANGES, ids=lambda value: getattr(value, "__name__", value)
)
def test_each_state_without_a_remote(packed, state, change):
    change(packed)
    assert row_of(packed).state == state
    json.dumps(row_of(packed).to_json())


def test_the_states_are_those_that_scripts_know():
    assert STATES == ("damaged", "differs", "partial", "not-built", "not-cached", "not-uploaded",
                      "not-recorded", "ok")  # fmt: skip


def test_earlier_states_win(packed):
    """damaged before differs, differs before not-built."""
    drop(packed, "built")
    record_another(packed)
    assert row_of(packed).state == "differs"
    truncate_the_archive(packed)
    assert row_of(packed).state == "damaged"
    assert "bytes instead of" in row_of(packed).problem


def test_not_uploaded_is_a_state_only_with_a_remote(packed, make_library, remote_config):
    assert row_of(packed).state == "ok"
    library = make_library(remote=remote_config)
    row = row_of(library)
    assert (row.state, row.has_remote, row.remote) == ("not-uploaded", True, None)
    library.upload("digit")
    row = row_of(library)
    assert row.state == "ok"
    assert row.remote.sha256 == row.cached.sha256 == row.recorded.sha256
    drop(library, "recorded")
    assert row_of(library).state == "not-recorded"


def test_a_remote_with_other_content_differs(packed, make_library, make_built, remote_config):
    library = make_library(remote=remote_config)
    library.upload("digit")
    drop(library, "built", "cached", "recorded")
    make_built(library.data_dir, "digit:1.0.8", records=5)
    library.package("digit")
    row = row_of(library)
    assert row.state == "differs"
    assert row.difference == "the manifest and the remote have different archives"


def test_an_unreachable_remote_is_an_error_of_the_survey_and_no_state(make_library, packed):
    from dsmanager.settings import RemoteConfig

    down = RemoteConfig("down", "s3://bucket/x", endpoint_url="http://127.0.0.1:1", anonymous=True)
    survey = make_library(remote=down).survey()
    assert [row.state for row in survey.rows] == ["ok"]
    assert [error.exit_code for error in survey.errors] == [5]


def test_an_archive_of_several_configs_is_partial_until_all_are_built(make_library, make_built):
    library = make_library()
    for config in ("rgb", "all"):
        make_built(library.data_dir, f"so2sat/{config}:2.1.0")
    (library.data_dir / "so2sat" / ".config").mkdir()
    metadata = library.data_dir / "so2sat" / ".config" / "metadata.json"
    metadata.write_text('{"default_config_name": "rgb"}')
    library.package("so2sat", together=True)
    row = row_of(library, "so2sat:2.1.0")
    assert row.state == "ok"
    assert row.built.path == library.data_dir / "so2sat"
    (library.data_dir / "so2sat" / "all").rename(library.data_dir / ".aside")
    assert row_of(library, "so2sat:2.1.0").state == "partial"
    (library.data_dir / "so2sat" / "rgb").rename(library.data_dir / ".aside too")
    assert row_of(library, "so2sat:2.1.0").state == "not-built"


def test_of_two_archives_of_a_ref_the_recorded_one_is_meant(packed):
    """``.tar.zst`` sorts after ``.tar.gz``, and that decides nothing."""
    packed.package("digit", compression="zst", record=False)
    assert row_of(packed).state == "ok"
    assert packed.cached_path(DIGIT).name.endswith(".tar.gz")
    packed.package("digit", compression="none", overwrite=True)
    assert packed.cached_path(DIGIT).name.endswith(".tar")


def test_a_cache_full_of_other_things_shows_archives_only(packed):
    cache = packed.settings.cache_dir
    for name in (
        "notes.txt",
        ".x__1.0.0__cache.tar.gz.0a1b2c3d.tmp",
        "x__1.0.0__cache.tar.gz.json",
    ):
        (cache / name).write_text("x")
    (cache / "y__1.0.0__cache.tar.gz").mkdir()
    (cache / "z__1.0.0__cache.tar.gz").symlink_to("nowhere")
    assert [str(row.ref) for row in packed.survey().rows] == ["digit:1.0.8"]


def test_an_archive_without_any_record_is_listed_and_not_verified(packed):
    path = packed.cached_path(DIGIT)
    drop(packed, "recorded")
    path.with_name(f"{path.name}.json").unlink()
    packed.memory.forget_file(path)
    row = row_of(packed)
    assert row.state == "not-recorded"
    assert (row.cached.sha256, row.cached.verified_at) == (None, None)
    with pytest.raises(NotFoundError, match="nothing says what the archive"):
        packed.verify("digit", places=("cached",))


def test_verified_is_forgotten_when_the_file_changes(packed):
    assert row_of(packed).cached.verified_at
    flip_a_byte(packed)
    assert row_of(packed).cached.verified_at is None


def test_removing_shows_bytes_first_and_leaves_no_empty_folder(packed, make_built):
    make_built(packed.data_dir, "so2sat/rgb:2.1.0")
    (packed.data_dir / "so2sat" / ".config").mkdir()
    (packed.data_dir / "so2sat" / ".config" / "metadata.json").write_text("{}")
    plan = plan_removal(packed, ["*"], ["built", "cached"])
    assert [(str(thing.ref), thing.place) for thing in plan] == [
        ("digit:1.0.8", "built"),
        ("digit:1.0.8", "cached"),
        ("so2sat/rgb:2.1.0", "built"),
    ]
    assert all(thing.size_bytes > 0 for thing in plan)
    for thing in plan:
        remove(packed, thing, progress=Progress(), cancel=CancelToken())
    assert sorted(os.listdir(packed.data_dir)) == ["cache", "datasets.json"]
    assert os.listdir(packed.data_dir / "cache") == []
    with pytest.raises(NotFoundError):
        plan_removal(packed, ["digit"], ["built"])


@pytest.mark.parametrize("name", [".1.0.8.0a1b2c3d.tmp", ".1.0.8.0a1b2c3d.old.tmp"])
@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_killed_removal_left_can_be_removed(make_library, make_built, name, is_there):
    library = make_library()
    left = library.data_dir / "a" / "b" / "c" / name
    make_built(library.data_dir, "a/b/c:1.0.8").path.rename(left)
    if is_there:
        make_built(library.data_dir, "a/b/c:1.0.8")
    assert len(library.survey().rows) == is_there
    for thing in plan_removal(library, ["a"], ["built"]):
        remove(library, thing, progress=Progress(), cancel=CancelToken())
    assert os.listdir(library.data_dir) == []


@pytest.mark.parametrize(
    "info",
    [
        {"location": {"urls": []}, "description": 5, "citation": ["x"]},
        {"location": ["x"], "redistributionInfo": "mine"},
        {"location": {"urls": "http://x"}, "redistributionInfo": {"license": {}}},
    ],
)
@pytest.mark.parametrize(
    "provenance",
    ["{}", '{"sources": 5, "builder": [], "license": 1}', '{"sources": ["x", {"url": "u"}]}', "["],
)
def test_info_of_hostile_json_is_a_description(make_library, make_built, info, provenance):
    library = make_library()
    built = make_built(library.data_dir, "digit:1.0.8", info=info)
    (built.path / "provenance.json").write_text(provenance)
    description = describe(library, "digit", preview=0)
    facts = json.loads(json.dumps(description.to_json()))
    assert all(facts[name] is None for name in ("homepage", "license", "citation"))
    assert "dataset_info.json" in facts["files"]
