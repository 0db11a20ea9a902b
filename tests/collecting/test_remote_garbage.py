"""On the remote nothing goes that another machine may be busy with, and nothing of strangers."""

from __future__ import annotations

from typing import Any

import pytest

from dsmanager.remotes.remote import Remote
from dsmanager.remotes.upload_notes import BegunUpload, UploadNotes

ARCHIVE = "digit__1.0.0__cache.tar.gz"


def begin(remote: Remote, name: str = ARCHIVE, size: int = 1000) -> str:
    place = {"Bucket": remote.config.bucket, "Key": remote.key_of(name)}
    upload_id = remote.clients.control.create_multipart_upload(**place)["UploadId"]
    remote.clients.control.upload_part(**place, UploadId=upload_id, PartNumber=1, Body=b"1" * size)
    return upload_id


@pytest.fixture
def remote(remote_place: Any) -> Remote:
    return remote_place.library.remote


def test_a_young_upload_of_another_machine_stays_until_it_is_said(remote_place, remote):
    begin(remote)
    plan = remote_place.plan()
    assert plan.garbage == ()
    assert "--all-uploads" in plan.notes[0]
    (item,) = remote_place.plan(all_uploads=True).garbage
    assert (item.kind, item.size_bytes, str(item.ref)) == ("upload", 1000, "digit:1.0.0")
    assert remote_place.gc(all_uploads=True) == [("upload", ARCHIVE, "removed")]
    assert remote.unfinished_uploads() == ()


def test_an_old_one_goes_by_the_servers_clock(remote_place, remote, monkeypatch):
    begin(remote)
    ahead_s = 2 * 86_400
    monkeypatch.setattr(
        "dsmanager.library.remote_garbage.clock_skew_s", lambda _remote: float(-ahead_s)
    )
    assert remote_place.gc() == [("upload", ARCHIVE, "removed")]


def test_one_that_this_machine_began_goes_with_what_is_noted_of_it(remote_place, remote):
    upload_id = begin(remote)
    remote.upload_bytes(b"{}", f"{ARCHIVE}.json")
    folder = remote_place.root / "state" / "uploads"
    endpoint, bucket, key = remote.config.endpoint_url, remote.config.bucket, remote.key_of(ARCHIVE)
    notes = UploadNotes(folder, endpoint, bucket, key)
    notes.write(BegunUpload(upload_id, endpoint, bucket, key, 1000, "ab" * 32, 1000, False))
    assert sorted(remote_place.gc()) == [
        ("orphan-sidecar", f"{ARCHIVE}.json", "removed"),
        ("upload", ARCHIVE, "removed"),
    ]
    assert not any(folder.iterdir())
    assert remote.list() == []


def test_one_of_a_living_process_stays_whatever_is_said(remote_place, remote, holding):
    begin(remote)
    remote.upload_bytes(b"{}", f"{ARCHIVE}.json")
    with holding(remote_place.data_dir / "digit__1.0.0.lock"):
        plan = remote_place.plan(all_uploads=True)
    assert plan.garbage == ()
    assert "stays: it belongs to process" in plan.notes[0]


def test_what_others_keep_in_the_bucket_stays(remote_place, remote):
    begin(remote, "backup.tar")
    begin(remote, f"deeper/{ARCHIVE}")
    for name in ("notes.json", "datasets.json", f"deeper/{ARCHIVE}.json"):
        remote.upload_bytes(b"{}", name)
    remote.upload_bytes(b"1", ARCHIVE)
    remote.upload_bytes(b"{}", f"{ARCHIVE}.json")
    assert remote_place.plan(all_uploads=True).garbage == ()


def test_probes_and_sidecars_alone_go(remote_place, remote):
    remote.upload_bytes(b"{}", ".dsmanager-check-0a1b2c")
    remote.upload_bytes(b"{}", f"{ARCHIVE}.json")
    assert remote_place.plan().garbage == ()
    assert sorted(remote_place.gc(all_uploads=True)) == [
        ("leftover", ".dsmanager-check-0a1b2c", "removed"),
        ("orphan-sidecar", f"{ARCHIVE}.json", "removed"),
    ]
    assert remote.list() == []


def test_a_sidecar_whose_archive_came_meanwhile_stays(remote_place, remote):
    from dsmanager.library.collecting import collect
    from dsmanager.progress import CancelToken, Progress

    remote.upload_bytes(b"{}", f"{ARCHIVE}.json")
    (item,) = remote_place.plan(all_uploads=True).garbage
    remote.upload_bytes(b"1", ARCHIVE)
    outcome = collect(remote_place.library, item, progress=Progress(), cancel=CancelToken())
    assert outcome == "kept"


def test_without_credentials_nothing_is_looked_for(make_place, remote_config):
    from dataclasses import replace

    place = make_place(replace(remote_config, credentials_file=None, anonymous=True))
    assert place.plan().garbage == ()
    assert place.plan().errors == ()
