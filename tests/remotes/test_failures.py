"""Every failure has its own exit code, one clear line, and no secret in it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    ExitCode,
    NotFoundError,
    TemporaryError,
    UsageError,
)
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.objects import RemoteObject
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig

VERBS: dict[str, Callable[[Remote], object]] = {
    "list": lambda remote: remote.list(),
    "head": lambda remote: remote.head("a.tar"),
    "read": lambda remote: remote.read_bytes("a.tar", max_bytes=10),
    "write": lambda remote: remote.upload_bytes(b"x", "a.tar"),
    "delete": lambda remote: remote.delete("a.tar"),
}


def with_keys(config: RemoteConfig, folder: Path, **changed: str) -> Remote:
    from dataclasses import replace

    assert config.credentials_file is not None
    pair = json.loads(config.credentials_file.read_bytes()) | changed
    path = folder / "keys.json"
    path.write_text(json.dumps(pair))
    return Remote(replace(config, credentials_file=path))


@pytest.mark.parametrize("server", ["seaweedfs", "rclone"])
@pytest.mark.parametrize("changed", [{"access_key": "WRONGKEY"}, {"secret_key": "WRONGSECRET"}])
@pytest.mark.parametrize("verb", VERBS)
def test_wrong_keys_are_8(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, changed: dict[str, str], verb: str
) -> None:
    config = request.getfixturevalue(server).config()
    with (
        with_keys(config, tmp_path, **changed) as remote,
        pytest.raises(CredentialsError) as caught,
    ):
        VERBS[verb](remote)
    text = f"{caught.value.message} {caught.value.hint}"
    assert "key" in text
    assert "\n" not in text
    assert "WRONG" not in text
    assert remote.clients.control.meta.endpoint_url not in caught.value.message


@pytest.mark.parametrize("server", ["seaweedfs", "rclone"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_bucket_that_does_not_exist_is_6(
    request: pytest.FixtureRequest, server: str, verb: str
) -> None:
    from dataclasses import replace

    config = replace(request.getfixturevalue(server).config(), url="s3://no-such-bucket/p")
    with Remote(config) as remote, pytest.raises(NotFoundError, match="'no-such-bucket'"):
        VERBS[verb](remote)


def test_an_object_that_is_gone_is_6(store: Remote, tmp_path: Path) -> None:
    store.upload_bytes(b"x", "a.tar")
    obj = store.heads(["a.tar"])["a.tar"]
    store.delete("a.tar")
    with pytest.raises(NotFoundError, match="no such object"):
        store.download_file(obj, tmp_path / "got", progress=Progress(), cancel=CancelToken())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_listening_is_5(scripted: Any, verb: str) -> None:
    config = RemoteConfig("down", "s3://bkt/p", endpoint_url=f"http://127.0.0.1:{free_port()}")
    refused = r"cannot reach http://127.*: Connection refused"
    with Remote(config) as remote, pytest.raises(TemporaryError, match=refused):
        VERBS[verb](remote)


def test_an_unknown_host_is_5(scripted: Any) -> None:
    config = RemoteConfig("down", "s3://bkt/p", endpoint_url="http://no-such-host.invalid:9000")
    with Remote(config) as remote, pytest.raises(TemporaryError, match=r"no-such-host\.invalid"):
        remote.list()


REFUSALS = [
    ("AccessDenied", 403, ExitCode.CREDENTIALS, "access denied"),
    ("InvalidAccessKeyId", 403, ExitCode.CREDENTIALS, "does not know this access key"),
    ("SignatureDoesNotMatch", 403, ExitCode.CREDENTIALS, "secret key"),
    ("ExpiredToken", 400, ExitCode.CREDENTIALS, "expired"),
    ("InvalidToken", 400, ExitCode.CREDENTIALS, "session token"),
    ("RequestTimeTooSkewed", 403, ExitCode.CREDENTIALS, "clock"),
    ("NoSuchBucket", 404, ExitCode.NOT_FOUND, "bucket 'bkt' does not exist"),
    ("SlowDown", 503, ExitCode.TEMPORARY, "busy"),
    ("ServiceUnavailable", 503, ExitCode.TEMPORARY, "busy"),
    ("InternalError", 500, ExitCode.TEMPORARY, "busy"),
    ("SomethingNew", 502, ExitCode.TEMPORARY, "busy"),
    ("TooManyRequests", 429, ExitCode.TEMPORARY, "busy"),
    ("PermanentRedirect", 301, ExitCode.USAGE, "another endpoint or region"),
    ("TemporaryRedirect", 307, ExitCode.USAGE, "another endpoint or region"),
    ("XMinioStorageFull", 507, ExitCode.NO_SPACE, "full"),
    ("SomethingNew", 400, ExitCode.FAILED, "SomethingNew"),
]


@pytest.mark.parametrize(("code", "status", "exit_code", "text"), REFUSALS)
@pytest.mark.parametrize("verb", ["list", "head"])
def test_s3_errors_keep_their_meaning(
    scripted: Any, code: str, status: int, exit_code: ExitCode, text: str, verb: str
) -> None:
    scripted.refuse(code, status)
    with Remote(scripted.config()) as remote, pytest.raises(DsmanagerError) as caught:
        VERBS[verb](remote)
    assert caught.value.exit_code == exit_code
    assert text in caught.value.message
    assert caught.value.hint


def test_no_secret_and_no_control_character_reaches_a_message(scripted: Any) -> None:
    message = "X-Amz-Signature=deadbeef http://me:SECRETTEST@host/ \x1b[31m\n red"
    scripted.refuse("Odd", 400, message.replace("\x1b", "&#155;"))
    with Remote(scripted.config()) as remote, pytest.raises(DsmanagerError) as caught:
        remote.list()
    for part in ("deadbeef", "SECRETTEST", "\x1b", "\x9b", "\n"):
        assert part not in caught.value.message


def test_userinfo_in_the_endpoint_is_not_shown() -> None:
    config = RemoteConfig(
        "down",
        "s3://bkt/p",
        endpoint_url=f"http://me:hunter2@127.0.0.1:{free_port()}",
        anonymous=True,
    )
    with Remote(config) as remote, pytest.raises(DsmanagerError) as caught:
        remote.list()
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_a_server_that_is_not_s3_is_said_to_be_none(scripted: Any, answer: Any) -> None:
    scripted.script = lambda request: answer(200, b"<html><body>Welcome</body></html>")
    with Remote(scripted.config()) as remote, pytest.raises(DsmanagerError) as caught:
        remote.list()
    assert "S3" in caught.value.message
    assert caught.value.exit_code == ExitCode.FAILED


@pytest.mark.parametrize("endpoint_url", ["not a url", "ftp//x", "http://"])
def test_an_endpoint_that_is_none_is_2(scripted: Any, endpoint_url: str) -> None:
    with (
        Remote(RemoteConfig("odd", "s3://bkt/p", endpoint_url=endpoint_url)) as remote,
        pytest.raises(UsageError),
    ):
        remote.list()


def test_a_busy_moment_is_survived(scripted: Any, answer: Any) -> None:
    etag = {"ETag": '"e"', "x-amz-meta-sha256": "0" * 64}
    busy = [answer(503), answer(503)]
    scripted.script = lambda request: (
        answer(200, headers=etag)
        if request.method == "HEAD"
        else busy.pop()
        if busy
        else answer(200, headers=etag)
    )
    with Remote(scripted.config()) as remote:
        clients = remote.clients
        assert clients.control is not clients.upload
        with pytest.raises(DsmanagerError, match="did not keep its metadata"):
            remote.upload_bytes(b"", "a.json", sha256=None)
    puts = [request for request in scripted.requests if request.method == "PUT"]
    assert len(puts) == 3


CONTENT = bytes(range(256)) * 40_000
OBJECT = RemoteObject("a.tar", len(CONTENT), "e", "2024-01-01T00:00:00Z")


def serve_ranges(answer: Any, request: Any) -> Any:
    headers = {"ETag": '"e"'}
    if "range" not in request.headers:
        return answer(200, CONTENT, headers)
    first, last = request.headers["range"].removeprefix("bytes=").split("-")
    headers["Content-Range"] = f"bytes {first}-{last}/{len(CONTENT)}"
    return answer(206, CONTENT[int(first) : int(last) + 1], headers)


def fetch(remote: Remote, folder: Path) -> bytes:
    remote.download_file(OBJECT, folder / "got", progress=Progress(), cancel=CancelToken())
    return (folder / "got").read_bytes()


def test_every_range_names_the_etag(scripted: Any, answer: Any, tmp_path: Path) -> None:
    scripted.script = lambda request: serve_ranges(answer, request)
    with Remote(scripted.config()) as remote:
        assert fetch(remote, tmp_path) == CONTENT
    assert len(scripted.requests) > 1
    assert {request.headers["if-match"] for request in scripted.requests} == {'"e"'}


def test_a_server_without_ranges_is_read_whole(scripted: Any, answer: Any, tmp_path: Path) -> None:
    scripted.script = lambda request: answer(200, CONTENT, {"ETag": '"e"'})
    progress = Progress()
    with Remote(scripted.config()) as remote:
        target = tmp_path / "got"
        remote.download_file(OBJECT, target, progress=progress, cancel=CancelToken())
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert progress.snapshot().bytes_done == len(CONTENT)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    scripted: Any, answer: Any, tmp_path: Path
) -> None:
    broken = threading.Lock()

    def script(request: Any) -> Any:
        whole = serve_ranges(answer, request)
        if broken.acquire(blocking=False):
            return answer(206, whole.body[:5000], whole.headers, length=len(whole.body))
        return whole

    scripted.script = script
    with Remote(scripted.config()) as remote:
        assert fetch(remote, tmp_path) == CONTENT
    starts = [request.headers["range"].split("=")[1].split("-")[0] for request in scripted.requests]
    assert len(starts) == len(set(starts)), "nothing that had arrived was asked for again"


def test_another_etag_in_an_answer_is_noticed(scripted: Any, answer: Any, tmp_path: Path) -> None:
    def script(request: Any) -> Any:
        whole = serve_ranges(answer, request)
        return answer(whole.status, whole.body, whole.headers | {"ETag": '"other"'})

    scripted.script = script
    with Remote(scripted.config()) as remote, pytest.raises(TemporaryError, match="replaced"):
        fetch(remote, tmp_path)


def test_a_server_that_stops_for_good_ends_the_download_with_5(
    scripted: Any, answer: Any, tmp_path: Path
) -> None:
    def script(request: Any) -> Any:
        whole = serve_ranges(answer, request)
        return answer(206, whole.body[:10], whole.headers, length=len(whole.body))

    scripted.script = script
    with Remote(scripted.config()) as remote, pytest.raises(TemporaryError, match="broke"):
        fetch(remote, tmp_path)


def test_a_lost_answer_counts_when_the_object_is_there(scripted: Any, answer: Any) -> None:
    """The server stores the object, and its first answer never arrives."""
    stored: dict[str, str] = {}

    def script(request: Any) -> Any:
        if request.method == "HEAD":
            return answer(200, b"", stored | {"Content-Length": "3"}) if stored else answer(404)
        if request.method == "GET":
            return answer(200, b"<ListBucketResult></ListBucketResult>")
        if stored:
            return answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        stored.update({"ETag": '"e"', "x-amz-meta-sha256": request.headers["x-amz-meta-sha256"]})
        return answer(0)

    scripted.script = script
    with Remote(scripted.config()) as remote:
        assert remote.upload_bytes(b"abc", "a.json", overwrite=False).size == 3


def test_a_server_without_conditional_writes_is_asked_first(scripted: Any, answer: Any) -> None:
    stored: dict[str, str] = {}

    def script(request: Any) -> Any:
        if request.method == "HEAD":
            return answer(200, b"", stored | {"Content-Length": "3"}) if stored else answer(404)
        if request.method == "GET":
            return answer(200, b"<ListBucketResult></ListBucketResult>")
        if "if-none-match" in request.headers:
            return answer(501, b"<Error><Code>NotImplemented</Code></Error>")
        stored.update({"ETag": '"e"', "x-amz-meta-sha256": request.headers["x-amz-meta-sha256"]})
        return answer(200, headers={"ETag": '"e"'})

    scripted.script = script
    with Remote(scripted.config()) as remote:
        remote.upload_bytes(b"abc", "a.json", overwrite=False)
        with pytest.raises(DsmanagerError) as caught:
            remote.upload_bytes(b"xyz", "a.json", overwrite=False)
    assert caught.value.exit_code == ExitCode.ALREADY_EXISTS


def test_every_page_of_a_listing_is_read(scripted: Any, answer: Any) -> None:
    """Names come URL-encoded; without the encoding some could not be in XML at all."""

    def script(request: Any) -> Any:
        first = "continuation-token" not in request.query
        key, more = ("p/a%20b%2B", "true") if first else ("p/%E6%97%A5%01", "false")
        return answer(
            200,
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{more}</IsTruncated>"
            f"<NextContinuationToken>next</NextContinuationToken><Contents><Key>{key}</Key>"
            "<Size>7</Size></Contents></ListBucketResult>".encode(),
        )

    scripted.script = script
    with Remote(scripted.config()) as remote:
        assert [obj.name for obj in remote.list()] == ["a b+", "日\x01"]
    assert {request.query["prefix"] for request in scripted.requests} == {"p/"}


@contextmanager
def https_server(folder: Path, *, tls: bool) -> Iterator[int]:
    """Accepts connections: with a certificate that nobody trusts, or without TLS at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls:
        key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", key, "-out", certificate]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("openssl is not installed")
        context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    if tls:
                        context.wrap_socket(connection, server_side=True).close()
                    else:
                        connection.recv(1)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize(
    ("tls", "text"), [(True, "certificate of https://127"), (False, "does not speak TLS")]
)
def test_tls_trouble_that_stays_is_1_and_says_what_to_do(
    scripted: Any, tmp_path: Path, tls: bool, text: str
) -> None:
    with https_server(tmp_path, tls=tls) as port:
        config = RemoteConfig("tls", "s3://bkt/p", endpoint_url=f"https://127.0.0.1:{port}")
        with Remote(config) as remote, pytest.raises(DsmanagerError, match=text) as caught:
            remote.list()
    assert caught.value.exit_code == ExitCode.FAILED
    assert "dsmanager remote check tls" in (caught.value.hint or "")


def test_a_killed_server_ends_a_transfer_with_5(tmp_path: Path) -> None:
    from dsmanager.remotes import server

    running = server.start("killed", state_dir=tmp_path)
    try:
        config = RemoteConfig(
            "killed",
            f"s3://{running.bucket}/",
            endpoint_url=running.endpoint_url,
            credentials_file=running.credentials_file,
        )
        with closing(Remote(config)) as remote:
            remote.upload_bytes(b"x" * (20 << 20), "a.tar")
            obj = remote.heads(["a.tar"])["a.tar"]
            assert running.pid is not None

            class Kills(Progress):
                def add_bytes(self, count: int) -> None:
                    os.kill(running.pid or 0, signal.SIGKILL)

            with pytest.raises(TemporaryError):
                remote.hash_object(obj, progress=Kills(), cancel=CancelToken())
            with pytest.raises(TemporaryError):
                remote.head("a.tar")
    finally:
        port = str(running.endpoint_url).rpartition(":")[2]
        sockets = _sockets(port)
        server.stop("killed", state_dir=tmp_path)
    assert sockets
    assert not sockets & _sockets(port), "they are removed"


def _sockets(port: str) -> set[tuple[str, int, int]]:
    """Those of a SeaweedFS; when it has ended another one may take port and names."""
    found = set()
    for path in Path("/tmp").glob(f"seaweedfs-*{port}.sock"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            found.add((path.name, status.st_ino, status.st_ctime_ns))
    return found
