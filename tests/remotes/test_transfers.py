"""One suite against two real servers: what goes up comes down, and nothing half-done is seen."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import (
    AlreadyExistsError,
    CancelledError,
    NoSpaceError,
    TemporaryError,
    VerificationError,
)
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote
from dsmanager.remotes.upload import PART_BYTES, part_size

MIB = 1 << 20
MULTIPART = PART_BYTES + 3 * MIB + 17
AWKWARD = ["with space.tar", "plus+and%25.tar", "naïve-日本語.tar", "a'b&c=d.tar", "ends-in-~.tar"]


def some_file(folder: Path, size: int) -> tuple[Path, str]:
    content = os.urandom(size)
    path = folder / f"file-{size}"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def upload(remote: Remote, path: Path, sha256: str, name: str, **more: Any) -> Progress:
    progress = more.pop("progress", Progress())
    more.setdefault("cancel", CancelToken())
    size = path.stat().st_size
    remote.upload_file(path, name, size=size, sha256=sha256, progress=progress, **more)
    return progress


def uploads_left(remote: Remote) -> list[str]:
    answer = remote.clients.control.list_multipart_uploads(Bucket=remote.config.bucket)
    return [
        up["Key"] for up in answer.get("Uploads", ()) if up["Key"].startswith(remote.key_of(""))
    ]


@pytest.mark.parametrize("size", [0, 1, 70_001, PART_BYTES, PART_BYTES + 1, MULTIPART])
def test_what_goes_up_comes_down(store: Remote, tmp_path: Path, size: int) -> None:
    path, sha256 = some_file(tmp_path, size)
    sent = upload(store, path, sha256, "a.tar")
    assert sent.snapshot().bytes_done == size

    obj = store.head("a.tar")
    assert obj is not None
    assert (obj.name, obj.size, obj.sha256) == ("a.tar", size, sha256)
    assert obj.last_modified.endswith("Z")
    got = Progress()
    found = store.download_file(obj, tmp_path / "got", progress=got, cancel=CancelToken())
    assert found == sha256
    assert (tmp_path / "got").read_bytes() == path.read_bytes()
    assert got.snapshot().bytes_done == size
    assert store.hash_object(obj, progress=Progress(), cancel=CancelToken()) == sha256


def test_an_object_from_a_listing_can_be_downloaded(store: Remote, tmp_path: Path) -> None:
    path, sha256 = some_file(tmp_path, 9 * MIB)
    upload(store, path, sha256, "a.tar")
    (listed,) = store.list()
    assert listed.sha256 is None
    target = tmp_path / "got"
    assert store.download_file(listed, target, progress=Progress(), cancel=CancelToken()) == sha256


@pytest.mark.parametrize("name", AWKWARD)
def test_names_survive(store: Remote, name: str) -> None:
    store.upload_bytes(b"{}", name)
    assert [obj.name for obj in store.list()] == [name]
    assert store.read_bytes(name, max_bytes=10) == b"{}"
    assert store.heads([name])[name].size == 2
    store.delete(name)
    assert store.head(name) is None


def test_list_shows_only_what_lies_directly_below_the_prefix(store: Remote) -> None:
    for name in ("b.tar", "a.tar", "deeper/c.tar"):
        store.upload_bytes(b"x", name)
    assert [obj.name for obj in store.list()] == ["a.tar", "b.tar"]


def test_other_content_under_the_name_is_refused(store: Remote, tmp_path: Path) -> None:
    store.upload_bytes(b"old", "a.tar")
    path, sha256 = some_file(tmp_path, MULTIPART)
    with pytest.raises(AlreadyExistsError, match="other content"):
        upload(store, path, sha256, "a.tar")
    assert store.read_bytes("a.tar", max_bytes=10) == b"old"
    upload(store, path, sha256, "a.tar", overwrite=True)
    assert store.heads(["a.tar"])["a.tar"].sha256 == sha256


def test_equal_content_is_not_sent_again(store: Remote, tmp_path: Path) -> None:
    path, sha256 = some_file(tmp_path, 100)
    upload(store, path, sha256, "a.tar")
    again = upload(store, path, sha256, "a.tar")
    assert again.snapshot().bytes_done == 0


@pytest.mark.parametrize("size", [100, MULTIPART])
def test_a_file_that_is_not_as_recorded_stays_invisible(
    store: Remote, tmp_path: Path, size: int
) -> None:
    path, sha256 = some_file(tmp_path, size)
    with open(path, "r+b") as file:
        file.seek(size // 2)
        file.write(b"\0damaged\0")
    seen = []
    with pytest.raises(VerificationError, match="nothing was uploaded"):
        upload(store, path, sha256, "a.tar", before_visible=lambda: seen.append(1))
    assert store.head("a.tar") is None
    assert uploads_left(store) == []
    assert seen == []


@pytest.mark.parametrize("recorded", [MULTIPART - 1, MULTIPART + 1, 5])
def test_a_file_of_another_length_stays_invisible(
    store: Remote, tmp_path: Path, recorded: int
) -> None:
    path, sha256 = some_file(tmp_path, MULTIPART)
    arguments: dict[str, Any] = {"progress": Progress(), "cancel": CancelToken()}
    with pytest.raises(VerificationError, match="than its record says"):
        store.upload_file(path, "a.tar", size=recorded, sha256=sha256, **arguments)
    assert store.list() == []
    assert uploads_left(store) == []


@pytest.mark.parametrize("size", [100, MULTIPART])
def test_before_visible_runs_before_anybody_sees_the_object(
    store: Remote, tmp_path: Path, size: int
) -> None:
    path, sha256 = some_file(tmp_path, size)
    seen = []
    upload(store, path, sha256, "a.tar", before_visible=lambda: seen.append(store.head("a.tar")))
    assert seen == [None]
    assert store.head("a.tar") is not None


class CancelsAfter(Progress):
    """Asks to stop once ``limit`` bytes have moved."""

    def __init__(self, limit: int, cancel: CancelToken) -> None:
        super().__init__()
        self._limit, self._token = limit, cancel

    def add_bytes(self, count: int) -> None:
        super().add_bytes(count)
        if self.snapshot().bytes_done >= self._limit:
            self._token.cancel()


@pytest.mark.parametrize("limit", [1, PART_BYTES + MIB])
def test_a_cancelled_upload_leaves_no_object_and_no_parts(
    store: Remote, tmp_path: Path, limit: int
) -> None:
    path, sha256 = some_file(tmp_path, MULTIPART)
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        upload(store, path, sha256, "a", progress=CancelsAfter(limit, cancel), cancel=cancel)
    assert store.head("a") is None
    assert uploads_left(store) == []


def test_an_upload_whose_announcement_fails_leaves_nothing(store: Remote, tmp_path: Path) -> None:
    path, sha256 = some_file(tmp_path, MULTIPART)

    def refuse() -> None:
        raise AlreadyExistsError("the sidecar differs")

    with pytest.raises(AlreadyExistsError, match="sidecar differs"):
        upload(store, path, sha256, "a.tar", before_visible=refuse)
    assert store.list() == []
    assert uploads_left(store) == []


def test_a_cancelled_download_stops(store: Remote, tmp_path: Path) -> None:
    path, sha256 = some_file(tmp_path, MULTIPART)
    upload(store, path, sha256, "a.tar")
    cancel = CancelToken()
    progress = CancelsAfter(MIB, cancel)
    obj = store.heads(["a.tar"])["a.tar"]
    with pytest.raises(CancelledError):
        store.download_file(obj, tmp_path / "got", progress=progress, cancel=cancel)
    assert progress.snapshot().bytes_done < MULTIPART


class ReplacesAfter(Progress):
    """Replaces the object once the first bytes of it have arrived."""

    def __init__(self, remote: Remote, name: str) -> None:
        super().__init__()
        self._remote, self._name = remote, name
        self._replacing = threading.Lock()
        self._replaced = False

    def add_bytes(self, count: int) -> None:
        with self._replacing:
            if not self._replaced:
                self._remote.upload_bytes(os.urandom(9 * MIB), self._name)
                self._replaced = True


def test_an_object_replaced_while_it_is_read_is_noticed(store: Remote, tmp_path: Path) -> None:
    path, sha256 = some_file(tmp_path, 60 * MIB)
    upload(store, path, sha256, "a.tar")
    obj = store.heads(["a.tar"])["a.tar"]
    with pytest.raises(TemporaryError, match=r"a\.tar was replaced while it was read"):
        store.download_file(
            obj, tmp_path / "got", progress=ReplacesAfter(store, "a.tar"), cancel=CancelToken()
        )


def test_an_object_replaced_before_it_is_read_is_noticed(store: Remote, tmp_path: Path) -> None:
    store.upload_bytes(b"old", "a.tar")
    obj = store.heads(["a.tar"])["a.tar"]
    store.upload_bytes(b"new", "a.tar")
    with pytest.raises(TemporaryError, match="replaced"):
        store.download_file(obj, tmp_path / "got", progress=Progress(), cancel=CancelToken())


def test_a_download_that_cannot_fit_is_refused_before_it_starts(
    store: Remote, tmp_path: Path
) -> None:
    from dataclasses import replace

    store.upload_bytes(b"x", "a.tar")
    huge = replace(store.heads(["a.tar"])["a.tar"], size=1 << 60)
    progress = Progress()
    with pytest.raises(NoSpaceError):
        store.download_file(huge, tmp_path / "got", progress=progress, cancel=CancelToken())
    assert progress.snapshot().bytes_done == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_disk_that_fills_up_ends_the_download(store: Remote) -> None:
    store.upload_bytes(b"x" * 1000, "a.tar")
    obj = store.heads(["a.tar"])["a.tar"]
    with pytest.raises(NoSpaceError):
        store.download_file(obj, Path("/dev/full"), progress=Progress(), cancel=CancelToken())


def test_heads_asks_for_many_and_returns_those_that_exist(store: Remote) -> None:
    for index in range(20):
        store.upload_bytes(b"x" * index, f"{index}.tar")
    found = store.heads([f"{index}.tar" for index in range(40)])
    assert {name: obj.size for name, obj in found.items()} == {f"{i}.tar": i for i in range(20)}
    assert store.heads([]) == {}


def test_small_objects_are_bounded(store: Remote) -> None:
    store.upload_bytes(b"x" * 11, "a.json")
    assert store.read_bytes("a.json", max_bytes=11) == b"x" * 11
    assert store.read_bytes("missing.json", max_bytes=11) is None
    with pytest.raises(VerificationError, match="larger"):
        store.read_bytes("a.json", max_bytes=10)


def test_deleting_what_is_not_there_is_no_error(store: Remote) -> None:
    store.delete("nothing.tar")


@pytest.mark.parametrize("size", [PART_BYTES + 1, 100 << 30, 1 << 40, 5 << 40])
def test_parts_are_never_too_many_and_never_too_small(size: int) -> None:
    length = part_size(size)
    assert length % MIB == 0
    assert length >= PART_BYTES
    assert -(-size // length) <= 10_000
