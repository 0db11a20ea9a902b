"""Small objects, read whole: no shorter than announced, and what their own metadata says.

Sidecars and manifests have no record beside them that would show a changed bit; the sha256 that was
written with them does. Nothing here knows what such an object means.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dsmanager.errors import VerificationError
from dsmanager.remotes.failures import error_code, is_temporary, not_s3, translated
from dsmanager.remotes.objects import recorded_sha256

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from dsmanager.settings import RemoteConfig

__all__ = ["read_small"]

_TRIES = 2  # botocore repeats a request that fails, and not the reading of an answer that breaks


def read_small(
    client: S3Client, config: RemoteConfig, key: str, *, max_bytes: int
) -> tuple[bytes, str] | None:
    """The content of an object and its ETag as the server spells it; None when it does not exist.

    Raises VerificationError when it is larger than ``max_bytes`` or not what its metadata says.
    """
    url = f"s3://{config.bucket}/{key}"
    with translated(config, url):
        for left in reversed(range(_TRIES)):
            try:
                return _read(client, config, key, max_bytes)
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    return None
                raise
            except Exception as error:
                if not left or not is_temporary(error):
                    raise
    raise AssertionError


def _read(client: S3Client, config: RemoteConfig, key: str, max_bytes: int) -> tuple[bytes, str]:
    answer = client.get_object(Bucket=config.bucket, Key=key)
    # Not "with answer["Body"]": that is urllib3's stream, whose errors nobody translates.
    with closing(answer["Body"]) as body:
        content = body.read(max_bytes + 1)
        if len(content) <= max_bytes:
            body.read(1)  # the read that finds the end is the one that sees whether it came early
    if not answer.get("ETag"):
        raise not_s3(config)
    if len(content) > max_bytes:
        raise VerificationError(
            f"s3://{config.bucket}/{key} is larger than the {max_bytes:,} bytes it may have",
            hint=f"look at it, and remove it: dsmanager remote check {config.name}",
        )
    said = recorded_sha256(answer)
    if said is not None and said != hashlib.sha256(content).hexdigest():
        raise VerificationError(
            f"s3://{config.bucket}/{key} is not what its metadata says",
            hint="try again; if it stays so it is damaged there: dsmanager upload --overwrite",
        )
    return content, answer["ETag"]
