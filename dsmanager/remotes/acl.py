"""Whether a server takes ACLs for what they are.

Some do not know ``PUT ?acl`` and take it for an upload of nothing: the object is empty afterwards
(``rclone serve s3``). So it is tried on an object of our own before it is sent to anybody's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

__all__ = ["takes_acls"]

_CONTENT = b"dsmanager: does this server take ACLs?\n"


def takes_acls(client: S3Client, bucket: str, key_of: Callable[[str], str]) -> bool:
    """Writes a small object, sends it an ACL, looks at it again, and removes it.

    ``key_of`` gives the key of a name. Raises botocore's errors when it cannot be written.
    """
    key = key_of(f".dsmanager-acl-{secrets.token_hex(6)}")
    try:
        client.put_object(Bucket=bucket, Key=key, Body=_CONTENT, ContentType="text/plain")
        before = client.head_object(Bucket=bucket, Key=key)
        try:
            client.put_object_acl(Bucket=bucket, Key=key, ACL="private")
            after = client.head_object(Bucket=bucket, Key=key)
        except ClientError:
            return False
        stood = before["ContentLength"], before["ETag"]
        return (after["ContentLength"], after["ETag"]) == stood
    finally:
        with suppress(ClientError, BotoCoreError):
            client.delete_object(Bucket=bucket, Key=key)
