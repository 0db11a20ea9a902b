"""How much an unfinished upload holds: the bytes of the parts that were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dsmanager.remotes.failures import http_status, translated

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote
    from dsmanager.remotes.unfinished import UnfinishedUpload

__all__ = ["parts_size_bytes"]


def parts_size_bytes(remote: Remote, upload: UnfinishedUpload) -> int:
    """One request for each 1,000 parts; 0 when the upload has ended meanwhile."""
    pages = remote.clients.control.get_paginator("list_parts").paginate(
        Bucket=remote.config.bucket, Key=remote.key_of(upload.name), UploadId=upload.upload_id
    )
    with translated(remote.config, remote.url_of(upload.name)):
        try:
            return sum(part.get("Size", 0) for page in pages for part in page.get("Parts", ()))
        except ClientError as error:
            if http_status(error) == 404:
                return 0
            raise
