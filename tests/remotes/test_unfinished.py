"""Uploads that nobody completed can be seen and ended."""

from __future__ import annotations

from dsmanager.remotes.remote import Remote
from dsmanager.remotes.unfinished import UnfinishedUpload


def begin(remote: Remote, name: str) -> str:
    answer = remote.clients.control.create_multipart_upload(
        Bucket=remote.config.bucket, Key=remote.key_of(name)
    )
    return answer["UploadId"]


def test_an_upload_that_nobody_completed_is_seen_and_ended(store: Remote) -> None:
    ids = {begin(store, "a.tar"), begin(store, "a.tar")}
    begin(store, "deeper/b.tar")
    found = store.unfinished_uploads()
    assert {upload.upload_id for upload in found} == ids
    assert {upload.name for upload in found} == {"a.tar"}
    assert all(upload.initiated.endswith("Z") for upload in found)

    for upload in found:
        store.abort_upload(upload)
    assert store.unfinished_uploads() == ()


def test_ending_an_upload_that_has_ended_is_no_error(store: Remote) -> None:
    begin(store, "a.tar")
    (upload,) = store.unfinished_uploads()
    store.abort_upload(upload)
    store.abort_upload(upload)
    store.abort_upload(UnfinishedUpload("b.tar", upload.upload_id, ""))
