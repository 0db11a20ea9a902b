"""Small objects that several machines write: compare-and-swap on the ETag.

A write says what it was made from, and the server refuses it when somebody else was faster.
Nothing here merges or retries: whoever writes reads again. Servers that ignore the conditions are
told apart by trying (:func:`refuses_to_replace`, :func:`refuses_stale_writes`), never by name.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dsmanager.errors import DsmanagerError, TemporaryError
from dsmanager.remotes.client import Access, no_credentials
from dsmanager.remotes.failures import error_code, http_status, translated
from dsmanager.remotes.objects import SHA256_KEY
from dsmanager.remotes.small import read_small

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = [
    "PROBE_PREFIX",
    "ChangedError",
    "VersionedBytes",
    "honours_conditions",
    "read_versioned",
    "refuses_stale_writes",
    "refuses_to_replace",
    "write_versioned",
]

PROBE_PREFIX = ".dsmanager-check-"
"""How the names of objects start that are written to try a server out, and removed again."""

_NEVER_AN_ETAG = '"00000000000000000000000000000000"'
_LOST = (409, 412)
_UNKNOWN = (400, 405, 501)


class ChangedError(TemporaryError):
    """Somebody else wrote the object since it was read: read it again."""


@dataclass(frozen=True, slots=True)
class VersionedBytes:
    """The content of an object and the ETag, as the server spells it, that it had."""

    content: bytes
    etag: str


def read_versioned(remote: Remote, name: str, *, max_bytes: int) -> VersionedBytes | None:
    """The content of a small object; None when it does not exist.

    Raises VerificationError when it is larger than ``max_bytes`` or not what its metadata says.
    """
    found = read_small(
        remote.clients.control, remote.config, remote.key_of(name), max_bytes=max_bytes
    )
    return VersionedBytes(*found) if found is not None else None


def write_versioned(remote: Remote, name: str, content: bytes, *, etag: str | None) -> str:
    """Writes ``content`` where the object is still the one with ``etag``; None: where none is.

    Returns the new ETag. Raises ChangedError when it is another one. An answer that gets lost shows
    as ChangedError, too: the next look finds the content there.
    """
    if remote.clients.access is Access.NONE:
        raise no_credentials(remote.config)
    condition: dict[str, Any] = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    with translated(remote.config, remote.url_of(name)):
        try:
            answer = remote.clients.control.put_object(
                **_place(remote, name),
                Body=content,
                ContentType="application/json",
                Metadata={SHA256_KEY: hashlib.sha256(content).hexdigest()},
                **condition,
            )
        except ClientError as error:
            gone = etag is not None and error_code(error) == "NoSuchKey"
            if gone or http_status(error) in _LOST:
                raise ChangedError(
                    f"{remote.url_of(name)} was changed by somebody else meanwhile",
                    hint="try again: dsmanager manifest push",
                ) from error
            raise
    return answer["ETag"]


def honours_conditions(remote: Remote) -> bool:
    """Whether compare-and-swap works there: tried on an object of its own, which is removed."""
    name = f"{PROBE_PREFIX}{secrets.token_hex(6)}"
    remote.upload_bytes(b"{}", name)
    try:
        return refuses_to_replace(remote, name) and refuses_stale_writes(remote, name)
    finally:
        with suppress(DsmanagerError):
            remote.delete(name)


def refuses_to_replace(remote: Remote, name: str) -> bool:
    """Whether ``If-None-Match: *`` keeps the existing object ``name`` as it is."""
    return not _accepts(remote, name, IfNoneMatch="*")


def refuses_stale_writes(remote: Remote, name: str) -> bool:
    """Whether ``If-Match`` lets the right ETag of the existing object ``name`` pass, alone."""
    if _accepts(remote, name, IfMatch=_NEVER_AN_ETAG):
        return False
    with translated(remote.config, remote.url_of(name)):
        etag = remote.clients.control.head_object(**_place(remote, name))["ETag"]
    return _accepts(remote, name, IfMatch=etag)


def _accepts(remote: Remote, name: str, **condition: Any) -> bool:
    """Whether a write under ``condition`` passes. One that the server does not know counts so:
    nothing can be built on it.
    """
    with translated(remote.config, remote.url_of(name)):
        try:
            remote.clients.control.put_object(**_place(remote, name), Body=b"{}", **condition)
        except ClientError as error:
            if http_status(error) in _LOST:
                return False
            if http_status(error) in _UNKNOWN:
                return True
            raise
    return True


def _place(remote: Remote, name: str) -> dict[str, Any]:
    return {"Bucket": remote.config.bucket, "Key": remote.key_of(name)}
