"""Uploads in parts that were interrupted: gone on with when they are the same, ended when not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import AlreadyExistsError, CancelledError, VerificationError
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote
from dsmanager.remotes.upload import PART_BYTES

SIZE = 4 * PART_BYTES + 5
Cancelled = Callable[[int], dict[str, Any]]


def some_file(folder: Path, size: int = SIZE) -> tuple[Path, dict[str, Any]]:
    content = os.urandom(size)
    (folder / "a.tar").write_bytes(content)
    meant = {"size": size, "sha256": hashlib.sha256(content).hexdigest()}
    return folder / "a.tar", {**meant, "notes_dir": folder / "uploads"}


def send(remote: Remote, path: Path, meant: dict[str, Any], **run: Any) -> Progress:
    run = {"progress": Progress(), "cancel": CancelToken(), **run}
    remote.upload_file(path, "a.tar", **meant, **run)
    return run["progress"]


def interrupt(remote: Remote, path: Path, meant: dict[str, Any], cancelled: Cancelled) -> None:
    with pytest.raises(CancelledError):
        send(remote, path, meant, **cancelled(3 * PART_BYTES))
    assert remote.head("a.tar") is None


def assert_all_is_well(remote: Remote, path: Path, meant: dict[str, Any]) -> None:
    stored = remote.head("a.tar")
    assert stored is not None
    assert stored.holds(meant["size"], meant["sha256"])
    run = {"progress": Progress(), "cancel": CancelToken()}
    assert remote.hash_object(stored, **run) == meant["sha256"]
    assert remote.unfinished_uploads() == ()
    assert list(meant["notes_dir"].iterdir()) == []


def test_a_cancelled_upload_goes_on(
    store: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    path, meant = some_file(tmp_path)
    interrupt(store, path, meant, cancelled_after)
    assert len(list(meant["notes_dir"].iterdir())) == 1
    progress = send(store, path, meant)
    (note,) = progress.take_notes()
    assert "resuming" in note
    assert progress.snapshot().bytes_done == SIZE
    assert 0 < progress.snapshot().bytes_found < SIZE
    assert_all_is_well(store, path, meant)


def test_an_upload_of_other_content_starts_again_and_ends_the_old_one(
    store: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    path, meant = some_file(tmp_path)
    interrupt(store, path, meant, cancelled_after)
    path, meant = some_file(tmp_path)
    assert "starting again" in send(store, path, meant).take_notes()[0]
    assert_all_is_well(store, path, meant)


def test_an_upload_that_was_ended_by_somebody_starts_again(
    store: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    path, meant = some_file(tmp_path)
    interrupt(store, path, meant, cancelled_after)
    for upload in store.unfinished_uploads():
        store.abort_upload(upload)
    send(store, path, meant)
    assert_all_is_well(store, path, meant)


def test_a_part_that_is_not_ours_is_sent_again(
    remote: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    path, meant = some_file(tmp_path)
    interrupt(remote, path, meant, cancelled_after)
    (notes,) = meant["notes_dir"].iterdir()
    remote.clients.upload.upload_part(
        Bucket=remote.config.bucket,
        Key=remote.key_of("a.tar"),
        UploadId=json.loads(notes.read_bytes())["upload_id"],
        PartNumber=1,
        Body=bytes(PART_BYTES),
    )
    send(remote, path, meant)
    assert_all_is_well(remote, path, meant)


def test_a_file_that_changed_meanwhile_ends_the_upload(
    remote: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    path, meant = some_file(tmp_path)
    interrupt(remote, path, meant, cancelled_after)
    with open(path, "r+b") as file:
        file.write(b"changed")
    with pytest.raises(VerificationError, match="nothing was uploaded"):
        send(remote, path, meant)
    assert remote.unfinished_uploads() == ()
    assert list(meant["notes_dir"].iterdir()) == []


def test_an_upload_that_lost_the_race_is_ended(remote: Remote, tmp_path: Path) -> None:
    path, meant = some_file(tmp_path)
    with pytest.raises(AlreadyExistsError):
        send(remote, path, meant, before_visible=lambda: remote.upload_bytes(b"other", "a.tar"))
    assert remote.unfinished_uploads() == ()
    assert list(meant["notes_dir"].iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"upload_id": 7}', b"\xff" * 70_000])
def test_notes_that_cannot_be_read_cost_nothing_but_time(
    remote: Remote, tmp_path: Path, cancelled_after: Cancelled, content: bytes
) -> None:
    path, meant = some_file(tmp_path)
    interrupt(remote, path, meant, cancelled_after)
    (notes,) = meant["notes_dir"].iterdir()
    notes.write_bytes(content)
    send(remote, path, meant)
    stored = remote.head("a.tar")
    assert stored is not None
    assert stored.holds(meant["size"], meant["sha256"])


def test_forgetting_an_upload_ends_it(
    remote: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    path, meant = some_file(tmp_path)
    interrupt(remote, path, meant, cancelled_after)
    remote.forget_upload("a.tar", meant["notes_dir"])
    assert remote.unfinished_uploads() == ()
    assert list(meant["notes_dir"].iterdir()) == []
    remote.forget_upload("a.tar", meant["notes_dir"])


@pytest.fixture
def remote(seaweedfs: Any) -> Remote:
    return Remote(seaweedfs.config())
