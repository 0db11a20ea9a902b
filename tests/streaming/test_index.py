"""The index of an uncompressed archive: made with it, sent with it, and found where it is stale."""

from __future__ import annotations

import json

import pytest

from dsmanager.archives.record_index import index_path, open_index
from dsmanager.archives.sidecar import read_sidecar
from dsmanager.errors import VerificationError
from dsmanager.library.collecting import collect, plan_collection
from dsmanager.library.garbage import Request
from dsmanager.library.library import Library
from dsmanager.library.removal import plan_removal, remove
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import read_records
from dsmanager.settings import RemoteConfig

NAME = "blobs__1.0.0__cache.tar.index"


def remote_names(store) -> set[str]:
    return {found.name for found in store.library.remote.list()}


def test_the_index_says_where_every_record_is(store):
    index, archive = open_index(index_path(store.archive)), store.archive.read_bytes()
    folder = store.library.data_dir / "blobs" / "1.0.0"
    assert index.archive_sha256 == read_sidecar(store.archive).sha256
    assert len(index.members) == 4
    for member in index.members:
        path = folder / member.rpartition("/")[2]
        start = archive.index(path.read_bytes())
        offsets = index.offsets(member)
        for number, record in enumerate(read_records(path)):
            first, last = start + offsets[number], start + offsets[number + 1]
            assert archive[first + 12 : last - 4] == record


def test_compressed_archives_have_none(built):
    built.send(compression="gz")
    assert NAME.replace(".tar", ".tar.gz") not in remote_names(built)
    assert not list(built.archive.parent.glob("*.index"))


def test_upload_makes_and_sends_an_index_that_is_missing_or_stale(store):
    path = index_path(store.archive)
    good = path.read_bytes()
    for bad in (None, b"", b"{}\n", good[:-8], good.replace(b'"sha256": "', b'"sha256": "0')):
        path.unlink() if bad is None else path.write_bytes(bad)
        store.library.remote.upload_bytes(bad or b"x", NAME)
        store.library.upload("blobs")
        assert path.read_bytes() == good
        assert store.library.remote.read_bytes(NAME, max_bytes=1 << 20) == good


def test_download_gives_the_same_index(store, make_library, remote_config: RemoteConfig):
    other: Library = make_library(remote_config, "other")
    other.download("blobs")
    mine = other.settings.cache_dir / NAME
    assert mine.read_bytes() == index_path(store.archive).read_bytes()


def test_verify_finds_an_index_of_another_archive(store):
    store.library.verify("blobs")
    path = index_path(store.archive)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(VerificationError) as raised:
        store.library.verify("blobs")
    assert "blobs__1.0.0__cache.tar.index" in raised.value.message


def test_verify_finds_an_index_of_another_archive_on_the_remote(store):
    good = index_path(store.archive).read_bytes()
    store.library.verify("blobs", places=("remote",))
    for bad in (
        good[:-8],
        good[:-1] + b"x",
        b"",
        b"[]\n",
        good.replace(b'"sha256": "', b'"sha256": "0'),
    ):
        store.library.remote.upload_bytes(bad, NAME)
        with pytest.raises(VerificationError) as raised:
            store.library.verify("blobs", places=("remote",))
        assert store.library.remote.url_of(NAME) in raised.value.message


def test_streaming_finds_an_index_of_another_archive(store):
    header, _, offsets = index_path(store.archive).read_bytes().partition(b"\n")
    described = {**json.loads(header), "sha256": "0" * 64}
    line = json.dumps(described).encode()
    stale = line + b" " * (len(header) - len(line)) + b"\n" + offsets
    store.library.remote.upload_bytes(stale, NAME)
    with pytest.raises(VerificationError) as raised:
        store.stream()
    assert "index of another archive" in raised.value.message
    assert raised.value.hint.endswith("dsmanager upload blobs:1.0.0")


def test_streaming_refuses_an_index_that_is_larger_than_any_could_be(store, monkeypatch):
    monkeypatch.setattr("dsmanager.streaming.folder._MAX_INDEX_HEADER_BYTES", 10)
    store.library.remote.upload_bytes(bytes(store.archive.stat().st_size + 11), NAME)
    with pytest.raises(VerificationError, match=f"{NAME} has"):
        store.stream()


def test_removing_an_archive_removes_its_index(store):
    for place in ("cached", "remote"):
        for removal in plan_removal(store.library, ["blobs"], [place]):
            remove(store.library, removal, progress=Progress(), cancel=CancelToken())
    assert not index_path(store.archive).exists()
    assert remote_names(store) == set()


def test_gc_collects_an_index_without_archive(store):
    store.archive.unlink()
    leftover = store.archive.with_name(f".{NAME}.0a1b2c3d.tmp")
    leftover.touch()
    plan = plan_collection(store.library, Request())
    kinds = {(each.kind, each.target.rpartition("/")[2]) for each in plan.garbage}
    assert ("orphan-index", NAME) in kinds
    for each in plan.garbage:
        collect(store.library, each, progress=Progress(), cancel=CancelToken())
    assert not index_path(store.archive).exists()
    assert not leftover.exists()


def test_gc_collects_an_index_without_archive_on_the_remote(store):
    store.library.remote.delete(store.archive.name)
    plan = plan_collection(store.library, Request(all_uploads=True))
    assert "orphan-index" in {each.kind for each in plan.garbage}
    for each in plan.garbage:
        collect(store.library, each, progress=Progress(), cancel=CancelToken())
    assert remote_names(store) == set()


def test_list_shows_one_row(store):
    survey = store.library.survey()
    assert [str(row.ref) for row in survey.rows] == ["blobs:1.0.0"]
    assert survey.rows[0].state == "ok"
