"""One manifest for a team: nobody's entry is lost, and nobody's is overruled without a word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import NotFoundError, UsageError
from dsmanager.library.sharing import SHARED_NAME, merge, pull, push
from dsmanager.manifest import Entry
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from dsmanager.remotes.conditional import (
    ChangedError,
    honours_conditions,
    read_versioned,
    write_versioned,
)
from dsmanager.remotes.remote import Remote


def push_all(machine: Any, **more: Any) -> Any:
    return push(machine.library, progress=Progress(), cancel=CancelToken(), **more)


def pull_all(machine: Any, **more: Any) -> Any:
    return pull(machine.library, progress=Progress(), cancel=CancelToken(), **more)


def outcomes(result: Any) -> dict[str, str]:
    return {str(each.ref): each.outcome for each in result.entries}


def shared_text(machine: Any) -> str:
    content = machine.library.remote.read_bytes(SHARED_NAME, max_bytes=1 << 20)
    return content.decode()


def test_what_one_pushes_the_other_pulls_and_nothing_is_removed(machine, other):
    machine.record("digit:1.0.0")
    other.record("coco/2017:1.1.0")
    assert outcomes(push_all(machine)) == {"digit:1.0.0": "added"}
    assert outcomes(push_all(other)) == {"coco/2017:1.1.0": "added"}
    assert outcomes(pull_all(machine)) == {"coco/2017:1.1.0": "added", "digit:1.0.0": "unchanged"}
    assert outcomes(pull_all(other)) == {"coco/2017:1.1.0": "unchanged", "digit:1.0.0": "added"}
    assert machine.records == other.records == dict.fromkeys(machine.records, "ab" * 32)
    assert len(machine.records) == 2
    assert push_all(machine).total == 2
    path = machine.library.settings.manifest_path
    assert shared_text(machine) == path.read_text(), "made to live in git, too"
    assert [row.ref for row in machine.library.survey().rows if row.remote] == []


def test_a_push_that_changes_nothing_writes_nothing(machine):
    machine.record("digit:1.0.0", remote="here")
    push_all(machine)
    before = machine.library.remote.head(SHARED_NAME)
    machine.record("digit:1.0.0", remote="elsewhere")
    assert outcomes(push_all(machine)) == {"digit:1.0.0": "unchanged"}
    after = machine.library.remote.head(SHARED_NAME)
    assert (before.etag, before.last_modified) == (after.etag, after.last_modified)


def test_a_conflict_is_told_and_left_until_somebody_decides(machine, other):
    machine.record("digit:1.0.0", "aa" * 32)
    machine.run("manifest", "push")
    other.record("digit:1.0.0", "bb" * 32)
    assert other.run("manifest", "push", code=4)["errors"][0]["ref"] == "digit:1.0.0"
    other.record("coco/2017:1.1.0", "bb" * 32)
    said = other.run("manifest", "push", code=3)
    assert [row["outcome"] for row in said["data"]] == ["added"], "the other entry is pushed"
    assert said["errors"][0]["code"] == "verification"
    assert "--prefer" in said["errors"][0]["hint"]
    assert other.run("manifest", "pull", code=3)["status"] == "partial"
    assert other.records["digit:1.0.0"] == "bb" * 32
    assert json.loads(shared_text(other))["datasets"]["digit:1.0.0"]["sha256"] == "aa" * 32


@pytest.mark.parametrize(
    ("verb", "prefer", "here", "there"),
    [
        (push_all, "local", "bb", "bb"),
        (push_all, "remote", "bb", "aa"),
        (pull_all, "local", "bb", "aa"),
        (pull_all, "remote", "aa", "aa"),
    ],
)
def test_whoever_is_preferred_wins(machine, other, verb, prefer, here, there):
    machine.record("digit:1.0.0", "aa" * 32)
    push_all(machine)
    other.record("digit:1.0.0", "bb" * 32)
    assert verb(other, prefer=prefer).conflicts == ()
    assert other.records["digit:1.0.0"] == here * 32
    assert json.loads(shared_text(other))["datasets"]["digit:1.0.0"]["sha256"] == there * 32


def test_only_the_named_refs_move(machine, other):
    machine.record("digit:1.0.0")
    machine.record("coco/2017:1.1.0")
    push_all(machine, requests=["digit"])
    assert list(json.loads(shared_text(machine))["datasets"]) == ["digit:1.0.0"]
    push_all(machine)
    pull_all(other, requests=["coco/*"])
    assert list(other.records) == ["coco/2017:1.1.0"]
    with pytest.raises(NotFoundError, match="cocoa"):
        push_all(machine, requests=["cocoa"])


def test_nothing_to_share_is_an_error(machine):
    with pytest.raises(NotFoundError, match="records nothing"):
        push_all(machine)
    with pytest.raises(NotFoundError, match="does not exist"):
        pull_all(machine)
    assert machine.run("manifest", "pull", code=6)["errors"][0]["hint"].endswith("manifest push")
    machine.run("manifest", "push", "--prefer", "mine", code=2)
    machine.run("manifest", "push", "--read-only", code=2)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"schema": 3, "datasets": {}}'])
def test_a_manifest_there_that_cannot_be_read_is_replaced_by_force_alone(machine, content):
    machine.record("digit:1.0.0")
    machine.library.remote.upload_bytes(content, SHARED_NAME)
    for verb in (push_all, pull_all):
        with pytest.raises(UsageError, match="cannot be used"):
            verb(machine)
    assert shared_text_bytes(machine) == content
    push_all(machine, force=True)
    assert list(json.loads(shared_text(machine))["datasets"]) == ["digit:1.0.0"]


def shared_text_bytes(machine: Any) -> bytes:
    return machine.library.remote.read_bytes(SHARED_NAME, max_bytes=1 << 20)


def test_armorys_format_there_is_pulled_and_not_written(machine):
    armory = {
        "digit": {"sha256": "aa" * 32, "size": 1, "subdir": "digit/1.0.8", "version": "1.0.8"}
    }
    machine.library.remote.upload_bytes(json.dumps(armory).encode(), SHARED_NAME)
    machine.record("coco/2017:1.1.0")
    with pytest.raises(UsageError, match="Armory"):
        push_all(machine)
    assert outcomes(pull_all(machine)) == {"digit:1.0.8": "added"}
    push_all(machine, force=True)
    assert len(json.loads(shared_text(machine))["datasets"]) == 2


def test_a_server_without_compare_and_swap_is_refused_with_the_remedy(make_machine, rclone):
    machine = make_machine(rclone.config())
    machine.record("digit:1.0.0")
    refused = machine.run("manifest", "push", code=2)["errors"][0]
    assert refused["hint"].endswith("dsmanager manifest push --force")
    assert machine.library.remote.list() == [], "the probe is removed, and nothing was pushed"
    machine.run("manifest", "push", "--force")
    machine.record("coco/2017:1.1.0")
    machine.run("manifest", "push", "--force")
    assert len(json.loads(shared_text(machine))["datasets"]) == 2


def test_a_server_is_tried_out_once(machine, monkeypatch):
    machine.record("digit:1.0.0")
    push_all(machine)
    assert [each.name for each in machine.library.remote.list()] == [SHARED_NAME]

    def never(_remote: Remote) -> bool:
        raise AssertionError("tried again")

    monkeypatch.setattr("dsmanager.remotes.conditional.honours_conditions", never)
    machine.record("coco/2017:1.1.0")
    push_all(machine)
    (machine.root / "state" / "conditional-writes.json").write_text("{ broken")
    with pytest.raises(AssertionError, match="tried again"):
        push_all(machine)


def test_a_write_made_from_something_old_is_refused(machine):
    remote = machine.library.remote
    assert honours_conditions(remote)
    assert read_versioned(remote, "x", max_bytes=10) is None
    first = write_versioned(remote, "x", b"1", etag=None)
    with pytest.raises(ChangedError):
        write_versioned(remote, "x", b"2", etag=None)
    second = write_versioned(remote, "x", b"3", etag=first)
    with pytest.raises(ChangedError):
        write_versioned(remote, "x", b"4", etag=first)
    found = read_versioned(remote, "x", max_bytes=10)
    assert (found.content, found.etag) == (b"3", second)
    remote.delete("x")
    with pytest.raises(ChangedError):
        write_versioned(remote, "x", b"5", etag=second)


def test_a_push_that_lost_the_race_reads_again(machine, other, monkeypatch):
    machine.record("digit:1.0.0")
    other.record("coco/2017:1.1.0")
    raced = []

    def write(remote: Remote, name: str, content: bytes, *, etag: str | None) -> str:
        if not raced:
            raced.append(True)
            push_all(other)
        return write_versioned(remote, name, content, etag=etag)

    push_all(other, requests=["coco"])
    other.record("third:1.0.0")
    monkeypatch.setattr("dsmanager.remotes.conditional.write_versioned", write)
    assert push_all(machine).total == 3


REFS = [Ref(name, None, "1.0.0") for name in "abcde"]
entries = st.dictionaries(
    st.sampled_from(REFS),
    st.tuples(st.sampled_from(["11", "22"]), st.sampled_from([None, "team"])),
).map(
    lambda drawn: {
        ref: Entry(ref, ref.archive_name(), 1, sha256 * 32, (str(ref.subdir),), remote)
        for ref, (sha256, remote) in drawn.items()
    }
)


@settings(deadline=None, max_examples=200)
@given(entries, entries, st.sampled_from([None, True, False]))
def test_a_merge_loses_nothing_and_says_what_it_did(target, source, replace_differing):
    merged, lines = merge(target, source, replace_differing=replace_differing)
    assert merged.keys() == target.keys() | source.keys()
    assert [each.ref for each in lines] == sorted(source)
    for each in lines:
        assert merged[each.ref] == each.entry
        mine, theirs = target.get(each.ref), source[each.ref]
        same = mine is not None and mine._replace(remote=None) == theirs._replace(remote=None)
        if mine is None:
            assert (each.outcome, each.entry) == ("added", theirs)
        elif same or replace_differing is False:
            assert (each.outcome, each.entry) == ("unchanged", mine)
        elif replace_differing:
            assert (each.outcome, each.entry) == ("replaced", theirs)
        else:
            assert (each.outcome, each.entry, each.other) == ("conflict", mine, theirs)
    again, _ = merge(merged, source, replace_differing=replace_differing)
    assert again == merged
