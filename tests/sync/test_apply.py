"""Carrying plans out: deletes, plan files, several refs, several syncs, interruptions."""

from __future__ import annotations

import json
import signal

import pytest

from dsmanager.errors import CancelledError, TemporaryError, UsageError
from dsmanager.progress import CancelToken
from dsmanager.settings import RemoteConfig
from dsmanager.syncing.document import write_plan
from dsmanager.syncing.plan import Options
from dsmanager.syncing.sync import apply_file, make_plan, sync

ONE, TWO, THREE = "digit:1.0.8", "mnist:3.0.1", "xview:1.0.1"


def outcomes(result):
    return [(str(row.line.action), str(row.line.ref), row.outcome) for row in result.rows]


@pytest.fixture
def fresh(publish, machine):
    """A machine with the team's manifest of three refs, and nothing else."""
    machine.manifest.write_bytes(publish(ONE, TWO, THREE).manifest.read_bytes())
    return machine


def test_one_missing_object_stops_only_its_ref(fresh):
    name = fresh.library.manifest.entries
    archive = next(entry.archive for ref, entry in name.items() if str(ref) == TWO)
    fresh.library.remote.delete(archive)
    envelope = fresh.json("sync", code=3)
    assert envelope["status"] == "partial"
    assert [(row["ref"], row["action"], row["outcome"]) for row in envelope["data"]] == [
        (ONE, "download", "downloaded"),
        (ONE, "extract", "extracted"),
        (TWO, "download", "failed"),
        (THREE, "download", "downloaded"),
        (THREE, "extract", "extracted"),
    ]
    assert list(envelope["data"][0]) == ["action", "ref", "reason", "bytes", "outcome"]
    (error,) = envelope["errors"]
    assert (error["code"], error["ref"]) == ("not-found", TWO)
    _, err = fresh.run("sync", code=3)
    assert "1 of 3 did not work" in err
    assert "not-found" in err
    fresh.run("sync", TWO, code=6)


def test_a_conflict_exits_3_and_4_when_it_was_the_only_ref(fresh):
    sync(fresh.library)
    text = fresh.manifest.read_text()
    entry = json.loads(text)["datasets"][ONE]
    fresh.manifest.write_text(text.replace(entry["sha256"], "cd" * 32))
    assert "--prefer" in fresh.run("sync", code=3)[1]
    fresh.run("sync", ONE, code=4)


def test_dry_run_and_plan_do_nothing_and_apply_does_exactly_that(fresh, tmp_path):
    before = fresh.files()
    out, _ = fresh.run("sync", "--dry-run", "--read-only")
    assert "-  download  digit:1.0.8" in out
    plan = tmp_path / "plan.json"
    rows = fresh.json("sync", ONE, TWO, "--plan", str(plan))["data"]
    assert [row["action"] for row in rows] == ["download", "extract"] * 2
    assert "outcome" not in rows[0]
    assert fresh.files() == before
    assert json.loads(plan.read_text())["lines"] == rows
    applied = fresh.json("sync", "--apply", str(plan))["data"]
    assert [row["outcome"] for row in applied] == ["downloaded", "extracted"] * 2
    assert {str(row.ref) for row in fresh.library.survey().rows if row.built} == {ONE, TWO}
    assert {row.outcome for row in apply_file(fresh.library, plan).rows} == {"unchanged"}


def test_a_stale_line_is_an_error_of_its_ref_alone(fresh, tmp_path):
    plan = tmp_path / "plan.json"
    write_plan(fresh.library, make_plan(fresh.library, [ONE, TWO]), plan)
    text = fresh.manifest.read_text()
    fresh.manifest.write_text(text.replace(json.loads(text)["datasets"][ONE]["sha256"], "e" * 64))
    result = apply_file(fresh.library, plan)
    assert outcomes(result) == [
        ("download", ONE, "failed"),
        ("extract", ONE, "skipped"),
        ("download", TWO, "downloaded"),
        ("extract", TWO, "extracted"),
    ]
    (error,) = result.errors
    assert "changed since the plan was made" in error.message
    assert [str(row.ref) for row in fresh.library.survey().rows if row.cached] == [TWO]


def test_a_plan_file_is_checked(fresh, new_machine, tmp_path):
    plan = tmp_path / "plan.json"
    write_plan(fresh.library, make_plan(fresh.library), plan)
    with pytest.raises(UsageError, match="was made for"):
        apply_file(new_machine("other").library, plan)
    fresh.run("sync", "--apply", str(plan), "--push", code=2)
    whole = json.loads(plan.read_text())
    for key, value in (
        ("schema", 9),
        ("lines", [{"action": "format-disk", "ref": ONE, "reason": "", "bytes": 0}]),
        ("lines", [{"action": "keep", "ref": "../x", "reason": "", "bytes": 0}]),
        ("lines", "x"),
        ("options", None),
        ("seen", {}),
    ):
        plan.write_text(json.dumps({**whole, key: value}))
        with pytest.raises(UsageError, match="is no plan"):
            apply_file(fresh.library, plan)
    with pytest.raises(UsageError, match="is no plan"):
        apply_file(fresh.library, tmp_path / "absent")


def test_delete_is_never_implied_asks_and_leaves_what_is_recorded(fresh, build):
    library = fresh.library
    build(fresh.data_dir, "mine:1.0.0")
    library.package("mine", record=False)
    assert not sync(library).errors
    assert library.version_folder(make_plan(library, ["mine"]).facts[0].ref).exists()
    before = fresh.files()
    assert "--yes" in fresh.run("sync", "--delete", code=2)[1]
    assert fresh.files() == before
    rows = fresh.json("sync", "--delete", "--yes")["data"]
    deleted = [row for row in rows if row["action"] == "delete"]
    assert [(row["ref"], row["outcome"]) for row in deleted] == [("mine:1.0.0", "deleted")] * 2
    assert all(row["bytes"] > 0 for row in deleted)
    rows = {str(row.ref): row.state for row in fresh.library.survey().rows}
    assert rows == dict.fromkeys((ONE, TWO, THREE), "ok")


def test_push_with_delete_removes_only_archives_that_no_entry_names(fresh, build):
    library = fresh.library
    library.remote.upload_bytes(b"notes", "notes.txt")
    build(fresh.data_dir, "mine:1.0.0")
    library.publish("mine")
    fresh.drop("mine", "recorded")
    rows = fresh.json("sync", "--push", "--delete", "--yes")["data"]
    assert [row["ref"] for row in rows if row["outcome"] == "deleted"] == ["mine:1.0.0"]
    names = {found.name for found in library.remote.list()}
    assert "notes.txt" in names
    assert len(names) == 7


def test_an_empty_manifest_deletes_nothing(machine, build):
    build(machine.data_dir, ONE)
    with pytest.raises(UsageError, match="records nothing"):
        make_plan(machine.library, (), Options(delete=True))


def test_configs_of_a_recorded_archive_are_not_deleted(machine, build):
    for config in ("rgb", "all"):
        build(machine.data_dir, f"so2sat/{config}:2.1.0")
    metadata = machine.data_dir / "so2sat" / ".config" / "metadata.json"
    metadata.parent.mkdir()
    metadata.write_text('{"default_config_name": "rgb"}')
    machine.library.package("so2sat", together=True)
    result = sync(machine.library, (), Options(delete=True, verify=True))
    assert not result.errors
    assert {row.outcome for row in result.rows} == {"kept", "verified"}


def test_push_sends_what_is_recorded_and_missing_there(machine, build):
    library = machine.library
    for ref in (ONE, TWO):
        build(machine.data_dir, ref)
        library.package(ref, record=ref == ONE)
    result = sync(library, (), Options(push=True))
    assert outcomes(result) == [("upload", ONE, "uploaded"), ("keep", TWO, "kept")]
    assert outcomes(sync(library, (), Options(push=True)))[0][2] == "kept"


def test_a_damaged_archive_is_not_pushed(machine, build, flip_a_byte):
    library = machine.library
    build(machine.data_dir, ONE)
    library.package(ONE)
    flip_a_byte(machine.archive(ONE))
    (error,) = sync(library, (), Options(push=True)).errors
    assert error.exit_code == 4
    assert not library.remote.list()
    (error,) = sync(library, (), Options(push=True, verify=True)).errors
    assert error.exit_code == 4
    assert not library.remote.list()


def test_an_unreachable_remote_exits_5(fresh):
    down = RemoteConfig("test", "s3://bucket/x", endpoint_url="http://127.0.0.1:1", anonymous=True)
    fresh.use(down)
    with pytest.raises(TemporaryError):
        make_plan(fresh.library)
    assert fresh.json("sync", code=5)["data"] == []


def test_an_interrupted_sync_extracts_what_it_had_fetched(fresh):
    """What somebody only downloaded stays only downloaded."""
    fresh.library.download(TWO)
    from dsmanager.syncing.unfinished import Unfinished

    fresh.library.download(ONE)
    facts = {str(each.ref): each.ref for each in make_plan(fresh.library).facts}
    Unfinished(fresh.root / "state", fresh.data_dir).add(facts[ONE])
    steps = [each for each in outcomes(sync(fresh.library)) if each[1] != THREE]
    assert steps == [("extract", ONE, "extracted"), ("keep", TWO, "kept")]
    assert not list((fresh.root / "state" / "unfinished").rglob("digit*"))


def test_a_cancelled_sync_says_so_of_every_ref(fresh):
    cancel = CancelToken()
    plan = make_plan(fresh.library)
    cancel.cancel()
    from dsmanager.syncing.apply import apply

    result = apply(fresh.library, plan, cancel=cancel)
    assert {row.outcome for row in result.rows} == {"cancelled"}
    with pytest.raises(CancelledError):
        make_plan(fresh.library, cancel=cancel)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_and_the_next_run_resumes(
    publish, machine, proxy, remote_config, wait_until, number
):
    team = publish(ONE, TWO, padding=300_000)
    machine.manifest.write_bytes(team.manifest.read_bytes())
    machine.use(proxy.config(remote_config))
    proxy.most_bytes = 100_000
    process = machine.start("sync")
    archives = {entry.archive for entry in team.library.manifest.entries.values()}

    def is_fetching() -> bool:
        return archives <= {
            path.partition("?")[0].rpartition("/")[2]
            for method, path in proxy.requests
            if method == "GET"
        }

    wait_until(is_fetching, "both downloads have begun")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "cancelled" in err
    assert not any(row.cached or row.built for row in machine.library.survey().rows)
    proxy.most_bytes = None
    proxy.gate.set()
    assert not sync(machine.library).errors
    assert {row.state for row in machine.library.survey().rows} == {"ok"}
    assert not machine.leftovers()


def test_two_syncs_at_once_both_succeed(fresh):
    running = [fresh.start("sync", "--json") for _ in range(2)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (out, err)
    assert {row.state for row in fresh.library.survey().rows} == {"ok"}
    assert not fresh.leftovers()


def test_read_only_refuses(fresh):
    fresh.run("sync", "--read-only", code=2)
    assert list(fresh.data_dir.iterdir()) == [fresh.manifest]


def test_what_nobody_has_is_not_found_and_bad_words_are_usage(fresh):
    fresh.run("sync", "nothing", code=6)
    with pytest.raises(UsageError, match="nobody can prefer"):
        Options(prefer="nobody")
    fresh.run("sync", "--push", "--no-extract", code=2)
