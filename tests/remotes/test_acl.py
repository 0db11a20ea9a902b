"""An ACL is sent only to servers that take it for what it is."""

from __future__ import annotations

import pytest

from dsmanager.errors import CredentialsError
from dsmanager.remotes.remote import Remote


def test_a_server_that_takes_an_acl_for_an_upload_does_not_empty_the_object(rclone):
    """``rclone serve s3`` writes nothing over the object when it is sent ``PUT ?acl``."""
    with Remote(rclone.config()) as remote:
        before = remote.upload_bytes(b"precious", "archive")
        with pytest.raises(CredentialsError):
            remote.make_public("archive")
        assert remote.read_bytes("archive", max_bytes=100) == b"precious"
        assert remote.head("archive").etag == before.etag
        assert remote.takes_acls() is False
        assert [each.name for each in remote.list()] == ["archive"]


def test_seaweedfs_takes_acls(seaweedfs):
    with Remote(seaweedfs.config()) as remote:
        assert remote.takes_acls() is True
        assert remote.list() == []
