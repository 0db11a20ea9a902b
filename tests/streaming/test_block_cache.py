"""The cache of blocks: bounded, least recently used out first, and never anybody else's files."""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.streaming.block_cache import BLOCK_BYTES, BlockCache, default_limit_bytes

KEY, OTHER = "0" * 32, "f" * 32
PAGE = 4096


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*.block"))


def read(cache: BlockCache, key: str, start: int, stop: int) -> bytes:
    with cache.reading(key) as reader:
        return reader.read(start, stop)


writes = st.lists(
    st.tuples(
        st.sampled_from([KEY, OTHER]),
        st.integers(0, 3 * BLOCK_BYTES),
        st.integers(1, 60_000),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(writes, st.sampled_from([0, 1, 10_000, 200_000, 1_000_000, 1 << 30]))
def test_the_limit_holds_after_every_write_and_what_is_there_is_right(wanted, limit_bytes):
    with tempfile.TemporaryDirectory() as folder:
        cache = BlockCache(Path(folder), limit_bytes)
        for number, (key, start, length) in enumerate(wanted):
            content = bytes([number % 255 + 1]) * length
            was_kept = cache.write(key, start, content)
            # A file takes whole pages, and a write may touch two more of two files.
            assert used_bytes(Path(folder)) <= limit_bytes + 4 * PAGE
            if was_kept:
                assert read(cache, key, start, start + length) == content
        if limit_bytes == 1 << 30:
            for number, (key, start, length) in enumerate(wanted):
                later = wanted[number + 1 :]
                if not any(k == key and s < start + length and start < s + n for k, s, n in later):
                    found = read(cache, key, start, start + length)
                    assert found == bytes([number % 255 + 1]) * length


def test_what_was_used_last_the_longest_ago_goes_first(tmp_path):
    cache = BlockCache(tmp_path, 8 * 100_000)
    for number in range(6):
        assert cache.write(KEY, number * BLOCK_BYTES, b"x" * 98_304)
        path = tmp_path / "blocks" / KEY / f"{number:010x}.block"
        os.utime(path, (1000 + number, 1000 + number))
    assert read(cache, KEY, 0, 1) == b"x"  # the oldest is used again
    assert cache.write(OTHER, 0, b"y" * 98_304)
    assert cache.write(OTHER, BLOCK_BYTES, b"y" * 98_304)
    assert read(cache, KEY, 0, 1) == b"x"
    assert read(cache, KEY, BLOCK_BYTES, BLOCK_BYTES + 1) == b""
    assert read(cache, OTHER, 0, 1) == b"y"


def test_only_its_own_files_are_ever_removed(tmp_path):
    cache = BlockCache(tmp_path, 300_000)
    folder = tmp_path / "blocks" / KEY
    folder.mkdir(parents=True)
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "0000000000.block").write_bytes(b"p" * 500_000)
    mine = [folder / "photo.jpg", folder / "0000000000.block.bak", tmp_path / "blocks" / "notes"]
    for path in mine:
        path.write_bytes(b"m" * 500_000)
    (tmp_path / "blocks" / OTHER).symlink_to(elsewhere)
    (folder / "0000000009.block").symlink_to(elsewhere / "0000000000.block")
    for number in range(10):
        cache.write("a" * 32, number * BLOCK_BYTES, b"x" * 100_000)
    assert all(path.stat().st_size == 500_000 for path in mine)
    assert (elsewhere / "0000000000.block").read_bytes() == b"p" * 500_000


def test_nothing_is_read_or_written_through_links_and_pipes(tmp_path):
    cache = BlockCache(tmp_path, 1 << 30)
    folder = tmp_path / "blocks" / KEY
    folder.mkdir(parents=True)
    (tmp_path / "target").write_bytes(b"t" * 100)
    (folder / "0000000000.block").symlink_to(tmp_path / "target")
    os.mkfifo(folder / "0000000001.block")
    for number in range(2):
        assert read(cache, KEY, number * BLOCK_BYTES, number * BLOCK_BYTES + 10) == b""
        assert not BlockCache(tmp_path, 1 << 30).write(KEY, number * BLOCK_BYTES, b"x")
    assert (tmp_path / "target").read_bytes() == b"t" * 100


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "blocks").write_text("a file where the folder belongs")
    assert not BlockCache(tmp_path, 1 << 30).write(KEY, 0, b"x")


def test_the_folder_is_not_looked_at_for_each_write(tmp_path, monkeypatch):
    looks = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (looks.append(path), scandir(path))[1])
    cache = BlockCache(tmp_path, 128 * 1_000_000)
    for number in range(900):
        assert cache.write(KEY, number * 1000, b"x" * 1000)
    assert len(looks) <= 2


def test_many_threads_write_and_read_one_cache(tmp_path):
    cache = pickle.loads(pickle.dumps(BlockCache(tmp_path, 2_000_000)))
    wrong: list[int] = []

    def run(seed: int) -> None:
        for number in range(60):
            start, value = ((seed * 60 + number) % 40) * 250_000, (seed * 60 + number) % 40 + 1
            cache.write(KEY, start, bytes([value]) * 100_000)
            found = read(cache, KEY, start, start + 100_000)
            if found.strip(bytes([value])).strip(b"\0"):
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert used_bytes(tmp_path) <= 2_000_000


def test_the_default_is_half_of_what_is_free_and_counts_what_it_holds(tmp_path):
    limit_bytes = default_limit_bytes(tmp_path)
    assert 0 < limit_bytes <= 20_000_000_000
    free = os.statvfs(tmp_path)
    assert limit_bytes == pytest.approx(min(20e9, free.f_bavail * free.f_frsize / 2), rel=0.2)
