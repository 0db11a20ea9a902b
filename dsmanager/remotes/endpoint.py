"""Which server a remote is on; without botocore, which takes longer to import than to be asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from dsmanager.settings import RemoteConfig

__all__ = ["endpoint_url_of", "is_aws"]


def endpoint_url_of(config: RemoteConfig) -> str | None:
    """The endpoint in use; None means AWS.

    ``AWS_ENDPOINT_URL_S3`` and ``AWS_ENDPOINT_URL`` count for a remote that is only a URL: one
    that is configured says itself where it is.
    """
    if config.endpoint_url or "://" not in config.name:
        return config.endpoint_url
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return named or None


def is_aws(endpoint_url: str | None) -> bool:
    host = urlsplit(endpoint_url or "").hostname
    return host is None or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
