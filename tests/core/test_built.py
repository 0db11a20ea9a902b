"""Version folders as they lie on disk: odd trees, missing shards, hostile JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsmanager.built import BuiltDataset, find_built, is_version_folder
from dsmanager.errors import VerificationError
from dsmanager.library.presence import built_presence
from dsmanager.refs import Ref

TEMPLATES = {
    "default": None,
    "tfds": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    "index": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}-of-{NUM_SHARDS}",
}


def found(data_dir: Path) -> list[str]:
    return [str(built.ref) for built in find_built(data_dir)]


def test_names_configs_and_versions_are_found_sorted_by_ref(make_built, tmp_path):
    refs = ["b:1.10.0", "b:1.9.0", "a/x/y/z:1.0.0", "a/x:1.0.0", "a:2.0.0"]
    for ref in refs:
        make_built(tmp_path, ref)
    assert found(tmp_path) == ["a:2.0.0", "a/x:1.0.0", "a/x/y/z:1.0.0", "b:1.9.0", "b:1.10.0"]
    assert is_version_folder(tmp_path / "b" / "1.9.0")
    assert not is_version_folder(tmp_path / "b")


def test_what_lies_beside_datasets_is_no_dataset(make_built, tmp_path):
    make_built(tmp_path, "digit:1.0.8")
    for name in ("__pycache__", "downloads", "cache", ".hidden", ".x.0a1b2c3d.tmp"):
        make_built(tmp_path / "elsewhere", "digit:1.0.8").path.parents[1].rename(tmp_path / name)
    for odd in ("Ä b", "a b", "a:b", "new\nline", "-x"):
        (tmp_path / odd / "1.0.0").mkdir(parents=True)
        (tmp_path / odd / "1.0.0" / "dataset_info.json").write_text("{}")
    (tmp_path / os.fsdecode(b"\xff") / "1.0.0").mkdir(parents=True)
    (tmp_path / "empty" / "1.0.0").mkdir(parents=True)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "up").symlink_to("..")
    (tmp_path / "file").touch()
    (tmp_path / "digit" / ".1.0.9.0a1b2c3d.tmp").mkdir()
    (tmp_path / "digit" / "1.0").mkdir()
    (tmp_path / "digit" / "__pycache__").mkdir()
    assert [ref for ref in found(tmp_path) if not ref.startswith("up/")] == ["digit:1.0.8"]


def test_a_config_may_be_called_cache(make_built, tmp_path):
    make_built(tmp_path, "a/cache:1.0.0")
    assert found(tmp_path) == ["a/cache:1.0.0"]


def test_links_to_folders_are_followed(make_built, tmp_path):
    make_built(tmp_path / "disk", "digit:1.0.8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digit").symlink_to(tmp_path / "disk" / "digit")
    assert found(tmp_path / "data") == ["digit:1.0.8"]


def test_a_data_dir_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(find_built(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        list(find_built(tmp_path / "file"))


def test_a_folder_that_may_not_be_read_is_damaged_and_hides_no_other(
    make_built, root_only, run_program, tmp_path
):
    make_built(tmp_path / "data", "digit:1.0.8").path.chmod(0o700)
    make_built(tmp_path / "data", "mnist:3.0.1")
    make_built(tmp_path / "data", "secret:1.0.0").path.parent.chmod(0o700)
    tmp_path.chmod(0o755)
    (tmp_path / "data").chmod(0o755)
    done = run_program(
        """
        import os
        from pathlib import Path
        from dsmanager.built import find_built
        from dsmanager.library.presence import built_presence
        os.seteuid(65534)
        for built in find_built(Path("data")):
            print(built.ref, built_presence(built).problem)
        """
    )
    digit, mnist = done.stdout.splitlines()
    assert digit.startswith("digit:1.0.8 ")
    assert "cannot be read" in digit
    assert mnist == "mnist:3.0.1 None"


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_complete_folder_has_no_problems(make_built, tmp_path, template):
    split = {"filepathTemplate": TEMPLATES[template]} if TEMPLATES[template] else {}
    built = make_built(tmp_path, "digit:1.0.8", split=split)
    assert list(built.problems()) == []
    built.require_complete()
    train = built.splits["train"]
    assert (train.examples, train.shard_lengths, train.payload_bytes) == (3, (3,), 10)
    assert built.size_bytes == sum(path.stat().st_size for path in built.path.iterdir())
    assert built.provenance == {}
    assert built.builder_sha256 is None


def damage(built: BuiltDataset, how: str) -> None:
    shard = built.path / "digit-train.tfrecord-00000-of-00001"
    info = built.path / "dataset_info.json"
    if how == "missing shard":
        shard.unlink()
    elif how == "empty shard":
        shard.write_bytes(b"")
    elif how == "folder as shard":
        shard.unlink()
        shard.mkdir()
    elif how == "broken info":
        info.write_text("{")
    elif how == "info is a list":
        info.write_text("[]")
    elif how == "broken features":
        (built.path / "features.json").write_bytes(b"\xff\xfe\x00")
    elif how == "no features":
        (built.path / "features.json").unlink()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing shard", "digit-train.tfrecord-00000-of-00001 is missing"),
        ("empty shard", "digit-train.tfrecord-00000-of-00001 is empty"),
        ("folder as shard", "00001 is missing"),
        ("broken info", "dataset_info.json cannot be read: .*line 1"),
        ("info is a list", "dataset_info.json is not a JSON object"),
        ("broken features", "features.json cannot be read"),
        ("no features", "features.json is missing"),
    ],
)
def test_damage_is_named(make_built, tmp_path, how, says):
    built = make_built(tmp_path, "digit:1.0.8")
    damage(built, how)
    with pytest.raises(VerificationError, match=says) as raised:
        built.require_complete()
    assert raised.value.ref == "digit:1.0.8"
    assert "dsmanager build digit:1.0.8 --clean" in str(raised.value.hint)
    assert built_presence(BuiltDataset(built.ref, built.path)).problem


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"splits": []}, "names no splits"),
        ({"splits": None}, "splits that cannot be read"),
        ({"splits": [{}]}, "splits that cannot be read"),
        ({"splits": ["train"]}, "splits that cannot be read"),
        ({"splits": {"train": 1}}, "splits that cannot be read"),
        ({"splits": [{"name": ["a"]}]}, "splits that cannot be read"),
        ({"splits": [{"name": "a", "shardLengths": ["x"]}]}, "splits that cannot be read"),
        ({"splits": [{"name": "a", "shardLengths": [-5, 6]}]}, "splits that cannot be read"),
        ({"splits": [{"name": "a", "shardLengths": [float("inf")]}]}, "splits that cannot be read"),
        ({"splits": [{"name": "a", "numBytes": float("nan")}]}, "splits that cannot be read"),
        ({"splits": [{"name": "a"}, {"name": "a"}]}, "splits that cannot be read"),
        ({"splits": [{"name": "a", "shardLengths": []}]}, "split a has no examples"),
        ({"splits": [{"name": "a", "shardLengths": ["0"]}]}, "split a has no examples"),
    ],
)
def test_splits_that_cannot_be_loaded_are_damage(make_built, tmp_path, info, says):
    built = make_built(tmp_path, "digit:1.0.8", info=info)
    with pytest.raises(VerificationError, match=says):
        built.require_complete()


@pytest.mark.parametrize(
    "template",
    ["../../{DATASET}-{SPLIT}", "/etc/passwd", "features.json/..", "{SPLIT}/{DATASET}", "", "\x00"],
)
def test_a_hostile_template_reaches_nothing_outside_the_folder(make_built, tmp_path, template):
    (tmp_path / "digit-train").write_text("outside")
    split = {"filepathTemplate": template, "shardLengths": ["3", "4"]}
    built = make_built(tmp_path / "data", "digit:1.0.8", split=split)
    assert any(problem.endswith(" is missing") for problem in built.problems())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
keys = st.sampled_from(["name", "shardLengths", "numBytes", "filepathTemplate"])
hostile_splits = st.lists(st.dictionaries(keys, json_values) | json_values, max_size=3)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.sampled_from(["fileFormat", "location", "description"]), json_values),
    hostile_splits | json_values,
)
def test_any_info_is_a_presence_with_or_without_a_problem(tmp_path, info, splits):
    (tmp_path / "features.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text(json.dumps({**info, "splits": splits}))
    presence = built_presence(BuiltDataset(Ref.parse("digit:1.0.8"), tmp_path))
    assert presence.problem, "no shard is there, so it cannot be whole"
    json.dumps(presence.to_json())


def test_files_are_looked_at_when_they_are_asked_for(make_built, tmp_path):
    """A verb that finds first and waits for a lock then packs what is there after it."""
    folder = make_built(tmp_path, "digit:1.0.8").path
    (found,) = find_built(tmp_path)
    (folder / "late.json").write_text("{}")
    assert "late.json" in found.files
