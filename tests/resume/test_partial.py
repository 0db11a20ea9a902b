"""What a download leaves on disk, and what the next one makes of it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import CancelledError
from dsmanager.partial import PartialFile, Spans, discard_part, part_path
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote

MIB = 1 << 20
SOME = {"url": "s3://bucket/a.tar", "etag": "one"}
Cancelled = Callable[[int], dict[str, Any]]
spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


@settings(deadline=None, max_examples=200)
@given(spans, st.integers(0, 61))
def test_spans_know_which_bytes_are_there(pairs: list[tuple[int, int]], position: int) -> None:
    found, model = Spans(), set()
    for start, end in pairs:
        found.add(start, end)
        model |= set(range(start, end))
    end = position
    while end in model:
        end += 1
    assert found.end_at(position) == end
    assert found.total() == len(model)
    assert Spans(found.pairs()).pairs() == found.pairs()
    flat = [edge for pair in found.pairs() for edge in pair]
    assert flat == sorted(set(flat))


def fill(path: Path, identity: dict[str, Any] | None, size: int, upto: int) -> None:
    with PartialFile(path, size, identity) as file:
        file.write(memoryview(b"x" * upto), 0, lambda: None)


def test_what_was_written_is_there_for_the_next_process(tmp_path: Path) -> None:
    path = part_path(tmp_path / "a.tar")
    fill(path, SOME, 100, 60)
    with PartialFile(path, 100, SOME) as file:
        assert file.found_bytes == 60
        view = memoryview(bytearray(50))
        assert file.read(view, 40) == 20
        assert bytes(view[:20]) == b"x" * 20
        assert file.read(view, 60) == 0


@pytest.mark.parametrize(
    ("identity", "size"), [({**SOME, "etag": "two"}, 100), (SOME, 101), (None, 100)]
)
def test_what_is_of_another_object_does_not_count(
    tmp_path: Path, identity: dict[str, Any] | None, size: int
) -> None:
    path = part_path(tmp_path / "a.tar")
    fill(path, SOME, 100, 60)
    with PartialFile(path, size, identity) as file:
        assert file.found_bytes == 0
        assert file.was_of_another == (identity is not None)
        assert file.read(memoryview(bytearray(10)), 0) == 0


@settings(deadline=None, max_examples=100)
@given(
    st.binary(max_size=80) | spans.map(lambda p: f'{{"there": {[list(x) for x in p]}}}'.encode())
)
def test_notes_that_make_no_sense_do_not_count(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = part_path(tmp_path_factory.getbasetemp() / "senseless.tar")
    fill(path, SOME, 100, 60)
    path.with_name(f"{path.name}.json").write_bytes(content)
    with PartialFile(path, 100, SOME) as file:
        assert file.found_bytes == 0


def test_a_part_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    path = part_path(tmp_path / "a.tar")
    fill(path, SOME, 100, 60)
    os.truncate(path, 59)
    with PartialFile(path, 100, SOME) as file:
        assert file.found_bytes == 0


def test_after_a_restart_of_the_system_only_flushed_bytes_count(tmp_path: Path) -> None:
    path = part_path(tmp_path / "a.tar")
    with PartialFile(path, 100, SOME) as file:
        file.write(memoryview(b"x" * 40), 0, lambda: None)
        file.save()
        file.write(memoryview(b"x" * 20), 40, lambda: None)
    notes = path.with_name(f"{path.name}.json")
    boot = json.loads(notes.read_bytes().splitlines()[-1])["boot"]
    notes.write_bytes(notes.read_bytes().replace(boot.encode(), b"another"))
    with PartialFile(path, 100, SOME) as file:
        assert file.found_bytes == 40


def test_a_line_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    path = part_path(tmp_path / "a.tar")
    fill(path, SOME, 100, 60)
    notes = path.with_name(f"{path.name}.json")
    with open(notes, "ab") as file:
        file.write(notes.read_bytes().splitlines()[-1][:-5])
    with PartialFile(path, 100, SOME) as file:
        assert file.found_bytes == 60


def test_nothing_is_left_of_a_part_that_is_not_wanted(tmp_path: Path) -> None:
    path = part_path(tmp_path / "a.tar")
    fill(path, SOME, 100, 60)
    assert len(list(tmp_path.iterdir())) == 2
    discard_part(path)
    assert list(tmp_path.iterdir()) == []
    discard_part(path)


def test_a_cancelled_download_goes_on(
    store: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    content = os.urandom(40 * MIB)
    store.upload_bytes(content, "a.tar")
    obj = store.heads(["a.tar"])["a.tar"]
    part = part_path(tmp_path / "a.tar")
    with pytest.raises(CancelledError):
        store.download_file(obj, part, resume=True, **cancelled_after(20 * MIB))
    progress = Progress()
    run = {"progress": progress, "cancel": CancelToken()}
    sha256 = store.download_file(obj, part, resume=True, **run)
    assert sha256 == obj.sha256
    assert part.read_bytes() == content
    assert "resuming" in progress.take_notes()[0]
    assert progress.snapshot().bytes_done == len(content)
    assert 0 < progress.snapshot().bytes_found < len(content)


def test_a_download_of_a_changed_object_starts_again(
    store: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    store.upload_bytes(os.urandom(40 * MIB), "a.tar")
    part = part_path(tmp_path / "a.tar")
    old = store.heads(["a.tar"])["a.tar"]
    with pytest.raises(CancelledError):
        store.download_file(old, part, resume=True, **cancelled_after(20 * MIB))
    content = os.urandom(40 * MIB)
    store.upload_bytes(content, "a.tar")
    obj = store.heads(["a.tar"])["a.tar"]
    progress = Progress()
    run = {"progress": progress, "cancel": CancelToken()}
    assert store.download_file(obj, part, resume=True, **run) == obj.sha256
    assert "has changed" in progress.take_notes()[0]
    assert part.read_bytes() == content


def test_an_object_without_an_etag_is_never_gone_on_with(
    store: Remote, tmp_path: Path, cancelled_after: Cancelled
) -> None:
    store.upload_bytes(os.urandom(20 * MIB), "a.tar")
    obj = replace(store.heads(["a.tar"])["a.tar"], etag="")
    part = part_path(tmp_path / "a.tar")
    with pytest.raises(CancelledError):
        store.download_file(obj, part, resume=True, **cancelled_after(10 * MIB))
    progress = Progress()
    run = {"progress": progress, "cancel": CancelToken()}
    assert store.download_file(obj, part, resume=True, **run) == obj.sha256
    assert progress.take_notes() == []


def test_closing_while_a_slow_disk_flushes_waits_and_ends(tmp_path, monkeypatch):
    path = tmp_path / ".x.part"
    flushing, may_end = threading.Event(), threading.Event()
    flush = getattr(os, "fdatasync", os.fsync)

    def slow(descriptor: int) -> None:
        flushing.set()
        may_end.wait(30)
        flush(descriptor)

    monkeypatch.setattr(os, "fdatasync" if hasattr(os, "fdatasync") else "fsync", slow)
    file = PartialFile(path, 100, SOME)
    file.write(memoryview(b"x" * 100), 0, lambda: None)
    saver = threading.Thread(target=file.save, daemon=True)
    saver.start()
    assert flushing.wait(30)
    closer = threading.Thread(target=file.__exit__, args=(None, None, None), daemon=True)
    closer.start()
    closer.join(0.3)  # it has taken what it can take by now
    may_end.set()
    for thread in (saver, closer):
        thread.join(30)
        assert not thread.is_alive(), "each waits for the other's lock"
    with PartialFile(path, 100, SOME) as again:
        assert again.found_bytes == 100
