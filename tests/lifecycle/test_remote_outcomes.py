"""What each failure of a remote ends in: exit code, one clear line, nothing lost."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from dsmanager.remotes import server
from dsmanager.remotes.remote import Remote

ARCHIVE = "tiny__1.0.0__cache.tar.gz"


@pytest.fixture
def published(built_machine, remote_config):
    """A machine with ``tiny`` built, cached, recorded and on the remote."""
    built_machine.use(remote_config)
    built_machine.library.publish("tiny")
    return built_machine


def test_wrong_keys_are_credentials(published, remote_config, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"access_key": "nobody", "secret_key": "guess"}))
    published.use(dataclasses.replace(remote_config, credentials_file=wrong))
    for verb in (["upload", "tiny"], ["download", "tiny:1.0.0"]):
        assert "nobody" not in published.run(*verb, code=8).stderr
    listed = published.json("list")
    assert listed["status"] == "partial"
    assert listed["errors"][0]["code"] == "credentials"
    assert listed["data"][0]["built"] is not None


def test_no_such_bucket_and_no_such_object_are_not_found(published, remote_config):
    published.run("download", "nothing", code=6)
    published.use(dataclasses.replace(remote_config, url="s3://no-such-bucket/x"))
    assert "no-such-bucket" in published.run("upload", "tiny", code=6).stderr


def test_a_stopped_server_is_temporary(built_machine, tmp_path):
    state_dir = tmp_path / "server"
    running = server.start("mine", state_dir=state_dir)
    server.stop("mine", state_dir=state_dir)
    built_machine.extra |= {
        "DSMANAGER_REMOTE": f"s3://{running.bucket}/x",
        "AWS_ENDPOINT_URL": str(running.endpoint_url),
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }
    built_machine.run("package", "tiny")
    refused = built_machine.run("upload", "tiny", code=5)
    assert str(running.endpoint_url) in refused.stderr
    assert built_machine.json("list")["status"] == "partial"


def test_the_environment_alone_is_enough(built_machine, seaweedfs):
    built_machine.extra |= {**seaweedfs.environment(), "DSMANAGER_REMOTE": "s3://datasets/env"}
    built_machine.run("package", "tiny")
    built_machine.run("upload", "tiny")
    assert built_machine.row("tiny:1.0.0")["remote"]["url"] == f"s3://datasets/env/{ARCHIVE}"


def test_different_content_is_refused_until_overwrite_says_so(published, remote_config):
    remote = Remote(remote_config)
    before = remote.head(ARCHIVE)
    (published.data_dir / "tiny/1.0.0/README.txt").write_text("other")
    published.run("package", "tiny", "--overwrite")
    refused = published.run("upload", "tiny", code=7)
    assert "--overwrite" in refused.stderr
    assert remote.head(ARCHIVE) == before
    assert published.row("tiny:1.0.0")["state"] == "differs"
    published.run("upload", "tiny", "--overwrite")
    assert published.row("tiny:1.0.0")["state"] == "ok"
    published.run("verify", "tiny", "--in", "remote")


def test_identical_content_is_not_sent_again(published, remote_config):
    remote = Remote(remote_config)
    before = remote.head(ARCHIVE)
    assert published.json("upload", "tiny")["data"][0]["outcome"] == "unchanged"
    after = remote.head(ARCHIVE)
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)


def test_a_flipped_byte_in_the_cache_is_found_and_nothing_is_extracted(published):
    shutil.rmtree(published.data_dir / "tiny")
    _flip(published.cache / ARCHIVE)
    published.run("verify", "tiny", code=4)
    published.run("extract", "tiny", code=4)
    assert not (published.data_dir / "tiny").exists()
    assert published.row("tiny:1.0.0")["state"] == "damaged"
    published.run("upload", "tiny", "--overwrite", code=4)
    assert published.leftovers() == []


def test_a_flipped_byte_on_the_remote_is_found_and_nothing_stays_in_the_cache(
    published, other_machine, remote_config
):
    archive = published.cache / ARCHIVE
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    metadata_sha256 = json.loads((published.cache / f"{ARCHIVE}.json").read_text())["sha256"]
    _put(remote_config, bytes(content), metadata_sha256)
    other_machine.use(remote_config)
    other_machine.run("download", "tiny", "--extract", code=4)
    assert list(other_machine.cache.iterdir()) == []
    assert not (other_machine.data_dir / "tiny").exists()
    published.run("verify", "tiny", "--in", "remote", code=4)


def test_a_download_needs_one_record_and_no_manifest(published, other_machine, remote_config):
    """Sidecar and metadata suffice; with neither nothing can be verified."""
    other_machine.use(remote_config)
    other_machine.run("download", "tiny")
    shutil.rmtree(other_machine.cache)
    _put(remote_config, (published.cache / ARCHIVE).read_bytes(), None)
    Remote(remote_config).delete(f"{ARCHIVE}.json")
    other_machine.run("download", "tiny", code=6)
    assert other_machine.json("download", "tiny", "--no-verify")["data"][0]["verified"] is False


def test_an_upload_is_private_unless_public_was_said(published, remote_config):
    assert Remote(remote_config).is_public(ARCHIVE) is False


def test_public_fails_clearly_where_an_unsigned_request_sees_nothing(published):
    """SeaweedFS answers 200 to the ACL and keeps the object private."""
    refused = published.run("upload", "tiny", "--public", code=8)
    assert "polic" in refused.stderr


def _flip(path) -> None:
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def _put(config, content: bytes, sha256: str | None) -> None:
    """Replaces the archive on the server with other means than dsmanager's."""
    import boto3

    keys = json.loads(config.credentials_file.read_text())
    client = boto3.client(
        "s3",
        endpoint_url=config.endpoint_url,
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        region_name="us-east-1",
    )
    key = f"{config.prefix}/{ARCHIVE}"
    metadata = {"sha256": sha256} if sha256 else {}
    client.put_object(Bucket=config.bucket, Key=key, Body=content, Metadata=metadata)
    client.close()
