"""What goes wrong while a dataset is streamed: a clear error, or the right examples."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dsmanager.archives.record_index import index_path
from dsmanager.archives.sidecar import read_sidecar
from dsmanager.errors import NotFoundError, TemporaryError, VerificationError
from dsmanager.remotes import server
from dsmanager.remotes.objects import ObjectChangedError
from dsmanager.remotes.weed import usable_ports
from dsmanager.settings import RemoteConfig


def everything(split: Any) -> list[bytes]:
    return split.read(range(len(split)))


def put(store: Any, content: bytes, sha256: str) -> None:
    """Replaces the archive on the remote by bytes of any kind, with metadata of any kind."""
    remote = store.library.remote
    remote.clients.control.put_object(
        Bucket=remote.config.bucket,
        Key=remote.key_of(store.archive.name),
        Body=content,
        Metadata={"sha256": sha256},
    )


def test_an_object_that_is_replaced_in_the_middle_is_named(store):
    streamed = store.stream()
    first = streamed.read(range(10))
    put(store, store.archive.read_bytes()[::-1], "0" * 64)
    with pytest.raises(ObjectChangedError) as raised:
        streamed.read(range(40, 80))
    assert store.library.remote.url_of(store.archive.name) in raised.value.message
    assert streamed.read(range(10)) == first


def test_an_object_that_is_removed_in_the_middle_is_named(store):
    streamed = store.stream()
    store.library.remote.delete(store.archive.name)
    with pytest.raises(NotFoundError) as raised:
        list(streamed)
    assert store.library.remote.url_of(store.archive.name) in raised.value.message


def test_an_archive_that_is_not_what_its_sidecar_says_is_refused(store):
    put(store, store.archive.read_bytes()[::-1], "0" * 64)
    with pytest.raises(VerificationError, match="disagree"):
        store.stream()


def test_a_flipped_byte_on_the_remote_names_shard_and_record(store):
    content = bytearray(store.archive.read_bytes())
    record = store.local().read([60])[0]
    content[content.index(record) + len(record) // 2] ^= 1
    put(store, bytes(content), read_sidecar(store.archive).sha256)
    streamed = store.stream()
    with pytest.raises(VerificationError) as raised:
        everything(streamed)
    assert "example 60 (record 29 of blobs-train.tfrecord-00001-of-00003)" in raised.value.message
    assert store.library.remote.url_of(store.archive.name) in raised.value.message


def test_a_damaged_cache_is_fetched_again(store):
    expected = everything(store.local())
    everything(store.stream())
    for block in store.cache_dir.rglob("*.block"):
        content = bytearray(block.read_bytes())
        for position in range(0, len(content), 100_000):
            content[position] ^= 1
        block.write_bytes(content[: len(content) // 2])
    assert everything(store.stream()) == expected
    for path in store.cache_dir.rglob("*.json"):
        path.write_text("{}")
    assert everything(store.stream()) == expected


def test_a_full_disk_costs_requests_and_no_data(store):
    streamed, expected = store.stream(), everything(store.local())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # a write is cut off there
    try:
        found = [streamed.read(range(first, first + 20)) for first in range(0, 80, 20)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [record for batch in found for record in batch] == expected
    assert everything(store.stream()) == expected


def test_small_files_that_are_not_what_the_sidecar_says_are_refused(store):
    content = store.archive.read_bytes().replace(
        b'"fileFormat": "tfrecord"', b'"fileFormat": "tfRecord"'
    )
    put(store, content, read_sidecar(store.archive).sha256)
    with pytest.raises(VerificationError, match="another sha256 than the sidecar says"):
        store.stream()


def test_an_archive_without_index_says_how_to_send_one(store):
    store.library.remote.delete(index_path(store.archive).name)
    with pytest.raises(NotFoundError) as raised:
        store.stream()
    assert raised.value.hint == "send it again: dsmanager upload blobs:1.0.0"


def test_features_that_would_run_code_are_refused(built):
    features = built.library.data_dir / "blobs" / "1.0.0" / "features.json"
    features.write_text(features.read_text().replace("text_feature.Text", "text_feature.Evil"))
    built.send()
    with pytest.raises(VerificationError, match="as a feature class"):
        built.stream()


def test_array_record_says_how_to_make_it_streamable(built):
    folder = built.library.data_dir / "blobs" / "1.0.0"
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"tfrecord"', '"array_record"'))
    for path in folder.glob("*.tfrecord-*"):
        path.rename(path.with_name(path.name.replace("tfrecord", "array_record")))
    built.send()
    with pytest.raises(Exception, match="only tfrecord is streamed") as raised:
        built.stream()
    assert "--format tfrecord" in raised.value.hint


@pytest.fixture
def own_server(
    tmp_path: Path, wait_until: Any
) -> Iterator[tuple[RemoteConfig, Callable[[], None]]]:
    """A server of this test alone, and what kills it without a warning."""
    state_dir = tmp_path / "servers"
    running = server.start("own", state_dir=state_dir)
    config = RemoteConfig(
        "own",
        f"s3://{running.bucket}/p",
        endpoint_url=running.endpoint_url,
        credentials_file=running.credentials_file,
    )

    def kill() -> None:
        pid = server.status("own", state_dir=state_dir).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        saved = json.loads((state_dir / "servers" / "own" / "server.json").read_bytes())
        wait_until(lambda: usable_ports(saved["ports"]) is not None, "its ports are free")

    yield config, kill
    server.stop("own", state_dir=state_dir)


def test_a_server_that_is_killed_and_brought_back(own_server, make_built, tmp_path):
    config, kill = own_server
    store = make_built(config)
    store.send()
    streamed, expected = store.stream(cache_bytes=0), everything(store.local())
    assert streamed.read(range(20)) == expected[:20]
    kill()
    bringing = threading.Thread(
        target=server.start, args=("own",), kwargs={"state_dir": tmp_path / "servers"}
    )
    bringing.start()
    found, deadline_s = None, time.monotonic() + 60
    while found is None and time.monotonic() < deadline_s:
        with suppress(TemporaryError):  # it took longer than one read is patient
            found = streamed.read(range(20, 80))
    bringing.join()
    assert found == expected[20:]
