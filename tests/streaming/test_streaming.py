"""Streamed from a real server: the same examples in the same order as from disk."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import threading
from typing import Any

import pytest

from dsmanager.errors import DsmanagerError, UsageError
from dsmanager.settings import RemoteConfig


def same(left: Any, right: Any) -> bool:
    return len(left) == len(right) and all(
        a["n"] == b["n"] and a["data"] == b["data"] for a, b in zip(left, right, strict=True)
    )


def source_of(split: Any) -> Any:
    return split._records._parts[0].shard._source


def payload_bytes(store: Any, split: str = "train") -> int:
    folder = store.library.data_dir / "blobs" / "1.0.0"
    return sum(path.stat().st_size for path in folder.glob(f"blobs-{split}.tfrecord-*"))


@pytest.mark.parametrize("cache_bytes", [None, 20_000_000, 100_000, 0])
def test_a_stream_equals_the_local_split(store, cache_bytes):
    local, streamed = store.local(), store.stream(cache_bytes=cache_bytes)
    assert same(list(streamed), list(local))
    assert same(streamed[5:50:3], local[5:50:3])
    order = random.Random(0).choices(range(len(local)), k=60)
    for first in range(0, 60, 20):
        batch = order[first : first + 20]
        streamed_batch = streamed.__getitems__(batch)
        assert same(streamed_batch, local.__getitems__(batch))


def test_another_server_gives_the_same(make_built, rclone):
    store = make_built(rclone.config())
    store.send()
    assert store.stream().read(range(80)) == store.local().read(range(80))


def test_part_of_a_split_and_all_splits(store):
    assert same(list(store.stream("train[10%:40%]+test")), list(store.local("train[10%:40%]+test")))
    assert sorted(store.stream(None)) == ["test", "train"]


@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_a_shuffled_epoch_fetches_little_more_than_it_needs(store, cache_bytes):
    streamed = store.stream(cache_bytes=cache_bytes)
    order = list(range(len(streamed)))
    random.Random(1).shuffle(order)
    for first in range(0, len(order), 16):
        streamed.read(order[first : first + 16])
    assert payload_bytes(store) <= source_of(streamed).fetched_bytes <= 1.05 * payload_bytes(store)


def test_the_second_epoch_comes_from_the_cache(store):
    streamed, again = store.stream(), store.stream()
    first = list(streamed)
    assert same(list(again), first)
    assert source_of(again).fetched_bytes == 0


def test_a_pickled_split_reads_on(store):
    streamed = store.stream()
    streamed.read([0])
    assert same([pickle.loads(pickle.dumps(streamed))[7]], [store.local()[7]])


def test_tensorflow_is_told_to_use_a_loader(store):
    with pytest.raises(UsageError) as raised:
        store.stream(framework="tf")
    assert "as_tf()" in raised.value.hint


def test_a_compressed_archive_says_how_to_make_it_streamable(built):
    built.send(compression="gz")
    with pytest.raises(UsageError) as raised:
        built.stream()
    assert "is compressed (gz)" in raised.value.message
    assert "dsmanager package blobs:1.0.0 --compression none" in raised.value.hint
    assert raised.value.hint.endswith("dsmanager upload blobs:1.0.0")
    built.send()  # these two commands
    assert same([built.stream()[3]], [built.local()[3]])


def test_an_archive_that_is_nowhere_says_how_to_make_it(built):
    with pytest.raises(DsmanagerError) as raised:
        built.stream()
    assert "blobs__1.0.0__cache.tar does not exist" in raised.value.message


def test_prefetch_brings_what_is_read_next(store):
    streamed, local = store.stream(), store.local()
    source = source_of(streamed)
    streamed.prefetch(range(10, 30))
    assert streamed.read(range(10, 30)) == local.read(range(10, 30))
    fetched_bytes = source.fetched_bytes
    streamed.prefetch(range(10, 30))
    assert not source.on_the_way
    streamed.read(range(10, 30))
    assert source.fetched_bytes == fetched_bytes


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_reading_ahead_fetches_nothing_twice(store, is_shuffled):
    streamed, expected = store.stream(), store.local().read(range(80))
    order = random.Random(3).sample(range(80), 80) if is_shuffled else list(range(80))
    batches = [order[first : first + 4] for first in range(0, 80, 4)]
    for number, batch in enumerate(batches):
        for ahead in batches[number + 1 : number + 4]:
            streamed.prefetch(ahead)
        assert streamed.read(batch) == [expected[index] for index in batch]
    assert source_of(streamed).fetched_bytes <= 1.05 * payload_bytes(store)


def test_prefetch_of_what_cannot_be_kept_fetches_nothing(store):
    streamed = store.stream(cache_bytes=1000)
    streamed.prefetch(range(80))
    assert not source_of(streamed).on_the_way
    assert source_of(streamed).fetched_bytes == 0


def test_many_threads_fetch_each_record_once(store):
    streamed, expected = store.stream(), store.local().read(range(80))
    results: list[list[bytes]] = []

    def run(seed: int) -> None:
        streamed.prefetch(range(80))
        order = random.Random(seed).sample(range(80), 80)
        found = dict(zip(order, streamed.read(order), strict=True))
        results.append([found[index] for index in range(80)])

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
    assert source_of(streamed).fetched_bytes <= 1.05 * payload_bytes(store)


@pytest.fixture
def reader(built, make_library) -> Any:
    """A machine without keys, of a bucket that lets everybody get and nobody list."""
    remote = built.library.remote
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{remote.config.bucket}/{remote.key_of('*')}",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    remote.clients.control.put_bucket_policy(Bucket=remote.config.bucket, Policy=policy)
    url, endpoint_url = remote.config.url, remote.config.endpoint_url
    everybody = RemoteConfig("everybody", url, endpoint_url=endpoint_url, anonymous=True)
    library = make_library(everybody, "reader")
    assert library.survey().remote_error is not None
    return library


def test_a_public_bucket_is_streamed_without_keys_and_without_a_listing(store, reader):
    streamed = reader.load(
        "blobs:1.0.0", split="train", framework="numpy", stream=True, cache_dir=store.cache_dir
    )[1]
    assert same(list(streamed), list(store.local()))


def test_a_compressed_archive_is_seen_without_a_listing(built, reader):
    built.send(compression="gz")
    with pytest.raises(UsageError, match=r"is compressed \(gz\)"):
        reader.load("blobs:1.0.0", framework="numpy", stream=True, cache_dir=built.cache_dir)


def test_of_several_configs_the_default_is_streamed(built_data, make_library, remote_config):
    library = make_library(remote_config)
    shutil.copytree(built_data, library.data_dir)
    library.package("several", compression="none", together=True)
    library.upload("several")
    options = {"split": "train", "framework": "numpy"}
    cache_dir = library.data_dir.parent / "blocks"
    for ref in ("several:2.1.0", "several"):
        _, streamed = library.load(ref, stream=True, cache_dir=cache_dir, **options)
        _, local = library.load("several", **options)
        assert streamed.dataset == local.dataset
        assert streamed.read(range(len(local))) == local.read(range(len(local)))
