"""Where credentials come from, in which order, and what is said when there are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import CredentialsError
from dsmanager.remotes.client import Access, Clients
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig

LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


def key_used(scripted: Any, config: RemoteConfig) -> str | None:
    """The access key that signs a listing, or None when it is not signed."""
    with Remote(config) as remote:
        remote.list()
    authorization = scripted.requests[-1].headers.get("authorization")
    return authorization.split("Credential=")[1].split("/")[0] if authorization else None


@pytest.fixture(autouse=True)
def _listing(scripted: Any, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.script = lambda request: answer(200, LISTING)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def set_armory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARMORY_PRIVATE_S3_ID", "ARMORYKEY")
    monkeypatch.setenv("ARMORY_PRIVATE_S3_KEY", "armory-secret")


def test_the_environment_comes_before_armory(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_armory(monkeypatch)
    assert key_used(scripted, scripted.config()) == "ARMORYKEY"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    assert key_used(scripted, scripted.config()) == "ENVKEY"
    assert key_used(scripted, scripted.config(anonymous=True)) is None


def test_a_profile_is_used_by_name(
    scripted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "[team]\naws_access_key_id = TEAMKEY\naws_secret_access_key = s\n"
    (tmp_path / "credentials").write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert key_used(scripted, scripted.config(profile="team")) == "TEAMKEY"
    with (
        Remote(scripted.config(profile="other")) as remote,
        pytest.raises(CredentialsError, match="other"),
    ):
        remote.list()


def test_without_any_credentials_reading_is_tried_unsigned(scripted: Any) -> None:
    assert key_used(scripted, scripted.config()) is None


def test_without_any_credentials_a_refusal_says_what_to_set(scripted: Any) -> None:
    scripted.refuse("AccessDenied", 403)
    with Remote(scripted.config()) as remote:
        for verb in (remote.list, lambda: remote.head("a"), lambda: remote.upload_bytes(b"", "a")):
            with pytest.raises(CredentialsError, match="no credentials for s3://bkt/p") as caught:
                verb()
            assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")
    assert not any(request.method == "PUT" for request in scripted.requests)


def test_half_a_pair_is_said_to_be_one(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    with Remote(scripted.config()) as remote, pytest.raises(CredentialsError):
        remote.list()


def test_the_server_credentials_file_is_read_and_missed(scripted: Any, tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    config = scripted.config(credentials_file=path)
    with Remote(config) as remote, pytest.raises(CredentialsError, match="cannot be read"):
        remote.list()
    path.write_text(json.dumps({"access_key": "FILEKEY", "secret_key": "s"}))
    assert key_used(scripted, config) == "FILEKEY"


def test_the_endpoint_of_the_environment_counts_for_a_bare_url_only(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = scripted.config().endpoint_url
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    bare = RemoteConfig("s3://bkt/p", "s3://bkt/p")
    assert key_used(scripted, bare) is None
    assert Clients(RemoteConfig("team", "s3://bkt/p")).endpoint_url is None
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert Clients(bare).endpoint_url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("endpoint_url", "checksums", "style", "signs_payload"),
    [
        (None, "when_supported", "auto", False),
        ("https://s3.eu-west-1.amazonaws.com", "when_supported", "auto", False),
        ("https://minio.example:9000", "when_required", "path", False),
        ("http://127.0.0.1:9000", "when_required", "path", False),
        ("http://minio.example:9000", "when_required", "path", True),
    ],
)
def test_every_endpoint_gets_the_configuration_it_needs(
    endpoint_url: str | None, checksums: str, style: str, signs_payload: bool
) -> None:
    clients = Clients(RemoteConfig("team", "s3://bkt/p", endpoint_url=endpoint_url))
    config: Any = clients.upload.meta.config
    assert config.request_checksum_calculation == checksums
    assert config.response_checksum_validation == checksums
    assert config.s3["addressing_style"] == style
    assert config.s3["payload_signing_enabled"] is signs_payload
    assert clients.access is Access.NONE
    clients.close()


def test_importing_the_package_loads_no_botocore() -> None:
    script = (
        "import sys, dsmanager.remotes, dsmanager.remotes.server; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'boto3', 'botocore'}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
