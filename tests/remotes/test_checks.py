"""``remote check`` names the first thing that is wrong, and cleans up after itself."""

from __future__ import annotations

from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from dsmanager.remotes.checks import LIMITS, CheckStep, check_remote
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig


def by_name(steps: tuple[CheckStep, ...]) -> dict[str, str]:
    return {step.name: step.status for step in steps}


def test_a_healthy_remote_passes_every_step(store: Remote) -> None:
    steps = check_remote(store)
    assert [step for step in steps if step.status == "failed"] == []
    assert [step.name for step in steps] == [
        "endpoint",
        "credentials",
        "bucket",
        "list",
        "clock",
        "write",
        "read back",
        "keeps existing objects",
        "compare-and-swap",
        "public",
        "acl",
        "checksum",
        "delete",
    ]
    assert store.list() == [], "the probe is removed"


def test_a_server_that_ignores_conditions_is_told_apart(rclone: Any, seaweedfs: Any) -> None:
    for server, status in ((rclone, "skipped"), (seaweedfs, "ok")):
        with Remote(server.config()) as remote:
            found = by_name(check_remote(remote))
            assert {found[limit] for limit in LIMITS} == {status}


def test_a_clock_that_is_off_is_said(
    scripted: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = "Mon, 01 Jan 2024 00:00:00 GMT"
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: past)
    listing = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    scripted.script = lambda request: answer(404 if "dsmanager" in request.path else 200, listing)
    with Remote(scripted.config()) as remote:
        (clock,) = [step for step in check_remote(remote, read_only=True) if step.name == "clock"]
    assert clock.status == "failed"
    assert "ahead of the server's" in clock.text


def test_read_only_writes_nothing(remote: Remote) -> None:
    steps = check_remote(remote, read_only=True)
    assert by_name(steps)["write"] == "skipped"
    assert steps[-1].name == "write"


def test_a_missing_bucket_is_named(remote_config: RemoteConfig) -> None:
    with Remote(replace(remote_config, url="s3://no-such-bucket/")) as remote:
        steps = check_remote(remote)
    failed = [step for step in steps if step.status == "failed"]
    assert failed[0].name == "bucket"
    assert "no-such-bucket" in failed[0].text
    assert failed[0].exit_code == 6


def test_nobody_listening_ends_the_check(scripted: Any) -> None:
    config = replace(scripted.config(), endpoint_url="http://127.0.0.1:9")
    with Remote(config) as remote:
        (step,) = check_remote(remote)
    assert (step.name, step.status, step.exit_code) == ("endpoint", "failed", 5)


def test_bad_keys_fail_at_the_bucket(seaweedfs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "WRONG")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with Remote(replace(seaweedfs.config(), credentials_file=None)) as remote:
        steps = check_remote(remote)
    failed = [step for step in steps if step.status == "failed"]
    assert failed[0].name == "bucket"
    assert failed[0].exit_code == 8
