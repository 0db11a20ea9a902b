"""Objects of an AIStore cluster, ``ais://bucket/key``, through its S3 API or its own SDK.

The S3 API lies below ``<gateway>/s3`` and answers with redirects to the node that has the object:
they are followed. It takes no signature; where the cluster asks who one is, the token that
AIStore's tools read (``AIS_AUTHN_TOKEN``) is sent. The SDK is the extra ``ais``, imported only when
it is asked for. The gateway is given, or ``AIS_ENDPOINT`` names it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote

from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    NotFoundError,
    TemporaryError,
    UsageError,
)
from dsmanager.ingest.web import WebObject
from dsmanager.progress import CancelToken, Progress
from dsmanager.text import plain, redact

__all__ = ["VIAS", "chunks", "look"]

VIAS = ("s3", "sdk")
_CHUNK_BYTES = 1 << 20
_ENDPOINT, _TOKEN = "AIS_ENDPOINT", "AIS_AUTHN_TOKEN"


def look(
    url: str, access: Mapping[str, Any] | None, cancel: CancelToken
) -> tuple[int | None, str, Mapping[str, Any]]:
    """Size and version of the object, and how it is reached.

    Raises UsageError when nobody says where the cluster is, else as every look at a source.
    """
    access = dict(access or {})
    access.setdefault("endpoint", os.environ.get(_ENDPOINT, ""))
    access.setdefault("via", VIAS[0])
    if not access["endpoint"].startswith(("http://", "https://")):
        raise UsageError(
            "nobody says where the AIStore cluster is",
            hint="name its gateway: AIS_ENDPOINT=http://gateway:51080 dsmanager convert …",
        )
    if not url.removeprefix("ais://").partition("/")[2]:
        raise UsageError(
            f"{plain(url)} names no object",
            hint="for example: dsmanager convert 'ais://bucket/train-{0..7}.tar' OUT",
        )
    if access["via"] == "sdk":
        return *_sdk_look(url, access), access
    return *_web_object(url, access).look(cancel), access


def chunks(
    url: str, access: Mapping[str, Any], version: str, progress: Progress, cancel: CancelToken
) -> Generator[bytes]:
    """The content from front to back, added to ``progress``."""
    if access["via"] == "sdk":
        yield from _sdk_chunks(url, access, progress, cancel)
    else:
        yield from _web_object(url, access).chunks(version, progress, cancel)


def _web_object(url: str, access: Mapping[str, Any]) -> WebObject:
    place = quote(url.removeprefix("ais://"), safe="/-_.~")
    token = os.environ.get(_TOKEN)
    return WebObject(
        f"{access['endpoint'].rstrip('/')}/s3/{place}",
        shown=url,
        headers={"Authorization": f"Bearer {token}"} if token else None,
    )


def _sdk_object(url: str, access: Mapping[str, Any]) -> Any:
    try:
        from aistore.sdk import Client
        from aistore.sdk.retry_config import ColdGetConf, RetryConfig
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed
        from urllib3 import Retry
    except ImportError as error:
        raise DsmanagerError(
            "reading through AIStore's SDK needs the package aistore",
            hint="install it: pip install 'dsmanager[ais]'",
        ) from error
    # Its own policy asks for an object that is not there again for minutes.
    retries = RetryConfig(
        http_retry=Retry(total=3, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504]),
        network_retry=Retrying(
            retry=retry_if_exception_type(OSError),
            wait=wait_fixed(1),
            stop=stop_after_attempt(3),
            reraise=True,
        ),
        cold_get_conf=ColdGetConf(),
    )
    bucket, _, key = url.removeprefix("ais://").partition("/")
    client = Client(access["endpoint"], retry_config=retries, timeout=(5.0, 15.0))
    return client.bucket(bucket).object(key)


def _sdk_look(url: str, access: Mapping[str, Any]) -> tuple[int | None, str]:
    one = _sdk_object(url, access)
    try:
        found = one.head(props="name,size,checksum,version")
    except Exception as error:
        raise _translated(url, error) from error
    version = f"{found.checksum_type}:{found.checksum_value}" if found.checksum_value else ""
    return int(found.size), version or str(found.obj_version or "")


def _sdk_chunks(
    url: str, access: Mapping[str, Any], progress: Progress, cancel: CancelToken
) -> Generator[bytes]:
    """The SDK goes on by itself where the connection broke."""
    try:
        with _sdk_object(url, access).get_reader().as_file() as file:
            while chunk := file.read(_CHUNK_BYTES):
                cancel.check()
                progress.add_bytes(len(chunk))
                yield chunk
    except DsmanagerError:
        raise
    except Exception as error:
        raise _translated(url, error) from error


def _translated(url: str, error: Exception) -> DsmanagerError:
    status = getattr(error, "status_code", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )
    text = plain(redact(" ".join(str(error).split())))[:200]
    if status == 404 or type(error).__name__ in ("ErrObjNotFound", "ErrBckNotFound"):
        return NotFoundError(f"{plain(url)} is not there")
    if status in (401, 403):
        return CredentialsError(f"{plain(url)} may not be read: {text}")
    return TemporaryError(f"{plain(url)} cannot be read: {text}")
