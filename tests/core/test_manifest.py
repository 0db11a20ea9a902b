"""The manifest: both formats read, one written, nothing lost, nothing hostile let in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import UsageError
from dsmanager.manifest import (
    Entry,
    Manifest,
    parse_manifest,
    read_manifest,
    to_armory,
    update_manifest,
)
from dsmanager.refs import Ref

SHA = "805f" * 16
DIGIT = {
    "archive": "digit__1.0.8__cache.tar.gz",
    "size": 8349857,
    "sha256": SHA,
    "subdir": ["digit/1.0.8"],
    "remote": "team",
}
ARMORY = {
    "digit": {
        "sha256": SHA,
        "size": 8349857,
        "subdir": "digit/1.0.8",
        "url": None,
        "version": "1.0.8",
    },
    "so2sat": {
        "sha256": "ab" * 32,
        "size": 12,
        "subdir": ["so2sat/rgb/2.1.0", "so2sat/all/2.1.0", "so2sat/.config"],
        "url": None,
        "version": "2.1.0",
    },
}


def v2(**datasets: object) -> str:
    return json.dumps({"schema": 2, "datasets": datasets or {"digit:1.0.8": DIGIT}})


def parse(text: str) -> Manifest:
    return parse_manifest(text, Path("m/datasets.json"))


def entry(ref: str, archive: str | None = None) -> Entry:
    parsed = Ref.parse(ref)
    return Entry(parsed, archive or parsed.archive_name(), 5, SHA, (str(parsed.subdir),))


def test_schema_2_goes_round(tmp_path):
    path = tmp_path / "datasets.json"
    path.write_text(v2())
    manifest = read_manifest(path)
    assert manifest.to_json() == json.loads(v2())
    assert not manifest.is_armory
    found = manifest.entries[Ref.parse("digit:1.0.8")]
    assert (found.size, found.subdir, found.remote) == (8349857, ("digit/1.0.8",), "team")


def test_it_is_written_sorted_with_two_spaces_and_a_final_newline(tmp_path):
    path = tmp_path / "datasets.json"
    for new in map(entry, ("b:1.10.0", "b:1.9.0", "a/x:1.0.0", "a:2.0.0")):
        update_manifest(path, lambda entries, new=new: entries.update({new.ref: new}))
    text = path.read_text()
    assert text.startswith('{\n  "schema": 2,\n  "datasets": {\n    "a:2.0.0": {\n      "archive"')
    assert text.endswith("}\n")
    assert list(json.loads(text)["datasets"]) == ["a:2.0.0", "a/x:1.0.0", "b:1.9.0", "b:1.10.0"]
    assert os.listdir(tmp_path) == ["datasets.json"]


def test_armorys_format_is_read_and_given_back():
    manifest = parse(json.dumps(ARMORY))
    assert manifest.is_armory
    several = manifest.entries[Ref.parse("so2sat:2.1.0")]
    assert several.archive == "so2sat__2.1.0__cache.tar.gz"
    assert several.subdir == tuple(ARMORY["so2sat"]["subdir"])
    assert several.remote is None
    assert to_armory(manifest) == ARMORY


def test_armorys_file_is_never_written(tmp_path):
    path = tmp_path / "cached_datasets.json"
    path.write_text(json.dumps(ARMORY))
    with pytest.raises(UsageError, match="never written") as raised:
        update_manifest(path, dict.clear)
    assert "manifest import" in str(raised.value.hint)
    assert json.loads(path.read_text()) == ARMORY


def test_an_absent_and_an_empty_manifest_can_be_written(tmp_path):
    assert read_manifest(tmp_path / "none.json") == Manifest()
    path = tmp_path / "datasets.json"
    path.write_text("{}\n")
    update_manifest(path, lambda entries: entries.update({entry("a:1.0.0").ref: entry("a:1.0.0")}))
    assert list(read_manifest(path).entries) == [Ref.parse("a:1.0.0")]


def test_a_link_to_a_manifest_stays_a_link(tmp_path):
    real = tmp_path / "repository" / "datasets.json"
    real.parent.mkdir()
    real.write_text(v2())
    (tmp_path / "datasets.json").symlink_to(real)
    update_manifest(tmp_path / "datasets.json", dict.clear)
    assert (tmp_path / "datasets.json").is_symlink()
    assert not read_manifest(real).entries


def test_export_takes_the_newest_version_of_each_name():
    refs = ["coco/2014:1.0.0", "coco/2017:1.0.0", "coco:1.1.0", "a:1.9.0", "a:1.10.0"]
    manifest = Manifest({each.ref: each for each in map(entry, refs)})
    exported = to_armory(manifest)
    assert {name: value["version"] for name, value in exported.items()} == {
        "a": "1.10.0",
        "coco": "1.1.0",
    }


@pytest.mark.parametrize(
    "entries",
    [
        [entry("coco/2014:1.0.0"), entry("coco/2017:1.0.0")],
        [entry("coco/2017:1.0.0")],
        [entry("digit:1.0.8", "digit__1.0.8__cache.tar.zst")],
    ],
)
def test_what_armorys_format_cannot_say_is_not_exported(entries):
    with pytest.raises(UsageError, match="Armory's format") as raised:
        to_armory(Manifest({each.ref: each for each in entries}))
    assert "--together" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n "schema": 2,\n "datasets": {\n  "a"\n }\n}', "line 5 is not valid JSON"),
        ('{\n"digit": {\n<<<<<<< HEAD\n}}', "line 3 is not valid JSON"),
        ("", "line 1 is not valid JSON"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        (v2().replace('"size"', '"sha256": 1, "size"'), "has the key 'sha256' twice"),
        ("[]", "is not a JSON object"),
        ('{"schema": 3, "datasets": {}}', "has schema 3, and this version reads 2"),
        ('{"schema": 2.0, "datasets": {}}', "has schema 2.0"),
        ('{"datasets": {}}', "has schema None"),
        ('{"schema": 2}', "no object 'datasets'"),
        ('{"digit": 5}', "entry 'digit' is neither"),
        ('{"a": ' + "1" * 5000 + "}", "number that is too long"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_manifest_is_a_usage_error_that_names_file_and_line(text, says):
    with pytest.raises(UsageError, match=says) as raised:
        parse(text)
    assert raised.value.message.startswith("m/datasets.json ")
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"archive": "../x.tar.gz"}, "archive is no archive's file name"),
        ({"archive": "/etc/x.tar.gz"}, "archive"),
        ({"archive": ".x.tar.gz"}, "archive"),
        ({"archive": ""}, "archive"),
        ({"archive": "digit__1.0.8__cache.tar.gz.json"}, "archive"),
        ({"archive": "x\n.tar.gz"}, "archive"),
        ({"archive": "\ud800.tar.gz"}, "archive"),
        ({"archive": "ä" * 130 + ".tar.gz"}, "archive"),
        ({"archive": None}, "archive"),
        ({"size": -1}, "size is not a number of bytes"),
        ({"size": "5"}, "size"),
        ({"size": True}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": 1 << 63}, "size"),
        ({"sha256": SHA.upper()}, "sha256 is not 64"),
        ({"sha256": SHA[:-1]}, "sha256"),
        ({"sha256": None}, "sha256"),
        ({"subdir": []}, "subdir is not a list"),
        ({"subdir": "digit/1.0.8"}, "subdir is not a list"),
        ({"subdir": ["../digit/1.0.8"]}, "subdir leaves the dataset"),
        ({"subdir": ["digit/../1.0.8"]}, "subdir leaves"),
        ({"subdir": ["/digit/1.0.8"]}, "subdir leaves"),
        ({"subdir": ["digit//1.0.8"]}, "subdir leaves"),
        ({"subdir": ["digit/./1.0.8"]}, "subdir leaves"),
        ({"subdir": ["digit/.x/1.0.8"]}, "subdir leaves"),
        ({"subdir": ["mnist/1.0.8"]}, "subdir leaves"),
        ({"subdir": ["digit"]}, "subdir leaves"),
        ({"subdir": ["digit/1.0.8/"]}, "subdir leaves"),
        ({"subdir": ["digit/a\nb/1.0.8"]}, "subdir leaves"),
        ({"subdir": ["digit/.config"]}, "subdir has no version"),
        ({"subdir": ["digit/1.0.8", "digit/1.0.8"]}, "subdir has a folder twice"),
        ({"subdir": [5]}, "subdir leaves"),
        ({"remote": 5}, "remote is neither"),
        ({"remote": "a\x1b[2J"}, "remote is neither"),
        ({"remote": "\udc80"}, "remote is neither"),
    ],
)
def test_hostile_entries_are_refused(change, says):
    with pytest.raises(UsageError, match=f"entry 'digit:1.0.8': {says}"):
        parse(v2(**{"digit:1.0.8": DIGIT | change}))


@pytest.mark.parametrize("key", ["digit", "digit:1", "../x:1.0.8", "a b:1.0.0", "\x1b:1.0.0", ""])
def test_hostile_keys_are_refused_and_shown_as_plain_text(key):
    with pytest.raises(UsageError, match="entry ") as raised:
        parse(v2(**{key: DIGIT}))
    assert raised.value.message.isprintable()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
    | st.sampled_from(["digit/1.0.8", SHA, "x.tar.gz", "1.0.8"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["schema", "datasets", "digit:1.0.8", *DIGIT, "version"])
        | st.text(max_size=8),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip
changed = st.dictionaries(st.sampled_from([*DIGIT, "version"]), values, max_size=3)


@settings(deadline=None, max_examples=100)
@given(
    st.text(max_size=60)
    | values.map(json.dumps)
    | changed.map(lambda change: v2(**{"digit:1.0.8": DIGIT | change}))
    | changed.map(lambda change: json.dumps({"digit": ARMORY["digit"] | change}))
)
def test_any_text_is_a_manifest_or_a_usage_error(text):
    try:
        manifest = parse(text)
    except UsageError:
        return
    again = parse(json.dumps(manifest.to_json()))
    assert again.entries == manifest.entries


@pytest.mark.parametrize("content", [b'{"a": "\xff"}', b"\xff\xfe{}"])
def test_bytes_that_are_not_utf8_are_a_usage_error(tmp_path, content):
    (tmp_path / "datasets.json").write_bytes(content)
    with pytest.raises(UsageError, match="not UTF-8"):
        read_manifest(tmp_path / "datasets.json")


def test_a_folder_in_its_place_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path)


def test_what_a_killed_writer_left_goes_with_the_next_change(tmp_path):
    path = tmp_path / "datasets.json"
    path.write_text(v2())
    (tmp_path / ".datasets.json.0a1b2c3d.tmp").write_text('{"sch')
    (tmp_path / "datasets.json.lock").write_text("4711 write datasets.json\n")
    update_manifest(path, lambda entries: None)
    assert os.listdir(tmp_path) == ["datasets.json"]
    assert path.read_text() == v2(), "nothing changed, nothing written"


WRITER = """
import sys
from pathlib import Path
from dsmanager.manifest import Entry, update_manifest
from dsmanager.refs import Ref
path, number = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for version in range(5):
    ref = Ref.parse(f"d{number}:1.0.{version}")
    entry = Entry(ref, ref.archive_name(), 5, "ab" * 32, (str(ref.subdir),))
    update_manifest(path, lambda entries: entries.update({ref: entry}))
"""


def test_sixteen_processes_that_add_entries_lose_none(tmp_path, program, environment):
    path = tmp_path / "datasets.json"
    writers = [
        subprocess.Popen(program(WRITER, path, n), env=environment, stdin=subprocess.PIPE)
        for n in range(16)
    ]
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    assert [writer.wait(60) for writer in writers] == [0] * 16
    for writer in writers:
        writer.stdin.close()
    wanted = {Ref.parse(f"d{number}:1.0.{version}") for number in range(16) for version in range(5)}
    assert set(read_manifest(path).entries) == wanted
    assert os.listdir(tmp_path) == ["datasets.json"]
