"""How long transfers try: as servers ask, never for what is final, and never without end."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dsmanager.errors import DsmanagerError, TemporaryError, UsageError, VerificationError
from dsmanager.hashing import sha256_file
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.client import Clients
from dsmanager.remotes.failures import retry_after_s
from dsmanager.remotes.rate import RateLimit, rate_limit
from dsmanager.remotes.readback import differing_checksum
from dsmanager.remotes.remote import Remote
from dsmanager.remotes.upload import PART_BYTES

SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of abc


def refusal(**headers: str) -> ClientError:
    answer = {"ResponseMetadata": {"HTTPStatusCode": 503, "HTTPHeaders": headers}}
    return ClientError(answer, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), (" 0 ", 0), ("soon", 0), ("-5", 0), ("", 0), ("٣", 0)]
)
def test_a_server_says_when_to_come_back(said: str, seconds: float) -> None:
    assert retry_after_s(refusal(**{"retry-after": said})) == seconds
    assert retry_after_s(refusal()) == 0


def test_a_server_says_a_time_of_day() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    assert 200 < retry_after_s(refusal(**{"retry-after": later})) <= 300
    assert retry_after_s(refusal(**{"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"})) == 0


def test_a_server_that_asks_for_a_pause_gets_it(scripted: Any, answer: Any) -> None:
    times: list[float] = []

    def script(request: Any) -> Any:
        if request.method == "HEAD":
            headers = {"ETag": '"e"', "x-amz-meta-sha256": SHA256, "Content-Length": "3"}
            return answer(200, headers=headers)
        times.append(time.monotonic())
        busy = answer(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry-After": "1"})
        return busy if len(times) == 1 else answer(200, headers={"ETag": '"e"'})

    scripted.script = script
    with Remote(scripted.config()) as remote:
        remote.upload_bytes(b"abc", "a.json")
    assert len(times) == 2
    assert times[1] - times[0] >= 1


def test_a_server_that_asks_for_an_hour_is_not_waited_for(scripted: Any, answer: Any) -> None:
    body = b"<Error><Code>SlowDown</Code></Error>"
    scripted.script = lambda request: answer(503, body, {"Retry-After": "3600"})
    with Remote(scripted.config()) as remote, pytest.raises(TemporaryError):
        remote.upload_bytes(b"abc", "a.json")
    assert [request.method for request in scripted.requests].count("PUT") == 1


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("InvalidRequest", 400)])
def test_what_is_final_is_not_tried_again(scripted: Any, code: str, status: int) -> None:
    scripted.refuse(code, status)
    with Remote(scripted.config()) as remote, pytest.raises(DsmanagerError):
        remote.upload_bytes(b"abc", "a.json")
    assert [request.method for request in scripted.requests].count("PUT") == 1


@pytest.mark.parametrize(
    ("text", "bytes_per_s"),
    [("10M", 10_000_000), ("512k", 512_000), ("1.5g", 1_500_000_000), ("800", 800), (5, 5)],
)
def test_rates_are_read(text: str | int, bytes_per_s: int) -> None:
    limit = rate_limit(text)
    assert limit is not None
    assert limit.bytes_per_s == bytes_per_s


@pytest.mark.parametrize("text", ["0", "-1", "fast", "10 MB/s", "1e9", "0.0001", "k", "٣k", 0])
def test_what_is_no_rate_is_refused(text: str | int) -> None:
    with pytest.raises(UsageError, match="is no rate"):
        rate_limit(text)


def test_no_rate_is_no_limit() -> None:
    assert rate_limit(None) is None
    assert rate_limit("") is None


def test_a_limit_holds_for_uploads_and_downloads(remote: Remote, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(PART_BYTES + 1))
    sha256, size = sha256_file(path), PART_BYTES + 1
    run = {"progress": Progress(), "cancel": CancelToken(), "limit": RateLimit(size)}
    started_s = time.monotonic()
    sent = remote.upload_file(path, "a.tar", size=size, sha256=sha256, **run)
    assert time.monotonic() - started_s > 0.8
    started_s = time.monotonic()
    run["limit"] = RateLimit(size)
    assert remote.download_file(sent, tmp_path / "got", **run) == sha256
    assert time.monotonic() - started_s > 0.8


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({}, None),
        ({"ChecksumCRC32": "AAAAAA=="}, "CRC32"),
        ({"ChecksumCRC32": "AAAAAA==", "ChecksumType": "COMPOSITE"}, None),
        ({"ChecksumCRC32": "AAAAAA==-3"}, None),
        ({"ChecksumCRC32": "NSRBwg==", "ChecksumType": "FULL_OBJECT"}, None),
        ({"ChecksumSHA256": "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}, None),
        ({"ChecksumSHA256": "AAAA"}, "SHA256"),
    ],
)
def test_checksums_of_the_whole_object_are_compared(
    answer: dict[str, str], problem: str | None
) -> None:
    assert differing_checksum(answer, SHA256, "NSRBwg==") == problem


def test_an_object_whose_checksum_differs_is_removed_again(scripted: Any, answer: Any) -> None:
    def script(request: Any) -> Any:
        headers = {"ETag": '"e"', "x-amz-meta-sha256": SHA256}
        if request.method == "HEAD":
            headers |= {"x-amz-checksum-sha256": "AAAA", "Content-Length": "3"}
        return answer(204 if request.method == "DELETE" else 200, headers=headers)

    scripted.script = script
    with (
        Remote(scripted.config()) as remote,
        pytest.raises(VerificationError, match="did not keep its bytes"),
    ):
        remote.upload_bytes(b"abc", "a.json")
    assert scripted.requests[-1].method == "DELETE"
    asked = next(request for request in scripted.requests if request.method == "HEAD")
    assert asked.headers["x-amz-checksum-mode"] == "ENABLED"


def test_a_server_that_computes_checksums_is_asked_to_check_uploads(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for AWS, against a server here that knows CRC32."""
    monkeypatch.setattr(Clients, "is_aws", True)
    monkeypatch.setattr(Clients, "endpoint_url", remote.clients.endpoint_url)
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(2 * PART_BYTES + 1))
    run = {"progress": Progress(), "cancel": CancelToken()}
    size = path.stat().st_size
    sent = remote.upload_file(path, "a.tar", size=size, sha256=sha256_file(path), **run)
    assert sent.size == size
