"""The proxy itself: what passes is whole and signed rightly, and each fault is what it says."""

from __future__ import annotations

import os
import socket
import time

import pytest
from harness.faults import Fault
from harness.proxy import FaultProxy

from dsmanager.errors import DsmanagerError
from dsmanager.remotes.remote import Remote

CONTENT = os.urandom(200_000)


@pytest.fixture(params=["seaweedfs", "rclone"])
def behind(request):
    """A remote that is reached through a proxy, and the proxy."""
    from dataclasses import replace

    server = request.getfixturevalue(request.param)
    config = server.config()
    with (
        FaultProxy(server.endpoint_url, credentials_file=server.credentials_file) as proxy,
        Remote(replace(config, endpoint_url=proxy.url)) as remote,
    ):
        yield remote, proxy


def test_everything_passes_unchanged_and_is_counted(behind):
    remote, proxy = behind
    remote.upload_bytes(CONTENT, "a.tar")
    assert proxy.bytes_to_server == len(CONTENT)
    assert remote.read_bytes("a.tar", max_bytes=1 << 20) == CONTENT
    assert proxy.bytes_to_client >= len(CONTENT)
    assert [obj.name for obj in remote.list()] == ["a.tar"]
    assert proxy.kinds["PUT"] == 1
    assert all(request.fault is None for request in proxy.requests)


def test_a_request_sent_twice_reaches_the_server_twice(behind):
    remote, proxy = behind
    rule = proxy.inject(Fault.DUPLICATE, match="^PUT")
    remote.upload_bytes(CONTENT, "a.tar")
    assert rule.used == 1
    assert proxy.bytes_to_server == 2 * len(CONTENT)
    assert remote.read_bytes("a.tar", max_bytes=1 << 20) == CONTENT


def test_a_range_can_be_ignored(behind):
    remote, proxy = behind
    remote.upload_bytes(CONTENT, "a.tar")
    rule = proxy.inject(Fault.IGNORE_RANGE, match="^GET .* bytes=", times=1)
    ask = {"Bucket": remote.config.bucket, "Key": remote.key_of("a.tar"), "Range": "bytes=5-9"}
    assert remote.clients.control.get_object(**ask)["Body"].read() == CONTENT
    assert remote.clients.control.get_object(**ask)["Body"].read() == CONTENT[5:10]
    assert rule.used == 1


def test_nobody_listens_while_refusing_and_somebody_after(behind):
    remote, proxy = behind
    proxy.inject(Fault.REFUSE)
    port = int(proxy.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    proxy.clear()
    assert remote.list() == []


def test_rules_skip_match_and_end(behind):
    remote, proxy = behind
    rule = proxy.inject(Fault.STATUS, match="^PUT", status=400, skip=1, times=1)
    remote.upload_bytes(b"1", "a.json")
    with pytest.raises(DsmanagerError):
        remote.upload_bytes(b"2", "a.json")
    remote.upload_bytes(b"3", "a.json")
    assert rule.used == 1
    assert remote.read_bytes("a.json", max_bytes=10) == b"3"


def test_a_flipped_bit_is_exactly_one(behind):
    remote, proxy = behind
    remote.upload_bytes(CONTENT, "a.tar")
    proxy.inject(Fault.FLIP_ANSWER, match="^GET", after_bytes=77, times=1)
    place = {"Bucket": remote.config.bucket, "Key": remote.key_of("a.tar")}
    got = remote.clients.control.get_object(**place)["Body"].read()
    assert [i for i, (a, b) in enumerate(zip(got, CONTENT, strict=True)) if a != b] == [77]


def test_slow_is_slow(behind):
    remote, proxy = behind
    proxy.inject(Fault.SLOW, match="^PUT", bytes_per_s=1_000_000)
    started_s = time.monotonic()
    remote.upload_bytes(CONTENT, "a.tar")
    assert time.monotonic() - started_s > 0.15
