"""``--public`` is true only when a request without credentials sees the object."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import CredentialsError, DsmanagerError
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig


def allow_everybody(remote: Remote) -> None:
    """Lets anybody read below the remote's prefix."""
    resource = f"arn:aws:s3:::{remote.config.bucket}/{remote.key_of('*')}"
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": resource,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    remote.clients.control.put_bucket_policy(Bucket=remote.config.bucket, Policy=policy)


def test_an_upload_is_private(remote: Remote) -> None:
    remote.upload_bytes(b"x", "a.json")
    assert not remote.is_public("a.json")


def test_an_acl_that_is_taken_and_ignored_is_8(remote: Remote) -> None:
    with pytest.raises(CredentialsError, match="uploaded, but not public") as caught:
        remote.upload_bytes(b"x", "a.json", public=True)
    assert "s3:GetObject" in (caught.value.hint or "")
    assert f"{remote.config.prefix}/*" in (caught.value.hint or "")
    assert remote.head("a.json") is not None


def test_public_holds_where_a_policy_lets_everybody_read(remote: Remote, tmp_path: Path) -> None:
    import hashlib

    allow_everybody(remote)
    content = os.urandom(17 << 20)
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    remote.upload_file(
        path,
        "a.tar",
        size=len(content),
        sha256=sha256,
        public=True,
        progress=Progress(),
        cancel=CancelToken(),
    )
    assert remote.is_public("a.tar")
    config = remote.config
    everybody = RemoteConfig("e", config.url, endpoint_url=config.endpoint_url, anonymous=True)
    with Remote(everybody) as reader:
        obj = reader.head("a.tar")
        assert obj is not None
        got = reader.download_file(obj, tmp_path / "got", progress=Progress(), cancel=CancelToken())
        assert got == sha256
        with pytest.raises(CredentialsError):
            reader.upload_bytes(b"x", "b.json")


def test_equal_content_becomes_public_without_being_sent_again(remote: Remote) -> None:
    remote.upload_bytes(b"x", "a.json")
    allow_everybody(remote)
    remote.upload_bytes(b"x", "a.json", overwrite=False, public=True)
    remote.make_public("a.json")


def bucket_without_acls(answer: Any, *, readable: bool) -> Any:
    """As a new AWS bucket: refuses every ACL; ``readable`` says whether a policy opens it."""
    stored: dict[str, str] = {}

    def script(request: Any) -> Any:
        if request.method == "HEAD":
            if not request.signed and not readable:
                return answer(403)
            return answer(200, headers=stored | {"Content-Length": "1"}) if stored else answer(404)
        if "x-amz-acl" in request.headers:
            return answer(400, b"<Error><Code>AccessControlListNotSupported</Code></Error>")
        stored.update({"ETag": '"e"', "x-amz-meta-sha256": request.headers["x-amz-meta-sha256"]})
        return answer(200, headers={"ETag": '"e"'})

    return script


def test_a_bucket_that_refuses_acls_is_tried_without(scripted: Any, answer: Any) -> None:
    scripted.script = bucket_without_acls(answer, readable=True)
    with Remote(scripted.config()) as remote:
        remote.upload_bytes(b"x", "a.json", public=True)
    puts = ["x-amz-acl" in request.headers for request in scripted.requests if request.body]
    assert puts == [True, False]


def test_a_bucket_that_refuses_acls_and_is_private_is_8(scripted: Any, answer: Any) -> None:
    scripted.script = bucket_without_acls(answer, readable=False)
    with Remote(scripted.config()) as remote, pytest.raises(DsmanagerError) as caught:
        remote.upload_bytes(b"x", "a.json", public=True)
    assert caught.value.exit_code == 8
    assert "not public" in caught.value.message


def test_an_upload_that_is_not_public_asks_for_no_acl(scripted: Any, answer: Any) -> None:
    scripted.script = bucket_without_acls(answer, readable=False)
    with Remote(scripted.config()) as remote:
        remote.upload_bytes(b"x", "a.json")
    assert not any("x-amz-acl" in request.headers for request in scripted.requests)
