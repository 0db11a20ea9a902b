"""Listings and HEAD without botocore say what it says, or leave it to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    NotFoundError,
    TemporaryError,
    UsageError,
)
from dsmanager.remotes.quick import QuickRemote
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig

NAMES = ("a.tar.gz", "a b+c%41.tar.gz", "ä-日本.tar.gz", "z&<y>'\".json", "~._-=,;:@!$()*.tar")
PAGE = (
    b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/a.tar.gz</Key>"
    b'<Size>7</Size><ETag>"e"</ETag></Contents></ListBucketResult>'
)


@pytest.fixture
def quick_on() -> Iterator[Callable[..., QuickRemote]]:
    """Makes those that are closed at the end."""
    with ExitStack() as stack:
        yield lambda config, connect: stack.enter_context(QuickRemote(config, connect))


def nobody() -> NoReturn:
    raise AssertionError("botocore was asked")


class BotocoreAskedError(Exception):
    """Botocore was."""


def somebody() -> NoReturn:
    raise BotocoreAskedError


def test_it_says_what_botocore_says(quick_on: Any, store: Remote) -> None:
    for number, name in enumerate(NAMES):
        store.upload_bytes(b"x" * number, name)
    store.upload_bytes(b"x", "folder/below.tar.gz")
    quick = quick_on(store.config, nobody)
    assert quick.list() == store.list()
    assert {each.name for each in quick.list()} == set(NAMES)
    assert quick.heads([*NAMES, "absent"]) == store.heads([*NAMES, "absent"])
    assert quick.heads(NAMES)["a.tar.gz"].sha256 is not None


def test_an_empty_prefix_is_empty(quick_on: Any, store: Remote) -> None:
    assert quick_on(store.config, nobody).list() == []


def test_the_root_of_a_bucket_is_listed(quick_on: Any, seaweedfs: Any) -> None:
    config = replace(seaweedfs.config(), url=f"s3://{seaweedfs.bucket}/")
    with Remote(config) as remote:
        remote.upload_bytes(b"x", "at-the-root.tar.gz")
        quick = quick_on(config, nobody)
        assert "at-the-root.tar.gz" in {each.name for each in quick.list()}
        assert quick.heads(["at-the-root.tar.gz"]) == remote.heads(["at-the-root.tar.gz"])


@pytest.mark.parametrize("server", ["seaweedfs", "rclone"])
def test_keys_of_the_environment_are_taken(
    quick_on: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    running = request.getfixturevalue(server)
    for key, value in running.environment().items():
        monkeypatch.setenv(key, value)
    bare = RemoteConfig(name=f"s3://{running.bucket}/none", url=f"s3://{running.bucket}/none")
    assert quick_on(bare, nobody).list() == []


def test_what_is_wrong_is_said_by_botocore(
    quick_on: Any, seaweedfs: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = seaweedfs.config()
    wrong = tmp_path / "keys.json"
    wrong.write_text('{"access_key": "WRONG", "secret_key": "WRONG"}')
    cases: list[tuple[RemoteConfig, type[DsmanagerError]]] = [
        (replace(config, credentials_file=wrong), CredentialsError),
        (replace(config, credentials_file=tmp_path / "absent.json"), CredentialsError),
        (replace(config, url="s3://no-such-bucket/p"), NotFoundError),
        (replace(config, endpoint_url="http://127.0.0.1:9"), TemporaryError),
    ]
    for each, error in cases:
        with Remote(each) as remote, pytest.raises(error) as expected:
            remote.list()
        with pytest.raises(error) as caught:
            quick_on(each, lambda each=each: Remote(each)).list()
        assert caught.value.message == expected.value.message


@pytest.mark.parametrize(
    ("settings", "environ"),
    [
        ({"endpoint_url": None}, {}),
        ({"endpoint_url": "https://127.0.0.1:9"}, {}),
        ({"endpoint_url": "http://127.0.0.1:9/path"}, {}),
        ({"endpoint_url": "http://user:word@127.0.0.1:9"}, {}),
        ({"endpoint_url": "http://s3.eu-west-1.amazonaws.com"}, {}),
        ({"profile": "team"}, {}),
        ({}, {"AWS_PROFILE": "team"}),
        ({}, {"http_proxy": "http://127.0.0.1:9"}),
        ({}, {"AWS_ACCESS_KEY_ID": ""}),
        ({}, {"AWS_SECRET_ACCESS_KEY": ""}),
    ],
)
def test_what_is_not_plain_is_not_even_tried(
    quick_on: Any,
    scripted: Any,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    environ: dict[str, str],
) -> None:
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    quick = quick_on(replace(scripted.config(), **settings), somebody)
    with pytest.raises(BotocoreAskedError):
        quick.list()
    with pytest.raises(BotocoreAskedError):
        quick.heads(["a.tar.gz"])
    assert scripted.requests == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (403, b"<Error><Code>AccessDenied</Code></Error>"),
        (307, b""),
        (204, b""),
        (200, b""),
        (200, b"<html>log in</html>"),
        (200, PAGE[:-9]),
        (200, PAGE.replace(b"<IsTruncated>false</IsTruncated>", b"")),
        (200, PAGE.replace(b"false", b"true")),
        (200, PAGE.replace(b"<Key>p/a.tar.gz</Key>", b"")),
        (200, PAGE.replace(b"<Size>7</Size>", b"<Size>x</Size>")),
        (0, b""),
    ],
)
def test_another_answer_than_a_good_one_is_left_to_botocore(
    quick_on: Any, scripted: Any, answer: Any, status: int, body: bytes
) -> None:
    scripted.script = lambda request: answer(status, body, {"Location": "http://127.0.0.1:9/"})
    quick = quick_on(scripted.config(), somebody)
    with pytest.raises(BotocoreAskedError):
        quick.list()
    asked = len(scripted.requests)
    with pytest.raises(BotocoreAskedError):
        quick.heads(["a.tar.gz"])
    assert len(scripted.requests) == asked == 1, "once is enough to know"


@pytest.mark.parametrize(
    "headers", [{}, {"ETag": '"e"'}, {"ETag": '"e"', "Last-Modified": "never"}]
)
def test_a_head_that_lacks_something_is_left_to_botocore(
    quick_on: Any, scripted: Any, answer: Any, headers: dict[str, str]
) -> None:
    scripted.script = lambda request: answer(200, b"", headers)
    with pytest.raises(BotocoreAskedError):
        quick_on(scripted.config(), somebody).heads(["a.tar.gz"])


def test_every_page_is_read_and_one_that_comes_back_ends_it(
    quick_on: Any, scripted: Any, answer: Any
) -> None:
    def script(request: Any) -> Any:
        token = request.query.get("continuation-token", "0")
        more = b"true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>"
        page = PAGE.replace(b"a.tar", f"a{token}.tar".encode())
        following = {"0": 1, "1": 2, "2": None}[token] if not endless else 7
        if following is not None:
            page = page.replace(b"false</IsTruncated>", more % following)
        return answer(200, page)

    endless = False
    scripted.script = script
    quick = quick_on(scripted.config(), nobody)
    assert [each.name for each in quick.list()] == ["a0.tar.gz", "a1.tar.gz", "a2.tar.gz"]
    endless = True
    scripted.script = lambda request: script(
        replace(request, query={**request.query, "continuation-token": "0"})
        if "continuation-token" not in request.query
        else request
    )
    with pytest.raises(BotocoreAskedError):
        quick_on(scripted.config(), somebody).list()


def test_a_token_is_sent_and_signed_and_the_anonymous_send_nothing(
    quick_on: Any, scripted: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "TOKEN")
    scripted.script = lambda request: answer(200, PAGE)
    quick_on(scripted.config(), nobody).list()
    quick_on(scripted.config(anonymous=True), nobody).list()
    signed, anonymous = scripted.requests
    assert signed.headers["x-amz-security-token"] == "TOKEN"
    assert "x-amz-security-token," in signed.headers["authorization"]
    assert not anonymous.signed
    assert not [name for name in anonymous.headers if name.startswith("x-amz")]


def test_the_signature_is_botocores(
    quick_on: Any, scripted: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every request, with all that has to be quoted; botocore signs again what was sent."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    monkeypatch.setenv("AWS_SESSION_TOKEN", "TOKEN")
    scripted.script = lambda request: answer(200, PAGE)
    config = scripted.config(region="eu-west-1")
    quick = quick_on(replace(config, url="s3://bkt/a b+ä/~p"), lambda: Remote(config))
    quick.list()
    (sent,) = scripted.requests
    signer = S3SigV4Auth(Credentials("AKIDTEST", "SECRETTEST", "TOKEN"), "s3", "eu-west-1")
    again = AWSRequest("GET", f"{config.endpoint_url}{sent.path}", params=sent.query)
    again.headers["X-Amz-Content-SHA256"] = sent.headers["x-amz-content-sha256"]
    again.headers["X-Amz-Date"] = sent.headers["x-amz-date"]
    again.headers["X-Amz-Security-Token"] = "TOKEN"
    again.context["timestamp"] = sent.headers["x-amz-date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert sent.headers["authorization"].endswith(f"Signature={signer.signature(text, again)}")


def test_list_asks_a_plain_remote_without_botocore(seaweedfs: Any, tmp_path: Any) -> None:
    config = seaweedfs.config()
    with Remote(config) as remote:
        remote.upload_bytes(b"x", "digit__1.0.8__cache.tar.gz")
    program = (
        "import sys; from dsmanager.cli.main import main; "
        "assert main(['list']) == 0; assert 'botocore' not in sys.modules"
    )
    environment = {
        **os.environ,
        **seaweedfs.environment(),
        "DSMANAGER_REMOTE": config.url,
        "DSMANAGER_DATA_DIR": str(tmp_path / "data"),
        "DSMANAGER_STATE_DIR": str(tmp_path / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "digit:1.0.8" in done.stdout


def test_an_endpoint_that_is_no_url_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://[::1")
    config = RemoteConfig(name="s3://bkt/p", url="s3://bkt/p")
    with pytest.raises(UsageError, match=r"'http://\[::1' of s3://bkt/p is no URL"):
        QuickRemote(config, somebody)
    with Remote(config) as remote, pytest.raises(UsageError, match="is no URL"):
        remote.list()


def test_objects_that_are_new_are_asked_for_once_and_known_by_everyone_then(
    seaweedfs: Any, tmp_path: Any
) -> None:
    """Both ways of asking learn the same; what is known is not asked for again."""
    from dsmanager.library.memory import Memory
    from dsmanager.library.remote_listing import remote_archives
    from dsmanager.manifest import Manifest

    with Remote(seaweedfs.config()) as remote:
        remote.upload_bytes(b"x", "digit__1.0.8__cache.tar.gz")
        quick_memory, memory = Memory(tmp_path / "quick"), Memory(tmp_path / "remote")
        with QuickRemote(remote.config, nobody) as quick:
            (by_quick,) = remote_archives(quick, Manifest(), quick_memory).values()
        (by_remote,) = remote_archives(remote, Manifest(), memory).values()
    assert by_quick == by_remote
    assert by_quick.sha256 is not None
    assert quick_memory.objects() == memory.objects() != {}
