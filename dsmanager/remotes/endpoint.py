"""Which server a remote is on; without botocore, which takes longer to import than to be asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dsmanager.errors import UsageError
from dsmanager.text import plain, redact

if TYPE_CHECKING:
    from dsmanager.settings import RemoteConfig

__all__ = ["DEFAULT_REGION", "endpoint_url_of", "is_aws"]

DEFAULT_REGION = "us-east-1"


def endpoint_url_of(config: RemoteConfig) -> str | None:
    """The endpoint in use; None means AWS.

    ``AWS_ENDPOINT_URL_S3`` and ``AWS_ENDPOINT_URL`` count for a remote that is only a URL: one
    that is configured says itself where it is. Raises UsageError for one that is no URL.
    """
    found = _named(config)
    try:
        urlsplit(found or "")
    except ValueError as error:
        raise UsageError(
            f"the endpoint '{plain(redact(found or ''))}' of {config.url} is no URL: {error}",
            hint="for example: http://127.0.0.1:9000",
        ) from error
    return found


def _named(config: RemoteConfig) -> str | None:
    if config.endpoint_url or "://" not in config.name:
        return config.endpoint_url
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return named or None


def is_aws(endpoint_url: str | None) -> bool:
    host = urlsplit(endpoint_url or "").hostname
    return host is None or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
