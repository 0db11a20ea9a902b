"""What time it is at the server, read from an answer of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dsmanager.remotes.failures import translated

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["answered_at", "clock_skew_s"]


def answered_at(answer: Mapping[str, Any]) -> datetime | None:
    """The server's clock when it answered, to the second; None where it does not say."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    with suppress(TypeError, ValueError):
        moment = parsedate_to_datetime(headers["date"]) if "date" in headers else None
        return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
    return None


def clock_skew_s(remote: Remote) -> float | None:
    """Seconds by which this machine's clock is ahead of the server's; None where it is not told.

    A refusal tells the time, too: the one for a skewed clock above all.
    """
    with translated(remote.config, remote.config.url):
        try:
            answer: Mapping[str, Any] = remote.clients.control.head_bucket(
                Bucket=remote.config.bucket
            )
        except ClientError as error:
            answer = error.response
    there = answered_at(answer)
    return None if there is None else (datetime.now(UTC) - there).total_seconds()
