"""Whether a server takes ACLs for what they are.

Some do not know ``PUT ?acl`` and take it for an upload of nothing: the object is empty afterwards
(``rclone serve s3``). So it is tried on an object of our own before it is sent to anybody's.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dsmanager.errors import DsmanagerError

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["takes_acls"]

_CONTENT = b"dsmanager: does this server take ACLs?\n"


def takes_acls(remote: Remote) -> bool:
    """Writes a small object, sends it an ACL, looks at it again, and removes it."""
    probe = f".dsmanager-acl-{secrets.token_hex(6)}"
    try:
        before = remote.upload_bytes(_CONTENT, probe, content_type="text/plain")
        try:
            remote.clients.control.put_object_acl(
                Bucket=remote.config.bucket, Key=remote.key_of(probe), ACL="private"
            )
        except ClientError:
            return False
        after = remote.head(probe)
        return after is not None and (after.size, after.etag) == (before.size, before.etag)
    finally:
        with suppress(DsmanagerError):
            remote.delete(probe)
