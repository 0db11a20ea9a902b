"""Multipart uploads that nobody has finished: their parts take space that no listing shows.

Finds and aborts them; which of them are nobody's is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dsmanager.remotes.clock import answered_at
from dsmanager.remotes.failures import error_code, http_status, translated

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["PendingUpload", "abort_upload", "parts_size_bytes", "pending_uploads"]

_NOT_LISTED = (404, 405, 501)
"""How stores answer that cannot list them, such as rclone's."""


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """One unfinished upload directly below the remote's prefix."""

    name: str
    upload_id: str
    age_s: float | None
    """By the server's clock; None where it does not say when the upload began."""


def pending_uploads(remote: Remote) -> list[PendingUpload]:
    """All of them, sorted by name; none where the server cannot list them."""
    prefix = remote.key_of("")
    with translated(remote.config, remote.config.url):
        try:
            return sorted(_listed(remote, prefix), key=lambda each: (each.name, each.upload_id))
        except ClientError as error:
            if http_status(error) in _NOT_LISTED and error_code(error) != "NoSuchBucket":
                return []
            raise


def _listed(remote: Remote, prefix: str) -> Iterator[PendingUpload]:
    pages = remote.clients.control.get_paginator("list_multipart_uploads").paginate(
        Bucket=remote.config.bucket, Prefix=prefix
    )
    for page in pages:
        now = answered_at(page) or datetime.now(UTC)
        for entry in page.get("Uploads", ()):
            name = entry["Key"].removeprefix(prefix)
            if "/" not in name:
                yield PendingUpload(name, entry["UploadId"], _age_s(entry, now))


def _age_s(entry: Any, now: datetime) -> float | None:
    began = entry.get("Initiated")
    return None if began is None else (now - began.astimezone(UTC)).total_seconds()


def parts_size_bytes(remote: Remote, upload: PendingUpload) -> int:
    """Bytes of the parts that were sent; 0 when it is gone meanwhile."""
    total = 0
    with translated(remote.config, remote.url_of(upload.name)):
        try:
            pages = remote.clients.control.get_paginator("list_parts").paginate(
                **_target(remote, upload)
            )
            for page in pages:
                total += sum(part.get("Size", 0) for part in page.get("Parts", ()))
        except ClientError as error:
            if http_status(error) != 404:
                raise
    return total


def abort_upload(remote: Remote, upload: PendingUpload) -> None:
    """Ends it and frees its parts; no error when it is gone already."""
    with translated(remote.config, remote.url_of(upload.name)):
        try:
            remote.clients.control.abort_multipart_upload(**_target(remote, upload))
        except ClientError as error:
            if http_status(error) != 404:
                raise


def _target(remote: Remote, upload: PendingUpload) -> dict[str, Any]:
    key = remote.key_of(upload.name)
    return {"Bucket": remote.config.bucket, "Key": key, "UploadId": upload.upload_id}
