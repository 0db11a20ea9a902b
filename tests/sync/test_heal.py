"""Damage is found by reading and healed; what is whole and different is never touched."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace

import pytest

from dsmanager.manifest import update_manifest
from dsmanager.refs import Ref
from dsmanager.syncing.plan import Options
from dsmanager.syncing.sync import sync

REF = "digit:1.0.8"
DIGIT = Ref.parse(REF)
SHARD = "digit-train.tfrecord-00000-of-00001"
VERIFY = Options(verify=True)


def outcomes(result):
    return [(str(row.line.action), row.outcome) for row in result.rows]


@pytest.fixture
def synced(publish, machine):
    """A machine that has what the team recorded, built and cached."""
    machine.manifest.write_bytes(publish(REF).manifest.read_bytes())
    assert not sync(machine.library).errors
    return machine


@pytest.fixture
def folder(synced):
    return synced.library.version_folder(DIGIT)


def test_a_damaged_archive_with_size_and_mtime_kept_is_found_and_healed(synced, flip_a_byte):
    archive = synced.archive(REF)
    good = archive.read_bytes()
    flip_a_byte(archive)
    assert outcomes(sync(synced.library)) == [("keep", "kept")], "fingerprints are trusted"
    result = sync(synced.library, (), VERIFY)
    assert outcomes(result) == [("verify", "damaged"), ("download", "downloaded")]
    assert archive.read_bytes() == good
    assert outcomes(sync(synced.library, (), VERIFY)) == [("verify", "verified")]
    assert not synced.leftovers()


@pytest.mark.parametrize("name", [SHARD, "features.json", "dataset_info.json"])
def test_a_damaged_build_is_extracted_again(synced, folder, flip_a_byte, name):
    good = (folder / name).read_bytes()
    flip_a_byte(folder / name, 40)
    result = sync(synced.library, (), VERIFY)
    assert ("extract", "extracted") in outcomes(result)
    assert not result.errors
    assert (folder / name).read_bytes() == good


def test_a_missing_shard_is_healed_without_being_asked_to_verify(synced, folder):
    (folder / SHARD).unlink()
    assert outcomes(sync(synced.library)) == [("extract", "extracted")]
    assert (folder / SHARD).exists()


def test_build_and_archive_both_damaged(synced, folder, flip_a_byte):
    flip_a_byte(folder / SHARD, 30)
    flip_a_byte(synced.archive(REF))
    result = sync(synced.library, (), VERIFY)
    steps = [("verify", "damaged"), ("download", "downloaded"), ("extract", "extracted")]
    assert outcomes(result) == steps
    assert outcomes(sync(synced.library, (), VERIFY)) == [("verify", "verified")]


def test_a_damaged_build_without_an_archive_here_is_fetched(synced, folder, flip_a_byte):
    synced.drop(REF, "cached")
    flip_a_byte(folder / SHARD, 30)
    result = sync(synced.library, (), VERIFY)
    steps = [("verify", "damaged"), ("download", "downloaded"), ("extract", "extracted")]
    assert outcomes(result) == steps


def test_a_truncated_archive_and_a_broken_sidecar_are_healed(synced):
    archive = synced.archive(REF)
    good = archive.read_bytes()
    archive.write_bytes(good[:-10])
    assert outcomes(sync(synced.library)) == [("download", "downloaded")]
    sidecar = archive.with_name(f"{archive.name}.json")
    sidecar.write_text("{")
    assert outcomes(sync(synced.library)) == [("verify", "damaged"), ("download", "downloaded")]
    assert archive.read_bytes() == good
    assert sidecar.read_text().startswith('{\n  "schema"')


def test_an_archive_without_a_sidecar_is_healed_by_the_manifest(synced, flip_a_byte):
    archive = synced.archive(REF)
    archive.with_name(f"{archive.name}.json").unlink()
    flip_a_byte(archive)
    assert outcomes(sync(synced.library, (), VERIFY))[-1] == ("download", "downloaded")


def test_the_damaged_file_stays_where_nothing_can_replace_it(synced, flip_a_byte):
    archive = synced.archive(REF)
    flip_a_byte(archive)
    damaged = archive.read_bytes()
    synced.library.remote.delete(archive.name)
    (error,) = sync(synced.library, (), VERIFY).errors
    assert error.exit_code == 4
    assert "no place has what the manifest records" in error.message
    assert archive.read_bytes() == damaged


def test_a_download_that_fails_leaves_the_old_file(synced, flip_a_byte):
    """The object was damaged, too, and has the size and the sha256 that are recorded."""
    archive = synced.archive(REF)
    flip_a_byte(archive)
    damaged = archive.read_bytes()
    entry = synced.library.manifest.entries[DIGIT]
    remote = synced.library.remote
    remote.clients.control.put_object(
        Bucket=remote.config.bucket,
        Key=remote.key_of(archive.name),
        Body=damaged,
        Metadata={"sha256": entry.sha256},
    )
    (error,) = sync(synced.library, (), VERIFY).errors
    assert error.exit_code == 4
    assert archive.read_bytes() == damaged
    assert not synced.leftovers()


def change_the_record(machine):
    def change(entries):
        entries[DIGIT] = entries[DIGIT]._replace(sha256="ab" * 32)

    update_manifest(machine.manifest, change)


@pytest.mark.parametrize("options", [Options(), VERIFY, Options(push=True)])
def test_a_changed_manifest_entry_is_a_conflict_and_nothing_is_touched(synced, options):
    change_the_record(synced)
    before = synced.files()
    result = sync(synced.library, (), options)
    assert outcomes(result)[-1] == ("conflict", "conflict")
    assert [error.exit_code for error in result.errors] == [4]
    assert synced.files() == before


def test_a_whole_archive_without_a_sidecar_that_is_not_the_recorded_one_is_a_conflict(synced):
    archive = synced.archive(REF)
    archive.with_name(f"{archive.name}.json").unlink()
    change_the_record(synced)
    synced.library.memory.forget_file(archive)
    before = synced.files()
    assert outcomes(sync(synced.library, (), VERIFY)) == [
        ("verify", "differs"),
        ("conflict", "conflict"),
    ]
    assert synced.files() == before


def test_another_whole_build_is_a_conflict_until_the_manifest_is_preferred(synced, folder, build):
    good = (folder / SHARD).read_bytes()
    shutil.rmtree(folder)
    build(synced.data_dir, REF, salt=7)
    mine = (folder / SHARD).read_bytes()
    assert outcomes(sync(synced.library)) == [("keep", "kept")]
    assert outcomes(sync(synced.library, (), VERIFY))[-1] == ("conflict", "conflict")
    assert (folder / SHARD).read_bytes() == mine
    local = sync(synced.library, (), replace(VERIFY, prefer="local"))
    assert not local.errors
    assert (folder / SHARD).read_bytes() == mine
    result = sync(synced.library, (), replace(VERIFY, prefer="manifest"))
    assert outcomes(result) == [("verify", "verified"), ("extract", "extracted")]
    assert (folder / SHARD).read_bytes() == good


def repack(machine):
    """The same tar with another compression level, with a sidecar that says so."""
    import hashlib

    from dsmanager.archives.sidecar import read_sidecar, sidecar_path

    archive = machine.archive(REF)
    sidecar = read_sidecar(archive)
    content = gzip.compress(gzip.decompress(archive.read_bytes()), 1, mtime=1)
    archive.write_bytes(content)
    new = replace(sidecar, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    sidecar_path(archive).write_bytes(new.to_bytes())
    return new


def test_the_same_tar_packed_otherwise_is_no_conflict(synced):
    repack(synced)
    before = synced.files()
    for options in (Options(), Options(verify=True), Options(push=True)):
        result = sync(synced.library, (), options)
        assert not result.errors
        assert "conflict" not in [row.outcome for row in result.rows]
    assert synced.files() == before


@pytest.fixture
def differing(synced, build):
    """A machine that has another archive cached, whole, and its build."""
    library = synced.library
    synced.drop(REF, "built", "cached")
    build(synced.data_dir, REF, records=9, salt=5)
    library.package(REF, record=False)
    assert outcomes(sync(library)) == [("conflict", "conflict")]
    return synced


def test_prefer_manifest_and_remote_fetch_what_is_recorded(differing):
    entry = differing.library.manifest.entries[DIGIT]
    result = sync(differing.library, (), Options(prefer="manifest"))
    assert outcomes(result) == [("download", "downloaded"), ("extract", "extracted")]
    assert outcomes(sync(differing.library, (), VERIFY)) == [("verify", "verified")]
    assert differing.library.manifest.entries[DIGIT] == entry


def test_prefer_local_pushes_and_records(differing):
    before = differing.files()
    assert not sync(differing.library, (), Options(prefer="local")).errors
    assert differing.files() == before, "a pull changes nothing in favour of what is here"
    result = sync(differing.library, (), Options(push=True, prefer="local"))
    assert outcomes(result) == [("upload", "uploaded")]
    assert outcomes(sync(differing.library, (), VERIFY)) == [("verify", "verified")]
    assert differing.library.survey().rows[0].state == "ok"


def test_prefer_remote_takes_the_remotes_archive_and_records_it(differing, new_machine):
    """Cache and manifest agree, and somebody has uploaded another archive."""
    sync(differing.library, (), Options(push=True, prefer="local"))
    other = new_machine("other")
    other.manifest.write_bytes((differing.root.parent / "team/data/datasets.json").read_bytes())
    assert outcomes(sync(other.library)) == [("conflict", "conflict")]
    result = sync(other.library, (), Options(prefer="remote"))
    assert outcomes(result) == [("download", "downloaded"), ("extract", "extracted")]
    assert other.library.survey().rows[0].state == "ok"
