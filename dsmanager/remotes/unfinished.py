"""Multipart uploads that nobody has completed: which there are on the server, and ending them.

No listing of objects shows them, and most stores charge for their parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dsmanager.remotes.bounds import bounded_pages
from dsmanager.remotes.failures import error_code, http_status
from dsmanager.remotes.objects import iso_time

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

__all__ = ["UnfinishedUpload", "abort_upload", "list_uploads"]


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """One multipart upload below the prefix of a remote."""

    name: str
    """The key below the prefix that the object would get."""
    upload_id: str
    initiated: str
    """ISO 8601 in UTC, to the second; empty where the server does not say."""


def list_uploads(client: S3Client, bucket: str, prefix: str) -> tuple[UnfinishedUpload, ...]:
    """The uploads directly below ``prefix``, oldest first."""
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    found = [
        UnfinishedUpload(name, entry["UploadId"], iso_time(entry.get("Initiated")))
        for page in bounded_pages(pages, entries="Uploads", key="UploadId")
        for entry in page.get("Uploads", ())
        if (name := _name_below(prefix, entry["Key"]))
    ]
    return tuple(sorted(found, key=lambda each: (each.initiated, each.name, each.upload_id)))


def abort_upload(client: S3Client, place: dict[str, Any], upload_id: str) -> None:
    """Ends an upload and frees its parts; no error when it has ended already."""
    try:
        client.abort_multipart_upload(**place, UploadId=upload_id)
    except ClientError as error:
        if error_code(error) != "NoSuchUpload" and http_status(error) != 404:
            raise


def _name_below(prefix: str, key: str) -> str:
    """The name directly below ``prefix``; empty for keys elsewhere: some servers list them all."""
    name = key.removeprefix(prefix) if key.startswith(prefix) else ""
    return "" if "/" in name else name
