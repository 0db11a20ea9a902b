"""What is known about one object in a remote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dsmanager.errors import TemporaryError
from dsmanager.hashing import is_sha256

__all__ = [
    "SHA256_KEY",
    "ObjectChangedError",
    "RemoteObject",
    "bare_etag",
    "iso_time",
    "moment_of",
    "recorded_sha256",
]

_LISTED_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

_MAX_SIZE_DIGITS = 18  # an exabyte; S3 stores 5 TB at most

SHA256_KEY = "sha256"
"""The key of the object metadata that holds the sha256 of the whole object."""


class ObjectChangedError(TemporaryError):
    """Somebody replaced the object: nothing that has arrived of it is of any use."""


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """One object below the remote's prefix."""

    name: str
    """The key below the prefix."""
    size: int
    etag: str
    """Changes whenever the content does. Without the quotes, which some listings leave out."""
    last_modified: str
    """ISO 8601 in UTC, to the second."""
    sha256: str | None = None
    """From the object's metadata; None in listings, which carry none, and where there is none."""

    @classmethod
    def from_head(cls, name: str, answer: Mapping[str, Any]) -> RemoteObject:
        """Of an answer to HEAD or GET."""
        return cls(
            name=name,
            size=int(answer["ContentLength"]),
            etag=bare_etag(answer.get("ETag")),
            last_modified=iso_time(answer.get("LastModified")),
            sha256=recorded_sha256(answer),
        )

    @classmethod
    def from_listing(cls, name: str, entry: Mapping[str, Any]) -> RemoteObject:
        """Of one entry of a listing, all of them texts."""
        return cls(
            name=name,
            size=_size_of(entry.get("Size", "0")),
            etag=bare_etag(entry.get("ETag")),
            last_modified=_iso_time_of(entry.get("LastModified", "")),
        )

    def holds(self, size: int, sha256: str) -> bool:
        """Whether size and metadata say that this is the content meant."""
        return self.size == size and self.sha256 == sha256


def _size_of(text: str) -> int:
    """A count of bytes in decimal. Raises ValueError for what is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_SIZE_DIGITS):
        raise ValueError("no size of an object")
    return int(text)


def recorded_sha256(answer: Mapping[str, Any]) -> str | None:
    """The sha256 in the object metadata of an answer to HEAD or GET."""
    # Header names have no case: some servers answer with "Sha256".
    metadata = {key.lower(): value for key, value in answer.get("Metadata", {}).items()}
    sha256 = metadata.get(SHA256_KEY)
    return sha256 if is_sha256(sha256) else None


def bare_etag(etag: str | None) -> str:
    """An ETag without its quotes."""
    return (etag or "").strip('"')


def iso_time(moment: datetime | None) -> str:
    """ISO 8601 in UTC, to the second; empty for None."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(value: Any) -> datetime:
    """A point in time as servers send it, in UTC. Raises ValueError for what is none."""
    from botocore.utils import parse_timestamp

    try:
        moment: datetime = parse_timestamp(value)
        return moment.astimezone(UTC)
    except (OverflowError, RuntimeError) as error:
        raise ValueError("no point in time") from error


def _iso_time_of(text: str) -> str:
    """The same of what a listing says, which is ISO 8601 in UTC with a fraction."""
    if _LISTED_TIME.fullmatch(text):
        return f"{text[:19]}Z"
    if not text:
        return ""
    return iso_time(moment_of(text))
